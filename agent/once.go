package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// sweepEvery is between two looks for containers of runs for which nobody waits.
const sweepEvery = 10 * time.Second

// sweep removes them.
func (a *Agent) sweep(ctx context.Context) error {
	if a.Sweep == nil {
		return nil
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for said := ""; ; {
		within, cancel := context.WithTimeout(ctx, time.Minute)
		err := a.Sweep(within)
		cancel()
		if err == nil {
			said = ""
		} else if why := err.Error(); why != said && ctx.Err() == nil {
			a.Log.Warn("what is left of runs cannot be removed", "err", err)
			said = why
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Once is an instance for one run, with the containers from which it borrows. The error
// says why it may not run here: its data is not what its service has run with, as far as
// an agent whose state is in dir remembers.
func Once(ctx context.Context, dir string, rt Runtime, inst otto.Instance) (otto.Instance, error) {
	known := Remembered(dir)
	for _, m := range inst.Spec.Kept() {
		i := slices.IndexFunc(known, func(d otto.Data) bool { return d.Source == m.Source && !d.Accepted })
		f := found{skip: true} // of directories it is enough that they are there
		if m.Type == otto.MountVolume && m.Seed == "" {
			v, there, err := rt.Volume(ctx, m.Source)
			if err != nil {
				return inst, err
			}
			f = found{there: there, id: otto.DataID{Volume: v.ID}}
			if !m.External {
				f.others = v.Others
			}
		}
		var d otto.Data
		if i >= 0 {
			d = known[i]
		}
		if d.Problem == "" {
			d.Problem = fateOf(d, i >= 0, f).problem("")
		}
		switch {
		case inst.Disposable:
		case d.Problem != "":
			return inst, fmt.Errorf("%s %s on this node: bring it back first", m.Source, d.Problem)
		case foreign(d, i >= 0, f):
			return inst, fmt.Errorf("volume %s is on this node and not this cluster's%s", m.Source, f.others)
		}
	}
	lenders := inst.Spec.Lenders()
	if len(lenders) == 0 {
		return inst, nil
	}
	list, err := rt.Containers(ctx)
	if err != nil {
		return inst, err
	}
	inst.Lent = map[string]string{}
	for _, service := range lenders {
		first := ""
		for _, c := range list {
			if c.Service == service && c.State == otto.ContainerRunning && (first == "" || c.Instance < first) {
				first, inst.Lent[service] = c.Instance, c.ID
			}
		}
	}
	return inst, nil
}
