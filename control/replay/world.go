package replay

import (
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/decide"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/control/scheduler"
)

const (
	// starting is how long a container takes to start whose image is there.
	starting = 2 * time.Second
	// warming is the time in which a node comes to 1 - 1/e of a new temperature.
	warming = 4 * time.Minute
	// placeEvery is how often it is tried to place what has no place.
	placeEvery = time.Minute
	// decideEvery is how often it is decided as long as nothing changes. The control
	// plane does it each second.
	decideEvery = 5 * time.Second
	// maxActs are remembered of a policy that cares for nothing; ours stops by itself
	// before it has that many.
	maxActs = 250
	// newest is how many of the last samples are given to decisions, as the control
	// plane does.
	newest = 3
)

// Run lets a scenario happen under a policy.
func Run(s Scenario, name string, p Policy) Result {
	w := New(s, name, p)
	for w.Step() {
	}
	return w.Result()
}

// World is a scenario that is happening.
type World struct {
	Scenario
	policy    Policy
	interval  time.Duration
	at        time.Duration // since the start
	now       time.Time
	nodes     []*node
	byID      map[string]*node
	instances []*instance
	byName    map[string]*instance
	placement plan.Placement
	index     *plan.Index
	memory    decide.Memory
	watch     watch
	placed    time.Time // when instances were placed last
	decided   time.Time // when there was a decision last
	unplaced  bool      // there may be some to be placed
	left      map[string]map[string]time.Time
	last      map[string]time.Time // of a service, the end of its last move
	result    Result
}

type node struct {
	Machine
	id       string
	lost     bool
	since    time.Time
	cores    float64 // that are wanted of it
	percent  float64
	used     float64 // bytes
	warmth   float64 // that load has brought, in degrees
	samples  []otto.NodeSample
	cpu, mem scheduler.Load
	images   map[string]int64 // that are there, of which no sizes are known
}

type instance struct {
	Demand
	name    string
	of      *otto.Service
	at      *node // that it runs on; nil while it is away
	going   *node // where it is being started
	arrives time.Duration
	moving  bool // by a decision, not for the first time or from a lost node
	away    time.Duration
	began   time.Duration
	cores   float64 // it takes
	load    scheduler.Load
}

// New is a scenario at its start, under the policy of a name; nil moves nothing.
func New(s Scenario, name string, p Policy) *World {
	w := &World{
		Scenario: s, policy: p, interval: s.Wanted.IntervalOf(), byID: map[string]*node{}, byName: map[string]*instance{},
		placement: plan.Placement{}, unplaced: true, left: map[string]map[string]time.Time{}, last: map[string]time.Time{},
	}
	for i, n := range s.Wanted.Nodes {
		m := &node{Machine: s.Machines[i], id: n.ID, since: s.Start, images: map[string]int64{}}
		w.nodes, w.byID[n.ID] = append(w.nodes, m), m
	}
	for k := range s.Wanted.Services {
		of := &w.Wanted.Services[k]
		for _, name := range s.Wanted.InstanceNames(*of) {
			i := &instance{Demand: s.Demands[name], name: name, of: of}
			w.instances, w.byName[name] = append(w.instances, i), i
			if n := w.byID[s.Placement[name]]; n != nil {
				w.placement[name], i.at = n.id, n
				n.images[of.Spec.Image] = 0
			}
		}
	}
	w.now = s.Start
	w.place()
	for _, i := range w.instances { // at the start all is up
		if i.going != nil {
			i.at, i.going = i.going, nil
		}
	}
	w.result = Result{Policy: name}
	w.watch.follow(w)
	return w
}

// Result is what it has come to so far.
func (w *World) Result() Result { return w.result }

// Step is what happens from one sample to the next; false at the end.
func (w *World) Step() bool {
	if w.at >= w.Length {
		return false
	}
	w.now = w.Start.Add(w.at)
	w.lose()
	w.arrive()
	if w.unplaced || w.now.Sub(w.placed) >= placeEvery && w.homeless() {
		w.place()
	}
	w.load()
	w.watch.judge(w)
	w.account()
	w.decide()
	w.at += w.interval
	return true
}

// lose has nodes go and come back.
func (w *World) lose() {
	for _, n := range w.nodes {
		lost := slices.ContainsFunc(n.Lost, func(s Span) bool { return s.From <= w.at && w.at < s.To })
		if lost == n.lost {
			continue
		}
		n.lost, n.since, w.unplaced = lost, w.now, true
		n.samples, n.cpu, n.mem = nil, scheduler.Load{}, scheduler.Load{}
		for _, i := range w.instances {
			switch {
			case lost && i.at == n:
				i.at = nil
			case lost && i.going == n:
				i.going = nil
				w.fail(i)
			case !lost && i.at == nil && i.going == nil && w.placement[i.name] == n.id:
				i.at = n // it starts with its engine
			}
		}
	}
}

// fail ends a move to a node that has been lost meanwhile: the instance stays where
// it was, or is placed anew if that is lost, too.
func (w *World) fail(i *instance) {
	act, moving := w.memory.UnderWay(i.name)
	if !moving {
		return
	}
	w.end(i, decide.HelpedFailed)
	from := w.byID[act.From]
	if from.lost {
		return
	}
	w.placement[i.name] = from.id
	if i.at == nil {
		i.going, i.arrives = from, w.at+starting
	}
	w.watch.follow(w)
}

func (w *World) end(i *instance, helped decide.Helped) {
	w.memory = w.memory.End(i.name, w.now, helped)
	w.last[i.of.Name], i.moving, w.watch.changed = w.now, false, true
}

// arrive has instances be up where they were started.
func (w *World) arrive() {
	for _, i := range w.instances {
		if i.going == nil || w.at < i.arrives {
			continue
		}
		act, moved := w.memory.UnderWay(i.name)
		i.at, i.going = i.going, nil
		i.at.images[i.of.Spec.Image] = 0
		if !moved {
			continue
		}
		w.memory = w.memory.Learn(i.of.Spec.Image, act, i.arrives-i.began, i.away, w.now)
		w.end(i, "")
		if w.left[i.name] == nil {
			w.left[i.name] = map[string]time.Time{}
		}
		w.left[i.name][act.From] = w.now
	}
}

func (w *World) homeless() bool {
	return slices.ContainsFunc(w.instances, func(i *instance) bool { return i.at == nil && i.going == nil })
}

// place gives what has no node, or a lost one, another.
func (w *World) place() {
	w.placed, w.unplaced = w.now, false
	was := w.placement
	w.placement = plan.Place(w.Wanted, was, w.planned(), nil).Placement
	changed := false
	for _, i := range w.instances {
		to := w.placement[i.name]
		if to == "" || to == was[i.name] {
			continue
		}
		changed = true
		if _, moving := w.memory.UnderWay(i.name); moving {
			w.end(i, decide.HelpedFailed)
		}
		w.result.Failovers++
		w.start(i, w.byID[to])
	}
	if changed {
		w.watch.follow(w)
	}
}

// start begins to start an instance on a node.
func (w *World) start(i *instance, n *node) {
	i.going, i.began, i.arrives = n, w.at, w.at+starting
	if _, there := n.images[i.of.Spec.Image]; !there {
		i.arrives += i.Image
	}
}

// load finds out what everything takes now, and what is measured of it.
func (w *World) load() {
	for _, n := range w.nodes {
		n.cores, n.used = n.CPU.At(w.at), n.Used.At(w.at)
	}
	for _, i := range w.instances {
		if i.at != nil {
			i.cores = i.Cores.At(w.at)
			i.at.cores += i.cores
			i.at.used += i.Memory.At(w.at)
		}
	}
	for _, n := range w.nodes {
		if !n.lost {
			w.sample(n)
		}
	}
	for _, i := range w.instances {
		if i.at != nil {
			i.cores *= i.at.given()
			i.load = i.load.Add(i.cores, w.interval)
		}
	}
}

// given is the share that everyone gets of what he would take.
func (n *node) given() float64 { return min(1, n.Machine.Cores/max(n.cores, 1e-9)) }

func (w *World) sample(n *node) {
	n.percent = min(100, 100*n.cores/n.Machine.Cores)
	n.warmth += (n.Heat*n.percent - n.warmth) * min(1, w.interval.Seconds()/warming.Seconds())
	s := otto.NodeSample{Time: w.now, CPUPercent: n.percent, MemoryTotal: n.Memory, MemoryUsed: min(uint64(max(n.used, 0)), n.Memory), Uptime: w.now.Sub(n.since).Seconds() + 1}
	if len(n.Idle.Values) > 0 {
		degrees := n.Idle.At(w.at) + n.warmth
		s.Temperature = &degrees
	}
	n.cpu = n.cpu.Add(s.CPUPercent/100, w.interval)
	n.mem = n.mem.Add(s.MemoryPercent()/100, w.interval)
	if len(n.samples) == newest {
		copy(n.samples, n.samples[1:])
		n.samples = n.samples[:newest-1]
	}
	n.samples = append(n.samples, s)
}

// account adds up what the policy is measured by.
func (w *World) account() {
	for _, i := range w.instances {
		switch {
		case i.at != nil:
		case i.moving:
			w.result.Outage += w.interval
		default:
			w.result.Down += w.interval
		}
	}
}

// decide has the policy look at what is violated, and begins what it decides.
func (w *World) decide() {
	unjudged := func(a decide.Act) bool { return a.Verdict == "" }
	switch {
	case w.policy == nil || !w.watch.changed && w.now.Sub(w.decided) < decideEvery:
		return
	case !w.watch.calls && !slices.ContainsFunc(w.memory.Acts, unjudged):
		return
	}
	w.decided, w.watch.changed = w.now, false
	k := w.known()
	var findings []decide.Finding
	k.Memory, findings = k.Memory.Forget(w.Wanted.Decisions, w.now).Judge(k, w.now)
	k.Memory.Acts = forget(k.Memory.Acts)
	w.memory = k.Memory
	for _, f := range findings {
		if f.Verdict == decide.HelpedNo {
			w.result.Useless++
		}
	}
	if !w.watch.calls {
		return
	}
	moved := false
	for _, d := range w.policy(k, w.now) {
		if d.Outcome == otto.OutcomeDo && d.Action == otto.ActionMigrate {
			w.move(d)
			moved = true
		}
	}
	if moved {
		w.watch.follow(w)
		w.watch.changed = true // there may be more to do
	}
}

// forget drops the oldest acts of which it is known what came of them, if there are
// too many.
func forget(acts []decide.Act) []decide.Act {
	surplus := len(acts) - maxActs
	if surplus <= 0 {
		return acts
	}
	return slices.DeleteFunc(slices.Clone(acts), func(a decide.Act) bool {
		if a.Verdict == "" || surplus == 0 {
			return false
		}
		surplus--
		return true
	})
}

// move begins a move that was decided.
func (w *World) move(d otto.Decision) {
	i, to := w.byName[d.Instance], w.byID[d.To]
	settings := w.Wanted.Decisions.WithDefaults()
	w.result.Moves++
	if last, ok := w.last[i.of.Name]; ok && w.now.Sub(last) < settings.Cooldown {
		w.result.Hasty++
	}
	if left, ok := w.left[i.name][to.id]; ok && w.now.Sub(left) < settings.ReturnAfter {
		w.result.Returns++
	}
	acts := decide.ActsOf(w.index, d, w.now, "")
	w.memory = w.memory.Begin(acts...)
	for _, a := range acts {
		i := w.byName[a.Instance]
		w.last[i.of.Name] = w.now
		w.placement[i.name] = to.id
		w.start(i, to)
		i.moving, i.away = true, 0
		if !decide.StartsFirst(*i.of) {
			i.at, i.away = nil, i.arrives-i.began
		}
	}
}

// planned are the nodes as placement sees them.
func (w *World) planned() []plan.Node {
	list := make([]plan.Node, 0, len(w.nodes))
	for k, n := range w.nodes {
		p := plan.Node{ID: n.id, Memory: n.Memory, Stable: true, Machine: scheduler.Machine{
			Labels: w.Wanted.Nodes[k].Labels, Cores: n.Machine.Cores, CPU: n.cpu, MemoryUse: n.mem, Images: n.images,
		}}
		if len(n.samples) > 0 {
			p.Temperature = n.samples[len(n.samples)-1].Temperature
		}
		if n.lost {
			p.Refuse, p.Gone = "is lost", "is lost"
		}
		list = append(list, p)
	}
	return list
}

// known is what decisions depend on.
func (w *World) known() decide.Known {
	if !w.index.IsOf(w.Wanted) {
		w.index = plan.NewIndex(w.Wanted, w.index)
	}
	k := decide.Known{Wanted: w.Wanted, Placement: w.placement, Uses: map[string]decide.Use{}, Busy: map[string]string{}, Memory: w.memory, Verdicts: w.watch.verdicts(), Index: w.index}
	for n, p := range w.planned() {
		k.Nodes = append(k.Nodes, decide.Node{Node: p, Readings: w.nodes[n].readings(), Ready: !w.nodes[n].lost, Since: w.nodes[n].since})
	}
	for _, i := range w.instances {
		switch {
		case i.going != nil:
			k.Busy[i.name] = "it is being started"
		case i.at == nil:
			k.Busy[i.name] = "it does not run"
		default:
			k.Uses[i.name] = decide.Use{Cores: i.cores, Most: i.load.Mean + i.load.Dev(), Memory: i.Memory.At(w.at)}
		}
	}
	return k
}

// readings are the lowest and highest of the last samples.
func (n *node) readings() map[string]decide.Range {
	list := make(map[string]decide.Range, len(measured()))
	for _, m := range measured() {
		for _, s := range n.samples {
			value, ok := m.FromNode(s)
			if !ok {
				continue
			}
			r, known := list[m.Name]
			if !known {
				r = decide.Range{Low: value, High: value}
			}
			list[m.Name] = decide.Range{Low: min(r.Low, value), High: max(r.High, value)}
		}
	}
	return list
}
