// Package shell runs a command in a container on a node as if it ran here, or connects
// with a port of the container.
//
// Two ends talk in frames over one stream, which the control plane passes on without
// reading it: Attach has the terminal, Serve, on the node, has the engine. Each end
// sends a beat every two seconds, so that a dropped link is noticed, and holds a bounded
// number of bytes: a writer that is faster than the reader waits.
package shell

import (
	"context"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/target"
)

const (
	beatEvery    = 2 * time.Second
	silentWithin = 8 * time.Second // an end that sends nothing for so long is gone
)

// Command is what to run and how.
type Command struct {
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"` // NAME=VALUE
	User string   `json:"user,omitempty"`
	Dir  string   `json:"dir,omitempty"`
	TTY  bool     `json:"tty,omitempty"` // stdout and stderr are one terminal
	Size Size     `json:"size,omitzero"` // of the terminal
	In   bool     `json:"in,omitempty"`  // it has a standard input
	// Port is connected with instead of running a command: what is written to it is the
	// input, and what it writes the output.
	Port int `json:"port,omitempty"`
}

// Size is that of a terminal, in characters.
type Size struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// Query is what a client asks of the control plane.
type Query struct {
	Name    string  `json:"name"`           // of a service or an instance
	Node    string  `json:"node,omitempty"` // only there
	Command Command `json:"command"`
}

// Place is where a query leads.
type Place struct {
	Instance string    `json:"instance"`
	Host     bool      `json:"host,omitempty"` // its network is the node's
	Node     otto.Node `json:"-"`
}

// request is what the control plane asks of a node, in the first frame.
type request struct {
	Place
	Command Command `json:"command"`
	// Once is an instance whose container is made for the command, which may have no
	// arguments then: the instance's own are taken.
	Once *otto.Instance `json:"once,omitempty"`
}

// Conn is a connection to a node's end.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
	Wait() error // says why it has ended
}

// Engine is what runs containers.
type Engine interface {
	Containers(ctx context.Context) ([]otto.Container, error)
	// Run starts a command in a container.
	Run(ctx context.Context, container string, c Command) (Process, error)
}

// Maker makes containers for one run.
type Maker interface {
	// Make makes a container of an instance for one run of a command, which Run starts.
	Make(ctx context.Context, inst otto.Instance, c Command) (Made, error)
}

// Made is a container for one run, which does not run yet.
type Made interface {
	// Run starts it. Closing the process removes the container, running or not.
	Run(ctx context.Context) (Process, error)
	Remove()
}

// Process is a command that was started in a container.
type Process interface {
	// Output copies what the command writes, until it closes its output.
	Output(stdout, stderr io.Writer) error
	// Write writes to its standard input, which CloseWrite ends.
	io.Writer
	CloseWrite() error
	Resize(ctx context.Context, s Size) error
	Signal(ctx context.Context, s syscall.Signal) error
	// Wait returns the exit code, once the output has ended.
	Wait(ctx context.Context) (code int, err error)
	// Close ends the connection with the command, which goes on.
	Close()
}

// Find returns the instance that a query means: of several the first one that runs.
func Find(view *otto.Cluster, q Query) (Place, error) {
	t, err := target.Find(view, q.Name)
	switch {
	case err != nil:
		return Place{}, err
	case t.Node != "":
		return Place{}, fmt.Errorf("%s is a node: name a service or an instance", q.Name)
	}
	s := view.Services[slices.IndexFunc(view.Services, func(s otto.ServiceStatus) bool { return s.Name == t.Service })]
	best := -1
	for k, i := range s.Instances {
		if t.Instance != "" && i.Name != t.Instance || i.Node == "" || q.Node != "" && i.Node != q.Node {
			continue
		}
		if best < 0 || runs(i) && !runs(s.Instances[best]) {
			best = k
		}
	}
	if best < 0 {
		where := "is on no node"
		if q.Node != "" {
			where = "is not on " + q.Node
		}
		return Place{}, fmt.Errorf("%s %s", q.Name, where)
	}
	i := s.Instances[best]
	for _, n := range view.Nodes {
		if n.ID == i.Node {
			return Place{Instance: i.Name, Host: s.Spec.NetworkMode == "host", Node: n.Node}, nil
		}
	}
	return Place{}, fmt.Errorf("%s is on %s, which is no node of the cluster any more", i.Name, i.Node)
}

func runs(i otto.PlacedInstance) bool {
	return i.State == otto.InstanceRunning || i.State == otto.InstanceStarting || i.State == otto.InstanceUnhealthy
}
