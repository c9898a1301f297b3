package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
)

// llamaBenchFlag marks runs of llama-bench; the banner says it.
const llamaBenchFlag = "llama_bench"

// KindNotice says first of a run of another program what nobody may overlook; empty for llm-speed's own.
func KindNotice(kind record.Kind) string {
	switch kind {
	case "":
		return ""
	case record.LlamaBench:
		return "LLAMA-BENCH: figures of llama-bench, another program, by its own definitions. Never ranked, and not to be compared with llm-speed's."
	}
	return "OTHER PROGRAM: figures of " + string(kind) + ". Never ranked, and not to be compared with llm-speed's."
}

// BenchDefinitions are what a figure of llama-bench differs in from ours, in the words of docs/agreement.md.
func BenchDefinitions() []string {
	return []string{
		"no server: no HTTP, no client, no queue, no cache, in one process",
		"no sampling and no detokenising: the next token is a random one",
		"no chat template and no real text: prompts are random tokens",
		"tg starts from an empty context, or from n_depth tokens that are not timed; our decode comes after a prompt",
		"n tokens in the time of n evaluations; our decode rate leaves the first token out",
		"pp is one batch of compute; our prefill is what a request waited for, by the server's own time or two times to the first token",
		"the average of repetitions after a warm-up; ours is the median over passes",
	}
}

// benchHeader says what llama-bench measured on what.
func benchHeader(p *page, r *record.Result) {
	put := func(name, text string) {
		if text != "" {
			p.packed(plain, padRight(name, 9), strings.Split(text, separator), separator)
		}
	}
	p.line(bold, "llama-bench")
	put("model", modelText(r.Model))
	for _, f := range benchFacts(r) {
		put(f.Name, f.Text)
	}
}

// benchFacts are what llama-bench says of itself, its machine and its settings.
func benchFacts(r *record.Result) []Fact {
	m := maps.Clone(r.Backend.Metadata)
	take := func(name string) string { defer delete(m, name); return m[name] }
	build := ""
	if r.Backend.Version != "" {
		build = "build " + r.Backend.Version
	}
	backend := join(separator, join(" ", r.Backend.Name, build), r.Backend.Build, take("backends"))
	machine := join(separator, take("cpu_info"), take("gpu_info"))
	kind := take("model_type")
	if size, err := strconv.ParseInt(take("model_size"), 10, 64); err == nil {
		kind = join(separator, kind, bytesText(size)+" of tensors")
	}
	var settings []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		settings = append(settings, name+" "+m[name])
	}
	started := "not known when"
	if !r.StartedAt.IsZero() {
		started = r.StartedAt.UTC().Format("2006-01-02 15:04 UTC")
	}
	return slices.DeleteFunc([]Fact{{"type", kind}, {"backend", backend}, {"machine", machine}, {"settings", join(separator, settings...)}, {"run", join(separator, r.RunID, started)}},
		func(f Fact) bool { return f.Text == "" })
}

// benchTable is the table of a run of llama-bench.
func benchTable(p *page, r *record.Result) {
	banner(p, r)
	benchHeader(p, r)
	p.line(plain, "")
	rows := [][]string{{"test", "", "tok/s", "mean", "± stddev", "repetitions"}}
	notes := []string{}
	for i := range r.Rows {
		row := &r.Rows[i]
		line := []string{row.ID, PointText(row.Point)}
		for _, stat := range []struct{ metric, stat string }{{"llama_bench_tps", "p50"}, {"llama_bench_avg_tps", "mean"}, {"llama_bench_avg_tps", "stddev"}} {
			x, ok := row.Metrics[stat.metric].Stats[stat.stat]
			why := row.Reasons[stat.metric]
			switch {
			case ok:
				line = append(line, Number(x))
			case why == "": // no deviation of one
				line = append(line, "")
			default:
				if !slices.Contains(notes, why) {
					notes = append(notes, why)
				}
				line = append(line, fmt.Sprintf("– (%d)", slices.Index(notes, why)+1))
			}
		}
		rows = append(rows, append(line, strconv.Itoa(row.Passes)))
	}
	widths := make([]int, len(rows[0]))
	for _, line := range rows {
		for i, cell := range line {
			widths[i] = max(widths[i], runes(cell))
		}
	}
	for n, line := range rows {
		text := ""
		for i, cell := range line {
			if i < 2 {
				text += padRight(cell, widths[i])
			} else {
				text += padLeft(cell, widths[i])
			}
			text += "  "
		}
		p.line(map[bool]string{true: dim, false: plain}[n == 0], "%s", text)
	}
	p.line(plain, "")
	for i, note := range notes {
		p.wrapped(dim, fmt.Sprintf("(%d) ", i+1), "not known: "+note)
	}
	p.wrapped(dim, "", "tok/s is the median over the repetitions: all tokens of a test in its time, computed again from samples_ns. pp is prompt processing, tg text generation after an empty context or n_depth tokens.")
	flags(p, r)
	p.wrapped(dim, "", "how it differs from what llm-speed measures: docs/agreement.md#beside-llama-bench")
}

// asWritten shows a test of llama-bench, field by field.
func asWritten(p *page, row rowView) {
	var fields map[string]json.RawMessage
	if len(row.LlamaBench) == 0 || json.Unmarshal(row.LlamaBench, &fields) != nil {
		return
	}
	p.line(plain, "")
	p.line(bold, "as llama-bench wrote it")
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		var compact bytes.Buffer
		if json.Compact(&compact, fields[name]) != nil {
			continue
		}
		p.wrapped(plain, "  "+padRight(name, 22)+" ", strings.ReplaceAll(compact.String(), ",", ", "))
	}
}
