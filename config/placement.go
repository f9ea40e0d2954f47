package config

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/otto-edge/otto"
)

// placed are the places of what is checked against nodes and other services.
type placed struct {
	modeAt, platformAt pos
	requireAt          []pos // of each of Placement.Require
	nearAt, apartAt    []pos
}

// placementKeys are those that say on which nodes a service may be.
func placementKeys() map[string]key[service] {
	return map[string]key[service]{
		"placement": nested(
			"On which nodes it may be, and would rather be.",
			object[service]{noun: "placement", keys: placementRules()},
		),
		"mode": modeKey(),
		"platform": {
			"Platform of the image, such as linux/arm64; other nodes do not get it.",
			platform().schema,
			func(r *reader, v value, s *service) {
				s.placed.platformAt = v.pos
				s.Platform, _ = platform().read(r, v)
			},
		},
	}
}

func placementRules() map[string]key[service] {
	return map[string]key[service]{
		"require": expressionsKey(
			"What a node's labels must be, such as zone == kitchen.",
			func(s *service) (*[]otto.Expression, *[]pos) {
				return &s.Placement.Require, &s.placed.requireAt
			},
		),
		"prefer": expressionsKey(
			"What they should rather be.",
			func(s *service) (*[]otto.Expression, *[]pos) { return &s.Placement.Prefer, nil },
		),
		"avoid": expressionsKey(
			"What they should rather not be.",
			func(s *service) (*[]otto.Expression, *[]pos) { return &s.Placement.Avoid, nil },
		),
		"spread": given(
			"Label over whose values the containers are spread; over the nodes by default.",
			spreadLabel(),
			func(s *service) *string { return &s.Placement.Spread },
		),
		"near": namesKey(
			"Services to be on the same node with, if possible.",
			func(s *service) (*[]string, *[]pos) { return &s.Placement.Near, &s.placed.nearAt },
		),
		"apart_from": namesKey(
			"Services never to be on the same node with; its own name keeps its replicas apart.",
			func(s *service) (*[]string, *[]pos) { return &s.Placement.ApartFrom, &s.placed.apartAt },
		),
		"max_per_node": given(
			"Containers of it on one node at most.",
			integer(1, maxReplicas),
			func(s *service) *int { return &s.Placement.MaxPerNode },
		),
	}
}

func modeKey() key[service] {
	modes := choice("replicated", otto.ModeGlobal)
	return key[service]{
		"replicated (default), or global for one on every node that fits.",
		modes.schema,
		func(r *reader, v value, s *service) {
			if mode, ok := modes.read(r, v); ok && mode == otto.ModeGlobal {
				s.Mode, s.placed.modeAt = mode, v.pos
			}
		},
	}
}

// deployPlacementKey reads Compose's form of placement.
func deployPlacementKey() key[service] {
	preference := object[service]{noun: "a preference", keys: map[string]key[service]{
		"spread": given(
			"Label over whose values the containers are spread.",
			composeLabel(spreadLabel()),
			func(s *service) *string { return &s.Placement.Spread },
		),
	}, required: map[string]string{"spread": "spread: node.labels.zone"}}
	constraints := composeExpressions()
	o := object[service]{noun: "placement", later: composeKeys[types.Placement](), keys: map[string]key[service]{
		"constraints": {
			"What a node must be, such as node.labels.zone == kitchen.",
			listOf(constraints).schema,
			func(r *reader, v value, s *service) {
				readExpressions(r, v, constraints, &s.Placement.Require, &s.placed.requireAt)
			},
		},
		"preferences": {
			"Label over whose values the containers are spread.",
			schema{"type": "array", "items": preference.schema()},
			func(r *reader, v value, s *service) {
				if r.wants(v, list, "one `spread: node.labels.zone` an item") {
					for _, item := range v.items {
						preference.read(r, item, s)
					}
				}
			},
		},
		"max_replicas_per_node": given(
			"Containers of it on one node at most.",
			integer(1, maxReplicas),
			func(s *service) *int { return &s.Placement.MaxPerNode },
		),
	}}
	return nested("As placement, in Compose's form.", o)
}

// expression is a condition on a label of a node.
func expression() form[otto.Expression] {
	return form[otto.Expression]{schema{"type": "string"}, func(r *reader, v value) (otto.Expression, bool) {
		t, ok := text("an expression such as zone == kitchen").read(r, v)
		if !ok {
			return otto.Expression{}, false
		}
		e, err := otto.ParseExpression(t)
		if err != nil {
			r.reject(
				v.pos,
				"write such as zone == kitchen, disk != sd, arch in (arm64, amd64), gpu or \"!gpu\"",
				"%v",
				err,
			)
			return e, false
		}
		return e, r.knownLabel(v.pos, e.Label)
	}}
}

// composeExpressions are Compose's, whose labels have a prefix.
func composeExpressions() form[otto.Expression] {
	f := expression()
	return form[otto.Expression]{f.schema, func(r *reader, v value) (otto.Expression, bool) {
		v.text = inOurWords(v.text)
		return f.read(r, v)
	}}
}

func composeLabel(f form[string]) form[string] {
	return form[string]{f.schema, func(r *reader, v value) (string, bool) {
		v.text = inOurWords(v.text)
		return f.read(r, v)
	}}
}

// inOurWords is a Compose label without the prefix that a user's own labels have
// there, and with our name for its platform.
func inOurWords(text string) string {
	text = strings.TrimSpace(text)
	for theirs, ours := range map[string]string{"node.labels.": "", "node.platform.": "node."} {
		if rest, ok := strings.CutPrefix(text, theirs); ok {
			return ours + rest
		}
	}
	return text
}

// knownLabel rejects a label that looks like one of those that every node has.
func (r *reader) knownLabel(at pos, label string) bool {
	known := otto.NodeLabels()
	switch {
	case strings.HasPrefix(label, "node.labels."):
		r.reject(at, "write "+strings.TrimPrefix(label, "node.labels."), "labels of nodes have no prefix here")
	case strings.HasPrefix(label, "node.") && !slices.Contains(known, label), strings.HasPrefix(label, "engine."):
		r.reject(
			at,
			"known are "+strings.Join(known, ", ")+", and the labels of your nodes",
			"no node has %.60q",
			label,
		)
	default:
		return true
	}
	return false
}

func expressionsKey(doc string, of func(*service) (*[]otto.Expression, *[]pos)) key[service] {
	f := expression()
	return key[service]{doc, oneOrMore(f).schema, func(r *reader, v value, s *service) {
		into, at := of(s)
		readExpressions(r, v, f, into, at)
	}}
}

func readExpressions(r *reader, v value, f form[otto.Expression], into *[]otto.Expression, at *[]pos) {
	for _, item := range itemsOf(v) {
		if e, ok := f.read(r, item); ok {
			*into = append(*into, e)
			if at != nil {
				*at = append(*at, item.pos)
			}
		}
	}
}

// itemsOf are the items of a list, or the only one, written without a list.
func itemsOf(v value) []value {
	if v.kind == list {
		return v.items
	}
	return []value{v}
}

func namesKey(doc string, of func(*service) (*[]string, *[]pos)) key[service] {
	name := text("the name of a service")
	return key[service]{doc, oneOrMore(name).schema, func(r *reader, v value, s *service) {
		into, at := of(s)
		for _, item := range itemsOf(v) {
			n, ok := name.read(r, item)
			switch {
			case !ok:
			case slices.Contains(*into, n):
				r.reject(item.pos, "take it out", "%.60q is here already", n)
			default:
				*into, *at = append(*into, n), append(*at, item.pos)
			}
		}
	}}
}

func spreadLabel() form[string] {
	f := checked(
		"a label such as zone",
		func(s string) bool { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`).MatchString(s) },
	)
	return form[string]{f.schema, func(r *reader, v value) (string, bool) {
		label, ok := f.read(r, v)
		return label, ok && r.knownLabel(v.pos, label)
	}}
}

// platform is os/arch, perhaps with a variant, as Docker has it.
func platform() form[string] {
	return checked("linux/arm64, linux/amd64 or linux/arm/v7", func(s string) bool {
		return regexp.MustCompile(`^linux/[a-z0-9]+(/v[0-9]+)?$`).MatchString(s)
	})
}

// schedulerKey is how nodes are chosen.
func schedulerKey() key[document] {
	weight := number(0, 1000)
	weights := object[map[string]float64]{noun: "weights", keys: map[string]key[map[string]float64]{}}
	for name, usual := range otto.DefaultWeights() {
		weights.keys[name] = key[map[string]float64]{
			"Weight of this part of a node's score, " + strconv.FormatFloat(usual, 'g', -1, 64) + " by default.", weight.schema,
			func(r *reader, v value, into *map[string]float64) {
				if w, ok := weight.read(r, v); ok {
					(*into)[name] = w
				}
			},
		}
	}
	scheduler := object[document]{noun: "scheduler", keys: map[string]key[document]{
		"weights": {
			"What counts for how much in the choice of a node.",
			weights.schema(),
			func(r *reader, v value, d *document) {
				d.weights = map[string]float64{}
				weights.read(r, v, &d.weights)
			},
		},
	}}
	return key[document]{
		"How nodes are chosen for services without a home.",
		scheduler.schema(),
		func(r *reader, v value, d *document) {
			scheduler.read(r, v, d)
		},
	}
}

// number is one from least to most.
func number(least, most float64) form[float64] {
	return form[float64]{oneOfKinds("number", "string"), func(r *reader, v value) (float64, bool) {
		if !r.wants(v, scalar, "a number") {
			return 0, false
		}
		n, err := strconv.ParseFloat(v.text, 64)
		if err != nil || math.IsNaN(n) || n < least || n > most {
			r.reject(
				v.pos,
				"write a number from "+strconv.FormatFloat(least, 'g', -1, 64)+" to "+strconv.FormatFloat(most, 'g', -1, 64),
				"%.60q is out of range",
				v.text,
			)
			return 0, false
		}
		return n, true
	}}
}

// checkPlacement judges the rules of placement against nodes and other services.
func (d *document) checkPlacement(r *reader) {
	names := make([]string, 0, len(d.services))
	for _, s := range d.services {
		names = append(names, s.Name)
	}
	for i := range d.services {
		s := &d.services[i]
		d.checkGlobal(r, s)
		d.checkNeighbours(r, s, names)
		d.checkRequire(r, s)
	}
}

// checkGlobal finds what has no meaning for a service of every node.
func (d *document) checkGlobal(r *reader, s *service) {
	if !s.Global() {
		return
	}
	at, what := s.placed.modeAt, ""
	switch {
	case s.replicasAt != nil:
		at, what = *s.replicasAt, "a number of replicas"
	case s.Node != "":
		at, what = s.nodeAt, "a home"
	case s.Failover != "":
		what = "failover"
	case s.Placement.MaxPerNode > 0 || s.Placement.Spread != "":
		what = "spread and max_per_node"
	default:
		return
	}
	r.reject(at, "take one of them out", "service %s is global, and so has no use for %s", s.Name, what)
}

// checkNeighbours judges the services that one is to be near or apart from.
func (d *document) checkNeighbours(r *reader, s *service, names []string) {
	p := s.Placement
	for i, at := range s.placed.nearAt {
		switch name := p.Near[i]; {
		case name == s.Name && s.Unit == "":
			r.reject(at, "take it out", "service %s cannot be near itself", s.Name)
		case slices.Contains(p.ApartFrom, name):
			r.reject(
				at,
				"take it out of near or of apart_from",
				"service %s cannot be near %.60q and apart from it",
				s.Name,
				name,
			)
		default:
			r.knownService(at, name, names)
		}
	}
	for i, at := range s.placed.apartAt {
		name := p.ApartFrom[i]
		r.knownService(at, name, names)
		if other := d.service(name); other != nil && s.Unit != "" && other.Unit == s.Unit {
			r.reject(
				at,
				"write apart: true under x-otto of one of them",
				"service %s cannot be apart from %s: the services of a stack are on one node",
				s.Name,
				name,
			)
			continue
		}
		if other := d.service(name); other != nil && slices.Contains(other.Placement.Near, s.Name) {
			r.reject(at, "take one of them out", "service %s is to be near %s, in line %d", name, s.Name, other.line)
		}
		if other := d.service(name); other != nil && other != s && s.Node != "" && s.Node == other.Node {
			r.reject(at, "give one of them another node", "services %s and %s have the same home", s.Name, name)
		}
	}
}

func (r *reader) knownService(at pos, name string, names []string) {
	if slices.Contains(names, name) {
		return
	}
	try := "write the name of a service of this file"
	if n := nearest(name, names); n != "" {
		try = "did you mean " + n + "?"
	}
	r.reject(at, try, "there is no service %.60q", name)
}

func (d *document) service(name string) *service {
	i := slices.IndexFunc(d.services, func(s service) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &d.services[i]
}

// checkRequire finds what no node of the file can meet. What the agents are still
// to report may be anything.
func (d *document) checkRequire(r *reader, s *service) {
	fit := map[string]bool{}
	for _, n := range d.nodes {
		fit[n.ID] = true
	}
	for i, at := range s.placed.requireAt {
		e, any := s.Placement.Require[i], false
		for _, n := range d.nodes {
			met := canMeet(n, e)
			any = any || met
			fit[n.ID] = fit[n.ID] && met
		}
		home := d.node(s.Node)
		switch left := slices.Collect(maps.Values(fit)); {
		case !any:
			r.reject(at, d.labelAdvice(e), "no node meets %.80q", e)
		case home != nil && !canMeet(*home, e):
			r.reject(
				at,
				"give "+s.Node+" such a label, or take node out",
				"node %s, the home of service %s, does not meet %.80q",
				s.Node,
				s.Name,
				e,
			)
		case !slices.Contains(left, true):
			r.reject(
				at,
				"require less, or give a node the labels",
				"no node meets all that service %s requires",
				s.Name,
			)
		default:
			continue
		}
		return
	}
}

func canMeet(n node, e otto.Expression) bool {
	return e.Label == otto.LabelNodeArch || e.Label == otto.LabelNodeHostname ||
		e.Matches(n.PlacementLabels(otto.NodeFacts{}))
}

// labelAdvice says what there is of a label that no node has as it is wanted.
func (d *document) labelAdvice(e otto.Expression) string {
	var values, labels []string
	for _, n := range d.nodes {
		all := n.PlacementLabels(otto.NodeFacts{})
		for _, l := range slices.Sorted(maps.Keys(all)) {
			if !slices.Contains(labels, l) {
				labels = append(labels, l)
			}
		}
		if v, ok := all[e.Label]; ok && !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	if len(values) > 0 {
		return e.Label + " is " + strings.Join(values, ", ") + " on your nodes"
	}
	if n := nearest(e.Label, labels); n != "" {
		return "did you mean " + n + "?"
	}
	return "give a node the label " + e.Label
}
