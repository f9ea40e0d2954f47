package agent

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// tardy is an engine that may do late what it has not answered: it may start a container until that is gone.
type tardy struct {
	Runtime
	unanswered int    // starts, before it answers
	fails      bool   // what it answers
	unstopped  bool   // it stops nothing
	asked      func() // is called when it is asked to start one, if set
	did        []string
}

func (r *tardy) do(what string) { r.did = append(r.did, what) }

func (r *tardy) Containers(context.Context) ([]otto.Container, error) { return nil, nil }

func (r *tardy) Logs(context.Context, string, int) ([]string, error) { return nil, nil }

func (r *tardy) Start(_ context.Context, id string) error {
	r.do("start " + id)
	if r.asked != nil {
		r.asked()
	}
	switch {
	case id != "new":
		return nil
	case r.unanswered > 0:
		r.unanswered--
		return otto.ErrNoAnswer
	case r.fails:
		return errors.New("no such device")
	}
	return nil
}

func (r *tardy) Stop(_ context.Context, id string) error {
	r.do("stop " + id)
	if r.unstopped && id == "new" {
		return otto.ErrNoAnswer
	}
	return nil
}

func (r *tardy) Volume(context.Context, string) (otto.Volume, bool, error) {
	return otto.Volume{ID: "1"}, true, nil
}

func (r *tardy) Remove(_ context.Context, id string) error { r.do("remove " + id); return nil }

func (r *tardy) Rename(_ context.Context, id, name string) error {
	r.do("rename " + id + " " + name)
	return nil
}

// remembering is an agent of an engine, with a lease.
func remembering(t *testing.T, engine Runtime) *converger {
	t.Helper()
	a, err := New(Options{
		StateDir: t.TempDir(), Runtime: engine, Log: slog.New(slog.DiscardHandler),
		Clock: Clock{Boot: "one", Now: func() time.Duration { return time.Second }},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.lease.sending(1)
	if err := a.lease.renew(wire.Lease{Seq: 1, Duration: time.Minute}); err != nil {
		t.Fatal(err)
	}
	return &converger{Agent: a}
}

// onVolume is an instance with data.
func onVolume(name string) otto.Instance {
	inst := otto.Instance{Service: name, Name: name}
	inst.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: name, Target: "/data"}}
	return inst
}

// TestStartThatMayHaveHappenedIsRemembered: whoever begins anew later would begin with nothing.
func TestStartThatMayHaveHappenedIsRemembered(t *testing.T) {
	for name, tt := range map[string]struct {
		engine tardy
		cut    bool
		want   bool
	}{
		"started":      {want: true},
		"failed":       {engine: tardy{fails: true}},
		"not answered": {engine: tardy{unanswered: 1}, want: true},
		"cut short":    {engine: tardy{fails: true}, cut: true, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := remembering(t, &tt.engine)
			ctx, cut := context.WithCancel(t.Context())
			defer cut()
			if tt.cut {
				tt.engine.asked = cut
			}
			_ = c.start(ctx, wish{Instance: onVolume("db")}, "new")
			_, remembered := openLedger(c.StateDir, c.Log).of("db")
			if remembered != tt.want {
				t.Errorf("remembered %t; want %t", remembered, tt.want)
			}
		})
	}
}

// TestWhatMayBeStartedLateIsRemoved: an engine that did not answer when it was asked to start a
// container may do so when another one of its instance runs.
func TestWhatMayBeStartedLateIsRemoved(t *testing.T) {
	running, exited := otto.ContainerRunning, otto.ContainerExited
	tests := map[string]struct {
		engine    tardy
		former    otto.ContainerState
		taken     bool
		stateless bool
		want      string
	}{
		"a former one that runs":                   {former: running, want: "stop old, start new"},
		"a former one that does not":               {former: exited, want: "stop old, remove old, start new"},
		"the same of a service without data":       {former: exited, stateless: true, want: "stop old, start new"},
		"the same of Compose, which may come back": {former: exited, taken: true, want: "stop old, start new"},
		"a new one that fails": {
			engine: tardy{fails: true}, former: running,
			want: "stop old, start new, stop new, rename new db.failed, start old",
		},
		"a new one that is not answered for": {
			engine: tardy{unanswered: 9}, former: running,
			want: "stop old, start new, start new, stop new, remove new, start old",
		},
		"a new one that fails when it is asked again": {
			engine: tardy{unanswered: 1, fails: true}, former: running,
			want: "stop old, start new, start new, stop new, remove new, start old",
		},
		"the same without data": {
			engine: tardy{unanswered: 9}, former: running, stateless: true,
			want: "stop old, start new, start new, stop new, rename new db.failed, start old",
		},
		"a new one that cannot be stopped": {
			engine: tardy{fails: true, unstopped: true}, former: running,
			want: "stop old, start new, stop new, rename new db.failed",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := &tt.engine
				c := remembering(t, engine)
				want := wish{Instance: onVolume("db")}
				if want.Disposable = true; tt.stateless {
					want.Spec.Mounts = nil
				}
				old := otto.Container{ID: "old", Name: want.ContainerName(), Instance: "db", State: tt.former, Taken: tt.taken}
				_, _ = c.update(t.Context(), want, step{
					do: doUpdate, current: &otto.Container{ID: "new"}, others: []otto.Container{old},
				})
				got := strings.ReplaceAll(strings.Join(engine.did, ", "), want.ContainerName(), "db")
				if got != tt.want {
					t.Errorf("it did %s; want %s", got, tt.want)
				}
			})
		})
	}
}
