package history

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

func TestClockThatIsSetLosesNothing(t *testing.T) {
	h := open(t.TempDir(), quiet(), quick())
	c := cluster{nodes: 1, services: 1}
	first := begin.Add(3*time.Hour + 10*time.Minute)
	c.live(h, begin, first, 5*time.Second)
	// A year ahead for ten minutes, and back; then two hours back.
	c.live(h, first.AddDate(1, 0, 0), first.AddDate(1, 0, 0).Add(10*time.Minute), 5*time.Second)
	c.live(h, first, first.Add(10*time.Minute), 5*time.Second)
	c.live(h, first.Add(-2*time.Hour), first.Add(-time.Hour), 5*time.Second)
	end := first.Add(3 * time.Hour)
	c.live(h, first.Add(10*time.Minute), end, 5*time.Second)
	for _, resolution := range []time.Duration{time.Minute, 10 * time.Minute} {
		a := ask(t, h, otto.HistoryQuery{Service: "s0", Since: begin, Resolution: resolution}, end)
		points := only(t, a, "memory.used").Points
		if want := int(end.Sub(begin) / resolution); len(points) != want {
			t.Errorf("%d of %d points at %s", len(points), want, resolution)
		}
		for i, p := range points {
			if p.Mean != 1.049e8 || i > 0 && !p.Time.After(points[i-1].Time) {
				t.Fatalf("%d: %+v", i, p)
			}
		}
	}
	// A clock that starts before 1970 is no reason to end.
	old := time.Unix(-86400, 0)
	c.live(h, old, old.Add(5*time.Minute), 5*time.Second)
	if h.Problem() != "" {
		t.Error(h.Problem())
	}
}

// TestClockToAndFroIsBounded sets the clock each minute.
func TestClockToAndFroIsBounded(t *testing.T) {
	dir := t.TempDir()
	h := open(dir, quiet(), quick())
	c := cluster{nodes: 1}
	for i := range 1000 {
		at := begin.Add(time.Duration(i)*time.Minute).AddDate(0, 0, 40*(i%2))
		c.live(h, at, at.Add(2*time.Second), time.Second)
	}
	if files, _ := os.ReadDir(dir); len(files) > keepFull+keepHours+maxHours+keepDays {
		t.Errorf("%d files", len(files))
	}
	if h.Problem() != "" {
		t.Error(h.Problem())
	}
}

func TestNamesThatComeAndGoAreBounded(t *testing.T) {
	dir := t.TempDir()
	h := open(dir, quiet(), quick())
	c := cluster{nodes: 1, services: 4, name: func(i int, t time.Time) string {
		return fmt.Sprintf("s%d-%d", i, t.Unix()/600)
	}}
	end := begin.Add(26 * time.Hour)
	c.live(h, begin, end, 2*time.Minute)
	if n := len(h.now.former); n > 2*5 {
		t.Errorf("%d subjects in memory", n)
	}
	last := ask(t, h, otto.HistoryQuery{Service: "s0-" + fmt.Sprint(begin.Unix()/600), Since: begin}, end)
	if len(last.Series) == 0 {
		t.Error("a service that was removed has no history")
	}
	c.live(h, end, end.AddDate(0, 0, 40), 2*time.Hour)
	gone := ask(t, h, otto.HistoryQuery{Service: "s0-" + fmt.Sprint(begin.Unix()/600), Since: begin}, begin.Add(time.Hour))
	if len(gone.Series) != 0 {
		t.Error("a service that was removed is there after a month")
	}
	if files, _ := os.ReadDir(dir); len(files) > keepFull+keepHours+25+keepDays {
		t.Errorf("%d files", len(files))
	}
}

func TestTooManySeriesAreDroppedAndCounted(t *testing.T) {
	m := newMinute(0)
	for i := range maxSeries + 10 {
		if added := m.add(subject{node: "a"}, key{name: fmt.Sprint(i)}, 3, 1); added != (i < maxSeries) {
			t.Fatalf("%d: %t", i, added)
		}
	}
	for i := range maxStates + 1 {
		if m := newMinute(0); !m.mark(subject{node: "a"}, key{}, 1, "x") {
			t.Fatal(i)
		}
	}
}
