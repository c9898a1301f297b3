package report

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/llm-speed/llm-speed/internal/record"
)

// curved is a run whose workloads have several points, or several requests one after another.
func curved() *record.Result {
	r := full()
	point := func(row record.Row, key, at string, value float64, decode *float64) record.Row {
		row.Key, row.Point, row.Status, row.DecodeTPS = row.ID+"/"+at, map[string]any{key: value}, record.OK, decode
		return row
	}
	long, batch, session := r.Rows[1], r.Rows[3], r.Rows[0]
	unknown := point(long, "context", "context=131072", 131072, nil)
	unknown.Reasons = record.Reasons{"decode_tps": "the stream had one read"}
	one, many := point(batch, "batch", "batch=1", 1, is(120.5)), batch
	one.AggregateTPS, one.PerStreamTPS = is(120.5), is(120.5)
	session.ID, session.Workload, session.Key, session.Samples = "W5", "agent-trace", "W5", nil
	for i := range 6 {
		s := record.Sample{Pass: 1, Stream: i + 1, TTFTms: is(100 + 40*float64(i*i%7)), DecodeTPS: is(90 - float64(i)), Inputs: &record.Inputs{Release: i + 1}}
		if i == 2 {
			s.TTFTms = nil
		}
		session.Samples = append(session.Samples, s)
	}
	session.Samples = append(session.Samples, record.Sample{Pass: 2, Inputs: &record.Inputs{Release: 1}})
	r.Rows = []record.Row{point(long, "context", "context=32768", 32768, is(151.8)), point(long, "context", "context=65536", 65536, is(0.4)), unknown, one, many, session}
	return r
}

func TestCharts(t *testing.T) {
	for _, c := range []struct {
		name   string
		style  Style
		blocks bool
	}{
		{"charts-72.txt", Style{Width: 72}, true},
		{"charts-120.txt", Style{Width: 120}, true},
		{"charts-ascii.txt", Style{Width: 80}, false},
		{"charts-colour.txt", Style{Width: 80, Color: true}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Charts(&out, curved(), c.style, c.blocks); err != nil {
				t.Fatal(err)
			}
			golden(t, c.name, out.Bytes())
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > c.style.Width && !c.style.Color {
					t.Errorf("line of %d columns, over %d: %s", n, c.style.Width, line)
				}
				for _, x := range line {
					if !c.blocks && x > 127 {
						t.Errorf("%q is no ASCII: %s", x, line)
					}
				}
			}
		})
	}
}

// Where there is nothing to draw, or no room, nothing is written; odd values make nothing fail.
func TestNoCharts(t *testing.T) {
	var out bytes.Buffer
	if err := Charts(&out, curved(), Style{Width: ChartWidth - 1}, true); err != nil || out.Len() > 0 {
		t.Errorf("%v: %s", err, out.String())
	}
	if err := Charts(&out, full(), Style{Width: 100}, true); err != nil || out.Len() > 0 {
		t.Errorf("%v: %s", err, out.String())
	}
	if err := Charts(&out, &record.Result{}, Style{Width: 100}, true); err != nil || out.Len() > 0 {
		t.Errorf("%v: %s", err, out.String())
	}
	odd := curved()
	for i := range odd.Rows {
		odd.Rows[i].DecodeTPS, odd.Rows[i].AggregateTPS = is([]float64{math.MaxFloat64, -1, 0, 5e-324, 1, 2}[i]), nil
		for k := range odd.Rows[i].Samples {
			odd.Rows[i].Samples[k].TTFTms = is(-math.MaxFloat64)
		}
	}
	if err := Charts(&out, odd, Style{Width: 100}, true); err != nil {
		t.Error(err)
	}
}
