// Package plan decides what to change: where instances go, what each node is
// told, and how two wanted states differ. It is pure; its results are data with
// reasons in them.
package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// Assignments returns what each of these nodes should run, without revision; services
// are at least those that may have an instance there, in the order of the file. An
// instance in waiting is not to be run yet: it may still run elsewhere. One in unsure
// may run on if it does, and is not to be started. One in kept runs on that node, too,
// until it is known to be needless there. reports hold, for every node that has
// reported, what runs there: a dependency on another node holds an instance back
// until it is met.
func Assignments(x *Index, services []*Service, placed Placement, kept, waiting, unsure map[string]string,
	nodes []string, reports map[string][]otto.InstanceStatus,
) map[string]otto.Assignment {
	all := map[string]*otto.Assignment{}
	for _, n := range nodes {
		all[n] = &otto.Assignment{Node: n, Stopped: x.of.Stopped, Instances: []otto.Instance{}, Devices: x.Devices}
	}
	var found statuses
	for _, s := range services {
		for _, name := range s.Names {
			node, ok := placed[name]
			here, there := all[node], kept[name]
			if !ok || here == nil && all[there] == nil || waiting[name] != "" {
				continue
			}
			inst := otto.Instance{
				Name:       name,
				Service:    s.Name,
				Spec:       s.Spec,
				Probe:      s.Probe,
				Fenced:     s.Fixed && s.Moves,
				Disposable: s.Data == otto.DataDisposable,
				Hold:       unsure[name],
			}
			for _, d := range s.DependsOn {
				if onlyOn(node, d.Service, x, placed) {
					inst.DependsOn = append(inst.DependsOn, d)
				} else if inst.Hold == "" {
					inst.Hold = d.Unmet(found.of(d.Service, reports))
				}
			}
			for _, a := range []*otto.Assignment{here, all[there]} {
				if a != nil {
					a.Instances = append(a.Instances, inst)
				}
			}
		}
	}
	out := make(map[string]otto.Assignment, len(all))
	for id, a := range all {
		out[id] = *a
	}
	return out
}

// statuses are what is reported of services, as far as they were asked for.
type statuses map[string][]otto.InstanceStatus

func (f *statuses) of(service string, reports map[string][]otto.InstanceStatus) []otto.InstanceStatus {
	list, known := (*f)[service]
	if known {
		return list
	}
	for _, n := range slices.Sorted(maps.Keys(reports)) {
		for i := range reports[n] {
			if reports[n][i].Service == service {
				list = append(list, reports[n][i])
			}
		}
	}
	if *f == nil {
		*f = statuses{}
	}
	(*f)[service] = list
	return list
}

// onlyOn reports whether all instances of a service are on node.
func onlyOn(node, service string, x *Index, placed Placement) bool {
	s, ok := x.Service(service)
	return ok && !slices.ContainsFunc(s.Names, func(name string) bool { return placed[name] != node })
}

// Refuse returns why a new wanted state must not replace the former one: a service
// would start without the data that it has, or that held says it had.
func Refuse(was, now *Index, placed Placement, held Held) error {
	nodes := map[string]bool{}
	for i := range now.of.Nodes {
		nodes[now.of.Nodes[i].ID] = true
	}
	var problems []string
	for _, s := range was.Services {
		if !s.Fixed || s.Service.Global() {
			continue
		}
		next, wanted := now.Service(s.Name)
		if !wanted || next.Data == otto.DataDisposable {
			continue
		}
		for _, name := range s.Names {
			from, why, leave := placed[name], "", "leave it on %s"
			switch {
			case from == "":
			case next.Node != "" && from != next.Node:
				why = "cannot move to " + next.Node + " yet"
			case !nodes[from]:
				why, leave = "would start without it elsewhere", "leave %s in the file"
			}
			if why != "" {
				problems = append(
					problems,
					fmt.Sprintf(
						"service %s keeps its data on node %s and %s: %s, or %s, or give the data up with data: disposable",
						name,
						from,
						why,
						fmt.Sprintf(leave, from),
						byHand(s, s, from, next.Node),
					),
				)
			}
		}
	}
	left, _ := leftVolumes(was, now, placed, held)
	problems = append(problems, left...)
	if len(problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(problems, "\n"))
}
