package tui

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/otto-edge/otto"
)

// Index is the state of a cluster as a screen needs it. It is made once for each state, by
// whoever receives that, and never changed.
type Index struct {
	Cluster *otto.Cluster
	nodes   []nodeRow
	groups  []group
	trouble []trouble

	nodesReady, servicesUp, moves int
	// How wide names are at most.
	nodeWidth, serviceWidth, placeWidth int
}

// group is a service, or a stack with its services.
type group struct {
	row     serviceRow
	members []serviceRow // nil for a service
}

// nodeRow is what a line of a node shows.
type nodeRow struct {
	otto.NodeStatus
	instances int
	state     string
	style     style
}

// heard reports whether what was measured last is how it is now.
func (n nodeRow) heard() bool {
	switch n.State {
	case otto.NodeLost, otto.NodeUnresponsive, otto.NodeLeft:
		return false
	}
	return true
}

// serviceRow is what a line of a service, or of a stack, shows.
type serviceRow struct {
	name, stack string // stack is empty for one that is in none
	place       string
	state       string
	style       style
	rank        int // how bad its state is; 0 is well
	cpu         float64
	memory      uint64
	sampled     bool
	nearest     nearest
	up, all     int // instances
	members     []string
}

// label is how a row is named in a list in which its stack is above it.
func (r serviceRow) label(unfolded bool) string {
	switch {
	case r.stack == "":
		return r.name
	case r.stack != r.name:
		return "  " + strings.TrimPrefix(r.name, r.stack+"/")
	case unfolded:
		return "▾ " + r.name
	}
	return "▸ " + r.name
}

// nearest is the requirement that is nearest to its limit.
type nearest struct {
	label string
	use   float64 // 1 is the limit
	known bool
	style style
}

// NewIndex sorts a state.
func NewIndex(c *otto.Cluster) *Index {
	x := &Index{Cluster: c, nodeWidth: 4, serviceWidth: 7, placeWidth: 4}
	on, stacks := map[string]int{}, map[string]int{}
	for _, s := range c.Services {
		r := newServiceRow(s)
		if r.rank == 0 {
			x.servicesUp++
		}
		x.add(r, stacks)
		x.serviceWidth = max(x.serviceWidth, ansi.StringWidth(r.label(false)), ansi.StringWidth(r.stack)+2)
		x.placeWidth = max(x.placeWidth, ansi.StringWidth(r.place))
		for _, i := range s.Instances {
			on[i.Node]++
			if _, _, moving := goesTo(i); moving {
				x.moves++
			}
		}
	}
	for i, g := range x.groups {
		if g.members != nil {
			x.groups[i].row = stackRow(g.row.stack, g.members)
		}
	}
	for _, n := range c.Nodes {
		r := nodeRow{NodeStatus: n, instances: on[n.ID]}
		r.state, r.style = nodeState(n)
		if n.State == otto.NodeReady {
			x.nodesReady++
		}
		x.nodes = append(x.nodes, r)
		x.nodeWidth = max(x.nodeWidth, ansi.StringWidth(n.ID))
	}
	x.trouble = troubles(c, on)
	return x
}

// add puts a service into its stack, which is where its first service is. stacks are the
// groups of stacks.
func (x *Index) add(r serviceRow, stacks map[string]int) {
	if r.stack == "" {
		x.groups = append(x.groups, group{row: r})
		return
	}
	at, ok := stacks[r.stack]
	if !ok {
		at = len(x.groups)
		stacks[r.stack] = at
		x.groups = append(x.groups, group{row: serviceRow{stack: r.stack}})
	}
	x.groups[at].members = append(x.groups[at].members, r)
}

// stacks are the names of stacks, in the order of the file.
func (x *Index) stacks() (names []string) {
	for _, g := range x.groups {
		if g.members != nil {
			names = append(names, g.row.stack)
		}
	}
	return names
}

// goesTo is where an instance is being moved to, and what it leaves.
func goesTo(i otto.PlacedInstance) (from, to string, moving bool) {
	if i.Moving != nil {
		return i.Moving.From, i.Moving.To, true
	}
	to, moving = strings.CutPrefix(i.Reason, "it goes to ") // as former control planes say it
	return i.Node, to, moving
}

func nodeState(n otto.NodeStatus) (string, style) {
	state := string(n.State)
	switch {
	case n.Intent.Draining && n.State == otto.NodeReady:
		state = string(otto.NodeDraining)
	case n.Intent.Cordoned && !n.Intent.Draining:
		state += ", cordoned"
	}
	switch {
	case n.State == otto.NodeLost, n.State == otto.NodeUnresponsive:
		return state, bad
	case n.State != otto.NodeReady || n.Intent.Cordoned:
		return state, warn
	}
	return state, good
}

func newServiceRow(s otto.ServiceStatus) serviceRow {
	r := serviceRow{name: s.Name, all: len(s.Instances), members: []string{s.Name}}
	if stack, _, ok := strings.Cut(s.Name, "/"); ok {
		r.stack = stack
	}
	var places []string
	worst := otto.PlacedInstance{}
	for n, i := range s.Instances {
		if i.Up() {
			r.up++
		}
		if n == 0 || rankOf(i) > rankOf(worst) {
			worst = i
		}
		place := i.Node
		if from, to, moving := goesTo(i); moving {
			place = from + "→" + to
		}
		if place != "" && !slices.Contains(places, place) {
			places = append(places, place)
		}
		if i.Sample != nil {
			r.cpu, r.memory, r.sampled = r.cpu+i.Sample.CPUPercent, r.memory+i.Sample.MemoryUsed, true
		}
	}
	r.place = placeOf(places)
	r.rank = rankOf(worst)
	r.state, r.style = stateOf(s, worst, r.rank)
	if r.all > 1 {
		r.state = fmt.Sprintf("%d/%d %s", r.up, r.all, r.state)
	}
	for _, v := range s.Verdicts {
		r.nearest = nearer(r.nearest, nearestOf(v))
	}
	return r
}

// placeOf names up to two nodes.
func placeOf(nodes []string) string {
	if len(nodes) > 2 {
		return fmt.Sprintf("%d nodes", len(nodes))
	}
	return strings.Join(nodes, ",")
}

// rankOf is how bad the state of an instance is.
func rankOf(i otto.PlacedInstance) int {
	switch i.State {
	case otto.InstanceFailed:
		return 6
	case otto.InstanceUnhealthy:
		return 5
	case otto.InstanceUnknown, "":
		return 4
	case otto.InstanceWaiting, otto.InstancePaused:
		return 3
	case otto.InstanceStopped:
		return 2
	}
	if i.Up() {
		return 0
	}
	return 1
}

// stateOf is the state of a service, which is that of its worst instance.
func stateOf(s otto.ServiceStatus, worst otto.PlacedInstance, rank int) (string, style) {
	_, _, moving := goesTo(worst)
	switch {
	case len(s.Instances) == 0:
		return "no node fits", warn
	case moving:
		return "moving", warn
	case worst.State == otto.InstanceRunning && !worst.UpToDate:
		return "updating", warn
	case rank >= 5:
		return string(worst.State), bad
	case rank > 0:
		return string(worst.State), warn
	}
	return string(worst.State), good
}

// nearestOf is how near a requirement is to its limit.
func nearestOf(v otto.Verdict) nearest {
	r := v.Requirement
	n := nearest{label: labelOf(r), style: good}
	switch {
	case v.Standing():
		n.style = bad
	case v.State == otto.RequirementPending:
		n.style = warn
	}
	if v.Value == nil {
		return n
	}
	n.use, n.known = use(r, *v.Value), true
	if n.style == good && n.use >= 0.9 {
		n.style = warn
	}
	return n
}

// labelOf is what a requirement is about.
func labelOf(r otto.Requirement) string {
	label := strings.TrimPrefix(r.Metric, "node.")
	if _, ok := otto.Percentile(r.Aggregate); ok {
		label += " " + r.Aggregate
	}
	return label
}

// use is how much of what a requirement allows a value takes: 1 is the limit.
func use(r otto.Requirement, value float64) float64 {
	limit := r.Limit
	if strings.HasPrefix(r.Operator, ">") {
		if r.Unit == otto.UnitPercent {
			value, limit = 100-value, 100-limit
		} else {
			value, limit = limit, value
		}
	}
	switch u := value / limit; {
	case value == limit:
		return 1
	case limit <= 0 || math.IsNaN(u) || u > 9.99:
		if r.Holds(value) && limit <= 0 {
			return 0
		}
		return 9.99
	default:
		return max(u, 0)
	}
}

func nearer(a, b nearest) nearest {
	switch {
	case a.label == "":
		return b
	case b.label == "" || b.style < a.style:
		return a
	case b.style > a.style || b.known && !a.known || b.use > a.use:
		return b
	}
	return a
}

// stackRow sums up services of a stack.
func stackRow(name string, members []serviceRow) serviceRow {
	sum := serviceRow{name: name, stack: name}
	var places []string
	for i, m := range members {
		if i == 0 || m.rank > sum.rank {
			sum.rank, sum.state, sum.style = m.rank, m.state, m.style
		}
		if m.place != "" && !slices.Contains(places, m.place) {
			places = append(places, m.place)
		}
		sum.cpu, sum.memory, sum.sampled = sum.cpu+m.cpu, sum.memory+m.memory, sum.sampled || m.sampled
		sum.nearest = nearer(sum.nearest, m.nearest)
		sum.members = append(sum.members, m.members...)
		if m.rank == 0 {
			sum.up++
		}
	}
	sum.all = len(members)
	sum.place = placeOf(places)
	if sum.rank > 0 {
		sum.state = strings.TrimLeft(sum.state, "0123456789/ ")
	}
	sum.state = fmt.Sprintf("%d/%d %s", sum.up, sum.all, sum.state)
	return sum
}

// ago is how long ago something was, in its largest unit.
func ago(now, then time.Time) string {
	switch d := max(now.Sub(then), 0); {
	case then.IsZero():
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// amount is a size in five columns.
func amount(n uint64) string {
	f := float64(n)
	for _, unit := range []string{"B", "K", "M", "G"} {
		if f < 1000 {
			if f < 10 && unit != "B" {
				return fmt.Sprintf("%.1f%s", f, unit)
			}
			return fmt.Sprintf("%.0f%s", f, unit)
		}
		f /= 1024
	}
	return fmt.Sprintf("%.1fT", f)
}
