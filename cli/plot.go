package cli

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/otto-edge/otto"
)

const (
	plotRows    = 8
	plotLabel   = 10 // columns in front of a plot
	metricWidth = 30 // of a metric in front of its line
	dayWidth    = 48 // columns of a day: half an hour each
)

var blocks = []rune(" ▁▂▃▄▅▆▇█") //nolint:gochecknoglobals // never changed

// column sums up what is drawn in one.
type column struct {
	low, mean, high float64
	n               int
}

// columns puts points, each of which is of a while, into so many columns. A column without
// any stays empty.
func columns(points []otto.Point, while time.Duration, from, to time.Time, width int) []column {
	list := make([]column, width)
	each := float64(to.Sub(from)) / float64(width)
	for _, p := range points {
		begin := float64(p.Time.Sub(from)) / each
		end := begin + float64(while)/each
		for at := max(0, int(begin)); at < width && float64(at) < end; at++ {
			list[at].add(p)
		}
	}
	return list
}

func (c *column) add(p otto.Point) {
	if c.n == 0 {
		c.low, c.high = p.Min, p.Max
	}
	c.low, c.high = min(c.low, p.Min), max(c.high, p.Max)
	c.mean = (c.mean*float64(c.n) + p.Mean) / float64(c.n+1)
	c.n++
}

// block is the one of an eighth of a height, from 0 to 1.
func block(height float64) rune {
	return blocks[min(max(int(math.Round(height*8)), 0), 8)]
}

// sparkline draws means between 0, or the least if that is less, and the most. What is there
// is seen, however small.
func sparkline(list []column) string {
	low, high := scale(list)
	var b strings.Builder
	for _, c := range list {
		if c.n == 0 {
			b.WriteRune(' ')
			continue
		}
		b.WriteRune(block(max((c.mean-low)/(high-low), 0.125)))
	}
	return b.String()
}

func scale(list []column) (low, high float64) {
	for _, c := range list {
		if c.n > 0 {
			low, high = min(low, c.low), max(high, c.high)
		}
	}
	if low == high {
		high = low + 1
	}
	return low, high
}

// plot draws a history: states, then metrics, in a line each or large.
func (a *app) plot(h otto.History, q otto.HistoryQuery, width int, large bool) {
	from, to := h.Since, q.Until
	if to.After(h.Until) {
		to = h.Until
	}
	to = later(to, from.Add(time.Second))
	room := max(20, width-metricWidth-2-28)
	fmt.Fprintf(a.out, "%s, %s to %s, each column %s\n", cmpOr(h.Node, h.Service), stamp(from), stamp(to),
		short(to.Sub(from)/time.Duration(room)))
	for _, s := range h.States {
		cells, said := stateBar(s.Spans, from, to, room)
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
		list := columns(s.Points, while, from, to, room)
		low, high := extremes(list)
		unit := otto.Unit(s.Unit)
		last := s.Points[len(s.Points)-1]
		fmt.Fprintf(a.out, "%s  %s  %s (%s .. %s)\n", fit(label(s.Instance, s.Metric), metricWidth), sparkline(list),
			unit.Show(last.Mean), unit.Show(low), unit.Show(high))
	}
}

func extremes(list []column) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, c := range list {
		if c.n > 0 {
			low, high = min(low, c.low), max(high, c.high)
		}
	}
	return low, high
}

// plotLarge draws one metric: full up to the mean, and lighter up to the most.
func (a *app) plotLarge(s otto.Series, while time.Duration, from, to time.Time, width int) {
	list := columns(s.Points, while, from, to, width)
	low, high := scale(list)
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
			mean := (c.mean-low)/(high-low)*plotRows - float64(row)
			most := (c.high-low)/(high-low)*plotRows - float64(row)
			switch {
			case c.n == 0:
				line.WriteRune(' ')
			case row == 0 && mean < 0.125:
				line.WriteRune(block(0.125))
			case mean >= 0.0625:
				line.WriteRune(block(min(mean, 1)))
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

// short is a duration without what does not matter.
func short(d time.Duration) string {
	if d < time.Minute {
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// wellness is what a state means in a bar.
func wellness(state string) rune {
	switch state {
	case otto.ServiceUp, string(otto.NodeReady), string(otto.NodeDraining), string(otto.InstanceRunning),
		string(otto.InstanceCompleted), string(otto.RequirementOK), string(otto.RequirementPending):
		return '▮'
	case otto.ServicePartly:
		return '▯'
	case otto.ServiceStopped, string(otto.NodeLeft):
		return '-'
	case otto.ServiceUnknown, string(otto.NodeSuspect):
		return '?'
	}
	return 'x'
}

// stateBar draws states as so many columns, and says how much of what is known was well.
func stateBar(spans []otto.Span, from, to time.Time, width int) (cells []rune, said string) {
	sums := make([]map[rune]float64, width)
	each := to.Sub(from).Seconds() / float64(width)
	var known, well float64
	for _, s := range spans {
		length := s.To.Sub(s.From).Seconds()
		begin, end := s.From.Sub(from).Seconds(), s.To.Sub(from).Seconds()
		for at := max(0, int(begin/each)); at < width && float64(at)*each < end; at++ {
			part := min(end, float64(at+1)*each) - max(begin, float64(at)*each)
			if part <= 0 || length <= 0 {
				continue
			}
			if sums[at] == nil {
				sums[at] = map[rune]float64{}
			}
			for state, share := range s.Shares {
				seconds := s.Known * part / length * share
				sums[at][wellness(state)] += seconds
				known += seconds
				if wellness(state) == '▮' {
					well += seconds
				}
			}
		}
	}
	for _, sum := range sums {
		cells = append(cells, cellOf(sum))
	}
	if known == 0 {
		return cells, "nothing is known"
	}
	share := math.Floor(1000*well/known) / 10 // 100 % only if it was all the time
	return cells, fmt.Sprintf("%s%% of %s", trimmed(share), short(time.Duration(known*float64(time.Second))))
}

func trimmed(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") }

// cellOf is the column of seconds in states.
func cellOf(sum map[rune]float64) rune {
	var all, most float64
	for _, seconds := range sum {
		all += seconds
	}
	cell := '·'
	for _, kind := range "▮▯x?-" {
		if sum[kind] > most {
			cell, most = kind, sum[kind]
		}
	}
	if all > 0 && most < all*0.99999 && (cell == '▮' || sum['▮'] > 0) {
		return '▯'
	}
	return cell
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
			cells, said := stateBar(s.Spans, from, now, dayWidth)
			a.line("last 24h", a.tinted(cells)+"  up "+said)
		}
	}
}
