package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
)

// Explain writes how the figures of one row came about: value, formula, the raw counts and stamps that went in with their
// provenance, how requests and passes were combined, and where the raw frames lie. metric names one figure; empty is all.
// load, which may be nil, reads a raw file whose digest is what the result says. The error is an *UnknownError where
// row or metric are not in the result.
func Explain(w io.Writer, r *record.Result, row, metric string, load Loader, style Style) error {
	found, err := FindRow(r, row)
	if err != nil {
		return err
	}
	v := view(found)
	names := v.figures()
	if metric != "" {
		if !slices.Contains(names, metric) {
			return &UnknownError{"metric", metric, names}
		}
		names = []string{metric}
	}
	p := &page{w: w, style: style}
	banner(p, r)
	p.line(bold, "%s %s", v.Key, v.Workload)
	p.packed(plain, "run      ", facts(r.RunID, join(" ", r.Suite.Name, r.Suite.Version), ShortDigest(r.Suite.Digest), strings.TrimSuffix("seed "+r.Seed, "seed ")), separator)
	p.packed(plain, "on       ", facts(backendText(r.Backend), modelText(r.Model)), separator)
	p.wrapped(plain, "status   ", join(": ", string(v.Status), v.Reason))
	if v.LlamaBench != nil {
		p.wrapped(plain, "repeated ", Count(v.Passes, "time")+", by llama-bench")
	} else if v.Status == record.OK {
		p.packed(plain, "counts   ", facts("provenance "+provenanceText(v.CountProvenance), tokensHow(v.TokensHow), coldText(v.Cold)), separator)
		p.wrapped(plain, "passes   ", fmt.Sprintf("%d, with %s", v.Passes, Count(v.Requests, "timed request")))
	}
	for _, name := range names {
		x := v.look(name)
		if metric == "" && !x.known() && v.Status != record.OK {
			continue
		}
		figure(p, r, v, x)
	}
	samples(p, v)
	batches(p, v)
	asWritten(p, v)
	if len(v.Flags) > 0 {
		p.line(plain, "")
	}
	for _, f := range v.Flags {
		p.wrapped(yellow, "! ", f.Name+": "+FlagText(f.Name)+suffixIn(f.Evidence))
	}
	rawFiles(p, r, v, load)
	return p.err
}

// facts splits what is said in several parts into parts that a line is not broken in.
func facts(parts ...string) []string { return strings.Split(join(separator, parts...), separator) }

func suffixIn(evidence string) string {
	if evidence == "" {
		return ""
	}
	return " (" + evidence + ")"
}

// figures lists the names of all that a row says in numbers, and of what it leaves null with a reason: the catalogue's
// order, then the suite's own.
func (r rowView) figures() []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, f := range catalogue() {
		if v := r.look(f.Name); v.known() || r.Reasons[f.Name] != "" || r.energyReason(f.Name) != "" || slices.Contains(r.Reports, f.Name) {
			add(f.Name)
		}
	}
	for _, name := range r.Reports {
		add(name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Relative)) {
		add(name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Metrics)) {
		add(name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Reasons)) {
		if name != wholeRow && name != "cv" && name != "ci95" {
			add(name)
		}
	}
	return names
}

// figure explains one name of a row of doc.
func figure(p *page, doc *record.Result, r rowView, v value) {
	p.line(plain, "")
	p.line(bold, "%s = %s", v.Name, v.exact())
	k := fieldOf(v.Name)
	if !v.known() {
		p.wrapped(plain, "  null     ", v.Reason)
	}
	switch _, relative := r.Relative[v.Name]; {
	case relative:
		p.wrapped(plain, "  formula  ", "this row's figure / the same figure of the base row that the suite names")
		if base, ok := r.RelativeTo[v.Name]; ok {
			p.packed(plain, "  here     ", divided(doc, r, base), " / ")
		}
	case k.Formula != "":
		p.wrapped(plain, "  formula  ", k.Formula)
	}
	if k.Combined != "" {
		p.wrapped(plain, "  then     ", k.Combined)
	}
	if v.Name == "prefill_tps" && r.PrefillHow != "" {
		p.wrapped(plain, "  method   ", r.PrefillHow)
		if c := r.ColdProbe; c != nil {
			cached := "cached tokens not stated"
			if c.Cached.N != nil {
				cached = Count(*c.Cached.N, "cached token") + ", provenance " + c.Cached.From
			}
			p.packed(plain, "  probe    ", []string{"P0 " + Count(c.Tokens, "token"), fmt.Sprintf("TTFT(P0) %.3f ms", c.TTFTms), fmt.Sprintf("which differ by %.3f ms", c.NoiseMs), cached}, separator)
		}
	}
	if e := r.Energy; e != nil && v.Num != nil && strings.HasPrefix(v.Name, "energy.") {
		p.wrapped(plain, "  method   ", e.Method)
		sum, seconds, tokens := e.DecodeJ, e.DecodeS, e.DecodeTokens
		if v.Name == "energy.per_prompt_token" {
			sum, seconds, tokens = e.PrefillJ, e.PrefillS, e.PrefillTokens
		}
		if sum != nil && seconds > 0 {
			p.packed(plain, "  sums     ", []string{fmt.Sprintf("%.1f J", *sum), fmt.Sprintf("%.1f s", seconds), fmt.Sprintf("%.0f tokens", tokens), fmt.Sprintf("%.1f W on average", *sum/seconds)}, separator)
		}
	}
	if cv, ok := r.CV[v.Name]; ok {
		p.wrapped(plain, "  spread   ", "CV "+percent(cv)+intervalText(r.CI95, v))
	}
	if values := r.sampleValues(v.Name); len(values) > 0 {
		p.wrapped(plain, "  requests ", strings.Join(values, " · "))
	}
	if m, ok := r.Metrics[v.Name]; ok {
		made, then := "recorded by the suite's program with w.record, ", "each statistic over the values of a pass, then median over passes"
		if r.LlamaBench != nil {
			made, then = "(n_prompt + n_gen) / samples_ns of each repetition, as llama-bench defines it; ", "each statistic over all repetitions"
		}
		p.wrapped(plain, "  formula  ", made+strconv.Itoa(m.N)+" values; "+then)
		if r.LlamaBench != nil {
			for _, text := range BenchDefinitions() {
				p.wrapped(plain, "  not ours ", text)
			}
		}
		for i, pass := range m.Values {
			var values []string
			for _, x := range pass {
				values = append(values, Number(x))
			}
			p.wrapped(plain, fmt.Sprintf("  pass %-4d ", i+1), strings.Join(values, " · "))
		}
	}
	if reason := r.Reasons[v.Name]; reason != "" && v.known() {
		p.wrapped(plain, "  note     ", reason)
	}
	p.line(plain, "  see      %s", r.see(v.Name))
}

// divided names the two figures of a ratio.
func divided(doc *record.Result, r rowView, base record.Base) []string {
	sides := []string{base.Metric + " " + r.look(base.Metric).exact(), base.Row + " is not in this result"}
	for i := range doc.Rows {
		if doc.Rows[i].Key == base.Row {
			sides[1] = view(doc.Rows[i]).look(base.Metric).exact() + " of " + base.Row
		}
	}
	return sides
}

// exact shows a value with more digits than the table.
func (v value) exact() string {
	if v.Num == nil {
		return v.String()
	}
	text := strconv.FormatFloat(*v.Num, 'f', -1, 64)
	if i := strings.IndexByte(text, '.'); i >= 0 && len(text) > i+5 {
		text = strconv.FormatFloat(*v.Num, 'f', 4, 64)
	}
	switch v.Unit {
	case "", "count":
		return text
	case "×":
		return text + "×"
	case inPercent:
		return text + " %"
	case "%":
		return text + " (" + v.String() + ")"
	}
	return text + " " + v.Unit
}

func intervalText(all map[string]record.CI, v value) string {
	ci, ok := all[v.Name]
	if !ok {
		return ""
	}
	return fmt.Sprintf(", 95 %% interval %s to %s", withUnit(ci.Low, v.Unit), withUnit(ci.High, v.Unit))
}

// grid writes right-aligned columns two spaces apart.
func grid(p *page, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], runes(cell))
		}
	}
	for n, row := range rows {
		line := " "
		for i, cell := range row {
			line += " " + padLeft(cell, widths[i])
		}
		p.line(map[bool]string{true: dim, false: plain}[n == 0], "%s", line)
	}
}

func fixed(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

func trim(v float64) string {
	if v == float64(int64(v)) {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

func pointer(v *float64, reason string) string {
	if v == nil {
		return strings.TrimSpace("– " + reason)
	}
	return Number(*v)
}
