package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/page"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/store"
)

// How many runs a TAB shows: unasked, and where what was typed begins more.
const (
	fewRuns  = 12
	manyRuns = 60
)

// savedRuns lists the runs, the newest first; where reading them takes too long, their ids alone.
func (a *app) savedRuns(t typed) []store.Listed {
	st, err := a.store()
	if err != nil {
		return nil
	}
	list, ok := soon(t.ctx, func() []store.Listed {
		list, _ := st.Summaries() // what can't be read has nothing to offer
		return list
	})
	if ok {
		return list
	}
	ids, _ := st.IDs()
	list = make([]store.Listed, len(ids))
	for i, id := range ids {
		list[i].ID = id
	}
	return list
}

// tabRuns offers "last" and its like, and the ids of runs, the newest first. Where more runs fit than anybody reads, it
// offers their days, and where these are too many their months.
func (a *app) tabRuns(t typed) offer {
	runs := a.savedRuns(t)
	var o offer
	for back, l := range runs[:min(len(runs), manyRuns)] {
		name := "last"
		if back > 0 {
			name += "~" + strconv.Itoa(back)
		}
		if back < 3 || strings.HasPrefix(t.word, "last~") {
			o.values = append(o.values, described(name, "= "+l.ID+" "+runText(l)))
		}
	}
	fit := slices.DeleteFunc(slices.Clone(runs), func(l store.Listed) bool {
		return !strings.HasPrefix(l.ID, t.word) || slices.Contains(t.args, l.ID)
	})
	switch {
	case t.word == "":
		fit = fit[:min(len(fit), fewRuns)]
	case len(fit) > manyRuns:
		return spans(fit)
	}
	for _, l := range fit {
		o.values = append(o.values, described(l.ID, runText(l)))
	}
	return o
}

// spans offers what many ids begin with: days, or months, or years.
func spans(runs []store.Listed) offer {
	for _, n := range []int{len("20261123"), len("202611"), len("2026")} {
		o := offer{open: true}
		count := map[string]int{}
		var order []string
		for _, l := range runs {
			span := l.ID[:n]
			if count[span]++; count[span] == 1 {
				order = append(order, span)
			}
		}
		for _, span := range order {
			o.values = append(o.values, described(span, report.Count(count[span], "run")))
		}
		if len(o.values) <= manyRuns {
			return o
		}
	}
	return offer{}
}

// runText says in a few words what a run was.
func runText(l store.Listed) string {
	at := startOf(l)
	if l.Err != nil {
		return at.Format(shownTime) + " damaged"
	}
	s := l.Summary
	if s.RunID == "" {
		return at.Format(shownTime)
	}
	parts := nonEmpty(at.UTC().Format(shownTime), s.Backend, strings.TrimSpace(s.Model+" "+s.Quant), fmt.Sprintf("%d ok", s.OK))
	if s.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", s.Failed))
	}
	if s.State != record.Complete {
		parts = append(parts, string(s.State))
	}
	if s.Mode == "quick" {
		parts = append(parts, s.Mode)
	}
	if s.Simulated {
		parts = append(parts, "simulated")
	}
	return strings.Join(parts, " · ")
}

// tabSavedWorkloads offers the workloads that saved runs have rows of.
func (a *app) tabSavedWorkloads(t typed) offer {
	var o offer
	for _, l := range a.savedRuns(t) {
		for _, w := range l.Summary.Workloads {
			if v := described(w.ID, w.Name); !slices.Contains(o.values, v) {
				o.values = append(o.values, v)
			}
		}
	}
	return o
}

// tabSavedModels offers the models of saved runs.
func (a *app) tabSavedModels(t typed) offer {
	var o offer
	for _, l := range a.savedRuns(t) {
		if v := l.Summary.Model; v != "" && !slices.Contains(o.values, v) {
			o.values = append(o.values, described(v, ""))
		}
	}
	return o
}

// tabAges offers times as --since and --until take them.
func tabAges(typed) offer {
	return offer{values: []cobra.Completion{described("12h", "half a day ago"), described("1d", "a day ago"), described("7d", "a week ago"), described("4w", "four weeks ago")}}
}

// tabRun reads a run that stands on the line; nil where it can't be read in time.
func (a *app) tabRun(t typed, ref string) *store.Saved {
	saved, _ := soon(t.ctx, func() *store.Saved {
		saved, err := a.load(ref)
		if err != nil {
			return nil
		}
		return saved
	})
	return saved
}

// shortRow is a row's key without the names of its point, where that names the same row: W3/32768, which no shell breaks at
// an equals sign.
func shortRow(key string, same func(short string) bool) string {
	parts := strings.Split(key, "/")
	for i, p := range parts[1:] {
		_, value, ok := strings.Cut(p, "=")
		if !ok {
			return key
		}
		parts[i+1] = value
	}
	if short := strings.Join(parts, "/"); same(short) {
		return short
	}
	return key
}

// shortOf is the short key of a row of a run.
func shortOf(r *record.Result, row *record.Row) string {
	return shortRow(row.Key, func(short string) bool {
		found, err := report.FindRow(r, short)
		return err == nil && found.Key == row.Key
	})
}

// tabRowsOfRun offers the rows of the run that stands before.
func (a *app) tabRowsOfRun(t typed) offer {
	if len(t.args) == 0 {
		return offer{}
	}
	saved := a.tabRun(t, t.args[0])
	if saved == nil {
		return offer{}
	}
	var o offer
	for i := range saved.Result.Rows {
		row := &saved.Result.Rows[i]
		text := row.Workload
		if row.Status != record.OK {
			text += ", " + string(row.Status)
		}
		o.values = append(o.values, described(shortOf(saved.Result, row), text))
		if strings.Contains(t.word, "=") { // who writes keys in full gets them in full
			o.values = append(o.values, described(row.Key, text))
		}
	}
	return o
}

// tabMetrics offers the figures of the row that stands before.
func (a *app) tabMetrics(t typed) offer {
	if len(t.args) < 2 {
		return offer{}
	}
	saved := a.tabRun(t, t.args[0])
	if saved == nil {
		return offer{}
	}
	row, err := report.FindRow(saved.Result, t.args[1])
	if err != nil {
		return offer{}
	}
	var o offer
	o.values = figureValues(row)
	return o
}

// figureValues are the figures of a row, with their titles and units.
func figureValues(row record.Row) []cobra.Completion {
	var values []cobra.Completion
	for _, name := range report.FigureNames(row) {
		text := ""
		if f := report.Figures(row, []string{name}); len(f) > 0 {
			text = strings.Join(nonEmpty(f[0].Title, f[0].Unit), ", ")
		}
		values = append(values, described(name, text))
	}
	return values
}

// tabLimits offers metrics for --fail-if; the limit itself is the user's.
func (a *app) tabLimits(t typed) offer {
	lead := ""
	if at := strings.LastIndexByte(t.word, ':') + 1; at > 0 {
		lead = t.word[:at]
	}
	o := offer{open: true}
	for _, ref := range append(slices.Clone(t.args), "last") {
		saved := a.tabRun(t, ref)
		if saved == nil {
			continue
		}
		for i := range saved.Result.Rows {
			for _, v := range figureValues(saved.Result.Rows[i]) {
				if v := lead + v; !slices.ContainsFunc(o.values, func(x cobra.Completion) bool { return sameValue(x, v) }) {
					o.values = append(o.values, v)
				}
			}
		}
		break
	}
	return o
}

// sameValue reports whether two completions are of the same value.
func sameValue(a, b cobra.Completion) bool {
	a, _, _ = strings.Cut(a, "\t")
	b, _, _ = strings.Cut(b, "\t")
	return a == b
}

// tabStreams offers the streams of the runs on the line, as ROW/PASS/STREAM.
func (a *app) tabStreams(t typed) offer {
	var o offer
	for _, ref := range t.args {
		saved := a.tabRun(t, ref)
		if saved == nil {
			continue
		}
		for i := range saved.Result.Rows {
			row := &saved.Result.Rows[i]
			key := shortOf(saved.Result, row)
			if strings.Contains(t.word, "=") {
				key = row.Key
			}
			pass, n := 0, 0
			for j := range row.Samples {
				if row.Samples[j].Pass != pass {
					pass, n = row.Samples[j].Pass, 0
				}
				n++
				v := described(fmt.Sprintf("%s/%d/%d", key, pass, n), row.Workload)
				if !slices.Contains(o.values, v) {
					o.values = append(o.values, v)
				}
			}
		}
	}
	return o
}

// tabCharts offers the charts of the runs on the line. Which there are follows from one request of each row: not all
// recordings are read, and where even that takes too long the charts that need some are left out.
func (a *app) tabCharts(t typed) offer {
	var saved []*store.Saved
	var bare []page.Run
	for _, ref := range t.args {
		if s := a.tabRun(t, ref); s != nil {
			saved = append(saved, s)
			bare = append(bare, page.Run{Result: s.Result})
		}
	}
	if len(saved) == 0 {
		return offer{}
	}
	values, ok := soon(t.ctx, func() []cobra.Completion {
		var runs []page.Run
		for _, s := range saved {
			short := *s.Result
			short.Rows = slices.Clone(short.Rows)
			for i := range short.Rows {
				row := &short.Rows[i]
				row.Samples = row.Samples[:min(len(row.Samples), 1)]
			}
			run := a.reported(&store.Saved{Result: &short, Path: s.Path, Dir: s.Dir})
			run.Result = s.Result
			runs = append(runs, run)
		}
		return chartValues(runs)
	})
	if !ok {
		values = chartValues(bare)
	}
	return offer{values: values}
}

// chartValues are the charts of a report.
func chartValues(runs []page.Run) []cobra.Completion {
	r, err := page.Build(runs, page.Options{})
	if err != nil {
		return nil
	}
	var values []cobra.Completion
	for _, w := range r.Workloads {
		for _, c := range w.Charts {
			values = append(values, described(c.ID, c.Title))
		}
	}
	return values
}
