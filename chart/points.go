// Package chart draws what was measured, and in which states something was, in a line of
// characters.
package chart

import (
	"math"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

var blocks = []rune(" ▁▂▃▄▅▆▇█") //nolint:gochecknoglobals // never changed

// Column sums up what is drawn in one.
type Column struct {
	Low, Mean, High float64
	N               int // points that are in it
}

// Columns puts points, each of which is of a while, into so many columns. A column without
// any stays empty.
func Columns(points []otto.Point, while time.Duration, from, to time.Time, width int) []Column {
	list := make([]Column, width)
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

func (c *Column) add(p otto.Point) {
	if c.N == 0 {
		c.Low, c.High = p.Min, p.Max
	}
	c.Low, c.High = min(c.Low, p.Min), max(c.High, p.Max)
	c.Mean = (c.Mean*float64(c.N) + p.Mean) / float64(c.N+1)
	c.N++
}

// Block is the one of an eighth of a height, from 0 to 1.
func Block(height float64) rune {
	return blocks[min(max(int(math.Round(height*8)), 0), 8)]
}

// Sparkline draws means between 0, or the least if that is less, and the most. What is there
// is seen, however small.
func Sparkline(list []Column) string {
	low, high := Scale(list)
	var b strings.Builder
	for _, c := range list {
		if c.N == 0 {
			b.WriteRune(' ')
			continue
		}
		b.WriteRune(Block(max((c.Mean-low)/(high-low), 0.125)))
	}
	return b.String()
}

// Scale is from 0, or the least if that is less, to the most.
func Scale(list []Column) (low, high float64) {
	for _, c := range list {
		if c.N > 0 {
			low, high = min(low, c.Low), max(high, c.High)
		}
	}
	if low == high {
		high = low + 1
	}
	return low, high
}
