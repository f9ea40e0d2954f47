package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// trouble is something that is violated, failing, lost or moving.
type trouble struct {
	of    item
	name  string
	what  string
	since time.Time
	why   string
	then  string // what happens next
	style style
	rank  int // the highest comes first
}

// The ranks of trouble.
const (
	rankMoving = iota
	rankWaits
	rankViolated
	rankFails
	rankNode
	rankControl
)

// troubles are all of a cluster, the worst first. on are the instances that each node has.
func troubles(c *otto.Cluster, on map[string]int) (list []trouble) {
	for _, problem := range append([]string{c.Problem}, c.Warnings...) {
		if problem != "" {
			list = append(list, trouble{name: c.Name, what: problem, style: bad, rank: rankControl})
		}
	}
	away := map[string]bool{}
	for _, n := range c.Nodes {
		if t, ok := nodeTrouble(n, on[n.ID]); ok {
			list = append(list, t)
			away[n.ID] = t.style == bad
		}
		for _, v := range n.Verdicts {
			list = append(list, verdictTrouble(v, item{kindNode, n.ID}, n.ID)...)
		}
	}
	for _, s := range c.Services {
		list = append(list, serviceTrouble(s, away)...)
	}
	slices.SortStableFunc(list, func(a, b trouble) int {
		return cmp.Or(b.rank-a.rank, int(b.style-a.style), a.since.Compare(b.since))
	})
	return list
}

func nodeTrouble(n otto.NodeStatus, instances int) (trouble, bool) {
	t := trouble{of: item{kindNode, n.ID}, name: n.ID, since: n.Since, style: warn, rank: rankNode}
	why := cmp.Or(n.Problem, n.Reason)
	t.what = string(n.State)
	switch n.State {
	case otto.NodeLost, otto.NodeUnresponsive:
		t.style = bad
		if instances > 0 {
			t.then = counted(instances, "instance") + " there"
		}
	case otto.NodeSuspect:
	case otto.NodeDraining:
		t.rank, t.then = rankMoving, counted(instances, "instance")+" left"
	case otto.NodeJoining:
		t.rank, t.then = rankMoving, n.Step
		if n.Problem != "" {
			t.rank = rankNode
		}
	default:
		if n.Problem == "" {
			return t, false
		}
	}
	t.why = why
	return t, true
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// verdictTrouble is a violation, with what it leads to.
func verdictTrouble(v otto.Verdict, of item, name string) []trouble {
	if !v.Standing() {
		return nil
	}
	r := v.Requirement
	t := trouble{of: of, name: name, since: v.Violated, style: bad, rank: rankViolated}
	t.what, t.why = "violated", cmp.Or(v.Reason, r.String())
	switch {
	case v.State == otto.RequirementClearing:
		t.style, t.then = warn, "clearing"
	case r.Action == otto.ActionMigrate:
		t.then = "is to be moved"
	case r.Action == otto.ActionRestart:
		t.then = "is to be restarted"
	case r.Action == otto.ActionCordon:
		t.then = "is to be cordoned"
	}
	if r.Severity == otto.SeverityInfo {
		t.style = warn
	}
	return []trouble{t}
}

// serviceTrouble is all of a service. What is only unknown because its node is away is told
// with the node.
func serviceTrouble(s otto.ServiceStatus, away map[string]bool) (list []trouble) {
	of := item{kindService, s.Name}
	for _, i := range s.Instances {
		if i.State == otto.InstanceUnknown && away[i.Node] {
			continue
		}
		if t, ok := instanceTrouble(i); ok {
			t.of, t.name = of, i.Name
			list = append(list, t)
		}
	}
	if len(s.Instances) == 0 && s.Replicas > 0 {
		list = append(list, trouble{of: of, name: s.Name, what: "no node fits", style: warn, rank: rankWaits})
	}
	for _, v := range s.Verdicts {
		list = append(list, verdictTrouble(v, of, cmp.Or(v.Instance, s.Name))...)
	}
	if u := s.Rollout; u != nil {
		t := trouble{of: of, name: s.Name, what: strings.ReplaceAll(string(u.State), "-", " "), style: warn}
		if u.Left > 0 {
			t.what += ", " + counted(u.Left, "instance") + " left"
		}
		if u.Failed != nil {
			t.why = "the update failed: " + firstLine(u.Failed.String())
			t.since, t.style, t.rank = u.Failed.Time, bad, rankFails
		}
		list = append(list, t)
	}
	return list
}

func instanceTrouble(i otto.PlacedInstance) (t trouble, ok bool) {
	why := firstLine(cmp.Or(i.Error, i.Reason))
	t = trouble{what: string(i.State), style: warn, rank: rankFails}
	if to, moving := goesTo(i); moving {
		t.what, t.rank = fmt.Sprintf("moves from %s to %s", i.Node, to), rankMoving
		return t, true
	}
	switch i.State {
	case otto.InstanceFailed, otto.InstanceUnhealthy:
		t.style = bad
	case otto.InstanceUnknown, otto.InstancePaused:
	case otto.InstanceWaiting:
		t.rank = rankWaits
		if why == "" {
			return t, false
		}
	default:
		if i.Error == "" { // it starts, runs, or has ended as it should
			return t, false
		}
	}
	if i.Node != "" {
		t.what += " on " + i.Node
	}
	t.why = why
	if i.GivenUp {
		t.then = "the former version runs"
	}
	return t, true
}

func firstLine(s string) string {
	first, _, _ := strings.Cut(s, "\n")
	return first
}

// item is what is selected with a line of trouble: it stays the same while numbers change.
func (t trouble) item() item { return item{kindTrouble, t.name + " " + otto.Wording(t.what+t.why)} }

// line is a line of trouble, with names of a width.
func (t trouble) line(now time.Time, width int) line {
	what := t.what
	if !t.since.IsZero() {
		what += " for " + ago(now, t.since)
	}
	if t.why != "" {
		what += ": " + t.why
	}
	if t.then != "" {
		what += " · " + t.then
	}
	return line{{"! ", t.style}, {padded(t.name, width) + "  ", strong}, {what, t.style}}
}
