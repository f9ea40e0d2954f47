package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestJournalGoesOnAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	j := open(t, path)
	add(t, j, "one", "two")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, path)
	add(t, j, "three")
	all, _ := j.After(0)
	want(t, all, "1 one", "2 two", "3 three")
	some, more := j.After(2)
	want(t, some, "3 three")
	select {
	case <-more:
		t.Error("more is closed before there is more")
	default:
	}
	add(t, j, "four")
	<-more
	kept, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want(t, kept, "1 one", "2 two", "3 three", "4 four")
}

func TestTornLineIsLeftOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	j := open(t, path)
	add(t, j, "one", "two")
	_ = j.Close()
	for _, damage := range []string{`{"seq":3,"kind":"thr`, "\x00\x00\x00", "rubbish\n"} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, damage...), 0o600); err != nil {
			t.Fatal(err)
		}
		j = open(t, path)
		all, _ := j.After(0)
		want(t, all, "1 one", "2 two")
		_ = j.Close()
	}
	j = open(t, path)
	add(t, j, "three")
	kept, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want(t, kept, "1 one", "2 two", "3 three")
}

func TestJournalIsBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.jsonl")
	j := open(t, path)
	for i := range 1000 {
		add(t, j, fmt.Sprint(i))
	}
	all, _ := j.After(0)
	if n := len(all); n < 10 || n > 100 || all[n-1].Message != "999" || all[0].Seq+uint64(n) != 1001 {
		t.Errorf("%d events, from %v to %v", n, all[0], all[n-1])
	}
	kept, err := Read(path)
	if diff := cmp.Diff(all, kept); err != nil || diff != "" {
		t.Errorf("%v, the files hold (-memory +files):\n%s", err, diff)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Size() > testLimit || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info, err)
		}
	}
}

// TestFullDiskLosesNoEvent has a disk that takes nothing, or half a line, for a
// while; the control plane is killed after it.
func TestFullDiskLosesNoEvent(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	path := filepath.Join(t.TempDir(), "events.jsonl")
	j := open(t, path)
	add(t, j, "one")
	disk := j.file
	j.file = full
	for _, m := range []string{"two", "three"} {
		if _, err := j.Add(otto.Event{Message: m}); err == nil {
			t.Fatal("the disk is not full")
		}
	}
	if _, err := disk.WriteAt([]byte(`{"seq":2,"mess`), int64(j.end)); err != nil { // as much as there was space for
		t.Fatal(err)
	}
	all, _ := j.After(0)
	want(t, all, "1 one", "2 two", "3 three")
	torn, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want(t, torn, "1 one")

	j.file = disk
	add(t, j, "four")
	all, err = Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want(t, all, "1 one", "2 two", "3 three", "4 four")
}

// TestFailedRotationIsMadeUpFor has a journal that cannot make its former file
// for a while.
func TestFailedRotationIsMadeUpFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.MkdirAll(filepath.Join(formerPath(path), "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	j := open(t, path)
	failed := 0
	for i := range 100 {
		if _, err := j.Add(otto.Event{Message: fmt.Sprint(i)}); err != nil {
			failed++
		}
	}
	if failed == 0 || failed > 10 {
		t.Errorf("%d of 100 events were not kept at once", failed)
	}
	if err := os.RemoveAll(formerPath(path)); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		add(t, j, fmt.Sprint(i))
	}
	all, _ := j.After(0)
	kept, err := Read(path)
	if diff := cmp.Diff(all, kept); err != nil || diff != "" {
		t.Errorf("%v, the files hold (-memory +files):\n%s", err, diff)
	}
}

func TestWithoutAFile(t *testing.T) {
	j := open(t, "")
	add(t, j, "one")
	all, _ := j.After(0)
	want(t, all, "1 one")
}

const testLimit = 2000

func open(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := Open(path, testLimit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func add(t *testing.T, j *Journal, messages ...string) {
	t.Helper()
	for _, m := range messages {
		if _, err := j.Add(otto.Event{Message: m}); err != nil {
			t.Fatal(err)
		}
	}
}

func want(t *testing.T, list []otto.Event, lines ...string) {
	t.Helper()
	var got []string
	for _, e := range list {
		got = append(got, fmt.Sprint(e.Seq, " ", e.Message))
	}
	if diff := cmp.Diff(lines, got); diff != "" {
		t.Errorf("(-want +got):\n%s", strings.TrimSpace(diff))
	}
}

func TestRestoredJournalGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	if err := Restore(path, []otto.Event{{Seq: 4, Message: "four"}, {Seq: 5, Message: "five"}}); err != nil {
		t.Fatal(err)
	}
	if err := Restore(path, []otto.Event{{Seq: 1, Message: "older"}}); err != nil { // what is there is newer
		t.Fatal(err)
	}
	j, err := Open(path, Limit)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if _, err := j.Add(otto.Event{Message: "six"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	list, _ := j.After(0)
	for _, e := range list {
		got = append(got, fmt.Sprint(e.Seq, e.Message))
	}
	if fmt.Sprint(got) != "[4four 5five 6six]" {
		t.Errorf("%q", got)
	}
}
