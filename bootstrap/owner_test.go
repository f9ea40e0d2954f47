package bootstrap

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

func TestNodeOfAnotherClusterIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	broker := newBroker(t)
	mustEnsure(t, w.fleet(), m, broker)
	assigned(t, m, 5, "p")
	before, running := listing(t, m.nodeDir()), m.state(t)
	e := enrolment("rpi-01", broker)
	e.ClusterID = "c2"
	namesake, twin, older := us, us, us
	namesake.ClusterID, twin.Process, older.Epoch = "c2", "q", 4
	renamed := m.node
	renamed.ID = "rpi-02"
	ensured := func(e wire.Enrolment) error {
		_, err := w.fleet().Ensure(t.Context(), m.node, e, 0, bringing(func(string) {}, nil))
		return err
	}
	w.opts.TakeOver = true // of another id of the node
	f := w.fleet()
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"start":                    {ensured(e), "rpi-01 belongs to another cluster named home (id c1)"},
		"stop":                     {f.Stop(t.Context(), m.node, namesake), "rpi-01 belongs to another cluster named home (id c1)"},
		"uninstall":                {f.Uninstall(t.Context(), m.node, namesake, true), "rpi-01 belongs to another cluster named home (id c1)"},
		"snapshot":                 {f.PutSnapshot(t.Context(), m.node, namesake, []byte("x")), "rpi-01 belongs to another cluster named home (id c1)"},
		"stop by an older one":     {f.Stop(t.Context(), m.node, older), "rpi-01 obeys a newer control plane of this cluster (epoch 5, here 4)"},
		"uninstall by a copy":      {f.Uninstall(t.Context(), m.node, twin, true), "rpi-01 obeys a newer control plane of this cluster"},
		"uninstall of another one": {f.Uninstall(t.Context(), renamed, us, true), "rpi-02 is the node rpi-01 of this cluster already"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, tt.err, tt.want)
		}
	}
	if diff := cmp.Diff(before, listing(t, m.nodeDir())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(running, m.state(t)); diff != "" {
		t.Error(diff)
	}
	us := us
	us.Epoch++
	if err := f.Uninstall(t.Context(), m.node, us, true); err != nil {
		t.Error(err)
	}
}

// TestFormerKeysReplaceNone is about a control plane whose state was copied before the
// cluster's keys were renewed: it changes nothing on a node that has the new ones.
func TestFormerKeysReplaceNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	broker := newBroker(t)
	mustEnsure(t, w.fleet(), m, broker)
	former := m.state(t)
	bring := func(e wire.Enrolment) error {
		_, err := w.fleet().Ensure(t.Context(), m.node, e, 0, bringing(func(string) {}, nil))
		return err
	}
	e := enrolment("rpi-01", broker)
	e.FormerKeys = []wire.FormerKey{{Key: e.ControlKey}}
	e.ControlKey = bytes.Repeat([]byte{1}, ed25519.PublicKeySize)
	if err := bring(e); err != nil {
		t.Fatal(err)
	}
	before, now := listing(t, m.nodeDir()), m.state(t)
	if now.Pid == former.Pid || !now.Enrolment.ControlKey.Equal(e.ControlKey) {
		t.Fatalf("the new keys have not been brought: %+v", now)
	}
	by := us
	by.Key = former.Enrolment.ControlKey
	for name, err := range map[string]error{
		"start":     bring(enrolment("rpi-01", broker)),
		"stop":      w.fleet().Stop(t.Context(), m.node, by),
		"uninstall": w.fleet().Uninstall(t.Context(), m.node, by, true),
		"snapshot":  w.fleet().PutSnapshot(t.Context(), m.node, by, []byte("x")),
	} {
		if !errors.Is(err, otto.ErrReplaced) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff(before, listing(t, m.nodeDir())); diff != "" {
		t.Error(diff)
	}
	by.Key = e.ControlKey
	if err := w.fleet().Stop(t.Context(), m.node, by); err != nil {
		t.Errorf("by who has the new keys: %v", err)
	}
}

// assigned gives a machine an assignment of a control plane.
func assigned(t *testing.T, m machine, epoch uint64, process string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	e := m.state(t).Enrolment
	e.ControlKey = public
	w, err := wire.SignWarrant(private, wire.Warrant{ClusterID: e.ClusterID, Epoch: epoch, Process: process})
	if err != nil {
		t.Fatal(err)
	}
	a, err := wire.SignAssignment(private, otto.Assignment{ClusterID: e.ClusterID, Node: e.NodeID, Revision: otto.Revision{Epoch: epoch, Number: 1}, Warrant: w})
	if err != nil {
		t.Fatal(err)
	}
	enrolled, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.MkdirAll(filepath.Join(m.nodeDir(), "state"), 0o700),
		os.WriteFile(filepath.Join(m.nodeDir(), "state", "assignment.json"), a, 0o600),
		os.WriteFile(filepath.Join(m.nodeDir(), "agent.json"), enrolled, 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// TestMachineIsOneNode lists a machine twice, and brings both up at once.
func TestMachineIsOneNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	broker := newBroker(t)
	errs := make(chan error, 2)
	for _, id := range []string{"a", "b"} {
		go func() {
			n := m.node
			n.ID = id
			_, err := w.fleet().Ensure(t.Context(), n, enrolment(id, broker), 0, bringing(func(string) {}, nil))
			errs <- err
		}()
	}
	first, second := <-errs, <-errs
	if (first == nil) == (second == nil) {
		t.Fatalf("%v, %v", first, second)
	}
	wantError(t, errors.Join(first, second), "of this cluster already: list each machine once")
}
