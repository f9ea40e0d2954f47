package control_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

// errand is what runs while keys are renewed: db needs a lease.
func errand() []otto.Service {
	return []otto.Service{movable("web", "a"), disposable("db", "a"), service("home", "c")}
}

// own makes the bus that of the control plane, and has events kept in a journal.
func own(events **journal.Journal) func(*testing.T, *ottotest.Cluster) {
	return func(_ *testing.T, c *ottotest.Cluster) {
		c.OwnBroker = true
		*events, _ = journal.Open("", journal.Limit)
		c.Journal = *events
	}
}

func eventsOf(events *journal.Journal, kinds ...string) (messages []string) {
	list, _ := events.After(0)
	for _, e := range list {
		for _, k := range kinds {
			if e.Kind == k {
				messages = append(messages, e.Kind+": "+e.Message)
			}
		}
	}
	return messages
}

func rotate(t *testing.T, c *ottotest.Cluster, compromised bool) {
	t.Helper()
	if err := c.Plane.Rotate(t.Context(), compromised); err != nil {
		t.Fatal(err)
	}
}

// renewed waits until a renewal is over and all nodes have their keys.
func renewed(t *testing.T, c *ottotest.Cluster, limit time.Duration) {
	t.Helper()
	c.Wait(limit, "keys renewed", func(v *otto.Cluster) bool { return v.Rotation == nil })
}

// signingKey is the cluster's private one, as it is stored.
func signingKey(t *testing.T, c *ottotest.Cluster) ed25519.PrivateKey {
	t.Helper()
	var identity struct{ Key ed25519.PrivateKey }
	if found, err := c.Store.Get(t.Context(), "identity", &identity); err != nil || !found {
		t.Fatalf("found %t: %v", found, err)
	}
	return identity.Key
}

// forged publishes an empty assignment for a node, by a key, that is newer than any.
func forged(t *testing.T, c *ottotest.Cluster, key ed25519.PrivateKey, node string) {
	t.Helper()
	b, err := wire.SignAssignment(key,
		otto.Assignment{ClusterID: c.ClusterID(), Node: node, Revision: otto.Revision{Epoch: 99, Number: 1}})
	if err != nil {
		t.Fatal(err)
	}
	c.Bus.Inject(wire.NodeTopic(node, wire.KindAssignment), false, b)
}

var once = map[string]int{"web": 1, "db": 1, "home": 1}

func TestKeysAreRenewedWithoutARestart(t *testing.T) {
	for _, ours := range []bool{true, false} {
		t.Run(fmt.Sprintf("broker is ours %t", ours), func(t *testing.T) {
			var events *journal.Journal
			prepare := func(t *testing.T, c *ottotest.Cluster) {
				own(&events)(t, c)
				c.OwnBroker = ours
			}
			inThreeWith(t, errand(), prepare, func(t *testing.T, c *ottotest.Cluster) {
				was, key, id := *c.Hosts["a"].Enrolment(), signingKey(t, c), c.ClusterID()
				c.Hosts["a"].StopSSH() // the rotation waits for it, as its agent is heard
				rotate(t, c, false)
				quiet(t, c, 5*time.Minute)
				if r := c.Plane.Cluster().Rotation; r == nil || r.Since.IsZero() || len(r.Lacking) != 1 ||
					r.Lacking[0].Node != "a" || r.Lacking[0].Absent {
					t.Errorf("waiting for %+v", r)
				}
				if err := c.Plane.Rotate(t.Context(), false); err == nil || !strings.Contains(err.Error(), "already") {
					t.Errorf("a second one meanwhile: %v", err)
				}
				if ours && !c.Admits(was) {
					t.Error("the former keys have ended at once")
				}
				c.Hosts["a"].StartSSH()
				renewed(t, c, 2*time.Minute)
				quiet(t, c, 30*time.Second)
				c.WaitUp(time.Second)
				is := *c.Hosts["a"].Enrolment()
				if ours && (c.Admits(was) || !c.Admits(is)) {
					t.Errorf("admitted: by the former keys %t, by the new ones %t", c.Admits(was), c.Admits(is))
				}
				if is.ControlKey.Equal(was.ControlKey) || !is.Replaced(was.ControlKey) || is.ClusterID != id {
					t.Errorf("the node has %+v", is)
				}
				forged(t, c, key, "a")
				quiet(t, c, 10*time.Second)
				if diff := cmp.Diff(once, started(c, "web", "db", "home")); diff != "" {
					t.Errorf("starts: %s", diff)
				}
				if bad := eventsOf(events, "instance-fenced", "service-moved", "node-lost", "stepped-down"); bad != nil {
					t.Error(bad)
				}
				if got := eventsOf(events, "rotation-started", "rotation-done"); len(got) != 2 {
					t.Errorf("events: %v", got)
				}
				rotate(t, c, false) // and again
				renewed(t, c, 20*time.Second)
				if diff := cmp.Diff(once, started(c, "web", "db", "home")); diff != "" {
					t.Errorf("starts: %s", diff)
				}
			})
		})
	}
}

// TestKeysCompromised is about those that somebody else may have: nothing of theirs counts
// from the moment that it is said.
func TestKeysCompromised(t *testing.T) {
	var events *journal.Journal
	inThreeWith(t, errand(), own(&events), func(t *testing.T, c *ottotest.Cluster) {
		was, key := *c.Hosts["a"].Enrolment(), signingKey(t, c)
		rotate(t, c, true)
		if c.Admits(was) {
			t.Error("the former keys still hold")
		}
		renewed(t, c, 20*time.Second)
		c.WaitUp(20 * time.Second)
		forged(t, c, key, "a")
		quiet(t, c, 30*time.Second)
		if diff := cmp.Diff(once, started(c, "web", "db", "home")); diff != "" {
			t.Errorf("starts: %s", diff)
		}
		is := *c.Hosts["a"].Enrolment()
		stolen, err := wire.SignAssignment(key, otto.Assignment{ClusterID: is.ClusterID, Node: "a"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := is.OpenStored(stolen); !errors.Is(err, wire.ErrSignature) {
			t.Errorf("what is on a disk by the former key: %v", err)
		}
	})
}

// TestKeysReachWhoWasAway has a node without network or power during the whole renewal.
func TestKeysReachWhoWasAway(t *testing.T) {
	for _, compromised := range []bool{false, true} {
		for _, how := range []string{"cut", "power"} {
			t.Run(fmt.Sprintf("%s compromised %t", how, compromised), func(t *testing.T) {
				var events *journal.Journal
				inThreeWith(t, errand(), own(&events), func(t *testing.T, c *ottotest.Cluster) {
					key := signingKey(t, c)
					if how == "cut" {
						c.Cut("c")
					} else {
						c.PowerOff("c")
					}
					time.Sleep(30 * time.Second)
					rotate(t, c, compromised)
					v := c.Wait(5*time.Minute, "the others have new keys", func(v *otto.Cluster) bool {
						return v.Rotation != nil && v.Rotation.Since.IsZero()
					})
					if l := v.Rotation.Lacking; len(l) != 1 || l[0].Node != "c" || !l[0].Absent || l[0].Why == "" {
						t.Errorf("lacking: %+v", l)
					}
					c.KillPlane()
					c.StartPlane()
					time.Sleep(5 * time.Minute)
					former := *c.Hosts["c"].Enrolment()
					if c.Admits(former) {
						t.Error("the former keys still hold")
					}
					if how == "cut" {
						c.Heal("c")
					} else if err := c.PowerOn("c", true); err != nil {
						t.Fatal(err)
					}
					forged(t, c, key, "a")
					renewed(t, c, 3*time.Minute)
					c.WaitUp(20 * time.Second)
					if diff := cmp.Diff(once, started(c, "web", "db", "home")); diff != "" {
						t.Errorf("starts: %s", diff)
					}
				})
			})
		}
	}
}

// TestControlPlaneKilledWhileKeysAreRenewed before and after each thing that it does.
func TestControlPlaneKilledWhileKeysAreRenewed(t *testing.T) {
	for _, compromised := range []bool{false, true} {
		deaths := 0
		for point := 1; ; point++ {
			var count, at atomic.Int64
			var kinds atomic.Value
			kinds.Store("")
			var events *journal.Journal
			prepare := func(t *testing.T, c *ottotest.Cluster) {
				own(&events)(t, c)
				c.AtEffect = func(p *ottotest.Process, effect string) {
					kept := strings.Contains(effect, "store") || strings.Contains(effect, "publish assignment")
					if p.Name == "control" && at.Load() > 0 && kept && count.Add(1) == at.Load() {
						kinds.Store(effect)
						p.Kill()
					}
				}
			}
			inThreeWith(t, errand(), prepare, func(t *testing.T, c *ottotest.Cluster) {
				at.Store(int64(point))
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				_ = c.Plane.Rotate(ctx, compromised)
				for range 200 {
					time.Sleep(100 * time.Millisecond)
					if kinds.Load() != "" {
						break
					}
				}
				if at.Store(0); kinds.Load() != "" {
					deaths++
					c.KillPlane()
					c.StartPlane()
				}
				c.WaitUp(time.Minute)
				renewed(t, c, time.Minute)
				quiet(t, c, 20*time.Second)
				if !compromised {
					if diff := cmp.Diff(once, started(c, "web", "db", "home")); diff != "" {
						t.Errorf("killed at %d (%s): starts: %s", point, kinds.Load(), diff)
					}
				}
				if !c.Admits(*c.Hosts["a"].Enrolment()) {
					t.Errorf("killed at %d (%s): a node is locked out", point, kinds.Load())
				}
			})
			if kinds.Load() == "" || t.Failed() {
				break
			}
		}
		if deaths < 8 {
			t.Errorf("only %d deaths", deaths)
		}
		t.Logf("killed at %d points", deaths)
	}
}

// TestBackupOfBeforeARenewal is restored when nodes know only keys that it does not have.
func TestBackupOfBeforeARenewal(t *testing.T) {
	for _, compromised := range []bool{false, true} {
		var events *journal.Journal
		inThreeWith(t, errand(), own(&events), func(t *testing.T, c *ottotest.Cluster) {
			old, id := c.Backup(), c.ClusterID()
			rotate(t, c, compromised)
			renewed(t, c, 20*time.Second)
			has := c.Hosts["a"].Enrolment().ControlKey
			c.KillPlane()
			c.Restore(old)
			c.StartPlane()
			apply(t, c, three(errand()...))
			renewed(t, c, time.Minute)
			c.WaitUp(30 * time.Second)
			quiet(t, c, 30*time.Second)
			if c.ClusterID() != id {
				t.Error("it is another cluster")
			}
			if e := c.Hosts["b"].Enrolment(); !e.Replaced(has) {
				t.Error("the control plane that has renewed them, should it still run, would not step aside")
			}
			if diff := cmp.Diff(map[string]int{"web": 1, "home": 1}, started(c, "web", "home")); diff != "" {
				t.Errorf("compromised %t: starts: %s", compromised, diff)
			}
		})
	}
}

// TestCopyOfBeforeARenewalStepsAside is about an older copy of the state, which nobody has
// restored: it must not bring its keys back, and decides when a person says so.
func TestCopyOfBeforeARenewalStepsAside(t *testing.T) {
	for _, compromised := range []bool{false, true} {
		var events *journal.Journal
		inThreeWith(t, errand(), own(&events), func(t *testing.T, c *ottotest.Cluster) {
			old := c.Store.Copy()
			rotate(t, c, compromised)
			renewed(t, c, 20*time.Second)
			has := c.Hosts["a"].Enrolment().ControlKey
			c.KillPlane()
			c.Store.Become(old)
			c.StartPlane()
			c.Wait(30*time.Second, "it steps aside", func(v *otto.Cluster) bool {
				return strings.Contains(v.Problem, "have been renewed") && strings.Contains(v.Problem, "--take-over")
			})
			time.Sleep(time.Minute)
			if now := c.Hosts["a"].Enrolment().ControlKey; !now.Equal(has) {
				t.Error("it has brought its keys back")
			}
			if err := c.Plane.TakeOver(t.Context()); err != nil {
				t.Fatal(err)
			}
			renewed(t, c, time.Minute)
			c.WaitUp(30 * time.Second)
			if e := c.Hosts["b"].Enrolment(); !e.Replaced(has) {
				t.Error("the control plane that has renewed them would not step aside for this one")
			}
			if diff := cmp.Diff(map[string]int{"web": 1, "home": 1}, started(c, "web", "home")); diff != "" {
				t.Errorf("compromised %t: starts: %s", compromised, diff)
			}
		})
	}
}
