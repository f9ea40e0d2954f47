package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
)

var _ agent.Runtime = (*Runtime)(nil)

// fakeEngine answers as much of the engine's API as its handlers say, by method
// and path without the version, such as "GET /info".
type fakeEngine struct {
	api      string
	handlers map[string]http.HandlerFunc

	mu   sync.Mutex
	seen []string // requests but pings, with version
}

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", f.api)
	if r.URL.Path == "/_ping" {
		return
	}
	f.mu.Lock()
	f.seen = append(f.seen, r.Method+" "+r.URL.Path)
	f.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL.Path, "/v"+f.api)
	handler := f.handlers[r.Method+" "+path]
	if !ok || handler == nil {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"message": "no such thing"}`)
		return
	}
	handler(w, r)
}

func (f *fakeEngine) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.seen...)
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

// serve starts an engine on a socket; stop breaks all of its connections.
func serve(t *testing.T, socket string, h http.Handler) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	stop = sync.OnceFunc(func() {
		_ = server.Close()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

func fake(t *testing.T, f *fakeEngine) *Runtime {
	t.Helper()
	if f.api == "" {
		f.api = "1.41"
	}
	socket := filepath.Join(t.TempDir(), "d.sock")
	serve(t, socket, f)
	return newRuntime(t, "unix://"+socket)
}

const (
	version2010 = `{"Version": "20.10.24", "ApiVersion": "1.41", "Arch": "amd64", "Components": [{"Name": "Engine"}]}`
	imageAMD64  = `{"Id": "sha256:1", "Architecture": "amd64", "Os": "linux"}`
)

func TestOldEngineIsSpokenToInItsOwnVersion(t *testing.T) {
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{
		"GET /version": says(version2010),
		"GET /info":    says(`{"MemoryLimit": false, "CpuCfsQuota": true}`),
	}}
	got := fake(t, f).Engine(t.Context())
	want := otto.Engine{Name: "Docker", Version: "20.10.24", API: "1.41", Warnings: []string{"no memory limit support"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPodmanIsNamed(t *testing.T) {
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{
		"GET /version": says(`{"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}]}`),
		"GET /info":    says(`{"MemoryLimit": true, "CpuCfsQuota": true}`),
	}}
	if got := fake(t, f).Engine(t.Context()); got.Name != "Podman" || got.Problem != "" {
		t.Errorf("got %+v", got)
	}
}

func TestMissingEngineIsAProblemNotAnError(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	got := newRuntime(t, "unix://"+socket).Engine(t.Context())
	if want := "no container engine at unix://" + socket + ": install docker.io there, or set docker_url"; got.Problem != want {
		t.Errorf("got %q, want %q", got.Problem, want)
	}
}

// TestHangingEngine: one that accepts and never answers, as dockerd does when
// its disk hangs.
func TestHangingEngine(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	socket := filepath.Join(t.TempDir(), "d.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var open atomic.Int64
	var accepting, conns sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Add(1)
			conns.Go(func() {
				defer open.Add(-1)
				defer conn.Close()
				for buf := make([]byte, 1024); ; {
					if _, err := conn.Read(buf); err != nil {
						return
					}
				}
			})
		}
	})

	r := newRuntime(t, "unix://"+socket)
	calls := map[string]func(context.Context) error{
		"containers": func(ctx context.Context) error { _, err := r.Containers(ctx); return err },
		"images":     func(ctx context.Context) error { _, err := r.Images(ctx); return err },
		"volumes":    func(ctx context.Context) error { _, err := r.Volumes(ctx); return err },
		"running":    func(ctx context.Context) error { _, err := r.Running(ctx); return err },
		"pull":       func(ctx context.Context) error { _, err := r.Pull(ctx, otto.ContainerSpec{Image: "x"}); return err },
		"create":     func(ctx context.Context) error { _, err := r.Create(ctx, otto.Instance{}, "x"); return err },
		"start":      func(ctx context.Context) error { return r.Start(ctx, "x") },
		"stop":       func(ctx context.Context) error { return r.Stop(ctx, "x") },
		"rename":     func(ctx context.Context) error { return r.Rename(ctx, "x", "y") },
		"remove":     func(ctx context.Context) error { return r.Remove(ctx, "x") },
		"exec":       func(ctx context.Context) error { _, err := r.Exec(ctx, "x", []string{"true"}); return err },
		"logs":       func(ctx context.Context) error { _, err := r.Logs(ctx, "x", 1); return err },
		"watch":      func(ctx context.Context) error { return r.Watch(ctx, func(bool) {}) },
		"stats": func(ctx context.Context) error {
			_, err := r.Stats(ctx, []otto.RunningContainer{{ID: "x"}})
			return err
		},
		"engine": func(ctx context.Context) error { return errors.New(r.Engine(ctx).Problem) },
	}
	began := time.Now()
	var callers sync.WaitGroup
	for name, call := range calls { // all at once: they must not queue for each other
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := call(ctx)
			if err == nil || !strings.Contains(err.Error(), "does not answer in time") ||
				name != "engine" && !errors.Is(err, otto.ErrNoAnswer) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	callers.Wait()
	if took := time.Since(began); took > time.Duration(len(calls))*time.Second/2 {
		t.Errorf("%d calls with a second to go took %v", len(calls), took)
	}
	waitFor(t, "all connections closed", func() bool { return open.Load() == 0 })
	_ = l.Close()
	accepting.Wait()
	conns.Wait()
	goleak.VerifyNone(t, ignore)
}

func TestImagesHaveTheirSizes(t *testing.T) {
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{
		"GET /images/json": says(
			`[{"RepoTags": ["web:1", "web:latest"], "Size": 1000}, {"RepoTags": null, "Size": 7}, {"RepoTags": ["odd:1"], "Size": -1}]`,
		),
	}}
	got, err := fake(t, f).Images(t.Context())
	if diff := cmp.Diff([]otto.Image{{Name: "web:1", Bytes: 1000}, {Name: "web:latest", Bytes: 1000}, {Name: "odd:1"}},
		got); err != nil ||
		diff != "" {
		t.Error(err, diff)
	}
}

// TestVolumesOfTheCluster asks an engine that has some of others, and one without a name
// that a killed agent has left behind.
func TestVolumesOfTheCluster(t *testing.T) {
	unnamed := strings.Repeat("0a", 32)
	f := &fakeEngine{
		handlers: map[string]http.HandlerFunc{"GET /volumes": func(w http.ResponseWriter, _ *http.Request) {
			ours := `"Labels": {"otto.cluster": "home", "otto.cluster-id": "c1"}`
			fmt.Fprintf(
				w,
				`{"Volumes": [{"Name": "data", %s}, {"Name": "others"}, {"Name": %q, %s}, {"Name": "facade", %s},
			{"Name": "namesakes", "Labels": {"otto.cluster": "home", "otto.cluster-id": "c2"}},
			{"Name": "nobodys", "Labels": {"otto.cluster": "home"}}]}`,
				ours,
				unnamed,
				ours,
				ours,
			)
		}},
	}
	r := fake(t, f)
	got, err := r.Volumes(t.Context())
	if diff := cmp.Diff([]string{"data", "facade"}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	got, err = r.AllVolumes(t.Context())
	if diff := cmp.Diff([]string{"data", "others", unnamed, "facade", "namesakes", "nobodys"}, got); err != nil ||
		diff != "" {
		t.Error(err, diff)
	}
}

// TestNamesakesContainersAreNotOurs asks an engine that also runs containers of a cluster
// with the same name, and some of a build that did not write the cluster's id.
func TestNamesakesContainersAreNotOurs(t *testing.T) {
	const list = `[
		{"Id": "own", "Labels": {"otto.cluster": "home", "otto.cluster-id": "c1", "otto.node": "n1"}},
		{"Id": "namesake", "Labels": {"otto.cluster": "home", "otto.cluster-id": "c2", "otto.node": "n1"}},
		{"Id": "twin", "Labels": {"otto.cluster": "home", "otto.cluster-id": "c1", "otto.node": "n2"}},
		{"Id": "former", "Labels": {"otto.cluster": "home"}},
		{"Id": "nobodys", "Labels": {"otto.cluster": "home"}}]`
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{
		"GET /containers/json": says(list),
		"GET /networks":        says(`[{"Name": "home", "Id": "net", "Labels": {"otto.cluster": "home"}}]`),
		"GET /volumes":         says(`{"Volumes": [{"Name": "data", "Labels": {"otto.cluster": "home"}}]}`),
		"GET /networks/home":   says(`{"Name": "home", "Id": "net", "Labels": {"otto.cluster": "home"}}`),
		"DELETE /networks/net": says(""),
	}}
	for _, id := range []string{"own", "namesake", "twin", "former", "nobodys"} {
		f.handlers["GET /containers/"+id+"/json"] = says(fmt.Sprintf(`{"Id": %q}`, id))
	}
	r := fake(t, f)
	ids := func() (ids []string) {
		all, err := r.Containers(t.Context())
		if err != nil {
			t.Error(err)
		}
		for _, c := range all {
			ids = append(ids, c.ID)
		}
		return ids
	}
	if diff := cmp.Diff([]string{"own"}, ids()); diff != "" {
		t.Error(diff)
	}
	if err := r.RemoveNetwork(t.Context()); err != nil || slices.Contains(f.requests(), "DELETE /v1.41/networks/net") {
		t.Error("a network that is nobody's was removed", err)
	}
	found, err := r.Unproven(t.Context())
	want := otto.Adopted{
		Containers: []string{"former", "nobodys"},
		Networks:   []string{"net"},
		Volumes:    []string{"data"},
	}
	if diff := cmp.Diff(want, found); err != nil || diff != "" {
		t.Error(err, diff)
	}
	found.Containers = []string{"former"}
	r.Adopt(found)
	if diff := cmp.Diff([]string{"own", "former"}, ids()); diff != "" {
		t.Error(diff)
	}
	if err := r.RemoveNetwork(t.Context()); err != nil || !slices.Contains(f.requests(), "DELETE /v1.41/networks/net") {
		t.Error("the network that was adopted was not removed", err)
	}
}

func TestEngineThatComesBackAsAnotherOneIsAskedAnew(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "d.sock")
	r := newRuntime(t, "unix://"+socket)
	handlers := map[string]http.HandlerFunc{"GET /containers/json": says(`[]`)}
	stop := serve(t, socket, &fakeEngine{api: "1.44", handlers: handlers})
	if _, err := r.Containers(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := r.Containers(t.Context()); err == nil {
		t.Error("a stopped engine answers")
	}
	serve(t, socket, &fakeEngine{api: "1.41", handlers: handlers})
	if _, err := r.Containers(t.Context()); err != nil {
		t.Errorf("after the engine came back: %v", err)
	}
}

func TestWatchReturnsWhenTheEngineDies(t *testing.T) {
	events := make(chan string)
	f := &fakeEngine{api: "1.41", handlers: map[string]http.HandlerFunc{
		"GET /events": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			for {
				select {
				case e := <-events:
					fmt.Fprintf(w, `{"Type": "container", "Action": %q, "Actor": {"ID": "1"}}`+"\n", e)
					w.(http.Flusher).Flush()
				case <-r.Context().Done():
					return
				}
			}
		},
	}}
	socket := filepath.Join(t.TempDir(), "d.sock")
	stop := serve(t, socket, f)
	r := newRuntime(t, "unix://"+socket)

	changed, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() { ended <- r.Watch(t.Context(), func(bool) { changed <- struct{}{} }) }()
	<-changed // at the beginning
	events <- "exec_start: true"
	for range 5 {
		events <- "die"
	}
	<-changed
	stop()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("no error says why")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Watch goes on")
	}
	if n := len(changed); n > 1 {
		t.Errorf("a burst of 5 events made %d calls", n+1)
	}
}

func TestPull(t *testing.T) {
	const noAnswer = `{"status":"Pulling"}` + "\n" + `{"errorDetail":{"message":"dial tcp: lookup r.invalid: no such host"},"error":"dial tcp"}`
	for name, tc := range map[string]struct {
		policy         string
		image          string // empty means that it is missing
		registry       string
		asked          bool
		warning, error string
		platform       bool // it is what the error is about
	}{
		"present":                  {image: imageAMD64},
		"present, never":           {image: imageAMD64, policy: otto.PullNever},
		"missing, never":           {policy: otto.PullNever, error: "pull_policy is never"},
		"missing, registry fails":  {registry: noAnswer, asked: true, error: "no such host"},
		"always, registry fails":   {image: imageAMD64, policy: otto.PullAlways, registry: noAnswer, asked: true, warning: "no such host"},
		"always":                   {image: imageAMD64, policy: otto.PullAlways, registry: `{"status":"ok"}`, asked: true},
		"pulled but not there":     {registry: `{"status":"ok"}`, asked: true, error: "image store may be damaged"},
		"for another architecture": {image: `{"Architecture": "arm64"}`, error: "it is for arm64, this node is amd64", platform: true},
		"of Docker, for others only": {
			registry: `{"errorDetail":{"message":"no matching manifest for linux/arm/v6 in the manifest list entries: no match for platform in manifest: not found"}}`,
			asked:    true, error: "no matching manifest", platform: true,
		},
		"of containerd, for others only": {registry: `{"errorDetail":{"message":"no match for platform in manifest: not found"}}`, asked: true, error: "no match for platform", platform: true},
		"of Podman, for others only": {
			registry: `{"errorDetail":{"message":"choosing an image from manifest list docker://r.invalid/x: no image found in image index for architecture arm, variant \"v6\", OS linux"}}`,
			asked:    true, error: "no image found", platform: true,
		},
		"stream that is not JSON":   {registry: `<html>`, asked: true, error: "invalid character"},
		"old error without details": {registry: `{"error":"denied"}`, asked: true, error: "image store may be damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			f := &fakeEngine{handlers: map[string]http.HandlerFunc{
				"GET /version":        says(version2010),
				"GET /info":           says(fmt.Sprintf(`{"DockerRootDir": %q}`, filepath.Join(t.TempDir(), "elsewhere"))),
				"POST /images/create": says(tc.registry),
			}}
			if tc.image != "" {
				f.handlers["GET /images/r.invalid/x/json"] = says(tc.image)
			}
			warning, err := fake(t,
				f).Pull(t.Context(), otto.ContainerSpec{Image: "r.invalid/x", PullPolicy: tc.policy})
			if tc.error == "" && err != nil ||
				tc.error != "" && (err == nil || !strings.Contains(err.Error(), tc.error)) {
				t.Errorf("error %v, want %q", err, tc.error)
			}
			if errors.Is(err, otto.ErrPlatform) != tc.platform {
				t.Errorf("error %v: for want of an image for this platform: %t", err, !tc.platform)
			}
			if (tc.warning == "") != (warning == "") || !strings.Contains(warning, tc.warning) {
				t.Errorf("warning %q, want %q", warning, tc.warning)
			}
			asked := false
			for _, request := range f.requests() {
				asked = asked || strings.Contains(request, "/images/create")
			}
			if asked != tc.asked {
				t.Errorf("registry asked: %v, want %v", asked, tc.asked)
			}
		})
	}
}

func TestStatsAreThoseOfDockerStats(t *testing.T) {
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{
		"GET /containers/a/stats": says(`{"read": "2026-05-01T12:00:00Z",
			"precpu_stats": {"cpu_usage": {"total_usage": 1000}, "system_cpu_usage": 10000, "online_cpus": 4, "throttling_data": {"periods": 10, "throttled_periods": 5}},
			"cpu_stats": {"cpu_usage": {"total_usage": 2500}, "system_cpu_usage": 14000, "online_cpus": 4, "throttling_data": {"periods": 20, "throttled_periods": 9}},
			"memory_stats": {"usage": 1000, "limit": 9000, "stats": {"inactive_file": 400}},
			"blkio_stats": {"io_service_bytes_recursive": [{"op": "read", "value": 7}, {"op": "Write", "value": 8}]},
			"networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 2}, "eth1": {"rx_bytes": 10, "tx_bytes": 20}}}`),
	}}
	got, err := fake(t, f).Stats(t.Context(), []otto.RunningContainer{{ID: "a", Name: "web"}, {ID: "ended"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []otto.ContainerSample{{
		ID: "a", Name: "web", CPUPercent: 150, MemoryUsed: 600, MemoryLimit: 9000,
		NetRecv: 11, NetSent: 22, BlockRead: 7, BlockWrite: 8, Throttled: new(40.0),
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func waitFor(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !met() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestEngineTellsHowItIsSetUp(t *testing.T) {
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{
		"GET /info": says(
			`{"Driver": "overlay2", "LoggingDriver": "json-file", "DockerRootDir": "/data", "MemoryLimit": true}`,
		),
	}}
	got, err := fake(t, f).Details(t.Context())
	if want := (Details{Storage: "overlay2", LogDriver: "json-file", RootDir: "/data", MemoryLimit: true}); err != nil ||
		got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}
