package llamabench

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stats"
)

// The names of a row's figures, tokens a second by llama-bench's definition: Metric is the median over the repetitions, Average
// their mean and standard deviation, as llama-bench shows them.
const (
	Metric  = "llama_bench_tps"
	Average = "llama_bench_avg_tps"
)

// Flag marks runs, and FlagOdd rows whose stated average does not follow from the samples.
const (
	Flag    = "llama_bench"
	FlagOdd = "figures_disagree"
)

// odd is by what share a stated average may be off. llama-bench takes the mean of the rates of its repetitions.
const odd = 0.001

// Results makes runs of the tests of a document, one for each model and build that they are of.
func Results(d *Document) []*record.Result {
	var order []Who
	tests := map[Who][]Test{}
	for _, t := range d.Tests {
		if _, seen := tests[t.Who]; !seen {
			order = append(order, t.Who)
		}
		tests[t.Who] = append(tests[t.Who], t)
	}
	var out []*record.Result
	for _, who := range order {
		r := result(who, tests[who])
		if d.Cut != "" && who == d.Tests[len(d.Tests)-1].Who {
			r.State = record.Partial
		}
		out = append(out, r)
	}
	return out
}

// Again makes the rows of a run once more, from the tests that its document holds.
func Again(r *record.Result) ([]record.Row, error) {
	d := &Document{}
	for i := range r.Rows {
		if r.Rows[i].LlamaBench == nil {
			return nil, fmt.Errorf("row %s does not hold the test that it was made of", r.Rows[i].Key)
		}
		if err := d.add(r.Rows[i].LlamaBench); err != nil {
			return nil, fmt.Errorf("row %s: %w", r.Rows[i].Key, err)
		}
	}
	if len(d.Tests) == 0 {
		return nil, errors.New("it has no row")
	}
	rows, _ := rowsOf(d.Tests)
	return rows, nil
}

func result(who Who, tests []Test) *record.Result {
	rows, shared := rowsOf(tests)
	r := &record.Result{
		Schema: record.Schema, Kind: record.LlamaBench, State: record.Complete,
		Client: record.Client{Version: who.Build, Commit: who.Commit},
		Suite:  record.Suite{Name: "llama-bench"},
		Backend: record.Backend{
			Name: "llama.cpp", Version: who.Build, Build: who.Commit, Caps: []string{}, Metadata: map[string]string{},
		},
		Model:       record.Model{Ref: who.File, Name: strings.TrimSuffix(who.File, ".gguf"), Quant: quantOf(who.Model)},
		Environment: record.Environment{Events: []string{}, Series: []record.RawFile{}},
		Budget:      record.Budget{Cut: []string{}},
		Flags:       []record.Flag{{Name: Flag, Evidence: join(" · ", who.Backends, who.CPU, who.GPU)}},
		Planned:     []string{}, Rows: rows, Raw: []record.RawFile{},
		Reasons: record.Reasons{
			"finished_at": "llama-bench does not say when it ended", "fingerprint": "llama-bench says only: " + cmp.Or(join(" · ", who.CPU, who.GPU), "nothing"),
			"calibration": "there was no client: llama-bench measures inside its own process", "model.digest": "llama-bench hashes no weights",
			"model.size_bytes": "llama-bench states the size of the tensors (model_size), not of the file",
		},
	}
	if strings.HasSuffix(who.File, ".gguf") {
		r.Model.Format = "gguf"
	}
	if who.Params > 0 {
		r.Model.Parameters = &who.Params
	}
	for name, v := range shared {
		r.Backend.Metadata[name] = valueText(v)
	}
	for name, text := range map[string]string{"backends": who.Backends, "cpu_info": who.CPU, "gpu_info": who.GPU, "model_type": who.Model} {
		if text != "" {
			r.Backend.Metadata[name] = text
		}
	}
	if who.Size > 0 {
		r.Backend.Metadata["model_size"] = strconv.FormatInt(who.Size, 10)
	}
	sum := sha256.New()
	for _, t := range tests {
		r.Planned = append(r.Planned, "")
		if !t.At.IsZero() && (r.StartedAt.IsZero() || t.At.Before(r.StartedAt)) {
			r.StartedAt = t.At
		}
		sum.Write(t.Written)
		sum.Write([]byte("\n"))
	}
	for i := range rows {
		r.Planned[i] = rows[i].Key
	}
	at := "00010101-000000"
	if r.StartedAt.IsZero() {
		r.Reasons["started_at"] = "the file does not say when it was measured"
	} else {
		at = r.StartedAt.Format("20060102-150405")
	}
	// The letters of other runs' ids; 40 bits of what the tests say.
	tail := base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").EncodeToString(sum.Sum(nil)[:5])
	r.RunID = at + "-" + tail
	return r
}

// rowsOf makes a row of each test. Settings that are the same in all tests are shared; the others are in the rows' points.
func rowsOf(tests []Test) (rows []record.Row, shared map[string]any) {
	shared = maps.Clone(tests[0].Settings)
	names := map[string]bool{}
	for _, t := range tests {
		for name := range t.Settings {
			names[name] = true
		}
		maps.DeleteFunc(shared, func(name string, v any) bool { return t.Settings[name] != v })
	}
	seen, deep := map[string]int{}, map[string]bool{}
	for _, t := range tests {
		id, _ := nameOf(&t)
		deep[id] = deep[id] || t.Depth > 0
	}
	for _, t := range tests {
		id, what := nameOf(&t)
		point := map[string]any{}
		if deep[id] { // points of one workload have the same fields
			point["n_depth"] = float64(t.Depth)
		}
		for name := range names {
			if v, ok := t.Settings[name]; ok && shared[name] != v {
				point[name] = v
			}
		}
		key := keyOf(id, point)
		if seen[key]++; seen[key] > 1 { // the same test once more
			point["again"] = float64(seen[key] - 1)
			key = keyOf(id, point)
		}
		if len(point) == 0 {
			point = nil
		}
		rows = append(rows, row(&t, id, what, key, point))
	}
	return rows, shared
}

// nameOf names a test as llama-bench does.
func nameOf(t *Test) (id, what string) {
	switch {
	case t.Gen == 0:
		return fmt.Sprintf("pp%d", t.Prompt), "prompt processing"
	case t.Prompt == 0:
		return fmt.Sprintf("tg%d", t.Gen), "text generation"
	}
	return fmt.Sprintf("pp%d+tg%d", t.Prompt, t.Gen), "prompt and generation"
}

// keyOf is a row's key, as other runs have them.
func keyOf(id string, point map[string]any) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(point)) {
		parts = append(parts, name+"="+valueText(point[name]))
	}
	if len(parts) == 0 {
		return id
	}
	return id + "/" + strings.Join(parts, ",")
}

func row(t *Test, id, what, key string, point map[string]any) record.Row {
	out := record.Row{
		ID: id, Workload: what, Point: point, Key: key, Status: record.OK, Passes: len(t.SamplesNS),
		Flags: []record.Flag{{Name: Flag}}, Samples: []record.Sample{}, Reports: []string{Metric}, LlamaBench: t.Written,
		Metrics: map[string]record.Metric{},
		Reasons: record.Reasons{"*": "llama-bench sends no request: there is no time to a first token, no stream, and no client"},
	}
	m := record.Metric{Unit: "tok/s", Better: "higher", Stats: map[string]float64{}, Values: [][]float64{}}
	average := record.Metric{Unit: "tok/s", Stats: map[string]float64{}, Values: [][]float64{}}
	rates, why := t.rates()
	if why != "" {
		for _, name := range []string{Metric, Average, "cv", "ci95"} {
			out.Reasons[name] = why
		}
		out.Metrics[Metric], out.Metrics[Average] = m, average
		return out
	}
	m.N, average.N = len(rates), len(rates)
	for _, x := range rates {
		m.Values = append(m.Values, []float64{x}) // each repetition is what a pass is to us
	}
	average.Values = append(average.Values, rates)
	m.Stats["p50"], _ = stats.Median(rates)
	average.Stats["mean"], _ = stats.Mean(rates)
	if sd, ok := stats.SD(rates); ok {
		average.Stats["stddev"] = sd
	}
	out.Metrics[Metric], out.Metrics[Average] = m, average
	if cv, ok := stats.CV(rates); ok {
		out.CV = map[string]float64{Metric + ".p50": cv}
		if low, high, ok := stats.CI95(rates); ok {
			out.CI95 = map[string]record.CI{Metric + ".p50": {Low: max(0, low), High: high}}
		}
	}
	if out.CV == nil {
		out.Reasons["cv"], out.Reasons["ci95"] = "one repetition", "one repetition"
	}
	if evidence := t.disagree(average.Stats); evidence != "" {
		out.Flags = append(out.Flags, record.Flag{Name: FlagOdd, Evidence: evidence})
	}
	return out
}

// rates are tokens a second of each repetition: all tokens of the test in its time, those of the depth left out.
func (t *Test) rates() (rates []float64, why string) {
	switch {
	case t.SamplesNS == nil:
		why = "the file has no samples_ns"
		if t.AvgTS != nil {
			why += fmt.Sprintf("; the average that it states, %g tokens a second, can't be checked", *t.AvgTS)
		}
		return nil, why
	case len(t.SamplesNS) == 0:
		return nil, "the test has no repetition"
	}
	for _, ns := range t.SamplesNS {
		if ns <= 0 {
			return nil, "a repetition took 0 ns"
		}
		rates = append(rates, float64(t.Prompt+t.Gen)*1e9/float64(ns))
	}
	return rates, ""
}

// disagree says in which of its averages the file is not what its samples give. stddev_ns is not looked at: llama-bench sums
// its squares in whole numbers that overflow.
func (t *Test) disagree(have map[string]float64) string {
	var out []string
	check := func(name string, stated *float64, want float64, ok bool, slack float64) {
		if stated != nil && ok && !(*stated >= want-slack && *stated <= want+slack) {
			out = append(out, fmt.Sprintf("%s is stated as %.6g, and samples_ns give %.6g", name, *stated, want))
		}
	}
	times := make([]float64, len(t.SamplesNS))
	for i, ns := range t.SamplesNS {
		times[i] = float64(ns)
	}
	ns, ok := stats.Mean(times)
	check("avg_ns", t.AvgNS, ns, ok, max(1, odd*ns))
	mean, sd := have["mean"], have["stddev"]
	check("avg_ts", t.AvgTS, mean, true, odd*mean)
	_, spread := have["stddev"]
	check("stddev_ts", t.StddevTS, sd, spread, 0.01*sd+odd*mean)
	return strings.Join(out, "; ")
}

// modelType is llama.cpp's name of a model: architecture, size, storage type ("llama 8B Q4_K - Medium").
var modelType = regexp.MustCompile(`^\S+ [?0-9E][^ ]*[BMK] (?:mostly )?(.+)$`)

// quantOf is the storage type as files are named after it; empty where it is not known.
func quantOf(model string) string {
	found := modelType.FindStringSubmatch(model)
	if found == nil {
		return ""
	}
	return strings.NewReplacer(" - Small", "_S", " - Medium", "_M", " - Large", "_L").Replace(found[1])
}

func join(sep string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), sep)
}

// Recognised reports whether a file that begins so may be llama-bench's, or JSON at all: it is no archive.
func Recognised(head []byte) bool { return begin(bytes.TrimRight(head, "\x00")) != nil }
