package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/otto-edge/otto"
)

// trouble is something that is violated, failing, lost or moving.
type trouble struct {
	of    item
	name  string
	what  string
	since time.Time
	why   string
	next
	key   string // tells it apart, if what and why do not
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
	lost := left(c)
	for _, problem := range append([]string{c.Problem}, c.Warnings...) {
		if problem != "" {
			list = append(list, trouble{name: c.Name, what: problem, style: bad, rank: rankControl})
		}
	}
	away := map[string]bool{}
	for _, n := range c.Nodes {
		if t, ok := nodeTrouble(n, on[n.ID]); ok {
			if t.style == bad {
				t.then = lost[n.ID].String()
			}
			list = append(list, t)
			away[n.ID] = t.style == bad
		}
		for _, v := range n.Verdicts {
			list = append(list, verdictTrouble(v, item{kindNode, n.ID}, n.ID, n.Next)...)
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
	case otto.NodeSuspect:
		t.then = "lost if nobody reaches it"
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
func verdictTrouble(v otto.Verdict, of item, name string, decided []otto.Decision) []trouble {
	if !v.Standing() {
		return nil
	}
	r := v.Requirement
	t := trouble{of: of, name: name, since: v.Violated, style: bad, rank: rankViolated}
	t.what, t.why = exceeded(v)
	t.key = "violated " + r.String()
	t.next = nextOf(v, decided)
	if v.State == otto.RequirementClearing {
		t.style, t.next = warn, next{then: "clearing"}
	}
	if r.Severity == otto.SeverityInfo {
		t.style = warn
	}
	return []trouble{t}
}

// exceeded says what is violated: in short, by numbers, where there are some that say it.
func exceeded(v otto.Verdict) (what, why string) {
	r := v.Requirement
	if v.State != otto.RequirementViolated || v.Value == nil || r.Holds(*v.Value) || *v.Value == r.Limit {
		return "violated", cmp.Or(v.Reason, r.String())
	}
	beyond := ">"
	if strings.HasPrefix(r.Operator, ">") {
		beyond = "<"
	}
	return fmt.Sprintf("%s %s %s %s", labelOf(r), r.Unit.Show(*v.Value), beyond, r.Unit.Format(r.Limit)), ""
}

// serviceTrouble is all of a service. What is only unknown because its node is away is told
// with the node.
func serviceTrouble(s otto.ServiceStatus, away map[string]bool) (list []trouble) {
	of := item{kindService, s.Name}
	for _, i := range s.Instances {
		if i.State == otto.InstanceUnknown && away[i.Node] {
			continue
		}
		if t, ok := instanceTrouble(s, i); ok {
			t.of, t.name = of, i.Name
			list = append(list, t)
		}
	}
	if len(s.Instances) == 0 && s.Replicas > 0 {
		list = append(list, trouble{of: of, name: s.Name, what: "no node fits", next: next{then: "starts where one does"}, style: warn, rank: rankWaits})
	}
	for _, v := range s.Verdicts {
		list = append(list, verdictTrouble(v, of, cmp.Or(v.Instance, s.Name), s.Next)...)
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

func instanceTrouble(s otto.ServiceStatus, i otto.PlacedInstance) (t trouble, ok bool) {
	why := firstLine(cmp.Or(i.Error, i.Reason))
	t = trouble{what: string(i.State), style: warn, rank: rankFails}
	if from, to, moving := goesTo(i); moving {
		t.what, t.rank, t.then = fmt.Sprintf("moves from %s to %s", from, to), rankMoving, string(i.State)+" there"
		if i.Node == from {
			t.then = "serves where it was until it is up"
		}
		if i.Moving != nil {
			t.since = i.Moving.Since
		}
		return t, true
	}
	switch i.State {
	case otto.InstanceFailed, otto.InstanceUnhealthy:
		t.style, t.then = bad, triedAgain(s)
	case otto.InstancePaused:
		t.then = "stays so until somebody unpauses it"
	case otto.InstanceUnknown:
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
func (t trouble) item() item {
	return item{kindTrouble, t.name + " " + otto.Wording(cmp.Or(t.key, t.what+t.why))}
}

// line is a line of trouble, with names of a width, for a screen of another. What happens
// next stays where the reason has to be cut for it.
func (t trouble) line(now time.Time, name, screen int) line {
	head, then := t.what, t.next.at(now)
	if !t.since.IsZero() {
		head += " for " + ago(now, t.since)
	}
	why := t.why
	if why != "" {
		head += ": "
	}
	if then != "" {
		then = " · " + then
	}
	room := screen - len("! ") - name - len("  ") - ansi.StringWidth(head) - ansi.StringWidth(then)
	if ansi.StringWidth(why) > room && then != "" {
		why = ansi.Truncate(why, max(room, leastWhy), "…")
	}
	return line{{"! ", t.style}, {padded(t.name, name) + "  ", strong}, {head + why + then, t.style}}
}

// leastWhy is how much of a reason is shown at least, in columns.
const leastWhy = 24
