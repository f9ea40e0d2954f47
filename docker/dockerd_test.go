package docker

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// testImage has /bin/busybox, as sh and all of its other names, and nothing else.
const testImage = "otto-test:busybox"

// startDockerd runs a real engine for one test: in network and mount namespaces
// of its own, with its own directories, socket and cgroup, so that it meets no
// other engine of this machine. No registry is in its reach.
func startDockerd(t *testing.T) *Runtime {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED against a real engine: that takes root")
	}
	for _, program := range []string{"dockerd", "unshare", "busybox", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT TESTED against a real engine: %s is not installed", program)
		}
	}
	dir, err := os.MkdirTemp("", "otto-dockerd") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	parent := filepath.Base(dir)
	var log bytes.Buffer
	cmd := exec.Command("unshare", "--net", "--mount", "sh", "-c", `ip link set lo up && exec "$0" "$@"`,
		"dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid",
		"-H", "unix://"+dir+"/d.sock", "--bridge=none", "--iptables=false", "--cgroup-parent=/"+parent)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("dockerd: %s", log.Bytes()[max(0, log.Len()-2000):])
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		cgroups, _ := filepath.Glob("/sys/fs/cgroup/*/" + parent)
		for _, c := range append(cgroups, "/sys/fs/cgroup/"+parent) {
			_ = os.Remove(c)
		}
	})
	r := newRuntime(t, "unix://"+dir+"/d.sock")
	waitFor(t, "dockerd up", func() bool { return r.Engine(t.Context()).Problem == "" })
	importImage(t, r)
	return r
}

// importImage makes testImage from this machine's busybox.
func importImage(t *testing.T, r *Runtime) {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	busybox, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	add := func(h tar.Header, contents []byte) {
		h.Size, h.ModTime = int64(len(contents)), time.Unix(0, 0)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(contents); err != nil {
			t.Fatal(err)
		}
	}
	add(tar.Header{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	add(tar.Header{Name: "bin/busybox", Mode: 0o755}, busybox)
	for _, name := range []string{"sh", "sleep", "echo", "true", "nslookup", "cat", "touch", "kill", "id", "pwd", "env"} {
		add(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	engine(t, r, func(c *client.Client) error {
		out, err := c.ImageImport(t.Context(), client.ImageImportSource{Source: &archive, SourceName: "-"}, testImage, client.ImageImportOptions{})
		if err != nil {
			return err
		}
		defer out.Close()
		_, err = io.Copy(io.Discard, out)
		return err
	})
}

// engine does something with the engine that Runtime has no need for.
func engine(t *testing.T, r *Runtime, do func(*client.Client) error) {
	t.Helper()
	c, err := r.connect(t.Context())
	if err == nil {
		err = do(c)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("engine: %w", err))
	}
}
