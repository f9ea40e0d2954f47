package config

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// requirement is a requirement with the places of what is checked against the
// service or node that it is of.
type requirement struct {
	otto.Requirement
	kind otto.Metric
	pos
	metricAt, limitAt, overAt, actionAt pos
}

// scope is what requirements stand under.
type scope int

const (
	ofService scope = iota
	ofNode
	ofAll
)

const (
	maxRequirements = 50
	maxFor          = 24 * time.Hour
	maxLimit        = 1e15
)

// requirementsKey is a list of requirements, each in its short form or as a mapping.
func requirementsKey[T any](doc string, of scope, into func(*T) *[]requirement) key[T] {
	long := requirementObject()
	s := listOf(form[written]{schema: oneOf(schema{"type": "string"}, long.schema())}).schema
	return key[T]{doc, s, func(r *reader, v value, t *T) {
		if !r.wants(v, list, "one requirement an item, such as - "+shortExample) {
			return
		}
		if len(v.items) > maxRequirements {
			r.reject(v.items[maxRequirements].pos, "keep those that matter", "more than %d requirements cannot be watched", maxRequirements)
			return
		}
		list := into(t)
		for _, item := range v.items {
			if req, ok := r.requirement(item, long, of); ok {
				*list = append(*list, req)
			}
		}
	}}
}

// longForm is a requirement as a mapping.
type longForm struct {
	written
	notify *otto.Notify
}

func requirementObject() object[longForm] {
	word := func(doc string, s schema, of func(*longForm) *part) key[longForm] {
		return key[longForm]{doc, s, func(r *reader, v value, l *longForm) {
			text, ok := text("a single value").read(r, v)
			*of(l) = part{v.pos, text, ok}
		}}
	}
	some := oneOfKinds("string", "number")
	return object[longForm]{
		noun: "a requirement",
		keys: map[string]key[longForm]{
			"metric":   word("What is measured: see docs/requirements.md, or mqtt:topic#.path.", schema{"type": "string"}, func(l *longForm) *part { return &l.metric }),
			"agg":      word("last, avg, min, max, p1 to p99, rate or count.", schema{"type": "string"}, func(l *longForm) *part { return &l.aggregate }),
			"over":     word("Window of the samples, such as 1m.", schema{"type": "string"}, func(l *longForm) *part { return &l.over }),
			"op":       word("What must hold between the value and the limit.", schema{"enum": []string{"<", "<=", ">", ">="}}, func(l *longForm) *part { return &l.operator }),
			"value":    word("The limit with its unit, such as 80% or 150ms.", some, func(l *longForm) *part { return &l.limit }),
			"clear":    word("The value that ends a violation, 10 % away from the limit by default.", some, func(l *longForm) *part { return &l.clear }),
			"for":      word("How long it must be over the limit, 10s by default.", schema{"type": "string"}, func(l *longForm) *part { return &l.lasting }),
			"severity": word("info, warning (default) or critical.", schema{"enum": severities()}, func(l *longForm) *part { return &l.severity }),
			"action":   word("event (default), notify, restart, migrate or cordon.", schema{"enum": actions()}, func(l *longForm) *part { return &l.action }),
			"notify":   as("Who else is told when it is violated and when that ends.", notify(), func(l *longForm) **otto.Notify { return &l.notify }),
		},
		required: map[string]string{"metric": "metric: node.cpu", "op": `op: "<"`, "value": "value: 80%"},
	}
}

func severities() []string {
	return []string{otto.SeverityInfo, otto.SeverityWarning, otto.SeverityCritical}
}

func actions() []string {
	return []string{otto.ActionEvent, otto.ActionNotify, otto.ActionRestart, otto.ActionMigrate, otto.ActionCordon}
}

func notify() form[*otto.Notify] {
	argv := listOf(text("a program or an argument"))
	o := object[otto.Notify]{
		noun: "notify",
		keys: map[string]key[otto.Notify]{
			"webhook": as("Address that is sent the verdict in a POST.", webhook(), func(n *otto.Notify) *string { return &n.Webhook }),
			"command": as("Program and arguments, run where the control plane is, with the verdict on standard input; there is no shell.",
				argv, func(n *otto.Notify) *[]string { return &n.Command }),
		},
	}
	return form[*otto.Notify]{o.schema(), func(r *reader, v value) (*otto.Notify, bool) {
		var n otto.Notify
		before := len(r.problems)
		if !o.read(r, v, &n) || len(r.problems) > before {
			return nil, false
		}
		if n.Webhook == "" && len(n.Command) == 0 {
			r.reject(v.pos, "write webhook: https://192.0.2.1/otto or command: [program, argument]", "notify tells nobody")
			return nil, false
		}
		return &n, true
	}}
}

// webhook is an address, which may hold a secret and is never shown.
func webhook() form[string] {
	f := text("an address such as https://192.0.2.1/otto")
	return form[string]{schema{"type": "string"}, func(r *reader, v value) (string, bool) {
		address, ok := f.read(r, v)
		if !ok {
			return "", false
		}
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "" {
			r.reject(v.pos, "write an address such as https://192.0.2.1/otto", "this is not an address that a verdict can be sent to")
			return "", false
		}
		return address, true
	}}
}

// requirement reads one, in either form.
func (r *reader) requirement(v value, o object[longForm], of scope) (requirement, bool) {
	var l longForm
	before := len(r.problems)
	switch v.kind {
	case mapping:
		l.pos = v.pos
		o.read(r, v, &l)
		if rest, ok := strings.CutSuffix(l.limit.text, " of limit"); ok {
			l.limit.text, l.ofLimit = strings.TrimSpace(rest), true
		} else if rest, ok := strings.CutSuffix(l.limit.text, " of reserve"); ok {
			l.limit.text, l.ofReserve = strings.TrimSpace(rest), true
		}
	default:
		if !r.wants(v, scalar, shortExample) {
			return requirement{}, false
		}
		w, wrong := readShort(v)
		if wrong != nil {
			r.reject(wrong.pos, wrong.try, "%s", wrong.what)
			return requirement{}, false
		}
		l.written = w
	}
	if len(r.problems) > before {
		return requirement{}, false
	}
	req := r.build(l.written, of)
	req.Notify = l.notify
	return req, len(r.problems) == before
}

// build gives the parts their meaning.
func (r *reader) build(w written, of scope) requirement {
	q := requirement{pos: w.pos, metricAt: w.metric.pos, limitAt: w.limit.pos, overAt: w.over.pos, actionAt: w.action.pos}
	q.At = fmt.Sprintf("%s:%d:%d", r.file, w.line, w.col)
	var ok bool
	if q.kind, ok = r.metric(w.metric, of); !ok {
		return q
	}
	req := &q.Requirement
	req.Metric, req.OfLimit, req.OfReserve = q.kind.Name, w.ofLimit, w.ofReserve
	req.Over = r.lasting(w.over, time.Second, otto.MaxOver)
	req.For, req.Severity, req.Action = otto.DefaultFor, otto.SeverityWarning, otto.ActionEvent
	if w.lasting.given {
		req.For = r.lasting(w.lasting, 0, maxFor)
	}
	r.word(w.severity, severities(), &req.Severity)
	r.word(w.action, actions(), &req.Action)
	r.word(w.operator, []string{"<", "<=", ">", ">="}, &req.Operator)
	if !r.aggregate(&q, w) {
		return q
	}
	r.limits(&q, w)
	r.action(q, of)
	return q
}

// metric finds the metric that is meant.
func (r *reader) metric(p part, of scope) (otto.Metric, bool) {
	m, ok := otto.FindMetric(p.text)
	application := strings.HasPrefix(p.text, otto.MQTTPrefix)
	switch {
	case !ok && application:
		_, err := otto.ParseMQTTMetric(p.text)
		r.reject(p.pos, "write it as mqtt:my/app/topic or mqtt:my/app/topic#.field", "%.80q cannot be a metric: %v", p.text, err)
		return m, false
	case !ok:
		var names []string
		for _, m := range otto.Metrics() {
			names = append(names, m.Name)
		}
		try := "known are " + strings.Join(names, ", ") + ", rtt.NODE, latency.NODE, availability.NODE and mqtt:topic#.path"
		if n := nearest(p.text, names); n != "" {
			try = "did you mean " + n + "?"
		}
		r.reject(p.pos, try, "there is no metric %.60q", p.text)
		return m, false
	case application && of == ofAll:
		r.reject(p.pos, "write it at that service or node", "what an application publishes is about one service or node, not about all")
		return m, false
	case of == ofNode && !m.Node && !application:
		try := "write it at a service"
		if _, ok := otto.FindMetric("node." + m.Name); ok {
			try = "write node." + m.Name
		}
		r.reject(p.pos, try, "%s is measured of services, and this is a node", m.Name)
		return m, false
	}
	return m, true
}

// word is one of a few; without one the default in into stays.
func (r *reader) word(p part, words []string, into *string) {
	if p.given {
		*into, _ = choice(words...).read(r, value{pos: p.pos, kind: scalar, text: p.text})
	}
}

func (r *reader) lasting(p part, least, most time.Duration) time.Duration {
	if !p.given {
		return 0
	}
	d, _ := duration(least, most).read(r, value{pos: p.pos, kind: scalar, text: p.text})
	return d
}

// aggregate settles how the samples of the window become one value, and in what unit.
func (r *reader) aggregate(q *requirement, w written) bool {
	req := &q.Requirement
	req.Unit = q.kind.Unit
	req.Aggregate = req.DefaultAggregate()
	if w.aggregate.given {
		req.Aggregate = w.aggregate.text
	}
	at := w.aggregate.pos
	if !w.aggregate.given {
		at = w.metric.pos
	}
	_, percentile := otto.Percentile(req.Aggregate)
	counting := req.Aggregate == otto.AggregateRate || req.Aggregate == otto.AggregateCount
	application := strings.HasPrefix(req.Metric, otto.MQTTPrefix)
	known := []string{otto.AggregateLast, otto.AggregateAvg, otto.AggregateMin, otto.AggregateMax, otto.AggregateRate, otto.AggregateCount}
	switch {
	case !percentile && !slices.Contains(known, req.Aggregate):
		try := "write one of " + strings.Join(known, ", ") + " or a percentile such as p95"
		if n := nearest(req.Aggregate, known); n != "" {
			try = "did you mean " + n + "?"
		}
		r.reject(at, try, "%.60q is no way to put samples together", req.Aggregate)
	case w.over.given && req.Over == 0: // and rejected
	case req.Over == 0 && (q.kind.Windowed || req.Aggregate != otto.AggregateLast):
		r.reject(at, "write a window such as over 1m", "one sample of %s says nothing", req.Metric)
	case req.Over > 0 && req.Aggregate == otto.AggregateLast:
		r.reject(w.over.pos, "take the window out, or write avg or max", "the last sample has no window")
	case counting && !q.kind.Counter && !application:
		r.reject(at, "write avg, max or a percentile such as p95", "%s is not a counter, so that it has no %s", req.Metric, req.Aggregate)
	case q.kind.Counter && !counting:
		r.reject(at, "write rate or count, or nothing", "%s only rises, so that it has a rate and a count, no %s", req.Metric, req.Aggregate)
	default:
		if req.Aggregate == otto.AggregateRate {
			req.Unit = req.Unit.PerSecond()
		}
		return true
	}
	return false
}

// limits reads the limit and the clear threshold in the unit of the requirement.
func (r *reader) limits(q *requirement, w written) {
	req := &q.Requirement
	var ok bool
	if req.Limit, ok = r.amount(w.limit, *req); !ok {
		return
	}
	if why := senseless(*req); why != "" {
		r.reject(w.limit.pos, "write another limit", "%s %s", why, req.Unit.Format(req.Limit))
		return
	}
	switch own := req.Metric == "cpu" || req.Metric == "memory"; {
	case req.OfLimit && req.OfReserve:
		r.reject(w.limit.pos, "keep one of them", "it is a share of limit or of reserve, not of both")
	case req.OfLimit && !own:
		r.reject(w.limit.pos, "take `of limit` out", "only cpu and memory have a limit, not %s", req.Metric)
	case req.OfReserve && !own:
		r.reject(w.limit.pos, "take `of reserve` out", "only cpu and memory are reserved, not %s", req.Metric)
	}
	req.Clear = req.DefaultClear()
	if !w.clear.given {
		return
	}
	if req.Clear, ok = r.amount(w.clear, *req); !ok {
		return
	}
	if req.Margin(req.Clear) < 0 {
		side := "below"
		if strings.HasPrefix(req.Operator, ">") {
			side = "above"
		}
		r.reject(w.clear.pos, "write a value "+side+" "+req.Unit.Format(req.Limit), "the clear threshold %s is on the wrong side of the limit", req.Unit.Format(req.Clear))
	}
}

// senseless says why a requirement could never be violated, or never be kept.
func senseless(r otto.Requirement) string {
	const never, always = "it cannot be violated: nothing is beyond", "it cannot be kept: nothing is on the good side of"
	signed := r.Unit == otto.UnitCelsius || strings.HasPrefix(r.Metric, otto.MQTTPrefix)
	full := r.Unit == otto.UnitPercent && !r.OfReserve
	switch {
	case r.Operator == "<" && !signed && r.Limit <= 0, r.Operator == "<=" && !signed && r.Limit < 0,
		r.Operator == ">" && full && r.Limit >= 100, r.Operator == ">=" && full && r.Limit > 100:
		return always
	case r.Operator == "<" && full && r.Limit > 100, r.Operator == "<=" && full && r.Limit >= 100,
		r.Operator == ">" && !signed && r.Limit < 0, r.Operator == ">=" && !signed && r.Limit <= 0:
		return never
	}
	return ""
}

// amount reads a number with a unit that fits.
func (r *reader) amount(p part, req otto.Requirement) (float64, bool) {
	found := regexp.MustCompile(`^([+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?)\s*(\S*)$`).FindStringSubmatch(p.text)
	example := req.Unit.Format(req.Unit.Scales()[0].Value(80))
	if found == nil {
		r.reject(p.pos, "write a number and its unit, such as "+example, "%.60q is not a limit", p.text)
		return 0, false
	}
	number, err := strconv.ParseFloat(found[1], 64)
	for _, s := range req.Unit.Scales() {
		if err == nil && spelled(found[2], s.Name) && math.Abs(s.Value(number)) <= maxLimit {
			return s.Value(number), true
		}
	}
	var try string
	switch other := withUnit(req, found[2]); {
	case req.Unit == otto.UnitNone && strings.HasPrefix(req.Metric, otto.MQTTPrefix):
		try = "write the number in the unit in which the application publishes it"
	case req.Unit == otto.UnitNone:
		try = "write " + found[1]
	case other != "":
		try = "write " + other + " " + req.Operator + " " + p.text
	default:
		try = "write its unit: one of " + strings.Join(spellings(req.Unit), ", ")
	}
	r.reject(p.pos, try, "%.60q is not in the unit of %s", p.text, req.Metric)
	return 0, false
}

// spelled reports whether a user who writes unit means the one called name.
func spelled(unit, name string) bool {
	unit = strings.TrimPrefix(unit, "°")
	return unit == name || strings.EqualFold(unit, name) && name != "" && strings.ContainsAny(name, "BC")
}

func spellings(u otto.Unit) (names []string) {
	for _, s := range u.Scales() {
		names = append(names, s.Name)
	}
	return names
}

// withUnit is a metric of the same thing that is measured in another unit.
func withUnit(req otto.Requirement, unit string) string {
	root := strings.Join(strings.SplitN(req.Metric, ".", 3)[:min(2, strings.Count(req.Metric, ".")+1)], ".")
	for _, m := range otto.Metrics() {
		fits := slices.ContainsFunc(m.Unit.Scales(), func(s otto.Scale) bool { return unit != "" && spelled(unit, s.Name) })
		if m.Name != req.Metric && !m.Counter && fits && (strings.HasPrefix(m.Name, root+".") || m.Name == root) {
			return m.Name
		}
	}
	return ""
}

// action rejects an action that cannot be, whatever the service is.
func (r *reader) action(q requirement, of scope) {
	switch {
	case q.Action == otto.ActionRestart && (of == ofNode || of == ofAll && q.kind.Node):
		r.reject(q.actionAt, "write migrate, cordon or notify", "a node's requirement has no container to restart")
	case q.Action == otto.ActionCordon && !q.kind.Node && of != ofNode:
		r.reject(q.actionAt, "write restart, migrate or notify", "%s says nothing of the node, so that cordoning it helps nobody", q.Metric)
	}
}

// plainly are requirements without their places.
func plainly(list []requirement) (out []otto.Requirement) {
	for _, q := range list {
		out = append(out, q.Requirement)
	}
	return out
}
