// Package chart draws data as pictures: lines, steps and bars with axes, as SVG for both a light and a dark page, and as PNG.
//
// A chart is data first: what it draws can be had as a table, so that nobody depends on seeing it. Series are told apart by
// colour, by dash and by marker. It is pure: it reads no files, knows no result document and computes nothing but
// where things stand on the picture. No number makes it panic; what is not finite is left out.
package chart

import (
	"math"
	"slices"
)

// Kind is how a chart shows its series.
type Kind string

// The kinds.
const (
	Lines Kind = "lines" // points joined by straight lines, with a marker each
	Steps Kind = "steps" // each value holds until the next point
	Bars  Kind = "bars"  // at X = 0, 1, 2, … with the names in X.Names
)

// Chart is a picture of some series over one axis.
type Chart struct {
	ID     string   `json:"id"` // unique in its document: letters, digits and -
	Title  string   `json:"title"`
	Note   string   `json:"note,omitempty"` // what a reader must know with it
	Kind   Kind     `json:"kind"`
	X      Axis     `json:"x"`
	Y      Axis     `json:"y"`
	Series []Series `json:"series"`
	Marks  []Mark   `json:"marks,omitempty"`
	ByY    bool     `json:"-"` // its table has a line for each place of Y: a distribution
}

// Axis is one of the two. Ticks are chosen where none are given.
type Axis struct {
	Name  string   `json:"name"`
	Unit  string   `json:"unit,omitempty"`
	Ticks []Tick   `json:"-"`
	Names []string `json:"names,omitempty"` // of the places 0, 1, 2, … of bars
	Log   bool     `json:"log,omitempty"`
	Zero  bool     `json:"-"` // 0 is on it
	From  *float64 `json:"-"` // where it begins; nil: where the data do
	To    *float64 `json:"-"`
}

// Tick is a place on an axis that has a label.
type Tick struct {
	At    float64
	Label string
}

// Series is one line, or one set of bars.
type Series struct {
	Name   string  `json:"name"`
	Style  int     `json:"-"` // colour, dash and marker: 0 … Styles-1
	Guide  bool    `json:"guide,omitempty"`
	Light  bool    `json:"-"` // bars: drawn as an outline
	Stack  string  `json:"-"` // bars of one name stand on each other
	Plain  bool    `json:"-"` // lines: without markers
	Points []Point `json:"points"`
}

// Styles is how many series can be told apart.
const Styles = 6

// Point is one value. Low and High are its interval; nil where none is known.
type Point struct {
	X    float64  `json:"x"`
	Y    float64  `json:"y"`
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
}

// Mark is a place on X that is named, or a stretch of it where To is greater than At.
type Mark struct {
	At    float64 `json:"at"`
	To    float64 `json:"to,omitempty"`
	Label string  `json:"label"`
}

// Finite is the series without points that are not finite, and without intervals that are not.
func Finite(points []Point) []Point {
	out := make([]Point, 0, len(points))
	for _, p := range points {
		if !finite(p.X) || !finite(p.Y) {
			continue
		}
		if p.Low == nil || p.High == nil || !finite(*p.Low) || !finite(*p.High) || *p.Low > *p.High {
			p.Low, p.High = nil, nil
		}
		out = append(out, p)
	}
	return out
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Thin leaves at most most points of a line in the order of X: of each stretch the lowest and the highest, so that no peak is
// lost, and always the first and the last.
func Thin(points []Point, most int) []Point {
	if len(points) <= most || most < 4 {
		return points
	}
	stretches := most/2 - 1
	inner := points[1 : len(points)-1]
	out := append(make([]Point, 0, most), points[0])
	for i := range stretches {
		part := inner[i*len(inner)/stretches : (i+1)*len(inner)/stretches]
		if len(part) == 0 {
			continue
		}
		low, high := 0, 0
		for n := range part {
			if part[n].Y < part[low].Y {
				low = n
			}
			if part[n].Y >= part[high].Y {
				high = n
			}
		}
		first, last := min(low, high), max(low, high)
		out = append(out, part[first])
		if last != first {
			out = append(out, part[last])
		}
	}
	return append(out, points[len(points)-1])
}

// clean is the chart as it can be drawn.
func (c *Chart) clean() *Chart {
	out := *c
	out.Series = nil
	for _, s := range c.Series {
		s.Points = Finite(s.Points)
		s.Style = ((s.Style % Styles) + Styles) % Styles
		if c.Kind == Bars {
			s.Points = slices.DeleteFunc(s.Points, func(p Point) bool {
				return p.X < 0 || p.X != math.Trunc(p.X) || int(min(p.X, 1<<30)) >= len(c.X.Names)
			})
		}
		out.Series = append(out.Series, s)
	}
	out.Marks = slices.DeleteFunc(slices.Clone(c.Marks), func(m Mark) bool { return !finite(m.At) || !finite(m.To) })
	return &out
}

// points is how many there are to draw.
func (c *Chart) points() int {
	n := 0
	for _, s := range c.Series {
		n += len(s.Points)
	}
	return n
}
