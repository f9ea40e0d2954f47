package control

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/nfr"
	"github.com/otto-edge/otto/control/plan"
)

// requirements is what is measured and judged because some requirement asks for it.
type requirements struct {
	from      demands
	groups    map[owner]*group
	nodes     map[string]*watch
	feedsOf   map[subject][]*feed
	self      map[feedKey]*feed // that no sample is needed for
	topics    map[string]topic  // that have been subscribed to, once and for good
	metrics   map[string]*otto.Metric
	remote    map[*judged]bool // that are probed from another machine
	peers     []otto.Peer      // to which nodes measure the round-trip time
	watches   map[string][]otto.Watch
	evaluated time.Time            // all of them
	lasted    time.Time            // when the first of those that are over their limit will have been for long enough; zero without any
	kept      map[string]time.Time // violations that stand, as they are in the store
}

// demands is what the requirements follow from, and nothing else.
type demands struct {
	index     *plan.Index
	placement plan.Placement
	nodes     []string // that are known
	wanted    otto.Wanted
}

// owner is whose requirements a group is: a service's or a node's.
type owner struct{ service, node string }

// group are the requirements of one service or node, with its verdicts as readers
// get them: a slice that is never changed, only made anew.
type group struct {
	judged   []*judged
	verdicts []otto.Verdict
	stale    bool // the verdicts are
}

// watch are the requirements that are judged on one node, its own and those of what
// is there.
type watch struct {
	judged []*judged
	quiet  time.Time // none of them is due before, unless something is measured; zero if any may be
	bad    bool      // one of them is not simply kept, or it is not known yet
}

// subject is what is measured: a node, an instance on a node, or a topic.
type subject struct{ node, instance, topic string }

// feedKey tells series apart: of one metric there is one for each window.
type feedKey struct {
	subject
	metric      string
	over, every time.Duration
	counter     bool
	reserve     bool // it is a share of what is reserved
}

// feed is a series with what its samples are read by.
type feed struct {
	*otto.Metric
	*nfr.Series
	key    feedKey
	users  []*judged // by it
	share  otto.Share
	path   []otto.Step // of a topic's messages
	fed    time.Time
	counts *counts // of what the control plane counts itself
}

func (f *feed) add(value float64, now time.Time) {
	f.Add(value, now)
	f.fed = now
}

// judged is a requirement of one instance or node.
type judged struct {
	*otto.Requirement       // of all instances of its service
	service, instance, node string
	feed                    *feed
	group                   *group
	verdict                 otto.Verdict
	gone                    bool // it is on its way out
}

// label is what a requirement of an instance or node is known by through changes
// of others: all of it but where it stands and who is told.
type label struct {
	otto.Requirement
	instance, node string
}

func (j *judged) label() label {
	id := label{*j.Requirement, j.instance, j.node}
	id.At, id.Notify = "", nil
	return id
}

// identify is what a violation is known by in the store.
func (j *judged) identify() string {
	return strings.Join([]string{j.service, j.instance, j.node, j.Requirement.String(), j.Severity}, "\x00")
}

// due reports whether judging anew could change more than the time of the verdict.
func (j *judged) due(now time.Time) bool {
	return j.verdict.State != otto.RequirementOK || j.feed.fed.After(j.verdict.Evaluated) || j.feed.Missing(now)
}

// evaluateEvery is how often requirements are judged.
const evaluateEvery = time.Second

// require makes the lists of what is measured and judged follow what is wanted
// and where it runs. What stays keeps its samples and its verdict.
func (p *Plane) require() {
	q := &p.required
	is := demands{p.index(), p.desired.Placement, p.ids(), p.desired.Wanted}
	owners := is.since(q.from, q.groups)
	first := q.from.index == nil
	q.from = is
	if first {
		q.groups, q.nodes = map[owner]*group{}, map[string]*watch{}
		q.feedsOf, q.self, q.remote = map[subject][]*feed{}, map[feedKey]*feed{}, map[*judged]bool{}
	}
	if len(owners) == 0 {
		return
	}
	touched := map[string]bool{}
	for _, of := range owners {
		p.regroup(of, touched)
	}
	for id := range touched {
		w := q.nodes[id]
		w.quiet, w.bad, w.judged = time.Time{}, true, slices.DeleteFunc(w.judged, func(j *judged) bool { return j.gone })
		if len(w.judged) == 0 {
			delete(q.nodes, id)
		}
	}
	if first {
		p.dropUnknown()
	}
	p.keepStanding()
	p.listen()
	q.peers, q.watches = p.peersOf(is.wanted), p.watchesOf()
	p.lookout.Set(p.ctx, q.watches[otto.FromControl])
	q.evaluated = time.Time{}
}

// dropUnknown says, after a start, which violations that stood are not watched any
// more. Later each is noticed as it goes.
func (p *Plane) dropUnknown() {
	if len(p.required.kept) == 0 {
		return
	}
	there := map[string]bool{}
	for _, w := range p.required.nodes {
		for _, j := range w.judged {
			there[j.identify()] = true
		}
	}
	for id := range p.required.kept {
		if !there[id] {
			p.dropped(id)
		}
	}
}

// peersOf are the nodes to which round-trip times are required. To our own machine,
// which has no SSH server for us, the address of our broker leads.
func (p *Plane) peersOf(w otto.Wanted) (list []otto.Peer) {
	for _, id := range w.Peers() {
		n := p.index().Node(id)
		if n == nil {
			continue
		}
		address := p.Reach.Address(*n)
		if address != "" || n.IsLocal() && p.Broker.Ours {
			list = append(list, otto.Peer{Node: id, Address: address})
		}
	}
	return list
}

// since are the owners whose requirements may have changed, in a fixed order.
func (d demands) since(was demands, have map[owner]*group) (list []owner) {
	w, before := d.wanted, was.wanted
	if was.index == nil || w.Stopped != before.Stopped || w.IntervalOf() != before.IntervalOf() || !slices.Equal(d.nodes, was.nodes) || !d.index.SameForAll(was.index) {
		for i := range w.Nodes {
			list = append(list, owner{node: w.Nodes[i].ID})
		}
		for _, s := range d.index.Services {
			list = append(list, owner{service: s.Name})
		}
		return append(list, strangers(have, list)...)
	}
	now, gone := d.index.Since(was.index)
	services := map[string]bool{}
	for _, s := range slices.Concat(now, gone) {
		services[s.Name] = true
	}
	moved := map[string]bool{}
	differ(moved, was.placement, d.placement)
	for instance := range moved {
		if s, ok := d.index.Owner(instance); ok {
			services[s.Name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		list = append(list, owner{service: name})
	}
	return list
}

// strangers are the owners that have requirements and are not in a list.
func strangers(have map[owner]*group, list []owner) (others []owner) {
	listed := make(map[owner]bool, len(list))
	for _, of := range list {
		listed[of] = true
	}
	for of := range have {
		if !listed[of] {
			others = append(others, of)
		}
	}
	slices.SortFunc(others, func(a, b owner) int { return strings.Compare(a.service+"/"+a.node, b.service+"/"+b.node) })
	return others
}

// regroup makes the requirements of one service or node anew, and notes the nodes
// that they were or are on.
func (p *Plane) regroup(of owner, touched map[string]bool) {
	q := &p.required
	was := q.groups[of]
	former := map[label]*judged{}
	if was != nil {
		for _, j := range was.judged {
			former[j.label()], j.gone = j, true
		}
	}
	g := &group{stale: true}
	var fresh []*judged
	for _, w := range p.demanded(of) {
		id := w.label()
		j := former[id]
		switch {
		case j != nil && !j.gone: // of all services as well as of this one
			continue
		case j == nil:
			j = w.judged
			j.verdict.Service, j.verdict.Instance, j.verdict.Node = j.service, j.instance, j.node
			if len(q.kept) > 0 { // only after a start: what is dropped is not kept
				j.verdict.Violated = q.kept[j.identify()]
			}
			former[id], fresh = j, append(fresh, j)
		}
		j.Requirement, j.group, j.gone = w.Requirement, g, false
		q.attach(j, w.share, w.every)
		g.judged = append(g.judged, j)
	}
	for _, j := range fresh {
		if q.nodes[j.node] == nil {
			q.nodes[j.node] = &watch{}
		}
		touched[j.node] = true
		q.nodes[j.node].judged = append(q.nodes[j.node].judged, j)
	}
	if was != nil {
		for _, j := range was.judged {
			if j.gone {
				touched[j.node] = true
				q.detach(j)
				if _, kept := q.kept[j.identify()]; kept {
					p.dropped(j.identify())
				}
			}
		}
	}
	q.groups[of] = g
	if len(g.judged) == 0 {
		delete(q.groups, of)
	}
}

// demand is a requirement with what its samples are read by.
type demand struct {
	*judged
	share otto.Share
	every time.Duration
}

// demanded are the requirements of a service, on all its instances that have a node,
// or of a node.
func (p *Plane) demanded(of owner) (list []demand) {
	w := &p.desired.Wanted
	switch s, wanted := p.index().Service(of.service); {
	case w.Stopped:
	case of.node != "":
		if n := p.index().Node(of.node); n != nil {
			for _, r := range w.RequirementsOn(*n) {
				list = append(list, demand{&judged{Requirement: &r, node: of.node}, otto.Share{}, w.IntervalOf()})
			}
		}
	case wanted && len(s.Required) > 0:
		for _, name := range s.Names {
			node := p.nodes[p.desired.Placement[name]]
			if node == nil {
				continue
			}
			for k := range s.Required {
				r := &s.Required[k]
				list = append(list, demand{&judged{Requirement: r, service: s.Name, instance: name, node: node.ID}, share(s.Service, *r), sampledEvery(*w, s.Service, *r)})
			}
		}
	}
	return list
}

// verdicts are those of a service or a node, as readers get them.
func (q *requirements) verdicts(of owner) []otto.Verdict {
	g := q.groups[of]
	if g == nil {
		return nil
	}
	if g.stale {
		g.verdicts, g.stale = make([]otto.Verdict, len(g.judged)), false
		for i, j := range g.judged {
			g.verdicts[i] = readable(j.verdict)
		}
	}
	return g.verdicts
}

// sampledEvery is the time between two samples of a service. Probes that are not
// answered come as seldom as their timeout has it, and are no missing data.
func sampledEvery(w otto.Wanted, s otto.Service, r otto.Requirement) time.Duration {
	if m, _ := otto.FindMetric(r.Metric); m.Probe && s.Probe != nil {
		p := s.Probe.WithDefaults()
		return max(p.Interval, p.Timeout, w.IntervalOf()) // they come with the samples
	}
	return w.IntervalOf()
}

// share is what a service's own use is measured by. Cores are those of the node
// where it has no limit, which are known later.
func share(s otto.Service, r otto.Requirement) otto.Share {
	if r.OfReserve {
		return otto.Share{Cores: s.Reserve.CPU, Memory: uint64(s.Reserve.MemoryBytes)}
	}
	return otto.Share{Cores: s.Spec.Resources.CPU, Memory: uint64(s.Spec.Resources.MemoryBytes)}
}

// applicationEvery is how often an application is expected to publish a number:
// a silence of three times that is missing data.
const applicationEvery = 20 * time.Second

// metric is the metric of a name, the same one for all.
func (q *requirements) metric(name string) *otto.Metric {
	if q.metrics == nil {
		q.metrics = map[string]*otto.Metric{}
	}
	m := q.metrics[name]
	if m == nil {
		found, _ := otto.FindMetric(name) // it has been read before
		m = &found
		q.metrics[name] = m
	}
	return m
}

// attach gives a requirement the series that it is judged by, which it may have
// already.
func (q *requirements) attach(j *judged, share otto.Share, every time.Duration) {
	m := q.metric(j.Metric)
	counter := j.Aggregate == otto.AggregateRate || j.Aggregate == otto.AggregateCount
	key := feedKey{subject: subject{node: j.node, instance: j.instance}, metric: j.Metric, over: j.Over, counter: counter, reserve: j.OfReserve}
	var path []otto.Step
	switch {
	case m.Node:
		key.instance = ""
	case strings.HasPrefix(j.Metric, otto.MQTTPrefix):
		parsed, _ := otto.ParseMQTTMetric(j.Metric) // it has been read before
		key.subject, path, every = subject{topic: parsed.Topic}, parsed.Path, applicationEvery
	}
	self := m.Name == otto.MetricHeartbeat || m.Name == otto.MetricRestarts || m.Name == otto.MetricOOMKills
	if self {
		every = evaluateEvery
	}
	key.every = every
	if j.feed != nil && j.feed.key == key {
		j.feed.share = share
		return
	}
	q.detach(j)
	var f *feed
	if k := slices.IndexFunc(q.feedsOf[key.subject], func(f *feed) bool { return f.key == key }); k >= 0 {
		f = q.feedsOf[key.subject][k]
	} else {
		f = &feed{Metric: m, Series: nfr.NewSeries(j.Over, every, counter), key: key, path: path}
		q.feedsOf[key.subject] = append(q.feedsOf[key.subject], f)
		if self {
			f.counts, q.self[key] = &counts{}, f
		}
	}
	f.share, j.feed = share, f
	f.users = append(f.users, j)
	if m.From != "" {
		q.remote[j] = true
	}
}

// detach takes a requirement off its series, which ends with the last one.
func (q *requirements) detach(j *judged) {
	f := j.feed
	if f == nil {
		return
	}
	j.feed = nil
	delete(q.remote, j)
	f.users = slices.DeleteFunc(f.users, func(u *judged) bool { return u == j })
	if len(f.users) > 0 {
		return
	}
	delete(q.self, f.key)
	rest := slices.DeleteFunc(slices.Clone(q.feedsOf[f.key.subject]), func(o *feed) bool { return o == f })
	if q.feedsOf[f.key.subject] = rest; len(rest) == 0 {
		delete(q.feedsOf, f.key.subject)
	}
}
