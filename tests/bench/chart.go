package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strings"
)

// The chart has a group for each row that is a ratio and a bar for each column but the native one. Bars begin at 1, where
// a sandbox costs nothing, and go left where it is faster than the host and right where it is slower; the axis is logarithmic:
//
//	title
//	[] gosv ptrace  [] runsc ptrace           legend
//	               0.1      1      10     100
//	empty call                  |=========| 68
//	                            |===========| 105
//	stat                   0.4 |=|
//
// It has a background of its own, dark for who prefers that, so that its text can be read on any page.

const (
	chartLabels = 250 // width of the rows' names
	chartPlot   = 600 // width from the least to the largest ratio
	chartRight  = 60
	chartTop    = 96
	barHeight   = 11
	groupGap    = 9
)

// chartStyle has a colour for each sandbox, whose class is its name with hyphens.
const chartStyle = `
text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.small { font-size: 10px; fill: #57606a }
.page { fill: #ffffff } .grid { stroke: #d8dee4 } .one { stroke: #1f2328; stroke-width: 1.5 } .band { fill: #f6f8fa }
.gosv-ptrace { fill: #1f6feb } .gosv-flat { fill: #1a7f37 }
.runsc-ptrace { fill: #f0a35e } .runsc-systrap { fill: #c2410c } .runc { fill: #8c959f }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9da7b3 }
.page { fill: #0d1117 } .grid { stroke: #30363d } .one { stroke: #e6edf3 } .band { fill: #151b23 }
.gosv-ptrace { fill: #58a6ff } .gosv-flat { fill: #3fb950 } .runsc-systrap { fill: #e5632a }
}
`

// chart draws figures, which are by row and column, as SVG.
func chart(title string, rows []row, columns []column, figures [][]float64) []byte {
	type bar struct {
		column int
		ratio  float64
	}
	type group struct {
		what string
		bars []bar
	}
	var groups []group
	least, most := 0.5, 2.0
	for i, r := range rows {
		native := figures[i][0]
		if r.compare != ratio || native <= 0 {
			continue
		}
		g := group{what: r.what}
		for k := 1; k < len(columns); k++ {
			if v := figures[i][k]; v > 0 {
				g.bars = append(g.bars, bar{k, v / native})
				least, most = min(least, v/native), max(most, v/native)
			}
		}
		groups = append(groups, g)
	}
	// Room for the figure beside the shortest and the longest bar.
	low, high := math.Log10(least)-0.15, math.Log10(most)+0.15
	x := func(ratio float64) float64 {
		return chartLabels + chartPlot*(math.Log10(ratio)-low)/(high-low)
	}
	height := chartTop
	for _, g := range groups {
		height += len(g.bars)*barHeight + groupGap
	}
	width := chartLabels + chartPlot + chartRight

	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">`, width, height+30, width, height+30)
	p(`<style>%s</style>`, chartStyle)
	p(`<rect class="page" width="100%%" height="100%%"/>`)
	p(`<text class="title" x="14" y="24">Time of an operation, as a ratio to the host's: less is better, 1 is native</text>`)
	p(`<text class="small" x="14" y="42">%s. Logarithmic axis.</text>`, html.EscapeString(title))
	at := 14
	for _, c := range columns[1:] {
		p(`<rect class="%s" x="%d" y="54" width="12" height="12"/><text x="%d" y="64">%s</text>`, barClass(c), at, at+17, c.name)
		at += 120
	}

	y := chartTop
	for i, g := range groups {
		h := len(g.bars)*barHeight + groupGap
		if i%2 == 0 {
			p(`<rect class="band" x="0" y="%d" width="%d" height="%d"/>`, y, width, h)
		}
		y += h
	}
	for d := math.Floor(low); d <= high; d++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, d)
			if l := math.Log10(v); l < low || l > high {
				continue
			}
			class := "grid"
			if v == 1 {
				class = "one"
			}
			p(`<line class="%s" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, class, x(v), chartTop-4, x(v), height)
			p(`<text class="small" x="%.1f" y="%d" text-anchor="middle">%g</text>`, x(v), chartTop-9, v)
			p(`<text class="small" x="%.1f" y="%d" text-anchor="middle">%g</text>`, x(v), height+14, v)
		}
	}
	y = chartTop
	for _, g := range groups {
		h := len(g.bars)*barHeight + groupGap
		p(`<text x="%d" y="%d" text-anchor="end">%s</text>`, chartLabels-10, y+h/2+4, html.EscapeString(g.what))
		y += groupGap / 2
		for _, r := range g.bars {
			from, to := min(x(1), x(r.ratio)), max(x(1), x(r.ratio))
			p(`<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"/>`, barClass(columns[r.column]), from, y, max(to-from, 1), barHeight-1)
			anchor, tx := "start", to+4
			if r.ratio < 1 {
				anchor, tx = "end", from-4
			}
			p(`<text class="small" x="%.1f" y="%d" text-anchor="%s">%.*f</text>`, tx, y+barHeight-2, anchor, digits(r.ratio), r.ratio)
			y += barHeight
		}
		y += groupGap - groupGap/2
	}
	p(`</svg>`)
	return b.Bytes()
}

// barClass is a column's name as a class in chartStyle.
func barClass(c column) string { return strings.ReplaceAll(c.name, " ", "-") }
