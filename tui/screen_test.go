package tui

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

var update = flag.Bool("update", false, "write testdata")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: go test -update writes it again\n%s", path, diff)
	}
}

func TestScreens(t *testing.T) {
	inTrouble := homeCluster()
	inTrouble.Warnings = []string{"the disk of the control plane's state is nearly full"}
	for i := range 4 {
		w := &inTrouble.Services[i].Instances[0]
		w.State, w.UpToDate, w.Error = otto.InstanceFailed, false, "ended with exit code 1\nsecond line"
	}
	stopped := homeCluster()
	stopped.Stopped, stopped.Time = true, noon.Add(-3*time.Hour)
	for _, tt := range []struct {
		name          string
		c             *otto.Cluster
		change        func(*Model)
		width, height int
	}{
		{name: "80x24", c: homeCluster(), width: 80, height: 24},
		{name: "120x40-events", c: homeCluster(), width: 120, height: 40, change: func(m *Model) { m.Events = events() }},
		{name: "60x20", c: homeCluster(), width: 60, height: 20},
		{name: "40x12", c: homeCluster(), width: 40, height: 12},
		{name: "selected-unfolded", c: homeCluster(), width: 80, height: 24, change: func(m *Model) {
			m.selected = item{kindStack, "immich"}
			m.unfolded = map[string]bool{"immich": true}
		}},
		{name: "marked", c: homeCluster(), width: 80, height: 24, change: func(m *Model) {
			m.width, m.height = 80, 24
			press(m, ": n a s enter space : i m m i c h enter space enter G space k k space")
		}},
		{name: "more-trouble", c: inTrouble, width: 80, height: 24},
		{name: "all-trouble", c: inTrouble, width: 80, height: 16, change: func(m *Model) { m.view = viewTrouble }},
		{name: "away", c: homeCluster(), width: 80, height: 24, change: func(m *Model) {
			m.Away, m.Now = "control plane down", noon.Add(7*time.Minute)
		}},
		{name: "no-answer", c: homeCluster(), width: 80, height: 8, change: func(m *Model) {
			m.Now = noon.Add(40 * time.Second)
		}},
		{name: "stopped", c: stopped, width: 80, height: 8, change: func(m *Model) {
			m.Away = "control plane down"
		}},
		{name: "empty", c: &otto.Cluster{Name: "new", Time: noon}, width: 80, height: 24},
		{name: "large", c: largeCluster(50, 1000), width: 80, height: 24, change: func(m *Model) {
			m.selected = item{kindService, "svc-0501"}
		}},
		{name: "large-nodes", c: largeCluster(50, 1000), width: 80, height: 16, change: func(m *Model) {
			m.view, m.selected = viewNodes, item{kindNode, "node-30"}
		}},
		{name: "events", c: homeCluster(), width: 80, height: 8, change: func(m *Model) {
			m.view, m.Events = viewEvents, events()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := model(tt.c)
			if tt.change != nil {
				tt.change(m)
			}
			golden(t, tt.name, m.Screen(tt.width, tt.height).String())
		})
	}
}

// TestScreenWithoutATerminal is as high as what is there, and has all nodes and services.
func TestScreenWithoutATerminal(t *testing.T) {
	golden(t, "plain", model(homeCluster()).Plain(100).String())
}

// TestColoursOnlyRepeat: a terminal shows the same characters with colours as without, and
// what is selected and in trouble has a sign.
func TestColoursOnlyRepeat(t *testing.T) {
	m := model(homeCluster())
	m.selected = item{kindService, "db"}
	s := m.Screen(80, 24)
	rendered := s.Render()
	var lines []string
	for _, l := range strings.Split(ansi.Strip(rendered), "\n") {
		lines = append(lines, strings.TrimRight(l, " "))
	}
	if diff := cmp.Diff(s.String(), strings.Join(lines, "\n")+"\n"); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"\n>db ", "\n!api ", "\n! rpi-02"} {
		if !strings.Contains(s.String(), want) {
			t.Errorf("no %q in\n%s", want, s)
		}
	}
	for i := 0; ; {
		at := strings.Index(rendered[i:], "\x1b[")
		if at < 0 {
			break
		}
		i += at + 2
		code, _, _ := strings.Cut(rendered[i:], "m")
		for _, n := range strings.Split(code, ";") {
			switch n {
			case "", "0", "1", "2", "7", "31", "32", "33":
			default:
				t.Fatalf("code %q is none of 16 colours", code)
			}
		}
	}
}

// TestEverySizeIsFilled draws each view for whatever size a terminal may have.
func TestEverySizeIsFilled(t *testing.T) {
	m := model(homeCluster())
	m.Events = events()
	m.unfolded = map[string]bool{"immich": true}
	for _, m.selected = range []item{{}, {kindService, "db"}} {
		for m.view = viewTop; m.view <= viewEvents; m.view++ {
			for _, width := range []int{1, 2, 3, 9, 25, 40, 61, 80, 133} {
				for _, height := range []int{1, 2, 3, 4, 5, 6, 7, 9, 12, 17, 24, 39, 40, 55} {
					s := m.Screen(width, height)
					if len(s.lines) != height {
						t.Fatalf("view %d at %dx%d has %d lines", m.view, width, height, len(s.lines))
					}
					for _, l := range s.lines {
						if l.line.width() != width {
							t.Fatalf("view %d at %dx%d: %q is %d wide", m.view, width, height, l.line, l.line.width())
						}
					}
				}
			}
		}
	}
}

// TestNothingThatNodesSayMovesTheCursor takes names and reasons of whoever has taken a node.
func TestNothingThatNodesSayMovesTheCursor(t *testing.T) {
	const evil = "a\x1b[2J\x1b]0;x\a\r\n\t\u202eb界"
	c := homeCluster()
	c.Name = evil
	for i := range c.Nodes {
		c.Nodes[i].ID, c.Nodes[i].Problem = evil, evil
	}
	for i := range c.Services {
		s := &c.Services[i]
		s.Name = evil
		s.Instances[0].Node, s.Instances[0].State, s.Instances[0].Error = evil, evil, evil
	}
	m := model(c)
	m.Events = []otto.Event{{Node: evil, Message: evil, By: evil, Service: evil}}
	m.Away = evil
	for m.view = viewTop; m.view <= viewEvents; m.view++ {
		s := m.Screen(80, 45)
		if strings.ContainsAny(s.String(), "\x1b\a\r\t\u202e") {
			t.Errorf("view %d: %q", m.view, s)
		}
		for _, l := range s.lines {
			if l.line.width() != 80 {
				t.Errorf("%q is %d wide", l.line, l.line.width())
			}
		}
	}
}

// TestCostOfAScreenIsBounded by what is on it, and not by what there is.
func TestCostOfAScreenIsBounded(t *testing.T) {
	cost := func(nodes, services int) float64 {
		m := model(largeCluster(nodes, services))
		m.selected = item{kindService, "svc-0051"}
		return testing.AllocsPerRun(5, func() { _ = m.Screen(120, 40).Render() })
	}
	small, large := cost(10, 100), cost(50, 1000)
	if large > 1.5*small {
		t.Errorf("a screen of 1,000 services takes %.0f allocations, one of 100 %.0f", large, small)
	}
}

func BenchmarkScreen(b *testing.B) {
	m := model(largeCluster(50, 1000))
	for b.Loop() {
		_ = m.Screen(120, 40).Render()
	}
}

func BenchmarkIndex(b *testing.B) {
	c := largeCluster(50, 1000)
	for b.Loop() {
		NewIndex(c)
	}
}
