package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/e2e/lab"
)

// gate stands before the socket of a control plane and holds one request up, before the control
// plane has it or before its answer is there, so that the command can be killed at that point.
type gate struct {
	request string // method and path, such as "POST /v1/adopt"
	after   bool
	hit     chan struct{}
	once    sync.Once
}

// newGate stands there until open is called.
func newGate(t *testing.T, c *lab.Cluster, request string, after bool) (g *gate, open func()) {
	t.Helper()
	g = &gate{request: request, after: after, hit: make(chan struct{})}
	socket := api.Socket(filepath.Join(c.Dir, ".otto"))
	if err := os.Rename(socket, socket+".real"); err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "otto"})
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket+".real")
	}}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.pass(proxy, w, r) })}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	return g, func() {
		_ = server.Close()
		<-served
		if err := os.Rename(socket+".real", socket); err != nil {
			t.Fatal(err)
		}
	}
}

func (g *gate) pass(next http.Handler, w http.ResponseWriter, r *http.Request) {
	if r.Method+" "+r.URL.Path != g.request || strings.Contains(r.URL.RawQuery, "dry") {
		next.ServeHTTP(w, r)
		return
	}
	if g.after {
		next.ServeHTTP(unanswered{http.Header{}}, r.Clone(context.WithoutCancel(r.Context())))
	}
	g.once.Do(func() { close(g.hit) })
	<-r.Context().Done() // the command is dead
}

// unanswered is where an answer goes that never comes.
type unanswered struct{ header http.Header }

// Header and the others implement http.ResponseWriter.
func (u unanswered) Header() http.Header       { return u.header }
func (unanswered) WriteHeader(int)             {}
func (unanswered) Write(p []byte) (int, error) { return len(p), nil }

// killedAt has a command killed where a gate holds it up.
func killedAt(t *testing.T, c *lab.Cluster, request string, after bool, args ...string) {
	t.Helper()
	g, open := newGate(t, c, request, after)
	defer open()
	cmd := c.Command(t.Context(), args...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-g.hit:
	case err := <-ended:
		t.Fatalf("%v has ended before %s: %v\n%s", args, request, err, said.String())
	}
	_ = cmd.Process.Kill()
	<-ended
}

// TestAdoptAndReleaseAreKilledAtEachStep kills the command before and after each step that it takes:
// the project is Compose's or Otto's, each container runs once with its data, what is asked says
// which, and run again it finishes.
func TestAdoptAndReleaseAreKilledAtEachStep(t *testing.T) {
	l := lab.Up(t, 1)
	l.Engine()
	l.Images()
	l.Load("redis:alpine")
	c := lab.NewCluster(t, "name: home\nnodes:\n  - {id: here, host: localhost}\nservices:\n  - {name: other, image: 'redis:alpine', node: here}\n")
	tellIfFailed(t, c)
	c.Start()
	const yaml = "services:\n  db:\n    image: redis:alpine\n    restart: always\n    volumes: [\"data:/data\"]\n" +
		"    network_mode: none\n    command: [redis-server, --dir, /data, --appendonly, \"yes\"]\nvolumes: {data: {}}\n"
	redis := func(name string, args ...string) string {
		out, _ := exec.Command("docker", append([]string{"exec", name + "-db-1", "redis-cli"}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	whose := func(name string) string { // by the engine itself
		out, _ := exec.Command("docker", "ps", "-a", "--filter", "name="+name+"-db-1", "--format", `{{.Names}} {{.Label "otto.cluster"}}`).CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	isWhole := func(name, want, when string) {
		t.Helper()
		lab.Until(t, when+": there is "+want+" alone", func() bool { return whose(name) == want })
		lab.Until(t, when+": the note of "+name+" is there", func() bool { return redis(name, "get", "note") == name })
	}
	for i, step := range []struct {
		name, adopt, release string
		after                bool
	}{
		{"its record, not asked for yet", "POST /v1/adopt", "POST /v1/release", false},
		{"its record", "POST /v1/adopt", "POST /v1/release", true},
		{"the file written", "PUT /v1/wanted", "PUT /v1/wanted", false},
		{"the file applied", "PUT /v1/wanted", "PUT /v1/wanted", true},
	} {
		name := fmt.Sprintf("p%d", i)
		p := composed(t, filepath.Join(c.Dir, name), yaml)
		p.run("up", "-d")
		lab.Until(t, "a note is written", func() bool { return redis(name, "set", "note", name) == "OK" })
		first := docker(t, "inspect", "-f", "{{.Id}}", name+"-db-1")

		killedAt(t, c, step.adopt, step.after, "adopt", "here", name, "--yes")
		if step.name != "the file applied" { // nothing has begun
			isWhole(name, name+"-db-1", "killed at "+step.name)
			if out := c.Run("adopt"); !strings.Contains(out, "/"+name+"/") {
				t.Errorf("killed at %s, the list says:\n%s", step.name, out)
			}
			if got := docker(t, "inspect", "-f", "{{.Id}}", name+"-db-1"); got != first {
				t.Errorf("killed at %s, the container is another one", step.name)
			}
		}
		c.Run("adopt", "here", name, "--yes")
		isWhole(name, name+"-db-1 home", "adopted, after it was killed at "+step.name)
		if out := c.Run("adopt"); strings.Contains(out, "/"+name+"/") {
			t.Errorf("adopted, the list says:\n%s", out)
		}

		killedAt(t, c, step.release, step.after, "release", name, "--yes")
		if step.release == "PUT /v1/wanted" {
			isWhole(name, name+"-db-1", "given back, killed at "+step.name)
		}
		if out := c.Run("cluster", "status"); step.name == "the file written" && !strings.Contains(out, "service "+name+"/db is Compose's again") {
			t.Errorf("killed at %s, the status says:\n%s", step.name, out)
		}
		if step.name != "the file applied" { // then it has finished
			c.Run("release", name, "--yes")
		}
		lab.Until(t, name+" is out of the cluster", func() bool { return !strings.Contains(c.Run("cluster", "status"), name) })
		isWhole(name, name+"-db-1", "given back, after it was killed at "+step.name)
		before := docker(t, "inspect", "-f", "{{.Id}}", name+"-db-1")
		p.run("up", "-d")
		if docker(t, "inspect", "-f", "{{.Id}}", name+"-db-1") != before {
			t.Errorf("killed at %s: Compose makes anew what was given back", step.name)
		}
		if got := docker(t, "inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", name+"-db-1"); got != "always" {
			t.Errorf("killed at %s: the engine restarts it %s", step.name, got)
		}
	}
	if out, err := os.ReadFile(filepath.Join(c.Dir, "otto.yaml")); err != nil || strings.Contains(string(out), "stacks") {
		t.Errorf("otto.yaml has %s, %v", out, err)
	}
}
