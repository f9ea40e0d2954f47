package docker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// A power cut while an image is extracted can leave half of it: the engine says
// that it has the image, and no container can be made from it (moby#23184,
// #41845, #42978, #44909). Such an image is fetched anew once; if that does not
// help, it is the image store that is broken, and only a person may wipe it.

// renewAgain is how long after it was fetched anew an image may be so again.
const renewAgain = 24 * time.Hour

// damagedImages remembers which images cannot be used although they are there.
type damagedImages struct {
	mu     sync.Mutex
	images map[string]*damagedImage
}

type damagedImage struct {
	why     error     // it is to be fetched anew
	stuck   error     // why it could not be
	renewed time.Time // when it was
}

// of is what is known of an image; the caller holds the lock.
func (d *damagedImages) of(image string) *damagedImage {
	if d.images == nil {
		d.images = map[string]*damagedImage{}
	}
	if d.images[image] == nil {
		d.images[image] = &damagedImage{}
	}
	return d.images[image]
}

// brokenLayers is what engines say of an image whose files are not all there:
// overlay2 and aufs, and the snapshots of containerd.
var brokenLayers = regexp.MustCompile(`failed to register layer|layer does not exist|error creating \w+ mount to|` +
	`(stat|readlink|open|rename|mkdir) \S*/(overlay2|overlay|aufs|layerdb)\b.*: (no such file or directory|invalid argument|file exists|directory not empty)|` +
	`snapshot \S+ does not exist|content digest \S+ not found`)

// damaging reports whether an error is one of an image's files. A full disk
// breaks the same steps, and is told by its own words.
func damaging(err error) bool {
	return err != nil && brokenLayers.MatchString(err.Error()) && !strings.Contains(err.Error(), "no space left on device")
}

// damaged notes that an image cannot be used, if that is what err says, and
// returns err in words that say what comes next.
func (r *Runtime) damaged(image string, err error) error {
	if !damaging(err) {
		return err
	}
	r.damage.mu.Lock()
	defer r.damage.mu.Unlock()
	d, cause := r.damage.of(image), tidy(err.Error())
	switch stuck := d.stuck; {
	case !d.renewed.IsZero() && time.Since(d.renewed) < renewAgain:
		return problem{fmt.Sprintf("the image store of this node is broken: image %s was fetched anew and is damaged again (%s): "+
			"look there for a full or failing disk and restart the engine; if that does not help, run `docker system prune --all` there, which removes all images and stopped containers: Otto does not do it by itself",
			image, cause), err}
	case stuck != nil:
		d.why, d.stuck = err, nil
		return problem{fmt.Sprintf("image %s is damaged on this node (%s) and cannot be fetched anew: %v: run `docker rmi %[1]s` there and load it again", image, cause, stuck), err}
	default:
		d.why = err
		return problem{fmt.Sprintf("image %s is damaged on this node and is fetched anew at the next try: %s", image, cause), err}
	}
}

// renew removes an image that was found to be damaged, for it to be pulled, and
// reports whether it has. One that cannot be pulled stays: what is left of it may
// be of use to a person, who may have loaded it again by the next try.
func (r *Runtime) renew(ctx context.Context, spec otto.ContainerSpec) bool {
	r.damage.mu.Lock()
	why := r.damage.of(spec.Image).why
	r.damage.mu.Unlock()
	if why == nil {
		return false
	}
	err := r.discard(ctx, spec)
	r.damage.mu.Lock()
	defer r.damage.mu.Unlock()
	d := r.damage.of(spec.Image)
	d.why, d.stuck = nil, err
	if err == nil {
		d.renewed = time.Now()
		r.log.Warn("damaged image removed, to be fetched anew", "image", spec.Image, "err", why)
	}
	return err == nil
}

// discard removes an image that can be pulled.
func (r *Runtime) discard(ctx context.Context, spec otto.ContainerSpec) error {
	if otto.BuiltImage(spec.Image) {
		return errors.New("it is in no registry")
	}
	if spec.PullPolicy == otto.PullNever {
		return errors.New("its pull_policy is never")
	}
	auth, _ := credentials(ctx, configDir(), spec.Image) // Pull tells what is wrong with them
	err := r.call(ctx, longCall, "ask its registry", func(ctx context.Context, c *client.Client) error {
		_, err := c.DistributionInspect(ctx, spec.Image, client.DistributionInspectOptions{EncodedRegistryAuth: auth})
		return err
	})
	if err != nil {
		return err
	}
	if err := r.checkDisk(ctx); err != nil {
		return err
	}
	return r.heavy(ctx, "remove it", func(ctx context.Context, c *client.Client) error {
		_, err := c.ImageRemove(ctx, spec.Image, client.ImageRemoveOptions{PruneChildren: true})
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// removeUnused removes a container that has never run and cannot be started
// because its image is damaged, so that it is made anew. It returns the image.
func (r *Runtime) removeUnused(ctx context.Context, id string) (image string) {
	_ = r.call(ctx, shortCall, "remove "+short(id), func(ctx context.Context, c *client.Client) error {
		found, err := c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil || found.Container.Config == nil {
			return err
		}
		image = found.Container.Config.Image
		if s := found.Container.State; s == nil || !when(s.StartedAt).IsZero() {
			return nil // what it has written is in it
		}
		_, err = c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: true})
		return err
	})
	return image
}
