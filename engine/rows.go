package engine

import (
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// build makes the row of a plan's entry from its passes.
func (r *run) build(at int) record.Row {
	plan, st := &r.rows[at], r.state[at]
	row := record.Row{
		ID: plan.ID, Workload: plan.Name, Point: plan.Point, Key: plan.Key, Status: st.status, Reason: st.reason,
		Reports: plan.workload.Reports, Flags: []record.Flag{}, Samples: []record.Sample{}, Reasons: record.Reasons{},
	}
	var good []passResult
	var all []measured
	for _, p := range st.passes {
		if p.err == nil {
			good = append(good, p)
			all = append(all, p.samples...)
		}
	}
	row.Passes = len(good)
	row.Pauses = pausesOf(st)
	r.samples(&row, st)
	if len(good) == 0 {
		if row.Status == record.OK || row.Status == "" {
			row.Status = record.Failed
		}
		row.Reasons["*"] = "the row has no finished pass: " + row.Reason
		row.Flags = r.rowFlags(st, nil)
		return row
	}
	samples := make([]measure.Sample, len(all))
	for i := range all {
		samples[i] = all[i].Sample
	}
	row.Requests = len(all)
	r.fill(&row, good, figures())
	if slices.ContainsFunc(good, func(p passResult) bool { return len(p.batches) > 0 }) {
		r.fill(&row, good, batchFigures())
		r.batches(&row, st)
	}
	if slices.ContainsFunc(all, func(m measured) bool { return m.prompt.parent != nil }) {
		r.fill(&row, good, turnFigures())
		last := good[len(good)-1].samples
		if m := last[len(last)-1]; m.Prompt.Known() && m.Output.Known() {
			n := m.Prompt.N + m.Output.N
			row.ContextFinal = &n
		}
	}
	r.pooled(&row, samples)
	r.counts(&row, good, all)
	row.DecodeOver = overOf(all)
	r.server(&row, all)
	r.declared(&row, plan, good)
	if p := probeOf(st); p != nil && strings.Contains(row.PrefillHow, measure.PrefillEstimated) {
		row.ColdProbe = &record.Probe{Tokens: p.Tokens, TTFTms: p.TTFT.Seconds() * 1000, NoiseMs: p.Noise.Seconds() * 1000, Cached: countOf(p.cached)}
	}
	row.Flags = r.rowFlags(st, &row)
	r.judge(&row, st)
	row.Rankable = row.Status == record.OK && rankableFlags(row.Flags) && !guessed(all) && slices.Contains([]string{"A", "B", "C"}, row.CountProvenance)
	if len(row.CV) == 0 {
		row.CV, row.CI95 = nil, nil
		row.Reasons["cv"], row.Reasons["ci95"] = "one pass", "one pass"
	}
	return row
}

// probeOf is the cold probe of the session that a row ran on; nil where there was none.
func probeOf(st *rowState) *coldProbe {
	if st.session == nil {
		return nil
	}
	return st.session.probe
}

// fill computes figures over passes: the median is the headline, CV and interval stand beside it.
func (r *run) fill(row *record.Row, passes []passResult, figs []figure) {
	for _, f := range figs {
		vs := make([]measure.Value, len(passes))
		for i := range passes {
			vs[i] = f.of(&passes[i])
		}
		s := measure.Over(vs)
		*f.to(row) = s.Headline.Ptr()
		if !s.Headline.Known {
			row.Reasons[f.name] = s.Headline.Why
		}
		if !s.CV.Known || !f.spread {
			continue
		}
		warmupDrift(row, f.name, vs, strings.HasSuffix(f.name, "_ms"))
		if row.CV == nil {
			row.CV, row.CI95 = map[string]float64{}, map[string]record.CI{}
		}
		row.CV[f.name] = s.CV.X
		if s.Low.Known && s.High.Known {
			row.CI95[f.name] = record.CI{Low: s.Low.X, High: s.High.X}
		}
		if flag, unstable := s.Unstable(f.name); unstable {
			row.Flags = addFlag(row.Flags, record.Flag{Name: flag.Name, Evidence: flag.Evidence})
		}
	}
}

// pooled fills in what is taken over all requests at once: token latency, the tails of TTFT, gaps.
func (r *run) pooled(row *record.Row, samples []measure.Sample) {
	set := func(name string, to **float64, v measure.Value) {
		*to = v.Ptr()
		if !v.Known {
			row.Reasons[name] = v.Why
		}
	}
	itl := measure.ITL(samples)
	set("decode_p50_latency_ms", &row.ITLp50ms, itl.P50)
	set("decode_p95_latency_ms", &row.ITLp95ms, itl.P95)
	set("decode_p99_latency_ms", &row.ITLp99ms, itl.P99)
	ttft := measure.Each(samples, func(s *measure.Sample) measure.Value { return s.TTFT })
	set("ttft_p95_ms", &row.TTFTp95ms, measure.P95(ttft))
	set("ttft_max_ms", &row.TTFTmaxms, measure.Max(ttft))
	set("max_gap_ms", &row.MaxGapms, measure.Max(measure.Each(samples, func(s *measure.Sample) measure.Value { return s.MaxGap })))
	set("tokens_per_event", &row.TokensPerEvent, measure.Median(measure.Each(samples, func(s *measure.Sample) measure.Value { return s.TokensPerEvent })))
	stalls, known := 0, true
	for i := range samples {
		known = known && samples[i].Stalls.Known
		stalls += int(samples[i].Stalls.X)
	}
	if known {
		row.Stalls = &stalls
	} else {
		row.Reasons["stalls"] = "not every stream has gaps"
	}
}

// overOf is the most by which any of the decode rates may be too high; nil where none can be.
func overOf(all []measured) *float64 {
	over := 0.0
	for i := range all {
		over = max(over, all[i].Over)
	}
	if over == 0 {
		return nil
	}
	return &over
}

// counts fills in token counts, their provenance, and how tokens were put on events.
func (r *run) counts(row *record.Row, passes []passResult, all []measured) {
	median := func(name string, of func(*measured) stream.Count, to **int) {
		var xs []float64
		for i := range all {
			if c := of(&all[i]); c.Known() {
				xs = append(xs, float64(c.N))
			}
		}
		if x, ok := stats.Median(xs); ok {
			n := int(math.Round(x))
			*to = &n
			return
		}
		row.Reasons[name] = "the server does not state it"
	}
	median("prompt_tokens", func(m *measured) stream.Count { return m.Prompt }, &row.PromptTokens)
	median("output_tokens", func(m *measured) stream.Count { return m.Output }, &row.OutputTokens)
	median("reasoning_tokens", func(m *measured) stream.Count { return m.Reasoning }, &row.Reasoning)
	sum := func(name string, of func(*measured) stream.Count, to **int) {
		var xs []float64
		for p := range passes {
			total := 0
			for i := range passes[p].samples {
				c := of(&passes[p].samples[i])
				if !c.Known() {
					row.Reasons[name] = "the server does not state it for every request"
					return
				}
				total += c.N
			}
			xs = append(xs, float64(total))
		}
		if x, ok := stats.Median(xs); ok {
			n := int(math.Round(x))
			*to = &n
		}
	}
	sum("cached_tokens", func(m *measured) stream.Count { return m.Cached }, &row.CachedTokens)
	sum("total_output_tokens", func(m *measured) stream.Count { return m.Output }, &row.TotalOutput)
	sum("total_prompt_tokens", func(m *measured) stream.Count { return m.Prompt }, &row.TotalPrompt)

	var provenances []stream.Provenance
	var cold []measure.Coldness
	hows, prefills := map[string]bool{}, map[string]bool{}
	for i := range all {
		provenances = append(provenances, all[i].Provenance())
		cold = append(cold, all[i].Cold)
		hows[all[i].TokensHow] = true
		if all[i].prefillHow != "" {
			prefills[all[i].prefillHow] = true
		}
	}
	row.CountProvenance = string(measure.Worst(provenances))
	row.Cold = string(measure.WorstCold(cold))
	row.TokensHow, row.PrefillHow = joined(hows), joined(prefills)
}

func joined(set map[string]bool) string {
	names := make([]string, 0, len(set))
	for n := range set {
		names = append(names, n)
	}
	sort.Strings(names)
	out := ""
	for i, n := range names {
		if i > 0 {
			out += ", "
		}
		out += n
	}
	return out
}

// server fills in the server's own figures, each under its own name.
func (r *run) server(row *record.Row, all []measured) {
	var prefill, decode, queue []measure.Value
	s := &record.Server{}
	for i := range all {
		if all[i].Failed() {
			continue
		}
		prefill, decode, queue = append(prefill, all[i].ServerPrefill), append(decode, all[i].ServerDecode), append(queue, all[i].ServerQueue)
		if d := all[i].tr.Server.Definition; d != "" {
			s.Definition = d
		}
	}
	s.PrefillTPS, s.DecodeTPS, s.QueueMs = measure.Median(prefill).Ptr(), measure.Median(decode).Ptr(), measure.Median(queue).Ptr()
	if s.PrefillTPS == nil && s.DecodeTPS == nil && s.QueueMs == nil {
		row.Reasons["server"] = "the server states no times of its own"
		return
	}
	row.Server = s
}

// batches keeps what each barrier gave.
func (r *run) batches(row *record.Row, st *rowState) {
	base, most := 0, 0
	for _, p := range st.passes {
		for _, b := range p.batches {
			rec := b.Batch
			rec.Streams = slices.Clone(b.Batch.Streams)
			for i := range rec.Streams {
				rec.Streams[i] += base
			}
			row.Batches = append(row.Batches, rec)
			most = max(most, b.Together.Parallelism)
		}
		base += len(p.samples)
	}
	row.Parallelism = &most
}
