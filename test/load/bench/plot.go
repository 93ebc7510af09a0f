package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// The plot's measures, in its own units.
const (
	plotWidth  = 860
	plotMargin = 24
	barsLeft   = 24
	barsWidth  = 520
	barHeight  = 14
	rowHeight  = 62
	titleSpace = 78
	groupSpace = 34
	plotFoot   = 12
)

// The plot brings its own background, so it can be read on any page; it follows
// the reader's choice of light or dark where it is known.
const plotStyle = `
  svg { --back: #ffffff; --text: #1f2328; --soft: #59636e; --line: #d1d9e0; --gateway: #0969da; --baseline: #9a9fa6; }
  @media (prefers-color-scheme: dark) {
    svg { --back: #0d1117; --text: #f0f6fc; --soft: #9198a1; --line: #3d444d; --gateway: #4493f8; --baseline: #656c76; }
  }
  text { font: 13px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: var(--text); }
  .title { font-size: 18px; font-weight: 600; }
  .group { font-weight: 600; }
  .soft { fill: var(--soft); }
  .end { text-anchor: end; }
  .back { fill: var(--back); }
  .line { stroke: var(--line); }
  .gateway { fill: var(--gateway); }
  .baseline { fill: var(--baseline); }
`

// plot draws each figure as two bars on a scale of its own.
func plot(outcomes []*outcome) []byte {
	var b bytes.Buffer
	y := titleSpace
	for _, o := range outcomes {
		drawn := false
		for _, f := range o.figures {
			if !f.plot {
				continue
			}
			if !drawn {
				drawn = true
				fmt.Fprintf(&b, "<line class=\"line\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", plotMargin, y, plotWidth-plotMargin, y)
				write(&b, plotMargin, y+22, "group", o.title)
				y += groupSpace
			}
			row(&b, y, o, f)
			y += rowHeight
		}
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n", plotWidth, y+plotFoot, plotWidth, y+plotFoot)
	fmt.Fprintf(&out, "<title>The gateway and a plain server of net/http and go-redis</title>\n<style>%s</style>\n", plotStyle)
	fmt.Fprintf(&out, "<rect class=\"back\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n", plotWidth, y+plotFoot)
	write(&out, plotMargin, 34, "title", "The gateway and a plain server, on one machine in one sitting")
	for i, s := range []side{gateway, baseline} {
		x := plotMargin + i*110
		fmt.Fprintf(&out, "<rect class=\"%s\" x=\"%d\" y=\"49\" width=\"12\" height=\"12\" rx=\"2\"/>\n", s, x)
		write(&out, x+18, 60, "soft", [...]string{"gateway", "plain server"}[s])
	}
	_, _ = b.WriteTo(&out) // both are in memory
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// row draws one figure: what it is, its bars, and how they compare.
func row(b *bytes.Buffer, y int, o *outcome, f figure) {
	g, p := o.value(gateway, f).median, o.value(baseline, f).median
	largest := max(g, p)
	hint := "less is better"
	if f.more {
		hint = "more is better"
	}
	write(b, barsLeft, y+12, "soft", f.name+", "+hint)
	for i, s := range []side{gateway, baseline} {
		v := [...]float64{g, p}[s]
		width := 0.0
		if largest > 0 {
			width = max(v, 0) / largest * barsWidth
		}
		top := y + 19 + i*(barHeight+2)
		fmt.Fprintf(b, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>\n", s, barsLeft, top, max(width, 1), barHeight)
		write(b, barsLeft+int(width)+8, top+12, "", strings.TrimSpace(number(v)+" "+f.unit))
	}
	write(b, plotWidth-plotMargin, y+39, "end", compare(f, g, p))
}

func write(b *bytes.Buffer, x, y int, class, text string) {
	fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\"", x, y)
	if class != "" {
		fmt.Fprintf(b, " class=\"%s\"", class)
	}
	b.WriteString(">")
	_ = xml.EscapeText(b, []byte(text)) // into memory
	b.WriteString("</text>\n")
}
