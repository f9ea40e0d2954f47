package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/nfr"
	"github.com/otto-edge/otto/control/notify"
	"github.com/otto-edge/otto/wire"
)

// requirements is what is measured and judged because some requirement asks for it.
type requirements struct {
	revision  uint64 // of what is wanted, when this was made
	placement map[string]string
	all       []*judged
	onNode    map[string][]*judged
	groups    map[owner]*group
	feeds     map[feedKey]*feed
	feedsOf   map[subject][]*feed
	topics    map[string]topic // that have been subscribed to, once and for good
	peers     []otto.Peer      // to which nodes measure the round-trip time
	watches   map[string][]otto.Watch
	evaluated time.Time            // all of them
	kept      map[string]time.Time // violations that stand, as they are in the store
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
	otto.Metric
	*nfr.Series
	share otto.Share
	path  []otto.Step // of a topic's messages
	count restarts
	kills oomKills
	fed   time.Time
}

func (f *feed) add(value float64, now time.Time) {
	f.Add(value, now)
	f.fed = now
}

// judged is a requirement of one instance or node.
type judged struct {
	otto.Requirement
	service, instance, node string
	id                      string // what it is known by through changes of other requirements
	feed                    *feed
	group                   *group
	verdict                 otto.Verdict
}

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
	w := p.desired.Wanted
	placement := map[string]string(p.desired.Placement)
	if q.feeds != nil && q.revision == w.Revision && maps.Equal(q.placement, placement) {
		return
	}
	former := map[string]*judged{}
	for _, j := range q.all {
		former[j.id] = j
	}
	feeds := q.feeds
	q.revision, q.placement, q.all = w.Revision, maps.Clone(placement), nil
	q.feeds, q.feedsOf = map[feedKey]*feed{}, map[subject][]*feed{}
	q.groups, q.onNode = map[owner]*group{}, map[string][]*judged{}
	there := map[string]bool{}
	add := func(j *judged, share otto.Share, every time.Duration) {
		j.id = j.identify()
		if there[j.id] { // of all services as well as of this one
			return
		}
		there[j.id] = true
		if was := former[j.id]; was != nil {
			j.verdict = was.verdict
		} else {
			j.verdict.Service, j.verdict.Instance, j.verdict.Node = j.service, j.instance, j.node
			j.verdict.Violated = q.kept[j.id] // only after a start: what is dropped is not kept
		}
		j.feed = q.feed(feeds, j, share, every)
		j.group = q.group(j)
		q.all, q.onNode[j.node] = append(q.all, j), append(q.onNode[j.node], j)
	}
	if !w.Stopped {
		for _, n := range w.Nodes {
			for _, r := range w.RequirementsOn(n) {
				add(&judged{Requirement: r, node: n.ID}, otto.Share{}, w.IntervalOf())
			}
		}
		for _, s := range w.Services {
			list := w.RequirementsOf(s)
			for _, name := range w.InstanceNames(s) {
				node := p.nodes[placement[name]]
				if node == nil {
					continue
				}
				for _, r := range list {
					add(&judged{Requirement: r, service: s.Name, instance: name, node: node.ID}, share(s, r), sampledEvery(w, s, r))
				}
			}
		}
	}
	for id := range q.kept {
		if !there[id] {
			p.dropped(id)
		}
	}
	p.keepStanding()
	p.listen()
	q.peers, q.watches = p.peersOf(w), p.watchesOf(q.all)
	p.lookout.Set(p.ctx, q.watches[otto.FromControl])
	q.evaluated = time.Time{}
}

// peersOf are the nodes to which round-trip times are required. To our own machine,
// which has no SSH server for us, the address of our broker leads.
func (p *Plane) peersOf(w otto.Wanted) (list []otto.Peer) {
	for _, id := range w.Peers() {
		k := slices.IndexFunc(w.Nodes, func(n otto.Node) bool { return n.ID == id })
		if k < 0 {
			continue
		}
		address := p.Reach.Address(w.Nodes[k])
		if address != "" || w.Nodes[k].IsLocal() && p.Broker.Ours {
			list = append(list, otto.Peer{Node: id, Address: address})
		}
	}
	return list
}

// group finds or makes the group of a requirement, and puts it in.
func (q *requirements) group(j *judged) *group {
	of := owner{service: j.service}
	if j.service == "" {
		of.node = j.node
	}
	g := q.groups[of]
	if g == nil {
		g = &group{}
		q.groups[of] = g
	}
	g.judged = append(g.judged, j)
	return g
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

// feed finds or makes the series that a requirement is judged by.
func (q *requirements) feed(former map[feedKey]*feed, j *judged, share otto.Share, every time.Duration) *feed {
	m, _ := otto.FindMetric(j.Metric)
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
	if m.Name == otto.MetricHeartbeat || m.Name == otto.MetricRestarts || m.Name == otto.MetricOOMKills {
		every = evaluateEvery
	}
	key.every = every
	if f := q.feeds[key]; f != nil {
		return f
	}
	f := former[key]
	if f == nil {
		f = &feed{Metric: m, Series: nfr.NewSeries(j.Over, every, counter), path: path}
	}
	f.share = share
	q.feeds[key] = f
	q.feedsOf[key.subject] = append(q.feedsOf[key.subject], f)
	return f
}

// measureNode takes in a sample of a node.
func (p *Plane) measureNode(n *node, s otto.NodeSample, now time.Time) {
	p.measureWatched(n.ID, s.Watched, now)
	for _, f := range p.required.feedsOf[subject{node: n.ID}] {
		switch {
		case f.Name == otto.MetricClock:
			f.add(n.skewed.Abs().Seconds(), now)
		case f.FromNode != nil:
			if value, ok := f.FromNode(s); ok {
				f.add(value, now)
			}
		}
	}
}

// measureContainers takes in samples of a node's containers, which have the names
// of their instances.
func (p *Plane) measureContainers(n *node, list []otto.ContainerSample, now time.Time) {
	if len(p.required.all) == 0 {
		return
	}
	for i := range list {
		s := &list[i]
		for _, f := range p.required.feedsOf[subject{node: n.ID, instance: s.Name}] {
			if f.Probe && f.From == "" {
				f.probed(s.Probes, now)
			}
			if f.FromContainer == nil {
				continue
			}
			share := f.share
			share.Cores = cmp.Or(share.Cores, float64(n.facts.CPUs))
			if value, ok := f.FromContainer(*s, share); ok {
				f.add(value, now)
			}
		}
	}
	for _, j := range p.required.onNode[n.ID] {
		if j.feed.Name == otto.MetricAvailability && !n.runs(j.instance) {
			j.feed.add(0, now)
		}
	}
	p.evaluateThose(p.required.onNode[n.ID], now) // here, so that all of them together are not much
}

// probed takes in how probes went.
func (f *feed) probed(list []otto.Probed, now time.Time) {
	if len(list) == 0 {
		return
	}
	for _, probe := range list {
		switch at := now.Add(-probe.Ago); {
		case f.Availability() && probe.Failed:
			f.add(0, at)
		case f.Availability():
			f.add(100, at)
		case !probe.Failed:
			f.add(probe.Took.Seconds(), at)
		}
	}
	f.fed = now // it is new, however long ago it was
}

// runs reports whether the node says that an instance runs, well or not; who is
// not known to be down may run.
func (n *node) runs(instance string) bool {
	if n.report == nil {
		return true
	}
	for _, s := range n.report.Instances {
		if s.Name == instance {
			switch s.State {
			case otto.InstanceWaiting, otto.InstancePulling, otto.InstanceFailed:
				return false
			case otto.InstanceStarting:
				return s.Health != ""
			}
		}
	}
	return true
}

// measureSelf takes in what needs no sample: how long nodes are silent, and how
// often containers were started again, or lost a process for want of memory.
func (p *Plane) measureSelf(now time.Time) {
	p.measureWatched(otto.FromControl, p.lookout.Take(now), now)
	for key, f := range p.required.feeds {
		if f.Name != otto.MetricHeartbeat && f.Name != otto.MetricRestarts && f.Name != otto.MetricOOMKills {
			continue
		}
		n := p.nodes[key.node]
		if n == nil || n.heard.IsZero() || p.watching.IsZero() || p.doubts != "" {
			continue
		}
		switch f.Name {
		case otto.MetricHeartbeat:
			f.add(now.Sub(latest(n.heard, p.watching)).Seconds(), now)
		default:
			if n.report == nil || n.state != otto.NodeReady && n.state != otto.NodeDraining {
				continue
			}
			if i := slices.IndexFunc(n.report.Instances, func(s otto.InstanceStatus) bool { return s.Name == key.instance }); i >= 0 {
				f.add(f.counted(n.report.BootID, n.report.Instances[i]), now)
			}
		}
	}
}

// evaluate judges everything that is due, once a second.
func (p *Plane) evaluate(now time.Time) {
	q := &p.required
	if now.Sub(q.evaluated) < evaluateEvery {
		return
	}
	q.evaluated = now
	p.measureSelf(now)
	p.evaluateThose(q.all, now)
}

// evaluateThose judges what is due of a list, and tells what has changed.
func (p *Plane) evaluateThose(list []*judged, now time.Time) {
	if p.deciding() != nil {
		return
	}
	var changed []*judged
	for _, j := range list {
		if !j.due(now) {
			continue
		}
		was, standing := j.verdict.State, j.verdict.Standing()
		j.verdict = nfr.Evaluate(j.Requirement, j.feed.Series, now, j.verdict)
		j.group.stale = true
		if j.verdict.State != was {
			p.dirty, p.decisions.changed = true, true
		}
		if j.verdict.Standing() != standing {
			changed = append(changed, j)
		}
	}
	if len(changed) > 0 {
		p.keepStanding()
	}
	for _, j := range changed {
		p.tellVerdict(j)
	}
}

// readable is a verdict as readers get it: in UTC, as all times.
func readable(v otto.Verdict) otto.Verdict {
	v.Since, v.Evaluated = v.Since.UTC(), v.Evaluated.UTC()
	if v.Standing() {
		v.Violated = v.Violated.UTC()
	}
	return v
}

// tellVerdict tells that a violation has begun or ended.
func (p *Plane) tellVerdict(j *judged) {
	v := j.verdict
	kind, message := "requirement-violated", fmt.Sprintf("%s (required: %s)", v.Reason, j.Requirement)
	if !v.Standing() {
		kind, message = "requirement-met", fmt.Sprintf("%s is %s again (required: %s)", j.Metric, j.Unit.Show(*v.Value), j.Requirement)
	}
	p.event(kind, j.node, j.service, message)
	if j.Action != otto.ActionNotify && j.Notify == nil {
		return
	}
	v = readable(v)
	v.Requirement.Notify = nil // an address may hold a secret
	b, err := wire.Encode(v)
	if err != nil {
		p.Log.Error("verdict not sent", "err", err)
		return
	}
	_ = p.publish(wire.RequirementTopic(j.service, j.node), 1, false, b)
	if j.Notify != nil {
		p.notify(*j.Notify, b, j.service, j.node)
	}
}

// maxNotices are sent at a time; more are dropped, and said to be.
const maxNotices = 8

func (p *Plane) notify(to otto.Notify, verdict []byte, service, node string) {
	select {
	case p.notices <- struct{}{}:
	default:
		p.event("notify-failed", node, service, fmt.Sprintf("nobody was notified: %d others are being notified already", maxNotices))
		return
	}
	p.background.Go(func() {
		defer func() { <-p.notices }()
		if err := notify.Send(p.ctx, to, verdict); err != nil {
			p.tell(p.ctx, func() { p.event("notify-failed", node, service, err.Error()) })
		}
	})
}
