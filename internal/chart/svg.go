package chart

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Style is the CSS that SVG pictures of this package need, once in a document. Colours are of a set that stays apart for eyes
// that see few; each has a contrast of 3:1 or more with its ground.
const Style = `.c-p{fill:none;stroke-linejoin:round;stroke-linecap:butt}.c-t{font-family:inherit}.c-b{font-weight:700}.c-m{text-anchor:middle}.c-e{text-anchor:end}
.c-f0{fill:var(--c0)}.c-f1{fill:var(--c1)}.c-f2{fill:var(--c2)}.c-f3{fill:var(--c3)}.c-f4{fill:var(--c4)}.c-f5{fill:var(--c5)}.c-f6{fill:var(--ink)}.c-f7{fill:var(--muted)}.c-f8{fill:var(--grid)}.c-f9{fill:var(--ground)}.c-f10{fill:var(--alarm)}
.c-s0{stroke:var(--c0)}.c-s1{stroke:var(--c1)}.c-s2{stroke:var(--c2)}.c-s3{stroke:var(--c3)}.c-s4{stroke:var(--c4)}.c-s5{stroke:var(--c5)}.c-s6{stroke:var(--ink)}.c-s7{stroke:var(--muted)}.c-s8{stroke:var(--grid)}.c-s9{stroke:var(--ground)}.c-s10{stroke:var(--alarm)}
`

// Variables are the colours that Style uses, as CSS declarations: for a light ground, or for a dark one.
func Variables(dark bool) string {
	names := []string{"c0", "c1", "c2", "c3", "c4", "c5", "ink", "muted", "grid", "ground", "alarm"}
	var b strings.Builder
	for i, c := range palette(dark) {
		fmt.Fprintf(&b, "--%s:#%02x%02x%02x;", names[i], c[0], c[1], c[2])
	}
	return b.String()
}

// palette has the colours in the order of the paints.
func palette(dark bool) [Styles + 5][3]byte {
	if dark {
		return [Styles + 5][3]byte{
			{0x5c, 0xb5, 0xf0}, {0xf2, 0x8e, 0x4b}, {0x2e, 0xc4, 0x9c}, {0xe0, 0x8f, 0xc8}, {0xd9, 0xbd, 0x45}, {0xc4, 0xc8, 0xce},
			{0xec, 0xee, 0xf1}, {0xa9, 0xaf, 0xb8}, {0x39, 0x3f, 0x49}, {0x16, 0x19, 0x1e}, {0xff, 0x7a, 0x6b},
		}
	}
	return [Styles + 5][3]byte{
		{0x00, 0x68, 0xb3}, {0xbf, 0x50, 0x00}, {0x00, 0x7f, 0x5f}, {0xa0, 0x3c, 0x8e}, {0x86, 0x6a, 0x00}, {0x44, 0x4b, 0x55},
		{0x1a, 0x1d, 0x21}, {0x5a, 0x61, 0x6b}, {0xdd, 0xe1, 0xe6}, {0xff, 0xff, 0xff}, {0xc6, 0x28, 0x28},
	}
}

// vector writes SVG elements.
type vector struct{ b strings.Builder }

func number(v float64) string {
	if !finite(v) {
		v = 0
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

func (v *vector) path(points []pt) {
	v.b.WriteString(`d="`)
	for i, p := range points {
		switch {
		case i == 0:
			v.b.WriteString("M" + number(p.x) + " " + number(p.y))
		case p.y == points[i-1].y:
			v.b.WriteString("H" + number(p.x))
		case p.x == points[i-1].x:
			v.b.WriteString("V" + number(p.y))
		default:
			v.b.WriteString("L" + number(p.x) + " " + number(p.y))
		}
	}
}

func (v *vector) line(points []pt, p paint, width float64, dash []float64) {
	fmt.Fprintf(&v.b, `<path class="c-p c-s%d" stroke-width="%s" `, p, number(width))
	if len(dash) > 0 {
		parts := make([]string, len(dash))
		for i, n := range dash {
			parts[i] = number(n)
		}
		v.b.WriteString(`stroke-dasharray="` + strings.Join(parts, " ") + `" `)
	}
	v.path(points)
	v.b.WriteString("\"/>\n")
}

func (v *vector) area(points []pt, p paint, opacity float64) {
	fmt.Fprintf(&v.b, `<path class="c-f%d" `, p)
	if opacity < 1 {
		v.b.WriteString(`opacity="` + strconv.FormatFloat(opacity, 'g', 3, 64) + `" `)
	}
	v.path(points)
	v.b.WriteString("Z\"/>\n")
}

func (v *vector) text(at pt, s string, w write) {
	class := "c-t c-f" + strconv.Itoa(int(w.paint))
	if w.bold {
		class += " c-b"
	}
	switch w.anchor {
	case 0.5:
		class += " c-m"
	case 1:
		class += " c-e"
	}
	fmt.Fprintf(&v.b, "<text class=\"%s\" x=\"%s\" y=\"%s\" font-size=\"%s\">%s</text>\n", class, number(at.x), number(at.y), number(w.size), Escape(s))
}

// Escape makes text fit for XML and HTML, in an element or within a quoted attribute. What no document may hold (controls,
// marks that turn the direction of writing) is left out.
func Escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(printable(strings.ToValidUTF8(s, "\uFFFD")))
}

// SVG writes a chart as an element for a page that has Style and Variables. It has a title and a description, and is as
// wide as its place.
func SVG(c *Chart) string {
	d := c.clean()
	v := &vector{}
	id := Escape(c.ID)
	fmt.Fprintf(&v.b, `<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-t %s-d"><title id="%s-t">%s</title><desc id="%s-d">%s</desc>`+"\n",
		number(chartWidth), number(height(d)), id, id, id, Escape(c.Title), id, Escape(c.Describe()))
	draw(d, v, pt{})
	v.b.WriteString("</svg>")
	return v.b.String()
}
