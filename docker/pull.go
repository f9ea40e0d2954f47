package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// minFree is the space that must be left on the engine's disk after a pull. A
// disk that fills up while layers are extracted can break the image store.
const minFree = 1 << 30 // bytes

// unpacked is how much larger than what is downloaded an image may be on disk,
// the download included, in percent.
const unpacked = 250

// Pull makes the image of spec present as its pull policy asks. A registry is
// asked only if the image is missing or the policy is always: on a node without
// a way out each question costs 20 s. A pull that fails while a usable image is
// there is only a warning.
func (r *Runtime) Pull(ctx context.Context, spec otto.ContainerSpec) (warning string, err error) {
	there, err := r.checkImage(ctx, spec.Image)
	err = r.damaged(spec.Image, err)
	if r.renew(ctx, spec) {
		there, err = false, nil
	}
	if err != nil {
		return "", r.damaged(spec.Image, err)
	}
	switch {
	case there && (spec.PullPolicy != otto.PullAlways || otto.BuiltImage(spec.Image)):
		return "", nil
	case !there && otto.BuiltImage(spec.Image):
		return "", errors.New(notBuiltHere(spec.Image))
	case !there && spec.PullPolicy == otto.PullNever:
		return "", fmt.Errorf("image %s is not on this node, and its pull_policy is never", spec.Image)
	}
	warning, err = r.pull(ctx, spec.Image)
	if err != nil {
		if there && ctx.Err() == nil {
			return fmt.Sprintf("%v; the image that is there is used", err), nil
		}
		return "", r.damaged(spec.Image, err)
	}
	if there, err = r.checkImage(ctx, spec.Image); err == nil && !there {
		err = fmt.Errorf("image %s was pulled, but the engine does not have it: its image store may be damaged", spec.Image)
	}
	return warning, err
}

// Images returns the images that are there, one for each name. What Otto has built is
// there by its id.
func (r *Runtime) Images(ctx context.Context) (images []otto.Image, err error) {
	err = r.call(ctx, shortCall, "list images", func(ctx context.Context, c *client.Client) error {
		list, err := c.ImageList(ctx, client.ImageListOptions{})
		if err != nil {
			return err
		}
		images = nil
		for _, image := range list.Items {
			for _, name := range image.RepoTags {
				images = append(images, otto.Image{Name: cmp.Or(otto.BuiltID(name), name), Bytes: max(image.Size, 0)})
			}
		}
		return nil
	})
	return images, err
}

// ImageID returns what an image's name means now; empty if no image has it. No registry
// is asked.
func (r *Runtime) ImageID(ctx context.Context, name string) (id string, err error) {
	err = r.call(ctx, shortCall, "image "+name, func(ctx context.Context, c *client.Client) error {
		found, err := r.inspect(ctx, c, name)
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		id = imageID(found.ID)
		return err
	})
	return id, err
}

// imageID is an engine's id of an image in one form: Podman leaves the algorithm out.
func imageID(id string) string { return strings.TrimPrefix(id, "sha256:") }

// checkImage reports whether an image is there. One that this node cannot run
// is an error.
func (r *Runtime) checkImage(ctx context.Context, image string) (there bool, err error) {
	err = r.call(ctx, shortCall, "image "+image, func(ctx context.Context, c *client.Client) error {
		found, err := r.inspect(ctx, c, image)
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		version, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
		if err != nil {
			return err
		}
		there = true
		if !runs(version.Arch, found.Architecture) {
			return otherPlatform{fmt.Errorf("it is for %s, this node is %s: name an image for %[2]s", found.Architecture, version.Arch)}
		}
		return nil
	})
	return there, err
}

// otherPlatform is an error for which an otto.ErrPlatform is the reason.
type otherPlatform struct{ error }

func (otherPlatform) Is(target error) bool { return target == otto.ErrPlatform }
func (o otherPlatform) Unwrap() error      { return o.error }

// noSuchPlatform knows what engines say of an image that its registry has for other
// architectures only: Docker with its own image store, with that of containerd, and
// Podman.
func noSuchPlatform(err error) bool {
	text := err.Error()
	return slices.ContainsFunc([]string{
		"no matching manifest for ", "no match for platform in manifest", "does not match the specified platform", "no image found in image index for architecture",
	}, func(s string) bool { return strings.Contains(text, s) })
}

// runs reports whether a node of an architecture runs images of another, both as
// Go names them. 64-bit machines run their 32-bit elders.
func runs(node, image string) bool {
	elders := map[string]string{"amd64": "386", "arm64": "arm"}
	return image == "" || node == "" || image == node || image == elders[node]
}

// pull asks the registry. It has no deadline but must make progress.
func (r *Runtime) pull(ctx context.Context, image string) (warning string, err error) {
	d, err := r.disk(ctx)
	if err == nil {
		err = d.fits(0)
	}
	if err != nil {
		return "", fmt.Errorf("pull %s: %w", image, err)
	}
	auth, err := credentials(ctx, configDir(), image)
	if err != nil {
		warning = fmt.Sprintf("pulling %s without credentials: %v", image, err)
		r.log.Warn("no registry credentials", "image", image, "err", err)
	}
	c, err := r.connect(ctx)
	if err != nil {
		return "", fmt.Errorf("pull %s: %w", image, r.explain(err))
	}
	if err := r.download(ctx, c, image, auth, d); err != nil {
		if unreachable(err) {
			r.drop(c)
		}
		err = fmt.Errorf("pull %s: %w", image, r.explain(err))
		if noSuchPlatform(err) {
			err = otherPlatform{err}
		}
		return "", err
	}
	return warning, nil
}

var errStalled = errors.New("no progress for 5 minutes: look at the node's network, and at its disk")

func (r *Runtime) download(ctx context.Context, c *client.Client, image, auth string, d disk) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(pullStall, func() { cancel(errStalled) })
	defer watchdog.Stop()

	stream, err := c.ImagePull(ctx, image, client.ImagePullOptions{RegistryAuth: auth})
	if err != nil {
		return whyEnded(ctx, err)
	}
	defer stream.Close()
	layers := map[string]int64{} // compressed sizes, as far as they are known
	for message, err := range stream.JSONMessages(ctx) {
		if err != nil {
			return whyEnded(ctx, err)
		}
		if message.Error != nil {
			return message.Error
		}
		watchdog.Reset(pullStall)
		if p := message.Progress; p != nil && message.Status == "Downloading" && p.Total > layers[message.ID] {
			layers[message.ID] = p.Total
			if err := d.fits(sum(layers)); err != nil {
				return err // which ends the download
			}
		}
	}
	return nil
}

func sum(sizes map[string]int64) (total int64) {
	for _, s := range sizes {
		total += s
	}
	return total
}

// whyEnded is the cause of ctx's end where there is one, else err.
func whyEnded(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// disk is where a local engine keeps its images; the zero value is one that
// cannot be seen.
type disk struct {
	dir  string
	free uint64 // bytes
}

func (r *Runtime) disk(ctx context.Context) (disk, error) {
	if !r.Local() {
		return disk{}, nil
	}
	dir, err := r.RootDir(ctx)
	if err != nil {
		return disk{}, err
	}
	free, err := r.free(dir)
	if err != nil {
		return disk{}, nil //nolint:nilerr // an engine in another mount namespace: its disk cannot be seen
	}
	return disk{dir, free}, nil
}

func freeSpace(dir string) (uint64, error) {
	var fs syscall.Statfs_t
	err := syscall.Statfs(dir, &fs)
	return fs.Bavail * uint64(fs.Bsize), err
}

// checkDisk looks for space for a pull of unknown size.
func (r *Runtime) checkDisk(ctx context.Context) error {
	d, err := r.disk(ctx)
	if err != nil {
		return err
	}
	return d.fits(0)
}

// fits says whether there is space to download so many bytes and unpack them.
func (d disk) fits(download int64) error {
	need := minFree + uint64(download)*unpacked/100
	if d.dir == "" || d.free >= need {
		return nil
	}
	return fmt.Errorf("disk of the engine is nearly full: %d MB free in %s, a pull needs %d MB: remove images that nothing uses (docker image prune)",
		d.free/otto.MB, d.dir, need/otto.MB)
}

// configDir is where the docker command of this user keeps its credentials. A
// service of the system may have no HOME.
func configDir() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		if u, err := user.Current(); err == nil {
			home = u.HomeDir
		}
	}
	return filepath.Join(home, ".docker")
}
