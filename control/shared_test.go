package control_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

// tap is somebody with the account that all nodes share at a broker that is not Otto's: he
// reads everything and publishes what he likes.
type tap struct {
	mu   sync.Mutex
	said []tapped
}

type tapped struct {
	topic   string
	payload []byte
}

func tapOn(c *ottotest.Cluster) *tap {
	k := &tap{}
	before := c.Bus.Retain
	c.Bus.Retain = func(topic string, payload []byte) {
		k.note(topic, payload)
		if before != nil {
			before(topic, payload)
		}
	}
	conn := c.Bus.Client("tap")
	conn.Subscribe("otto/#", k.note)
	ctx := c.T.Context()
	go func() { _ = conn.Run(ctx) }()
	return k
}

func (k *tap) note(topic string, payload []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.said = append(k.said, tapped{topic, bytes.Clone(payload)})
}

// of is all that was said in the name of a node so far.
func (k *tap) of(node string) (list []tapped) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.said {
		if id, kind, ok := wire.ParseNodeTopic(m.topic); ok && id == node && slices.Contains(wire.ReportKinds(), kind) {
			list = append(list, m)
		}
	}
	return list
}

// inShared runs a test with three hosts, a control plane and a tap at a broker that all share.
func inShared(t *testing.T, services []otto.Service, f func(*testing.T, *ottotest.Cluster, *tap)) {
	t.Helper()
	var k *tap
	inThreeWith(t, services, func(_ *testing.T, c *ottotest.Cluster) { k = tapOn(c) },
		func(t *testing.T, c *ottotest.Cluster) { f(t, c, k) })
}

// TestNobodyKeepsADeadNodeAlive has somebody with the shared account speak for a node that
// has lost its power, in his own words, in another node's, and in its own of before: it
// is lost as fast as ever, and what may move does.
func TestNobodyKeepsADeadNodeAlive(t *testing.T) {
	inShared(t, []otto.Service{movable("web", "a"), service("home", "b")}, func(t *testing.T, c *ottotest.Cluster, k *tap) {
		c.PowerOff("a")
		words, others := k.of("a"), k.of("b")
		end := make(chan struct{})
		var talking sync.WaitGroup
		talking.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-end:
					return
				case <-time.After(20 * time.Millisecond):
				}
				again := words[i%len(words)]
				c.Bus.Inject(again.topic, false, again.payload)
				c.Bus.Inject(wire.NodeTopic("a", wire.KindHeartbeat), false, []byte(`{"boot_id":"a-boot-1","seq":999}`))
				c.Bus.Inject(wire.NodeTopic("a", wire.KindNodeMetrics), false, again.payload)
				for _, m := range others[:min(20, len(others))] {
					if _, kind, _ := wire.ParseNodeTopic(m.topic); kind == wire.KindHeartbeat {
						c.Bus.Inject(wire.NodeTopic("a", kind), false, m.payload)
					}
				}
			}
		})
		elsewhere := func() bool { on := c.Running("web"); return len(on) == 1 && on[0] != "a" }
		began := time.Now()
		for !elsewhere() && time.Since(began) < 20*time.Second {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("web has moved after %s", took)
		}
		c.Wait(10*time.Second, "node a lost", func(v *otto.Cluster) bool { return v.Nodes[0].State == otto.NodeLost })
		time.Sleep(20 * time.Second)
		if is := c.Plane.Cluster().Nodes[0]; is.State != otto.NodeLost || !strings.Contains(strings.Join(is.Warnings, " "), "somebody publishes in its name") {
			t.Errorf("node a is %s, with warnings %q", is.State, is.Warnings)
		}
		close(end)
		talking.Wait()
		if err := c.PowerOn("a", true); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(time.Minute)
	})
}

// TestWordsOfBeforeCountForNothingAfterARestart has somebody say again what a dead node has
// said, to a control plane that has just started and knows nothing of that.
func TestWordsOfBeforeCountForNothingAfterARestart(t *testing.T) {
	inShared(t, []otto.Service{movable("web", "a"), disposable("db", "a")}, func(t *testing.T, c *ottotest.Cluster, k *tap) {
		words := k.of("a")
		c.NeverTwice("db")
		c.KillPlane()
		c.PowerOff("a")
		c.StartPlane()
		for range 10 {
			for _, m := range words {
				c.Bus.Inject(m.topic, false, m.payload)
			}
			time.Sleep(time.Second)
			if seen := c.Plane.Cluster().Nodes[0].LastSeen; !seen.IsZero() {
				t.Fatalf("node a was heard at %s", seen)
			}
		}
		c.Wait(time.Minute, "all of a elsewhere", func(*otto.Cluster) bool {
			return !slices.Contains(c.Running("web"), "a") && len(c.Running("web")) == 1 && len(c.Running("db")) == 1
		})
	})
}

// TestForgedReportsMoveNothing has somebody say what a node runs and how it is.
func TestForgedReportsMoveNothing(t *testing.T) {
	inShared(t, []otto.Service{disposable("db", "a"), service("home", "b")}, func(t *testing.T, c *ottotest.Cluster, k *tap) {
		c.NeverTwice("db")
		before := c.Plane.Cluster()
		starts := c.Hosts["a"].Runtime.Starts("db")
		words := k.of("a")
		for range 20 {
			for _, m := range words {
				_, kind, _ := wire.ParseNodeTopic(m.topic)
				var fields map[string]any
				if json.Unmarshal(m.payload, &fields) != nil {
					continue
				}
				fields["seq"], fields["online"], fields["cpu_percent"] = 1<<40, false, 100
				delete(fields, "instances")
				forged, _ := json.Marshal(fields)
				c.Bus.Inject(m.topic, true, forged)
				delete(fields, "proof")
				forged, _ = json.Marshal(fields)
				c.Bus.Inject(m.topic, true, forged)
				c.Bus.Inject(wire.NodeTopic("b", kind), true, m.payload)
			}
			time.Sleep(time.Second)
		}
		now := c.WaitUp(10 * time.Second)
		if n := c.Hosts["a"].Runtime.Starts("db"); n != starts {
			t.Errorf("db was started %d times", n-starts)
		}
		if is := now.Nodes[0]; !reflect.DeepEqual(is.Facts, before.Nodes[0].Facts) || is.Sample.CPUPercent != before.Nodes[0].Sample.CPUPercent {
			t.Errorf("the node is %+v %+v, and was %+v", is.Facts, is.Sample, before.Nodes[0].Facts)
		}
		if k := kinds(c.Plane, "node-lost", "node-suspect", "service-moved"); len(k) > 0 {
			t.Errorf("it had an effect: %v", k)
		}
	})
}

// TestNobodyReadsHowServicesAreRun looks for environments, commands and labels in everything
// that was ever at the broker, and on the disks of nodes.
func TestNobodyReadsHowServicesAreRun(t *testing.T) {
	s := movable("web", "a")
	s.Spec.Environment = map[string]string{"PASSWORD": planted}
	s.Spec.Command, s.Spec.Labels = []string{"--token=" + planted}, map[string]string{"auth": planted}
	s.Probe = &otto.Probe{Exec: []string{"test", planted}}
	inShared(t, []otto.Service{s}, func(t *testing.T, c *ottotest.Cluster, k *tap) {
		if got := c.Hosts["a"].Runtime.List()[0]; got.State != otto.ContainerRunning {
			t.Fatalf("%+v", got)
		}
		c.PowerOff("a")
		c.Wait(20*time.Second, "web elsewhere", func(*otto.Cluster) bool { return len(c.Running("web")) == 1 })
		k.mu.Lock()
		defer k.mu.Unlock()
		kinds := map[string]bool{}
		for _, m := range k.said {
			if _, kind, ok := wire.ParseNodeTopic(m.topic); ok {
				kinds[string(kind)] = true
			}
			if bytes.Contains(m.payload, []byte(planted)) {
				t.Fatalf("read on %s: %s", m.topic, m.payload)
			}
		}
		if !kinds["assignment"] || !kinds["instances"] {
			t.Errorf("the tap saw nothing but %v", slices.Sorted(maps.Keys(kinds)))
		}
		for id, h := range c.Hosts {
			err := filepath.WalkDir(h.Dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(planted)) {
					t.Errorf("on the disk of %s, in %s: %s", id, d.Name(), b)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// TestNodesOfAFormerBuildAreTakenOverAtASharedBroker: they cannot prove what they say until
// their new agent has come. Nothing is restarted, and then nothing counts that is not proven.
func TestNodesOfAFormerBuildAreTakenOverAtASharedBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web", "db")
		defer c.Close()
		for _, h := range c.Hosts {
			h.Former = true
		}
		c.StartPlane()
		w := wanted(service("web", "a"), disposable("db", "b"))
		w.Services[0].Spec.Environment = map[string]string{"A": planted}
		apply(t, c, w)
		c.KillPlane()
		unproving(t, c)
		c.StartPlane() // as a former build has left it
		c.WaitUp(time.Minute)
		was := map[string][]otto.Container{}
		for id, h := range c.Hosts {
			was[id] = h.Runtime.List()
			h.Former = false
		}
		c.NeverTwice("db")
		c.KillPlane()
		c.StartPlane()
		time.Sleep(10 * time.Second)
		c.WaitUp(time.Minute)
		for id := range c.Hosts { // the new build's agents are brought
			c.KillAgent(id)
		}
		time.Sleep(20 * time.Second)
		c.WaitUp(time.Minute)
		for id, h := range c.Hosts {
			if now := h.Runtime.List(); !slices.EqualFunc(was[id], now, func(x, y otto.Container) bool { return x.ID == y.ID && x.Started.Equal(y.Started) }) {
				t.Errorf("the containers of %s were %v and are %v", id, was[id], now)
			}
			if b := c.Bus.Retained(wire.NodeTopic(id, wire.KindAssignment)); bytes.Contains(b, []byte(planted)) {
				t.Errorf("%s is still sent its environments in plain", id)
			}
		}
		for range 20 {
			c.Bus.Inject(wire.NodeTopic("a", wire.KindHeartbeat), false, []byte(`{"boot_id":"forged","seq":1}`))
			time.Sleep(time.Second)
		}
		if p := c.Plane.Cluster().Nodes[0].Problem; p != "" {
			t.Errorf("what is not proven still counts: %s", p)
		}
		c.KillPlane()
		c.StartPlane()
		c.WaitUp(time.Minute)
	})
}

// unproving takes away that the nodes of a cluster prove what they say, which no former build
// has stored.
func unproving(t *testing.T, c *ottotest.Cluster) {
	t.Helper()
	var all map[string]map[string]any
	if found, err := c.Store.Get(t.Context(), "enrolled", &all); err != nil || !found {
		t.Fatal(found, err)
	}
	for _, s := range all {
		delete(s, "proves")
	}
	if err := c.Store.Put(t.Context(), "enrolled", all); err != nil {
		t.Fatal(err)
	}
}

// TestAgentThatStartsOftenIsHeardEachTime: only so many of its boots are told apart.
func TestAgentThatStartsOftenIsHeardEachTime(t *testing.T) {
	inShared(t, []otto.Service{movable("web", "a")}, func(t *testing.T, c *ottotest.Cluster, _ *tap) {
		starts := c.Hosts["a"].Runtime.Starts("web")
		for range 40 {
			c.KillAgent("a")
			if err := c.StartAgent("a"); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			c.Wait(3*time.Second, "a heard", func(v *otto.Cluster) bool {
				return v.Nodes[0].LastSeen.After(began) && v.Nodes[0].State == otto.NodeReady
			})
			time.Sleep(2 * time.Second)
		}
		if n := c.Hosts["a"].Runtime.Starts("web"); n != starts {
			t.Errorf("web was started %d times", n-starts)
		}
	})
}
