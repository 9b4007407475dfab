package report

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// series are the bars of each work, from top to bottom.
var series = []struct{ client, name, colour string }{
	{PythonTUF, "python-tuf", "#e08a1e"},
	{Auto, "ragnos-tuf (auto)", "#0b5fa5"},
	{Floor, "floor: curl and sha256sum", "#a3a9b0"},
}

// plotted are the works of the plot by group. What go-tuf cannot do has no ratio
// to it.
var plotted = []struct {
	group string
	works []string
}{
	{Loopback, []string{ColdSmall, Unchanged, Roots, ThirdLevel, Index, IndexSame, Bins, MillionBins, Big256, Big1024}},
	{Delayed, []string{ColdSmall, Unchanged, Roots, ThirdLevel}},
	{RoundTrip, []string{ColdSmall, Unchanged, ThirdLevel}},
	{InProcess, []string{Hits1, Hits8, Release}},
}

// The measures of the plot in pixels.
const (
	plotWidth  = 1000
	plotLeft   = 330
	plotRight  = 930
	plotTop    = 118
	barHeight  = 10
	rowGap     = 9
	headHeight = 30
)

// bars are a work's bars: the time of each series relative to go-tuf, 0 for none.
type bars struct {
	work   string
	ratios []float64
}

// chart is the plot in the making.
type chart struct {
	b      strings.Builder
	lo, hi float64 // powers of ten
}

// Plot returns an SVG picture: how long each client takes relative to go-tuf.
func (r *Report) Plot() string {
	groups := make([][]bars, len(plotted))
	c := &chart{lo: -1, hi: 1}
	height := plotTop
	for i, p := range plotted {
		for _, work := range p.works {
			if row, ok := r.relative(p.group, work); ok {
				groups[i] = append(groups[i], row)
				c.reach(row)
				height += len(series)*barHeight + rowGap
			}
		}
		if len(groups[i]) > 0 {
			height += headHeight
		}
	}
	c.open(r, height)
	y := float64(plotTop)
	for i, rows := range groups {
		if len(rows) == 0 {
			continue
		}
		c.text(20, y+20, "start", "font-weight='bold' font-size='14'", plotted[i].group)
		y += headHeight
		for _, row := range rows {
			c.row(y, row)
			y += float64(len(series)*barHeight + rowGap)
		}
	}
	c.b.WriteString("</svg>\n")
	return c.b.String()
}

// relative returns the bars of a work, unless go-tuf has no figure for it.
func (r *Report) relative(group, work string) (bars, bool) {
	row := bars{work, make([]float64, len(series))}
	base, ok := r.find(group, work, GoTUF)
	for i, s := range series {
		c, measured := r.find(group, work, s.client)
		switch {
		case !ok || !measured:
		case base.Wall > 0:
			row.ratios[i] = c.Wall / base.Wall
		case c.PerSecond > 0:
			row.ratios[i] = base.PerSecond / c.PerSecond
		}
	}
	return row, ok
}

// reach widens the axis to whole powers of ten around the bars.
func (c *chart) reach(row bars) {
	for _, v := range row.ratios {
		if v > 0 {
			c.lo = min(c.lo, math.Floor(math.Log10(v)))
			c.hi = max(c.hi, math.Ceil(math.Log10(v)))
		}
	}
}

// x is where a ratio lies on the axis.
func (c *chart) x(ratio float64) float64 {
	return plotLeft + (math.Log10(ratio)-c.lo)/(c.hi-c.lo)*(plotRight-plotLeft)
}

// open draws everything but the bars.
func (c *chart) open(r *Report, height int) {
	bottom := float64(height + 6)
	fmt.Fprintf(&c.b, "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' font-family='Helvetica, Arial, DejaVu Sans, sans-serif' font-size='12' fill='#1c2733'>\n",
		plotWidth, height+60)
	fmt.Fprintf(&c.b, "<rect width='%d' height='%d' fill='#ffffff'/>\n", plotWidth, height+60)
	c.text(20, 30, "start", "font-size='19' font-weight='bold'", "Time taken, relative to go-tuf's own client")
	c.text(20, 50, "start", "fill='#55606b'", "Logarithmic axis; what reaches to the left of the line is faster. "+r.Head()+".")
	x := 20.0
	for _, s := range series {
		fmt.Fprintf(&c.b, "<rect x='%.0f' y='64' width='14' height='14' fill='%s'/>\n", x, s.colour)
		c.text(x+20, 76, "start", "font-size='13'", s.name)
		x += 50 + 7.2*float64(len(s.name))
	}
	for power := c.lo; power <= c.hi; power++ {
		ratio := math.Pow(10, power)
		c.line(c.x(ratio), plotTop-8, bottom, "stroke='#dde2e7'")
		for _, y := range []float64{plotTop - 14, bottom + 16} {
			c.text(c.x(ratio), y, "middle", "fill='#55606b'", fmt.Sprintf("%g×", ratio))
		}
	}
	c.line(c.x(1), plotTop-8, bottom, "stroke='#1c2733' stroke-width='1.5'")
	c.text(c.x(1)-10, bottom+36, "end", "", "← faster than go-tuf")
	c.text(c.x(1)+10, bottom+36, "start", "", "slower than go-tuf →")
}

// row draws the bars of a work, from go-tuf's line to where they reach.
func (c *chart) row(y float64, row bars) {
	c.text(plotLeft-14, y+float64(len(series)*barHeight)/2+4, "end", "", row.work)
	one := c.x(1)
	for i, ratio := range row.ratios {
		if ratio == 0 {
			continue
		}
		end := c.x(ratio)
		top := y + float64(i*barHeight)
		fmt.Fprintf(&c.b, "<rect x='%.1f' y='%.1f' width='%.1f' height='%d' fill='%s'/>\n",
			min(one, end), top, max(math.Abs(end-one), 1), barHeight-1, series[i].colour)
		style := "font-size='9.5' fill='#55606b'"
		if series[i].client == Auto {
			style = "font-size='9.5' font-weight='bold' fill='#0b5fa5'"
		}
		anchor, at := "start", max(end, one)+4
		if end < one {
			anchor, at = "end", end-4
		}
		c.text(at, top+barHeight-1.5, anchor, style, times(ratio))
	}
}

func (c *chart) text(x, y float64, anchor, style, s string) {
	fmt.Fprintf(&c.b, "<text x='%.1f' y='%.1f' text-anchor='%s' %s>%s</text>\n", x, y, anchor, style, html.EscapeString(s))
}

func (c *chart) line(x, from, to float64, style string) {
	fmt.Fprintf(&c.b, "<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' %s/>\n", x, x, from, to, style)
}

// times writes a ratio.
func times(ratio float64) string { return figure(ratio) + "×" }
