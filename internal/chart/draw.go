package chart

import (
	"fmt"
	"math"
	"slices"
)

// Sizes of a chart, in pixels. It is made for the width of a phone, where it is shown at about its own size.
const (
	chartWidth = 400.0
	plotHeight = 176.0
	textSize   = 12.0
	lineHeight = 16.0
	markerSize = 3.4
	padRight   = 14.0
	labelGap   = 12.0 // between the name of Y and its highest label
)

// drawing is one chart being drawn with its upper left corner at origin.
type drawing struct {
	*Chart
	s                        surface
	origin                   pt
	left, right, top, bottom float64 // of the plot
	x, y                     scale
	legend                   [][]entry
}

// entry is one name of the legend.
type entry struct {
	Series
	x float64
}

const swatch = 26.0

// legendRows lays out the names of the series; one alone needs none, unless it says something.
func legendRows(c *Chart) [][]entry {
	if len(c.Series) == 0 || len(c.Series) == 1 && c.Series[0].Name == "" {
		return nil
	}
	var rows [][]entry
	x := math.Inf(1)
	for _, s := range c.Series {
		s.Name = clip(printable(s.Name), textSize, chartWidth-swatch-2)
		w := swatch + width(s.Name, textSize) + 14
		if x+w-14 > chartWidth {
			rows, x = append(rows, nil), 0
		}
		last := len(rows) - 1
		rows[last] = append(rows[last], entry{s, x})
		x += w
	}
	return rows
}

// height is how high a chart is.
func height(c *Chart) float64 {
	return float64(len(legendRows(c)))*lineHeight + lineHeight + labelGap + plotHeight + 2*lineHeight + 6
}

// draw draws a chart of clean data.
func draw(c *Chart, s surface, origin pt) {
	d := &drawing{Chart: c, s: s, origin: origin, legend: legendRows(c)}
	d.names()
	d.top = origin.y + float64(len(d.legend))*lineHeight + lineHeight + labelGap
	d.bottom = d.top + plotHeight
	d.right = origin.x + chartWidth - padRight
	const yPlaces = 5
	d.y = fit(c.Y, d.extentY(), yPlaces)
	d.y.from, d.y.to = d.bottom, d.top
	yTicks := ticks(c.Y, d.y, yPlaces)
	widest := 0.0
	for _, t := range yTicks {
		widest = max(widest, width(t.Label, textSize))
	}
	d.left = origin.x + max(16, widest+7)
	d.s.text(pt{origin.x, d.top - labelGap}, clip(axisText(c.Y), textSize, chartWidth), write{size: textSize, paint: muted})
	for _, t := range yTicks {
		at := d.y.at(t.At)
		d.s.line([]pt{{d.left, at}, {d.right, at}}, grid, 1, nil)
		d.s.text(pt{d.left - 6, at + 4}, t.Label, write{size: textSize, anchor: 1, paint: muted})
	}
	if c.points() == 0 {
		d.s.text(pt{(d.left + d.right) / 2, (d.top + d.bottom) / 2}, "no data", write{size: textSize, anchor: 0.5, paint: muted})
		return
	}
	if c.Kind == Bars {
		d.bars()
	} else {
		d.overX()
	}
	d.s.text(pt{(d.left + d.right) / 2, d.bottom + 2*lineHeight + 1}, clip(axisText(c.X), textSize, chartWidth-40), write{size: textSize, anchor: 0.5, paint: muted})
}

// axisText names an axis with its unit.
func axisText(a Axis) string {
	name := printable(a.Name)
	if a.Unit != "" {
		name += " (" + printable(a.Unit) + ")"
	}
	return name
}

func (d *drawing) names() {
	for row, entries := range d.legend {
		y := d.origin.y + float64(row)*lineHeight + lineHeight/2
		for _, e := range entries {
			x := d.origin.x + e.x
			if d.Kind == Bars {
				d.box(x+4, y-5, x+18, y+5, e.Series)
			} else {
				d.stroke([]pt{{x, y}, {x + swatch - 6, y}}, e.Series)
				if !e.Plain && !e.Guide {
					d.s.area(shape(e.Style, pt{x + (swatch-6)/2, y}, markerSize), paint(e.Style), 1)
				}
			}
			d.s.text(pt{x + swatch, y + 4}, e.Name, write{size: textSize, paint: ink})
		}
	}
}

func (d *drawing) stroke(points []pt, s Series) {
	if s.Guide {
		color := muted
		if guides := slices.DeleteFunc(slices.Clone(d.Series), func(s Series) bool { return !s.Guide }); len(guides) > 1 {
			color = paint(s.Style) // several are told apart by whose they are
		}
		d.s.line(points, color, 1.2, []float64{3, 3})
		return
	}
	d.s.line(points, paint(s.Style), 2, dashes()[s.Style])
}

// box is a bar.
func (d *drawing) box(x0, y0, x1, y1 float64, s Series) {
	corners := []pt{{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}}
	if !s.Light {
		d.s.area(corners, paint(s.Style), 1)
		return
	}
	d.s.area(corners, paint(s.Style), 0.18)
	if y1-y0 > 1 {
		d.s.line([]pt{{x0 + 0.5, y0 + 0.5}, {x1 - 0.5, y0 + 0.5}, {x1 - 0.5, y1 - 0.5}, {x0 + 0.5, y1 - 0.5}, {x0 + 0.5, y0 + 0.5}}, paint(s.Style), 1, nil)
	}
}

func (d *drawing) extentY() extent {
	var e extent
	stacked := map[string]map[float64]float64{}
	for _, s := range d.Series {
		for _, p := range s.Points {
			v := p.Y
			if s.Stack != "" {
				if stacked[s.Stack] == nil {
					stacked[s.Stack] = map[float64]float64{}
				}
				stacked[s.Stack][p.X] += v
				v = stacked[s.Stack][p.X]
			}
			e.add(v)
		}
	}
	// An interval may double the axis and no more: one that a single bad pass has blown up would flatten all else.
	values := e
	if d.Y.Zero {
		values.add(0)
	}
	most := values.high - values.low
	if most == 0 {
		most = math.Abs(values.high)
	}
	for _, s := range d.Series {
		for _, p := range s.Points {
			if p.Low != nil && values.ok {
				e.add(max(*p.Low, values.low-most))
				e.add(min(*p.High, values.high+most))
			}
		}
	}
	return e
}

// interval is a bar with caps; where it goes on beyond the plot it ends in an arrow.
func (d *drawing) interval(x float64, p Point, color paint) {
	if p.Low == nil {
		return
	}
	low, high := d.y.at(*p.Low), d.y.at(*p.High)
	d.s.line([]pt{{x, low}, {x, high}}, color, 1.2, nil)
	end := func(y float64, beyond bool, inwards float64) {
		if beyond {
			d.s.line([]pt{{x - 3, y + inwards}, {x, y}, {x + 3, y + inwards}}, color, 1.2, nil)
			return
		}
		d.s.line([]pt{{x - 3, y}, {x + 3, y}}, color, 1.2, nil)
	}
	slack := (d.y.high - d.y.low) * 1e-9
	end(low, *p.Low < d.y.low-slack, -5)
	end(high, *p.High > d.y.high+slack, 5)
}

// overX draws lines and steps.
func (d *drawing) overX() {
	var e extent
	for _, s := range d.Series {
		for _, p := range s.Points {
			e.add(p.X)
		}
	}
	const xPlaces = 6
	d.x = fit(d.X, e, xPlaces)
	d.x.from, d.x.to = d.left, d.right
	if len(d.X.Ticks) > 0 { // points stand off the edges
		d.x.from, d.x.to = d.left+10, d.right-10
	}
	xTicks := ticks(d.X, d.x, xPlaces)
	edge := math.Inf(-1)
	for _, t := range xTicks {
		at, half := d.x.at(t.At), width(t.Label, textSize)/2
		d.s.line([]pt{{at, d.bottom}, {at, d.bottom + 4}}, muted, 1, nil)
		place := min(max(at, d.origin.x+half), d.origin.x+chartWidth-half)
		if place-half < edge+5 {
			continue // it would run into the one before
		}
		edge = place + half
		d.s.text(pt{place, d.bottom + lineHeight}, t.Label, write{size: textSize, anchor: 0.5, paint: muted})
	}
	d.s.line([]pt{{d.left, d.bottom}, {d.right, d.bottom}}, muted, 1, nil)
	d.marks()
	for _, s := range d.Series {
		d.series(s)
	}
}

func (d *drawing) series(s Series) {
	var line []pt
	for i, p := range s.Points {
		at := pt{d.x.at(p.X), d.y.at(p.Y)}
		if d.Kind == Steps && i > 0 {
			line = append(line, pt{at.x, line[len(line)-1].y})
		}
		line = append(line, at)
		d.interval(at.x, p, paint(s.Style))
	}
	if len(line) > 1 {
		d.stroke(line, s)
	}
	if s.Guide || s.Plain && len(line) > 1 {
		return
	}
	for _, p := range s.Points {
		d.s.area(shape(s.Style, pt{d.x.at(p.X), d.y.at(p.Y)}, markerSize), paint(s.Style), 1)
	}
}

// marks are drawn beneath the series; labels that would run into each other stand lower.
func (d *drawing) marks() {
	var ends [4]float64 // right end of the last label by row
	for i := range ends {
		ends[i] = math.Inf(-1)
	}
	for _, m := range d.Marks {
		if m.At < d.x.low && m.To < d.x.low || m.At > d.x.high {
			continue
		}
		at := d.x.at(m.At)
		if m.To > m.At {
			to := max(d.x.at(m.To), at+2)
			d.s.area([]pt{{at, d.top}, {to, d.top}, {to, d.bottom}, {at, d.bottom}}, alarm, 0.25)
		} else {
			d.s.line([]pt{{at, d.top}, {at, d.bottom}}, muted, 1, []float64{3, 3})
		}
		if m.Label == "" {
			continue
		}
		text := printable(m.Label)
		w := width(text, textSize)
		begin := at + 4
		if begin+w > d.right {
			begin = at - 4 - w
		}
		for row := range ends {
			if begin > ends[row]+6 {
				d.s.text(pt{begin, d.top + 12 + float64(row)*15}, text, write{size: textSize, paint: ink})
				ends[row] = begin + w
				break
			}
		}
	}
}

// bars draws bars side by side, or on each other where they share a stack.
func (d *drawing) bars() {
	n := len(d.X.Names)
	slot := (d.right - d.left) / float64(max(1, n))
	columns := map[string]int{}
	of := func(i int, s Series) string {
		if s.Stack != "" {
			return "stack " + s.Stack
		}
		return fmt.Sprint("series ", i)
	}
	for i, s := range d.Series {
		if key := of(i, s); columns[key] == 0 {
			columns[key] = len(columns) + 1
		}
	}
	wide := min(64, slot*0.78) / float64(max(1, len(columns)))
	gap := 0.0
	if wide > 4 && len(columns) > 1 {
		gap = 1
	}
	tops := map[[2]int]float64{}
	for i, s := range d.Series {
		column := columns[of(i, s)] - 1
		for _, p := range s.Points {
			place := int(p.X)
			mid := d.left + (float64(place)+0.5)*slot
			x0 := mid + (float64(column)-float64(len(columns))/2)*wide
			base := tops[[2]int{column, place}]
			y0, y1 := d.y.at(base+p.Y), d.y.at(base)
			if s.Stack != "" {
				tops[[2]int{column, place}] = base + p.Y
			}
			d.box(x0+gap/2, min(y0, y1), x0+wide-gap/2, max(y0, y1), s)
			d.interval(x0+wide/2, p, ink)
		}
	}
	zero := d.y.at(max(0, d.y.low))
	d.s.line([]pt{{d.left, zero}, {d.right, zero}}, muted, 1, nil)
	edge := math.Inf(-1)
	for i, name := range d.X.Names {
		text := clip(printable(name), textSize, max(slot-4, 34))
		at, half := d.left+(float64(i)+0.5)*slot, width(text, textSize)/2
		if at-half < edge+5 {
			continue
		}
		edge = at + half
		d.s.text(pt{at, d.bottom + lineHeight}, text, write{size: textSize, anchor: 0.5, paint: muted})
	}
}
