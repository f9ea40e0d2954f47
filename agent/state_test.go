package agent

import (
	"crypto/ed25519"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// signer makes assignments of one cluster, and opens them as its agent does.
type signer struct{ key ed25519.PrivateKey }

func newSigner() signer { return signer{ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))} }

func (s signer) open(b []byte) (otto.Assignment, error) {
	return wire.OpenAssignment(s.key.Public().(ed25519.PublicKey), "c", "n", b)
}

func (s signer) sign(t testing.TB, number uint64) (otto.Assignment, []byte) {
	t.Helper()
	a := otto.Assignment{ClusterID: "c", Node: "n", Revision: otto.Revision{Epoch: 1, Number: number}, Instances: []otto.Instance{}}
	b, err := wire.SignAssignment(s.key, a)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func reopen(t testing.TB, dir string, s signer) state {
	t.Helper()
	st, err := openState(dir, slog.New(slog.DiscardHandler), s.open)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// accepted is a directory that has seen assignments 1 to n.
func accepted(t testing.TB, s signer, n uint64) string {
	t.Helper()
	dir := t.TempDir()
	st := reopen(t, dir, s)
	for i := uint64(1); i <= n; i++ {
		a, b := s.sign(t, i)
		if fresh, err := st.accept(a, b); !fresh || err != nil {
			t.Fatal(fresh, err)
		}
	}
	return dir
}

func number(st state) uint64 {
	if st.current == nil {
		return 0
	}
	return st.current.Revision.Number
}

// TestStateSurvivesAPowerCutInAnyWrite leaves the directory as each step of
// writing assignment 3 after 1 and 2 may, at any byte.
func TestStateSurvivesAPowerCutInAnyWrite(t *testing.T) {
	s := newSigner()
	_, third := s.sign(t, 3)
	write := func(dir, name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for cut := range len(third) {
		dir := accepted(t, s, 2)
		write(dir, currentFile+".new", third[:cut]) // torn before the first rename
		if got := number(reopen(t, dir, s)); got != 2 {
			t.Fatalf("cut at byte %d of the new file: assignment %d is in force", cut, got)
		}
		write(dir, currentFile, third[:cut]) // a disk that lies about its sync
		if got := number(reopen(t, dir, s)); got != 1 {
			t.Fatalf("cut at byte %d of the current file: assignment %d is in force", cut, got)
		}
	}
	dir := accepted(t, s, 2)
	if err := os.Rename(filepath.Join(dir, currentFile), filepath.Join(dir, previousFile)); err != nil {
		t.Fatal(err)
	}
	if got := number(reopen(t, dir, s)); got != 2 {
		t.Errorf("between the two renames: assignment %d is in force", got)
	}
}

// TestFirstAssignmentIsNotOlderThanTheEnrolment is an agent on a machine that was installed
// anew: somebody says again what it was told before.
func TestFirstAssignmentIsNotOlderThanTheEnrolment(t *testing.T) {
	s := newSigner()
	dir := t.TempDir()
	st := reopen(t, dir, s)
	st.floor = otto.Revision{Epoch: 1, Number: 4}
	for _, n := range []uint64{1, 3} {
		if fresh, err := st.accept(s.sign(t, n)); fresh || err != nil {
			t.Errorf("assignment %d is taken: %v", n, err)
		}
	}
	if fresh, err := st.accept(s.sign(t, 4)); !fresh || err != nil {
		t.Errorf("assignment 4 is not taken: %v", err)
	}
}

func TestStateKnowsWhatIsOldAfterARestart(t *testing.T) {
	s := newSigner()
	dir := accepted(t, s, 5)
	st := reopen(t, dir, s)
	for _, n := range []uint64{1, 4, 5} {
		if fresh, err := st.accept(s.sign(t, n)); fresh || err != nil {
			t.Errorf("assignment %d after 5: fresh %t, %v", n, fresh, err)
		}
	}
	if got := number(reopen(t, dir, s)); got != 5 {
		t.Errorf("assignment %d is in force", got)
	}
}

func TestUnreadableStateIsSetAsideAndIsNoAssignment(t *testing.T) {
	s := newSigner()
	dir := accepted(t, s, 2)
	for _, name := range []string{currentFile, previousFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"instances":[]}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if st := reopen(t, dir, s); st.current != nil {
		t.Errorf("an unsigned file is in force: %+v", st.current)
	}
	for _, name := range []string{currentFile, previousFile} {
		if _, err := os.Stat(filepath.Join(dir, name+".bad")); err != nil {
			t.Error(err)
		}
	}
}

func TestAssignmentHoldsAlthoughItCannotBeWritten(t *testing.T) {
	s := newSigner()
	dir := accepted(t, s, 1)
	if err := os.MkdirAll(filepath.Join(dir, currentFile+".new"), 0o700); err != nil { // nothing can be written there
		t.Fatal(err)
	}
	st := reopen(t, dir, s)
	if fresh, err := st.accept(s.sign(t, 2)); !fresh || err == nil {
		t.Errorf("fresh %t, %v", fresh, err)
	}
	if number(st) != 2 {
		t.Errorf("assignment %d is in force", number(st))
	}
	if got := number(reopen(t, dir, s)); got != 1 {
		t.Errorf("after a restart assignment %d is in force", got)
	}
	if err := st.save(); err == nil {
		t.Error("nothing can be written, and save says nothing")
	}
	if err := os.Remove(filepath.Join(dir, currentFile+".new")); err != nil {
		t.Fatal(err)
	}
	if err := st.save(); err != nil || number(reopen(t, dir, s)) != 2 {
		t.Errorf("%v: with space again, after a restart assignment %d is in force", err, number(reopen(t, dir, s)))
	}
}

func TestStateIsForItsOwnerOnly(t *testing.T) {
	dir := accepted(t, newSigner(), 2)
	for _, name := range []string{currentFile, previousFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %v", name, info.Mode())
		}
	}
}
