package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

func TestProbesAreToldOnceAndTheOldestAreForgotten(t *testing.T) {
	var d diary
	now := time.Unix(1000, 0)
	for i := range wire.MaxProbes + 5 {
		d.write("web", entry{now.Add(time.Duration(i) * time.Second), time.Millisecond, i%2 == 1})
	}
	d.write("ended", entry{now, time.Second, true})
	samples := []otto.ContainerSample{{ID: "other"}, {ID: "web"}}
	d.into(samples, now.Add(40*time.Second))
	if n := len(samples[1].Probes); n != wire.MaxProbes || samples[0].Probes != nil {
		t.Fatalf("%d probes are told, and %v of another container", n, samples[0].Probes)
	}
	if diff := cmp.Diff(otto.Probed{Ago: 35 * time.Second, Took: time.Millisecond, Failed: true}, samples[1].Probes[0]); diff != "" {
		t.Error(diff)
	}
	again := []otto.ContainerSample{{ID: "web"}, {ID: "ended"}}
	d.into(again, now)
	if again[0].Probes != nil || again[1].Probes != nil {
		t.Errorf("told again: %v", again)
	}
}
