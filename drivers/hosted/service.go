package hosted

import (
	"github.com/llm-speed/llm-speed/drivers"
)

// service is one hosted API: what differs between them, as data.
type service struct {
	name  string // Spec.Name
	title string
	keys  string // environment variable of the key
	host  string // of its own base URL
	path  string // of the API there

	maxKey  string            // field of the output's length
	exact   string            // field that forces the length: ignore_eos, min_tokens, or none
	cold    string            // field that keeps a prompt away from others' caches, unique a request; or none
	fields  map[string]any    // sent with every request
	off, on map[string]any    // what turns reasoning off or on
	noSeed  bool              // it takes no seed, or says that it is void
	prices  string            // unit of the prices in the list of models; empty: it states none
	block   int               // granularity of its prompt cache, tokens; 1 where not known
	timing  func(said) timing // its own times; nil where it states none
	able    drivers.Able
	limits  []string
	pins    bool // requests are routed to providers, one of which has to be held on to
}

// What the services have in common.
var (
	noTokenizer = drivers.No("")
	byNovelty   = drivers.Partly("prompts that are new from the first token on")
	noStats     = drivers.No("")
)

// able fills in what holds for every hosted service.
func able(exact, cached, cold, timing drivers.Ability) drivers.Able {
	return drivers.Able{
		ExactLength: exact, TokenPrompts: drivers.No(""), Tokenizer: noTokenizer, Cached: cached, Cold: cold, PerEvent: drivers.No(""),
		Timing: timing, CacheStats: noStats, Activity: drivers.No(""), Starts: drivers.No(""),
	}
}

const (
	notWeights = "Weights, quantisation and hardware are the service's own: rows are never ranked beside local ones."
	mayStop    = "The output's length can't be forced: a model that ends early gives rows flagged early_stop."
)

// services lists the hosted APIs that speak OpenAI's chat completions, in the order in which they are shown.
//
// Sources: the API references of each service, as of autumn 2026; what was not documented is left out.
func services() []service {
	usageCached := drivers.Yes("usage.prompt_tokens_details.cached_tokens")
	return []service{
		{
			name: "openai", title: "OpenAI", keys: "OPENAI_API_KEY", host: "api.openai.com", path: "/v1",
			maxKey: "max_completion_tokens", noSeed: true, block: 128,
			// The padding against eavesdroppers would make events of random size.
			fields: map[string]any{"store": false, "stream_options": map[string]any{"include_usage": true, "include_obfuscation": false}},
			off:    map[string]any{"reasoning_effort": "none"}, on: map[string]any{"reasoning_effort": "medium"},
			able:   able(drivers.No(""), usageCached, byNovelty, drivers.No("")),
			limits: []string{notWeights, mayStop, "Models that think hide it: their rates are null where hidden tokens can't be told apart."},
		},
		{
			name: "openrouter", title: "OpenRouter", keys: "OPENROUTER_API_KEY", host: "openrouter.ai", path: "/api/v1",
			maxKey: "max_tokens", prices: perToken, block: 1, pins: true,
			// Context compression edits prompts without a word.
			fields: map[string]any{"plugins": []any{map[string]any{"id": "context-compression", "enabled": false}}},
			off:    map[string]any{"reasoning": map[string]any{"enabled": false}}, on: map[string]any{"reasoning": map[string]any{"enabled": true}},
			able: able(drivers.No(""), drivers.Partly("usage.prompt_tokens_details.cached_tokens, by provider"), byNovelty, drivers.No("")),
			limits: []string{notWeights, mayStop, "One provider is held on to: the one of --opt provider, else the one of the first answer; an answer of another one is an error.",
				"/generation is not asked: its times say only how long a request took, and provider, tokens and cost are in the stream."},
		},
		{
			name: "together", title: "Together AI", keys: "TOGETHER_API_KEY", host: "api.together.ai", path: "/v1",
			maxKey: "max_tokens", prices: perMillion, block: 1,
			fields: map[string]any{"context_length_exceeded_behavior": "error"},
			off:    map[string]any{"reasoning": map[string]any{"enabled": false}}, on: map[string]any{"reasoning": map[string]any{"enabled": true}},
			able:   able(drivers.No(""), drivers.Partly("where the model's usage has cached_tokens"), byNovelty, drivers.No("")),
			limits: []string{notWeights, mayStop},
		},
		{
			name: "fireworks", title: "Fireworks AI", keys: "FIREWORKS_API_KEY", host: "api.fireworks.ai", path: "/inference/v1",
			maxKey: "max_tokens", exact: "ignore_eos", cold: "prompt_cache_isolation_key", block: 1,
			// Its default lowers max_tokens without a word where the context is short.
			fields: map[string]any{"context_length_exceeded_behavior": "error", "perf_metrics_in_response": true},
			off:    map[string]any{"reasoning_effort": "none"}, on: map[string]any{"reasoning_effort": "medium"},
			timing: fireworksTiming,
			able: able(drivers.Yes("ignore_eos"), usageCached, drivers.Yes("a prompt_cache_isolation_key of its own a request"),
				drivers.Partly("perf_metrics; prefill and generation times on dedicated deployments only")),
			limits: []string{notWeights},
		},
		{
			name: "groq", title: "Groq", keys: "GROQ_API_KEY", host: "api.groq.com", path: "/openai/v1",
			maxKey: "max_completion_tokens", block: 1,
			off: map[string]any{"reasoning_effort": "none"}, on: map[string]any{"reasoning_effort": "default"},
			timing: groqTiming,
			able:   able(drivers.No(""), drivers.Partly("usage.prompt_tokens_details.cached_tokens, by model"), byNovelty, drivers.Yes("usage.queue_time, prompt_time, completion_time")),
			limits: []string{notWeights, mayStop, "Many tokens come with one network read: the client's token latency shows the network; the service's own decode rate stands beside it."},
		},
		{
			name: "cerebras", title: "Cerebras", keys: "CEREBRAS_API_KEY", host: "api.cerebras.ai", path: "/v1",
			maxKey: "max_completion_tokens", exact: "min_tokens", block: 1,
			on:     map[string]any{"reasoning_effort": "medium"},
			timing: cerebrasTiming,
			able:   able(drivers.Yes("min_tokens"), drivers.Partly("usage.prompt_tokens_details.cached_tokens, by model"), byNovelty, drivers.Yes("time_info")),
			limits: []string{notWeights, "Reasoning can't be turned off for every model by one field: it is left to the model."},
		},
		{
			name: "deepseek", title: "DeepSeek", keys: "DEEPSEEK_API_KEY", host: "api.deepseek.com", path: "",
			maxKey: "max_tokens", noSeed: true, block: 64,
			off: map[string]any{"thinking": map[string]any{"type": "disabled"}}, on: map[string]any{"thinking": map[string]any{"type": "enabled"}},
			able:   able(drivers.No(""), drivers.Yes("usage.prompt_cache_hit_tokens"), byNovelty, drivers.No("")),
			limits: []string{notWeights, mayStop, "It has no stated rate limits: a busy service holds requests back, and sends keep-alive comments meanwhile, inside TTFT."},
		},
	}
}
