package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// For which architectures an image exists is known to its registry, which may be
// out of reach from here, and is not said by the image that some node has. So it is
// learned from the first node that cannot get it, and holds for all nodes like it.

// build is an image for an architecture, as in otto.NodeFacts.
type build struct{ image, arch string }

// evidence is who has found that there is no such build, and when.
type evidence struct {
	node string
	at   time.Time
}

// buildsAgain is after how long it is tried again: images are published anew.
const buildsAgain = time.Hour

// noteBuild takes in from what a node reports of an instance whether its image
// exists for the node's architecture.
func (p *Plane) noteBuild(n *node, i otto.InstanceStatus, now time.Time) {
	s, wanted := p.index().Service(i.Service)
	if !wanted || n.facts.Arch == "" {
		return
	}
	switch b := (build{s.Spec.Image, n.facts.Arch}); {
	case i.WrongPlatform && i.Failed == s.Hash:
		p.unbuilt[b] = evidence{n.ID, now}
	case i.State == otto.InstanceRunning && i.SpecHash == s.Hash:
		delete(p.unbuilt, b)
	}
}

// unbuiltFor says why images do not run on an architecture, of those that do not.
func (p *Plane) unbuiltFor(arch string, now time.Time) (why map[string]string) {
	maps.DeleteFunc(p.unbuilt, func(_ build, e evidence) bool { return now.Sub(e.at) > buildsAgain })
	for b, e := range p.unbuilt {
		if b.arch != arch {
			continue
		}
		if why == nil {
			why = map[string]string{}
		}
		why[b.image] = fmt.Sprintf("there is no %s for %s, as %s has found", b.image, arch, e.node)
	}
	return why
}

// What Otto itself has built is in no registry: an instance that waits for it where it is not
// goes where it is, if that is known and it may.

// awaited is the built image that an instance waits for; empty if it waits for none.
func (p *Plane) awaited(i otto.InstanceStatus) string {
	if i.State != otto.InstanceWaiting || !strings.HasPrefix(i.Reason, otto.WaitsForImage) {
		return ""
	}
	if s, wanted := p.index().Service(i.Service); wanted && otto.BuiltImage(s.Spec.Image) {
		return s.Spec.Image
	}
	return ""
}

// holder is another node that has a built image; empty if none is known.
func (p *Plane) holder(image, but string) string {
	for _, w := range p.desired.Wanted.Nodes {
		if n := p.nodes[w.ID]; n != nil && n.state == otto.NodeReady && w.ID != but {
			if _, has := n.images[image]; has {
				return w.ID
			}
		}
	}
	return ""
}

// withoutBuilt notes on which nodes instances have waited in vain for what was built.
func (p *Plane) withoutBuilt(nodes []plan.Node, now time.Time) []plan.Node {
	for _, t := range p.troubles {
		if t.lacks == "" || now.Sub(t.since) <= troubleAfter {
			continue
		}
		has := p.holder(t.lacks, t.node)
		i := slices.IndexFunc(nodes, func(n plan.Node) bool { return n.ID == t.node })
		if has == "" || i < 0 {
			continue
		}
		if nodes[i].Unbuilt == nil {
			nodes[i].Unbuilt = map[string]string{}
		}
		nodes[i].Unbuilt[t.lacks] = fmt.Sprintf("image %s is not there, and on %s", t.lacks, has)
	}
	return nodes
}
