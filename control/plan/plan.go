// Package plan decides what to change: where instances go, what each node is
// told, and how two wanted states differ. It is pure; its results are data with
// reasons in them.
package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// Assignments returns what each node should run, without revision. An instance
// in waiting is not to be run yet: it may still run elsewhere. One in unsure may
// run on if it does, and is not to be started. One in kept runs on that node, too,
// until it is known to be needless there. reports hold, for every node that has
// reported, what runs there: a dependency on another node holds an instance back
// until it is met.
func Assignments(w otto.Wanted, placed Placement, kept, waiting, unsure map[string]string, nodes []string, reports map[string][]otto.InstanceStatus) map[string]otto.Assignment {
	all, devices := map[string]otto.Assignment{}, w.Devices()
	for _, n := range nodes {
		all[n] = otto.Assignment{Node: n, Stopped: w.Stopped, Instances: []otto.Instance{}, Devices: devices}
	}
	var everywhere []otto.InstanceStatus
	for _, n := range slices.Sorted(maps.Keys(reports)) {
		everywhere = append(everywhere, reports[n]...)
	}
	for _, s := range w.Services {
		for _, name := range w.InstanceNames(s) {
			node, ok := placed[name]
			if _, there := all[node]; !ok || !there || waiting[name] != "" {
				continue
			}
			inst := otto.Instance{Name: name, Service: s.Name, Spec: s.Spec, Probe: s.Probe, Fenced: s.Stateful() && s.Mobile(), Hold: unsure[name]}
			for _, d := range s.DependsOn {
				if onlyOn(node, d.Service, w, placed) {
					inst.DependsOn = append(inst.DependsOn, d)
				} else if inst.Hold == "" {
					inst.Hold = d.Unmet(everywhere)
				}
			}
			for _, at := range []string{node, kept[name]} {
				if a, there := all[at]; there {
					a.Instances = append(a.Instances, inst)
					all[at] = a
				}
			}
		}
	}
	return all
}

// onlyOn reports whether all instances of a service are on node.
func onlyOn(node, service string, w otto.Wanted, placed Placement) bool {
	i := slices.IndexFunc(w.Services, func(s otto.Service) bool { return s.Name == service })
	if i < 0 {
		return false
	}
	for _, name := range w.InstanceNames(w.Services[i]) {
		if placed[name] != node {
			return false
		}
	}
	return true
}

// Refuse returns why a new wanted state must not replace the former one: a service
// would start without the data that it has.
func Refuse(was, now otto.Wanted, placed Placement) error {
	var problems []string
	for _, s := range was.Services {
		i := slices.IndexFunc(now.Services, func(n otto.Service) bool { return n.Name == s.Name })
		if i < 0 || s.Global() || !s.Stateful() || now.Services[i].Data == otto.DataDisposable {
			continue
		}
		to := now.Services[i].Node
		for _, name := range was.InstanceNames(s) {
			from, why, leave := placed[name], "", "leave it on %s"
			switch {
			case from == "":
			case to != "" && from != to:
				why = "cannot move to " + to + " yet"
			case !slices.ContainsFunc(now.Nodes, func(n otto.Node) bool { return n.ID == from }):
				why, leave = "would start without it elsewhere", "leave %s in the file"
			}
			if why != "" {
				problems = append(problems, fmt.Sprintf("service %s keeps its data on node %s and %s: "+leave+
					", copy its data by hand and give the service another name, or give the data up with data: disposable", name, from, why, from))
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(problems, "\n"))
}
