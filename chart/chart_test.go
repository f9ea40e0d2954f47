package chart

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestBarOfStates(t *testing.T) {
	from := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	at := func(hours float64) time.Time { return from.Add(time.Duration(hours * float64(time.Hour))) }
	only := func(state string) map[string]float64 { return map[string]float64{state: 1} }
	cells, said := StateBar([]otto.Span{
		{From: at(0), To: at(2), Known: 7200, Shares: only("up")},
		{From: at(2), To: at(2.5), Known: 1800, Shares: only("down")},
		{From: at(2.5), To: at(3), Known: 1800, Shares: only("up")},
		{From: at(3), To: at(4), Known: 3600, Shares: only("down")},
		{From: at(4), To: at(5), Known: 3600, Shares: only("partly")},
		{From: at(6), To: at(7), Known: 3600, Shares: only("stopped")},
		{From: at(7), To: at(8), Known: 1800, Shares: only("unknown")},
	}, from, at(8), 8)
	if got, want := string(cells)+" "+said, "▮▮▯x▯·-? 38.4% of 6h30m"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, said := StateBar(nil, from, at(1), 4); said != "nothing is known" {
		t.Error(said)
	}
	almost := []otto.Span{{From: at(0), To: at(8), Known: 28800, Shares: map[string]float64{"up": 0.9999, "down": 0.0001}}}
	if cells, said := StateBar(almost, from, at(8), 2); said == "100% of 8h0m" || string(cells) == "▮▮" {
		t.Errorf("what was down for seconds: %s %s", string(cells), said)
	}
}

func TestColumnsKeepGapsAndExtremes(t *testing.T) {
	from := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	list := Columns([]otto.Point{
		{Time: from, Min: 1, Mean: 2, Max: 3},
		{Time: from.Add(time.Minute), Min: 0, Mean: 4, Max: 9},
		{Time: from.Add(9 * time.Minute), Min: 5, Mean: 5, Max: 5},
	}, time.Minute, from, from.Add(10*time.Minute), 5)
	want := []Column{{0, 3, 9, 2}, {}, {}, {}, {5, 5, 5, 1}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
	if got := Sparkline(list); got != "▃   ▄" {
		t.Errorf("%q", got)
	}
}
