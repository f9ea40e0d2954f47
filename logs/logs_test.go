package logs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return start.Add(d) }

// frame is a message as an engine sends it.
func frame(stream byte, text string) string {
	header := make([]byte, 8)
	header[0] = stream
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return string(header) + text
}

func stamped(d time.Duration, text string) string {
	return at(d).Format("2006-01-02T15:04:05.000000000Z07:00") + " " + text
}

func scan(in string, tty bool) (got []string, err error) {
	s := NewScanner(strings.NewReader(in), tty)
	for {
		l, err := s.Next()
		if err != nil {
			return got, err
		}
		text := string(l.Text)
		if len(text) > 100 {
			text = fmt.Sprintf("%d bytes", len(text))
		}
		got = append(got, fmt.Sprintf("%s %s %q", l.Time.Sub(start), l.Stream, text))
	}
}

func TestLinesOfAnEngine(t *testing.T) {
	k16 := strings.Repeat("x", 16<<10)
	for name, tt := range map[string]struct {
		in   string
		tty  bool
		want []string
		err  error
	}{
		"nothing":     {err: io.EOF},
		"two streams": {in: frame(1, stamped(1, "a\n")) + frame(2, stamped(2, "b\n")), want: []string{`1ns stdout "a"`, `2ns stderr "b"`}, err: io.EOF},
		"empty line":  {in: frame(1, stamped(1, "\n")), want: []string{`1ns stdout ""`}, err: io.EOF},
		"long line, in parts, between which the other stream writes": {
			in:   frame(1, stamped(1, k16)) + frame(2, stamped(2, "b\n")) + frame(1, stamped(3, k16)) + frame(1, stamped(4, "end\n")),
			want: []string{`2ns stderr "b"`, `1ns stdout "32771 bytes"`}, err: io.EOF,
		},
		"too long a line": {
			in:   strings.Repeat(frame(1, stamped(1, k16)), 17) + frame(1, stamped(2, "end\n")),
			want: []string{`1ns stdout "262144 bytes"`, `1ns stdout "16387 bytes"`}, err: io.EOF,
		},
		"last words without an end, and the next start": {
			in: frame(1, stamped(1, "dies")) + frame(1, stamped(2, "starts\n")), want: []string{`1ns stdout "dies"`, `2ns stdout "starts"`}, err: io.EOF,
		},
		"long line that never ends":    {in: frame(1, stamped(1, k16)), want: []string{`1ns stdout "16384 bytes"`}, err: io.EOF},
		"carriage returns are content": {in: frame(1, stamped(1, "a\r\n")), want: []string{`1ns stdout "a\r"`}, err: io.EOF},
		"cut off in a frame":           {in: frame(1, stamped(1, "a\n")) + frame(1, "rest is missing")[:12], want: []string{`1ns stdout "a"`}, err: io.EOF},
		"no time":                      {in: frame(1, stamped(1, "a\n")) + frame(1, "b c\n"), want: []string{`1ns stdout "a"`, `1ns stdout "b c"`}, err: io.EOF},
		"of a terminal":                {in: stamped(1, "a\r\n") + stamped(2, "b"), tty: true, want: []string{`1ns stdout "a"`, `2ns stdout "b"`}, err: io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := scan(tt.in, tt.tty)
			if diff := cmp.Diff(tt.want, got); diff != "" || !errors.Is(err, tt.err) {
				t.Error(err, diff)
			}
		})
	}
	for _, bad := range []string{"HTTP/1.1 500 no", frame(1, "")[:4] + "\xff\xff\xff\xff", frame(3, "the log is broken\n")} {
		if _, err := scan(bad, false); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte(frame(1, stamped(1, "a\n"))+frame(2, "b")), false)
	f.Add([]byte(stamped(1, "a\r\n")), true)
	f.Fuzz(func(t *testing.T, in []byte, tty bool) {
		s := NewScanner(bytes.NewReader(in), tty)
		total := 0
		for {
			l, err := s.Next()
			if err != nil {
				break
			}
			if len(l.Text) > maxLine || bytes.ContainsRune(l.Text, '\n') || l.Stream == "" {
				t.Fatalf("line %+v", l)
			}
			total += len(l.Text)
		}
		if total > len(in) {
			t.Fatalf("%d bytes of %d", total, len(in))
		}
	})
}

// TestReadAgainNothingTwiceNothingMissing writes logs of two streams whose times
// repeat and are a little out of order, reads them in pieces that break off
// anywhere, and compares.
func TestReadAgainNothingTwiceNothingMissing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []Line
		now := start
		last := map[string]time.Time{}
		for i := range rapid.IntRange(1, 60).Draw(t, "lines") {
			stream := rapid.SampledFrom([]string{Stdout, Stderr}).Draw(t, "stream")
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 50_000_000}).Draw(t, "step")))
			stamp := now
			if early := now.Add(-time.Duration(rapid.IntRange(0, 1000).Draw(t, "early"))); early.After(last[stream]) {
				stamp = early
			}
			last[stream] = stamp
			all = append(all, Line{Time: stamp, Stream: stream, Text: []byte(fmt.Sprint(i))})
		}
		var got []string
		at := Position{}
		for len(got) < len(all) {
			pass := rapid.IntRange(1, 20).Draw(t, "until it breaks off")
			resume := NewResume(at)
			for _, l := range all {
				if l.Time.Before(at.Since()) && len(got) > 0 {
					continue // the engine leaves it out
				}
				fresh, missing := resume.Look(l.Stream, l.Time)
				if missing {
					t.Fatal("lines are said to be missing")
				}
				if !fresh {
					continue
				}
				if pass--; pass < 0 {
					break
				}
				got = append(got, string(l.Text))
				at.Take(l.Stream, l.Time)
			}
		}
		for i, l := range all {
			if got[i] != string(l.Text) {
				t.Fatalf("line %d is %s of %v", i, got[i], got)
			}
		}
		if len(got) != len(all) {
			t.Fatalf("%d lines of %d", len(got), len(all))
		}
	})
}

func TestWhatTheEngineNoLongerHasIsSaid(t *testing.T) {
	p := Position{}
	p.Take(Stdout, at(time.Second))
	if fresh, missing := NewResume(p).Look(Stdout, at(2*time.Second)); !fresh || !missing {
		t.Errorf("fresh %t, missing %t", fresh, missing)
	}
	r := NewResume(p)
	if fresh, missing := r.Look(Stdout, at(time.Second)); fresh || missing {
		t.Errorf("the last line: fresh %t, missing %t", fresh, missing)
	}
	if fresh, missing := r.Look(Stdout, at(time.Second)); !fresh || missing {
		t.Errorf("another one of the same time: fresh %t, missing %t", fresh, missing)
	}
}

// TestLogsThatEndAreInOrder: whatever comes when, and from however many.
func TestLogsThatEndAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewMerger(false, start)
		left := map[*Source][]int{}
		var sources []*Source
		total := 0
		for range rapid.IntRange(1, 5).Draw(t, "sources") {
			s := m.Open(start)
			times := rapid.SliceOfN(rapid.IntRange(0, 50), 0, 20).Draw(t, "times")
			slices.Sort(times)
			left[s], sources = times, append(sources, s)
			total += len(times)
		}
		var got []time.Time
		for len(left) > 0 {
			s := rapid.SampledFrom(sources).Draw(t, "source")
			if times, there := left[s]; !there {
				continue
			} else if len(times) == 0 {
				s.Close()
				delete(left, s)
			} else {
				m.Push(s, Entry{Time: at(time.Duration(times[0]))}, start)
				left[s] = times[1:]
			}
			for e, ok, _ := m.Next(start); ok; e, ok, _ = m.Next(start) {
				got = append(got, e.Time)
			}
		}
		if !slices.IsSortedFunc(got, time.Time.Compare) || len(got) != total {
			t.Fatalf("got %d of %d: %v", len(got), total, got)
		}
	})
}

// Push is s.Push with the bytes that tests do not care for.
func (m *Merger) Push(s *Source, e Entry, now time.Time) { s.Push(e, now) }

func TestFollowedLinesWaitForOthersOnlySoLong(t *testing.T) {
	m := NewMerger(true, start)
	a, b := m.Open(start), m.Open(start)
	a.Greet(start)
	b.Greet(start)
	now := at(10 * time.Second)
	a.Push(Entry{Time: now, Text: "a"}, now)
	if _, ok, wait := m.Next(now); ok || wait != hold {
		t.Fatalf("%t after %s: another line may be under way", ok, wait)
	}
	b.Push(Entry{Time: now.Add(-time.Millisecond), Text: "b"}, now.Add(hold/2))
	var got []string
	for e, ok, _ := m.Next(now.Add(hold)); ok; e, ok, _ = m.Next(now.Add(hold + quiet)) {
		got = append(got, e.Text)
	}
	if diff := cmp.Diff([]string{"b", "a"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSourceThatConnectsIsWaitedFor(t *testing.T) {
	m := NewMerger(true, start)
	a, b := m.Open(start), m.Open(start)
	a.Push(Entry{Time: at(-time.Hour), Text: "a"}, start)
	if _, ok, wait := m.Next(at(time.Second)); ok || wait != connectTime-time.Second {
		t.Errorf("%t after %s", ok, wait)
	}
	b.Close()
	if _, ok, _ := m.Next(at(time.Second)); !ok {
		t.Error("it waits for one that has failed")
	}
}

// TestChattyLogDelaysNoOther: one gives as fast as it is let, ten seconds late, and
// another one a line now and then.
func TestChattyLogDelaysNoOther(t *testing.T) {
	m := NewMerger(true, start)
	chatty, calm := m.Open(start), m.Open(start)
	now := at(time.Minute)
	shown := map[string]time.Duration{}
	written := map[string]time.Time{}
	for i := range 5000 {
		now = now.Add(time.Millisecond) // the reader takes a thousand lines in a second
		for !chatty.Full() {
			chatty.Push(Entry{Time: now.Add(-9 * time.Second)}, now)
		}
		if i%500 == 0 {
			name := fmt.Sprint(i)
			written[name] = now
			calm.Push(Entry{Time: now, Text: name}, now)
		}
		if e, ok, _ := m.Next(now); ok && e.Text != "" {
			shown[e.Text] = now.Sub(written[e.Text])
		}
	}
	if len(shown) < 9 {
		t.Errorf("%d lines of 10", len(shown))
	}
	for name, took := range shown {
		if took > time.Second {
			t.Errorf("line %s came after %s", name, took)
		}
	}
}

func TestFullSourceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewStream(true)
		from := s.Open()
		ctx, cancel := context.WithCancel(t.Context())
		pushed := 0
		ended := make(chan error)
		go func() {
			for {
				if _, err := s.Push(ctx, from, Entry{Time: time.Now(), Text: strings.Repeat("x", 1000)}); err != nil {
					ended <- err
					return
				}
				pushed++
			}
		}()
		synctest.Wait()
		if most := queueBytes/1000 + 1; pushed == 0 || pushed > most {
			t.Errorf("%d lines wait, at most %d have room", pushed, most)
		}
		before := pushed
		for range 10 {
			if _, err := s.Next(ctx, func() error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if pushed != before+10 {
			t.Errorf("%d more came for 10 that went", pushed-before)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestMessagesArrive(t *testing.T) {
	var wire bytes.Buffer
	enc := NewEncoder(&wire)
	web := Container{ID: "0123456789ab", Name: "web.kept", Service: "web", Instance: "web", From: at(0)}
	line := func(stream, text string) Entry {
		return Line{Time: at(5), Stream: stream, Text: []byte(text)}.Entry(web)
	}
	want := []Entry{
		line(Stdout, "a b"), line(Stderr, ""), line(Stdout, "\xff\x00"),
		{Time: at(6), Mark: MarkTrouble, Text: "two\nlines"},
	}
	for _, err := range []error{enc.Container(web), enc.Container(web), enc.Beat(), enc.Entry(want[0]), enc.Entry(want[1]), enc.Entry(want[2]), enc.Entry(want[3]), enc.End()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := NewDecoder(&wire)
	if err != nil {
		t.Fatal(err)
	}
	var got []Entry
	for {
		e, _, err := d.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Mark == MarkContainer {
			if e.Container != web.ID || !e.Time.Equal(web.From) {
				t.Errorf("container %+v", e)
			}
		} else if e.Mark != "" || e.Container != "" {
			got = append(got, e)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := NewDecoder(strings.NewReader("Welcome to pi\n")); err == nil {
		t.Error("a login message is a log")
	}
	d, _ = NewDecoder(strings.NewReader(greeting + "\nb\n"))
	_, _, _ = d.Next()
	if _, _, err := d.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a connection that breaks: %v", err)
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte("c {\"id\":\"1\"}\no 0 5 text\nm {\"mark\":\"note\"}\nb\nz\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := NewDecoder(io.MultiReader(strings.NewReader(greeting+"\n"), bytes.NewReader(in)))
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			e, _, err := d.Next()
			if err != nil {
				return
			}
			if n > len(in) || strings.ContainsRune(e.Text, '\n') && e.Mark == "" {
				t.Fatalf("%+v", e)
			}
		}
	})
}
