package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

// TestProgress shows the same two views in lines and as a list on a terminal.
func TestProgress(t *testing.T) {
	first := &otto.Cluster{
		Nodes: []otto.NodeStatus{
			{Node: otto.Node{ID: "pi"}, State: otto.NodeJoining, Step: "uploading the agent"},
			{
				Node:  otto.Node{ID: "laptop"},
				State: otto.NodeReady,
				Facts: otto.NodeFacts{Arch: "amd64", Engine: otto.Engine{Name: "docker", Version: "20.10"}},
			},
		},
		Services: []otto.ServiceStatus{{Instances: []otto.PlacedInstance{
			{Node: "pi", InstanceStatus: otto.InstanceStatus{Name: "web", State: otto.InstanceUnknown}},
		}}},
	}
	second := &otto.Cluster{
		Nodes: append([]otto.NodeStatus{{Node: otto.Node{ID: "pi"}, State: otto.NodeReady}}, first.Nodes[1]),
		Services: []otto.ServiceStatus{{Instances: []otto.PlacedInstance{
			{
				Node: "pi",
				InstanceStatus: otto.InstanceStatus{
					Name:    "web",
					State:   otto.InstanceFailed,
					Error:   "it ends at once, with exit code 7",
					LogTail: []string{"no such file"},
				},
			},
		}}},
	}
	tests := map[string]struct {
		live   bool
		colour bool
		want   string
	}{
		"lines, each only when it changes": {
			want: `node pi                  joining: uploading the agent
node laptop              ready (amd64, docker 20.10)
node pi                  ready
`,
		},
		"a list that is drawn again and fits the terminal": {
			live: true, colour: true,
			want: "node pi                  \x1b[33mjoining\x1b[0m: uploading …\x1b[K\n" +
				"node laptop              \x1b[32mready\x1b[0m (amd64, docke…\x1b[K\n" +
				"service web              \x1b[33munknown\x1b[0m on pi\x1b[K\n\x1b[J" +
				"\x1b[3A" +
				"node pi                  \x1b[32mready\x1b[0m\x1b[K\n" +
				"node laptop              \x1b[32mready\x1b[0m (amd64, docke…\x1b[K\n" +
				"service web              \x1b[31mfailed\x1b[0m on pi: it en…\x1b[K\n\x1b[J",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			p := &progress{
				w:      &out,
				live:   test.live,
				colour: test.colour,
				seen:   map[string]string{},
				width:  func() int { return 46 },
			}
			p.show(first)
			p.show(first)
			if test.live {
				out.Reset()
				p.drawn = 0
				p.show(first)
			}
			p.show(second)
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestStartDoesNotWaitForADrainedNode: a node that a person has drained stays so, and
// one that is taken out goes.
func TestStartDoesNotWaitForADrainedNode(t *testing.T) {
	for name, test := range map[string]struct {
		node          otto.NodeStatus
		missing, stay bool // stay: nothing more is to be expected
	}{
		"ready":           {node: otto.NodeStatus{State: otto.NodeReady, Current: true}, stay: true},
		"still stops":     {node: otto.NodeStatus{State: otto.NodeReady}, missing: true},
		"drained":         {node: otto.NodeStatus{State: otto.NodeDraining, Intent: otto.Intent{Cordoned: true, Draining: true}}, stay: true},
		"drained, broken": {node: otto.NodeStatus{State: otto.NodeDraining, Intent: otto.Intent{Draining: true}, Problem: "no engine"}, missing: true, stay: true},
		"taken out":       {node: otto.NodeStatus{State: otto.NodeDraining}, missing: true},
		"joining":         {node: otto.NodeStatus{State: otto.NodeJoining}, missing: true},
	} {
		c := &otto.Cluster{Nodes: []otto.NodeStatus{test.node}}
		if got := len(missing(c)) > 0; got != test.missing {
			t.Errorf("%s: missing is %t", name, got)
		}
		if got := stuck(c); got != test.stay {
			t.Errorf("%s: stuck is %t", name, got)
		}
	}
}

// TestStartWaitsForWhatIsStartingAgain: what an attempt before this one has failed with says
// nothing of this one.
func TestStartWaitsForWhatIsStartingAgain(t *testing.T) {
	for state, stay := range map[otto.InstanceState]bool{
		otto.InstanceStarting: false, otto.InstanceWaiting: true, otto.InstanceFailed: true,
	} {
		of := otto.PlacedInstance{Node: "a"}
		of.Name, of.State, of.Error = "web", state, "ended with exit code 1"
		c := &otto.Cluster{Services: []otto.ServiceStatus{{Instances: []otto.PlacedInstance{of}}}}
		c.Nodes = []otto.NodeStatus{{State: otto.NodeReady, Current: true}}
		c.Nodes[0].ID = "a"
		if got := stuck(c); got != stay {
			t.Errorf("%s: stuck is %t", state, got)
		}
	}
}

// TestWhatANodeHoldsUpIsSaid, at once and not when the time is over.
func TestWhatANodeHoldsUpIsSaid(t *testing.T) {
	joining := otto.NodeStatus{
		Node:   otto.Node{ID: "pi"},
		State:  otto.NodeJoining,
		Reason: "its agent has not reported yet",
	}
	web := otto.ServiceStatus{
		Service: otto.Service{Name: "web"},
		Rollout: &otto.UpdateStatus{State: otto.UpdateGoing, Left: 1},
		Instances: []otto.PlacedInstance{
			{Node: "pi", InstanceStatus: otto.InstanceStatus{Name: "web", State: otto.InstanceUnknown}},
		},
	}
	c := &otto.Cluster{Nodes: []otto.NodeStatus{joining}, Services: []otto.ServiceStatus{web}}
	if diff := cmp.Diff([]string{"web waits for node pi, which is joining: its agent has not reported yet"},
		awaited(c, web)); diff != "" {
		t.Errorf("restart (-want +got):\n%s", diff)
	}
	c.Nodes[0].Step = "connecting"
	if diff := cmp.Diff([]string{"web waits for node pi, which is joining: connecting"}, awaited(c, web)); diff != "" {
		t.Errorf("restart (-want +got):\n%s", diff)
	}

	c.Services = nil
	want := drained{
		Node: "pi",
		Left: []stay{{"pi", "it has not said yet that all else is stopped: it is joining: connecting"}},
	}
	if now, going := drainOf(c, "pi", nil); !going || !cmp.Equal(want, now) {
		t.Errorf("drain of an empty node: going %t, %s", going, cmp.Diff(want, now))
	}
	pinned := web
	pinned.Node = "pi" // its home
	c.Services = []otto.ServiceStatus{pinned}
	now, going := drainOf(c, "pi", nil)
	if !going || len(now.Left) != 2 || now.Left[1] != want.Left[0] {
		t.Errorf("drain of a node that something stays on: going %t, %+v", going, now)
	}

	c.Nodes[0].State, c.Nodes[0].Current = otto.NodeReady, true
	if list := awaited(c, web); list != nil {
		t.Errorf("of a node that is ready: %v", list)
	}
}

// TestWhatHasBeenDoneIsNotSaidOfAReadyNode: its report is there before who waits for it
// has noticed.
func TestWhatHasBeenDoneIsNotSaidOfAReadyNode(t *testing.T) {
	n := otto.NodeStatus{Node: otto.Node{ID: "pi"}, State: otto.NodeJoining, Step: "waiting for the agent's report"}
	if got, want := stateOf(n), "joining: waiting for the agent's report"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	n.State, n.Current = otto.NodeReady, true
	if got := stateOf(n); got != "ready" {
		t.Errorf("%q, want ready alone", got)
	}
	var out bytes.Buffer
	(&app{out: &out}).printTroubles(&out, &otto.Cluster{Nodes: []otto.NodeStatus{n}})
	if out.Len() > 0 {
		t.Errorf("status says %q", out.String())
	}
}
