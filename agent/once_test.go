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
)

// onNode is an engine with volumes and containers.
type onNode struct {
	Runtime
	volumes    map[string]otto.Volume
	containers []otto.Container
}

func (o onNode) Volume(_ context.Context, name string) (otto.Volume, bool, error) {
	v, there := o.volumes[name]
	return v, there, nil
}

func (o onNode) Containers(context.Context) ([]otto.Container, error) { return o.containers, nil }

// TestRunHasTheDataOfItsServiceOrIsNone compares what is there with what the agent
// remembers.
func TestRunHasTheDataOfItsServiceOrIsNone(t *testing.T) {
	for _, tt := range []struct {
		name    string
		known   []otto.Data
		there   map[string]otto.Volume
		without bool // it may start without its data
		want    string
	}{
		{name: "it is there", known: []otto.Data{{Source: "d", ID: otto.DataID{Volume: "1"}}}, there: map[string]otto.Volume{"d": {ID: "1"}}},
		{name: "it is gone", known: []otto.Data{{Source: "d", ID: otto.DataID{Volume: "1"}}}, want: "d is missing on this node"},
		{
			name: "it is another one", known: []otto.Data{{Source: "d", ID: otto.DataID{Volume: "1"}}},
			there: map[string]otto.Volume{"d": {ID: "2"}}, want: "d is another one than before on this node",
		},
		{name: "it is somebody else's", there: map[string]otto.Volume{"d": {ID: "1", Others: ": it is of another cluster"}}, want: "volume d is on this node and not this cluster's: it is of another cluster"},
		{name: "nothing is remembered", there: map[string]otto.Volume{"d": {ID: "1"}}},
		{name: "a person has given it up", known: []otto.Data{{Source: "d", ID: otto.DataID{Volume: "1"}, Accepted: true}}, there: map[string]otto.Volume{"d": {ID: "2"}}},
		{name: "it may start without", known: []otto.Data{{Source: "d", ID: otto.DataID{Volume: "1"}}}, without: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			l := openLedger(dir, slog.New(slog.DiscardHandler))
			for _, d := range tt.known {
				if err := l.put(d); err != nil {
					t.Fatal(err)
				}
			}
			inst := otto.Instance{Disposable: tt.without, Spec: otto.ContainerSpec{Mounts: []otto.Mount{{Type: otto.MountVolume, Source: "d", Target: "/d"}}}}
			_, err := Once(t.Context(), dir, onNode{volumes: tt.there}, inst)
			if got := errorText(err); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestRunBorrowsFromTheFirstThatRuns(t *testing.T) {
	rt := onNode{containers: []otto.Container{
		{ID: "1", Service: "a/vpn", Instance: "a/vpn", State: otto.ContainerExited},
		{ID: "3", Service: "a/vpn", Instance: "a/vpn-3", State: otto.ContainerRunning},
		{ID: "2", Service: "a/vpn", Instance: "a/vpn-2", State: otto.ContainerRunning},
	}}
	inst := otto.Instance{Spec: otto.ContainerSpec{NetworkMode: otto.ServicePrefix + "a/vpn"}}
	got, err := Once(t.Context(), t.TempDir(), rt, inst)
	if err != nil || got.Lent["a/vpn"] != "2" {
		t.Errorf("%v, %v", got.Lent, err)
	}
}

func TestRunsAreSweptAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		times := 0
		a := &Agent{Options: Options{Log: slog.New(slog.DiscardHandler), Sweep: func(context.Context) error {
			times++
			return errors.New("the engine does not answer")
		}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := a.sweep(ctx); !errors.Is(err, context.DeadlineExceeded) || times < 6 {
			t.Errorf("%d times, %v", times, err)
		}
	})
}
