package chart

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Describe says in words what a chart shows, for those who do not see it.
func (c *Chart) Describe() string {
	kinds := map[Kind]string{Lines: "Lines", Steps: "Steps", Bars: "Bars"}
	text := fmt.Sprintf("%s: %s over %s.", kinds[c.Kind], axisText(c.Y), axisText(c.X))
	for _, s := range c.Series {
		points := Finite(s.Points)
		if len(points) == 0 {
			continue
		}
		low, high := points[0], points[0]
		for _, p := range points {
			if p.Y < low.Y {
				low = p
			}
			if p.Y > high.Y {
				high = p
			}
		}
		name := s.Name
		if name != "" {
			name += ": "
		}
		many := "1 point"
		if len(points) > 1 {
			many = strconv.Itoa(len(points)) + " points"
		}
		text += fmt.Sprintf(" %s%s, least %s at %s, greatest %s at %s.", name, many, Short(low.Y), c.place(low.X), Short(high.Y), c.place(high.X))
	}
	for _, m := range c.Marks {
		if m.Label != "" {
			text += " Marked: " + m.Label + "."
		}
	}
	if c.Note != "" {
		text += " " + c.Note
	}
	return text
}

// turned is the chart with X and Y in each other's place.
func (c *Chart) turned() *Chart {
	out := &Chart{X: Axis{Name: c.Y.Name, Unit: c.Y.Unit}, Y: Axis{Name: c.X.Name, Unit: c.X.Unit}}
	for _, s := range c.Series {
		turned := Series{Name: s.Name}
		for _, p := range s.Points {
			turned.Points = append(turned.Points, Point{X: p.Y, Y: p.X})
		}
		out.Series = append(out.Series, turned)
	}
	return out
}

// place names a value of X.
func (c *Chart) place(x float64) string {
	if c.Kind == Bars && x >= 0 && x < float64(len(c.X.Names)) {
		return c.X.Names[int(x)]
	}
	for _, t := range c.X.Ticks {
		if t.At == x && t.Label != "" {
			return t.Label
		}
	}
	return Short(x)
}

// Short shows a value with up to six digits, which is more than any picture shows.
func Short(v float64) string {
	if a := math.Abs(v); a != 0 && (a >= 1e9 || a < 1e-4) {
		return strconv.FormatFloat(v, 'g', 6, 64)
	}
	digits := 0
	for a := math.Abs(v); digits < 3 && a < 1e5 && math.Abs(v-math.Round(v*math.Pow10(digits))/math.Pow10(digits)) > a*1e-9; digits++ {
	}
	return grouped(strconv.FormatFloat(v, 'f', digits, 64))
}

// Table is the data of a chart: heads, and a line for each place of X (of Y where ByY is set) that any series has. Cells
// that a series lacks are empty.
func (c *Chart) Table() (heads []string, lines [][]string) {
	if c.ByY {
		return c.turned().Table()
	}
	heads = []string{axisText(c.X)}
	type line struct {
		x     float64
		cells []string
	}
	var all []line
	first := map[float64]int{} // line of the first point at a place
	for _, s := range c.Series {
		name := printable(s.Name)
		switch {
		case name == "":
			name = axisText(c.Y)
		case c.Y.Unit != "":
			name += " (" + printable(c.Y.Unit) + ")"
		}
		column, points := len(heads), Finite(s.Points)
		heads = append(heads, name)
		if slices.ContainsFunc(points, func(p Point) bool { return p.Low != nil }) {
			heads = append(heads, name+", 95 % interval")
		}
		for i := range all {
			all[i].cells = append(all[i].cells, make([]string, len(heads)-column)...)
		}
		used := map[float64]bool{}
		for _, p := range points {
			at, known := first[p.X]
			if !known || used[p.X] { // a second point at one place has a line of its own
				at = len(all)
				all = append(all, line{p.X, append([]string{c.place(p.X)}, make([]string, len(heads)-1)...)})
			}
			if !known {
				first[p.X] = at
			}
			used[p.X] = true
			all[at].cells[column] = Short(p.Y)
			if p.Low != nil {
				all[at].cells[column+1] = Short(*p.Low) + " to " + Short(*p.High)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b line) int { return cmp.Compare(a.x, b.x) })
	for _, l := range all {
		lines = append(lines, l.cells)
	}
	return heads, lines
}
