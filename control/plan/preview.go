package plan

import (
	"cmp"
	"slices"

	"github.com/otto-edge/otto"
)

// Preview says what would become of each instance if now were wanted instead of
// was. at is where the instances are, former what Place would begin with.
func Preview(was, now otto.Wanted, at, former Placement, nodes []Node, troubled map[string]string) (list []otto.PlannedInstance) {
	placed := Place(now, former, nodes, troubled)
	var x *Index
	if slices.ContainsFunc(now.Services, func(s otto.Service) bool { return s.Unit != "" }) {
		x = NewIndex(now, nil)
	}
	moves := map[string]string{}
	for _, m := range placed.Moves {
		moves[m.Instance] = m.Reason
	}
	for _, s := range now.Services {
		k := slices.IndexFunc(was.Services, func(w otto.Service) bool { return w.Name == s.Name })
		for _, e := range explain(x, now, at, placed.Placement, nodes, placed.Waiting, s) {
			i := otto.PlannedInstance{Name: e.Name, Service: s.Name, Action: otto.PlanKeep, Node: e.Node, Why: e.Why}
			from := at[e.Name]
			order, why := s.UpdateOrder()
			switch {
			case e.Node == "":
				i.Action, i.From = otto.PlanWait, from
			case k < 0 || from == "":
				i.Action = otto.PlanAdd
			case from != e.Node:
				i.Action, i.From, i.Order = otto.PlanMove, from, otto.StopFirst
				i.Why = cmp.Or(moves[e.Name], i.Why)
			case was.Services[k].Spec.Hash() != s.Spec.Hash():
				i.Action, i.Order = otto.PlanUpdate, order
				i.Why = cmp.Or(why, "its spec is another one")
			}
			list = append(list, i)
		}
	}
	for _, s := range was.Services {
		for _, name := range was.InstanceNames(s) {
			if at[name] != "" && !slices.ContainsFunc(list, func(i otto.PlannedInstance) bool { return i.Name == name }) {
				list = append(list, otto.PlannedInstance{Name: name, Service: s.Name, Action: otto.PlanRemove, From: at[name], Why: "it is not wanted any more"})
			}
		}
	}
	return list
}
