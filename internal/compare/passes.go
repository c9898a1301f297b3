package compare

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stats"
)

// Figure is one figure of a row with what its passes gave.
type Figure struct {
	Value  *float64  `json:"value"`  // the row's; null where unknown
	Low    *float64  `json:"low"`    // 95 % interval of the mean over passes; null with fewer than two
	High   *float64  `json:"high"`   //
	Passes []float64 `json:"passes"` // by pass; null where the figure is not made pass by pass
	Reason string    `json:"reason,omitempty"`
}

// figureOf finds a figure of a row: a field of the result, a ratio, or name.stat of a metric that the suite declares.
func figureOf(row *record.Row, fields map[string]any, name string) Figure {
	f := Figure{Reason: row.Reasons[name]}
	if ratio, ok := row.Relative[name]; ok {
		f.Value = ratio
	} else if metric, stat, ok := metricOf(row, name); ok {
		if x, ok := metric.Stats[stat]; ok {
			f.Value = &x
		}
	} else {
		var at any = fields
		for part := range strings.SplitSeq(name, ".") {
			object, _ := at.(map[string]any)
			at = object[part]
		}
		if x, ok := at.(float64); ok {
			f.Value = &x
		}
	}
	if f.Value == nil {
		if f.Reason == "" {
			f.Reason = row.Reasons["*"]
		}
		if f.Reason == "" {
			f.Reason = "this row does not have it"
		}
		return f
	}
	f.Reason = ""
	passes := passValues(row, name)
	// What the passes give must be what the row says, or they are not what its figure was made of.
	if m, ok := stats.Median(passes); !ok || math.Abs(m-*f.Value) > 1e-9*math.Abs(*f.Value) {
		return f
	}
	f.Passes = passes
	if low, high, ok := stats.CI95(passes); ok {
		low = max(0, low)
		f.Low, f.High = &low, &high
	}
	return f
}

// metricOf finds a metric of the suite by METRIC.STAT; the metric's own name may have dots.
func metricOf(row *record.Row, name string) (m record.Metric, stat string, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return m, "", false
	}
	m, ok = row.Metrics[name[:i]]
	return m, name[i+1:], ok
}

// fieldsOf is the JSON form of a row without its requests.
func fieldsOf(row record.Row) map[string]any {
	row.Samples, row.Batches = nil, nil
	fields := map[string]any{}
	if text, err := json.Marshal(row); err != nil || json.Unmarshal(text, &fields) != nil {
		return map[string]any{}
	}
	return fields
}

// names lists the figures that a row wants shown: what the suite reports, then ratios, then each statistic of its metrics.
func names(row *record.Row, fields map[string]any) []string {
	var out []string
	add := func(name string) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, name := range row.Reports {
		if m, ok := row.Metrics[name]; ok {
			for _, stat := range slices.Sorted(maps.Keys(m.Stats)) {
				add(name + "." + stat)
			}
			continue
		}
		_, text := fields[name].(string)
		_, truth := fields[name].(bool)
		if !text && !truth {
			add(name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(row.Relative)) {
		add(name)
	}
	for _, name := range slices.Sorted(maps.Keys(row.Metrics)) {
		for _, stat := range slices.Sorted(maps.Keys(row.Metrics[name].Stats)) {
			add(name + "." + stat)
		}
	}
	return out
}

// passValues are a figure's values by pass, in order, of the passes without a failed request. Requests of one pass are not
// taken one by one: they share a server's state and a prompt cache, and would make a difference look surer than it is.
func passValues(row *record.Row, name string) []float64 {
	if m, stat, ok := metricOf(row, name); ok {
		var out []float64
		for _, values := range m.Values {
			if x, ok := statistic(stat, values); ok {
				out = append(out, x)
			}
		}
		return out
	}
	var out []float64
	for from := 0; from < len(row.Samples); {
		to := from + 1
		for to < len(row.Samples) && row.Samples[to].Pass == row.Samples[from].Pass {
			to++
		}
		if x, ok := ofPass(row, name, from, to); ok {
			out = append(out, x)
		}
		from = to
	}
	return out
}

// ofPass is a figure of the pass whose requests are from … to-1.
func ofPass(row *record.Row, name string, from, to int) (float64, bool) {
	samples := row.Samples[from:to]
	if slices.ContainsFunc(samples, func(s record.Sample) bool { return s.Error != "" }) {
		return 0, false
	}
	each := func(of func(*record.Sample) *float64) []float64 {
		var xs []float64
		for i := range samples {
			if x := of(&samples[i]); x != nil {
				xs = append(xs, *x)
			}
		}
		return xs
	}
	batches := func(of func(*record.Batch) (float64, bool)) (float64, bool) {
		var xs []float64
		for i := range row.Batches {
			if b := &row.Batches[i]; b.Pass == samples[0].Pass {
				if x, ok := of(b); ok {
					xs = append(xs, x)
				}
			}
		}
		return stats.Median(xs)
	}
	streams := func(of func([]float64) (float64, bool)) (float64, bool) {
		return batches(func(b *record.Batch) (float64, bool) {
			var rates []float64
			for _, i := range b.Streams {
				if i < 0 || i >= len(row.Samples) || row.Samples[i].DecodeTPS == nil {
					return 0, false
				}
				rates = append(rates, *row.Samples[i].DecodeTPS)
			}
			return of(rates)
		})
	}
	known := func(x *float64) (float64, bool) {
		if x == nil {
			return 0, false
		}
		return *x, true
	}
	switch name {
	case "ttft_ms":
		return stats.Median(each(func(s *record.Sample) *float64 { return s.TTFTms }))
	case "ttfa_ms":
		return stats.Median(each(func(s *record.Sample) *float64 { return s.TTFAms }))
	case "prefill_tps":
		return stats.Median(each(func(s *record.Sample) *float64 { return s.PrefillTPS }))
	case "decode_tps":
		return stats.Median(each(func(s *record.Sample) *float64 { return s.DecodeTPS }))
	case "turn_p50_ms":
		return stats.Median(each(func(s *record.Sample) *float64 { return s.WallMs }))
	case "turn_p95_ms":
		return stats.Percentile(each(func(s *record.Sample) *float64 { return s.WallMs }), 0.95)
	case "warm_ttft_ms", "cold_ttft_ms":
		return stats.Median(each(func(s *record.Sample) *float64 {
			if s.Inputs == nil || s.Inputs.Extends != (name == "warm_ttft_ms") {
				return nil
			}
			return s.TTFTms
		}))
	case "wall_ms":
		return wallOf(samples)
	case "prefix_cache_hit_rate":
		return hitRate(samples)
	case "aggregate_tps":
		return batches(func(b *record.Batch) (float64, bool) { return known(b.AggregateTPS) })
	case "whole_span_tps":
		return batches(func(b *record.Batch) (float64, bool) { return known(b.SpanTPS) })
	case "per_stream_tps":
		return streams(stats.Median)
	case "per_stream_p5_tps":
		return streams(func(xs []float64) (float64, bool) { return stats.Percentile(xs, 0.05) })
	case "fairness":
		return streams(func(xs []float64) (float64, bool) {
			if len(xs) == 0 || slices.Max(xs) <= 0 {
				return 0, false
			}
			return slices.Min(xs) / slices.Max(xs), true
		})
	}
	return 0, false
}

// wallOf is the time of a pass in ms, summed over its releases.
func wallOf(samples []record.Sample) (float64, bool) {
	var wall int64
	for from := 0; from < len(samples); {
		begin, end := samples[from].SendNS, samples[from].LastNS
		to := from
		for ; to < len(samples); to++ {
			s := &samples[to]
			if s.Inputs == nil || s.WallMs == nil {
				return 0, false
			}
			if s.Inputs.Release != samples[from].Inputs.Release {
				break
			}
			begin, end = min(begin, s.SendNS), max(end, s.LastNS)
		}
		wall += max(0, end-begin)
		from = to
	}
	return float64(wall) / 1e6, true
}

func hitRate(samples []record.Sample) (float64, bool) {
	cached, prompt := 0, 0
	for i := range samples {
		s := &samples[i]
		if s.Cached.N == nil || s.Prompt.N == nil {
			return 0, false
		}
		cached, prompt = cached+*s.Cached.N, prompt+*s.Prompt.N
	}
	if prompt <= 0 {
		return 0, false
	}
	return float64(cached) / float64(prompt), true
}

// statistic is one of those that a suite may declare.
func statistic(name string, values []float64) (float64, bool) {
	if len(values) == 0 {
		return 0, false
	}
	switch name {
	case "p50":
		return stats.Percentile(values, 0.50)
	case "p95":
		return stats.Percentile(values, 0.95)
	case "p99":
		return stats.Percentile(values, 0.99)
	case "min":
		return slices.Min(values), true
	case "max":
		return slices.Max(values), true
	case "mean":
		return stats.Mean(values)
	case "last":
		return values[len(values)-1], true
	case "sum":
		sum := 0.0
		for _, v := range values {
			sum += v
		}
		return sum, true
	}
	return 0, false
}
