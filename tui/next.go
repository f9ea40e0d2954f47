package tui

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// next is what happens next with something in trouble.
type next struct {
	then    string
	when    time.Time // zero if that is not a matter of time alone
	because string    // what it waits for
}

// at says it. Of what is overdue no time is said: something else holds it back by now.
func (n next) at(now time.Time) string {
	s := n.then
	if n.when.After(now) {
		s += " in " + ago(n.when, now)
	}
	if n.because != "" {
		s += ": " + n.because
	}
	return s
}

// nextOf is what comes of a violation: what is decided, or what the requirement asks for.
func nextOf(v otto.Verdict, decided []otto.Decision) next {
	for _, d := range decided {
		about := cmp.Or(d.For, d.Instance)
		if d.Requirement == v.Requirement.String() && (v.Instance == about || v.Instance == "" && d.OfNode) {
			return nextBy(v, d)
		}
	}
	switch v.Requirement.Action {
	case otto.ActionMigrate:
		return next{then: "is to be moved"}
	case otto.ActionRestart:
		return next{then: "is to be restarted"}
	case otto.ActionCordon:
		return next{then: "is to be cordoned"}
	}
	return next{}
}

// nextBy is what a decision says of it.
func nextBy(v otto.Verdict, d otto.Decision) next {
	n := next{then: "is restarted", when: d.Until, because: firstLine(d.Waits)}
	switch {
	case d.To != "":
		n.then = "moves to " + d.To
	case d.Action == otto.ActionCordon:
		n.then = "is cordoned"
	case d.Action == otto.ActionMigrate:
		n.then = "is moved"
	}
	if d.Instance != "" && d.Instance != v.Instance {
		n.then = d.Instance + " " + n.then // it makes room
	}
	switch d.Outcome {
	case otto.OutcomeWait:
		if d.To == "" && d.Action == otto.ActionMigrate { // no node is found yet
			n.then, n.because = firstLine(d.Waits)+", looked at again", ""
		}
	case otto.OutcomeAdvise:
		n.then = "advised: " + n.then
	case otto.OutcomeStuck:
		why := strings.TrimLeft(strings.TrimPrefix(d.Reason, v.Reason), ":; ")
		n = next{then: "nothing helps", because: firstLine(why)}
	case otto.OutcomeTell:
		n = next{then: firstLine(d.Waits)}
	}
	return n
}

// triedAgain is what happens with a service that fails.
func triedAgain(s otto.ServiceStatus) string {
	switch {
	case s.Spec.Restart == "no":
		return ""
	case s.Mobile():
		return "is tried again, and then elsewhere"
	}
	return "is tried again"
}

// remains is what a node has left behind that does not answer.
type remains struct {
	leaving   int      // that can be started elsewhere
	elsewhere int      // whose home it is, and that are somewhere else
	waiting   []string // that need it
}

// left are the remains of all nodes.
func left(c *otto.Cluster) map[string]remains {
	all := map[string]remains{}
	for _, s := range c.Services {
		for _, i := range s.Instances {
			r := all[i.Node]
			switch {
			case s.Global():
			case s.Mobile():
				r.leaving++
			default:
				r.waiting = append(r.waiting, i.Name)
			}
			all[i.Node] = r
			if s.Node != "" && s.Node != i.Node && i.Node != "" {
				home := all[s.Node]
				home.elsewhere++
				all[s.Node] = home
			}
		}
	}
	return all
}

// String says it.
func (r remains) String() string {
	var parts []string
	if r.elsewhere > 0 {
		parts = append(parts, counted(r.elsewhere, "instance")+" elsewhere")
	}
	if r.leaving > 0 {
		parts = append(parts, fmt.Sprintf("%d to start elsewhere", r.leaving))
	}
	switch n := len(r.waiting); {
	case n == 1:
		parts = append(parts, r.waiting[0]+" waits for it")
	case n == 2:
		parts = append(parts, strings.Join(r.waiting, " and ")+" wait for it")
	case n > 2:
		parts = append(parts, fmt.Sprintf("%s and %d more wait for it", r.waiting[0], n-1))
	}
	return strings.Join(parts, ", ")
}
