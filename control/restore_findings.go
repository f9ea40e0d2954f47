package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/control/scheduler"
	"github.com/otto-edge/otto/wire"
)

// tell finds out what the control plane will do first, by the same function that
// it decides with.
func (r *reconciling) tell(d desired, nodes []otto.Node) []Finding {
	var candidates []plan.Node
	for _, n := range d.Wanted.Nodes {
		c := plan.Node{
			ID:      n.ID,
			Machine: scheduler.Machine{Labels: n.PlacementLabels(otto.NodeFacts{}), Volumes: r.sights[n.ID].volumes},
		}
		switch intent := d.Intents[n.ID]; {
		case !r.known(n.ID) || r.sights[n.ID].why != "":
			c.Refuse = "it could not be looked at"
			_, c.Untold = d.Machines[n.ID]
		case intent.Draining:
			c.Refuse, c.Gone, c.Drained = "cordoned", "is being drained", true
		case intent.Cordoned:
			c.Refuse = "cordoned"
		}
		candidates = append(candidates, c)
	}
	placed := plan.Place(d.Wanted, d.Placement, candidates, nil)
	findings := r.aboutNodes(d, nodes)
	for _, s := range d.Wanted.Services {
		for _, name := range d.Wanted.InstanceNames(s) {
			at, ok := placed.Placement[name]
			if !ok {
				findings = append(findings, Finding{Waits, "", name, placed.Waiting[name]})
				continue
			}
			findings = append(findings, r.aboutInstance(s, name, at))
		}
	}
	return append(findings, r.aboutStrays(placed.Placement, nodes)...)
}

func (r *reconciling) aboutNodes(d desired, nodes []otto.Node) (findings []Finding) {
	for _, n := range nodes {
		s, known := r.sights[n.ID]
		switch {
		case !known || s.why != "":
			findings = append(
				findings,
				Finding{
					Unseen,
					n.ID,
					"",
					cmp.Or(s.why, "it was not looked at") + ": its services stay there, and it does not count as lost",
				},
			)
		case !hasNode(d.Wanted.Nodes, n.ID):
			findings = append(findings, Finding{Leaves, n.ID, "", "it is not wanted any more: Otto is taken off it"})
		case s.bare:
			findings = append(findings,
				Finding{Joins, n.ID, "", "no agent of this cluster is there: it is brought there"})
		}
	}
	return findings
}

func (r *reconciling) aboutInstance(s otto.Service, name, at string) Finding {
	f := Finding{Node: at, Instance: name}
	here, known := r.sights[at]
	was := r.was.desired.Placement[name]
	running := here.runs(name)
	switch {
	case !known || here.why != "":
		f.Verdict, f.Reason = Unseen, "it keeps its place"
	case running != nil && running.SpecHash != s.Spec.Hash():
		f.Verdict, f.Reason = Changes, fmt.Sprintf("it runs in another version (%s) than is wanted (%s)", running.Image,
			s.Spec.Image)
	case running != nil && was == at:
		f.Verdict = Keeps
	case running != nil:
		f.Verdict, f.Reason = Adopts, "it runs there; the backup "+hasIt(was)
	case ended(s.Spec, name, here):
		f.Verdict, f.Reason = Keeps, "it has ended there"
	default:
		f.Verdict, f.Reason = Starts, "it does not run there"
		if elsewhere := r.running(name); len(elsewhere) > 0 {
			f.Reason = "it is to be there, and runs on " + strings.Join(elsewhere, " and ")
		}
		if why := r.lacksData(s, name, here); why != "" {
			f.Verdict, f.Reason = Lacks, why
		}
	}
	return f
}

func hasIt(was string) string {
	if was == "" {
		return "does not know it"
	}
	return "has it on " + was
}

// ended reports whether an instance is left as it is because it has done its work.
func ended(spec otto.ContainerSpec, instance string, on sight) bool {
	policy, _, _ := strings.Cut(spec.Restart, ":")
	return (policy == "no" || policy == "on-failure") && slices.ContainsFunc(on.containers, func(c wire.Seen) bool {
		return c.Instance == instance && c.SpecHash == spec.Hash() && c.State == otto.ContainerExited
	})
}

// running are the nodes that run an instance.
func (r *reconciling) running(instance string) (nodes []string) {
	for _, id := range slices.Sorted(maps.Keys(r.sights)) {
		if r.sights[id].runs(instance) != nil {
			nodes = append(nodes, id)
		}
	}
	return nodes
}

// lacksData says why a service that was placed before would start without its data.
func (r *reconciling) lacksData(s otto.Service, instance string, on sight) string {
	if !s.Stateful() || s.Data == otto.DataDisposable || r.was.desired.Placement[instance] == "" {
		return ""
	}
	if on.bare {
		return "its data was on this node, and the machine that is reached by its name now has never been that node"
	}
	for _, v := range s.Spec.Volumes() {
		if !on.volumes[v] {
			why := fmt.Sprintf("its volume %s is not there", v)
			for _, id := range slices.Sorted(maps.Keys(r.sights)) {
				if r.sights[id].volumes[v] {
					why += ", but on " + id
				}
			}
			return why
		}
	}
	return ""
}

// StartEmpty has the services whose data is not there start without it.
func (r *Restored) StartEmpty() error {
	d, err := decodeDocuments(r.Documents)
	if err != nil {
		return err
	}
	w := d.desired.Wanted
	for _, f := range r.Findings {
		i := slices.IndexFunc(w.Services,
			func(s otto.Service) bool { return slices.Contains(w.InstanceNames(s), f.Instance) })
		if f.Verdict != Lacks || i < 0 {
			continue
		}
		var sources []string
		for _, m := range w.Services[i].Spec.Kept() {
			sources = append(sources, m.Source)
		}
		d.data = d.data.with(f.Node, accepted(d.data[f.Node], sources))
	}
	r.Documents, err = encodeDocuments(d)
	return err
}

// aboutStrays names what runs and will not any more.
func (r *reconciling) aboutStrays(placed plan.Placement, nodes []otto.Node) (findings []Finding) {
	for _, n := range nodes {
		var names []string
		for _, c := range r.sights[n.ID].containers {
			if c.Runs() && placed[c.Instance] != n.ID {
				names = append(names, c.Instance)
			}
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			f := Finding{Stops, n.ID, name, "its place is " + placed[name]}
			if placed[name] == "" {
				f.Reason = "what is wanted does not have it: put it into otto.yaml if it should run on"
			}
			findings = append(findings, f)
		}
	}
	return findings
}
