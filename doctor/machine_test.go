package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestMachineFindings(t *testing.T) {
	fine := func() Here {
		return Here{
			Version:   "1",
			Dir:       "/h/.otto",
			Running:   true,
			Remote:    true,
			Cluster:   &otto.Cluster{Name: "home", Version: "1"},
			Broker:    &Broker{Address: "127.0.0.1:1883"},
			Listening: []string{"[::]:1883"},
			Needed:    "0.0.0.0:1883",
			Disk:      &Disk{Path: "/", Free: 10 << 30, Total: 20 << 30},
			Sync:      &Sync{Path: "/", Writes: 100},
		}
	}
	if list := Machine(fine()); Count(list, OK) != 7 || len(list) != 7 {
		t.Errorf("of a healthy one: %+v", list)
	}
	tests := []struct {
		name   string
		change func(*Here)
		level  Level
		check  string
		what   string
		try    string
	}{
		{
			"wrong file",
			func(h *Here) { h.Config = []Remark{{"otto.yaml:3:5: there is no key imag", "write image"}} },
			Problem,
			"config",
			"otto.yaml:3:5: there is no key imag",
			"write image",
		},
		{
			"warning",
			func(h *Here) { h.Warnings = []Remark{{"otto.yaml:3:5: A is not set", "set it"}} },
			Warning,
			"config",
			"otto.yaml:3:5: A is not set",
			"set it",
		},
		{
			"dead",
			func(h *Here) { h.Running, h.Listening = false, nil },
			Problem,
			"control",
			"the control plane does not run",
			"otto cluster start",
		},
		{
			"deaf",
			func(h *Here) { h.Control = "the control plane does not answer within 5s: look at log" },
			Problem,
			"control",
			"the control plane does not answer",
			"look at log",
		},
		{
			"frozen",
			func(h *Here) { h.Cluster.Problem = "the store is lost" },
			Problem,
			"control",
			"the store is lost",
			"control.log",
		},
		{
			"old",
			func(h *Here) { h.Cluster.Version = "0" },
			Warning,
			"control",
			"the control plane is version 0, this otto is 1",
			"otto cluster start",
		},
		{
			"open",
			func(h *Here) { h.Modes = []string{".otto (mode 0755)"} },
			Problem,
			"secrets",
			"others may read what only you should: .otto (mode 0755)",
			"chmod -R go= /h/.otto",
		},
		{
			"no broker",
			func(h *Here) { h.Broker.Problem = "no answer: look at the log" },
			Problem,
			"broker",
			"no answer",
			"look at the log",
		},
		{
			"too wide",
			func(h *Here) { h.Remote = false },
			Warning,
			"ports",
			"MQTT is served at [::]:1883, although",
			"mqtt.host",
		},
		{
			"a port nobody needs",
			func(h *Here) { h.Listening = append(h.Listening, "0.0.0.0:4222", "127.0.0.1:99") },
			Problem,
			"ports",
			"the control plane listens where nobody needs it: 0.0.0.0:4222",
			"report",
		},
		{"slow disk", func(h *Here) { h.Sync.P99 = time.Second }, Warning, "fsync", "the disk is slow", "SSD"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := fine()
			test.change(&h)
			list := Machine(h)
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

func TestAdviceBeginsWhereItSaysWhatToDo(t *testing.T) {
	for said, want := range map[string][2]string{
		"no engine on pi: run `x` there": {"no engine on pi", "run `x` there"},
		"it is lost":                     {"it is lost", ""},
		"a: b: set c":                    {"a: b", "set c"},
		"one\ntwo: open it":              {"one; two", "open it"},
	} {
		what, try := advice(said)
		if diff := cmp.Diff(want, [2]string{what, try}); diff != "" {
			t.Errorf("%q: %s", said, diff)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(
		[]byte(
			`{"time":"2025-06-01T12:00:00Z","engine":{"name":"Docker"},"disks":[{"path":"/","free":1,"total":2}],"sync":{"p99_ns":-5},"throttled":327685}`,
		),
	)
	f.Add(
		[]byte(
			`{"time":"1970-01-01T00:00:00Z","disks":[{"free":18446744073709551615}],"wireless":[{}],"brokers":[{}]}`,
		),
	)
	f.Fuzz(func(t *testing.T, b []byte) {
		facts, err := Decode(b)
		if err != nil {
			return
		}
		for _, finding := range Node(Exam{Node: otto.Node{ID: "pi"}, Facts: facts, Received: noon, Serving: true}) {
			if finding.Check == "" || finding.What == "" || finding.Level.rank() < 0 ||
				(finding.Level == OK) != (finding.Try == "") {
				t.Errorf("%+v", finding)
			}
		}
	})
}
