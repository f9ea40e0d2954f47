package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// What Otto has built is in no registry. It comes over SSH, as an archive, and is loaded under a
// name of its own, which keeps it from `docker image prune`.

// inspect asks for an image. One that was built elsewhere may have another id here, and is
// known by its name then.
func (r *Runtime) inspect(ctx context.Context, c *client.Client, image string) (client.ImageInspectResult, error) {
	found, err := c.ImageInspect(ctx, image)
	if cerrdefs.IsNotFound(err) && otto.BuiltImage(image) {
		return c.ImageInspect(ctx, otto.BuiltName(r.owner.Cluster, image))
	}
	return found, err
}

// withBuilt has a container be made of a built image by the id that this engine has for it.
func (r *Runtime) withBuilt(ctx context.Context, c *client.Client, inst otto.Instance, config *container.Config) error {
	if inst.ImageID != "" || !otto.BuiltImage(inst.Spec.Image) {
		return nil
	}
	found, err := r.inspect(ctx, c, inst.Spec.Image)
	if cerrdefs.IsNotFound(err) {
		return errors.New(notBuiltHere(inst.Spec.Image))
	}
	if err == nil && found.ID != config.Image {
		config.Image, config.Labels[otto.LabelImage] = found.ID, inst.Spec.Image
	}
	return err
}

func notBuiltHere(image string) string {
	return fmt.Sprintf("image %s is not on this node: run `otto apply` where its folder is", image)
}

// TakeImage takes in a built image, unless it is there. answer tells whoever offers it what
// is to be done, and archive is what he sends then.
func (r *Runtime) TakeImage(ctx context.Context, o otto.ImageOffer, answer func(string) error, archive io.Reader) error {
	name, there, err := r.hasBuilt(ctx, o)
	if err != nil {
		return err
	}
	if there {
		return errors.Join(r.removeBuilt(ctx, o), answer(otto.ImageThere))
	}
	if err := r.roomFor(ctx, o); err != nil {
		return err
	}
	if err := answer(otto.ImageSend); err != nil {
		return err
	}
	if err := r.load(ctx, archive); err != nil {
		return fmt.Errorf("load image %s: %w", o.ID, err)
	}
	if _, there, err = r.hasBuilt(ctx, o); err == nil && !there {
		err = fmt.Errorf("image %s was loaded, but the engine does not have it as %s: its image store may be damaged", o.ID, name)
	}
	if err != nil {
		return err
	}
	if r.Local() {
		syscall.Sync() // a power cut leaves half of an image that is only in memory
	}
	return errors.Join(r.removeBuilt(ctx, o), answer(otto.ImageTaken))
}

// hasBuilt reports whether a built image is there, and sees to its name.
func (r *Runtime) hasBuilt(ctx context.Context, o otto.ImageOffer) (name string, there bool, err error) {
	name = otto.BuiltName(r.owner.Cluster, o.ID)
	err = r.call(ctx, longCall, "image "+o.ID, func(ctx context.Context, c *client.Client) error {
		there = false
		found, err := r.inspect(ctx, c, o.ID)
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if found.ID != o.ID && !slices.Equal(found.RootFS.Layers, o.Layers) {
			return nil // the name is of something else
		}
		there = true
		_, err = c.ImageTag(ctx, client.ImageTagOptions{Source: found.ID, Target: name})
		return err
	})
	return name, there, err
}

// roomFor looks for space for the archive, which engines put on the disk before they unpack it.
func (r *Runtime) roomFor(ctx context.Context, o otto.ImageOffer) error {
	d, err := r.disk(ctx)
	if err != nil {
		return err
	}
	if need := minFree + 2*uint64(o.Bytes); d.dir != "" && d.free < need {
		return fmt.Errorf("disk of the engine is nearly full: %d MB free in %s, this image needs %d MB: remove images that nothing uses (docker image prune)",
			d.free/otto.MB, d.dir, need/otto.MB)
	}
	return nil
}

// load has the engine take in an archive. It has no deadline but must make progress.
func (r *Runtime) load(ctx context.Context, archive io.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(pullStall, func() { cancel(errStalled) })
	defer watchdog.Stop()
	c, err := r.connect(ctx)
	if err != nil {
		return r.explain(err)
	}
	moving := readerFunc(func(p []byte) (int, error) {
		n, err := archive.Read(p)
		watchdog.Reset(pullStall)
		return n, err
	})
	loaded, err := c.ImageLoad(ctx, moving, client.ImageLoadWithQuiet(true))
	if err != nil {
		return r.explain(whyEnded(ctx, err))
	}
	defer loaded.Close()
	for said := json.NewDecoder(loaded); ; watchdog.Reset(pullStall) {
		var line struct {
			Error string `json:"error"`
		}
		switch err := said.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return r.explain(whyEnded(ctx, err))
		case line.Error != "":
			return errors.New(tidy(line.Error))
		}
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// removeBuilt takes the names from built images of the cluster that are not in use any
// more. The engine keeps what a container has.
func (r *Runtime) removeBuilt(ctx context.Context, o otto.ImageOffer) error {
	repository := otto.BuiltRepository(r.owner.Cluster) + ":"
	return r.call(ctx, longCall, "remove former images", func(ctx context.Context, c *client.Client) error {
		list, err := c.ImageList(ctx, client.ImageListOptions{})
		if err != nil {
			return err
		}
		for _, image := range list.Items {
			for _, name := range image.RepoTags {
				id := otto.BuiltID(name)
				if !strings.HasPrefix(name, repository) || id == "" || id == o.ID || slices.Contains(o.Keep, id) {
					continue
				}
				if _, err := c.ImageRemove(ctx, name, client.ImageRemoveOptions{PruneChildren: true}); err != nil {
					r.log.Debug("former image stays", "image", name, "error", err)
				}
			}
		}
		return nil
	})
}
