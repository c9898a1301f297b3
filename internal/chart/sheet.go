package chart

import (
	"fmt"
	"image/png"
	"io"
	"math"
	"strings"
)

// Sheet is one picture of several charts with a head: what people put into a text or send to each other.
type Sheet struct {
	Title   string
	Warn    []string // what nobody may overlook
	Lines   []string // what was measured on what
	Table   [][]string
	Charts  []Chart
	Foot    string
	Columns int  // charts side by side; 0: 2, fewer where there are fewer
	Dark    bool // PNG only: SVG follows the page that it is shown in
}

// Measures of a sheet.
const (
	sheetEdge   = 24.0
	sheetGap    = 30.0
	titleSize   = 20.0
	headingSize = 14.0
	tableSize   = 13.0
	tableLine   = 20.0
)

func (s *Sheet) columns() int {
	n := s.Columns
	if n <= 0 {
		n = 2
	}
	return max(1, min(n, max(1, len(s.Charts))))
}

// width is how wide the sheet is. A table needs some room, also above one chart.
func (s *Sheet) width() float64 {
	n := float64(s.columns())
	wide := 2*sheetEdge + n*chartWidth + (n-1)*sheetGap
	if len(s.Table) > 0 {
		wide = max(wide, 2*sheetEdge+s.tableWidth())
	}
	return wide
}

// tableColumns are the widths of the table's columns.
func (s *Sheet) tableColumns() []float64 {
	var widths []float64
	for _, line := range s.Table {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], min(260, width(printable(cell), tableSize)))
		}
	}
	return widths
}

const tableGap = 22.0

func (s *Sheet) tableWidth() float64 {
	total := 0.0
	for _, w := range s.tableColumns() {
		total += w + tableGap
	}
	return max(0, total-tableGap)
}

// draw draws the sheet from the top and gives its height; on a nil surface it only measures.
func (s *Sheet) draw(to surface) float64 {
	put := func(at pt, text string, w write) {
		if to != nil {
			to.text(at, printable(text), w)
		}
	}
	inner := s.width() - 2*sheetEdge
	y := sheetEdge
	paragraph := func(text string, w write, line float64) {
		for _, part := range wrapped(printable(text), w.size, inner) {
			y += line
			put(pt{sheetEdge, y}, part, w)
		}
	}
	paragraph(s.Title, write{size: titleSize, bold: true, paint: ink}, 22)
	y += 4
	for _, text := range s.Warn {
		paragraph(text, write{size: headingSize, bold: true, paint: alarm}, 19)
	}
	for _, text := range s.Lines {
		paragraph(text, write{size: textSize, paint: muted}, 17)
	}
	if len(s.Table) > 0 {
		y += 12
		widths := s.tableColumns()
		for n, line := range s.Table {
			y += tableLine
			x := sheetEdge
			for i, cell := range line {
				w := write{size: tableSize, bold: n == 0, paint: ink}
				at := x
				if i > 0 {
					at, w.anchor = x+widths[i], 1
				}
				if n == 0 {
					w.paint = muted
				}
				put(pt{at, y}, clip(printable(cell), tableSize, widths[i]), w)
				x += widths[i] + tableGap
			}
			if n == 0 && to != nil {
				to.line([]pt{{sheetEdge, y + 6}, {sheetEdge + s.tableWidth(), y + 6}}, grid, 1, nil)
			}
		}
	}
	y = s.charts(to, y+14)
	if s.Foot != "" {
		y += 6
		paragraph(s.Foot, write{size: textSize, paint: muted}, 17)
	}
	return math.Ceil(y + sheetEdge)
}

// charts draws the charts in rows below y.
func (s *Sheet) charts(to surface, y float64) float64 {
	n := s.columns()
	for i := 0; i < len(s.Charts); i += n {
		row := s.Charts[i:min(i+n, len(s.Charts))]
		high, head := 0.0, 0.0
		clean := make([]*Chart, len(row))
		titles := make([][]string, len(row))
		notes := make([][]string, len(row))
		for k := range row {
			clean[k] = row[k].clean()
			titles[k] = wrapped(printable(row[k].Title), headingSize, chartWidth)
			notes[k] = wrapped(printable(row[k].Note), textSize, chartWidth)
			head = max(head, 18*float64(len(titles[k]))+10)
			high = max(high, height(clean[k])+15*float64(len(notes[k])))
		}
		y += 16
		if to != nil {
			for k, c := range clean {
				x := sheetEdge + float64(k)*(chartWidth+sheetGap)
				for t, text := range titles[k] {
					to.text(pt{x, y + 14 + 18*float64(t)}, text, write{size: headingSize, bold: true, paint: ink})
				}
				draw(c, to, pt{x, y + head})
				for t, text := range notes[k] {
					to.text(pt{x, y + head + height(c) + 11 + 15*float64(t)}, text, write{size: textSize, paint: muted})
				}
			}
		}
		y += head + high + 6
	}
	return y
}

// SVG writes the sheet as a file of its own, which follows the reader's choice of light or dark.
func (s *Sheet) SVG(w io.Writer) error {
	high := s.draw(nil)
	v := &vector{}
	var about []string
	for i := range s.Charts {
		about = append(about, s.Charts[i].Title+". "+s.Charts[i].Describe())
	}
	fmt.Fprintf(&v.b, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]s" height="%[2]s" viewBox="0 0 %[1]s %[2]s" role="img" aria-labelledby="sheet-t sheet-d"><title id="sheet-t">%[3]s</title><desc id="sheet-d">%[4]s</desc>`+"\n",
		number(s.width()), number(high), Escape(s.Title), Escape(strings.Join(append(append([]string{}, s.Warn...), about...), " ")))
	fmt.Fprintf(&v.b, "<style>svg{%sfont-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}@media (prefers-color-scheme:dark){svg{%s}}\n%s</style>\n", Variables(false), Variables(true), Style)
	v.area([]pt{{0, 0}, {s.width(), 0}, {s.width(), high}, {0, high}}, ground, 1)
	s.draw(v)
	v.b.WriteString("</svg>\n")
	_, err := io.WriteString(w, v.b.String())
	return err
}

// largestImage bounds an image, in pixels.
const largestImage = 60_000_000

// PNG writes the sheet as an image, with two pixels for each of the drawing, fewer where it would be huge.
func (s *Sheet) PNG(w io.Writer) error {
	high, scale := s.draw(nil), 2.0
	if area := s.width() * high; area*scale*scale > largestImage {
		scale = math.Sqrt(largestImage / area)
	}
	r, err := newRaster(s.width(), high, scale, s.Dark)
	if err != nil {
		return err
	}
	s.draw(r)
	return png.Encode(w, r.img)
}
