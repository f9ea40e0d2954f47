package ottotest

import (
	"cmp"
	"context"
	"fmt"

	"github.com/otto-edge/otto"
)

// Retag has an image's name mean other content on the engine's node.
func (r *Runtime) Retag(name, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retag(name, id)
	r.changed()
}

func (r *Runtime) retag(name, id string) {
	if r.ids == nil {
		r.ids = map[string]string{}
	}
	if r.nameless == nil {
		r.nameless = map[string]bool{}
	}
	r.nameless[r.meaning(name)] = true
	r.ids[name] = id
	r.renamed++
}

// Load brings an image to the engine's node.
func (r *Runtime) Load(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.images[name] = true
	r.renamed++
	r.changed()
}

// Publish has an image's name mean other content in the registry.
func (r *Runtime) Publish(name, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.published == nil {
		r.published = map[string]string{}
	}
	r.published[name] = id
}

// Asked is how often the registry was asked.
func (r *Runtime) Asked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// ImageID implements agent.Runtime.
func (r *Runtime) ImageID(ctx context.Context, name string) (string, error) {
	if err := r.answer(ctx); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nameless[name] {
		return name, nil
	}
	if !r.images[name] {
		return "", nil
	}
	return r.meaning(name), nil
}

// PruneImages removes the images that no name means any more.
func (r *Runtime) PruneImages() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.nameless)
}

func (r *Runtime) meaning(name string) string { return cmp.Or(r.ids[name], "id-of-"+name) }

// Images implements agent.Runtime.
func (r *Runtime) Images(context.Context) ([]otto.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []otto.Image
	for name := range r.images {
		if !otto.BuiltImage(name) {
			name += ":latest"
		}
		list = append(list, otto.Image{Name: name, Bytes: ImageBytes})
	}
	return list, nil
}

// Pull implements agent.Runtime.
func (r *Runtime) Pull(ctx context.Context, spec otto.ContainerSpec) (string, error) {
	r.mu.Lock()
	there := r.images[spec.Image]
	if there && spec.PullPolicy != otto.PullAlways {
		r.mu.Unlock()
		return "", nil
	}
	if otto.BuiltImage(spec.Image) {
		r.mu.Unlock()
		return "", fmt.Errorf("image %s is nowhere", spec.Image)
	}
	r.asked++
	r.mu.Unlock()
	if err := pause(ctx, r.PullTime); err != nil {
		return "", err
	}
	if !r.Registry && there {
		return "no registry answers; the image that is there is used", nil
	}
	if !r.Registry {
		return "", fmt.Errorf("image %s is not there and cannot be pulled", spec.Image)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.images[spec.Image] = true
	if id := r.published[spec.Image]; id != "" {
		r.retag(spec.Image, id)
	}
	return "", nil
}

// RemoveImage takes an image away.
func (r *Runtime) RemoveImage(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.images, name)
}
