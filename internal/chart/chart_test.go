package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

func ptr(v float64) *float64 { return &v }

// decay has an interval, a second series, a guide and a mark.
func decay() Chart {
	return Chart{
		ID: "decay", Title: "Decode over context", Kind: Lines, X: Axis{Name: "context", Ticks: []Tick{{32768, "32k"}, {65536, "64k"}}}, Y: Axis{Name: "decode", Unit: "tok/s", Zero: true},
		Series: []Series{
			{Name: "A", Style: 0, Points: []Point{{X: 32768, Y: 120, Low: ptr(110), High: ptr(130)}, {X: 65536, Y: 90}}},
			{Name: "B <b>", Style: 1, Points: []Point{{X: 32768, Y: 60}}},
			{Name: "ideal", Guide: true, Points: []Point{{X: 32768, Y: 120}, {X: 65536, Y: 120}}},
		},
		Marks: []Mark{{At: 40000, Label: "here"}}, Note: "≈ estimated.",
	}
}

func stacked() Chart {
	return Chart{
		ID: "prompts", Title: "Prompt of each request", Kind: Bars, X: Axis{Name: "request", Names: []string{"1", "2"}}, Y: Axis{Name: "prompt", Unit: "tokens", Zero: true},
		Series: []Series{
			{Name: "cached", Style: 2, Stack: "p", Points: []Point{{X: 0, Y: 0}, {X: 1, Y: 900}}},
			{Name: "fresh", Style: 1, Stack: "p", Light: true, Points: []Point{{X: 0, Y: 1000}, {X: 1, Y: 200}}},
		},
	}
}

// wellFormed fails for what an XML parser does not take, and for places that are no numbers.
func wellFormed(t *testing.T, text []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in %.300s", err, text)
		}
		if start, ok := token.(xml.StartElement); ok {
			for _, a := range start.Attr {
				name := a.Name.Local
				if (name == "d" || name == "x" || name == "y" || name == "viewBox") && (strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf")) {
					t.Fatalf("%s=%q", name, a.Value)
				}
				if name == "href" || name == "src" || strings.HasPrefix(name, "on") {
					t.Fatalf("a picture with %s=%q", name, a.Value)
				}
			}
		}
	}
}

func TestGolden(t *testing.T) {
	for _, c := range []Chart{decay(), stacked()} {
		text := SVG(&c)
		wellFormed(t, []byte(text))
		for _, want := range []string{`role="img"`, "<title id=", "<desc id=", axisText(c.X), axisText(c.Y)} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q", c.ID, want)
			}
		}
		golden(t, c.ID+".svg", []byte(text+"\n"))
	}
}

func TestTable(t *testing.T) {
	c := decay()
	heads, lines := c.Table()
	if diff := cmp.Diff([]string{"context", "A (tok/s)", "A (tok/s), 95 % interval", "B <b> (tok/s)", "ideal (tok/s)"}, heads); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{{"32k", "120", "110 to 130", "60", "120"}, {"64k", "90", "", "", "120"}}, lines); diff != "" {
		t.Error(diff)
	}
	dist := Chart{ByY: true, X: Axis{Name: "time", Unit: "ms"}, Y: Axis{Name: "share", Unit: "%"}, Series: []Series{{Name: "A", Points: []Point{{X: 3, Y: 50}, {X: 9, Y: 95}}}}}
	if heads, lines = dist.Table(); heads[0] != "share (%)" || lines[1][0] != "95" || lines[1][1] != "9" {
		t.Error(heads, lines)
	}
}

func TestPictures(t *testing.T) {
	s := Sheet{Title: "A run", Warn: []string{"SIMULATED: <not> real"}, Lines: []string{"model: m"}, Table: [][]string{{"", "TTFT"}, {"W1", "1 ms"}}, Charts: []Chart{decay(), stacked()}, Foot: "foot"}
	var vector, raster bytes.Buffer
	if err := s.SVG(&vector); err != nil {
		t.Fatal(err)
	}
	wellFormed(t, vector.Bytes())
	if err := s.PNG(&raster); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&raster)
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); float64(b.Dx()) != 2*s.width() {
		t.Errorf("the image is %v, the drawing %g wide", b, s.width())
	}
	// Something of each series must be on it.
	seen := map[[3]byte]int{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			seen[[3]byte{byte(r >> 8), byte(g >> 8), byte(b >> 8)}]++
		}
	}
	for _, style := range []int{0, 1, 2} {
		if seen[palette(false)[style]] < 20 {
			t.Errorf("colour %d is on %d pixels", style, seen[palette(false)[style]])
		}
	}
}

// An interval that one bad pass has blown up does not flatten the curve, and is seen to go on.
func TestIntervalsBeyondThePlot(t *testing.T) {
	c := &Chart{ID: "c", Y: Axis{Zero: true}, Series: []Series{{Points: []Point{
		{X: 1, Y: 100, Low: ptr(90), High: ptr(110)}, {X: 2, Y: 80, Low: ptr(0), High: ptr(160_000)}, {X: 3, Y: 60, Low: ptr(-5000), High: ptr(70)},
	}}}}
	d := &drawing{Chart: c}
	if e := d.extentY(); e.low != -100 || e.high != 200 {
		t.Errorf("the axis has to show %g to %g, want -100 to 200", e.low, e.high)
	}
	seen := &lines{}
	draw(c.clean(), seen, pt{})
	up, down := 0, 0
	for _, l := range seen.all {
		if len(l) == 3 && l[0].y == l[2].y && l[1].x-l[0].x == 3 {
			if l[1].y < l[0].y {
				up++
			} else {
				down++
			}
		}
	}
	if up != 1 || down != 1 {
		t.Errorf("%d arrows up and %d down, want one each", up, down)
	}
}

// lines is a surface that only keeps its lines.
type lines struct{ all [][]pt }

func (l *lines) line(points []pt, _ paint, _ float64, _ []float64) { l.all = append(l.all, points) }
func (l *lines) area([]pt, paint, float64)                         {}
func (l *lines) text(pt, string, write)                            {}

// The labels of a logarithmic axis are several, whatever it spans.
func TestLogTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      string
	}{
		{0.03, 3, "0.05 0.1 0.2 0.5 1 2"}, {0.03, 10, "0.03 0.1 0.3 1 3 10"}, {0.2, 0.9, "0.2 0.5"}, {1, 1e6, "1 10 100 1,000 10,000 100,000 1,000,000"}, {4, 4.5, "4.0 4.50"},
	} {
		var got []string
		for _, tick := range logTicks(scale{low: c.low, high: c.high, log: true}, 6) {
			got = append(got, tick.Label)
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%g to %g: %s, want %s", c.low, c.high, text, c.want)
		}
	}
}

func TestThinKeepsPeaks(t *testing.T) {
	var points []Point
	for i := range 10_000 {
		y := float64(i % 7)
		if i == 4321 {
			y = 1e6
		}
		if i == 8765 {
			y = -1e6
		}
		points = append(points, Point{X: float64(i), Y: y})
	}
	out := Thin(points, 120)
	if len(out) > 120 || out[0] != points[0] || out[len(out)-1] != points[9999] || !slices.Contains(out, points[4321]) || !slices.Contains(out, points[8765]) {
		t.Errorf("%d points; the ends or the peaks are lost", len(out))
	}
	if !slices.IsSortedFunc(out, func(a, b Point) int { return int(a.X - b.X) }) {
		t.Error("not in order")
	}
}

// TestStylesAreTold: no two styles share a colour, a dash or a marker, and all stand off the ground in both themes.
func TestStylesAreTold(t *testing.T) {
	seen := map[string]bool{}
	for i := range Styles {
		for _, key := range []string{fmt.Sprint("dash", dashes()[i]), fmt.Sprint("shape", shape(i, pt{}, 1)), fmt.Sprint("light", palette(false)[i]), fmt.Sprint("dark", palette(true)[i])} {
			if seen[key] {
				t.Errorf("style %d shares %s", i, key)
			}
			seen[key] = true
		}
	}
	bright := func(c [3]byte) float64 {
		part := func(b byte) float64 {
			v := float64(b) / 255
			if v <= 0.04045 {
				return v / 12.92
			}
			return math.Pow((v+0.055)/1.055, 2.4)
		}
		return 0.2126*part(c[0]) + 0.7152*part(c[1]) + 0.0722*part(c[2])
	}
	for _, dark := range []bool{false, true} {
		colors := palette(dark)
		behind := bright(colors[ground])
		for i, c := range colors {
			least := 4.5 // WCAG 2.2, 1.4.3
			if paint(i) == grid || paint(i) == ground {
				continue
			}
			a, b := bright(c), behind
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < least {
				t.Errorf("dark %v: paint %d has a contrast of %.2f", dark, i, ratio)
			}
		}
	}
}

// FuzzDraw draws charts of odd numbers and names, with every kind, and both surfaces.
func FuzzDraw(f *testing.F) {
	f.Add("a", "b", 1.0, 2.0, 3.0, 4.0, uint16(2), uint8(0))
	f.Add("<script>alert(1)</script>", "]]>&\x00\xff\u202e", math.NaN(), math.Inf(1), -1.0, 0.0, uint16(1), uint8(1))
	f.Add("same", "", 5.0, 5.0, 5.0, 0.0, uint16(9), uint8(2))
	f.Add("huge", "tiny", 1.7e308, -1.7e308, 5e-324, 1e300, uint16(3), uint8(3))
	f.Add("many", "many", 1.0, -3.0, 0.25, 1e-3, uint16(10_000), uint8(4))
	f.Add("none", "none", 1.0, 1.0, 1.0, 1.0, uint16(0), uint8(6))
	f.Fuzz(func(t *testing.T, title, name string, a, b, c, d float64, n uint16, how uint8) {
		kinds := []Kind{Lines, Steps, Bars}
		ch := Chart{ID: "x", Title: title, Note: name, Kind: kinds[how%3], X: Axis{Name: name, Unit: title, Log: how&4 != 0}, Y: Axis{Name: title, Zero: how&8 != 0, Log: how&16 != 0}, ByY: how&32 != 0}
		if ch.Kind == Bars {
			ch.X.Names = []string{name, title, ""}
		}
		for i := range int(how%4) + 1 {
			s := Series{Name: name, Style: int(how) - i, Guide: i == 3, Light: i == 1}
			if how&64 != 0 {
				s.Stack = "s"
			}
			for k := range min(int(n), 2000) {
				x := a + float64(k)*c
				s.Points = append(s.Points, Point{X: x, Y: b*float64(k%5) + d, Low: &a, High: &d})
			}
			ch.Series = append(ch.Series, s)
		}
		ch.Marks = []Mark{{At: a, To: b, Label: name}, {At: c, Label: title}}
		if how&128 != 0 {
			ch.X.From, ch.X.To = &b, &a
		}
		wellFormed(t, []byte(SVG(&ch)))
		ch.Table()
		s := Sheet{Title: title, Warn: []string{name}, Charts: []Chart{ch}}
		var out bytes.Buffer
		if err := s.SVG(&out); err != nil {
			t.Fatal(err)
		}
		wellFormed(t, out.Bytes())
		if n < 50 {
			if err := s.PNG(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	})
}
