package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/otto-edge/otto"
)

// fakeSource is a control plane that a test moves.
type fakeSource struct {
	watch  func(ctx context.Context, take func(*otto.Cluster) bool) error
	last   *otto.Cluster
	events []otto.Event
	logs   func(ctx context.Context, w io.Writer) error
	asked  []string
	mu     sync.Mutex
}

func (f *fakeSource) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
}

func (f *fakeSource) Watch(ctx context.Context, take func(*otto.Cluster) bool) error {
	if f.watch != nil {
		return f.watch(ctx, take)
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f *fakeSource) Last() (*otto.Cluster, error) {
	if f.last == nil {
		return nil, errors.New("there is none")
	}
	return f.last, nil
}

func (f *fakeSource) Events(ctx context.Context, after uint64, take func(otto.Event) bool) error {
	for _, e := range f.events {
		if e.Seq > after && !take(e) {
			return nil
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f *fakeSource) Past(_ context.Context, q otto.HistoryQuery) (otto.History, error) {
	f.note("past %s%s", q.Node, q.Service)
	return otto.History{}, nil
}

func (f *fakeSource) Describe(_ context.Context, name string, node bool) (string, error) {
	f.note("describe %s %t", name, node)
	return "name\t" + name + "\nevil \x1b[2J", nil
}

func (f *fakeSource) Why(_ context.Context, name string, _ bool) (string, error) {
	f.note("why %s", name)
	return "", errors.New("it cannot be told")
}

func (f *fakeSource) Logs(ctx context.Context, name string, previous bool, w io.Writer) error {
	if previous {
		f.note("previous logs %s", name)
		_, _ = io.WriteString(w, "before\n")
		return nil
	}
	f.note("logs %s", name)
	if f.logs != nil {
		return f.logs(ctx, w)
	}
	_, _ = io.WriteString(w, "one\ntwo\n")
	<-ctx.Done()
	return ctx.Err()
}

func (f *fakeSource) Explain(_ context.Context, service string) (otto.Explanation, error) {
	f.note("explain %s", service)
	if service == "api" {
		return otto.Explanation{}, errors.New("it cannot be told")
	}
	return otto.Explanation{Service: &otto.ServiceExplanation{Name: service, Instances: []otto.InstanceExplanation{{
		Name: service, Node: "rpi-01", State: otto.InstanceRunning, Why: "it is the best node",
		Scores:   []otto.Score{{Node: "rpi-01", Total: 0.7}, {Node: "nas", Total: 0.64}},
		Refusals: []otto.Refusal{{Node: "mini-pc", Filter: "memory", Reason: "256 MB are free, 1 GB are reserved"}},
	}}}}, nil
}

func (f *fakeSource) Intend(_ context.Context, node string, i otto.Intent) error {
	f.note("intend %s %t %t", node, i.Cordoned, i.Draining)
	if node == "mini-pc" {
		return errors.New("the control plane has stepped down:\nanother one decides")
	}
	return nil
}

func (f *fakeSource) Move(_ context.Context, service, to string) (otto.Decision, error) {
	f.note("move %s to %q", service, to)
	return otto.Decision{Instance: service, Node: "rpi-01", To: "nas", Outage: 2 * time.Second}, nil
}

func (f *fakeSource) Shell(context.Context, string) Command { return nil }

// sent collects what a feed sends.
type sent struct {
	mu   sync.Mutex
	list []tea.Msg
}

func (s *sent) send(m tea.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, m)
}

// TestStatesComeAtThePaceOfTheScreen: of 10,000 states in a second some ten are drawn, and
// the last one is.
func TestStatesComeAtThePaceOfTheScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const states = 10_000
		f := &fakeSource{watch: func(ctx context.Context, take func(*otto.Cluster) bool) error {
			for i := range states {
				time.Sleep(time.Second / states)
				take(&otto.Cluster{Revision: uint64(i + 1)})
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var s sent
		done := make(chan struct{})
		go func() { defer close(done); feed{f, s.send}.states(ctx) }()
		time.Sleep(2 * time.Second)
		cancel()
		<-done
		if n := len(s.list); n < 5 || n > redraws+ahead+2 {
			t.Errorf("%d states were sent in a second", n)
		}
		if last := s.list[len(s.list)-1].(stateMsg); last.index.Cluster.Revision != states {
			t.Errorf("the last state is %d", last.index.Cluster.Revision)
		}
	})
}

// TestLastStateStaysWhileTheControlPlaneIsAway, and what was left behind is read; then it goes
// on by itself.
func TestLastStateStaysWhileTheControlPlaneIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		f := &fakeSource{last: &otto.Cluster{Name: "left"}}
		f.watch = func(ctx context.Context, take func(*otto.Cluster) bool) error {
			if calls++; calls == 2 {
				return errors.New("nobody answers")
			}
			take(&otto.Cluster{Name: fmt.Sprint("state ", calls)})
			if calls == 1 {
				time.Sleep(time.Second)
				return errors.New("it is gone")
			}
			<-ctx.Done()
			return ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		var s sent
		done := make(chan struct{})
		go func() { defer close(done); feed{f, s.send}.states(ctx) }()
		time.Sleep(10 * time.Second)
		cancel()
		<-done
		p := &program{model: model(homeCluster())}
		var shown []string
		for _, m := range s.list {
			p.Update(m)
			shown = append(shown, p.model.Index.Cluster.Name+" "+p.model.Away)
		}
		want := []string{"state 1 ", "left control plane down", "left control plane down", "state 3 "}
		if !slices.Equal(shown, want) {
			t.Errorf("got %q, want %q", shown, want)
		}
	})
}

func TestEventsComeInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		for i := range 3 * maxEvents {
			f.events = append(f.events, otto.Event{Seq: uint64(i + 1)})
		}
		ctx, cancel := context.WithCancel(t.Context())
		var s sent
		done := make(chan struct{})
		go func() { defer close(done); feed{f, s.send}.events(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		<-done
		p := &program{model: model(homeCluster())}
		for _, m := range s.list {
			p.Update(m)
		}
		kept := p.model.Events
		if len(s.list) > 6+2*ahead || len(kept) != maxEvents || kept[maxEvents-1].Seq != 3*maxEvents {
			t.Errorf("%d batches, %d events, the last one is %d", len(s.list), len(kept), kept[len(kept)-1].Seq)
		}
	})
}

// TestPastOfWhatIsSeenIsAsked, and of nothing else, and seldom.
func TestPastOfWhatIsSeenIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		ctx, cancel := context.WithCancel(t.Context())
		p := &program{model: model(largeCluster(50, 1000))}
		p.model.width, p.model.height = 80, 24
		p.View()
		done := make(chan struct{})
		go func() { defer close(done); feed{f, func(tea.Msg) {}}.past(ctx, &p.wanted) }()
		time.Sleep(time.Minute)
		cancel()
		<-done
		nodes, services := 0, 0
		for _, a := range f.asked {
			if strings.HasPrefix(a, "past node") {
				nodes++
			} else {
				services++
			}
		}
		if nodes < mostNodes || nodes > 4*mostNodes || services == 0 || services > 200 {
			t.Errorf("%d questions for nodes, %d for services", nodes, services)
		}
	})
}

// TestSameStateIsTheSameScreen: what has not changed is not written to the terminal again.
func TestSameStateIsTheSameScreen(t *testing.T) {
	p := &program{model: model(homeCluster())}
	p.model.width, p.model.height = 80, 24
	first := p.View().Content
	p.Update(stateMsg{NewIndex(homeCluster()), noon})
	if p.View().Content != first {
		t.Error("the same state is drawn otherwise")
	}
}

// terminal is what a program writes to.
type terminal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *terminal) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *terminal) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// TestRun draws on what passes for a terminal, with and without colours, until q or a signal.
func TestRun(t *testing.T) {
	const green = "\x1b[32m"
	for _, noColour := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		in, keys := io.Pipe()
		var out terminal
		ended := make(chan error, 1)
		go func() {
			ended <- Run(ctx, Options{
				Source: &fakeSource{events: events()}, Cluster: homeCluster(), In: in, Out: &out, Width: 80, Height: 24,
				NoColour: noColour, Environment: []string{"TERM=xterm", "CLICOLOR_FORCE=1"},
			})
		}()
		for end := time.Now().Add(time.Minute); !strings.Contains(out.String(), "immich"); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("nothing is drawn: %q", out.String())
			}
		}
		if got := strings.Contains(out.String(), green); got == noColour {
			t.Errorf("no colour is %t, and there is %q", noColour, out.String())
		}
		if noColour {
			cancel()
		} else if _, err := keys.Write([]byte("q")); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("it does not end")
		}
		cancel()
		keys.Close()
	}
}

// TestLogThatNobodyReadsIsBounded takes lines, a long one and one without an end.
func TestLogThatNobodyReadsIsBounded(t *testing.T) {
	l := newLines()
	for i := range 3 * maxLines {
		fmt.Fprintf(l, "line %d\n", i)
	}
	fmt.Fprintf(l, "%s\n", strings.Repeat("x", 5*maxLine))
	fmt.Fprint(l, "no end")
	l.end(io.EOF)
	var got []string
	var left int
	l.forward(t.Context(), func(list []string, n int) { got, left = list, n })
	if len(got) != maxLines || left != 2*maxLines+2 || len(got[maxLines-2]) != maxLine || got[maxLines-1] != "-- the end" {
		t.Errorf("%d lines, %d left out, the last ones are %.20q", len(got), left, got[len(got)-2:])
	}
}

// TestChangeAfterAHeartbeatIsShownAtOnce: a state that comes soon after another one does not wait.
func TestChangeAfterAHeartbeatIsShownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{watch: func(ctx context.Context, take func(*otto.Cluster) bool) error {
			for i := range 20 {
				time.Sleep([]time.Duration{490 * time.Millisecond, 10 * time.Millisecond}[i%2])
				take(&otto.Cluster{Time: time.Now()})
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			feed{f, func(m tea.Msg) {
				n++
				if s := m.(stateMsg); s.at.Sub(s.index.Cluster.Time) > time.Millisecond {
					t.Errorf("state %d waited for %s", n, s.at.Sub(s.index.Cluster.Time))
				}
			}}.states(ctx)
		}()
		time.Sleep(20 * time.Second)
		cancel()
		<-done
		if n != 20 {
			t.Errorf("%d of 20 states are shown", n)
		}
	})
}
