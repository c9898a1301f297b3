// Package page makes one document of one run or of several: headline figures, charts with their data, flags with their
// evidence, and what was measured on what. The document is HTML in a single file that loads nothing, Markdown, CSV, JSON, or
// a picture.
//
// It is pure: it reads no files, decodes no recording and computes no metric of a request. What it shows is in the result
// documents, in the steps of streams that the caller has measured, or follows from them by internal/compare. Workloads,
// points and metrics are data to it. Text of documents is never markup.
package page

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/internal/chart"
	"github.com/llm-speed/llm-speed/internal/compare"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/stats"
)

// MaxRuns is how many runs one document holds: as many as its pictures can tell apart.
const MaxRuns = chart.Styles

// Run is a run to be shown.
type Run struct {
	Result  *record.Result
	Streams map[string][]Stream // by row key: the requests whose recordings were read
	Absent  map[string]string   // by row key: why there are none
	Seal    string              // what is known of a seal of the document; empty: there is none
}

// Stream is a request as its recording tells it.
type Stream struct {
	Sample  int              // index into the row's samples
	Steps   []Step           // in order; the first is at t_1
	ITL     []stats.Weighted // latency of its tokens, ms; nil where its tokens are not known
	Counted bool             // the tokens of the steps are known
}

// Step is what one read of a stream brought.
type Step struct {
	At     float64 // ms since the request was sent
	Tokens float64 // 0 where they are not known
}

// Options say what goes into a document.
type Options struct {
	Streams []Pick // shown token by token; none: one of each workload
	Force   bool   // line up what was not measured alike
}

// Report is the document as data. Its JSON form is what --format json writes.
type Report struct {
	Schema     string          `json:"schema"`
	Title      string          `json:"title"`
	Notices    []string        `json:"notices"` // what nobody may overlook
	Runs       []About         `json:"runs"`
	Comparison *compare.Result `json:"comparison,omitempty"`
	Workloads  []Workload      `json:"workloads"`

	asked       bool // streams were asked for
	ours, bench bool // there are runs that llm-speed measured, and such of llama-bench
}

// Schema names the JSON form.
const Schema = "llm-speed/report/v1"

// About says what a run was.
type About struct {
	Letter      string        `json:"letter"` // A, B, …; empty where there is but one run
	ID          string        `json:"run_id"`
	Name        string        `json:"name"` // of it in charts
	Facts       []report.Fact `json:"facts"`
	State       string        `json:"state"`
	Rankable    bool          `json:"rankable"`
	Flags       []Flag        `json:"flags"` // of the run and of its rows
	Calibration []report.Fact `json:"calibration"`
	Notes       []string      `json:"notes"` // what the budget cut, what was waited for
	Trust       []report.Fact `json:"trust"` // digests, recordings, seal
	Machine     string        `json:"machine"`
}

// Flag is a flag with where it was raised.
type Flag struct {
	Name     string   `json:"name"`
	Text     string   `json:"text"`
	Rows     []string `json:"rows"` // keys; "run" for the run as a whole
	Evidence []string `json:"evidence"`
}

// Workload is all that was measured of one workload.
type Workload struct {
	ID     string        `json:"id"`
	Name   string        `json:"name"`
	Rows   []Row         `json:"rows"`
	Charts []chart.Chart `json:"charts"`
	Notes  []string      `json:"notes"` // why a chart is not there, or not of all runs
}

// Row is one row of one run.
type Row struct {
	Run      int             `json:"run"` // index into Report.Runs
	Key      string          `json:"key"`
	Point    string          `json:"point"`
	Status   string          `json:"status"`
	Reason   string          `json:"reason,omitempty"`
	Rankable bool            `json:"rankable"`
	Passes   int             `json:"passes"`
	Requests int             `json:"requests"`
	Counted  []string        `json:"counted"` // where its counts come from, in words
	Flags    []string        `json:"flags"`
	Headline []report.Figure `json:"headline"` // the figures that every row has a place for
	Figures  []report.Figure `json:"figures"`  // all, with what is not known and why

	details []report.Figure // what the suite wants shown beside the headline
}

// Build makes the document. There are one to MaxRuns runs.
func Build(runs []Run, o Options) (*Report, error) {
	if len(runs) == 0 || len(runs) > MaxRuns {
		return nil, fmt.Errorf("%d runs: a report holds 1 to %d", len(runs), MaxRuns)
	}
	b := &builder{runs: runs, options: o, r: &Report{Schema: Schema, Notices: []string{}, asked: len(o.Streams) > 0}}
	if len(runs) > 1 {
		results := make([]*record.Result, len(runs))
		for i := range runs {
			results[i] = runs[i].Result
		}
		b.r.Comparison = compare.Runs(results, o.Force, nil)
	}
	for i := range runs {
		b.r.ours = b.r.ours || runs[i].Result.Kind == ""
		b.r.bench = b.r.bench || runs[i].Result.Kind == record.LlamaBench
	}
	if err := b.pick(); err != nil {
		return nil, err
	}
	for i := range runs {
		b.r.Runs = append(b.r.Runs, b.about(i))
	}
	b.title()
	b.notices()
	for _, w := range b.workloads() {
		b.r.Workloads = append(b.r.Workloads, b.workload(w))
	}
	return b.r, nil
}

// builder collects a report.
type builder struct {
	runs    []Run
	options Options
	r       *Report
}

// letter names a run as comparisons do.
func letter(i int) string { return string(rune('A' + i)) }

func (b *builder) title() {
	var names []string
	for _, run := range b.runs {
		name := cmp.Or(run.Result.Model.Name, run.Result.Model.Ref, run.Result.RunID, "a run")
		if run.Result.Backend.Name != "" {
			name += " on " + run.Result.Backend.Name
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	b.r.Title = strings.Join(names, " / ")
	if len(b.runs) > 1 && len(names) == 1 {
		b.r.Title += fmt.Sprintf(", %d runs", len(b.runs))
	}
}

// notices say first what nobody may overlook.
func (b *builder) notices() {
	add := func(text string, is func(*record.Result) bool) {
		var letters []string
		for i, run := range b.runs {
			if is(run.Result) {
				letters = append(letters, letter(i))
			}
		}
		switch {
		case len(letters) == 0:
			return
		case len(letters) < len(b.runs):
			text = "Run " + strings.Join(letters, ", ") + ": " + text
		}
		b.r.Notices = append(b.r.Notices, text)
	}
	add("SIMULATED: these are numbers of the built-in simulator. They say nothing about any real model or machine.", report.Simulated)
	add("QUICK: shorter shapes of the workloads. Never ranked, and not to be compared with full runs.", func(r *record.Result) bool { return r.Mode == "quick" })
	for i, run := range b.runs {
		if run.Result.State != record.Partial {
			continue
		}
		text := "PARTIAL: the run was stopped before its end"
		if missing := notReached(run.Result); len(missing) > 0 {
			text += "; not reached: " + strings.Join(missing, ", ")
		}
		if len(b.runs) > 1 {
			text = "Run " + letter(i) + ": " + text
		}
		b.r.Notices = append(b.r.Notices, text+".")
	}
	add(report.KindNotice(record.LlamaBench), func(r *record.Result) bool { return r.Kind == record.LlamaBench })
	add("UNFINISHED: the run still went on when this was written, or was cut off.", func(r *record.Result) bool { return r.State == record.Running })
	add("OWN SUITE: the suite is not one of this program's own; its numbers are not comparable with those of others.", func(r *record.Result) bool { return !r.Suite.Official && !report.Simulated(r) && r.Kind == "" })
}

// notReached are the rows that a run was to have and has not.
func notReached(r *record.Result) []string {
	return slices.DeleteFunc(slices.Clone(r.Planned), func(key string) bool {
		return slices.ContainsFunc(r.Rows, func(row record.Row) bool { return row.Key == key })
	})
}

func (b *builder) about(i int) About {
	r := b.runs[i].Result
	a := About{
		ID: r.RunID, Name: r.RunID, Facts: report.Facts(r), State: string(r.State), Rankable: r.Rankable, Flags: flagsOf(r), Calibration: receipt(r),
		Notes: []string{}, Trust: b.trust(i), Machine: machine(r),
	}
	if len(b.runs) > 1 {
		a.Letter = letter(i)
		a.Name = a.Letter + " " + r.Backend.Name + " " + cmp.Or(r.Model.Name, r.Model.Ref)
	}
	for _, cut := range r.Budget.Cut {
		if !strings.HasPrefix(cut, "no further pass") {
			cut = "cut by the time budget: " + cut
		}
		a.Notes = append(a.Notes, cut)
	}
	for n := range r.Rows {
		if text := report.Paused(&r.Rows[n]); text != "" {
			a.Notes = append(a.Notes, r.Rows[n].Key+": "+text)
		}
	}
	return a
}

// flagsOf groups flags by name. Evidence that is not of all rows with the flag says of which it is.
func flagsOf(r *record.Result) []Flag {
	var out []Flag
	seen := map[[2]string][]string{} // rows by flag and evidence
	add := func(f record.Flag, row string) {
		i := slices.IndexFunc(out, func(x Flag) bool { return x.Name == f.Name })
		if i < 0 {
			i, out = len(out), append(out, Flag{Name: f.Name, Text: report.FlagText(f.Name), Rows: []string{}, Evidence: []string{}})
		}
		if !slices.Contains(out[i].Rows, row) {
			out[i].Rows = append(out[i].Rows, row)
		}
		if f.Evidence != "" {
			if !slices.Contains(out[i].Evidence, f.Evidence) {
				out[i].Evidence = append(out[i].Evidence, f.Evidence)
			}
			seen[[2]string{f.Name, f.Evidence}] = append(seen[[2]string{f.Name, f.Evidence}], row)
		}
	}
	for _, f := range r.Flags {
		add(f, "run")
	}
	for i := range r.Rows {
		for _, f := range r.Rows[i].Flags {
			add(f, r.Rows[i].Key)
		}
	}
	for i := range out {
		for n, evidence := range out[i].Evidence {
			rows := seen[[2]string{out[i].Name, evidence}]
			whole := slices.Contains(rows, "run")
			missing := slices.ContainsFunc(out[i].Rows, func(row string) bool { return row != "run" && !slices.Contains(rows, row) })
			if missing && !whole {
				out[i].Evidence[n] = strings.Join(rows, ", ") + ": " + evidence
			}
		}
	}
	return out
}

// receipt is the client's own calibration as it stands in the document, field by field.
func receipt(r *record.Result) []report.Fact {
	var fields map[string]any
	if len(r.Calibration) == 0 || json.Unmarshal(r.Calibration, &fields) != nil || fields == nil {
		return []report.Fact{{Name: "calibration", Text: "not known: " + cmp.Or(r.Reasons["calibration"], "no receipt in the document")}}
	}
	var out []report.Fact
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch v := fields[name].(type) {
		case float64:
			title, unit := nameAndUnit(name)
			out = append(out, report.Fact{Name: title, Text: report.UnitText(v, unit)})
		case bool:
			title, _ := nameAndUnit(name)
			out = append(out, report.Fact{Name: title, Text: map[bool]string{true: "yes", false: "no"}[v]})
		case string:
			title, _ := nameAndUnit(name)
			out = append(out, report.Fact{Name: title, Text: v})
		}
	}
	return out
}

// nameAndUnit reads a field's name: itl_error_p99_ms is "itl error p99" in ms.
func nameAndUnit(name string) (title, unit string) {
	for suffix, u := range map[string]string{"_ms": "ms", "_s": "s", "_ratio": "%", "_percent": "percent"} {
		if rest, ok := strings.CutSuffix(name, suffix); ok && !strings.HasSuffix(name, "_per_s") {
			name, unit = rest, u
			break
		}
	}
	return strings.ReplaceAll(name, "_", " "), unit
}

// trust is what lets others check a run.
func (b *builder) trust(i int) []report.Fact {
	r := b.runs[i].Result
	recordings := "none are named in the document"
	if n := len(r.Raw); n > 0 {
		var size int64
		for _, f := range r.Raw {
			size += f.Bytes
		}
		recordings = report.Count(n, "file") + fmt.Sprintf(", %.1f kB; their SHA-256 are in the document", float64(size)/1000)
	}
	rankable := "no"
	if r.Rankable {
		rankable = "yes, every row"
	}
	return []report.Fact{
		{Name: "suite digest", Text: cmp.Or(r.Suite.Digest, "not known")},
		{Name: "model digest", Text: cmp.Or(r.Model.Digest, "not known: "+cmp.Or(r.Reasons["model.digest"], "the document does not say why"))},
		{Name: "client", Text: strings.TrimSpace(r.Client.Version + " " + r.Client.Commit + " " + r.Client.SHA256)},
		{Name: "machine fingerprint", Text: cmp.Or(r.FP, "not known")},
		{Name: "recordings", Text: recordings},
		{Name: "seal", Text: cmp.Or(b.runs[i].Seal, "none")},
		{Name: "may be ranked", Text: rankable},
	}
}

// machine is the machine's page as text.
func machine(r *record.Result) string {
	var out strings.Builder
	if len(r.Fingerprint) == 0 || report.Machine(&out, r.Fingerprint, r.Environment.Before, report.Style{Width: 96}) != nil {
		return ""
	}
	return out.String()
}
