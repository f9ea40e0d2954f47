package control

import (
	"context"
	"fmt"
	"maps"
)

// RestartInstance stops one instance and starts it again, with the same
// container.
func (p *Plane) RestartInstance(ctx context.Context, instance string) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		if !p.desired.Wanted.HasInstance(instance) {
			return fmt.Errorf("no instance %q", instance)
		}
		next := p.desired.restarted(instance)
		if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
			return err
		}
		p.desired, p.dirty = next, true
		p.pass()
		p.publishView()
		return nil
	})
}

// restarted is what is desired once these instances were asked to restart.
func (d desired) restarted(instances ...string) desired {
	d.Restarts = maps.Clone(d.Restarts)
	if d.Restarts == nil {
		d.Restarts = map[string]uint64{}
	}
	for _, i := range instances {
		d.Restarts[i]++
	}
	return d
}
