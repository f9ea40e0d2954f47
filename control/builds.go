package control

import (
	"fmt"
	"maps"
	"time"

	"github.com/otto-edge/otto"
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
