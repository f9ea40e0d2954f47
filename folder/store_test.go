package folder_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/otto-edge/otto/folder"
)

func TestStoreKeepsWholePacksAlone(t *testing.T) {
	dir, at := project(t, map[string]string{"conf/a": "some content", "conf/b/c": "more of it"}), t.TempDir()
	s := folder.NewStore(at)
	_, pack := packed(t, dir, "conf")
	salt := func(folder.Manifest) string { return "c0ffee" }
	for i := range pack { // whoever sends it is killed at any point
		if _, err := s.Put(bytes.NewReader(pack[:i]), salt); err == nil {
			t.Fatalf("%d of %d bytes are taken for all", i, len(pack))
		}
	}
	if list, err := os.ReadDir(at); err != nil || len(list) != 0 {
		t.Errorf("%v is left (%v)", list, err)
	}
	key, err := s.Put(bytes.NewReader(pack), salt)
	if err != nil || !s.Has(key) {
		t.Fatalf("%v, there %t", err, s.Has(key))
	}
	if want := read(t, dir, "conf").Salted("c0ffee").Key(); key != want {
		t.Errorf("its key is %s, want %s", key, want)
	}
	r, err := folder.NewStore(at).Open(key) // another process
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	to := t.TempDir()
	if err := folder.Unpack(to, key, r); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(folder.Path(to, key), "b/c")); err != nil || string(b) != "more of it" {
		t.Errorf("%q, %v", b, err)
	}
}

// What a killed process has left in the store is not taken for a pack, and goes.
func TestStoreRemovesWhatNobodyNeeds(t *testing.T) {
	dir, at, now := project(t, map[string]string{"a": "a", "b": "b"}), t.TempDir(), time.Now()
	s := folder.NewStore(at)
	salt := func(folder.Manifest) string { return "" }
	var keys []string
	for _, name := range []string{"a", "b"} {
		_, pack := packed(t, dir, name)
		key, err := s.Put(bytes.NewReader(pack), salt)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if err := os.WriteFile(filepath.Join(at, ".new-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	keep := map[string]bool{keys[0]: true}
	if err := s.Keep(keep, now); err != nil || !s.Has(keys[1]) {
		t.Errorf("what has just come is gone (%v)", err)
	}
	if err := s.Keep(keep, now.Add(2*time.Hour)); err != nil || !s.Has(keys[0]) || s.Has(keys[1]) {
		t.Errorf("%v, kept %t, removed %t", err, s.Has(keys[0]), !s.Has(keys[1]))
	}
	if list, err := os.ReadDir(at); err != nil || len(list) != 1 {
		t.Errorf("%v (%v)", list, err)
	}
	all, without, err := s.All(map[string]bool{keys[0]: true, keys[1]: true}, 1<<20)
	if err != nil || len(all) != 1 || len(without) != 1 || without[0] != keys[1] {
		t.Fatalf("%d packs, without %v (%v)", len(all), without, err)
	}
	if none, without, err := s.All(keep, 10); err != nil || len(none) != 0 || len(without) != 1 {
		t.Errorf("%d packs are within ten bytes (%v)", len(none), err)
	}
	other := folder.NewStore(filepath.Join(t.TempDir(), "files"))
	if err := other.Restore(all); err != nil || !other.Has(keys[0]) {
		t.Errorf("restored %t (%v)", other.Has(keys[0]), err)
	}
	if err := other.Restore(map[string][]byte{keys[1]: all[keys[0]]}); err == nil || other.Has(keys[1]) {
		t.Error("a pack is taken for another one")
	}
	if _, err := s.Open("../" + keys[0]); err == nil {
		t.Error("a path is taken for a key")
	}
	if r, err := s.Open(keys[0]); err != nil {
		t.Error(err)
	} else if b, err := io.ReadAll(r); err != nil || len(b) == 0 || r.Close() != nil {
		t.Error(err)
	}
}
