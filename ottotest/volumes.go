package ottotest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/otto-edge/otto"
)

// makeVolume makes a volume with a label of its own where there is none of that name;
// the caller holds the lock.
func (r *Runtime) makeVolume(name string) {
	if _, there := r.volumes[name]; !there {
		r.labels++
		r.volumes[name] = "label-" + strconv.Itoa(r.labels)
		delete(r.others, name)
	}
}

// labelsOf are the labels of an instance's volumes that are there, by name; the caller
// holds the lock.
func (r *Runtime) labelsOf(inst otto.Instance) map[string]string {
	var labels map[string]string
	for _, v := range inst.Spec.Volumes() {
		if label, there := r.volumes[v]; there {
			if labels == nil {
				labels = map[string]string{}
			}
			labels[v] = label
		}
	}
	return labels
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

// Prune removes a volume with all containers that have it, running or not, as somebody
// does by hand. What it returns puts the volume back, in place of one that is there.
func (r *Runtime) Prune(name string) (back func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	label, there := r.volumes[name]
	if !there || r.others[name] != "" {
		return nil
	}
	has := func(c *container) bool { return slices.Contains(c.inst.Spec.Volumes(), name) }
	for _, c := range r.containers {
		if has(c) {
			c.State = otto.ContainerExited
		}
	}
	r.changed()
	r.containers = slices.DeleteFunc(r.containers, has)
	delete(r.volumes, name)
	r.changed()
	return func() { r.SetVolume(name, label) }
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
// then forgotten; the engine is started anew for it.
func (r *Runtime) LoseDisk() (back func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	containers, volumes, others := r.containers, r.volumes, r.others
	r.volumes, r.others = map[string]string{}, nil
	r.end()
	r.containers = theirs(containers)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.end()
		r.containers, r.volumes, r.others = containers, maps.Clone(volumes), others
		r.changed()
	}
}

// end ends all containers of the cluster, which nothing starts again; the caller holds
// the lock.
func (r *Runtime) end() {
	for _, c := range r.containers {
		if !c.theirs && c.lives() {
			c.State, c.ExitCode, c.cut = otto.ContainerExited, 137, false
		}
	}
	r.changed()
}

func theirs(containers []*container) (list []*container) {
	for _, c := range containers {
		if c.theirs {
			list = append(list, c)
		}
	}
	return list
}

// CopyVolumes gives the engine the volumes of another one, as a copy of its disk has.
func (r *Runtime) CopyVolumes(from *Runtime) {
	from.mu.Lock()
	volumes, others := maps.Clone(from.volumes), maps.Clone(from.others)
	from.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.volumes, r.others = volumes, others
}

// Volumes implements agent.Runtime.
func (r *Runtime) Volumes(ctx context.Context) ([]string, error) {
	if err := r.answer(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != "" {
		return nil, silence(r.down)
	}
	var list []string
	for name := range r.volumes {
		if r.others[name] == "" {
			list = append(list, name)
		}
	}
	return list, nil
}

// Volume implements agent.Runtime.
func (r *Runtime) Volume(ctx context.Context, name string) (otto.Volume, bool, error) {
	if err := r.answer(ctx); err != nil {
		return otto.Volume{}, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != "" {
		return otto.Volume{}, false, errors.New(r.down)
	}
	id, there := r.volumes[name]
	return otto.Volume{Name: name, ID: id, Others: r.others[name]}, there, nil
}
