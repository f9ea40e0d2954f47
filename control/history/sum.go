package history

import (
	"slices"
	"strings"
)

func sortBy[T any](list []T, compare func(a, b T) int) { slices.SortFunc(list, compare) }

// summer puts chunks of frames together into one with longer steps.
type summer struct {
	span
	series map[key]map[int]*sum
	tracks map[key]map[int][]share
}

// sum is a slot that is being made. The mean is that of the steps in which something was
// measured.
type sum struct {
	min, max float32
	total    float64
	n        int
}

func newSummer(s span) *summer {
	return &summer{span: s, series: map[key]map[int]*sum{}, tracks: map[key]map[int][]share{}}
}

// slotOf is the step that a step of a frame belongs to, and whether there is one.
func (s *summer) slotOf(of span, at int) (int, bool) {
	t := of.start + int64(at)*of.step
	if t < s.start || t >= s.end() {
		return 0, false
	}
	return int((t - s.start) / s.step), true
}

// add takes in the chunk of a frame.
func (s *summer) add(of span, c chunk) {
	for _, from := range c.series {
		into := s.series[from.key]
		if into == nil {
			into = map[int]*sum{}
			s.series[from.key] = into
		}
		for _, v := range from.slots {
			at, ok := s.slotOf(of, v.at)
			if !ok {
				continue
			}
			t := into[at]
			if t == nil {
				t = &sum{min: v.min, max: v.max}
				into[at] = t
			}
			t.min, t.max = min(t.min, v.min), max(t.max, v.max)
			t.total += float64(v.mean)
			t.n++
		}
	}
	for _, from := range c.tracks {
		into := s.tracks[from.key]
		if into == nil {
			into = map[int][]share{}
			s.tracks[from.key] = into
		}
		for _, v := range from.slots {
			if at, ok := s.slotOf(of, v.at); ok {
				into[at] = together(into[at], v.states)
			}
		}
	}
}

// together adds seconds in states. What it is given first is changed.
func together(a, b []share) []share {
	for _, s := range b {
		if i := slices.IndexFunc(a, func(o share) bool { return o.state == s.state }); i >= 0 {
			a[i].seconds += s.seconds
		} else {
			a = append(a, s)
		}
	}
	return a
}

// chunk is what has been taken in.
func (s *summer) chunk() (c chunk) {
	for k, slots := range s.series {
		of := series{key: k, slots: make([]slot, 0, len(slots))}
		for at, t := range slots {
			mean := float32(t.total / float64(t.n))
			of.slots = append(of.slots, slot{at, t.min, min(max(mean, t.min), t.max), t.max})
		}
		sortBy(of.slots, func(a, b slot) int { return a.at - b.at })
		if len(slots) > 0 {
			c.series = append(c.series, of)
		}
	}
	for k, slots := range s.tracks {
		of := track{key: k, slots: make([]held, 0, len(slots))}
		for at, states := range slots {
			sortBy(states, func(a, b share) int { return strings.Compare(a.state, b.state) })
			of.slots = append(of.slots, held{at, states})
		}
		sortBy(of.slots, func(a, b held) int { return a.at - b.at })
		if len(slots) > 0 {
			c.tracks = append(c.tracks, of)
		}
	}
	c.sort()
	return c
}
