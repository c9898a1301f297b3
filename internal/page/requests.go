package page

import (
	"fmt"
	"strings"

	"github.com/llm-speed/llm-speed/internal/chart"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// fewestRequests is how many requests one after another make a picture.
const fewestRequests = 3

// mostBars is how many of them are bars; more are a line.
const mostBars = 40

// mostPoints bounds the points of a line.
const mostPoints = 120

// requests shows the requests of one pass that were sent one after another, each by itself: the turns of a session.
func (p *pictures) requests() {
	type trace struct {
		run     int
		row     *record.Row
		pass    int
		samples []*record.Sample
	}
	for _, key := range p.keys() {
		var traces []trace
		for _, run := range p.runs {
			for _, r := range p.measured(run) {
				if pass, samples := sequence(r); r.Key == key && len(samples) >= fewestRequests {
					traces = append(traces, trace{run, r, pass, samples})
				}
			}
		}
		if len(traces) == 0 {
			continue
		}
		where := ""
		if len(p.keys()) > 1 {
			where = ", " + report.PointText(traces[0].row.Point)
		}
		one := len(traces) == 1
		kind, longest := chart.Bars, 0
		for _, t := range traces {
			longest = max(longest, len(t.samples))
		}
		if !one || longest > mostBars {
			kind = chart.Lines
		}
		x := chart.Axis{Name: "request"}
		every := 1 // whole requests have ticks, at most about a dozen of them
		if kind == chart.Lines {
			every = longest/12 + 1
		}
		for i := 0; i < longest; i += every {
			if kind == chart.Bars {
				x.Names = append(x.Names, fmt.Sprint(i+1))
			} else {
				x.Ticks = append(x.Ticks, chart.Tick{At: float64(i + 1), Label: fmt.Sprint(i + 1)})
			}
		}
		note := fmt.Sprintf("Pass %d of %d.", traces[0].pass, traces[0].row.Passes)
		if !one {
			note = "One pass of each run."
		}
		place := func(i int) float64 {
			if kind == chart.Bars {
				return float64(i)
			}
			return float64(i + 1)
		}
		draw := func(name string, c chart.Chart, of func(*record.Sample) *float64) {
			c.Kind, c.X = kind, x
			c.Title += where
			for _, t := range traces {
				s := chart.Series{Name: p.name(t.run, ""), Style: p.style(t.run, 0), Plain: longest > mostBars}
				for i, sample := range t.samples {
					if v := of(sample); v != nil {
						s.Points = append(s.Points, chart.Point{X: place(i), Y: *v})
					}
				}
				s.Points = thin(&c, s.Points)
				c.Series = append(c.Series, s)
			}
			p.chart(name, c)
		}
		if one && kind == chart.Bars {
			t := traces[0]
			c := chart.Chart{Kind: kind, X: x, Title: "Prompt of each request" + where, Y: chart.Axis{Name: "prompt", Unit: "tokens", Zero: true}}
			cached := chart.Series{Name: "from the cache", Style: 2, Stack: "prompt"}
			fresh := chart.Series{Name: "computed anew", Style: 1, Stack: "prompt", Light: true}
			unknown := chart.Series{Name: "not known which", Style: 5, Stack: "prompt", Light: true}
			for i, s := range t.samples {
				switch {
				case s.Prompt.N == nil:
				case s.Cached.N == nil || *s.Cached.N > *s.Prompt.N:
					unknown.Points = append(unknown.Points, chart.Point{X: place(i), Y: float64(*s.Prompt.N)})
				default:
					cached.Points = append(cached.Points, chart.Point{X: place(i), Y: float64(*s.Cached.N)})
					fresh.Points = append(fresh.Points, chart.Point{X: place(i), Y: float64(*s.Prompt.N - *s.Cached.N)})
				}
			}
			c.Series = []chart.Series{cached, fresh, unknown}
			c.Note = note + " " + hits(t.row)
			p.chart("prompts", c)
		} else {
			draw("hits", chart.Chart{Title: "Part of each prompt from the cache", Note: note, Y: chart.Axis{Name: "cached", Unit: "% of the prompt", Zero: true}}, func(s *record.Sample) *float64 {
				if s.Cached.N == nil || s.Prompt.N == nil || *s.Prompt.N <= 0 {
					return nil
				}
				share := 100 * float64(*s.Cached.N) / float64(*s.Prompt.N)
				return &share
			})
		}
		draw("ttft", chart.Chart{Title: "TTFT of each request", Note: note, Y: chart.Axis{Name: "TTFT", Unit: "ms", Zero: true}}, func(s *record.Sample) *float64 { return s.TTFTms })
		draw("decode", chart.Chart{Title: "Decode rate of each request", Note: note, Y: chart.Axis{Name: "decode", Unit: "tok/s", Zero: true}}, func(s *record.Sample) *float64 { return s.DecodeTPS })
	}
}

// keys are the keys of the rows that are drawn.
func (p *pictures) keys() []string {
	var all []*record.Row
	for _, run := range p.runs {
		all = append(all, p.measured(run)...)
	}
	return keysOf(all)
}

// sequence gives the requests of the first pass without a failure, where each was sent alone.
func sequence(r *record.Row) (pass int, out []*record.Sample) {
	for from := 0; from < len(r.Samples); {
		to := from
		good := true
		releases := map[int]bool{}
		for ; to < len(r.Samples) && r.Samples[to].Pass == r.Samples[from].Pass; to++ {
			s := &r.Samples[to]
			if s.Inputs == nil || releases[s.Inputs.Release] {
				return 0, nil
			}
			releases[s.Inputs.Release] = true
			good = good && s.Error == ""
		}
		if good {
			for i := from; i < to; i++ {
				out = append(out, &r.Samples[i])
			}
			return r.Samples[from].Pass, out
		}
		from = to
	}
	return 0, nil
}

// hits says how much of all prompts the cache had, and could have had.
func hits(r *record.Row) string {
	f := report.Figures(*r, []string{"prefix_cache_hit_rate", "prefix_cache_max"})
	text := "H not known: " + f[0].Reason
	if f[0].Value != nil {
		text = "Cache hits H " + f[0].Text
	}
	if f[1].Value != nil {
		text += ", possible H_max " + f[1].Text
	}
	return text + "."
}

// thin bounds a line and says that it did.
func thin(c *chart.Chart, points []chart.Point) []chart.Point {
	out := chart.Thin(points, mostPoints)
	if note := "Not every point is drawn."; len(out) < len(points) && !strings.Contains(c.Note, note) {
		c.Note = strings.TrimSpace(c.Note + " " + note)
	}
	return out
}
