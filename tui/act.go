package tui

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/otto-edge/otto"
)

// Act is something that changes the cluster.
type Act struct {
	Verb string // of the Acts
	Name string // the node or the service
	To   string // where a service is moved to; empty for the best node
}

// The verbs of acts, as in commands.
const (
	Cordon   = "cordon"
	Uncordon = "uncordon"
	Drain    = "drain"
	Move     = "move"
)

// String is the command that does the same.
func (a Act) String() string {
	if a.Verb != Move {
		return "otto node " + a.Verb + " " + a.Name
	}
	if a.To == "" {
		return "otto service move " + a.Name
	}
	return "otto service move " + a.Name + " --to " + a.To
}

// acts are of one verb, and at least one.
type acts []Act

// String is the command that does the same, or names what it would be done with.
func (list acts) String() string {
	if len(list) == 1 {
		return list[0].String()
	}
	names := make([]string, len(list))
	for i, a := range list {
		names[i] = a.Name
	}
	a := list[0]
	a.Name = some(names, "node")
	if a.Verb == Move {
		a.Name = some(names, "service")
	}
	return a.String()
}

// some is a name, or how many there are and which.
func some(names []string, noun string) string {
	if len(names) == 1 {
		return names[0]
	}
	return counted(len(names), noun) + " (" + strings.Join(names, ", ") + ")"
}

// planOf says what acts on nodes would do.
func planOf(c *otto.Cluster, all acts) (list []string) {
	for i, a := range all {
		if i > 0 {
			list = append(list, "")
		}
		list = append(list, planOfOne(c, a)...)
	}
	return list
}

func planOfOne(c *otto.Cluster, a Act) (list []string) {
	switch a.Verb {
	case Cordon:
		list = append(list, a.Name+" takes nothing new; what is there stays:")
	case Uncordon:
		return []string{a.Name + " takes services again. Nothing moves there because of that alone."}
	case Drain:
		list = append(list, a.Name+" takes nothing new, and what can run elsewhere leaves it:")
	}
	n := len(list)
	for _, s := range c.Services {
		for _, i := range s.Instances {
			if i.Node != a.Name {
				continue
			}
			what := "stays"
			if why := s.Stays(); a.Verb == Drain && why == "" {
				what = "leaves"
			} else if a.Verb == Drain {
				what = "stays: " + why
			}
			list = append(list, fmt.Sprintf("  %-24s %s", i.Name, what))
		}
	}
	if len(list) == n {
		list = append(list, "  nothing is there")
	}
	return list
}

// planOfMove says where a service is, and how the nodes score that could take it.
func planOfMove(e otto.Explanation, a Act) (list []string) {
	if e.Service == nil {
		return nil
	}
	for _, i := range e.Service.Instances {
		list = append(list, fmt.Sprintf("%s is %s on %s: %s", i.Name, i.State, cmp.Or(i.Node, "no node"), i.Why))
		for _, s := range i.Scores {
			mark := "  "
			if s.Node == a.To {
				mark = "→ "
			}
			list = append(list, fmt.Sprintf("%s%-20s scores %.2f", mark, s.Node, s.Total))
		}
		for _, r := range i.Refusals {
			list = append(list, fmt.Sprintf("  %-20s cannot take it: %s", r.Node, firstLine(r.Reason)))
		}
	}
	if len(list) == 0 {
		list = append(list, a.Name+" has no instance")
	}
	return list
}

// intent is what an act on a node says of it.
func (a Act) intent() otto.Intent {
	switch a.Verb {
	case Cordon:
		return otto.Intent{Cordoned: true}
	case Drain:
		return otto.Intent{Cordoned: true, Draining: true}
	}
	return otto.Intent{}
}

// began says what a move does.
func began(d otto.Decision) string {
	return fmt.Sprintf("%s goes from %s to %s; foreseen outage: %s%s", d.Instance, d.Node, d.To, d.Outage, d.Fetches())
}
