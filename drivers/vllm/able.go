package vllm

import "github.com/llm-speed/llm-speed/drivers"

// able says what vLLM lets the driver fix, count and prove.
func able() drivers.Able {
	return drivers.Able{
		ExactLength: drivers.Partly("max_tokens with min_tokens and ignore_eos, tried at Open"), TokenPrompts: drivers.Partly("/v1/completions, where /tokenize renders conversations"),
		Tokenizer: drivers.Partly("/tokenize"), Cached: drivers.Partly("usage.prompt_tokens_details.cached_tokens, with --enable-prompt-tokens-details"),
		Cold: drivers.Partly("cache_salt, a new one for each request, tried at Open"), PerEvent: drivers.Yes("stream_options.continuous_usage_stats, return_token_ids"),
		Timing: drivers.Partly("metrics, with --enable-per-request-metrics"), CacheStats: drivers.Partly("/metrics: prefix_cache_queries and prefix_cache_hits"),
		Activity: drivers.Partly("/metrics: num_requests_running and num_requests_waiting"), Starts: drivers.Yes("vllm serve MODEL"),
	}
}

func limits() []string {
	return []string{
		"Without --enable-prompt-tokens-details vLLM does not say what it had cached: rows are cold_unproved.",
		"Requests that vLLM put back for want of cache memory are counted by /metrics for the whole server: a row in which some were is flagged server_queued, and which of its streams they were is not known.",
		"The first requests after a start compile kernels for their shapes: that is what the warm-up is for.",
	}
}
