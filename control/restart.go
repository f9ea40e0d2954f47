package control

import "maps"

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
