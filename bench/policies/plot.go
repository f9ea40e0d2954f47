package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/otto-edge/otto/control/replay"
)

// Size of the plot, and of the room around its axes.
const (
	width, height         = 760, 480
	left, right, top, low = 70, 120, 40, 55
)

// plot is an SVG of moves and time over limits, a point for each policy and seed.
// Both axes are logarithmic, and what is 0 is put where 1 is.
func plot(results map[string][]replay.Result) string {
	colours := map[string]string{"ours": "#0072b2", "threshold": "#d55e00", "random": "#999999", "topsis": "#cc79a7", "none": "#000000"} // of Okabe and Ito
	mostMoves, mostOver := 10.0, 10.0
	for _, list := range results {
		for _, r := range list {
			mostMoves, mostOver = max(mostMoves, moves(r)), max(mostOver, over(r))
		}
	}
	decadesX, decadesY := math.Ceil(math.Log10(mostMoves)), math.Ceil(math.Log10(mostOver))
	x := func(v float64) float64 { return left + (width-left-right)*math.Log10(max(v, 1))/decadesX }
	y := func(v float64) float64 { return height - low - (height-low-top)*math.Log10(max(v, 1))/decadesY }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n"+`<text x="%d" y="22" font-size="15">Time over limits and moves, by policy; each point is a seed</text>`+"\n", left)
	for d := 0.0; d <= decadesX; d++ {
		at := x(math.Pow(10, d))
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", at, top, at, height-low, at, height-low+18, math.Pow(10, d))
	}
	for d := 0.0; d <= decadesY; d++ {
		at := y(math.Pow(10, d))
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.0f</text>`+"\n", left, at, width-right, at, left-8, at+4, math.Pow(10, d))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">moves (0 is shown as 1)</text>`+"\n", (left+width-right)/2, height-14)
	fmt.Fprintf(&b, `<text transform="translate(20 %d) rotate(-90)" text-anchor="middle">hours over limits, all requirements summed</text>`+"\n", (top+height-low)/2)
	for i, name := range replay.Policies() {
		for _, r := range results[name] {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s" fill-opacity="0.7"/>`+"\n", x(moves(r)), y(over(r)), colours[name])
		}
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="5" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", width-right+20, top+20*i, colours[name], width-right+32, top+20*i+4, name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
