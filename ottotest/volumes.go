package ottotest

import (
	"maps"
	"strconv"

	"github.com/otto-edge/otto"
)

// makeVolume makes a volume with a label of its own where there is none of that name;
// the caller holds the lock.
func (r *Runtime) makeVolume(name string) {
	if _, there := r.volumes[name]; !there {
		r.labels++
		r.volumes[name] = "label-" + strconv.Itoa(r.labels)
	}
}

// SetVolume makes a volume as somebody does by hand, with a label of LabelVolume or an
// empty one for none, in place of one that is there.
func (r *Runtime) SetVolume(name, label string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.volumes[name] = label
}

// GiveVolume says whose a volume is, by its labels; empty for the cluster's.
func (r *Runtime) GiveVolume(name, others string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.others == nil {
		r.others = map[string]string{}
	}
	r.others[name] = others
}

// RemoveVolume removes a volume, as somebody does by hand.
func (r *Runtime) RemoveVolume(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.volumes, name)
}

// VolumeLabel is the label of a volume; false if it is not there.
func (r *Runtime) VolumeLabel(name string) (label string, there bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	label, there = r.volumes[name]
	return label, there
}

// LoseDisk takes away the disk with all that the engine keeps, its containers too, as
// one that is not mounted at boot. What it returns puts it back, with what is there by
// then forgotten.
func (r *Runtime) LoseDisk() (back func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	containers, volumes := r.containers, r.volumes
	r.containers, r.volumes = nil, map[string]string{}
	for _, c := range containers {
		if c.of != otto.Own {
			r.containers = append(r.containers, c)
		}
		if c.State == otto.ContainerRunning {
			c.State, c.ExitCode, c.cut = otto.ContainerExited, 137, false
		}
	}
	r.changed()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.containers, r.volumes = containers, maps.Clone(volumes)
		r.changed()
	}
}

// CopyVolumes gives the engine the volumes of another one, as a copy of its disk has.
func (r *Runtime) CopyVolumes(from *Runtime) {
	from.mu.Lock()
	volumes := maps.Clone(from.volumes)
	from.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.volumes = volumes
}
