package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

const seeded = "shop.data.12345678"

// seedingIn takes in streams of text, as a file.
func seedingIn(dir string) Seeding {
	return Seeding{
		Dir: filepath.Join(dir, "data"), ClusterID: "c1",
		Unpack: func(_ context.Context, from io.Reader, into string) error {
			text, err := io.ReadAll(from)
			return errors.Join(err, os.WriteFile(filepath.Join(into, seedTree), text, 0o600))
		},
		Remove: func(_ context.Context, at string) error { return os.RemoveAll(at) },
	}
}

func of(text string) func() (io.Reader, error) {
	return func() (io.Reader, error) { return strings.NewReader(text), nil }
}

func never() (io.Reader, error) { return nil, errors.New("it is asked for again") }

// treeOf is what is there of a volume; nothing is there by halves.
func treeOf(t *testing.T, s Seeding) string {
	t.Helper()
	all := seeds{s.Dir, s.ClusterID}
	f := all.look(seeded)
	if f.unclear != "" {
		t.Fatal(f.unclear)
	}
	spec := otto.ContainerSpec{Mounts: []otto.Mount{{Type: otto.MountVolume, Source: seeded, Seed: "./data", Target: "/data"}}}
	if lacks := all.lack(spec) != ""; lacks == f.there {
		t.Errorf("there: %v, and it lacks it: %v", f.there, lacks)
	}
	if !f.there {
		return ""
	}
	text, err := os.ReadFile(all.paths(spec)[seeded])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDataIsTakenInOnce(t *testing.T) {
	s := seedingIn(t.TempDir())
	if got := treeOf(t, s); got != "" {
		t.Fatalf("there is %q", got)
	}
	if err := s.Take(t.Context(), seeded, of("one")); err != nil {
		t.Fatal(err)
	}
	id := seeds{s.Dir, s.ClusterID}.look(seeded).id
	if err := s.Take(t.Context(), seeded, never); err != nil {
		t.Error(err)
	}
	if got := treeOf(t, s); got != "one" || id.Volume == "" || (seeds{s.Dir, s.ClusterID}).look(seeded).id != id {
		t.Errorf("it is %q", got)
	}
	if err := os.RemoveAll(filepath.Join(s.Dir, seeded)); err != nil {
		t.Fatal(err)
	}
	if err := s.Take(t.Context(), seeded, of("two")); err != nil {
		t.Fatal(err)
	}
	if (seeds{s.Dir, s.ClusterID}).look(seeded).id == id {
		t.Error("another one has the identity of the first")
	}
}

// TestTakeThatEndsAnywhereLeavesNothingHalf has it killed before, in and after each step.
func TestTakeThatEndsAnywhereLeavesNothingHalf(t *testing.T) {
	killed := errors.New("killed")
	for name, harm := range map[string]func(s *Seeding){
		"when it is asked for": func(*Seeding) {},
		"in the middle": func(s *Seeding) {
			s.Unpack = func(_ context.Context, _ io.Reader, into string) error {
				return errors.Join(killed, os.WriteFile(filepath.Join(into, seedTree), []byte("ha"), 0o600))
			}
		},
		"before the mark": func(s *Seeding) {
			unpack := s.Unpack
			s.Unpack = func(ctx context.Context, from io.Reader, into string) error {
				return errors.Join(unpack(ctx, from, into), killed)
			}
		},
		"with the mark": func(s *Seeding) {
			unpack := s.Unpack
			s.Unpack = func(ctx context.Context, from io.Reader, into string) error {
				return errors.Join(unpack(ctx, from, into), os.WriteFile(filepath.Join(into, markFile), []byte("{}"), 0o600), killed)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := seedingIn(t.TempDir())
			whole := s
			s.Remove = func(context.Context, string) error { return nil } // it is dead
			harm(&s)
			stream := of("whole")
			if name == "when it is asked for" {
				stream = never
			}
			if err := s.Take(t.Context(), seeded, stream); err == nil {
				t.Fatal("it goes well")
			}
			if got := treeOf(t, whole); got != "" {
				t.Errorf("%q is used", got)
			}
			if err := whole.Take(t.Context(), seeded, of("whole")); err != nil {
				t.Fatal(err)
			}
			if got := treeOf(t, whole); got != "whole" {
				t.Errorf("then it is %q", got)
			}
			list, err := os.ReadDir(whole.Dir)
			if err != nil || len(list) != 2 { // and the lock
				t.Errorf("left is %v (%v)", list, err)
			}
		})
	}
}

func TestTwoDoNotTakeInTheSame(t *testing.T) {
	s := seedingIn(t.TempDir())
	err := s.Take(t.Context(), seeded, func() (io.Reader, error) {
		if err := s.Take(t.Context(), seeded, never); err == nil || err.Error() != "it is being taken in already" {
			t.Errorf("got %v", err)
		}
		return strings.NewReader("one"), nil
	})
	if got := treeOf(t, s); err != nil || got != "one" {
		t.Errorf("%q %v", got, err)
	}
}

func TestDataOfAnotherClusterIsNotUsed(t *testing.T) {
	s := seedingIn(t.TempDir())
	if err := s.Take(t.Context(), seeded, of("one")); err != nil {
		t.Fatal(err)
	}
	other := s
	other.ClusterID = "c2"
	if err := other.Take(t.Context(), seeded, never); err == nil || !strings.Contains(err.Error(), "is of another cluster: move it away") {
		t.Errorf("got %v", err)
	}
	if names := Seeded(s.Dir, "c2"); len(names) > 0 {
		t.Errorf("it has %v", names)
	}
	if names := Seeded(s.Dir, "c1"); len(names) != 1 {
		t.Errorf("it has %v", names)
	}
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "/etc"} {
		if err := s.Take(t.Context(), name, never); err == nil || !strings.Contains(err.Error(), "is not the name of a volume") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestWhatIsInDataDoesNotLeadOut: a service may have made a link of what another one mounts.
func TestWhatIsInDataDoesNotLeadOut(t *testing.T) {
	s := seedingIn(t.TempDir())
	s.Unpack = func(_ context.Context, _ io.Reader, into string) error {
		tree := filepath.Join(into, seedTree)
		return errors.Join(os.MkdirAll(filepath.Join(tree, "in"), 0o700), os.Symlink("/etc", filepath.Join(tree, "out")),
			os.Symlink("in", filepath.Join(tree, "link")))
	}
	if err := s.Take(t.Context(), seeded, of("")); err != nil {
		t.Fatal(err)
	}
	for below, want := range map[string]bool{"": true, "in": true, "link": true, "gone": true, "out": false, "out/passwd": false} {
		spec := otto.ContainerSpec{Mounts: []otto.Mount{
			{Type: otto.MountVolume, Source: seeded, Seed: "./data", Target: "/data", Subpath: below},
		}}
		if _, err := SeedPaths(s.Dir, s.ClusterID, spec); (err == nil) != want {
			t.Errorf("%q: %v", below, err)
		}
	}
}
