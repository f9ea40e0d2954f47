package doctor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func ptr[T any](v T) *T { return &v }

var noon = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// healthy is a node of which everything is known and fine.
func healthy() Exam {
	return Exam{
		Node: otto.Node{ID: "pi", Host: "192.0.2.7"}, Received: noon, Serving: true, Started: true,
		Status: &otto.NodeStatus{Node: otto.Node{ID: "pi"}, State: otto.NodeReady},
		Agent:  Agent{Installed: true, Running: true, Current: true},
		Facts: Facts{
			Time:      noon.Add(-time.Second),
			Model:     "Raspberry Pi 4 Model B",
			Agent:     "1.0",
			Memory:    ptr(true),
			Throttled: ptr(uint32(0)),
			Engine: &Engine{
				Name:      "Docker",
				Version:   "27.0",
				API:       "1.45",
				Storage:   "overlay2",
				LogDriver: "local",
				LogLimit:  ptr(true),
			},
			Wireless: []Wireless{{Name: "wlan0", PowerSave: ptr(false)}},
			Disks:    []Disk{{Path: "/", Free: 10 << 30, Total: 20 << 30, FreeFiles: 100, TotalFiles: 200}},
			Sync:     &Sync{Path: "/", Writes: 100, P50: time.Millisecond, P99: 50 * time.Millisecond},
			Brokers: []Broker{
				{Address: "192.0.2.1:1883", Problem: "no answer"},
				{Address: "192.0.2.2:1883", Took: time.Millisecond},
			},
		},
	}
}

func TestHealthyNodeHasNothingToMend(t *testing.T) {
	for _, f := range Node(healthy()) {
		if f.Level != OK || f.Node != "pi" || f.What == "" {
			t.Errorf("%+v", f)
		}
	}
	if n := len(Node(healthy())); n != 13 {
		t.Errorf("%d findings", n)
	}
}

func TestNothingIsSaidOfWhatANodeDoesNotHave(t *testing.T) {
	list := Node(
		Exam{Node: otto.Node{ID: "pc"}, Agent: Agent{Installed: true, Running: true, Current: true}, Started: true},
	)
	if len(list) != 2 || list[0].Check != "ssh" || list[1].Check != "agent" {
		t.Errorf("%+v", list)
	}
}

func TestNodeFindings(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Exam)
		level  Level
		check  string
		what   string // begins so
		try    string // has this
	}{
		{"unreachable", func(x *Exam) {
			x.Err = errors.New(
				"pi cannot be reached at 192.0.2.7:22: no answer within 5s; is it switched on and in this network?",
			)
		}, Problem, "ssh", "pi cannot be reached at 192.0.2.7:22: no answer within 5s", "is it switched on"},
		{"no agent", func(x *Exam) { x.Agent = Agent{} }, Problem, "agent", "there is no agent", "otto cluster start"},
		{
			"no agent yet",
			func(x *Exam) { x.Agent, x.Started = Agent{}, false },
			Warning,
			"agent",
			"no agent is there yet",
			"otto cluster start",
		},
		{
			"agent dead",
			func(x *Exam) { x.Agent.Running = false },
			Problem,
			"agent",
			"the agent does not run",
			"otto cluster start",
		},
		{
			"agent that cannot say",
			func(x *Exam) { x.Agent.Problem = "usage" },
			Warning,
			"agent",
			"the agent cannot examine its node, so little can be said of it: usage",
			"overloaded",
		},
		{
			"agent of another build that cannot say",
			func(x *Exam) { x.Agent.Problem, x.Agent.Current = "version", false },
			Warning,
			"agent",
			"the agent is of another build than this otto and cannot examine",
			"otto cluster start",
		},
		{
			"engine too old",
			func(x *Exam) { x.Facts.Engine.API = "1.40" },
			Problem,
			"engine",
			"Docker 27.0, API 1.40 is too old: Otto needs API 1.41",
			"upgrade",
		},
		{
			"agent of another build",
			func(x *Exam) { x.Agent.Current = false },
			Warning,
			"agent",
			"the agent (1.0) is of another build",
			"otto cluster start",
		},
		{
			"clock ahead",
			func(x *Exam) { x.Facts.Time = noon.Add(2001 * time.Millisecond) },
			Warning,
			"clock",
			"its clock is 2s ahead of",
			"set-ntp",
		},
		{
			"clock in 1970",
			func(x *Exam) { x.Facts.Time = time.Unix(86400, 0) },
			Warning,
			"clock",
			"its clock is 20239 days behind",
			"set-ntp",
		},
		{"engine stopped", func(x *Exam) {
			x.Facts.Engine = &Engine{
				Problem: "the container engine on pi does not run (there is no /s): run `sudo systemctl start docker` there",
			}
		}, Problem, "engine", "the container engine on pi does not run (there is no /s)", "run `sudo systemctl start docker` there"},
		{
			"engine open to all",
			func(x *Exam) { x.Facts.Engine.Open = []string{"0.0.0.0:2375"} },
			Problem,
			"engine",
			"the engine takes orders at 0.0.0.0:2375 without TLS",
			"daemon.json",
		},
		{
			"vfs",
			func(x *Exam) { x.Facts.Engine.Storage = "vfs" },
			Warning,
			"storage",
			"the engine's storage driver is vfs",
			"overlay2",
		},
		{
			"devicemapper",
			func(x *Exam) { x.Facts.Engine.Storage = "devicemapper" },
			Warning,
			"storage",
			"the engine's storage driver is devicemapper",
			"overlay2",
		},
		{
			"logs without bounds",
			func(x *Exam) { x.Facts.Engine.LogLimit = ptr(false) },
			Warning,
			"logs",
			"the engine does not bound logs",
			"log-driver",
		},
		{
			"memory cgroup off on a Pi",
			func(x *Exam) { x.Facts.Memory = ptr(false) },
			Problem,
			"memory",
			"the kernel's memory cgroup is off",
			"cmdline.txt",
		},
		{
			"engine ignores limits",
			func(x *Exam) { x.Facts.Model, x.Facts.Engine.NoMemoryLimit = "", true },
			Problem,
			"memory",
			"memory limits are taken and ignored",
			"cgroup_enable=memory",
		},
		{
			"low voltage now",
			func(x *Exam) { x.Facts.Throttled = ptr(uint32(0x50005)) },
			Problem,
			"power",
			"the supply voltage is too low right now, and the board slows itself down (get_throttled 0x50005)",
			"power supply",
		},
		{
			"low voltage, not slow",
			func(x *Exam) { x.Facts.Throttled = ptr(uint32(0x10001)) },
			Problem,
			"power",
			"the supply voltage is too low right now (",
			"power supply",
		},
		{
			"low voltage before",
			func(x *Exam) { x.Facts.Throttled = ptr(uint32(0x50000)) },
			Warning,
			"power",
			"the supply voltage was too low since",
			"power supply",
		},
		{
			"too hot now",
			func(x *Exam) { x.Facts.Throttled = ptr(uint32(0xE0008)) },
			Warning,
			"power",
			"the board is too hot",
			"cool it",
		},
		{
			"too hot before",
			func(x *Exam) { x.Facts.Throttled = ptr(uint32(0x80000)) },
			Warning,
			"power",
			"the board was too hot",
			"cool it",
		},
		{
			"power save",
			func(x *Exam) { x.Facts.Wireless[0].PowerSave = ptr(true) },
			Warning,
			"wifi",
			"wlan0 saves power",
			"iw dev wlan0 set power_save off",
		},
		{
			"disk full",
			func(x *Exam) { x.Facts.Disks[0].Free = 256<<20 - 1 },
			Problem,
			"disk",
			"the disk is full: 256 MB of 20.0 GB free at /",
			"image prune",
		},
		{
			"disk low",
			func(x *Exam) { x.Facts.Disks[0].Free = 1<<30 - 1 },
			Warning,
			"disk",
			"the disk is nearly full",
			"image prune",
		},
		{
			"no files left",
			func(x *Exam) { x.Facts.Disks[0].FreeFiles = 9 },
			Warning,
			"disk",
			"the disk can hold only 9 more files",
			"df -i",
		},
		{
			"slow disk",
			func(x *Exam) { x.Facts.Sync.P99 = 51 * time.Millisecond },
			Warning,
			"fsync",
			"the disk is slow: one write in a hundred takes 51.0 ms",
			"SSD",
		},
		{
			"read-only disk",
			func(x *Exam) { x.Facts.Sync.Problem = "read-only file system" },
			Problem,
			"fsync",
			"nothing can be written to /: read-only",
			"remount",
		},
		{
			"no broker",
			func(x *Exam) { x.Facts.Brokers = x.Facts.Brokers[:1] },
			Problem,
			"broker",
			"it cannot reach the broker: no answer",
			"firewall",
		},
		{
			"a question without an answer",
			func(x *Exam) { x.Facts.Unanswered = []string{"its disk"} },
			Warning,
			"answers",
			"the node did not answer in time what was asked of: its disk",
			"dmesg",
		},
		{
			"lost",
			func(x *Exam) { x.Status.State, x.Status.Reason = otto.NodeLost, "nobody reaches it" },
			Problem,
			"state",
			"the control plane takes it for lost: nobody reaches it",
			"otto events --node pi",
		},
		{
			"joining",
			func(x *Exam) { x.Status.State, x.Status.Step = otto.NodeJoining, "connecting" },
			Warning,
			"state",
			"it is joining: connecting",
			"again",
		},
		{
			"ready with a problem",
			func(x *Exam) { x.Status.Problem = "two agents: stop one" },
			Problem,
			"state",
			"two agents",
			"stop one",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := healthy()
			test.change(&x)
			list := Node(x)
			f := list[0]
			if f.Level != test.level || f.Check != test.check || !strings.HasPrefix(f.What, test.what) ||
				!strings.Contains(f.Try, test.try) {
				t.Errorf("got %+v", f)
			}
			if n := Count(list, Problem) + Count(list, Warning); n != 1 {
				t.Errorf("%d things to mend: %+v", n, list)
			}
		})
	}
}

func TestWhatTheEngineSaysIsSaidOnce(t *testing.T) {
	x := healthy()
	x.Facts.Engine = &Engine{Problem: "it hangs"}
	x.Status.Problem, x.Status.Facts.Engine.Problem = "engine: it hangs", "engine: it hangs"
	if list := Node(x); Count(list, Problem) != 1 || list[0].Check != "engine" {
		t.Errorf("%+v", list)
	}
}

func TestNodeCannotWriteToTheTerminal(t *testing.T) {
	x := healthy()
	x.Facts.Engine.Problem = "\x1b[2Jhidden\r\n\x07"
	if f := Node(x)[0]; f.What != "[2Jhidden;" {
		t.Errorf("%q", f.What)
	}
}

func TestStoppedClusterNeedsNoAgentAndNoBroker(t *testing.T) {
	x := healthy()
	x.Status, x.Started, x.Serving, x.Agent.Running = nil, false, false, false
	x.Facts.Brokers = x.Facts.Brokers[:1]
	if list := Node(x); Count(list, OK) != len(list) {
		t.Errorf("%+v", list)
	}
}

func TestWhatTheBrokerRefusesIsFound(t *testing.T) {
	c := &otto.Cluster{Version: "1", Refused: []otto.Refused{
		{
			What:   "a client is not let in",
			Total:  900,
			Recent: 300,
			From:   "10.0.0.7",
		},
		{What: "a will is dropped", Total: 3, Recent: 3},
	}}
	var found []string
	for _, f := range Machine(Here{Version: "1", Running: true, Cluster: c}) {
		if f.Check == "refused" {
			found = append(found, string(f.Level)+": "+f.What)
		}
	}
	want := []string{
		"warning: the broker: a client is not let in (300 times in the last ten minutes, last from 10.0.0.7)",
		"ok: a will is dropped: 3 times since the control plane started",
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
}

func TestOpenBrokerIsFound(t *testing.T) {
	for open, want := range map[bool]Level{true: Warning, false: OK} {
		for _, f := range Machine(Here{Version: "1", Broker: &Broker{Address: "10.0.0.9:1883", Open: open}}) {
			if f.Check == "broker" && f.Level != want {
				t.Errorf("open is %v: %s: %s", open, f.Level, f.What)
			}
		}
	}
}
