package history

import (
	"cmp"
	"math"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

const (
	// maxSeries bounds the memory for the present minute, to some 15 MB; what is above it
	// is dropped.
	maxSeries = 50_000
	// maxStates is how many different states are told apart in a minute.
	maxStates = 32
	// maxName is how long the name of a series may be, in bytes.
	maxName = 300
	// trusted is how old what is known may be to be what is so now.
	trusted = 10 * time.Second
	// longest is the longest time between two readings of a counter of which a rate is made.
	longest = 5 * time.Minute
)

// minute is what was measured in the present minute.
type minute struct {
	span
	numbers map[subject]map[key]*line
	marks   map[subject]map[key]*marks
	states  []string // by their bits in marks
	size    int      // of numbers and marks
}

// line are the numbers of each second.
type line struct {
	values [60]float32
	known  uint64
}

// marks are the states of each second, one bit for each.
type marks [60]uint32

func newMinute(at int64) *minute {
	return &minute{
		span:    minuteAt(at),
		numbers: map[subject]map[key]*line{},
		marks:   map[subject]map[key]*marks{},
	}
}

// add notes a number, and reports whether there was room.
func (m *minute) add(of subject, k key, at int64, value float64) bool {
	if math.IsNaN(value) || math.Abs(value) > math.MaxFloat32/2 || len(k.name) > maxName {
		return false
	}
	l := m.numbers[of][k]
	if l == nil {
		if m.size++; m.size > maxSeries {
			return false
		}
		if m.numbers[of] == nil {
			m.numbers[of] = map[key]*line{}
		}
		l = new(line)
		m.numbers[of][k] = l
	}
	second := at - m.start
	l.values[second], l.known = float32(value), l.known|1<<second
	return true
}

// mark notes a state, likewise.
func (m *minute) mark(of subject, k key, at int64, state string) bool {
	bit := -1
	for i, s := range m.states {
		if s == state {
			bit = i
		}
	}
	if bit < 0 {
		if bit = len(m.states); bit == maxStates || len(state) > maxName || len(k.name) > maxName {
			return false
		}
		m.states = append(m.states, state)
	}
	t := m.marks[of][k]
	if t == nil {
		if m.size++; m.size > maxSeries {
			return false
		}
		if m.marks[of] == nil {
			m.marks[of] = map[key]*marks{}
		}
		t = new(marks)
		m.marks[of][k] = t
	}
	t[at-m.start] |= 1 << bit
	return true
}

// chunks are what there is of each subject.
func (m *minute) chunks() map[subject]chunk {
	list := map[subject]chunk{}
	for of := range m.numbers {
		list[of] = m.chunk(of)
	}
	for of := range m.marks {
		if _, done := list[of]; !done {
			list[of] = m.chunk(of)
		}
	}
	return list
}

func (m *minute) chunk(of subject) (c chunk) {
	for k, l := range m.numbers[of] {
		s := series{key: k}
		for at, v := range l.values {
			if l.known>>at&1 == 1 {
				s.slots = append(s.slots, slot{at, v, v, v})
			}
		}
		c.series = append(c.series, s)
	}
	for k, t := range m.marks[of] {
		tr := track{key: k}
		for at, mask := range t {
			var states []share
			for bit, state := range m.states {
				if mask>>bit&1 == 1 {
					states = append(states, share{state, 1})
				}
			}
			if states != nil {
				tr.slots = append(tr.slots, held{at, states})
			}
		}
		c.tracks = append(c.tracks, tr)
	}
	c.sort()
	return c
}

// former is what was last read of a node or an instance.
type former struct {
	node      *otto.NodeSample
	container *otto.ContainerSample
	state     string
	at        time.Time
}

// collector makes numbers and states of what is known.
type collector struct {
	minute  *minute
	former  map[subject]map[string]former // by instance
	dropped uint64
	// What samples have.
	ofNodes, ofContainers []otto.Metric
}

func newCollector() collector {
	c := collector{former: map[subject]map[string]former{}}
	for _, m := range otto.Metrics() {
		if m.FromNode != nil {
			c.ofNodes = append(c.ofNodes, m)
		}
		if m.FromContainer != nil {
			c.ofContainers = append(c.ofContainers, m)
		}
	}
	return c
}

// take notes what is new in a view.
func (c *collector) take(v *otto.Cluster, now time.Time) {
	at := now.Unix()
	cores := make(map[string]float64, len(v.Nodes))
	for i := range v.Nodes {
		n := &v.Nodes[i]
		cores[n.ID] = float64(n.Facts.CPUs)
		c.node(n, now)
	}
	for i := range v.Services {
		s := &v.Services[i]
		of := subject{service: s.Name}
		state := serviceState(v, s)
		if c.turned(of, "", state, now) {
			c.mark(of, key{}, at, state)
		}
		for j := range s.Instances {
			inst := &s.Instances[j]
			if state := string(inst.State); c.turned(of, inst.Name, state, now) && known(v, inst) {
				c.mark(of, key{instance: inst.Name}, at, state)
			}
			c.container(s, inst, cores[inst.Node], now)
		}
	}
}

// second notes which states a second was spent in, and by what requirements were judged.
func (c *collector) second(v *otto.Cluster, now time.Time) {
	at := now.Unix()
	for i := range v.Nodes {
		n := &v.Nodes[i]
		of := subject{node: n.ID}
		if n.State != otto.NodeJoining || !n.LastSeen.IsZero() {
			c.mark(of, key{}, at, string(n.State))
		}
		c.verdicts(of, n.Verdicts, at)
	}
	for i := range v.Services {
		s := &v.Services[i]
		of := subject{service: s.Name}
		c.mark(of, key{}, at, serviceState(v, s))
		for j := range s.Instances {
			if inst := &s.Instances[j]; known(v, inst) {
				c.mark(of, key{instance: inst.Name}, at, string(inst.State))
			}
		}
		c.verdicts(of, s.Verdicts, at)
	}
}

func (c *collector) verdicts(of subject, list []otto.Verdict, at int64) {
	for i := range list {
		v := &list[i]
		k := key{instance: v.Instance, name: v.Requirement.String()}
		c.mark(of, k, at, string(v.State))
		if v.Value != nil && v.State != otto.RequirementUnknown {
			k.unit = string(v.Requirement.Unit)
			c.add(of, k, at, *v.Value)
		}
	}
}

func (c *collector) add(of subject, k key, at int64, value float64) {
	if !c.minute.add(of, k, at, value) {
		c.dropped++
	}
}

func (c *collector) mark(of subject, k key, at int64, state string) {
	if state != "" && !c.minute.mark(of, k, at, state) {
		c.dropped++
	}
}

// turned notes the state of something and reports whether it was another one before.
func (c *collector) turned(of subject, instance, state string, now time.Time) bool {
	f := c.former[of][instance]
	if f.state == state {
		return false
	}
	f.state = state
	if f.at.IsZero() {
		f.at = now
	}
	c.note(of, instance, f)
	return true
}

func (c *collector) note(of subject, instance string, f former) {
	if c.former[of] == nil {
		c.former[of] = map[string]former{}
	}
	c.former[of][instance] = f
}

// forget drops what is not in a view, so that names that come and go take no memory.
func (c *collector) forget(v *otto.Cluster) {
	there := make(map[subject]map[string]bool, len(c.former))
	for i := range v.Nodes {
		there[subject{node: v.Nodes[i].ID}] = map[string]bool{"": true}
	}
	for i := range v.Services {
		list := map[string]bool{"": true}
		for j := range v.Services[i].Instances {
			list[v.Services[i].Instances[j].Name] = true
		}
		there[subject{service: v.Services[i].Name}] = list
	}
	for of, list := range c.former {
		for instance := range list {
			if !there[of][instance] {
				delete(list, instance)
			}
		}
		if len(list) == 0 {
			delete(c.former, of)
		}
	}
}

// node notes a sample that was not there before.
func (c *collector) node(n *otto.NodeStatus, now time.Time) {
	of := subject{node: n.ID}
	if state := string(n.State); c.turned(of, "", state, now) && (n.State != otto.NodeJoining || !n.LastSeen.IsZero()) {
		c.mark(of, key{}, now.Unix(), state)
	}
	was := c.former[of][""]
	if n.Sample == nil || n.Sample == was.node {
		return
	}
	c.note(of, "", former{node: n.Sample, state: was.state, at: now})
	if now.Sub(n.SampleReceived) > trusted { // it is what was known when this process took it up
		return
	}
	for _, m := range c.ofNodes {
		value, ok := m.FromNode(*n.Sample)
		if ok && m.Counter {
			if ok = was.node != nil; ok {
				before, _ := m.FromNode(*was.node)
				value, ok = rate(before, value, now.Sub(was.at))
			}
		}
		if ok {
			c.add(of, key{name: m.Name, unit: unit(m)}, now.Unix(), value)
		}
	}
	skew := math.Abs(n.SampleReceived.Sub(n.Sample.Time).Seconds())
	c.add(of, key{name: otto.MetricClock, unit: string(otto.UnitSeconds)}, now.Unix(), skew)
	for to, took := range n.Sample.RTT {
		c.add(of, key{name: otto.RTTPrefix + to, unit: string(otto.UnitSeconds)}, now.Unix(), took)
	}
}

// container notes a sample of an instance, likewise.
func (c *collector) container(s *otto.ServiceStatus, inst *otto.PlacedInstance, cores float64, now time.Time) {
	of := subject{service: s.Name}
	was := c.former[of][inst.Name]
	if inst.Sample == nil || inst.Sample == was.container {
		return
	}
	c.note(of, inst.Name, former{container: inst.Sample, state: was.state, at: now})
	same := was.container != nil && was.container.ID == inst.Sample.ID
	limits := s.Spec.Resources
	share := otto.Share{Cores: cmp.Or(limits.CPU, cores), Memory: uint64(max(limits.MemoryBytes, 0))}
	for _, m := range c.ofContainers {
		value, ok := m.FromContainer(*inst.Sample, share)
		if ok && m.Counter {
			if ok = same; ok {
				before, _ := m.FromContainer(*was.container, share)
				value, ok = rate(before, value, now.Sub(was.at))
			}
		}
		if ok {
			c.add(of, key{inst.Name, m.Name, unit(m)}, now.Unix(), value)
		}
	}
	c.probes(of, inst, now)
}

func (c *collector) probes(of subject, inst *otto.PlacedInstance, now time.Time) {
	var took time.Duration
	passed := 0
	for _, p := range inst.Sample.Probes {
		if !p.Failed {
			passed++
			took += p.Took
		}
	}
	if passed > 0 {
		mean := took.Seconds() / float64(passed)
		c.add(of, key{inst.Name, otto.MetricLatency, string(otto.UnitSeconds)}, now.Unix(), mean)
	}
	if all := len(inst.Sample.Probes); all > 0 {
		share := 100 * float64(passed) / float64(all)
		c.add(of, key{inst.Name, otto.MetricAvailability, string(otto.UnitPercent)}, now.Unix(), share)
	}
}

// rate is how fast a counter has risen, for each second. One that has begun anew has no rate.
func rate(before, now float64, after time.Duration) (float64, bool) {
	if now < before || after <= 0 || after > longest {
		return 0, false
	}
	return (now - before) / after.Seconds(), true
}

// unit is what the values of a metric are kept in.
func unit(m otto.Metric) string {
	if m.Counter {
		return string(m.Unit) + "/s"
	}
	return string(m.Unit)
}

// known reports whether anything is known of an instance: its node need not have been heard
// since the control plane started.
func known(v *otto.Cluster, i *otto.PlacedInstance) bool {
	if i.State != otto.InstanceUnknown {
		return true
	}
	for k := range v.Nodes {
		if v.Nodes[k].ID == i.Node {
			return v.Nodes[k].State != otto.NodeJoining
		}
	}
	return true
}

// serviceState sums up the instances of a service; it is empty where nothing is known of any.
func serviceState(v *otto.Cluster, s *otto.ServiceStatus) string {
	if v.Stopped {
		return otto.ServiceStopped
	}
	var up, down, unknown, stopped int
	for i := range s.Instances {
		inst := &s.Instances[i]
		switch inst.State {
		case otto.InstanceRunning, otto.InstanceCompleted:
			up++
		case otto.InstanceUnknown:
			if known(v, inst) {
				unknown++
			}
		case otto.InstanceStopped:
			stopped++
		default:
			down++
		}
	}
	switch all := up + down + unknown + stopped; {
	case all == 0:
		return ""
	case up == all:
		return otto.ServiceUp
	case up > 0:
		return otto.ServicePartly
	case unknown > 0:
		return otto.ServiceUnknown
	case stopped == all:
		return otto.ServiceStopped
	}
	return otto.ServiceDown
}

// sort makes the same chunk of the same content.
func (c chunk) sort() {
	byKey := func(a, b key) int {
		return cmp.Or(strings.Compare(a.instance, b.instance), strings.Compare(a.name, b.name),
			strings.Compare(a.unit, b.unit))
	}
	sortBy(c.series, func(a, b series) int { return byKey(a.key, b.key) })
	sortBy(c.tracks, func(a, b track) int { return byKey(a.key, b.key) })
}
