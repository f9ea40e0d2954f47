package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const nginxConf = `user root root;
worker_processes 1;
pid /run/nginx.pid;
error_log /dev/stderr;
events { worker_connections 256; }
http {
	include /etc/nginx/mime.types;
	access_log /dev/stdout;
	server {
		listen 80;
		root /usr/share/nginx/html;
	}
}
`

// redis keeps its data in a volume and saves it at SIGTERM, as the image it
// stands for does.
func redis(ctx context.Context, _ string) (image, error) {
	files, err := programs(ctx, "/usr/bin/redis-server", "/usr/bin/redis-cli")
	if err != nil {
		return image{}, err
	}
	return image{
		Files: append(files, file{Path: "/data"}),
		Config: config{
			Env:          environment(),
			Cmd:          []string{"redis-server", "--protected-mode", "no", "--dir", "/data"},
			WorkingDir:   "/data",
			ExposedPorts: set("6379/tcp"),
			Volumes:      set("/data"),
		},
	}, nil
}

func nginx(ctx context.Context, _ string) (image, error) {
	files, err := programs(ctx, "/usr/sbin/nginx")
	if err != nil {
		return image{}, err
	}
	return image{
		Files: append(files,
			file{Path: "/etc/nginx/nginx.conf", Text: nginxConf, Mode: 0o644},
			file{Path: "/etc/nginx/mime.types", Source: "/etc/nginx/mime.types", Mode: 0o644},
			file{Path: "/usr/share/nginx/html/index.html", Text: "Welcome to nginx!\n", Mode: 0o644},
			file{Path: "/var/lib/nginx"},
			file{Path: "/var/log/nginx"},
			file{Path: "/run"},
		),
		Config: config{
			Env:          environment(),
			Cmd:          []string{"nginx", "-g", "daemon off;"},
			ExposedPorts: set("80/tcp"),
		},
	}, nil
}

func echo(ctx context.Context, dir string) (image, error) {
	binary := filepath.Join(dir, "echo")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -buildid=", "-o", binary, "./e2e/images/echo")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture)
	if out, err := build.CombinedOutput(); err != nil {
		return image{}, fmt.Errorf("build: %w\n%s", err, out)
	}
	return image{
		Files: append(base(), file{Path: "/usr/bin/echo-server", Source: binary}),
		Config: config{
			Env:          environment(),
			Entrypoint:   []string{"echo-server"},
			ExposedPorts: set("8080/tcp"),
		},
	}, nil
}

// standIn is what a test gives the names of images that it cannot have: whatever they are
// told to run, it is the echo service, and all that their files ask by is well.
func standIn(ctx context.Context, dir string) (image, error) {
	img, err := echo(ctx, dir)
	if err != nil {
		return img, err
	}
	// Who is in the network of another one finds the port taken.
	const serve = "#!/bin/sh\ntrap 'exit 0' TERM\necho-server & wait\nsleep 100000 & wait\n"
	img.Files = append(img.Files,
		file{Path: "/usr/bin/stand-in", Text: serve, Mode: 0o755},
		file{Path: "/cron.sh", Text: "#!/bin/sh\nexec sleep 100000\n", Mode: 0o755})
	for _, name := range []string{"/usr/bin/pg_isready", "/usr/bin/redis-cli", "/usr/bin/healthcheck.sh", "/gluetun-entrypoint"} {
		img.Files = append(img.Files, file{Path: name, Text: "#!/bin/sh\nexit 0\n", Mode: 0o755})
	}
	img.Config.Entrypoint = []string{"stand-in"}
	return img, nil
}

// base is what every image has: a shell with the usual commands, and root.
func base() []file {
	files := []file{
		{Path: "/bin/busybox", Source: "/bin/busybox"},
		{Path: "/etc/passwd", Text: "root:x:0:0:root:/:/bin/sh\n", Mode: 0o644},
		{Path: "/etc/group", Text: "root:x:0:\n", Mode: 0o644},
		{Path: "/tmp", Mode: 0o1777},
	}
	for _, name := range strings.Fields("cat date dd df echo env head hostname id ip kill ls nc nslookup ping ps rm sh sleep touch wget") {
		files = append(files, file{Path: "/bin/" + name, Link: "busybox"})
	}
	return files
}

// programs are dynamically linked programs of this machine with the libraries
// that the loader finds for them, each where it is here.
func programs(ctx context.Context, paths ...string) ([]file, error) {
	files := base()
	for _, program := range paths {
		out, err := exec.CommandContext(ctx, "ldd", program).Output()
		if err != nil {
			return nil, fmt.Errorf("libraries of %s: %w (is its Debian package installed?)", program, errors.Join(err, exists(program)))
		}
		files = append(files, file{Path: program, Source: program})
		for _, library := range libraries(string(out)) {
			files = append(files, file{Path: library, Source: library})
		}
	}
	return files, nil
}

func exists(path string) error {
	_, err := os.Stat(path)
	return err
}

// libraries returns the paths in the output of ldd, whose lines are
// "name => path (address)" or "path (address)".
func libraries(ldd string) []string {
	var paths []string
	for line := range strings.Lines(ldd) {
		for _, field := range strings.Fields(line) {
			if strings.HasPrefix(field, "/") {
				paths = append(paths, field)
				break
			}
		}
	}
	return paths
}

func environment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
}

func set(key string) map[string]struct{} { return map[string]struct{}{key: {}} }
