package docker

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/otto-edge/otto"
)

func TestDamagingErrors(t *testing.T) {
	for msg, want := range map[string]bool{
		"error creating overlay mount to /var/lib/docker/overlay2/3f-init/merged: no such file or directory":                     true,
		"readlink /var/lib/docker/overlay2/l: invalid argument":                                                                  true,
		"lstat /var/lib/docker/overlay2/5a/diff: no such file or directory":                                                      true,
		"failed to register layer: rename /var/lib/docker/image/aufs/layerdb/tmp/layer-3 /var/lib/docker/x: directory not empty": true,
		"layer does not exist": true,
		"failed to create prepare snapshot dir: parent snapshot sha256:5a does not exist: not found":  true,
		"content digest sha256:5a: not found":                                                         true,
		"failed to register layer: write /usr/bin/x: no space left on device":                         false,
		"error creating overlay mount to /var/lib/docker/overlay2/3f/merged: no space left on device": false,
		"No such image: web:1": false,
		"bind source path does not exist: /var/lib/docker/overlay2": false,
		"exec: \"web\": executable file not found in $PATH":         false,
		"dial tcp: lookup r.invalid: no such host":                  false,
	} {
		if got := damaging(errors.New(msg)); got != want {
			t.Errorf("%s: %v", msg, got)
		}
	}
	if damaging(nil) {
		t.Error("nothing is damage")
	}
}

// TestDamagedImageIsFetchedAnewOnce has an engine that says it has an image of
// which no container can be made.
func TestDamagedImageIsFetchedAnewOnce(t *testing.T) {
	const broken = "error creating overlay mount to /var/lib/docker/overlay2/3f-init/merged: no such file or directory"
	for name, tc := range map[string]struct {
		policy   string
		registry http.HandlerFunc // asked whether it has the image; nil: it has not
		removes  int
		again    string // what the next Create says
	}{
		"its registry has it":             {registry: says(`{"Descriptor": {}}`), removes: 1, again: "the image store of this node is broken: image r.invalid/x was fetched anew"},
		"its registry is out of reach":    {again: "3f-init/merged: no such file or directory) and cannot be fetched anew: ask its registry"},
		"its pull_policy forbids to pull": {policy: otto.PullNever, registry: says(`{}`), again: "and cannot be fetched anew: its pull_policy is never: run `docker rmi r.invalid/x` there and load it again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			f := &fakeEngine{handlers: map[string]http.HandlerFunc{
				"GET /version":                 says(version2010),
				"GET /info":                    says(`{"DockerRootDir": "/nowhere"}`),
				"GET /images/r.invalid/x/json": says(imageAMD64),
				"POST /images/create":          says(`{"status": "ok"}`),
				"DELETE /images/r.invalid/x":   says(`[]`),
				"GET /networks/otto-home":      says(`{}`),
				"GET /networks/home":           says(`{}`),
				"POST /networks/create":        says(`{"Id": "n"}`),
				"POST /containers/create": func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(http.StatusInternalServerError)
					fmt.Fprintf(w, `{"message": %q}`, broken)
				},
			}}
			if tc.registry != nil {
				f.handlers["GET /distribution/r.invalid/x/json"] = tc.registry
			}
			r := fake(t, f)
			inst := otto.Instance{
				Name:    "x",
				Service: "x",
				Spec:    otto.ContainerSpec{Image: "r.invalid/x", PullPolicy: tc.policy},
			}
			expect := func(what, want string, err error) {
				t.Helper()
				if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
					t.Errorf("%s: %v, want %q", what, err, want)
				}
			}
			pull := func() error { _, err := r.Pull(t.Context(), inst.Spec); return err }
			create := func() error { _, err := r.Create(t.Context(), inst, "x"); return err }
			expect("pull", "", pull())
			expect("create",
				"image r.invalid/x is damaged on this node and is fetched anew at the next try: create x: "+broken,
				create())
			for range 3 {
				expect("pull again", "", pull())
				expect("create again", tc.again, create())
			}
			removes, pulls := 0, 0
			for _, request := range f.requests() {
				if strings.HasPrefix(request, "DELETE ") {
					removes++
				}
				if strings.Contains(request, "/images/create") {
					pulls++
				}
			}
			if removes != tc.removes || pulls != tc.removes {
				t.Errorf("removed %d times and pulled %d times, want %d", removes, pulls, tc.removes)
			}
		})
	}
}

// TestPullGoesOnWhenThereIsSpaceAgain fills the disk of an engine and frees it.
func TestPullGoesOnWhenThereIsSpaceAgain(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	pulled := false
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{
		"GET /version": says(version2010),
		"GET /info":    says(`{"DockerRootDir": "/data"}`),
		"POST /images/create": func(w http.ResponseWriter, _ *http.Request) {
			pulled = true
			fmt.Fprint(w, `{"status": "Downloading", "id": "a", "progressDetail": {"current": 1, "total": 104857600}}`,
				`{"status": "Downloading", "id": "b", "progressDetail": {"current": 1, "total": 104857600}}`,
				`{"status": "Downloading", "id": "a", "progressDetail": {"current": 2, "total": 104857600}}`)
		},
		"GET /images/r.invalid/x/json": func(w http.ResponseWriter, r *http.Request) {
			if !pulled {
				http.NotFound(w, r)
				return
			}
			fmt.Fprint(w, imageAMD64)
		},
	}}
	r := fake(t, f)
	var free uint64
	r.free = func(string) (uint64, error) { return free, nil }
	pull := func() error {
		pulled = false
		_, err := r.Pull(t.Context(), otto.ContainerSpec{Image: "r.invalid/x"})
		return err
	}
	for _, tc := range []struct {
		free   uint64 // MB
		want   string
		pulled bool
	}{
		{100, "100 MB free in /data, a pull needs 1024 MB", false},
		{1200, "1200 MB free in /data, a pull needs 1274 MB", true}, // by the first layer
		{1500, "1500 MB free in /data, a pull needs 1524 MB", true}, // by both
		{1524, "", true},
	} {
		free = tc.free << 20
		err := pull()
		if pulled != tc.pulled || (tc.want == "") != (err == nil) ||
			err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%d MB free: pulled %v, %v", tc.free, pulled, err)
		}
	}
}

// halfExtracted breaks an image of a real engine as a power cut can, and has it
// fetched anew from a registry.
func halfExtracted(t *testing.T, r *Runtime) {
	const image = "127.0.0.1:5000/web:1"
	stop := serveRegistry(t, r)
	defer stop()
	inst := instance("half")
	inst.Spec.Image, inst.Spec.Command = image, []string{"/bin/busybox", "sleep", "1000"}
	if warning, err := r.Pull(t.Context(), inst.Spec); err != nil || warning != "" {
		t.Fatal(warning, err)
	}
	breakImage := func() {
		t.Helper()
		engine(t, r, func(c *client.Client) error {
			found, err := c.ImageInspect(t.Context(), image)
			if err != nil {
				return err
			}
			diff := found.GraphDriver.Data["UpperDir"]
			if !strings.HasPrefix(diff, filepath.Dir(strings.TrimPrefix(r.url, "unix://"))) {
				return fmt.Errorf("the image is in %q", diff)
			}
			return os.RemoveAll(diff)
		})
	}
	runs := func() {
		t.Helper()
		id, err := r.Create(t.Context(), inst, "half")
		if err == nil {
			err = r.Start(t.Context(), id)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Kill(t.Context(), inspect(t, r, id), 0); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the engine knows that it has ended",
			func() bool { return inspect(t, r, id).State != otto.ContainerRunning })
		if err := r.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}

	breakImage()
	_, err := r.Create(t.Context(), inst, "half")
	if err == nil || !strings.Contains(err.Error(), "is damaged on this node and is fetched anew at the next try") {
		t.Fatalf("create: %v", err)
	}
	if _, err := r.Pull(t.Context(), inst.Spec); err != nil {
		t.Fatal(err)
	}
	runs()

	r.damage.of(image).renewed = time.Time{} // as a day later
	id, err := r.Create(t.Context(), inst, "half")
	if err != nil {
		t.Fatal(err)
	}
	breakImage()
	if err := r.Start(t.Context(), id); err == nil || !strings.Contains(err.Error(), "fetched anew at the next try") {
		t.Fatalf("start: %v", err)
	}
	if _, err := r.Pull(t.Context(), inst.Spec); err != nil {
		t.Fatal(err)
	}
	runs()

	breakImage()
	if _, err := r.Create(t.Context(), inst, "half"); err == nil ||
		!strings.Contains(err.Error(), "the image store of this node is broken") {
		t.Fatalf("the third time: %v", err)
	}
	start(t, r, instance("unaffected", "true")) // of another image
}

// serveRegistry serves an image with busybox as web:1 at 127.0.0.1:5000 of the
// engine's own network namespace.
func serveRegistry(t *testing.T, r *Runtime) (stop func()) {
	t.Helper()
	path := "/usr/bin/busybox"
	if _, err := os.Stat(path); err != nil {
		path = "/bin/busybox"
	}
	busybox, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var layer, zipped bytes.Buffer
	w := tar.NewWriter(&layer)
	err = errors.Join(w.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(busybox))}),
		second(w.Write(busybox)), w.Close())
	z := gzip.NewWriter(&zipped)
	if err = errors.Join(err, second(z.Write(layer.Bytes())), z.Close()); err != nil {
		t.Fatal(err)
	}
	digest := func(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
	config := fmt.Appendf(nil,
		`{"architecture": %q, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [%q]}}`,
		runtime.GOARCH, digest(layer.Bytes()))
	const docker = "application/vnd.docker."
	manifest := fmt.Appendf(
		nil,
		`{"schemaVersion": 2, "mediaType": %q, "config": {"mediaType": %q, "size": %d, "digest": %q}, "layers": [{"mediaType": %q, "size": %d, "digest": %q}]}`,
		docker+"distribution.manifest.v2+json",
		docker+"container.image.v1+json",
		len(config),
		digest(config),
		docker+"image.rootfs.diff.tar.gzip",
		zipped.Len(),
		digest(zipped.Bytes()),
	)
	mux := http.NewServeMux()
	mux.HandleFunc("/v2/", func(http.ResponseWriter, *http.Request) {})
	for path, b := range map[string][]byte{"manifests/1": manifest, "manifests/" + digest(manifest): manifest, "blobs/" + digest(config): config, "blobs/" + digest(zipped.Bytes()): zipped.Bytes()} {
		mux.HandleFunc("/v2/web/"+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", docker+"distribution.manifest.v2+json")
			w.Header().Set("Docker-Content-Digest", digest(b))
			http.ServeContent(w, r, "", when(""), bytes.NewReader(b))
		})
	}
	server := &http.Server{Handler: mux}
	l := listenBeside(t, r, "127.0.0.1:5000")
	go func() { _ = server.Serve(l) }()
	return func() { _ = server.Close() }
}

func second[T any](_ T, err error) error { return err }

// listenBeside listens in the network namespace of a test's engine.
func listenBeside(t *testing.T, r *Runtime, address string) (l net.Listener) {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join(filepath.Dir(strings.TrimPrefix(r.url, "unix://")), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		var ns *os.File
		if ns, err = os.Open("/proc/" + strings.TrimSpace(string(pid)) + "/ns/net"); err != nil {
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
			l, err = net.Listen("tcp", address)
		}
	}()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	return l
}
