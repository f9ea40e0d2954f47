// Package target finds what a person means by a name: a service, one of its
// instances, or a node.
package target

import (
	"fmt"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// Target is what was meant: a service, of it one instance, a node, or all of a stack.
type Target struct {
	Service  string
	Instance string // empty for all of them
	Node     string // empty unless it is a node
	Stack    string // empty unless it is a stack
}

// Has reports whether an instance of a service belongs to the target; of a node's nobody
// knows here.
func (t Target) Has(service, instance string) bool {
	switch {
	case t.Node != "":
		return true
	case t.Stack != "":
		return strings.HasPrefix(service, t.Stack+"/")
	}
	return service == t.Service && (t.Instance == "" || t.Instance == instance)
}

// FindAll is Find for what can be done with a whole stack, too: its name means that, also
// if a service of it is called the same.
func FindAll(c *otto.Cluster, name string) (Target, error) {
	if t, ok := exactly(c, name); ok {
		return t, nil
	}
	if t := (Target{Stack: name}); len(members(c, t)) > 0 {
		return t, nil
	}
	return Find(c, name)
}

// members are the services of a stack.
func members(c *otto.Cluster, t Target) (names []string) {
	for _, s := range c.Services {
		if t.Has(s.Name, "") {
			names = append(names, s.Name)
		}
	}
	return names
}

// Find returns what is meant by a name. A service of a stack, which is called
// STACK/SERVICE, may be called by the second part alone if nothing else is called
// so.
func Find(c *otto.Cluster, name string) (Target, error) {
	if t, ok := exactly(c, name); ok {
		return t, nil
	}
	var meant []Target
	var names []string
	for _, s := range c.Services {
		for _, i := range append([]string{s.Name}, instances(s)...) {
			names = append(names, i)
			if _, short, ok := strings.Cut(i, "/"); ok && short == name {
				t, _ := exactly(c, i)
				meant = append(meant, t)
			}
		}
	}
	for _, n := range c.Nodes {
		names = append(names, n.ID)
	}
	names = append(names, stacks(c)...)
	if all := members(c, Target{Stack: name}); len(meant) == 0 && len(all) > 0 {
		return Target{}, fmt.Errorf("%s is a stack: write %s", name, strings.Join(all, " or "))
	}
	switch len(meant) {
	case 0:
		return Target{}, fmt.Errorf("no service or node %q%s", name, hint(name, names))
	case 1:
		return meant[0], nil
	}
	return Target{}, fmt.Errorf("%q may be of several stacks: write %s", name, strings.Join(labels(meant), " or "))
}

// stacks are the names of all stacks.
func stacks(c *otto.Cluster) (names []string) {
	for _, s := range c.Services {
		if stack, _, ok := strings.Cut(s.Name, "/"); ok && !slices.Contains(names, stack) {
			names = append(names, stack)
		}
	}
	return names
}

func exactly(c *otto.Cluster, name string) (Target, bool) {
	for _, s := range c.Services {
		if s.Name == name {
			return Target{Service: name}, true
		}
	}
	for _, s := range c.Services {
		if slices.Contains(instances(s), name) {
			return Target{Service: s.Name, Instance: name}, true
		}
	}
	for _, n := range c.Nodes {
		if n.ID == name {
			return Target{Node: name}, true
		}
	}
	return Target{}, false
}

func instances(s otto.ServiceStatus) (names []string) {
	for _, i := range s.Instances {
		if i.Name != s.Name {
			names = append(names, i.Name)
		}
	}
	return names
}

func labels(list []Target) (names []string) {
	for _, t := range list {
		if t.Instance != "" {
			names = append(names, t.Instance)
		} else {
			names = append(names, t.Service)
		}
	}
	return names
}

// hint is what may have been meant instead of a name that there is not.
func hint(name string, names []string) string {
	best, least := "", len(name)/2+1
	for _, n := range names {
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf(": did you mean %s?", best)
	case len(names) == 0:
		return ": there are none yet"
	}
	const most = 10
	rest := ""
	if len(names) > most {
		names, rest = names[:most], ", ..."
	}
	return ": there are " + strings.Join(names, ", ") + rest
}

// distance is how many characters have to be changed, added or taken away to make
// one of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
