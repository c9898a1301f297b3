package engine

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/stream"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// figure is a metric of a row: how one pass gives it, and where it stands in the row.
type figure struct {
	name   string
	of     func(p *passResult) measure.Value
	to     func(r *record.Row) **float64
	spread bool // headline: its CV and interval over passes are shown, and an unsteady one is flagged
}

// figures are the metrics of every row, whatever its workload. Those of batches and of conversations are below.
func figures() []figure {
	return []figure{
		{"ttft_ms", each(func(m *measured) measure.Value { return m.TTFT }), func(r *record.Row) **float64 { return &r.TTFTms }, true},
		{"ttfa_ms", each(func(m *measured) measure.Value { return m.TTFA }), func(r *record.Row) **float64 { return &r.TTFAms }, false},
		{"prefill_tps", prefillOf, func(r *record.Row) **float64 { return &r.PrefillTPS }, true},
		{"decode_tps", each(func(m *measured) measure.Value { return m.Decode }), func(r *record.Row) **float64 { return &r.DecodeTPS }, true},
		{"wall_ms", wallOf, func(r *record.Row) **float64 { return &r.Wallms }, false},
		{"prefix_cache_hit_rate", hitRate, func(r *record.Row) **float64 { return &r.HitRate }, false},
		{"prefix_cache_max", hitRateMax, func(r *record.Row) **float64 { return &r.HitRateMax }, false},
		{"prefix_cache_efficiency", func(p *passResult) measure.Value { return measure.Efficiency(hitRate(p), hitRateMax(p)) }, func(r *record.Row) **float64 { return &r.HitRateEff }, false},
	}
}

// batchFigures are the metrics of rows whose program releases batches (W4 of measurement.md section 4).
func batchFigures() []figure {
	return []figure{
		{"aggregate_tps", eachBatch(func(t *measure.Together) measure.Value { return t.Aggregate }), func(r *record.Row) **float64 { return &r.AggregateTPS }, true},
		{"whole_span_tps", eachBatch(func(t *measure.Together) measure.Value { return t.Span }), func(r *record.Row) **float64 { return &r.SpanTPS }, false},
		{"per_stream_tps", eachBatch(func(t *measure.Together) measure.Value { return t.PerStream }), func(r *record.Row) **float64 { return &r.PerStreamTPS }, false},
		{"per_stream_p5_tps", eachBatch(func(t *measure.Together) measure.Value { return t.PerStreamP5 }), func(r *record.Row) **float64 { return &r.PerStreamP5 }, false},
		{"fairness", eachBatch(func(t *measure.Together) measure.Value { return t.Fairness }), func(r *record.Row) **float64 { return &r.Fairness }, false},
	}
}

// turnFigures are the metrics of rows whose program extends a conversation (W5 of measurement.md section 4).
func turnFigures() []figure {
	return []figure{
		{"turn_p50_ms", func(p *passResult) measure.Value { return measure.Median(walls(p)) }, func(r *record.Row) **float64 { return &r.TurnP50ms }, false},
		{"turn_p95_ms", func(p *passResult) measure.Value { v, _ := measure.TurnP95(walls(p)); return v }, func(r *record.Row) **float64 { return &r.TurnP95ms }, false},
		{"warm_ttft_ms", ttftWhere(true), func(r *record.Row) **float64 { return &r.WarmTTFTms }, false},
		{"cold_ttft_ms", ttftWhere(false), func(r *record.Row) **float64 { return &r.ColdTTFTms }, false},
	}
}

// prefillOf is the median prefill rate of a pass: of the requests for which there may be one. By the client's estimate these
// are the cold prompts: a turn that goes on with a conversation has none, and its lack says nothing against the others.
func prefillOf(p *passResult) measure.Value {
	var vs, warm []measure.Value
	for i := range p.samples {
		switch m := &p.samples[i]; {
		case m.Failed():
		case m.Cold == measure.Reuse && !m.prefill.Known:
			warm = append(warm, m.prefill)
		default:
			vs = append(vs, m.prefill)
		}
	}
	if len(vs) == 0 {
		vs = warm
	}
	return measure.Median(vs)
}

// each is the median over the requests of a pass that did not fail.
func each(of func(*measured) measure.Value) func(*passResult) measure.Value {
	return func(p *passResult) measure.Value {
		var vs []measure.Value
		for i := range p.samples {
			if m := &p.samples[i]; !m.Failed() {
				vs = append(vs, of(m))
			}
		}
		return measure.Median(vs)
	}
}

func eachBatch(of func(*measure.Together) measure.Value) func(*passResult) measure.Value {
	return func(p *passResult) measure.Value {
		var vs []measure.Value
		for i := range p.batches {
			vs = append(vs, of(&p.batches[i].Together))
		}
		return measure.Median(vs)
	}
}

func wallOf(p *passResult) measure.Value {
	for i := range p.samples {
		if m := &p.samples[i]; !m.Wall.Known {
			return m.Wall
		}
	}
	return measure.Known(p.wall.Seconds() * 1000)
}

func walls(p *passResult) []measure.Value {
	var vs []measure.Value
	for i := range p.samples {
		vs = append(vs, p.samples[i].Wall)
	}
	return vs
}

// ttftWhere is the median TTFT of the turns that go on with a conversation (warm) or begin one (cold).
func ttftWhere(warm bool) func(*passResult) measure.Value {
	return func(p *passResult) measure.Value {
		var vs []measure.Value
		for i := range p.samples {
			if m := &p.samples[i]; !m.Failed() && (m.prompt.parent != nil) == warm {
				vs = append(vs, m.TTFT)
			}
		}
		return measure.Median(vs)
	}
}

func samplesOf(p *passResult) []measure.Sample {
	out := make([]measure.Sample, len(p.samples))
	for i := range p.samples {
		out[i] = p.samples[i].Sample
	}
	return out
}

func hitRate(p *passResult) measure.Value { return measure.HitRate(samplesOf(p)) }

func hitRateMax(p *passResult) measure.Value {
	meant := false
	hits := make([]int, len(p.samples))
	for i := range p.samples {
		m := &p.samples[i]
		hits[i] = -1
		if m.maxHit != nil {
			hits[i] = *m.maxHit
		}
		if m.prompt.reuse {
			meant = true
		} else {
			hits[i] = 0
		}
	}
	if !meant {
		return measure.Unknown("every prompt is cold: nothing is meant to be reused")
	}
	return measure.HitRateMax(samplesOf(p), hits)
}

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
	r.server(&row, all)
	r.declared(&row, plan, good)
	if p := probeOf(st); p != nil && strings.Contains(row.PrefillHow, measure.PrefillEstimated) {
		row.ColdProbe = &record.Probe{Tokens: p.tokens, TTFTms: p.ttft.Seconds() * 1000, Cached: countOf(p.cached)}
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

// declared fills in the metrics that the suite's program recorded: each statistic of a pass, median over passes.
func (r *run) declared(row *record.Row, plan *RowPlan, passes []passResult) {
	for name, spec := range plan.workload.Metrics {
		m := record.Metric{Unit: spec.Unit, Better: spec.Better, Stats: map[string]float64{}}
		byStat := map[string][]float64{}
		for _, p := range passes {
			vs := p.metrics[name]
			m.Values = append(m.Values, vs)
			m.N += len(vs)
			for _, s := range spec.Stats {
				if x, ok := statistic(s, vs); ok {
					byStat[s] = append(byStat[s], x)
				}
			}
		}
		for s, xs := range byStat {
			if x, ok := stats.Median(xs); ok {
				m.Stats[s] = x
			}
		}
		if row.Metrics == nil {
			row.Metrics = map[string]record.Metric{}
		}
		row.Metrics[name] = m
	}
}

// statistic computes one of the statistics that a suite may declare.
func statistic(name string, vs []float64) (float64, bool) {
	if len(vs) == 0 {
		return 0, false
	}
	switch name {
	case "p50":
		return stats.Percentile(vs, 0.50)
	case "p95":
		return stats.Percentile(vs, 0.95)
	case "p99":
		return stats.Percentile(vs, 0.99)
	case "min":
		return slices.Min(vs), true
	case "max":
		return slices.Max(vs), true
	case "mean":
		return stats.Mean(vs)
	case "last":
		return vs[len(vs)-1], true
	case "sum":
		sum := 0.0
		for _, v := range vs {
			sum += v
		}
		return sum, true
	}
	return 0, false
}

// metricNames lists the metrics that a workload declares.
func metricNames(w *suite.Workload) []string {
	names := make([]string, 0, len(w.Metrics))
	for n := range w.Metrics {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// rowFlags are the flags of a row: of its requests, its batches, its passes and the run.
func (r *run) rowFlags(st *rowState, row *record.Row) []record.Flag {
	flags := []record.Flag{}
	var samples []measure.Sample
	var other *record.Flag
	for _, p := range st.passes {
		for i := range p.samples {
			s := p.samples[i].Sample
			if s.Failed() { // what else is odd about half a stream is a consequence
				s.Flags = slices.DeleteFunc(slices.Clone(s.Flags), func(f measure.Flag) bool { return f.Name != measure.Errors })
			}
			samples = append(samples, s)
			if p.samples[i].other != nil {
				other = p.samples[i].other
			}
		}
	}
	flags = append(flags, flagsOf(samples)...)
	for _, p := range st.passes {
		for _, b := range p.batches {
			for _, f := range b.Flags {
				flags = addFlag(flags, record.Flag{Name: f.Name, Evidence: f.Evidence})
			}
		}
		if p.err != nil && !p.ceiling {
			flags = addFlag(flags, record.Flag{Name: measure.Errors, Evidence: fmt.Sprintf("pass %d: %v", p.pass, p.err)})
		}
	}
	if f, late := measure.ClientLag(samples); late {
		flags = addFlag(flags, record.Flag{Name: f.Name, Evidence: f.Evidence})
	}
	if other != nil {
		flags = addFlag(flags, *other)
	}
	if row != nil {
		for _, f := range row.Flags { // what the figures have raised
			flags = addFlag(flags, f)
		}
	}
	for _, f := range r.runFlag {
		flags = addFlag(flags, f)
	}
	if st.session != nil {
		for _, name := range slices.Sorted(maps.Keys(st.session.info.Flags)) {
			flags = addFlag(flags, record.Flag{Name: name, Evidence: r.redactText(st.session.info.Flags[name])})
		}
	}
	if r.opt.Spec.Kind == drivers.Simulated || (r.first != nil && r.first.Simulated) {
		flags = addFlag(flags, record.Flag{Name: "simulated", Evidence: "the answers come from the built-in simulator"})
	}
	if r.opt.Quick {
		flags = addFlag(flags, record.Flag{Name: "quick", Evidence: "a quick run: smaller shapes, never compared with full ones"})
	}
	return flags
}

// guessed reports whether any request's tokens were put on its events by an estimate that no tokenizer has borne out.
func guessed(all []measured) bool {
	return slices.ContainsFunc(all, func(m measured) bool { return m.TokensHow == measure.Estimated && m.Asked.TextTokens == 0 })
}

// rankableFlags reports whether a row with these flags may be ranked. A flag that only describes (coalesced events, an
// unsteady figure, a slow power state) does not take a row off the ranking; one that puts its numbers in doubt does.
func rankableFlags(flags []record.Flag) bool {
	for _, f := range flags {
		switch f.Name {
		case measure.Coalesced, measure.Unstable, "on_battery", "thermal", "cpu_fallback":
		default:
			return false
		}
	}
	return true
}

// rankableRun reports whether the run as a whole may be ranked: an official suite, a model whose weights are known.
func (r *run) rankableRun() bool {
	known := r.result.Model.Digest != "" && r.result.Model.Quant != ""
	if r.opt.Spec.Kind == drivers.Hosted {
		known = r.result.Model.Name != ""
	}
	return r.opt.Official && known && len(r.runFlag) == 0
}

// relate fills in the ratios that the suite declares between a row and its workload's base row.
func (r *run) relate() {
	for i := range r.rows {
		plan := &r.rows[i]
		row := r.rowOf(plan.Key)
		if row == nil {
			continue
		}
		for _, rel := range plan.workload.Relative {
			if row.Relative == nil {
				row.Relative = map[string]*float64{}
			}
			base := r.baseRow(plan, rel.Base)
			if base == nil {
				row.Relative[rel.Name] = nil
				row.Reasons[rel.Name] = "the row that it compares with is not in this run"
				continue
			}
			of, to := fieldOf(row, rel.Metric), fieldOf(base, rel.Metric)
			row.Relative[rel.Name] = nil
			if of == nil || to == nil || *to == 0 {
				row.Reasons[rel.Name] = fmt.Sprintf("%s is not known for this row and %s", rel.Metric, base.Key)
				continue
			}
			x := *of / *to
			row.Relative[rel.Name] = &x
			delete(row.Reasons, rel.Name)
		}
	}
}

// baseRow finds the row that a ratio is to: the point named, or the workload's first.
func (r *run) baseRow(plan *RowPlan, base map[string]any) *record.Row {
	for i := range r.rows {
		if r.rows[i].ID == plan.ID && (base == nil || samePoint(r.rows[i].Point, base)) {
			return r.rowOf(r.rows[i].Key)
		}
	}
	return nil
}

func (r *run) rowOf(key string) *record.Row {
	for i := range r.result.Rows {
		if r.result.Rows[i].Key == key {
			return &r.result.Rows[i]
		}
	}
	return nil
}

// fieldOf is the figure of a row by its JSON name; nil where the row has none of that name.
func fieldOf(row *record.Row, name string) *float64 {
	for _, set := range [][]figure{figures(), batchFigures(), turnFigures()} {
		for _, f := range set {
			if f.name == name {
				return *f.to(row)
			}
		}
	}
	return nil
}
