// Package otto is the vocabulary of Otto: the nouns that every other package
// speaks in. A user wants Services on Nodes; the control plane turns that into
// one Assignment a node; an agent makes its node match and reports what really
// runs. Everything known at one moment is a Cluster.
//
// There are types here and a few pure methods on them, no I/O and no
// goroutine. The JSON forms are those of the store, the API and the status
// command; what travels over MQTT is defined in package wire.
package otto

import (
	"errors"
	"hash/fnv"
	"time"
)

// StepReplace is how the step begins that ends an agent to start it anew.
const StepReplace = "ending the agent, which runs and does nothing"

// Errors that a caller acts on. All others are only shown.
var (
	// ErrNameTaken says that a container's name belongs to a container that is
	// not this cluster's. Otto never touches such a container.
	ErrNameTaken = errors.New("name is taken by a container that is not this cluster's")
	// ErrPlatform says that there is no image for the architecture of a node.
	ErrPlatform = errors.New("the image is for other architectures")
	// ErrNoAnswer says that the container engine has not answered, so that it is not
	// known what has become of what it was asked to do.
	ErrNoAnswer = errors.New("the container engine does not answer")
	// ErrNetworkGone says that a container cannot start because its network has been
	// removed since it was made. Another one of the same name is not the same.
	ErrNetworkGone = errors.New("its network has been removed")
	// ErrUnreached says that one machine does not reach another.
	ErrUnreached = errors.New("the host is not reached")
	// ErrStuck says that an agent does nothing and cannot be ended.
	ErrStuck = errors.New("its agent does nothing and cannot be ended")
	// ErrStateLost says that the store is empty or unreadable although the
	// cluster has been started before. It never means that nothing should run.
	ErrStateLost = errors.New("the cluster's stored state is missing")
	// ErrConflict says that a change was based on a state that has passed.
	ErrConflict = errors.New("the cluster has changed in the meantime")
	// ErrReplaced says that a node has keys of the cluster that replace those that are
	// to be brought to it: they are of an older copy of the cluster's state.
	ErrReplaced = errors.New("it has keys of this cluster that replace the ones here")
	// ErrSteppedDown says that a control plane does not decide, because a newer
	// one of the same cluster does.
	ErrSteppedDown = errors.New("this control plane has stepped down")
)

// Spread returns d less up to a quarter of it. How much depends on key alone:
// what failed together, with keys of its own, is not tried again together.
func Spread(d time.Duration, key string) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return d - time.Duration(float64(d)/4*float64(h.Sum32())/(1<<32))
}
