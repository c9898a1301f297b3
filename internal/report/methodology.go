package report

import "strings"

// methodologyPage is the page that says in plain words how each number is measured. It is read in the project's
// repository, so that the path is that of the repository.
const methodologyPage = "docs/methodology.md"

// Sections for figures that are not in the catalogue: ratios that a suite declares, and what its program records.
const (
	relativeSection = "relative"
	recordedSection = "recorded"
)

// section is the heading of methodologyPage under which a figure is explained; empty for a name that no heading is about.
func section(name string) string {
	for _, s := range []struct{ section, names string }{
		{"ttft", "ttft_ms ttft_p95_ms ttft_max_ms ttfa_ms server.queue_ms"},
		{"prefill", "prefill_tps server.prefill_tps"},
		{"decode", "decode_tps server.decode_tps"},
		{"token-latency", "decode_p50_latency_ms decode_p95_latency_ms decode_p99_latency_ms max_gap_ms stalls tokens_per_event"},
		{"hit-rate", "prefix_cache_hit_rate prefix_cache_max prefix_cache_efficiency"},
		{"aggregate", "aggregate_tps whole_span_tps per_stream_tps per_stream_p5_tps fairness parallelism_observed scaling"},
		{"turns", "turn_p50_ms turn_p95_ms warm_ttft_ms cold_ttft_ms wall_ms context_final_tokens"},
		{"energy", "energy energy.per_output_token energy.per_prompt_token"},
		{"counts", "prompt_tokens cached_tokens output_tokens reasoning_tokens total_prompt_tokens total_output_tokens"},
	} {
		for known := range strings.FieldsSeq(s.names) {
			if known == name {
				return s.section
			}
		}
	}
	return ""
}

// see is where a row's figure is explained: the page and its section.
func (r rowView) see(name string) string {
	if r.LlamaBench != nil {
		return "docs/agreement.md#beside-llama-bench"
	}
	at := section(name)
	if _, ok := r.Relative[name]; ok && at == "" {
		at = relativeSection
	}
	if _, ok := r.Metrics[name]; ok && at == "" {
		at = recordedSection
	}
	if at == "" {
		return methodologyPage
	}
	return methodologyPage + "#" + at
}
