package replay

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/decide"
)

// Policy decides what to do about what is violated. Moves that are to be done now
// are done; nothing else is.
type Policy func(k decide.Known, now time.Time) []otto.Decision

// Policies are the names of all there are, ours first.
func Policies() []string { return []string{"ours", "threshold", "random", "topsis", "none"} }

// Named is the policy of a name, nil for none; what it draws depends on the seed.
func Named(name string, seed uint64) (Policy, error) {
	switch name {
	case "ours":
		return decide.Next, nil
	case "threshold":
		return atLimits(func(k decide.Known, from string) string { return leastLoaded(k, from) }, largest), nil
	case "random":
		r := rand.New(rand.NewPCG(seed, streamPolicy))
		one := func(list []string) string { return list[r.IntN(len(list))] }
		return atLimits(func(k decide.Known, from string) string {
			return one(append(others(k, from), ""))
		}, func(_ decide.Known, list []string) string { return one(list) }), nil
	case "topsis":
		return atLimits(topsis, largest), nil
	case "none":
		return nil, nil
	}
	return nil, fmt.Errorf("no policy %q: there are %s", name, strings.Join(Policies(), ", "))
}

// atLimits moves something whenever a limit has been exceeded for its time, and
// does so again until it is not: the service whose requirement it is, or of a
// node's one that victim chooses. It is how the Kubernetes descheduler and most of
// the literature's thresholds work; one move from a node at a time.
func atLimits(target func(k decide.Known, from string) string, victim func(decide.Known, []string) string) Policy {
	return func(k decide.Known, _ time.Time) (list []otto.Decision) {
		mobile := mobileOn(k)
		left := map[string]bool{}
		for _, v := range k.Verdicts {
			if !v.Acts() || v.Requirement.Action != otto.ActionMigrate || left[v.Node] || len(mobile[v.Node]) == 0 {
				continue
			}
			instance := v.Instance
			if instance == "" {
				instance = victim(k, mobile[v.Node])
			}
			to := target(k, v.Node)
			if to == "" || !slices.Contains(mobile[v.Node], instance) {
				continue
			}
			left[v.Node] = true
			list = append(list, otto.Decision{
				Outcome: otto.OutcomeDo, Action: otto.ActionMigrate, Service: serviceOf(k, instance), Instance: instance, Node: v.Node, To: to,
				Requirement: v.Requirement.String(), OfNode: v.Service == "", Reason: v.Reason,
			})
		}
		return list
	}
}

// mobileOn are the instances of each node that may move now, none of a node that is
// being left already.
func mobileOn(k decide.Known) map[string][]string {
	list := map[string][]string{}
	for i := range k.Wanted.Services {
		s := &k.Wanted.Services[i]
		for _, name := range k.Wanted.InstanceNames(*s) {
			if s.Mobile() && k.Busy[name] == "" {
				list[k.Placement[name]] = append(list[k.Placement[name]], name)
			}
		}
	}
	for _, a := range k.Memory.Acts {
		if a.Ended.IsZero() {
			delete(list, a.From)
		}
	}
	return list
}

func serviceOf(k decide.Known, instance string) string {
	for _, s := range k.Wanted.Services {
		if slices.Contains(k.Wanted.InstanceNames(s), instance) {
			return s.Name
		}
	}
	return ""
}

// largest is the instance that takes most of the processor.
func largest(k decide.Known, list []string) string {
	return slices.MaxFunc(list, func(a, b string) int {
		return cmp.Or(cmp.Compare(k.Uses[a].Most, k.Uses[b].Most), cmp.Compare(b, a))
	})
}

// others are the nodes that could take something from another one.
func others(k decide.Known, from string) (list []string) {
	for _, n := range k.Nodes {
		if n.ID != from && n.Ready && n.Refuse == "" {
			list = append(list, n.ID)
		}
	}
	return list
}

func leastLoaded(k decide.Known, from string) string {
	best, least := "", math.Inf(1)
	for _, n := range k.Nodes {
		if cpu, known := n.Readings["node.cpu"]; known && n.ID != from && n.Ready && cpu.High < least {
			best, least = n.ID, cpu.High
		}
	}
	return best
}

// topsis is the node nearest to the ideal one and farthest from the worst: C. L.
// Hwang, K. Yoon, Multiple Attribute Decision Making (1981), with equal weights for
// processor, memory, temperature and number of instances, all of which cost. Values
// are divided by the length of their vector, as there.
func topsis(k decide.Known, from string) string {
	count := map[string]float64{}
	for _, id := range k.Placement {
		count[id]++
	}
	var names []string
	var rows [][4]float64
	for _, n := range k.Nodes {
		cpu, known := n.Readings["node.cpu"]
		if n.ID == from || !n.Ready || !known {
			continue
		}
		names = append(names, n.ID)
		rows = append(rows, [4]float64{cpu.High, n.Readings["node.memory"].High, n.Readings["node.temperature"].High, count[n.ID]})
	}
	var length, ideal, worst [4]float64
	for c := range length {
		for _, r := range rows {
			length[c] += r[c] * r[c]
		}
		length[c] = max(math.Sqrt(length[c]), 1e-9)
		ideal[c], worst[c] = math.Inf(1), math.Inf(-1)
		for i := range rows {
			rows[i][c] /= length[c]
			ideal[c], worst[c] = min(ideal[c], rows[i][c]), max(worst[c], rows[i][c])
		}
	}
	best, most := "", -1.0
	for i, r := range rows {
		good, bad := distance(r, ideal), distance(r, worst)
		if closeness := bad / max(good+bad, 1e-9); closeness > most {
			best, most = names[i], closeness
		}
	}
	return best
}

func distance(a, b [4]float64) float64 {
	sum := 0.0
	for c := range a {
		sum += (a[c] - b[c]) * (a[c] - b[c])
	}
	return math.Sqrt(sum)
}
