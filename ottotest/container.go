package ottotest

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// Observed is a container at the moment when it begins or ends to run.
type Observed struct {
	otto.Container
	Theirs  bool              // it is not the cluster's
	Volumes map[string]string // labels of its volumes, by name
}

type container struct {
	otto.Container
	inst    otto.Instance
	of      otto.Ownership // as its labels say
	theirs  bool           // in truth
	address string         // in the cluster's network
	setup   map[string]string
	netless bool   // its network has been removed
	cut     bool   // ran when the power went
	ran     bool   // when it was observed last
	policy  string // restart policy of one of Compose's, as the engine has it
	// joined are the runs in whose namespaces it is, by container.
	joined map[string]time.Time
	// busy is until when the engine works on it: it does one thing after the other with
	// a container, and is not stopped in that by the end of who has asked for it.
	busy time.Time
}

// netAspect is the cluster's network, in what the engine says of containers.
const netAspect = otto.SetupNetwork + "test"

// setupOf is how a container of an instance is made.
func (r *Runtime) setupOf(inst otto.Instance) map[string]string {
	setup := map[string]string{"memory limit": "none", "restart policy": inst.Spec.Restart}
	if m := inst.Spec.NetworkMode; m != "host" && m != "none" && !strings.HasPrefix(m, otto.ServicePrefix) {
		setup[netAspect] = inst.Service + " " + inst.Name
	}
	if n := inst.Spec.Resources.MemoryBytes; n > 0 && !r.Limitless {
		setup["memory limit"] = fmt.Sprint(n)
	}
	for _, p := range inst.Spec.Ports {
		setup[fmt.Sprint(otto.SetupPort, p.Container)] = fmt.Sprint(p.Host)
	}
	for _, m := range inst.Spec.Mounts {
		setup[otto.SetupMount+m.Target] = m.Source
	}
	return setup
}

// containerNet begins the addresses of all containers.
const containerNet = "10.88."

// at is the address of a container; empty if it does not run, or not in a network.
func (c *container) at() string {
	if _, in := c.setup[netAspect]; !in || !c.lives() {
		return ""
	}
	return c.address
}

// reported is the container as the engine tells of it.
func (c *container) reported() otto.Container {
	out := c.Container
	out.Address, out.Setup = c.at(), maps.Clone(c.setup)
	if c.State != otto.ContainerRunning {
		maps.DeleteFunc(out.Setup, func(aspect, _ string) bool { return strings.HasPrefix(aspect, otto.SetupPort) })
	}
	return out
}

// us is whom an engine takes its cluster for.
var us = otto.Owner{Cluster: "test", ClusterID: "test-1", Node: "node"} //nolint:gochecknoglobals // a constant

// owner says whose a container is, as package docker finds it out from its labels.
func (c *container) owner() otto.Ownership {
	switch c.of {
	case otto.Own:
		return us.Of(
			map[string]string{
				otto.LabelCluster:   us.Cluster,
				otto.LabelClusterID: us.ClusterID,
				otto.LabelNode:      us.Node,
			},
		)
	case otto.OtherOwner:
		return us.Of(
			map[string]string{otto.LabelCluster: us.Cluster, otto.LabelClusterID: "another", otto.LabelNode: us.Node},
		)
	case otto.Unproven:
		return us.Of(map[string]string{otto.LabelCluster: us.Cluster})
	default:
		return us.Of(nil)
	}
}

// lives reports whether it has processes, be they paused.
func (c *container) lives() bool {
	return c.State == otto.ContainerRunning || c.State == otto.ContainerPaused
}
