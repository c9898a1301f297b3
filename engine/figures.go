package engine

import (
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/record"
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
