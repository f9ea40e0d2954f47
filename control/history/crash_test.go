package history

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/durable"
)

// crash ends a process.
type crash struct{}

// dying is a disk at which the process ends in the nth write, when so many bytes of it are
// written, or before a file has its name.
func dying(n int, share float64) disk {
	q := quick()
	count := 0
	dies := func() bool { count++; return count == n }
	return disk{
		write: func(path string, at int64, b []byte) error {
			if dies() {
				_ = q.write(path, at, b[:int(share*float64(len(b)))])
				panic(crash{})
			}
			return q.write(path, at, b)
		},
		replace: func(path string, b []byte) error {
			if dies() {
				_ = os.WriteFile(path+durable.Suffix, b[:int(share*float64(len(b)))], 0o600)
				panic(crash{})
			}
			return q.replace(path, b)
		},
		remove: func(path string) error {
			if dies() {
				panic(crash{})
			}
			return q.remove(path)
		},
	}
}

// lived feeds a history until it dies, and returns when that was.
func lived(dir string, d disk, c cluster, from, to time.Time) (h *History, at time.Time, died bool) {
	at = from
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crash); !ok {
				panic(r)
			}
			died = true
		}
	}()
	for h = open(dir, quiet(), d); at.Before(to); at = at.Add(30 * time.Second) {
		h.see(c.at(at), at)
		h.second(at)
	}
	return h, at, false
}

// TestKilledInEachWriteLosesAMinuteAtMost kills the process in each write in which a minute, an hour
// and a day end, goes on, and looks at what is there.
func TestKilledInEachWriteLosesAMinuteAtMost(t *testing.T) {
	c := cluster{nodes: 1, services: 1}
	// What there is of importance in it: minutes, an hour and its removals, a day.
	start := begin.Add(23*time.Hour + 57*time.Minute)
	base := t.TempDir()
	before, _, _ := lived(base, quick(), c, begin.Add(20*time.Hour), start)
	before.flush()
	kept := map[string][]byte{}
	files, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if kept[f.Name()], err = os.ReadFile(filepath.Join(base, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	end := begin.Add(25*time.Hour + 3*time.Minute)
	deaths := 0
	for n := 1; ; n++ {
		dir := t.TempDir()
		for name, b := range kept {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, at, died := lived(dir, dying(n, float64(n%5)/4), c, start, end)
		if !died {
			break
		}
		deaths++
		h, _, _ := lived(dir, quick(), c, at, end)
		if h.Problem() != "" {
			t.Fatal(h.Problem())
		}
		from := begin.Add(23*time.Hour + 50*time.Minute)
		for _, resolution := range []time.Duration{time.Minute, 10 * time.Minute} {
			a := ask(t, h, otto.HistoryQuery{Service: "s0", Since: from, Until: end, Resolution: resolution}, end)
			points := only(t, a, "memory.used").Points
			lost := int((end.Sub(from)+resolution-1)/resolution) - len(points)
			if lost < 0 || resolution == time.Minute && lost > 1 || resolution > time.Minute && lost > 0 {
				t.Fatalf("killed in write %d at %s: %d points of %s are lost", n, at, lost, resolution)
			}
			for _, p := range points {
				if p.Min != p.Max || p.Mean != 1.049e8 {
					t.Fatalf("killed in write %d: %+v", n, p)
				}
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*"+durable.Suffix)); len(left) > 0 {
			t.Fatalf("killed in write %d: %v is left", n, left)
		}
	}
	if deaths < 60 {
		t.Errorf("%d deaths", deaths)
	}
}

func TestFullDiskIsSaidOnceAndDropsHistory(t *testing.T) {
	full := false
	d := quick()
	write, replace := d.write, d.replace
	d.write = func(path string, at int64, b []byte) error {
		if full {
			_ = write(path, at, b[:len(b)/2])
			return &os.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
		}
		return write(path, at, b)
	}
	d.replace = func(path string, b []byte) error {
		if full {
			return &os.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
		}
		return replace(path, b)
	}
	var log bytes.Buffer
	h := open(t.TempDir(), slog.New(slog.NewTextHandler(&log, nil)), d)
	c := cluster{nodes: 1, services: 1}
	from, to, end := begin.Add(50*time.Minute), begin.Add(3*time.Hour+10*time.Minute), begin.Add(5*time.Hour)
	c.live(h, begin, from, 10*time.Second)
	full = true
	c.live(h, from, to, 10*time.Second)
	if p := h.Problem(); !strings.Contains(p, "no space left") || strings.Contains(p, "\n") {
		t.Errorf("its problem is %q", p)
	}
	full = false
	c.live(h, to, end, 10*time.Second)
	if h.Problem() != "" {
		t.Error(h.Problem())
	}
	if n := strings.Count(log.String(), "level="); n != 2 {
		t.Errorf("%d lines: %s", n, &log)
	}
	for _, resolution := range []time.Duration{time.Minute, 10 * time.Minute} {
		a := ask(t, h, otto.HistoryQuery{Service: "s0", Since: begin, Resolution: resolution}, end)
		points := only(t, a, "memory.used").Points
		if want := int((from.Sub(begin) + end.Sub(to)) / resolution); len(points) < want-1 || len(points) > want+1 {
			t.Errorf("%d points of %d at %s", len(points), want, resolution)
		}
		for _, p := range points {
			if p.Min != p.Max || p.Mean != 1.049e8 {
				t.Fatalf("%+v", p)
			}
		}
		if a.Dropped == 0 {
			t.Error("nothing was counted as dropped")
		}
	}
}

func TestDirectoryThatCannotBeUsedIsAProblem(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file, where the directory should be
		t.Fatal(err)
	}
	h := open(dir, quiet(), quick())
	if h.Problem() == "" {
		t.Error("no problem")
	}
	c := cluster{nodes: 1}
	c.live(h, begin, begin.Add(2*time.Minute), 10*time.Second)
	if _, err := h.Query(otto.HistoryQuery{Node: "n0", Since: begin}, begin.Add(2*time.Minute)); err != nil {
		t.Error(err)
	}
}

// TestDamagedBytesAreLeftOut changes bytes of files, and reads.
func TestDamagedBytesAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	h := open(dir, quiet(), quick())
	c := cluster{nodes: 1, services: 1}
	end := begin.Add(26 * time.Hour)
	c.live(h, begin, end, time.Minute)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			b[random.IntN(len(b))] ^= byte(1 + random.IntN(255))
		}
		if err := os.WriteFile(path, b[:len(b)-random.IntN(3)], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h = open(dir, quiet(), quick())
	for _, resolution := range []time.Duration{time.Second, time.Minute, 10 * time.Minute} {
		a := ask(t, h, otto.HistoryQuery{Service: "s0", Since: begin, Resolution: resolution}, end)
		for _, s := range a.Series {
			for _, p := range s.Points {
				if s.Metric == "memory.used" && (p.Min != p.Max || p.Mean != 1.049e8) {
					t.Fatalf("%s %+v", s.Metric, p)
				}
			}
		}
	}
	c.live(h, end, end.Add(25*time.Hour), 10*time.Minute)
	if h.Problem() != "" {
		t.Error(h.Problem())
	}
}

func randomChunk(random *rand.Rand, steps int, summed bool) (c chunk) {
	for i := range random.IntN(4) {
		s := series{key: key{fmt.Sprint("i", random.IntN(2)), fmt.Sprint("m", i), "B"}, slots: []slot{}}
		v := random.Float64() * 1e9
		for at := range steps {
			if random.IntN(5) == 0 {
				continue
			}
			if random.IntN(2) == 0 {
				v *= random.NormFloat64()
			}
			mean := ranked(rank(float32(v)))
			o := slot{at, mean, mean, mean}
			if summed {
				o.min, o.max = ranked(rank(mean)-int64(random.IntN(9))), ranked(rank(mean)+int64(random.IntN(3000)))
			}
			s.slots = append(s.slots, o)
		}
		c.series = append(c.series, s)
	}
	for i := range random.IntN(3) {
		tr := track{key: key{instance: "i", name: fmt.Sprint(i)}}
		for at := range steps {
			if random.IntN(4) > 0 {
				tr.slots = append(tr.slots, held{at, []share{{fmt.Sprint(random.IntN(2)), 1}}})
			}
		}
		c.tracks = append(c.tracks, tr)
	}
	return c
}

func TestFramesAreReadAsWritten(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		for _, s := range []span{minuteAt(6000), hourAt(7200), dayAt(86400)} {
			want := map[subject]chunk{
				{node: "a"}: randomChunk(random, s.steps, s.step > 1), {service: "a"}: randomChunk(random, s.steps, s.step > 1),
			}
			b := frame(s, 7, want)
			f := bytes.NewReader(b)
			h, err := readHead(f, 0, int64(len(b)))
			if err != nil || h.span != s || h.group != 7 || len(h.subjects) != 2 {
				t.Fatalf("%+v %v", h, err)
			}
			for of, c := range want {
				got, err := h.chunk(f, 0, of, func(key) bool { return true })
				if err != nil || fmt.Sprint(got) != fmt.Sprint(c) {
					t.Fatalf("%v\n%+v\n%+v", err, got, c)
				}
			}
			for n := range min(len(b), 200) { // and not at all if cut off
				if _, err := readHead(f, 0, int64(n)); n > 0 && !errors.Is(err, errDamaged) {
					t.Fatal(n, err)
				}
			}
		}
	}
}

func TestValuesHaveThreeDigits(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 10000 {
		v := float32(random.NormFloat64() * math.Pow(10, float64(random.IntN(60)-30)))
		if got := ranked(rank(v)); math.Abs(float64(got-v)) > 0.0005*math.Abs(float64(v)) {
			t.Fatalf("%v is %v", v, got)
		}
	}
	for n := range 2049 {
		if got := ranked(rank(float32(n))); got != float32(n) {
			t.Fatalf("%d is %v", n, got)
		}
	}
	if v := ranked(rank(math.MaxFloat32)); math.IsInf(float64(v), 0) || math.IsNaN(float64(v)) {
		t.Error(v)
	}
}

func FuzzFrame(f *testing.F) {
	random := rand.New(rand.NewPCG(7, 8))
	for _, s := range []span{minuteAt(60), hourAt(3600), dayAt(86400)} {
		b := frame(s, 1, map[subject]chunk{{node: "a"}: randomChunk(random, s.steps, s.step > 1)})
		f.Add(b[fixedSize:], b, uint8(s.steps))
	}
	f.Fuzz(func(t *testing.T, content, file []byte, steps uint8) {
		if h, err := readHead(bytes.NewReader(file), 0, int64(len(file))); err == nil {
			for of := range h.subjects {
				_, _ = h.chunk(bytes.NewReader(file), 0, of, func(key) bool { return true })
			}
		}
		_, _ = decodeHead(content, int64(len(content))) // past the checksum
		c, err := decodeChunk(content, []string{"", "a"}, int(steps), steps%2 == 0, func(key) bool { return true })
		if err != nil {
			return
		}
		for _, s := range c.series {
			if !slices.IsSortedFunc(s.slots, func(a, b slot) int { return a.at - b.at }) {
				t.Fatal(s)
			}
		}
		sum := newSummer(span{0, 60, 10})
		sum.add(span{0, 1, int(steps)}, c)
		frame(hourAt(0), 1, maps.Collect(maps.All(map[subject]chunk{{node: "a"}: sum.chunk()})))
	})
}
