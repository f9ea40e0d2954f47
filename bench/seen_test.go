package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otto-edge/otto/e2e/lab"
)

// BenchmarkSeen is from what an engine says of a container, that it has died or was started,
// to people seeing it: as another state on the terminal of "otto top", and as a line of
// "otto events --follow". Run it with -benchtime 20x. All figures are in milliseconds; the
// terminal is looked at every few of them, which is part of what it takes.
//
//	died-top-    from the engine's event to another state on the terminal
//	died-event-  to the first line about it
//	start-top-   from the engine's event to starting or running on the terminal, whichever is drawn first;
//	             0 where starting was there before the event, as the agent says so when it asks the engine
//	start-top-as-starting-%  how often it was starting
func BenchmarkSeen(b *testing.B) {
	l, c := threeNodes(b)
	c.Know(l)
	c.Start()
	lines := follow(b, c)
	row := terminal(b, c)
	lab.Until(b, "the terminal shows it", func() bool { return strings.Contains(row(), "running") })
	var diedTop, diedEvent, startTop []time.Duration
	asStarting := 0
	for b.Loop() {
		b.StopTimer()
		lab.Until(b, "all is up", func() bool { return up(c.Status()) })
		time.Sleep(12 * time.Second) // until a failure does not delay the next start
		began := time.Now()
		lines.forget()
		b.StartTimer()
		l.Host("n1").Docker("kill", "echo-1")
		gone := seen(b, row, func(s string) bool { return !strings.Contains(s, "running") })
		state := row()
		other, became := gone, state
		if !strings.Contains(state, "starting") {
			other = seen(b, row, func(s string) bool {
				became = s
				return s != state && !strings.Contains(s, "failed")
			})
		}
		if strings.Contains(became, "starting") {
			asStarting++
		}
		lab.Until(b, "it is up again", func() bool { return strings.Contains(row(), "running") })
		died, started := saidAt(b, l.Host("n1"), "die", began), saidAt(b, l.Host("n1"), "start", began)
		diedTop, startTop = append(diedTop, gone.Sub(died)), append(startTop, max(0, other.Sub(started)))
		if at := lines.first("echo-1"); !at.IsZero() {
			diedEvent = append(diedEvent, at.Sub(died))
		}
	}
	b.ReportMetric(0, "ns/op")
	spread(b, "died-top", diedTop)
	spread(b, "died-event", diedEvent)
	spread(b, "start-top", startTop)
	b.ReportMetric(100*float64(asStarting)/float64(len(startTop)), "start-top-as-starting-%")
}

// spread reports the median, the 95th percentile and the number of some times.
func spread(b *testing.B, name string, list []time.Duration) {
	b.Helper()
	if len(list) == 0 {
		b.Fatalf("%s was never seen", name)
	}
	slices.Sort(list)
	b.ReportMetric(list[len(list)/2].Seconds()*1000, name+"-p50-ms")
	b.ReportMetric(list[(len(list)*95+99)/100-1].Seconds()*1000, name+"-p95-ms")
}

// seen waits until a row of the terminal is so, and returns when that was.
func seen(b *testing.B, row func() string, so func(string) bool) time.Time {
	b.Helper()
	for end := time.Now().Add(time.Minute); ; {
		if so(row()) {
			return time.Now()
		}
		if time.Now().After(end) {
			b.Fatalf("it stays %q", row())
		}
	}
}

// saidAt is when the engine of a host has last said that of echo-1 since a time.
func saidAt(b *testing.B, h *lab.Host, what string, since time.Time) time.Time {
	b.Helper()
	out := h.Docker("events", "--since", fmt.Sprint(since.Unix()), "--until", fmt.Sprint(time.Now().Unix()+1),
		"--filter", "event="+what, "--filter", "container=echo-1", "--format", "{{.TimeNano}}")
	for _, text := range slices.Backward(strings.Fields(out)) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err == nil && time.Unix(0, n).After(since) {
			return time.Unix(0, n)
		}
	}
	b.Fatalf("the engine has not said %s: %q", what, out)
	return time.Time{}
}

// terminal runs "otto top", and returns what it shows of echo-1.
func terminal(b *testing.B, c *lab.Cluster) (row func() string) {
	b.Helper()
	socket := filepath.Join(b.TempDir(), "tmux")
	tmux := func(args ...string) (string, error) {
		cmd := exec.Command("tmux", append([]string{"-S", socket, "-f", "/dev/null", "-u"}, args...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TERM=xterm-256color")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	b.Cleanup(func() { _, _ = tmux("kill-server") })
	if out, err := tmux("new-session", "-d", "-x", "100", "-y", "30", "-c", c.Dir, "-e", "HOME="+c.Dir, c.Path+" top"); err != nil {
		b.Fatal(out, err)
	}
	return func() string {
		out, err := tmux("capture-pane", "-p")
		if err != nil {
			b.Fatal(out, err)
		}
		_, services, _ := strings.Cut(out, " SERVICE ")
		for line := range strings.SplitSeq(services, "\n") {
			if strings.HasPrefix(line, "echo-1 ") || strings.Contains(line, " echo-1 ") {
				return line
			}
		}
		return ""
	}
}

// said are lines with when they came.
type said struct {
	mu   sync.Mutex
	at   []time.Time
	line []string
}

func (s *said) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.line = nil, nil
}

// first is when the first line with a text came.
func (s *said) first(text string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range s.line {
		if strings.Contains(l, text) {
			return s.at[i]
		}
	}
	return time.Time{}
}

// follow runs "otto events --follow".
func follow(b *testing.B, c *lab.Cluster) *said {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := c.Command(ctx, "events", "--follow")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	s, done := &said{}, make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.mu.Lock()
			s.at, s.line = append(s.at, time.Now()), append(s.line, lines.Text())
			s.mu.Unlock()
		}
	}()
	b.Cleanup(func() { cancel(); <-done; _ = cmd.Wait() })
	return s
}
