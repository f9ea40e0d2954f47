package control

import (
	"fmt"
	"maps"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// A power cut and a cable that is put back after three seconds look the same for
// three seconds. So a stateless instance of a lost node gets a stand-in at once,
// and the node is not told to give its own one up before it has been lost for a
// while. If it returns until then with the same agent, its container has never
// stopped, the stand-in goes, and nothing has moved. What stands in for an unresponsive
// node does so for as long as that is unresponsive.

// recallFor is how long a node may be lost and still have its instances back.
const recallFor = 10 * time.Second

// standIn is an instance that runs elsewhere for now.
type standIn struct {
	of    string // the node that it stands in for
	boot  string // of the agent there
	until time.Time
	why   string
}

// recalled returns the former placement with what goes back to a node that was
// away for a short time only, and makes final what has waited long enough.
func (p *Plane) recalled(now time.Time) plan.Placement {
	if len(p.standIns) == 0 {
		return p.desired.Placement
	}
	placement := maps.Clone(p.desired.Placement)
	for instance, s := range p.standIns {
		n := p.nodes[s.of]
		at := placement[instance]
		service, _ := p.owner(instance)
		switch {
		case n == nil || at == "" || at == s.of:
		case n.state == otto.NodeReady && n.bootID == s.boot:
			placement[instance] = s.of
			p.event("service-kept", s.of, service.Name, fmt.Sprintf("%s stays on %s, which is back", instance, s.of))
		case n.state == otto.NodeUnresponsive: // what it runs may go on with it
			s.until = now.Add(recallFor)
			p.standIns[instance] = s
			continue
		case now.Before(s.until) && n.state != otto.NodeReady:
			continue
		default:
			p.event("service-moved", at, service.Name, fmt.Sprintf("%s moves from %s to %s: %s", instance, s.of, at, s.why))
		}
		delete(p.standIns, instance)
	}
	return placement
}

// standsIn makes a move provisional, if the instance may run twice and its node
// may come back.
func (p *Plane) standsIn(m plan.Move, now time.Time) bool {
	n := p.nodes[m.From]
	service, wanted := p.index().Owner(m.Instance)
	away := n != nil && (n.state == otto.NodeLost || n.state == otto.NodeUnresponsive)
	if !away || n.leaving || !wanted || service.Stateful() {
		return false
	}
	if u := p.index().UnitOf(service); u != nil && u.Service.Stateful() {
		return false // it stays with what has moved for good
	}
	p.standIns[m.Instance] = standIn{of: m.From, boot: n.bootID, until: n.since.Add(recallFor), why: m.Reason}
	p.event("service-stand-in", m.To, m.Service, fmt.Sprintf("%s runs on %s for now: %s", m.Instance, m.To, m.Reason))
	return true
}

// keptAt are the nodes that keep an instance beside the one it is placed on.
func (p *Plane) keptAt(now time.Time) map[string]string {
	kept := map[string]string{}
	p.keptByMoves(kept, now)
	for instance, s := range p.standIns {
		kept[instance] = s.of
	}
	maps.DeleteFunc(kept, func(instance, _ string) bool { return p.nodes[p.desired.Placement[instance]] == nil })
	return kept
}

// owner is the wanted service of an instance.
func (p *Plane) owner(instance string) (otto.Service, bool) {
	s, ok := p.index().Owner(instance)
	if !ok {
		return otto.Service{}, false
	}
	return s.Service, true
}
