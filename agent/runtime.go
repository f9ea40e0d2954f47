package agent

import (
	"context"
	"time"

	"github.com/otto-edge/otto"
)

// Runtime runs containers on one node. Package docker is one; ottotest has a
// fake. Every call has a deadline in its context and returns when it has passed,
// also if the engine hangs.
type Runtime interface {
	// Engine asks the engine who it is; Engine.Problem says why it cannot be used.
	Engine(ctx context.Context) otto.Engine
	Adopter
	// Containers returns the containers of this cluster on this node, running or not.
	Containers(ctx context.Context) ([]otto.Container, error)
	// Running returns all running containers of the engine, foreign ones too, for
	// the sampler.
	Running(ctx context.Context) ([]otto.RunningContainer, error)
	// Images returns the images that are there, one for each name.
	Images(ctx context.Context) ([]otto.Image, error)
	// Volumes returns the names of the named volumes that were made for this cluster,
	// used or not.
	Volumes(ctx context.Context) ([]string, error)
	// Volume returns the volume of a name, whoever made it, or that there is none.
	Volume(ctx context.Context, name string) (v otto.Volume, there bool, err error)
	// Pull makes the image of spec present as its pull policy asks. A pull that
	// fails while a usable image is there is only a warning.
	Pull(ctx context.Context, spec otto.ContainerSpec) (warning string, err error)
	// Create makes a container of an instance under the given name, with Otto's
	// labels, attached to the cluster's network, not started. Volumes that are not
	// there are made with an otto.LabelVolume of their own. It returns
	// otto.ErrNameTaken if a container that is not this cluster's has the name.
	Create(ctx context.Context, inst otto.Instance, name string) (id string, err error)
	// Start starts a container. It returns otto.ErrNetworkGone if it has to be attached to
	// its network first.
	Start(ctx context.Context, id string) error
	// Attach puts a container of an instance into its networks as Create has done,
	// running or not, and whether they are there or not.
	Attach(ctx context.Context, inst otto.Instance, id string) error
	// Stop stops a container within its own grace period; stopping a stopped one is no error.
	Stop(ctx context.Context, id string) error
	// Kill stops a container within grace, whatever its own grace period is. Where
	// the engine does not answer, it ends the container's processes itself, if it
	// may; nil means that none is left.
	Kill(ctx context.Context, c otto.Container, grace time.Duration) error
	Rename(ctx context.Context, id, name string) error
	// Remove removes a stopped container and its anonymous volumes, never a named volume.
	Remove(ctx context.Context, id string) error
	// Exec runs a command in a running container until ctx ends at the latest.
	// What it returns as failed says why the command did not succeed; err that the
	// engine could not tell.
	Exec(ctx context.Context, id string, command []string) (failed string, err error)
	// Logs returns the last lines of a container's output, both streams together.
	Logs(ctx context.Context, id string, lines int) ([]string, error)
	// ImageID returns what an image's name means on the node now; empty if no image has it.
	ImageID(ctx context.Context, name string) (id string, err error)
	// Watch calls changed after anything happened to any container or image of the engine,
	// and once when it begins to watch; images says that it was an image. It returns when the connection to the
	// engine breaks.
	Watch(ctx context.Context, changed func(images bool)) error
}
