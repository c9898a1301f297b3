package page

import (
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/chart"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// mostCurves bounds how many figures of a workload have a picture over its points.
const mostCurves = 4

// curves shows figures over the points of a workload: lines where the points differ in one number, else bars.
func (p *pictures) curves() {
	var all []*record.Row
	for _, run := range p.runs {
		all = append(all, p.measured(run)...)
	}
	if len(keysOf(all)) < 2 {
		return
	}
	batched := slices.ContainsFunc(all, func(r *record.Row) bool { return r.AggregateTPS != nil })
	for _, name := range curveNames(all, batched) {
		for _, stat := range p.statsOf(all, name) {
			p.curve(all, name, stat)
		}
	}
}

// statsOf are the statistics of a metric that each have a picture: where runs are compared, a style is a run's, and lines of
// two statistics could not be told apart. One empty name: all in one picture.
func (p *pictures) statsOf(rows []*record.Row, name string) []string {
	var out []string
	for _, r := range rows {
		for stat := range r.Metrics[name].Stats {
			if len(p.runs) > 1 && !slices.Contains(out, stat) {
				out = append(out, stat)
			}
		}
	}
	if len(out) < 2 {
		return []string{""}
	}
	slices.Sort(out)
	return out
}

func keysOf(rows []*record.Row) []string {
	var keys []string
	for _, r := range rows {
		if !slices.Contains(keys, r.Key) {
			keys = append(keys, r.Key)
		}
	}
	return keys
}

// curveNames chooses the figures that have a picture: the rates and the latency that people ask for first, then what the
// suite declares, in its order. What the picture of parallel streams shows has none of its own.
func curveNames(rows []*record.Row, batched bool) []string {
	var reported, declared []string
	for _, r := range rows {
		for _, name := range r.Reports {
			if _, own := r.Metrics[name]; own && !slices.Contains(declared, name) {
				declared = append(declared, name)
			}
			if !slices.Contains(reported, name) {
				reported = append(reported, name)
			}
		}
	}
	most := mostCurves
	skip := []string{"prompt_tokens", "output_tokens", "cached_tokens", "total_output_tokens", "total_prompt_tokens", "parallelism_observed"}
	if batched {
		most -= 2 // it has two of its own
		skip = append(skip, "aggregate_tps", "per_stream_tps", "per_stream_p5_tps", "whole_span_tps", "decode_tps", "prefill_tps")
	}
	for _, r := range rows {
		for name := range r.Relative { // a ratio shows what its figure shows
			skip = append(skip, name)
		}
	}
	var out []string
	for _, name := range slices.Concat(declared, []string{"decode_tps", "prefill_tps", "ttft_ms"}, reported) {
		if len(out) < most && !slices.Contains(out, name) && !slices.Contains(skip, name) && slices.Contains(reported, name) {
			out = append(out, name)
		}
	}
	return out
}

// curve draws one figure; a metric that the suite declares has a line for each of its statistics, or only of one.
func (p *pictures) curve(rows []*record.Row, name, only string) {
	key, overNumber := varying(rows)
	var names []string // of places, for bars
	for _, r := range rows {
		if text := report.PointText(r.Point); !slices.Contains(names, text) {
			names = append(names, text)
		}
	}
	c := chart.Chart{Kind: chart.Lines, X: chart.Axis{Name: strings.ReplaceAll(key, "_", " ")}, Y: chart.Axis{Zero: true}}
	if !overNumber {
		c.Kind, c.X = chart.Bars, chart.Axis{Name: "point", Names: names}
	}
	title := ""
	estimated := ""
	number := 0
	for _, run := range p.runs {
		series := []chart.Series{}
		for _, r := range p.measured(run) {
			for _, f := range report.Figures(*r, []string{name}) {
				if f.Value == nil {
					continue
				}
				if only != "" && f.Name != name+"."+only {
					continue
				}
				if f.Estimated != "" {
					estimated = "≈ " + f.Estimated + "."
				}
				title, c.Y.Unit = f.Title, f.Unit
				stat := ""
				if _, own := r.Metrics[name]; own && only == "" {
					stat = strings.TrimPrefix(f.Name, name+".")
					title = strings.TrimSuffix(f.Title, " "+stat)
				}
				at := slices.IndexFunc(series, func(s chart.Series) bool { return s.Name == p.name(run, stat) })
				if at < 0 {
					at = len(series)
					series = append(series, chart.Series{Name: p.name(run, stat), Style: p.style(run, number+at)})
				}
				point := chart.Point{Y: *f.Value, Low: f.Low, High: f.High}
				if overNumber {
					x, _ := numberOf(r.Point[key])
					point.X = x
					c.X.Ticks = addTick(c.X.Ticks, x, pointLabel(r, key))
				} else {
					point.X = float64(slices.Index(names, report.PointText(r.Point)))
				}
				series[at].Points = append(series[at].Points, point)
			}
		}
		number += len(series)
		c.Series = append(c.Series, series...)
	}
	switch c.Y.Unit {
	case "%": // of fractions
		percents(&c)
	case "percent":
		c.Y.Unit = "%"
	}
	c.Y.Name = title
	c.Title = upper(title) + " over " + axisWord(c.X)
	c.Note = estimated
	if only != "" {
		name += "-" + only
	}
	p.chart("over-"+slug(name), c)
}

func axisWord(a chart.Axis) string {
	if a.Name == "point" {
		return "its points"
	}
	return a.Name
}

func percents(c *chart.Chart) {
	for i := range c.Series {
		for n := range c.Series[i].Points {
			q := &c.Series[i].Points[n]
			q.Y *= 100
			if q.Low != nil && q.High != nil {
				low, high := 100**q.Low, 100**q.High
				q.Low, q.High = &low, &high
			}
		}
	}
}

func addTick(ticks []chart.Tick, at float64, label string) []chart.Tick {
	if !slices.ContainsFunc(ticks, func(t chart.Tick) bool { return t.At == at }) {
		ticks = append(ticks, chart.Tick{At: at, Label: label})
		slices.SortFunc(ticks, func(a, b chart.Tick) int {
			if a.At < b.At {
				return -1
			}
			return 1
		})
	}
	return ticks
}

// pointLabel is a value of a point as people say it: 32k.
func pointLabel(r *record.Row, key string) string {
	return strings.TrimPrefix(report.PointText(map[string]any{key: r.Point[key]}), key+" ")
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// scaling shows what parallel streams give in all and each, with the line of a server that loses nothing. How many streams
// there were is what the releases say.
func (p *pictures) scaling() {
	c := chart.Chart{Kind: chart.Lines, Title: "Rate of parallel streams", X: chart.Axis{Name: "streams at once"}, Y: chart.Axis{Name: "decode", Unit: "tok/s", Zero: true}}
	number := 0
	most := 0.0
	type base struct{ x, y float64 }
	var bases []base
	for _, run := range p.runs {
		total := chart.Series{Name: p.name(run, "all streams together"), Style: p.style(run, number)}
		each := chart.Series{Name: p.name(run, "each stream"), Style: p.style(run, number+1)}
		if len(p.runs) > 1 { // one more colour for each run would be too many
			each.Style = run
		}
		number += 2
		first := base{}
		for _, r := range p.measured(run) {
			n := float64(streamsOf(r))
			if r.AggregateTPS == nil || n == 0 {
				continue
			}
			f := report.Figures(*r, []string{"aggregate_tps", "per_stream_tps"})
			total.Points = append(total.Points, chart.Point{X: n, Y: *r.AggregateTPS, Low: f[0].Low, High: f[0].High})
			if r.PerStreamTPS != nil {
				each.Points = append(each.Points, chart.Point{X: n, Y: *r.PerStreamTPS, Low: f[1].Low, High: f[1].High})
			}
			c.X.Ticks = addTick(c.X.Ticks, n, strconv.Itoa(int(n)))
			most = max(most, n)
			if first.x == 0 || n < first.x {
				first = base{n, *r.AggregateTPS}
			}
		}
		c.Series = append(c.Series, total)
		if len(p.runs) == 1 {
			c.Series = append(c.Series, each)
		}
		bases = append(bases, first) // of each run, also of one that has none
	}
	if len(c.X.Ticks) < 2 {
		return
	}
	if b := bases[0]; len(p.runs) == 1 {
		c.Series = append(c.Series, chart.Series{
			Name: "ideal: " + report.Number(b.y/b.x) + " tok/s a stream", Guide: true,
			Points: []chart.Point{{X: b.x, Y: b.y}, {X: most, Y: b.y / b.x * most}},
		})
	} else {
		for i, run := range p.runs {
			if bases[i].x > 0 && bases[i].x < most {
				c.Series = append(c.Series, chart.Series{Name: "ideal of " + letter(run), Style: run, Guide: true, Points: []chart.Point{{X: bases[i].x, Y: bases[i].y}, {X: most, Y: bases[i].y / bases[i].x * most}}})
			}
		}
	}
	c.Note = "Ideal: what the fewest streams had each, times the number of streams."
	p.chart("scaling", c)
	p.perStream()
}

// perStream has a picture of its own too: beside what all streams give together, each is near 0.
func (p *pictures) perStream() {
	c := chart.Chart{Kind: chart.Lines, Title: "Rate of each of the parallel streams", X: chart.Axis{Name: "streams at once"}, Y: chart.Axis{Name: "decode, p50 of the streams", Unit: "tok/s", Zero: true}}
	for _, run := range p.runs {
		s := chart.Series{Name: p.name(run, ""), Style: run}
		for _, r := range p.measured(run) {
			if n := float64(streamsOf(r)); r.PerStreamTPS != nil && n > 0 {
				f := report.Figures(*r, []string{"per_stream_tps"})[0]
				s.Points = append(s.Points, chart.Point{X: n, Y: *f.Value, Low: f.Low, High: f.High})
				c.X.Ticks = addTick(c.X.Ticks, n, strconv.Itoa(int(n)))
			}
		}
		c.Series = append(c.Series, s)
	}
	p.chart("each", c)
}

// streamsOf is how many streams a row released together; 0 where it released none together.
func streamsOf(r *record.Row) int {
	most := 0
	for _, b := range r.Batches {
		most = max(most, len(b.Streams))
	}
	return most
}
