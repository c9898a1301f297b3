package page

import (
	"math"
	"strings"

	"github.com/llm-speed/llm-speed/internal/chart"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/stats"
)

// levels are the shares, in thousandths, at which a distribution is shown: close together at the upper end, where it is told
// how bad it gets. A single token of thousands at either end would leave no room for the others.
func levels() []int {
	out := []int{10, 25}
	for i := 50; i < 950; i += 25 {
		out = append(out, i)
	}
	return append(out, 950, 960, 970, 980, 990, 995, 999)
}

// wideRange is by which factor latencies must exceed the middle for an axis of powers.
const wideRange = 8

// leastRange is how much of the middle an axis shows at least: less would make noise look like much.
const leastRange = 0.2

// latency shows how many of the tokens took at most how long, over all requests of a row: all rows in one picture, but a
// picture for each row where several runs are compared.
func (p *pictures) latency() {
	if len(p.runs) == 1 {
		p.distribution("")
		return
	}
	for _, key := range p.keys() {
		p.distribution(key)
	}
}

// distribution draws the rows of a key, or all.
func (p *pictures) distribution(key string) {
	c := chart.Chart{
		Kind: chart.Lines, Title: "Latency of a token", ByY: true, X: chart.Axis{Name: "time for a token", Unit: "ms"},
		Y: chart.Axis{Name: "tokens that took at most so long", Unit: "%", From: number(0), To: number(100), Ticks: []chart.Tick{{At: 0, Label: "0"}, {At: 25, Label: "25"}, {At: 50, Label: "p50"}, {At: 75, Label: "75"}, {At: 95, Label: "p95"}}},
	}
	rows := 0
	low, high := math.Inf(1), math.Inf(-1)
	middle := math.Inf(1) // the least of the medians
	estimated := false
	absent := ""
	for _, run := range p.runs {
		for _, r := range p.measured(run) {
			if key != "" && r.Key != key {
				continue
			}
			var pool []stats.Weighted
			for _, s := range p.builder.runs[run].Streams[r.Key] {
				if s.Sample >= 0 && s.Sample < len(r.Samples) && r.Samples[s.Sample].Error == "" {
					pool = append(pool, s.ITL...)
				}
			}
			if len(pool) == 0 {
				if why := p.builder.runs[run].Absent[r.Key]; why != "" {
					absent = why
				}
				continue
			}
			point := report.PointText(r.Point)
			if key != "" && point != "" {
				c.Title, point = "Latency of a token: "+point, ""
			}
			s := chart.Series{Name: p.name(run, point), Style: p.style(run, rows), Plain: true}
			for _, level := range levels() {
				if x, ok := stats.WeightedPercentile(pool, float64(level)/1000); ok {
					s.Points = append(s.Points, chart.Point{X: x, Y: float64(level) / 10})
					low, high = min(low, x), max(high, x)
				}
			}
			if x, ok := stats.WeightedPercentile(pool, 0.5); ok {
				middle = min(middle, x)
			}
			if text := percentiles(r); text != "" {
				s.Name = strings.TrimPrefix(s.Name+": "+text, ": ")
			}
			estimated = estimated || strings.Contains(r.TokensHow, "estimated")
			rows++
			if len(p.runs) == 1 && rows > chart.Styles { // beyond that nobody can tell them apart
				continue
			}
			c.Series = append(c.Series, s)
		}
	}
	switch {
	case rows == 0:
		if absent != "" {
			p.note("No picture of token latency and none of single streams: " + absent + ".")
		}
		return
	case middle > 0 && high/middle > wideRange:
		// What was read together with the token before it took next to no time: that tail would fill the picture.
		c.X.Log, c.X.From = true, number(max(low, middle/wideRange))
		if *c.X.From <= 0 {
			c.X.From = number(middle / wideRange)
		}
	case low < middle/2:
		c.X.Zero = true
	case high-low < leastRange*middle:
		c.X.From, c.X.To = number(max(0, (low+high)/2-leastRange/2*middle)), number((low+high)/2+leastRange/2*middle)
	}
	c.Note = "Over all tokens of all requests, but the quickest hundredth and the slowest thousandth."
	if estimated {
		c.Note += " ≈ tokens are spread over the events that brought them."
	}
	if rows > len(c.Series) {
		c.Note += " Of more rows than can be told apart the first are shown."
	}
	p.chart("latency", c)
}

// percentiles are the row's own figures, which have a floor of samples; empty where none is known.
func percentiles(r *record.Row) string {
	var parts []string
	for i, f := range report.Figures(*r, []string{"decode_p50_latency_ms", "decode_p95_latency_ms"}) {
		if f.Value != nil {
			parts = append(parts, []string{"p50 ", "p95 "}[i]+f.Text)
		}
	}
	return strings.Join(parts, ", ")
}

func number(v float64) *float64 { return &v }

// note adds a note to the workload, once.
func (p *pictures) note(text string) {
	for _, n := range p.out.Notes {
		if n == text {
			return
		}
	}
	p.out.Notes = append(p.out.Notes, text)
}
