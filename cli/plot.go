package cli

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/chart"
)

const (
	plotRows    = 8
	plotLabel   = 10 // columns in front of a plot
	metricWidth = 30 // of a metric in front of its line
	dayWidth    = 48 // columns of a day: half an hour each
)

// plot draws a history: states, then metrics, in a line each or large.
func (a *app) plot(h otto.History, q otto.HistoryQuery, width int, large bool) {
	from, to := h.Since, q.Until
	if to.After(h.Until) {
		to = h.Until
	}
	to = later(to, from.Add(time.Second))
	room := max(20, width-metricWidth-2-28)
	fmt.Fprintf(a.out, "%s, %s to %s, each column %s\n", cmpOr(h.Node, h.Service), stamp(from), stamp(to),
		chart.Short(to.Sub(from)/time.Duration(room)))
	for _, s := range h.States {
		cells, said := chart.StateBar(s.Spans, from, to, room)
		fmt.Fprintf(a.out, "%s  %s  %s\n", fit(label(s.Instance, cmpOr(s.Requirement, "state")), metricWidth),
			a.tinted(cells), said)
	}
	// Samples may be farther apart than a full resolution can tell.
	while := max(h.Resolution, otto.DefaultInterval)
	for _, s := range h.Series {
		if large {
			a.plotLarge(s, while, from, to, max(20, min(width-plotLabel-1, 200)))
			continue
		}
		list := chart.Columns(s.Points, while, from, to, room)
		low, high := extremes(list)
		unit := otto.Unit(s.Unit)
		last := s.Points[len(s.Points)-1]
		fmt.Fprintf(a.out, "%s  %s  %s (%s .. %s)\n", fit(label(s.Instance, s.Metric), metricWidth), chart.Sparkline(list),
			unit.Show(last.Mean), unit.Show(low), unit.Show(high))
	}
}

func extremes(list []chart.Column) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, c := range list {
		if c.N > 0 {
			low, high = min(low, c.Low), max(high, c.High)
		}
	}
	return low, high
}

// plotLarge draws one metric: full up to the mean, and lighter up to the most.
func (a *app) plotLarge(s otto.Series, while time.Duration, from, to time.Time, width int) {
	list := chart.Columns(s.Points, while, from, to, width)
	low, high := chart.Scale(list)
	unit := otto.Unit(s.Unit)
	fmt.Fprintf(a.out, "\n%s\n", label(s.Instance, s.Metric))
	for row := plotRows - 1; row >= 0; row-- {
		text := ""
		switch row {
		case plotRows - 1:
			text = unit.Show(high)
		case 0:
			text = unit.Show(low)
		}
		var line strings.Builder
		for _, c := range list {
			mean := (c.Mean-low)/(high-low)*plotRows - float64(row)
			most := (c.High-low)/(high-low)*plotRows - float64(row)
			switch {
			case c.N == 0:
				line.WriteRune(' ')
			case row == 0 && mean < 0.125:
				line.WriteRune(chart.Block(0.125))
			case mean >= 0.0625:
				line.WriteRune(chart.Block(min(mean, 1)))
			case most > 0:
				line.WriteRune('░')
			default:
				line.WriteRune(' ')
			}
		}
		fmt.Fprintln(a.out, strings.TrimRight(fmt.Sprintf("%*s │%s", plotLabel-2, text, line.String()), " "))
	}
	begin, end := stamp(from), stamp(to)
	gap := max(1, width-utf8.RuneCountInString(begin)-utf8.RuneCountInString(end))
	fmt.Fprintf(a.out, "%s%s%s%s\n", strings.Repeat(" ", plotLabel), begin, strings.Repeat(" ", gap), end)
}

func label(instance, metric string) string {
	if instance == "" {
		return metric
	}
	return instance + " " + metric
}

// fit makes a text so wide.
func fit(text string, width int) string {
	n := utf8.RuneCountInString(text)
	if n > width {
		return string([]rune(text)[:width-1]) + "…"
	}
	return text + strings.Repeat(" ", width-n)
}

func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// tinted is a bar in colours, on a terminal.
func (a *app) tinted(cells []rune) string {
	if !a.colour() {
		return string(cells)
	}
	var b strings.Builder
	was := ""
	for _, c := range cells {
		tint := map[rune]string{'▮': green, '▯': yellow, '?': yellow, 'x': red}[c]
		if tint != was {
			b.WriteString(plain + tint)
			was = tint
		}
		b.WriteRune(c)
	}
	return b.String() + plain
}

// printDay shows the last day of a service as a bar. What was not kept is not missed.
func (a *app) printDay(ctx context.Context, d stateDir, service string, now time.Time) {
	from := now.Add(-24 * time.Hour)
	h, err := d.past(ctx, otto.HistoryQuery{
		Service: service, Metrics: []string{otto.HistoryMetricState}, Since: from, Resolution: otto.HistoryMinute,
	}, now)
	if err != nil {
		return
	}
	for _, s := range h.States {
		if s.Instance == "" && s.Requirement == "" {
			cells, said := chart.StateBar(s.Spans, from, now, dayWidth)
			a.line("last 24h", a.tinted(cells)+"  up "+said)
		}
	}
}
