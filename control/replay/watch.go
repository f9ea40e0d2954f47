package replay

import (
	"slices"
	"sync"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/nfr"
)

// measured are the metrics that there are in the world. Requirements on others are
// not judged.
var measured = sync.OnceValue(func() []otto.Metric { //nolint:gochecknoglobals // a table that never changes
	there := []string{"node.cpu", "node.memory", "node.memory.available", "node.temperature"}
	return slices.DeleteFunc(otto.NodeMetrics(), func(m otto.Metric) bool { return !slices.Contains(there, m.Name) })
})

// judges reports whether requirements on a metric are judged.
func judges(metric string) bool {
	return slices.ContainsFunc(measured(), func(m otto.Metric) bool { return m.Name == metric })
}

// watch judges requirements, as the control plane does.
type watch struct {
	feeds   []*feed
	byKey   map[feedKey]*feed
	judged  []*judged
	calls   bool // a violation calls for an action
	changed bool // a verdict has, since the last decision
	all     bool // judge all each time, to see that it makes no difference
}

type feedKey struct {
	node   *node
	metric string
	over   time.Duration
}

// feed is what is measured for requirements of the same window.
type feed struct {
	otto.Metric
	*nfr.Series
	node  *node
	value float64
	known bool
}

// judged is a requirement of an instance or a node.
type judged struct {
	otto.Requirement
	instance *instance // nil for a requirement of the node
	feed     *feed
	verdict  otto.Verdict
	bad      time.Duration // when its value was last on the bad side
}

// follow makes what is judged follow the placement. What stays keeps its verdict.
func (q *watch) follow(w *World) {
	type key struct {
		instance *instance
		node     *node
		text     string
	}
	former := map[key]*judged{}
	for _, j := range q.judged {
		former[key{j.instance, j.feed.node, j.Requirement.String()}] = j
	}
	q.judged = q.judged[:0:0]
	add := func(r otto.Requirement, i *instance, n *node) {
		m, _ := otto.FindMetric(r.Metric)
		if n == nil || !judges(r.Metric) {
			return
		}
		j := former[key{i, n, r.String()}]
		if j == nil {
			j = &judged{Requirement: r, instance: i, feed: q.feed(w, m, r, n), bad: w.at}
			j.verdict.Node = n.id
			if i != nil {
				j.verdict.Service, j.verdict.Instance = i.of.Name, i.name
			}
		}
		q.judged = append(q.judged, j)
	}
	for k, n := range w.nodes {
		for _, r := range w.Wanted.RequirementsOn(w.Wanted.Nodes[k]) {
			add(r, nil, n)
		}
	}
	for _, i := range w.instances {
		for _, r := range w.Wanted.RequirementsOf(*i.of) {
			add(r, i, w.byID[w.placement[i.name]])
		}
	}
}

func (q *watch) feed(w *World, m otto.Metric, r otto.Requirement, n *node) *feed {
	key := feedKey{n, r.Metric, r.Over}
	if f := q.byKey[key]; f != nil {
		return f
	}
	if q.byKey == nil {
		q.byKey = map[feedKey]*feed{}
	}
	f := &feed{Metric: m, Series: nfr.NewSeries(r.Over, w.interval, m.Counter), node: n}
	q.byKey[key], q.feeds = f, append(q.feeds, f)
	return f
}

// judge takes in the last samples and judges what they can have changed: a kept
// requirement stays kept while all of its window is on the good side.
func (q *watch) judge(w *World) {
	for _, f := range q.feeds {
		f.known = false
		if n := f.node; !n.lost {
			if f.value, f.known = f.FromNode(n.samples[len(n.samples)-1]); f.known {
				f.Add(f.value, w.now)
			}
		}
	}
	q.calls = false
	for _, j := range q.judged {
		if j.feed.known && !j.Holds(j.feed.value) {
			j.bad = w.at
		}
		over := j.over()
		if over {
			w.result.Over += w.interval
		}
		if !q.all && j.verdict.State == otto.RequirementOK && w.at-j.bad > j.Over+w.interval {
			j.verdict.Evaluated = w.now
			if over {
				w.result.Early += w.interval
			}
			continue
		}
		was := j.verdict.State
		j.verdict = nfr.Evaluate(j.Requirement, j.feed.Series, w.now, j.verdict)
		q.changed = q.changed || j.verdict.State != was && (j.verdict.Acts() || was == otto.RequirementViolated)
		if over && !j.verdict.Standing() {
			w.result.Early += w.interval
		}
		if j.verdict.Acts() {
			w.result.Violated += w.interval
			q.calls = q.calls || j.Action == otto.ActionMigrate
		}
	}
}

// over reports whether the newest sample is beyond the limit where the instance
// runs: on its former node until it has arrived on the other, though it is judged
// there already.
func (j *judged) over() bool {
	n := j.feed.node
	if j.instance != nil {
		n = j.instance.at
	}
	if n == nil || n.lost {
		return false
	}
	value, known := j.feed.FromNode(n.samples[len(n.samples)-1])
	return known && !j.Holds(value)
}

func (q *watch) verdicts() []otto.Verdict {
	list := make([]otto.Verdict, len(q.judged))
	for i, j := range q.judged {
		list[i] = j.verdict
	}
	return list
}
