// Package compare lines up the rows of two or more results: what changed by how much, and whether that is a difference at
// all or lies within what passes of one run differ by. Results that were not measured alike are not lined up unless the
// caller insists.
//
// It is pure: it reads documents and computes no metric of a request. Workloads, points and metrics are data to it.
package compare

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// alpha is the level of the test: of figures that did not change, one in twenty is taken for changed.
const alpha = 0.05

// Verdict says what a comparison of two figures came to.
type Verdict string

// The verdicts.
const (
	Differs Verdict = "differs" // p below 0.05
	Same    Verdict = "~"       // not told apart, by a test that could have
	TooFew  Verdict = "too_few" // so few passes that no difference could show
	Untold  Verdict = "untold"  // the figure is not made pass by pass
	Null    Verdict = "null"    // one of the two is unknown
)

// Difference is a field that two runs do not share.
type Difference struct {
	Field  string   `json:"field"`
	Values []string `json:"values"` // by run
}

// Run is what a comparison says about a run.
type Run struct {
	ID         string `json:"run_id"`
	MeasuredBy string `json:"measured_by"` // llm-speed, or the program whose definitions the figures follow
	Backend    string `json:"backend"`
	Model      string `json:"model"`
	Simulated  bool   `json:"simulated"`
}

// Change is a figure of one run beside that of the first.
type Change struct {
	Percent *float64 `json:"percent"` // null where either is unknown or the first is 0
	P       *float64 `json:"p"`       // of the Mann–Whitney U test over passes; null where there was none
	Verdict Verdict  `json:"verdict"`
}

// Metric is one figure of a row in every run.
type Metric struct {
	Name    string   `json:"name"`
	Figures []Figure `json:"figures"` // by run
	Changes []Change `json:"changes"` // of the second run, the third, …, against the first
}

// Row is a row in every run.
type Row struct {
	Key      string   `json:"key"`
	Workload string   `json:"workload"`
	Refused  []string `json:"refused,omitempty"` // why its figures are not lined up; Metrics is empty then
	Forced   []string `json:"forced,omitempty"`  // why they would not be without force
	Marks    []string `json:"marks,omitempty"`   // what a reader must know: simulated, not ranked
	Metrics  []Metric `json:"metrics"`
}

// Result is a comparison.
type Result struct {
	Schema  string       `json:"schema"`
	Runs    []Run        `json:"runs"`
	Differ  []Difference `json:"must_be_equal"` // fields that must be equal and are not
	Also    []Difference `json:"also_differs"`  // what else is not the same: what one may want to compare
	Rows    []Row        `json:"rows"`
	Missing []string     `json:"missing"` // rows that are not in every run

	// Of runs that different programs measured: what their definitions differ in, and with force the figures of each run
	// beside one another. Nothing of these is lined up, whatever is forced.
	Definitions []string `json:"definitions,omitempty"`
	Beside      []Side   `json:"beside,omitempty"`
}

// Side is a row of one run that stands beside those of others without being compared. Its metrics have one figure each.
type Side struct {
	Run int `json:"run"` // index into Runs
	Row
}

// Schema names the JSON form.
const Schema = "llm-speed/compare/v1"

// Runs compares results with the first of them; of one alone it gives the figures. With force, rows are lined up that were not
// measured alike, but not those that different programs measured. metrics are names to compare beside those that the suite
// reports.
func Runs(results []*record.Result, force bool, metrics []string) *Result {
	out := &Result{Schema: Schema, Differ: []Difference{}, Also: []Difference{}, Rows: []Row{}, Missing: []string{}}
	for _, r := range results {
		out.Runs = append(out.Runs, Run{r.RunID, measuredBy(r), r.Backend.Name, cmp.Or(r.Model.Name, r.Model.Ref), simulated(r)})
	}
	for _, f := range mustEqual(results) {
		out.Differ = appendDifference(out.Differ, results, f)
	}
	for _, f := range mayDiffer(results) {
		out.Also = appendDifference(out.Also, results, f)
	}
	if slices.ContainsFunc(results, func(r *record.Result) bool { return r.Kind != results[0].Kind }) {
		out.Definitions = report.BenchDefinitions()
		if force {
			out.beside(results, metrics)
		}
		return out
	}
	for i := range results[0].Rows {
		key := results[0].Rows[i].Key
		rows := make([]*record.Row, len(results))
		for n, r := range results {
			if at := slices.IndexFunc(r.Rows, func(row record.Row) bool { return row.Key == key }); at >= 0 {
				rows[n] = &r.Rows[at]
			}
		}
		if slices.Contains(rows, nil) {
			out.Missing = append(out.Missing, key)
			continue
		}
		out.Rows = append(out.Rows, compareRows(rows, out, force, metrics))
	}
	for _, r := range results[1:] {
		for i := range r.Rows {
			key := r.Rows[i].Key
			if !slices.Contains(out.Missing, key) && !slices.ContainsFunc(out.Rows, func(row Row) bool { return row.Key == key }) {
				out.Missing = append(out.Missing, key)
			}
		}
	}
	return out
}

// beside gives the rows of each run with their figures.
func (r *Result) beside(results []*record.Result, metrics []string) {
	for i, doc := range results {
		alone := &Result{Runs: r.Runs[i : i+1]}
		for n := range doc.Rows {
			r.Beside = append(r.Beside, Side{i, compareRows([]*record.Row{&doc.Rows[n]}, alone, false, metrics)})
		}
	}
}

// measuredBy is the program whose definitions a run's figures follow.
func measuredBy(r *record.Result) string { return cmp.Or(string(r.Kind), "llm-speed") }

// field is something of a run, as text.
type field struct {
	name string
	of   func(*record.Result) string
}

// mustEqual are the fields that make results comparable. Where weights were not hashed in every run the model's name has to
// stand for them.
func mustEqual(results []*record.Result) []field {
	fields := []field{
		{"measured by", measuredBy},
		{"suite", func(r *record.Result) string {
			return strings.TrimSpace(r.Suite.Name + " " + r.Suite.Version + " " + short(r.Suite.Digest))
		}},
		{"mode", func(r *record.Result) string { return r.Mode }},
		{"simulated", func(r *record.Result) string { return strconv.FormatBool(simulated(r)) }},
		{"model.quant", func(r *record.Result) string { return r.Model.Quant }},
	}
	hashed := !slices.ContainsFunc(results, func(r *record.Result) bool {
		return r.Model.Digest == "" || r.Model.DigestKind != results[0].Model.DigestKind
	})
	if hashed {
		return append(fields, field{"model.digest", func(r *record.Result) string { return short(r.Model.Digest) }})
	}
	return append(fields, field{"model", func(r *record.Result) string { return cmp.Or(r.Model.Name, r.Model.Ref) }})
}

// mayDiffer are fields that people compare over, and should know of.
func mayDiffer(results []*record.Result) []field {
	fields := []field{
		{"backend", func(r *record.Result) string { return r.Backend.Name }},
		{"backend.version", func(r *record.Result) string { return r.Backend.Version }},
		{"backend.build", func(r *record.Result) string { return r.Backend.Build }},
		{"backend.options", func(r *record.Result) string {
			var out []string
			for _, k := range slices.Sorted(maps.Keys(r.Backend.Options)) {
				out = append(out, k+"="+r.Backend.Options[k])
			}
			return strings.Join(out, " ")
		}},
		{"machine", func(r *record.Result) string { return short(r.FP) }},
		{"client.version", func(r *record.Result) string {
			return strings.TrimRight(r.Client.Version+" "+r.Client.OS+"/"+r.Client.Arch, " /")
		}},
		{"seed", func(r *record.Result) string { return r.Seed }},
		{"state", func(r *record.Result) string { return string(r.State) }},
	}
	// What llama-bench says of its settings; ours say it in backend.options.
	settings := map[string]bool{}
	for _, r := range results {
		if r.Kind != record.LlamaBench {
			return fields
		}
		for name := range r.Backend.Metadata {
			settings[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fields = append(fields, field{name, func(r *record.Result) string {
			if slices.ContainsFunc(r.Rows, func(row record.Row) bool { return row.Point[name] != nil }) {
				return "by row"
			}
			return r.Backend.Metadata[name]
		}})
	}
	return fields
}

// short cuts a digest to what people read.
func short(digest string) string { return digest[:min(len(digest), len("sha256:")+12)] }

func appendDifference(to []Difference, results []*record.Result, f field) []Difference {
	values := make([]string, len(results))
	for i, r := range results {
		values[i] = f.of(r)
	}
	if !slices.ContainsFunc(values, func(v string) bool { return v != values[0] }) {
		return to
	}
	for i := range values {
		values[i] = cmp.Or(values[i], "not known")
	}
	return append(to, Difference{f.name, values})
}

func simulated(r *record.Result) bool {
	named := func(f record.Flag) bool { return f.Name == "simulated" }
	return slices.ContainsFunc(r.Flags, named) || slices.ContainsFunc(r.Rows, func(row record.Row) bool { return slices.ContainsFunc(row.Flags, named) })
}

// compareRows lines up one row of all runs.
func compareRows(rows []*record.Row, about *Result, force bool, metrics []string) Row {
	out := Row{Key: rows[0].Key, Workload: rows[0].Workload, Metrics: []Metric{}}
	var why []string
	for _, d := range about.Differ {
		why = append(why, "another "+d.Field)
	}
	why = append(why, unlike(rows)...)
	for i, row := range rows {
		if row.Status != record.OK {
			out.Refused = append(out.Refused, fmt.Sprintf("%s in %s: %s", row.Status, about.Runs[i].ID, row.Reason))
		}
	}
	if len(out.Refused) > 0 { // there are no figures, whatever is forced
		return out
	}
	if len(why) > 0 && !force {
		out.Refused = why
		return out
	}
	out.Forced = why
	for i, row := range rows {
		switch {
		case slices.ContainsFunc(row.Flags, func(f record.Flag) bool { return f.Name == "simulated" }) || about.Runs[i].Simulated:
			out.Marks = append(out.Marks, "simulated: "+about.Runs[i].ID)
		case !row.Rankable && row.LlamaBench == nil: // of these none is
			out.Marks = append(out.Marks, "not ranked: "+about.Runs[i].ID)
		}
	}
	fields := make([]map[string]any, len(rows))
	var shown []string
	for i, row := range rows {
		fields[i] = fieldsOf(*row)
		for _, name := range names(row, fields[i]) {
			if !slices.Contains(shown, name) {
				shown = append(shown, name)
			}
		}
	}
	for _, name := range metrics {
		if !slices.Contains(shown, name) {
			shown = append(shown, name)
		}
	}
	for _, name := range shown {
		m := Metric{Name: name}
		anyKnown := false
		for i, row := range rows {
			m.Figures = append(m.Figures, figureOf(row, fields[i], name))
			anyKnown = anyKnown || m.Figures[i].Value != nil
		}
		if !anyKnown {
			continue
		}
		for _, f := range m.Figures[1:] {
			m.Changes = append(m.Changes, changeOf(m.Figures[0], f))
		}
		out.Metrics = append(out.Metrics, m)
	}
	return out
}

// changeOf compares two figures.
func changeOf(a, b Figure) Change {
	if a.Value == nil || b.Value == nil {
		return Change{Verdict: Null}
	}
	c := Change{Verdict: Untold}
	switch {
	case *a.Value == *b.Value:
		zero := 0.0
		c.Percent = &zero
	case *a.Value != 0:
		if x := 100 * (*b.Value - *a.Value) / math.Abs(*a.Value); !math.IsInf(x, 0) && !math.IsNaN(x) {
			c.Percent = &x
		}
	}
	switch {
	case len(a.Passes) == 0 || len(b.Passes) == 0:
	case leastP(len(a.Passes), len(b.Passes)) >= alpha:
		c.Verdict = TooFew
	default:
		p := mannWhitney(a.Passes, b.Passes)
		c.P, c.Verdict = &p, Same
		if p < alpha {
			c.Verdict = Differs
		}
	}
	return c
}

// promptSlack is by how much the stated lengths of prompts that were not fitted may differ: a fixed trace is as many tokens
// as the tokenizer makes of it.
const promptSlack = 0.01

// unlike says in what of their shape rows differ that must be equal: prompt and output sizes, and streams at once.
func unlike(rows []*record.Row) []string {
	var out []string
	for _, x := range []struct {
		name string
		of   func(*record.Row) string
	}{
		{"point", func(r *record.Row) string { return fmt.Sprint(r.ID, " ", r.Point) }},
		{"prompt size asked for", func(r *record.Row) string { return sizes(r, func(s *record.Sample) int { return s.AskedPrompt }) }},
		{"output size asked for", func(r *record.Row) string { return sizes(r, func(s *record.Sample) int { return s.AskedOutput }) }},
		{"parallelism", func(r *record.Row) string { return strconv.Itoa(streams(r)) }},
	} {
		values := make([]string, len(rows))
		for i, row := range rows {
			values[i] = x.of(row)
		}
		if slices.ContainsFunc(values, func(v string) bool { return v != values[0] }) {
			out = append(out, fmt.Sprintf("another %s: %s", x.name, strings.Join(values, " / ")))
		}
	}
	for _, x := range []struct {
		name string
		of   func(*record.Row) *int
	}{
		{"prompt_tokens", func(r *record.Row) *int { return r.PromptTokens }},
		{"output_tokens", func(r *record.Row) *int { return r.OutputTokens }},
	} {
		low, high, known := math.Inf(1), 0.0, true
		var values []string
		for _, row := range rows {
			n := x.of(row)
			if n == nil {
				known = false
				continue
			}
			low, high = min(low, float64(*n)), max(high, float64(*n))
			values = append(values, strconv.Itoa(*n))
		}
		if known && high-low > max(1, promptSlack*high) {
			out = append(out, fmt.Sprintf("another %s: %s", x.name, strings.Join(values, " / ")))
		}
	}
	return out
}

// sizes lists the distinct values of a row's requests.
func sizes(r *record.Row, of func(*record.Sample) int) string {
	set := map[int]bool{}
	for i := range r.Samples {
		set[of(&r.Samples[i])] = true
	}
	var out []string
	for _, n := range slices.Sorted(maps.Keys(set)) {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, ",")
}

// streams is the largest number that a row released together.
func streams(r *record.Row) int {
	most := 1
	for _, b := range r.Batches {
		most = max(most, len(b.Streams))
	}
	together := map[[2]int]int{}
	for i := range r.Samples {
		if s := &r.Samples[i]; s.Inputs != nil {
			at := [2]int{s.Pass, s.Inputs.Release}
			together[at]++
			most = max(most, together[at])
		}
	}
	return most
}
