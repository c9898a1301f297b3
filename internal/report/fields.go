package report

import "strings"

// field is what is known about a result field: how it is called, its unit, and how it is made. Formulas are those of
// docs/measurement.md.
type field struct {
	Name, Title, Unit string
	Formula           string // of one request or pass
	Combined          string // how passes and requests become the row's figure
}

const (
	medianRequests = "median over the requests of a pass, then median over passes"
	medianPasses   = "median over passes"
	medianReleases = "median over the releases of a pass, then median over passes"
	pooled         = "over the tokens of all requests of all passes together (type 7 percentile)"
	allRequests    = "over all requests of all passes"
	countRequests  = "median over all requests of all passes"
)

// catalogue lists the fields of the result document that people ask about, in the order in which they are explained.
func catalogue() []field {
	return []field{
		{"ttft_ms", "TTFT", "ms", "t_1 - t_send: from just before the first request byte is written to the first event that bears text", medianRequests},
		{"ttft_p95_ms", "TTFT p95", "ms", "95th percentile (type 7) of t_1 - t_send; null under 130 samples", allRequests},
		{"ttft_max_ms", "TTFT max", "ms", "largest t_1 - t_send", allRequests},
		{"ttfa_ms", "TTFA", "ms", "t_ans - t_send: first event that bears text and is not reasoning", medianRequests},
		{"prefill_tps", "prefill", "tok/s", "server: uncached prompt tokens / the server's prefill time, where it states both; estimated: (P - P0) / (TTFT(P) - TTFT(P0)), P0 a cold probe of about 16 tokens", medianRequests},
		{"decode_tps", "decode", "tok/s", "sum of n[i], i = 2..m, / (t_L - t_1): tokens known to fall in (t_1, t_L]; needs m >= 2 and 16 tokens", medianRequests},
		{"decode_p50_latency_ms", "token p50", "ms", "n[i] copies of (t_ev[i] - t_ev[i-1]) / n[i], events of one read merged; 50th percentile", pooled},
		{"decode_p95_latency_ms", "token p95", "ms", "n[i] copies of (t_ev[i] - t_ev[i-1]) / n[i], events of one read merged; 95th percentile", pooled},
		{"decode_p99_latency_ms", "token p99", "ms", "n[i] copies of (t_ev[i] - t_ev[i-1]) / n[i], events of one read merged; 99th percentile, null under 662 tokens", pooled},
		{"max_gap_ms", "longest gap", "ms", "largest t_ev[i] - t_ev[i-1], events of one read merged", allRequests},
		{"stalls", "stalls", "count", "number of gaps longer than max(250 ms, 5 x median gap)", allRequests},
		{"aggregate_tps", "aggregate", "tok/s", "tokens in [w0, w1] / (w1 - w0); w0 = last stream's t_1, w1 = first stream's t_L", medianReleases},
		{"whole_span_tps", "whole span", "tok/s", "tokens of all streams / (last t_L - first t_send)", medianReleases},
		{"per_stream_tps", "per stream", "tok/s", "decode rate of each stream; 50th percentile", medianReleases},
		{"per_stream_p5_tps", "per stream p5", "tok/s", "decode rate of each stream; 5th percentile", medianReleases},
		{"fairness", "fairness", "", "slowest stream's decode rate / fastest stream's", medianReleases},
		{"parallelism_observed", "parallel", "count", "most streams between their t_1 and t_L at one moment", "the most of all releases"},
		{"turn_p50_ms", "turn p50", "ms", "turn time t_L - t_send; 50th percentile", "over all turns of a pass, then median over passes"},
		{"turn_p95_ms", "turn p95", "ms", "turn time t_L - t_send; 95th percentile", "over all turns of a pass, then median over passes"},
		{"warm_ttft_ms", "warm TTFT", "ms", "t_1 - t_send of the turns that go on with a conversation", medianRequests},
		{"cold_ttft_ms", "cold TTFT", "ms", "t_1 - t_send of the turns that begin one", medianRequests},
		{"prompt_tokens", "prompt", "tokens", "P as the server states it, chat template and cached part included", countRequests},
		{"cached_tokens", "cached", "tokens", "C as the server states it; absent is unknown, never 0", "sum over the requests of a pass, then median over passes"},
		{"output_tokens", "output", "tokens", "N as the server states it, reasoning included", countRequests},
		{"reasoning_tokens", "reasoning", "tokens", "R as the server states it", countRequests},
		{"total_prompt_tokens", "total prompt", "tokens", "sum of P", "over the requests of a pass, then median over passes"},
		{"total_output_tokens", "output", "tokens", "sum of N", "over the requests of a pass, then median over passes"},
		{"context_final_tokens", "final context", "tokens", "P + N of the last request", "of the last pass"},
		{"wall_ms", "wall clock", "ms", "t_L - t_send of each request, or first t_send to last t_L of requests released together", "sum over a pass, then median over passes"},
		{"prefix_cache_hit_rate", "cache hits", "%", "H = sum C / sum P, weighted by tokens; null where the server does not report C", medianPasses},
		{"prefix_cache_max", "possible", "%", "H_max: what a perfect prefix cache could have hit, from the prompts themselves", medianPasses},
		{"prefix_cache_efficiency", "cache efficiency", "%", "H / H_max", medianPasses},
		{"tokens_per_event", "tokens/event", "", "(N - n[1]) / (m - 1)", countRequests},
		{"server.prefill_tps", "server prefill", "tok/s", "the server's own figure, recomputed by this project's rule; never mixed with the client's", countRequests},
		{"server.decode_tps", "server decode", "tok/s", "the server's own figure, recomputed by this project's rule; never mixed with the client's", countRequests},
		{"server.queue_ms", "server queue", "ms", "the server's own figure", countRequests},
		{"energy.per_output_token", "energy", "J/token", "experimental: joules in (t_1, t_L] / tokens of that window, by the sensor that is named; all that it sees counts, idle power and other programs too", "sums over all requests of all passes"},
		{"energy.per_prompt_token", "prompt energy", "J/token", "experimental: joules from t_send to t_1 / prompt tokens that were not cached, by the sensor that is named; all that it sees counts", "sums over all requests of all passes"},
	}
}

// fieldOf gives what is known about a name; of one that the catalogue does not have, title and unit follow from the name.
func fieldOf(name string) field {
	for _, f := range catalogue() {
		if f.Name == name {
			return f
		}
	}
	f := field{Name: name, Title: words(name)}
	for _, s := range suffixes() {
		if strings.HasSuffix(name, s.suffix) {
			f.Unit = s.unit
			break
		}
	}
	return f
}

// suffix is what the end of a field's name says about its unit.
type suffix struct{ suffix, unit string }

func suffixes() []suffix {
	return []suffix{{"_ms", "ms"}, {"_tps", "tok/s"}, {"_rate", "%"}, {"_efficiency", "%"}, {"_tokens", "tokens"}, {"_ns", "ns"}, {"_s", "s"}}
}

// words turns a field's name into words, its unit left out: aggregate_tps is "aggregate".
func words(name string) string {
	for _, s := range suffixes() {
		if s.unit == "%" {
			continue
		}
		if rest, ok := strings.CutSuffix(name, s.suffix); ok && rest != "" {
			name = rest
			break
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(name, "_", " "), ".", " ")
}
