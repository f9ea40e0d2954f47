package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/otto-edge/otto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClientAndServer(t *testing.T) {
	p := newPlane()
	c, _ := serve(t, p)
	got, err := c.Cluster(t.Context())
	if err != nil || got.Name != "home" {
		t.Errorf("cluster: %+v, %v", got, err)
	}
	changes, err := c.Apply(t.Context(), otto.Wanted{Nodes: []otto.Node{{ID: "a"}}}, 7, true)
	if err != nil || len(changes) != 1 || changes[0].Name != "a" {
		t.Errorf("changes: %+v, %v", changes, err)
	}
	if content, err := c.Backup(t.Context()); err != nil || string(content) != "backup\n" {
		t.Errorf("backup: %q, %v", content, err)
	}
	for _, do := range []func() error{
		func() error { return c.Stop(t.Context()) },
		func() error { return c.Uninstall(t.Context(), true) },
		func() error { return c.Uninstall(t.Context(), false) },
		func() error { return c.Intend(t.Context(), "pi-1", otto.Intent{Cordoned: true}) },
		func() error {
			d, err := c.Move(t.Context(), "web", "pi 1", true)
			if d.To != "pi 1" {
				t.Errorf("the move is answered with %+v", d)
			}
			return err
		},
		func() error { return c.AcceptMachine(t.Context(), "pi 1") },
		func() error { return c.Rekey(t.Context(), "pi 1") },
		func() error { return c.Rotate(t.Context(), true) },
		func() error { return c.Remove(t.Context(), "pi-1") },
		func() error { return c.TakeOver(t.Context()) },
		func() error { return c.Restart(t.Context(), "web") },
		func() error { return c.Refresh(t.Context(), "web") },
		func() error { return c.AcceptData(t.Context(), "web") },
		func() error { return c.AdoptVolume(t.Context(), "pi 1", "db") },
		func() error { return c.Adopt(t.Context(), otto.Adoption{Stack: "shop", Node: "nas"}) },
		func() error { return c.Release(t.Context(), otto.ReleaseRequest{Stack: "shop"}) },
		func() error {
			got, err := c.Plan(t.Context(), otto.Wanted{Nodes: []otto.Node{{ID: "a"}}})
			if got.ID != "abc" || len(got.Changes) != 1 || got.Changes[0].Name != "a" {
				t.Errorf("plan: %+v", got)
			}
			return err
		},
		func() error { return c.Exit(t.Context()) },
	} {
		if err := do(); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{
		"apply base=7 dry=true",
		"backup",
		"stop",
		"uninstall volumes=true",
		"uninstall volumes=false",
		"intend pi-1 {Cordoned:true Draining:false By: Why:} by me",
		`move web to "pi 1" advised=true by me`,
		"accept the machine of pi 1",
		"rekey pi 1 by me",
		"rotate true by me",
		"remove pi-1",
		"take over",
		"restart web",
		"refresh web",
		"accept data of web",
		"adopt db of pi 1",
		"adopt stack shop of nas",
		"release stack shop",
		"plan",
	}, p.calls); diff != "" {
		t.Error(diff)
	}
}

func TestExplanationsArrive(t *testing.T) {
	p := newPlane()
	c, _ := serve(t, p)
	if e, err := c.ExplainService(t.Context(), "web"); err != nil || e.Service == nil || e.Service.Name != "web" ||
		e.Node != nil {
		t.Errorf("got %+v, %v", e, err)
	}
	if e, err := c.ExplainNode(t.Context(), "pi-1"); err != nil || e.Node == nil || e.Node.ID != "pi-1" ||
		e.Service != nil {
		t.Errorf("got %+v, %v", e, err)
	}
	p.err = errors.New("no service \"x\"")
	if _, err := c.ExplainService(t.Context(), "x"); err == nil || err.Error() != p.err.Error() {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"explain service web", "explain node pi-1", "explain service x"},
		p.calls); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsArriveAsTheyWereSaid(t *testing.T) {
	p := newPlane()
	c, _ := serve(t, p)
	p.err = errors.New("n1: it does not answer\nn2: its disk is full")
	if err := c.Stop(t.Context()); err == nil || err.Error() != p.err.Error() {
		t.Errorf("got %v", err)
	}
	p.err = fmt.Errorf("%w: it is at revision 8 now", otto.ErrConflict)
	if _, err := c.Apply(t.Context(), otto.Wanted{Nodes: []otto.Node{{}}}, 7,
		false); !errors.Is(err, otto.ErrConflict) ||
		!strings.Contains(err.Error(), "revision 8") {
		t.Errorf("got %v", err)
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	p := newPlane()
	c, _ := serve(t, p)
	for _, tt := range []struct {
		method, path, body string
		want               int
	}{
		{"PUT", "/v1/wanted?base=1", `{"nodes":`, http.StatusBadRequest},
		{"PUT", "/v1/wanted?base=1", `[]`, http.StatusBadRequest},
		{"PUT", "/v1/wanted?base=-1", `{}`, http.StatusBadRequest},
		{"PUT", "/v1/wanted", `{}`, http.StatusBadRequest},
		{"PUT", "/v1/wanted?base=1", `{"nodes":"` + strings.Repeat("x", maxBody) + `"}`, http.StatusBadRequest},
		{"PUT", "/v1/nodes/a/intent", `{`, http.StatusBadRequest},
		{"GET", "/v1/events?after=x", "", http.StatusBadRequest},
		{"POST", "/v1/plan", `[]`, http.StatusBadRequest},
		{"GET", "/v1/stop", "", http.StatusMethodNotAllowed},
		{"GET", "/", "", http.StatusNotFound},
	} {
		req, err := http.NewRequestWithContext(
			t.Context(),
			tt.method,
			"http://otto"+tt.path,
			strings.NewReader(tt.body),
		)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s %s %.20s: %s", tt.method, tt.path, tt.body, resp.Status)
		}
	}
	if p.calls != nil {
		t.Errorf("the control plane was asked: %v", p.calls)
	}
}

func TestWatchFollowsEveryChange(t *testing.T) {
	p := newPlane()
	c, _ := serve(t, p)
	var seen []string
	err := c.Watch(t.Context(), func(v *otto.Cluster) bool {
		seen = append(seen, v.Name)
		if len(seen) < 3 {
			p.become(&otto.Cluster{Name: fmt.Sprint("view ", len(seen))})
		}
		return len(seen) < 3
	})
	if diff := cmp.Diff([]string{"home", "view 1", "view 2"}, seen); diff != "" || err != nil {
		t.Error(err, diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = c.Watch(ctx, func(*otto.Cluster) bool { cancel(); return true })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled watch ends with %v", err)
	}
}

func TestWatchEndsWithTheControlPlane(t *testing.T) {
	c, _ := serve(t, newPlane())
	err := c.Watch(t.Context(), func(*otto.Cluster) bool {
		if err := c.Exit(t.Context()); err != nil {
			t.Error(err)
		}
		return true
	})
	if !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
}

func TestEventsAreFollowed(t *testing.T) {
	p := newPlane()
	p.events = []otto.Event{{Seq: 1, Message: "one"}, {Seq: 2, Message: "two"}}
	c, _ := serve(t, p)
	var seen []string
	note := func(e otto.Event) bool {
		seen = append(seen, e.Message)
		return true
	}
	if err := c.Events(t.Context(), 0, false, note); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Events(ctx, 1, true, func(e otto.Event) bool {
		note(e)
		if e.Seq == 3 {
			cancel()
			return true
		}
		p.mu.Lock()
		p.events = append(p.events, otto.Event{Seq: 3, Message: "three"})
		p.mu.Unlock()
		p.become(p.view)
		return true
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"one", "two", "two", "three"}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestNobodyListens(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewClient(filepath.Join(dir, "control.sock"),
		"").Cluster(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	left := filepath.Join(dir, "left.sock") // by a process that was killed
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := NewClient(left, "").Cluster(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a socket that was left: %v", err)
	}
	again, err := Listen(t.Context(), left)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestSocketIsForItsOwnerOnly(t *testing.T) {
	_, socket := serve(t, newPlane())
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if l, err := Listen(t.Context(), filepath.Join(open, "control.sock")); err == nil {
		l.Close()
		t.Error("a directory that others may write to is taken")
	}
}

func TestLongDirectoriesHaveAShortSocket(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1")
	long := "/" + strings.Repeat("d", 120)
	a, b := Socket(long), Socket(long+"e")
	if len(a) > 100 || a == b || !strings.HasPrefix(a, "/run/user/1/") {
		t.Errorf("%s and %s", a, b)
	}
	if got := Socket("/short"); got != "/short/control.sock" {
		t.Error(got)
	}
}

func TestSlowReaderHoldsUpNobody(t *testing.T) {
	p := newPlane()
	c, socket := serve(t, p)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /v1/changes HTTP/1.1\r\nHost: otto\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	for range 20 { // never read
		p.become(&otto.Cluster{Name: strings.Repeat("x", 1<<20)})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := c.Cluster(ctx); err != nil {
		t.Error(err)
	}
}

func FuzzRequests(f *testing.F) {
	f.Add("PUT", "/v1/wanted?base=1", []byte(`{"nodes":[{"id":"a"}]}`))
	f.Add("PUT", "/v1/wanted?base=x&dry", []byte(`{`))
	f.Add("POST", "/v1/uninstall?volumes", []byte(nil))
	f.Add("GET", "/v1/../v1/cluster", []byte(nil))
	handler := NewServer(newPlane(), nil, "", func() {}).http.Handler
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://otto"+path, bytes.NewReader(body))
		if err != nil || req.URL.Path == "/v1/changes" {
			return
		}
		handler.ServeHTTP(httptest.NewRecorder(), req)
	})
}

// TestSocketOfAnotherUserIsNotAsked puts a socket where everybody may write.
func TestSocketOfAnotherUserIsNotAsked(t *testing.T) {
	socket := Socket("/" + strings.Repeat("long/", 30))
	dir := filepath.Join(t.TempDir(), filepath.Base(filepath.Dir(socket)))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(socket, "me").Cluster(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "others may write") {
		t.Errorf("it is asked: %v", err)
	}
}

func TestFoldersAreSent(t *testing.T) {
	p := newPlane()
	c, _ := serve(t, p)
	lacking, err := c.LackFolders(t.Context(), map[string][]byte{"a": nil, "b": []byte("list")})
	if err != nil || !slices.Equal(lacking, []string{"b"}) {
		t.Errorf("%v, %v", lacking, err)
	}
	send := func(text string, why error) error {
		return c.PutFolder(t.Context(), func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return errors.Join(err, why)
		})
	}
	if err := send("pack", nil); err != nil {
		t.Error(err)
	}
	changed := errors.New("it has changed since it was read")
	if err := send("half", changed); !errors.Is(err, changed) {
		t.Errorf("got %v", err)
	}
	p.mu.Lock()
	p.err = errors.New("the disk is full")
	p.mu.Unlock()
	if err := send("pack", nil); err == nil || err.Error() != "the disk is full" {
		t.Errorf("got %v", err)
	}
	p.mu.Lock() // the one that was given up may still be answered
	defer p.mu.Unlock()
	if i := slices.Index(p.calls, "put folder pack"); i < 0 || slices.Contains(p.calls, "put folder half") {
		t.Errorf("calls: %q", p.calls)
	}
}
