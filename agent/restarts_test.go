package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

// TestRestartIsDueUntilAnotherRunHasBegun follows a restart through the deaths of
// the agent: the memory on disk says what is left to do.
func TestRestartIsDueUntilAnotherRunHasBegun(t *testing.T) {
	dir := t.TempDir()
	memory := func() *restarts {
		r, err := openRestarts(dir)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	inst := otto.Instance{Name: "web", Spec: otto.ContainerSpec{Image: "web"}}
	run := func(minute int) []otto.Container {
		return []otto.Container{{ID: "1", SpecHash: inst.Spec.Hash(), State: otto.ContainerRunning, Started: time.Unix(int64(60*minute), 0)}}
	}
	is := func(what string, want bool, have []otto.Container) {
		t.Helper()
		r := memory()
		if err := r.note(inst, have); err != nil {
			t.Fatal(err)
		}
		if got := memory().due(inst, have); got != want {
			t.Errorf("%s: due is %t", what, got)
		}
	}
	is("nobody has asked", false, run(1))
	inst.Restart = 1
	if !memory().due(inst, run(1)) {
		t.Error("what is asked for and not taken in counts as done")
	}
	is("it runs as before", true, run(1))
	is("it was stopped", true, []otto.Container{{ID: "1", SpecHash: inst.Spec.Hash(), State: otto.ContainerExited, Started: time.Unix(60, 0)}})
	is("it runs again", false, run(2))
	inst.Restart = 3
	is("again, and twice", true, run(2))
	is("once is enough", false, run(3))
	inst.Restart = 2
	is("the control plane is one of yesterday", false, run(3))
	inst.Restart = 4
	is("nothing is there", false, nil)
	is("it is new", false, run(4))
	if err := memory().keep(func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if len(memory().runs) > 0 {
		t.Error("what is gone is not forgotten")
	}
}

func TestUnreadableRestartsAreNone(t *testing.T) {
	for _, content := range []string{"", "{", "null", `{"web":1}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, restartsFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r, _ := openRestarts(dir)
		if err := r.note(otto.Instance{Name: "web", Restart: 1}, nil); err != nil || len(r.runs) != 1 {
			t.Errorf("%q: %v, %v", content, r.runs, err)
		}
	}
}
