package control

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// cluster is everything known, as readers see it.
func (p *Plane) cluster(now time.Time) *otto.Cluster {
	w := p.desired.Wanted
	c := &otto.Cluster{
		Name: p.Name, ID: p.identity.ClusterID, Version: p.Version, Time: now.UTC(), Started: p.started.UTC(),
		Epoch: p.epoch, Broker: p.Broker.Description, Revision: w.Revision, Stopped: w.Stopped,
		Interval: w.IntervalOf(), Requirements: w.Requirements, Decisions: w.Decisions, Scheduler: w.Scheduler,
		Nodes: []otto.NodeStatus{}, Services: p.services(), Snapshots: p.snapshots.view(),
	}
	if p.Refused != nil {
		c.Refused = p.Refused()
	}
	if p.identity.Renewal.Generation > 0 {
		c.Rotation = p.rotationView(now)
	}
	c.Problem, c.Warnings = p.doubts, p.ailments(c.Refused)
	if p.desired.Restored {
		c.Problem = "restored from a backup: nothing is decided until `otto cluster start` says what is wanted"
	}
	if err := p.deciding(); err != nil {
		c.Problem = err.Error()
	}
	if p.watching.IsZero() {
		c.Problem = "not connected to the broker at " + p.Broker.Description
	}
	order := map[string]int{}
	for i, n := range w.Nodes {
		order[n.ID] = i
	}
	for _, id := range p.ids() {
		status := p.nodes[id].status(p.desired.Intents[id], now)
		if p.nodes[id].another != "" {
			status.Problem = p.anotherMachine(id)
		}
		status.Verdicts = p.required.verdicts(owner{node: id})
		status.Next = p.decisions.next[owner{node: id}]
		c.Nodes = append(c.Nodes, status)
	}
	slices.SortStableFunc(c.Nodes, func(a, b otto.NodeStatus) int { return cmp.Compare(order[a.ID], order[b.ID]) })
	return c
}

// ailments are what is wrong with the control plane itself.
func (p *Plane) ailments(refused []otto.Refused) (list []string) {
	if p.Ailments != nil {
		list = p.Ailments()
	}
	if why := p.snapshots.problem; why != "" {
		list = append(list, "no snapshot of the control plane can be made: "+why)
	}
	for _, r := range refused {
		if r.Often() {
			list = append(list, fmt.Sprintf("the broker: %s; `otto doctor` says more", r))
			break // the worst
		}
	}
	return list
}

func (n *node) status(intent otto.Intent, now time.Time) otto.NodeStatus {
	s := otto.NodeStatus{
		Node: n.Node, State: n.state, Reason: n.reason, Since: n.since.UTC(), Intent: intent, Step: n.step, Problem: n.problem,
		Facts: n.facts, LastSeen: n.heard.UTC(), Sample: n.sample, SampleReceived: n.sampled.UTC(),
	}
	s.Warnings = append(slices.Clone(n.warnings), n.ofMachine()...)
	if forged := n.proofs.warning(now); forged != "" {
		s.Warnings = append(s.Warnings, forged)
	}
	s.Warnings = append(append(s.Warnings, n.bringing.problems()...), n.seeding.problems()...)
	if n.heard.IsZero() {
		s.LastSeen = time.Time{}
	}
	if n.sampled.IsZero() {
		s.SampleReceived = time.Time{}
	}
	if r := n.report; r != nil {
		s.Revision = r.Revision
		s.Current = r.Revision == n.revision && r.BootID == n.bootID && len(r.Strays) == 0
		s.Facts.Engine = r.Engine
		s.Warnings = append(s.Warnings, r.Engine.Warnings...)
		if s.Problem == "" {
			s.Problem = cmp.Or(r.Engine.Problem, r.Problem)
		}
		for _, d := range r.Data {
			if d.Problem != "" {
				s.Lost = append(s.Lost, d)
			}
		}
	}
	if n.flaps.Suppressed(now) {
		s.Warnings = append(s.Warnings, "it comes and goes: it gets nothing new until it has been ready for some minutes")
	}
	aboutClock := func(w string) bool { return strings.Contains(w, "clock") }
	if n.skewed.Abs() > maxSkew && !slices.ContainsFunc(s.Warnings, aboutClock) {
		s.Warnings = append(s.Warnings, fmt.Sprintf("its clock differs by %s: run `timedatectl set-ntp true` there", n.skewed.Abs().Round(time.Second)))
	}
	if !n.twins.IsZero() && now.Sub(n.twins) < time.Minute {
		s.Problem = "two agents report as this node: find the second machine or process and stop it"
	}
	return s
}

// services are what is wanted with what is known of each instance.
func (p *Plane) services() []otto.ServiceStatus {
	list := make([]otto.ServiceStatus, 0, len(p.desired.Wanted.Services))
	for _, s := range p.index().Services {
		list = append(list, p.serviceStatus(s))
	}
	return list
}

func (p *Plane) serviceStatus(svc *plan.Service) otto.ServiceStatus {
	s := otto.ServiceStatus{
		Service:   svc.Service,
		Instances: make([]otto.PlacedInstance, 0, len(svc.Names)),
		Verdicts:  p.required.verdicts(owner{service: svc.Name}),
		Next:      p.decisions.next[owner{service: svc.Name}],
	}
	if r, rolling := p.desired.Rollouts[svc.Name]; rolling {
		s.Rollout = r.Status(svc.Service)
	}
	for _, name := range svc.Names {
		if svc.Mode == otto.ModeGlobal && p.desired.Placement[name] == "" && p.waiting[name] == "" {
			continue // its node does not fit
		}
		s.Instances = append(s.Instances, p.instance(svc, name))
	}
	return s
}

func (p *Plane) instance(svc *plan.Service, name string) otto.PlacedInstance {
	at, going := p.servedAt(svc, name)
	i := otto.PlacedInstance{Node: at}
	if a, ok := p.desired.Memory.UnderWay(name); ok && a.Action == otto.ActionMigrate && a.To == p.desired.Placement[name] {
		i.Moving = &otto.InstanceMove{From: a.From, To: a.To, Since: a.Began.UTC()}
	}
	i.InstanceStatus = otto.InstanceStatus{Name: name, Service: svc.Name, State: otto.InstanceWaiting, Image: svc.Spec.Image}
	n := p.nodes[i.Node]
	if n == nil {
		i.Reason = cmp.Or(p.waiting[name], "it has no place yet")
		return i
	}
	i.State = otto.InstanceUnknown
	if r := n.report; r != nil {
		if said := statusIn(r.Instances, name); said != nil {
			i.InstanceStatus = *said
			current := (n.state == otto.NodeReady || n.state == otto.NodeDraining) && r.Revision == n.revision && r.BootID == n.bootID
			i.UpToDate = current && i.SpecHash == svc.Hash && i.Restart == p.desired.Restarts[name]
			p.tellFailed(svc.Name, &i)
		}
	}
	if going != "" {
		i.Reason = "it goes to " + going
	}
	if why := p.held[name]; why != "" {
		i.State, i.Reason = otto.InstanceWaiting, why
	}
	if n.state != otto.NodeReady && n.state != otto.NodeDraining && n.state != otto.NodeLeft {
		i.State, i.Reason = otto.InstanceUnknown, "node "+n.ID+" is "+string(n.state)
	}
	if why := p.waiting[name]; why != "" {
		i.Reason = why
	}
	switch {
	case i.Explained():
	case i.State == otto.InstanceUnknown:
		i.Reason = "node " + n.ID + " has not reported it yet"
	default:
		i.Reason = "node " + n.ID + " does not say why"
	}
	if i.State != otto.InstanceUnknown {
		i.Sample = sampleOf(n.samples, i.ContainerID)
	}
	return i
}

// statusIn is what a node reports of an instance, nil for nothing.
func statusIn(list []otto.InstanceStatus, name string) *otto.InstanceStatus {
	for k := range list {
		if list[k].Name == name {
			return &list[k]
		}
	}
	return nil
}

func sampleOf(list []otto.ContainerSample, container string) *otto.ContainerSample {
	for k := range list {
		if list[k].ID == container {
			return &list[k]
		}
	}
	return nil
}
