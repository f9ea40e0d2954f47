package control

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/wire"
)

// tellWithin is for how long a pass may publish before it listens again: the broker
// takes some milliseconds for each message that it retains, and what nodes say must not
// pile up meanwhile. The next pass goes on.
const tellWithin = 100 * time.Millisecond

// giveUpAfter is how many assignments may fail to be published in one pass.
const giveUpAfter = 10

// madeAtOnce is how many assignments are made before they are published: a pass that can
// tell only some nodes is not to make those of all.
const madeAtOnce = 100

// assign publishes the assignment of every node for which it has changed.
func (p *Plane) assign(now time.Time) {
	if p.watching.IsZero() {
		return
	}
	is := p.basis(now)
	p.where.follow(is.placement)
	changed := is.toAssign(p.assigned)
	p.assigned = is
	var ids []string
	for _, id := range p.ids() {
		if n := p.nodes[id]; changed[id] || n.published == "" || n.untold || n.proofs.crowded() || p.missed(n, now) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return
	}
	reports := map[string][]otto.InstanceStatus{}
	for id, n := range p.nodes {
		if n.report != nil {
			reports[id] = n.report.Instances
		}
	}
	for _, id := range ids {
		p.nodes[id].untold = true // until it is known better
	}
	began, failed := time.Now(), 0
	for some := range slices.Chunk(ids, madeAtOnce) {
		all := plan.Assignments(is.index, p.servicesOn(some, is), is.placement, is.kept, is.held, is.unsure, some, reports)
		for _, id := range some {
			if time.Since(began) > tellWithin {
				p.dirty = true
				return
			}
			if err := p.assignTo(p.nodes[id], all[id], is, now); err != nil {
				p.Log.Warn("assignment not published", "node", id, "err", err)
				if failed++; failed == giveUpAfter {
					return // there is no broker, and a new connect begins anew
				}
			}
		}
	}
}

// assignTo publishes a node's assignment if it is not what was published last. An error
// is the broker's.
func (p *Plane) assignTo(n *node, a otto.Assignment, is basis, now time.Time) error {
	p.version(n.ID, a.Instances)
	a.Peers, a.Watches = is.peers, is.watches[n.ID]
	a.Data = is.data.expected(n.ID, a.Instances)
	is.takeovers.release(n.ID, a.Instances)
	a.Taken = is.takeovers.on(n.ID, a.Instances, is.index)
	contents := p.withContents(n, a.Instances)
	n.withFolders(a.Instances)
	n.withSeeds(a.Instances)
	content, err := json.Marshal(a)
	if err != nil {
		p.Log.Error("assignment", "node", n.ID, "err", err)
		return nil
	}
	covers := p.covers(n)
	if contents != nil || covers {
		key, _ := p.sealKeyOf(n)
		content = append(content, p.sealKeyName(key)...)
	}
	if covers {
		content = append(content, "covered"...)
	}
	hash := hashOf(content)
	if hash == n.published && !n.proofs.crowded() && !p.missed(n, now) {
		n.untold = false
		return nil
	}
	p.number++
	a.ClusterID = p.identity.ClusterID
	a.Revision, a.Warrant = otto.Revision{Epoch: p.epoch, Number: p.number}, p.warrant
	anew := n.published == ""
	if a.Since = n.proofs.since; !p.Broker.Ours && (anew || n.proofs.crowded()) {
		a.Since = a.Revision
	}
	signed, err := p.sealed(n, a, contents, covers)
	if err != nil {
		problem := "its assignment cannot be sent: " + err.Error() + largest(a.Instances, contents)
		if n.problem != problem { // it is tried in each pass
			p.Log.Error("assignment", "node", n.ID, "err", err)
		}
		n.problem = problem
		return nil
	}
	if err := p.publish(wire.NodeTopic(n.ID, wire.KindAssignment), 1, true, signed); err != nil {
		return err
	}
	if a.Since != n.proofs.since {
		n.proofs.listen(a.Since, anew)
	}
	n.proofs.behind = false
	n.untold = false
	n.published, n.publishedAt, n.revision, n.stateful, n.fenced = hash, now, a.Revision, nil, nil
	for _, i := range a.Instances {
		if i.Spec.Stateful() {
			n.stateful = append(n.stateful, i.Name)
		}
		if i.Fenced {
			n.fenced = append(n.fenced, i.Name)
		}
	}
	return nil
}

func hashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return string(sum[:])
}

// servicesOn are the services that may have an instance on one of some nodes, in the
// order of the file.
func (p *Plane) servicesOn(ids []string, is basis) (list []*plan.Service) {
	if len(ids) == len(p.nodes) {
		return is.index.Services
	}
	there := map[*plan.Service]bool{}
	note := func(instance string) {
		if s, ok := is.index.Owner(instance); ok {
			there[s] = true
		}
	}
	for _, id := range ids {
		for instance := range p.where.on[id] {
			note(instance)
		}
	}
	for instance := range is.kept {
		note(instance)
	}
	for _, s := range is.index.Services {
		if there[s] {
			list = append(list, s)
		}
	}
	return list
}

// missedAfter is how long a node may say that it obeys an older assignment.
const missedAfter = 5 * time.Second

// missed reports whether a node seems not to have got its assignment: the broker
// may have been put back to what it retained before. So does a report that is not
// of the agent that is heard, but of a former one, or forged: the agent reports anew
// in answer to a new revision. One that proves what it says names what it got last.
func (p *Plane) missed(n *node, now time.Time) bool {
	if now.Sub(n.publishedAt) <= missedAfter {
		return false
	}
	behind := n.report != nil && (!p.isLive(n) || n.report.Revision.Before(n.revision))
	return n.proofs.behind || behind && n.state == otto.NodeReady
}

// summarize publishes each service's summary when it has changed.
func (p *Plane) summarize(now time.Time) {
	if p.watching.IsZero() {
		return
	}
	is := p.basis(now)
	changed := is.toSummarize(p.summarized, p.where)
	for name := range p.unsaid {
		if _, wanted := is.index.Service(name); wanted {
			changed[name] = true
		}
	}
	p.unsaid = map[string]bool{}
	began := time.Now()
	p.summarized = is
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		if time.Since(began) > tellWithin {
			p.unsaid[name], p.dirty = true, true
			continue
		}
		known, _ := is.index.Service(name)
		s := p.serviceStatus(known)
		sum := summaryOf(s)
		b, err := wire.Encode(sum)
		if err != nil || string(b) == p.summaries[s.Name] {
			continue
		}
		p.tellState(s.Name, sum)
		if p.publish(wire.ServiceTopic(s.Name), 1, true, b) != nil {
			p.unsaid[s.Name] = true // it is tried again
			continue
		}
		p.summaries[s.Name] = string(b)
	}
}

func summaryOf(s otto.ServiceStatus) wire.ServiceSummary {
	sum := wire.ServiceSummary{Service: s.Name, State: string(otto.InstanceRunning), Nodes: []string{}, Wanted: len(s.Instances)}
	there := map[string]bool{}
	for k := range s.Instances {
		i := &s.Instances[k]
		if i.Node != "" && !there[i.Node] {
			there[i.Node] = true
			sum.Nodes = append(sum.Nodes, i.Node)
		}
		if i.Up() {
			sum.Up++
		} else {
			sum.State, sum.Error = string(i.State), i.Error
		}
	}
	return sum
}

// tellState makes an event of a service that has come up or gone wrong; the
// steps between are not worth one.
func (p *Plane) tellState(service string, sum wire.ServiceSummary) {
	switch otto.InstanceState(sum.State) {
	case otto.InstanceRunning, otto.InstanceFailed, otto.InstanceUnhealthy:
	default:
		return
	}
	if p.told[service] == sum.State {
		return
	}
	p.told[service] = sum.State
	message := "service is " + sum.State
	if sum.Error != "" {
		message += ": " + sum.Error
	}
	p.event("service-"+sum.State, strings.Join(sum.Nodes, ","), service, message)
}
