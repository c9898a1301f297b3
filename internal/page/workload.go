package page

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/internal/chart"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// group is a workload with its rows of each run.
type group struct {
	id, name string
	rows     [][]*record.Row // by run
	apart    string          // why the runs are not drawn in one picture; empty: they are
}

// workloads are those of all runs, in the order in which they come.
func (b *builder) workloads() []group {
	var out []group
	for i := range b.runs {
		rows := b.runs[i].Result.Rows
		for n := range rows {
			row := &rows[n]
			at := slices.IndexFunc(out, func(g group) bool { return g.id == row.ID && g.name == row.Workload })
			if at < 0 {
				at, out = len(out), append(out, group{id: row.ID, name: row.Workload, rows: make([][]*record.Row, len(b.runs))})
			}
			out[at].rows[i] = append(out[at].rows[i], row)
		}
	}
	for i := range out {
		out[i].apart = b.apart(&out[i])
	}
	return out
}

// apart says why a workload's runs must not share a picture: what the comparison refuses is not lined up here either. A row
// that one run did not finish is no reason: its point is missing, and said to be.
func (b *builder) apart(g *group) string {
	c := b.r.Comparison
	if c == nil || b.options.Force {
		return ""
	}
	if len(c.Differ) > 0 {
		var names []string
		for _, d := range c.Differ {
			names = append(names, d.Field)
		}
		return "the runs were not measured alike: another " + strings.Join(names, ", another ")
	}
	for _, row := range c.Rows {
		if len(row.Refused) == 0 {
			continue
		}
		measured := true
		of := false
		for i := range g.rows {
			for _, r := range g.rows[i] {
				if r.Key == row.Key {
					of, measured = true, measured && r.Status == record.OK
				}
			}
		}
		if of && measured {
			return strings.Join(row.Refused, "; ")
		}
	}
	return ""
}

// workload shows a workload.
func (b *builder) workload(g group) Workload {
	w := Workload{ID: g.id, Name: g.name, Rows: []Row{}, Charts: []chart.Chart{}, Notes: []string{}}
	keys := []string{}
	for _, rows := range g.rows {
		for _, r := range rows {
			if !slices.Contains(keys, r.Key) {
				keys = append(keys, r.Key)
			}
		}
	}
	for _, key := range keys {
		for i, rows := range g.rows {
			for _, r := range rows {
				if r.Key == key {
					w.Rows = append(w.Rows, b.rowOf(i, r))
				}
			}
		}
	}
	p := &pictures{builder: b, group: g, out: &w}
	if g.apart == "" {
		var runs []int
		for i := range g.rows {
			if len(g.rows[i]) > 0 {
				runs = append(runs, i)
			}
		}
		p.draw(runs)
	} else {
		w.Notes = append(w.Notes, "Each run has pictures of its own: "+g.apart+".")
		for i := range g.rows {
			if len(g.rows[i]) > 0 {
				p.draw([]int{i})
			}
		}
	}
	return w
}

func (b *builder) rowOf(run int, r *record.Row) Row {
	out := Row{
		Run: run, Key: r.Key, Point: report.PointText(r.Point), Status: string(r.Status), Reason: r.Reason, Rankable: r.Rankable, Passes: r.Passes, Requests: r.Requests,
		Counted: report.Counted(*r), Flags: []string{}, Headline: []report.Figure{}, Figures: []report.Figure{},
	}
	for _, f := range r.Flags {
		if !slices.Contains(out.Flags, f.Name) {
			out.Flags = append(out.Flags, f.Name)
		}
	}
	if r.Status != record.OK {
		return out
	}
	out.Headline, out.details = b.r.headline(r), report.Details(*r)
	// What the suite wants shown comes first, then all else that is known.
	out.Figures = report.Figures(*r, append(slices.Clone(r.Reports), report.FigureNames(*r)...))
	return out
}

// pictures draws a workload.
type pictures struct {
	*builder
	group group
	out   *Workload
	runs  []int // those that share the pictures being drawn
}

// draw makes the pictures of some runs together.
func (p *pictures) draw(runs []int) {
	p.runs = runs
	p.scaling()
	p.curves()
	p.requests()
	p.latency()
	p.timelines()
}

// chart adds a picture with what belongs to each.
func (p *pictures) chart(name string, c chart.Chart) {
	seconds(&c.Y, c.Series)
	points := 0
	for i := range c.Series {
		c.Series[i].Points = chart.Finite(c.Series[i].Points)
		points += len(c.Series[i].Points)
	}
	c.Series = slices.DeleteFunc(c.Series, func(s chart.Series) bool { return len(s.Points) == 0 })
	if points == 0 {
		return
	}
	c.ID = fmt.Sprintf("%s-%s", p.group.slug(), name)
	if p.group.apart != "" {
		c.ID += "-" + strings.ToLower(letter(p.runs[0]))
		c.Title += ", run " + letter(p.runs[0])
	}
	for n := 2; p.taken(c.ID); n++ {
		c.ID = fmt.Sprintf("%s-%s-%d", p.group.slug(), name, n)
	}
	var marks []string
	for _, i := range p.runs {
		r := p.builder.runs[i].Result
		if report.Simulated(r) && !slices.Contains(marks, "simulated") {
			marks = append(marks, "simulated")
		}
		if r.Mode == "quick" && !slices.Contains(marks, "quick") {
			marks = append(marks, "quick")
		}
	}
	if len(marks) > 0 {
		c.Title += " (" + strings.Join(marks, ", ") + ")"
	}
	// A suite may report a statistic of its metric by itself too: that picture is there already.
	if slices.ContainsFunc(p.out.Charts, func(x chart.Chart) bool { return x.Title == c.Title && reflect.DeepEqual(x.Series, c.Series) }) {
		return
	}
	p.out.Charts = append(p.out.Charts, c)
}

// seconds makes seconds of long times in ms.
func seconds(a *chart.Axis, series []chart.Series) {
	most := 0.0
	for _, s := range series {
		for _, p := range s.Points {
			most = max(most, p.Y)
		}
	}
	if a.Unit != "ms" || most < 10_000 {
		return
	}
	a.Unit = "s"
	for i := range series {
		for n := range series[i].Points {
			p := &series[i].Points[n]
			p.Y /= 1000
			if p.Low != nil && p.High != nil {
				p.Low, p.High = number(*p.Low/1000), number(*p.High/1000)
			}
		}
	}
}

func (p *pictures) taken(id string) bool {
	same := func(c chart.Chart) bool { return c.ID == id }
	return slices.ContainsFunc(p.out.Charts, same) ||
		slices.ContainsFunc(p.r.Workloads, func(w Workload) bool { return slices.ContainsFunc(w.Charts, same) })
}

// slug is what the ids of the workload's pictures begin with.
func (g group) slug() string {
	s := slug(g.id)
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return "w" + s // an id begins with a letter
	}
	return s
}

// slug makes a name fit for an id.
func slug(s string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, s)
	return out[:min(len(out), 40)]
}

// name is what a series of a run is called: empty where there is but one run, so that the rest of the name says it.
func (p *pictures) name(run int, rest string) string {
	if len(p.builder.runs) == 1 || len(p.runs) == 1 {
		return rest
	}
	return strings.TrimSpace(letter(run) + " " + rest)
}

// style of a series: by run where several share the picture, else by its number.
func (p *pictures) style(run, number int) int {
	if len(p.runs) > 1 {
		return run
	}
	return number
}

// varying is the key of the rows' points whose values differ and are numbers; ok is false where there is not exactly one such
// key, or another key differs too.
func varying(rows []*record.Row) (key string, ok bool) {
	values := map[string]map[string]bool{}
	numeric := map[string]bool{}
	for _, r := range rows {
		for _, k := range slices.Sorted(maps.Keys(r.Point)) {
			if values[k] == nil {
				values[k], numeric[k] = map[string]bool{}, true
			}
			values[k][fmt.Sprint(r.Point[k])] = true
			if _, is := numberOf(r.Point[k]); !is {
				numeric[k] = false
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if len(values[k]) < 2 {
			continue
		}
		if key != "" || !numeric[k] {
			return "", false
		}
		key = k
	}
	return key, key != ""
}

func numberOf(v any) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, !math.IsNaN(x) && !math.IsInf(x, 0)
	case int:
		return float64(x), true
	}
	return 0, false
}

// measured are the rows of a run that have figures.
func (p *pictures) measured(run int) []*record.Row {
	var out []*record.Row
	for _, r := range p.group.rows[run] {
		if r.Status == record.OK {
			out = append(out, r)
		}
	}
	return out
}
