package control_test

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// points counts the steps of a failover, and strikes at the nth of them.
type points struct {
	victim string        // whose process goes no further, if it is the one to take that step
	struck chan struct{} // closed when it is taken

	mu   sync.Mutex
	nth  int // 0: not yet
	seen int
	at   string
}

// arm begins to count.
func (p *points) arm(nth int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen, p.nth = 0, nth
}

// always are sent all the time, failover or not.
var always = []string{"heartbeat", "node", "containers", "lease", "question", "answer"}

func (p *points) take(by *ottotest.Process, point string) {
	_, topic, _ := strings.Cut(point, "publish ")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nth == 0 || slices.Contains(always, topic) {
		return
	}
	if p.seen++; p.seen != p.nth {
		return
	}
	p.at = by.Name + " " + point
	if by.Name == p.victim {
		by.Kill()
	}
	close(p.struck)
}

// TestPowerCutInEachStepOfAFailover cuts a node off and, at every single step that
// the control plane and the engines take to replace it (each write, each message,
// each container made, started or ended), kills something more: the node itself,
// a node that its services go to, or the control plane. It does so at every fifth
// step unless OTTO_SOAK is set.
func TestPowerCutInEachStepOfAFailover(t *testing.T) {
	for _, victim := range []string{"a", "b", "c", "control"} {
		t.Run(victim, func(t *testing.T) {
			stride := 5
			if os.Getenv("OTTO_SOAK") != "" {
				stride = 1
			}
			n := 1
			for ; struckAt(t, victim, n); n += stride {
				if t.Failed() {
					return
				}
			}
			if n < 30 {
				t.Errorf("%d steps only", n)
			}
			t.Logf("about %d steps", n)
		})
	}
}

// struckAt has something killed at the nth step of a failover, and reports
// whether there are so many.
func struckAt(t *testing.T, victim string, nth int) (struck bool) {
	services := []otto.Service{movable("web", "a"), disposable("db", "a")}
	p := &points{victim: victim}
	inThreeWith(t, services, func(_ *testing.T, c *ottotest.Cluster) {
		c.AtEffect = p.take
		for _, h := range c.Hosts {
			h.Runtime.StartTime, h.Runtime.StopTime = 200*time.Millisecond, 100*time.Millisecond
		}
	}, func(t *testing.T, c *ottotest.Cluster) {
		p.struck = make(chan struct{}) // of this bubble
		p.arm(nth)
		c.Cut("a")
		select {
		case <-p.struck:
			struck = true
		case <-time.After(30 * time.Second):
			return
		}
		switch victim {
		case "control":
			c.KillPlane()
			time.Sleep(time.Second)
			c.StartPlane()
		default:
			c.PowerOff(victim)
		}
		once := func(limit time.Duration, except string) {
			t.Helper()
			for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
				web := slices.DeleteFunc(c.Running("web"), func(h string) bool { return h == except })
				if len(web) == 1 && len(c.Running("db")) == 1 {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("%s struck at step %d, %s: after %s web runs on %v, db on %v", victim, nth, p.at, limit, c.Running("web"), c.Running("db"))
				}
			}
		}
		if victim == "b" || victim == "c" {
			time.Sleep(30 * time.Second) // most nodes are silent: nothing is moved
			if err := c.PowerOn(victim, true); err != nil {
				t.Fatal(err)
			}
		}
		once(time.Minute, "a") // being cut off and stateless, web runs on there
		if victim == "a" {
			if err := c.PowerOn("a", true); err != nil {
				t.Fatal(err)
			}
		}
		c.Heal("a")
		c.WaitUp(time.Minute)
		once(10*time.Second, "")
		quiet(t, c, time.Minute)
	})
	return struck
}
