package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// TestGreyHost has every process of a host stand still, and then die, while its kernel
// answers; at last its power is cut.
func TestGreyHost(t *testing.T) {
	l, c := threeHosts(t)
	c.Abandoned = true
	n1, elsewhere := l.Host("n1"), []*lab.Host{l.Host("n2"), l.Host("n3")}
	container := func(name string) string { return n1.Docker("ps", "-q", "--no-trunc", "--filter", "name=^"+name+"$") }
	state := func() otto.NodeStatus { return c.Status().Nodes[0] }
	nowhereElse := func(names ...string) {
		t.Helper()
		for _, h := range elsewhere {
			for _, name := range names {
				if id := h.Docker("ps", "-q", "--filter", "name=^"+name+"$"); id != "" {
					t.Errorf("%s runs on %s", name, h.Name)
				}
			}
		}
	}
	const limit = 30 * time.Second // ten are promised, see BenchmarkGreyHost; this machine may be busy
	web, began := container("web"), time.Now()

	n1.Freeze()
	answeredBy(t, limit, elsewhere...)
	t.Logf("frozen: answered elsewhere after %s", time.Since(began).Round(10*time.Millisecond))
	time.Sleep(time.Until(began.Add(14 * time.Second))) // the lease of db has ended
	nowhereElse("db", "pet")
	if n := state(); n.State != otto.NodeUnresponsive || !strings.Contains(n.Reason, "says nothing") {
		t.Errorf("n1 is %s: %s", n.State, n.Reason)
	}
	n1.Thaw()
	lab.Until(t, "all is up again", func() bool { return allUp(c) })
	nowhereElse("web", "db", "pet")
	if now := container("web"); now != web {
		t.Errorf("web is %s now and was %s", now, web)
	}

	time.Sleep(3 * time.Second) // links are learned
	began = time.Now()
	n1.KillPrograms()
	answeredBy(t, limit, elsewhere...)
	t.Logf("killed: answered elsewhere after %s", time.Since(began).Round(10*time.Millisecond))
	time.Sleep(time.Until(began.Add(13 * time.Second)))
	nowhereElse("db", "pet")
	if n := state(); n.State != otto.NodeUnresponsive || !strings.Contains(n.Reason, "refuses connections") {
		t.Errorf("n1 is %s: %s", n.State, n.Reason)
	}
	n1.Kill()
	lab.Until(t, "db runs elsewhere", func() bool {
		i := c.Status().Services[1].Instances[0]
		return i.Node != "n1" && i.Up()
	})
	nowhereElse("pet")
}

// answeredBy waits until the service web answers on one of some hosts.
func answeredBy(t *testing.T, within time.Duration, hosts ...*lab.Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	client := http.Client{Timeout: 200 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		for _, h := range hosts {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.IP+":8080/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if res, err := client.Do(r); err == nil {
				res.Body.Close()
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("nobody answers within %s", within)
}
