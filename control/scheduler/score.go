package scheduler

import (
	"fmt"
	"math"
	"strings"

	"github.com/otto-edge/otto"
)

// part is one view of a node with the instance on it, from 0 to 1.
type part struct {
	name    string
	weight  float64
	of      func(*ask, *node) float64   // of the base parts
	why     func(*ask, *node) string    // likewise
	applies func(*State) bool           // of the others
	value   func(*State, int32) float64 // likewise
	most    func(*State) float64        // that any node can have
	reason  func(*State, int32) string
}

// unknown is the value of a part of which nothing is known.
const unknown = 0.5

// baseParts are those that depend on a service only by what it reserves.
func baseParts(weights map[string]float64) []part {
	return []part{
		{
			name: otto.ScoreCPU, weight: weights[otto.ScoreCPU],
			of:  func(a *ask, n *node) float64 { return safety(n.CPU, n.reserved.cores(), a.reserve.cores(), n.Cores) },
			why: func(a *ask, n *node) string { return sayLoad(n.CPU, n.reserved.cores(), a.reserve.cores(), n.Cores) },
		},
		{
			name: otto.ScoreMemory, weight: weights[otto.ScoreMemory],
			of: func(a *ask, n *node) float64 {
				return safety(n.MemoryUse, n.reserved.bytes(), a.reserve.bytes(), float64(n.Memory))
			},
			why: func(a *ask, n *node) string {
				return sayLoad(n.MemoryUse, n.reserved.bytes(), a.reserve.bytes(), float64(n.Memory))
			},
		},
		{
			name: otto.ScoreHeat, weight: weights[otto.ScoreHeat],
			of: func(_ *ask, n *node) float64 {
				if n.Temperature == nil {
					return unknown
				}
				return clamp((tooHot - *n.Temperature) / (tooHot - cool))
			},
			why: func(_ *ask, n *node) string {
				if n.Temperature == nil {
					return "its temperature is not known"
				}
				return fmt.Sprintf("it has %.0f°C", *n.Temperature)
			},
		},
		{
			name: otto.ScoreFewest, weight: weights[otto.ScoreFewest],
			of:  func(_ *ask, n *node) float64 { return 1 / float64(1+n.instances) },
			why: func(_ *ask, n *node) string { return others(n.instances) },
		},
	}
}

func others(n int) string {
	if n == 1 {
		return "one other instance is there"
	}
	return fmt.Sprintf("%d other instances are there", n)
}

// Temperatures at which a node has all and nothing of its headroom, in degrees
// Celsius. A Raspberry Pi throttles from 80 to 85.
const (
	cool   = 45
	tooHot = 85
)

// moreParts are those that depend on the service in other ways, cheap ones first.
func moreParts(weights map[string]float64) []part {
	always := func(*State) bool { return true }
	one := func(*State) float64 { return 1 }
	return []part{
		{
			name: otto.ScoreSpread, weight: weights[otto.ScoreSpread], applies: always, most: one,
			value: func(s *State, i int32) float64 {
				own := 1 / float64(1+s.own[i])
				if s.group.of == nil {
					return own
				}
				return (3/float64(1+s.inGroup[s.group.of[i]]) + own) / 4
			},
			reason: func(s *State, i int32) string {
				text := fmt.Sprintf("%d others of %s are there", s.own[i], s.Service.Name)
				if s.group.of != nil {
					text += fmt.Sprintf(", and %d with the same %s", s.inGroup[s.group.of[i]], s.Service.Placement.Spread)
				}
				return text
			},
		},
		{
			name: otto.ScoreNear, weight: weights[otto.ScoreNear], most: one,
			applies: func(s *State) bool { return s.wanted > 0 },
			value:   func(s *State, i int32) float64 { return float64(s.near[i]) / float64(s.wanted) },
			reason: func(s *State, i int32) string {
				return fmt.Sprintf("%d of %d services to be near are there", s.near[i], s.wanted)
			},
		},
		{
			name: otto.ScoreImage, weight: weights[otto.ScoreImage],
			applies: func(s *State) bool { return s.images && s.Service.Spec.Image != "" }, most: one,
			value: func(s *State, i int32) float64 {
				switch _, there := s.nodes[i].Images[s.image]; {
				case s.nodes[i].Images == nil:
					return unknown
				case there:
					return 1
				}
				return 0
			},
			reason: func(s *State, i int32) string {
				switch _, there := s.nodes[i].Images[s.image]; {
				case s.nodes[i].Images == nil:
					return "its images are not known"
				case there:
					return "the image is there"
				}
				return "the image is not there"
			},
		},
		{
			name: otto.ScoreFailures, weight: weights[otto.ScoreFailures], most: one,
			applies: func(s *State) bool { return s.failing[s.Service.Name] },
			value: func(s *State, i int32) float64 {
				return 1 / (1 + max(0, s.nodes[i].Failures[s.Service.Name]))
			},
			reason: func(s *State, i int32) string {
				if f := s.nodes[i].Failures[s.Service.Name]; f > 0 {
					return fmt.Sprintf("it has failed there lately, with a weight of %.1f", f)
				}
				return "it has not failed there lately"
			},
		},
		{
			name: otto.ScorePrefer, weight: weights[otto.ScorePrefer], most: one,
			applies: func(s *State) bool { return len(s.prefer)+len(s.avoid) > 0 },
			value: func(s *State, i int32) float64 {
				met := 0
				for k := range s.prefer {
					if s.prefer[k][i] {
						met++
					}
				}
				for k := range s.avoid {
					if !s.avoid[k][i] {
						met++
					}
				}
				return float64(met) / float64(len(s.prefer)+len(s.avoid))
			},
			reason: whyPreferred,
		},
	}
}

// safety is one less the risk that a resource runs short, once ask of it is
// reserved beside what is. The risk is (mean + deviation) / 2 of its use, as in
// Trimaran's LoadVariationRiskBalancing (kubernetes-sigs/scheduler-plugins,
// pkg/trimaran/loadvariationriskbalancing/analysis.go) with margin and
// sensitivity 1: of two nodes with the same load the steadier one is better.
func safety(l Load, reserved, ask, all float64) float64 {
	if l.Samples == 0 {
		return unknown
	}
	return 1 - (clamp(max(l.Mean, share(reserved, all))+share(ask, all))+clamp(l.Dev()))/2
}

// share is a part of all, and nothing where all is not known.
func share(part, all float64) float64 {
	if all == 0 {
		return 0
	}
	return part / all
}

func sayLoad(l Load, reserved, ask, all float64) string {
	if l.Samples == 0 {
		return "its use is not known"
	}
	text := fmt.Sprintf("%.0f%% ± %.0f%% in use", 100*l.Mean, 100*l.Dev())
	if reserved > 0 && all > 0 {
		text += fmt.Sprintf(", %.0f%% reserved", 100*reserved/all)
	}
	if ask > 0 && all > 0 {
		text += fmt.Sprintf(", and this adds %.0f%%", 100*ask/all)
	}
	return text
}

func whyPreferred(s *State, i int32) string {
	var parts []string
	for k, e := range s.Service.Placement.Prefer {
		parts = append(parts, says(s.prefer[k][i], "prefer", e))
	}
	for k, e := range s.Service.Placement.Avoid {
		parts = append(parts, says(!s.avoid[k][i], "avoid", e))
	}
	return strings.Join(parts, ", ")
}

func says(held bool, rule string, e otto.Expression) string {
	if held {
		return fmt.Sprintf("%s %s holds", rule, e)
	}
	return fmt.Sprintf("%s %s does not hold", rule, e)
}

// explainScore is a node's score with its reasons.
func (s *State) explainScore(i int32) otto.Score {
	n := &s.nodes[i]
	score, weights := otto.Score{Node: n.ID, Parts: []otto.ScorePart{}}, 0.0
	for _, p := range s.base {
		score.Parts = append(score.Parts, otto.ScorePart{Name: p.name, Weight: p.weight, Value: p.of(&s.ask, n), Reason: p.why(&s.ask, n)})
		weights += p.weight
	}
	for _, p := range s.scoring {
		score.Parts = append(score.Parts, otto.ScorePart{Name: p.name, Weight: p.weight, Value: p.value(s, i), Reason: p.reason(s, i)})
		weights += p.weight
	}
	if weights > 0 {
		total, _ := s.total(i, math.Inf(-1))
		score.Total = total / weights
	}
	return score
}
