package nfr

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// below is a requirement with its clear threshold a tenth below the limit.
func below(aggregate string, limit float64, over, lasting time.Duration) otto.Requirement {
	r := otto.Requirement{Metric: "node.cpu", Aggregate: aggregate, Over: over, Operator: "<", Limit: limit, Unit: "%", For: lasting, Action: "event"}
	r.Clear = r.DefaultClear()
	return r
}

// story feeds one value a second and returns the states in the order they came.
func story(r otto.Requirement, every time.Duration, values func(second int) (float64, bool), seconds int) []string {
	s := NewSeries(r.Over, every, r.Aggregate == "count" || r.Aggregate == "rate")
	var v otto.Verdict
	var states []string
	for i := range seconds {
		if value, ok := values(i); ok {
			s.Add(value, at(float64(i)))
		}
		was := v.State
		v = Evaluate(r, s, at(float64(i)), v)
		if v.State != was {
			states = append(states, fmt.Sprintf("%d %s", i, v.State))
		}
	}
	return states
}

func TestLifeOfARequirement(t *testing.T) {
	steps := func(pairs ...float64) func(int) (float64, bool) { // value from a second on; NaN for none
		return func(second int) (value float64, ok bool) {
			for i := 0; i < len(pairs); i += 2 {
				if float64(second) >= pairs[i] {
					value = pairs[i+1]
				}
			}
			return value, !math.IsNaN(value)
		}
	}
	none := math.NaN()
	for _, tt := range []struct {
		name   string
		r      otto.Requirement
		values func(int) (float64, bool)
		want   []string
	}{
		{
			"violated after its time, and over after as long", below("last", 80, 0, 30*time.Second), steps(0, 50, 10, 90, 60, 50),
			[]string{"0 ok", "10 pending", "40 violated", "60 clearing", "90 ok"},
		},
		{"a peak is not", below("last", 80, 0, 30*time.Second), steps(0, 50, 10, 90, 39, 50), []string{"0 ok", "10 pending", "39 ok"}},
		{
			"what is good but not clear ends nothing", below("last", 80, 0, 10*time.Second), steps(0, 90, 20, 75, 50, 71, 55, 75),
			[]string{"0 pending", "10 violated", "50 clearing", "55 violated"},
		},
		{
			"missing data do not act, and violate nothing when they are back", below("last", 80, 0, 10*time.Second), steps(0, 90, 5, none, 30, 90),
			[]string{"0 pending", "8 unknown", "30 pending", "40 violated"},
		},
		{
			"missing data end no violation", below("last", 80, 0, 10*time.Second), steps(0, 90, 20, none, 60, 90, 90, 50),
			[]string{"0 pending", "10 violated", "23 unknown", "60 pending", "70 violated", "90 clearing", "100 ok"},
		},
		{
			"missing data while it clears", below("last", 80, 0, 10*time.Second), steps(0, 90, 20, 50, 25, none, 60, 50),
			[]string{"0 pending", "10 violated", "20 clearing", "28 unknown", "60 clearing", "70 ok"},
		},
		{
			"a window is to be filled by half", below("avg", 80, time.Minute, 10*time.Second), steps(0, 90),
			[]string{"0 unknown", "30 pending", "40 violated"},
		},
		{ // of the window of 120 s the newest part of 10 s is good before the whole is
			"an old peak does not act", below("max", 80, 2*time.Minute, 30*time.Second), steps(0, 50, 70, 99, 71, 50),
			[]string{"0 unknown", "60 ok", "70 pending", "81 ok"},
		},
		{
			"a count needs no whole window", below("count", 3, 10*time.Minute, 0), steps(0, 1, 10, 2, 20, 3, 30, 4),
			[]string{"0 ok", "30 violated", "84 clearing", "94 ok"},
		},
		{"a counter that begins anew counts on", below("count", 100, time.Minute, 0), steps(0, 1000, 10, 1050, 20, 49, 30, 60), []string{"0 ok", "30 violated", "35 clearing", "45 ok"}},
		{"a rate after an hour's gap is not that of the gap", below("rate", 10, time.Minute, 0), steps(0, 1, 40, none, 50, 1e9), []string{"0 unknown", "30 ok", "43 unknown", "51 ok"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := story(tt.r, time.Second, tt.values, 110)
			if tt.r.Over == 10*time.Minute {
				got = story(tt.r, time.Second, tt.values, 200)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// sample is one that was added, for the oracle.
type sample struct {
	at    time.Duration
	value float64
}

// oracle computes an aggregate from all samples.
func oracle(how string, samples []sample, from, to time.Duration) float64 {
	var values []float64
	for _, s := range samples {
		if s.at > from && s.at <= to {
			values = append(values, s.value)
		}
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	switch how {
	case "last":
		return samples[len(samples)-1].value
	case "avg":
		return sum / float64(len(values))
	case "min":
		return slices.Min(values)
	case "max":
		return slices.Max(values)
	}
	slices.Sort(values)
	p, _ := otto.Percentile(how)
	return values[max(int(math.Ceil(float64(p)/100*float64(len(values)))), 1)-1]
}

// TestNothingActsWithoutReason runs random histories: time that goes on in
// irregular steps, gaps, peaks, pauses without a judgement.
func TestNothingActsWithoutReason(t *testing.T) {
	violated := 0
	rapid.Check(t, func(t *rapid.T) {
		aggregate := rapid.SampledFrom([]string{"last", "avg", "min", "max", "p50", "p95"}).Draw(t, "aggregate")
		over := time.Duration(0)
		if aggregate != "last" {
			over = time.Duration(rapid.IntRange(4, 90).Draw(t, "over")) * time.Second
		}
		every := time.Duration(rapid.IntRange(1, 5).Draw(t, "every")) * time.Second
		over = max(over, min(over, 1)*2*every)
		r := below(aggregate, 80, over, time.Duration(rapid.IntRange(0, 40).Draw(t, "for"))*time.Second)
		if rapid.Bool().Draw(t, "above") {
			r.Operator = rapid.SampledFrom([]string{">", ">="}).Draw(t, "operator")
			r.Clear = r.DefaultClear()
		}
		s := NewSeries(over, every, false)
		var samples []sample
		var v otto.Verdict
		var now, changed, overSince time.Duration
		changed = -time.Hour
		overSince = -1
		bias := 0.0
		for range rapid.IntRange(20, 150).Draw(t, "steps") {
			step := rapid.IntRange(1, 100).Draw(t, "step")
			switch {
			case step <= 90:
				now += every
			case step <= 96: // irregular, and perhaps a gap
				now += time.Duration(rapid.IntRange(1000, 6*int(every.Milliseconds())).Draw(t, "gap")) * time.Millisecond
			case step <= 98:
				now += time.Hour
			}
			if rapid.IntRange(1, 8).Draw(t, "turn") == 1 {
				bias = rapid.SampledFrom([]float64{-30, 0, 15}).Draw(t, "bias")
			}
			if last := len(samples) - 1; (last < 0 || samples[last].at < now) && rapid.IntRange(1, 15).Draw(t, "sample") > 1 {
				value := 75 + bias + rapid.Float64Range(-5, 9).Draw(t, "value")
				samples = append(samples, sample{now, value})
				s.Add(value, start.Add(now))
			}
			was := v
			v = Evaluate(r, s, start.Add(now), v)
			if len(samples) == 0 {
				if v.State != otto.RequirementUnknown {
					t.Fatalf("%s without any sample", v.State)
				}
				continue
			}
			fresh := now-samples[len(samples)-1].at <= max(3*every, 3*time.Second)
			if !fresh && (v.Acts() || v.State != otto.RequirementUnknown || v.Standing() != was.Standing()) {
				t.Fatalf("data are missing, and it went from %+v to %+v", was, v)
			}
			if v.State == otto.RequirementUnknown {
				overSince = -1
				continue
			}
			want := oracle(aggregate, samples, now-over, now)
			if math.Abs(*v.Value-want) > 1e-9 {
				t.Fatalf("%s is %v, not %v", aggregate, *v.Value, want)
			}
			// Since when both windows have been over at every look, without a gap.
			if r.Holds(want) {
				overSince = -1
			} else if n := len(samples); overSince < 0 || n > 1 && samples[n-1].at == now && now-samples[n-2].at > max(3*every, 3*time.Second) {
				overSince = now
			}
			if v.Acts() && was.State != otto.RequirementViolated && was.State != otto.RequirementClearing {
				violated++
				if overSince < 0 || now-overSince < r.For {
					t.Fatalf("violated at %s, over since %s, for %s", now, overSince, r.For)
				}
			}
			if v.Standing() != was.Standing() {
				if now-changed < min(r.For, r.ClearFor()) {
					t.Fatalf("it changed %s after the last change", now-changed)
				}
				changed = now
			}
		}
	})
	if violated == 0 {
		t.Error("no history violated anything: nothing was tested")
	}
}

func TestSeriesIsBoundedAndDoesNotAllocate(t *testing.T) {
	s := NewSeries(otto.MaxOver, time.Second, false)
	if len(s.cells) > maxParts+2 {
		t.Errorf("%d cells", len(s.cells))
	}
	r := below("p95", 80, otto.MaxOver, 10*time.Second)
	now := start
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Minute)
		s.Add(50, now)
	}); n != 0 {
		t.Errorf("a sample costs %v allocations", n)
	}
	if _, missing := s.read(r, now); missing == "" {
		t.Error("samples a minute apart are not gaps of one each second")
	}
}

func TestWhatIsNoNumberIsNoSample(t *testing.T) {
	s := NewSeries(0, time.Second, false)
	s.Add(math.NaN(), start)
	s.Add(math.Inf(1), start)
	if v := Evaluate(below("last", 80, 0, 0), s, start, otto.Verdict{}); v.State != otto.RequirementUnknown || v.Value != nil {
		t.Errorf("got %+v", v)
	}
}

func TestLongWindowsAreKeptInParts(t *testing.T) {
	s := NewSeries(time.Hour, time.Second, false)
	for i := range 2 * 3600 {
		s.Add(float64(i%100), at(float64(i)))
	}
	now := at(2*3600 - 1)
	for how, want := range map[string]float64{"avg": 49.5, "min": 0, "max": 99, "p50": 50, "p95": 95} {
		got, ok := s.aggregate(how, time.Hour, now)
		if !ok || math.Abs(got-want) > 6 {
			t.Errorf("%s is %v, about %v is right", how, got, want)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	s := NewSeries(30*time.Second, time.Second, false)
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		s.Add(50, now)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	for _, aggregate := range []string{"last", "avg", "p95"} {
		b.Run(aggregate, func(b *testing.B) {
			r := below(aggregate, 80, 30*time.Second, 30*time.Second)
			if aggregate == "last" {
				r.Over = 0
			}
			s := NewSeries(r.Over, time.Second, false)
			now := start
			for range 60 {
				now = now.Add(time.Second)
				s.Add(50, now)
			}
			var v otto.Verdict
			b.ReportAllocs()
			for b.Loop() {
				v = Evaluate(r, s, now, v)
			}
		})
	}
}
