// Package scheduler chooses a node for an instance that has no home. It is
// pure, and says why each node was refused.
package scheduler

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/otto-edge/otto"
)

// Candidate is a node as the scheduler sees it.
type Candidate struct {
	ID string
	// Refuse says why the node takes nothing new; empty when it does.
	Refuse string
	Memory uint64 // of the machine, in bytes; 0 if unknown
	// Failures say how much each service's former failures here weigh.
	Failures map[string]float64
	// Placed are the instances that have a place there already.
	Placed []Placed
}

// Placed is an instance with what it takes on its node.
type Placed struct {
	Service string
	Ports   []otto.Port
	Memory  int64 // its limit in bytes; 0 without one
}

// Pick returns the node for one more instance of a service: of the nodes that
// can take it, the one where the service has failed least, then with the fewest
// instances of the service, then with the fewest instances, then the first by
// id. Without one it returns why not, for each node.
func Pick(want Placed, nodes []Candidate) (node string, refused []string) {
	var fit []Candidate
	for _, n := range nodes {
		if why := refuse(want, n); why != "" {
			refused = append(refused, n.ID+": "+why)
		} else {
			fit = append(fit, n)
		}
	}
	if len(fit) == 0 {
		return "", refused
	}
	best := slices.MinFunc(fit, func(a, b Candidate) int {
		return cmp.Or(
			cmp.Compare(a.Failures[want.Service], b.Failures[want.Service]),
			cmp.Compare(count(a, want.Service), count(b, want.Service)),
			cmp.Compare(len(a.Placed), len(b.Placed)),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return best.ID, refused
}

func refuse(want Placed, n Candidate) string {
	if n.Refuse != "" {
		return n.Refuse
	}
	if n.Memory > 0 && want.Memory > 0 && uint64(want.Memory) > n.Memory {
		return fmt.Sprintf("it has %d MiB of memory, and %s may take %d", n.Memory>>20, want.Service, want.Memory>>20)
	}
	for _, p := range n.Placed {
		for _, theirs := range p.Ports {
			for _, ours := range want.Ports {
				if Clash(ours, theirs) {
					return fmt.Sprintf("port %d/%s is taken by %s", ours.Host, ours.Protocol, p.Service)
				}
			}
		}
	}
	return ""
}

// Clash reports whether two published ports cannot be on one node.
func Clash(a, b otto.Port) bool {
	everywhere := func(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }
	return a.Host != 0 && a.Host == b.Host && a.Protocol == b.Protocol &&
		(a.HostIP == b.HostIP || everywhere(a.HostIP) || everywhere(b.HostIP))
}

func count(n Candidate, service string) (c int) {
	for _, p := range n.Placed {
		if p.Service == service {
			c++
		}
	}
	return c
}
