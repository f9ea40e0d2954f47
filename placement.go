package otto

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// PlacementRules say where a service's instances may be, and where they would
// rather be. Require and ApartFrom are never broken by a placement; the others
// weigh.
type PlacementRules struct {
	Require []Expression `json:"require,omitempty"` // of a node's labels, all of them
	Prefer  []Expression `json:"prefer,omitempty"`
	Avoid   []Expression `json:"avoid,omitempty"`
	// Spread is the label over whose values the instances are spread, such as
	// zone; empty means over the nodes.
	Spread string `json:"spread,omitempty"`
	// Near and ApartFrom are names of services. They work in both directions,
	// whichever of the two is placed first. A service may be apart from itself.
	Near      []string `json:"near,omitempty"`
	ApartFrom []string `json:"apart_from,omitempty"`
	// MaxPerNode is how many instances may be on one node; 0 means any number.
	MaxPerNode int `json:"max_per_node,omitempty"`
}

// Labels that every node has. LabelNodeOS is linux; the others are known once
// the agent has reported, but for the id.
const (
	LabelNodeID       = "node.id"
	LabelNodeArch     = "node.arch" // as NodeFacts.Arch
	LabelNodeOS       = "node.os"
	LabelNodeHostname = "node.hostname"
)

// NodeLabels are the built-in labels.
func NodeLabels() []string {
	return []string{LabelNodeID, LabelNodeArch, LabelNodeOS, LabelNodeHostname}
}

// PlacementLabels are the labels of a node that expressions are about: the
// user's and those that every node has, as far as they are known.
func (n Node) PlacementLabels(f NodeFacts) map[string]string {
	labels := map[string]string{LabelNodeID: n.ID, LabelNodeOS: "linux"}
	if f.Arch != "" {
		labels[LabelNodeArch] = f.Arch
	}
	if f.Hostname != "" {
		labels[LabelNodeHostname] = f.Hostname
	}
	for k, v := range n.Labels {
		if _, builtin := labels[k]; !builtin {
			labels[k] = v
		}
	}
	return labels
}

// Expression is a condition on one label of a node.
type Expression struct {
	Label  string   `json:"label"`
	Op     Operator `json:"op"`
	Values []string `json:"values,omitempty"` // one for == and !=
}

// Operator compares a label with values.
type Operator string

// The operators. != and not in hold where there is no such label, too.
const (
	OpEqual    Operator = "=="
	OpNotEqual Operator = "!="
	OpIn       Operator = "in"
	OpNotIn    Operator = "not in"
	OpExists   Operator = "exists"
	OpAbsent   Operator = "absent"
)

// Matches reports whether a node with these labels meets the expression. One
// with an unknown operator is never met.
func (e Expression) Matches(labels map[string]string) bool {
	value, there := labels[e.Label]
	switch e.Op {
	case OpEqual, OpIn:
		return there && slices.Contains(e.Values, value)
	case OpNotEqual, OpNotIn:
		return !there || !slices.Contains(e.Values, value)
	case OpExists:
		return there
	case OpAbsent:
		return !there
	}
	return false
}

// String is the expression as it is written, such as disk != sd.
func (e Expression) String() string {
	switch e.Op {
	case OpExists:
		return e.Label
	case OpAbsent:
		return "!" + e.Label
	case OpIn, OpNotIn:
		return fmt.Sprintf("%s %s (%s)", e.Label, e.Op, strings.Join(e.Values, ", "))
	}
	return fmt.Sprintf("%s %s %s", e.Label, e.Op, strings.Join(e.Values, ", "))
}

// ParseExpression reads an expression: zone == kitchen, disk != sd,
// arch in (arm64, amd64), arch not in (arm), gpu or gpu exists, !gpu or gpu absent.
func ParseExpression(text string) (Expression, error) {
	m := regexp.MustCompile(`^\s*(!?)\s*([A-Za-z0-9][A-Za-z0-9._/-]*)\s*(.*?)\s*$`).FindStringSubmatch(text)
	if m == nil {
		return Expression{}, fmt.Errorf("%.60q does not begin with a label", text)
	}
	e, rest := Expression{Label: m[2]}, strings.TrimSpace(m[3]) // which knows more spaces than \s
	if m[1] != "" {
		e.Op = OpAbsent
		if rest != "" {
			return e, fmt.Errorf("nothing can stand behind !%s", e.Label)
		}
		return e, nil
	}
	switch rest {
	case "", string(OpExists):
		e.Op = OpExists
		return e, nil
	case string(OpAbsent):
		e.Op = OpAbsent
		return e, nil
	}
	m = regexp.MustCompile(`^(==|!=|not\s+in\b|in\b)\s*(.*)$`).FindStringSubmatch(rest)
	if m == nil {
		return e, fmt.Errorf("%.40q is no operator: there are ==, !=, in (...), not in (...), exists and absent", strings.Fields(rest)[0])
	}
	e.Op = Operator(strings.Join(strings.Fields(m[1]), " "))
	values := m[2]
	if e.Op == OpIn || e.Op == OpNotIn {
		inner, open := strings.CutPrefix(values, "(")
		inner, closed := strings.CutSuffix(inner, ")")
		if !open || !closed {
			return e, fmt.Errorf("the values behind %s stand in parentheses, such as (a, b)", e.Op)
		}
		for v := range strings.SplitSeq(inner, ",") {
			e.Values = append(e.Values, strings.TrimSpace(v))
		}
	} else {
		e.Values = []string{values}
	}
	for i, v := range e.Values {
		if len(v) > 1 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0] {
			v = v[1 : len(v)-1]
			e.Values[i] = v
		}
		if v == "" || strings.ContainsAny(v, `"'(),=!`) || strings.TrimSpace(v) != v {
			return e, fmt.Errorf("%.40q is not a value of a label", v)
		}
	}
	return e, nil
}

// Scheduler is how nodes are chosen.
type Scheduler struct {
	// Weights are by the name of a part of a score; one that is not there has its
	// default.
	Weights map[string]float64 `json:"weights,omitempty"`
}

// The parts of a score. Each is from 0 to 1, and more is better.
const (
	ScoreCPU      = "cpu"      // how safe the processor's load would be
	ScoreMemory   = "memory"   // how safe the memory's use would be
	ScoreHeat     = "heat"     // how far it is from being too hot
	ScoreImage    = "image"    // whether the image is there
	ScoreNear     = "near"     // whether what it wants to be near is there
	ScoreSpread   = "spread"   // how few of its own kind are there
	ScorePrefer   = "prefer"   // how many of prefer and avoid are met
	ScoreFailures = "failures" // how little it has failed there
	ScoreFewest   = "fewest"   // how few instances are there
)

// DefaultWeights are the weights of the parts of a score. A service's own kind,
// its failures and what the file says outweigh the load of the moment.
func DefaultWeights() map[string]float64 {
	return map[string]float64{
		ScoreFailures: 8, ScoreSpread: 4, ScorePrefer: 4, ScoreNear: 4,
		ScoreCPU: 2, ScoreMemory: 2, ScoreHeat: 1, ScoreImage: 1, ScoreFewest: 1,
	}
}

// Refusal is why a node cannot take an instance.
type Refusal struct {
	Node   string `json:"node"`
	Filter string `json:"filter"` // what has refused, such as memory
	Reason string `json:"reason"`
}

// Score is how good a node would be with one more instance of a service.
type Score struct {
	Node  string      `json:"node"`
	Total float64     `json:"total"` // the weighted mean of the parts, 0..1
	Parts []ScorePart `json:"parts"`
}

// ScorePart is one view of a node.
type ScorePart struct {
	Name   string  `json:"name"`
	Weight float64 `json:"weight"`
	Value  float64 `json:"value"` // 0..1, more is better
	Reason string  `json:"reason"`
}

// Explanation answers why a service is where it is, or a node as it is. Of
// Service and Node there is one.
type Explanation struct {
	Service *ServiceExplanation `json:"service,omitempty"`
	Node    *NodeExplanation    `json:"node,omitempty"`
}

// ServiceExplanation is why a service's instances are where they are.
type ServiceExplanation struct {
	Name      string                `json:"name"`
	Instances []InstanceExplanation `json:"instances"`
}

// InstanceExplanation is why an instance is where it is, and not elsewhere.
type InstanceExplanation struct {
	Name  string        `json:"name"`
	Node  string        `json:"node,omitempty"` // empty while it has no place
	State InstanceState `json:"state"`
	Why   string        `json:"why"`             // it is there, or has no place
	Waits string        `json:"waits,omitempty"` // what holds it back
	Last  *Event        `json:"last,omitempty"`  // how it came there, as far as events are kept
	Rules []RuleHeld    `json:"rules,omitempty"`
	// Verdicts are on what is required of it, Decisions what comes of those that are
	// violated, and what is advised.
	Verdicts  []Verdict  `json:"verdicts,omitempty"`
	Decisions []Decision `json:"decisions,omitempty"`
	// Scores are of the nodes that could take it, the best one first; Refusals of
	// all others. Its own place is judged as if it were not there.
	Scores   []Score   `json:"scores"`
	Refusals []Refusal `json:"refusals"`
}

// RuleHeld is a rule of placement, and whether it holds where the instance is.
type RuleHeld struct {
	Rule  string `json:"rule"` // as it is written, such as require zone == kitchen
	Holds bool   `json:"holds"`
}

// NodeExplanation is why a node is in its state, what is on it and what is not.
type NodeExplanation struct {
	ID        string         `json:"id"`
	State     NodeState      `json:"state"`
	Why       string         `json:"why,omitempty"`     // it is in this state
	Refuses   string         `json:"refuses,omitempty"` // why it takes nothing new
	Leaves    string         `json:"leaves,omitempty"`  // why what is there has to leave if it may
	Instances []InstanceHere `json:"instances"`
	// Refused are the services that could not be placed there now.
	Refused []ServiceRefusal `json:"refused"`
	// Verdicts are on what is required of the node, Decisions what comes of those that
	// are violated there, by services' requirements too, and what is advised.
	Verdicts  []Verdict  `json:"verdicts,omitempty"`
	Decisions []Decision `json:"decisions,omitempty"`
}

// InstanceHere is an instance of a node, and why it is there.
type InstanceHere struct {
	Name  string        `json:"name"`
	State InstanceState `json:"state"`
	Why   string        `json:"why"`
}

// ServiceRefusal is why a node cannot take a service.
type ServiceRefusal struct {
	Service string `json:"service"`
	Refusal
}
