package oracle

import (
	"fmt"
	"strings"
)

// flavour is how one server speaks /v1/chat/completions or /v1/completions.
type flavour struct {
	name, source string
	can          Talent
	text         bool   // /v1/completions: choices[].text
	roles        bool   // every delta has a role
	thinking     string // the delta's field for reasoning
	id           string // fields of each chunk before the choices
	ids          bool   // token_ids in each choice
	running      bool   // usage on each chunk
	comment      string // a sign of life
	progress     string // printf format of two numbers
	trail        string // what stands between the JSON and the line end
	flatErrors   bool   // {"object":"error","message":…}

	usage func(prompt, cached, output, reasoning int, t *Totals) string // the usage object; nil: OpenAI's own
	last  func(t *Totals, usage string) string                          // further fields of the chunk that says why the stream ends
	final bool                                                          // usage comes with the finish reason, not on a chunk of its own
}

// ownUsage is OpenAI's usage object; cached and reasoning are left out where the dialect does not count them.
func (f *flavour) ownUsage(prompt, cached, output, reasoning int, t *Totals) string {
	if f.usage != nil {
		return f.usage(prompt, cached, output, reasoning, t)
	}
	if f.can&Caches == 0 {
		cached = -1
	}
	if f.can&Reasons == 0 {
		reasoning = -1
	}
	return counts(prompt, output, cached, reasoning)
}

// runningUsage is the usage object of an event before the last.
func (f *flavour) runningUsage(t *Totals, cum int) string {
	cached := t.Cached
	if f.can&EarlyCache == 0 {
		cached = -1
	}
	return counts(t.Prompt, cum, cached, -1)
}

func (f *flavour) dialect() *Dialect {
	can := f.can | Sheds | EventSSE
	if f.ids {
		can |= IDs
	}
	return &Dialect{Name: f.name, Source: f.source, Can: can, From: "A", Type: "text/event-stream", voice: f.voice,
		Status: func(message string) string {
			if f.flatErrors {
				return fmt.Sprintf(`{"object":"error","message":%q,"type":"error","code":null}`, message)
			}
			return fmt.Sprintf(`{"error":{"message":%q}}`, message)
		}}
}

func (f *flavour) event(json string) string { return "data: " + json + f.trail + "\n\n" }

// chunk is one event. choice is the inside of its only choice; empty: there is none.
func (f *flavour) chunk(choice, finish, more string) string {
	object, choices := "chat.completion.chunk", ""
	if f.text {
		object = "text_completion"
	}
	if choice != "" {
		choices = fmt.Sprintf(`{"index":0,%s,"finish_reason":%s}`, choice, finish)
	}
	return f.event(fmt.Sprintf(`{"id":"c1","object":%q,"created":1700000000,"model":"m",%s"choices":[%s]%s}`, object, f.id, choices, more))
}

// body is the inside of a choice with a text.
func (f *flavour) body(k Kind, text string) string {
	if f.text {
		return `"text":` + quote(text) + `,"logprobs":null`
	}
	role := ""
	if f.roles {
		role = `"role":"assistant",`
	}
	switch k {
	case Reasoning:
		return fmt.Sprintf(`"delta":{%s%q:%s}`, role, f.thinking, quote(text))
	case Tool:
		return fmt.Sprintf(`"delta":{%s"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"arguments":%s}}]}`, role, quote(text))
	}
	return fmt.Sprintf(`"delta":{%s"content":%s}`, role, quote(text))
}

func (f *flavour) voice(s *Scene) voice {
	t := s.Totals
	stated := func(cum int) string {
		if !f.running || t.Uncounted {
			return ""
		}
		return `,"usage":` + f.runningUsage(&t, cum)
	}
	token := func(n int) string {
		if !f.ids {
			return ""
		}
		return `,"token_ids":[` + strings.TrimSuffix(strings.Repeat("7,", n), ",") + `]`
	}
	why := map[string]string{"length": `"length"`, "stop": `"stop"`, "tool_calls": `"tool_calls"`}
	v := voice{
		says: func(b Beat, cum int) string {
			return f.chunk(f.body(b.Kind, b.Text)+token(b.Tokens), "null", stated(cum))
		},
		hushes: func(b Beat, cum int) string { return f.chunk(f.body(Answer, "")+token(b.Tokens), "null", stated(cum)) },
		pings:  func() string { return f.comment },
		closes: func(t Totals, output, reasoning int) string {
			usage, more := "", ""
			if !t.Uncounted {
				usage = f.ownUsage(t.Prompt, t.Cached, output, reasoning, &t)
			}
			if f.last != nil {
				more = f.last(&t, usage)
			}
			if f.final && usage != "" {
				more += `,"usage":` + usage
			}
			end := `"delta":{}`
			if f.text {
				end = `"text":"","logprobs":null`
			}
			data := f.chunk(end, why[t.Finish], more)
			if usage != "" && !f.final {
				data += f.chunk("", "", `,"usage":`+usage)
			}
			return data + f.event("[DONE]")
		},
		fails: func(message, kind string, code int) string {
			if f.flatErrors {
				return f.event(fmt.Sprintf(`{"object":"error","message":%q,"type":%q,"code":%d}`, message, kind, code))
			}
			return f.event(fmt.Sprintf(`{"error":{"message":%q,"type":%q,"code":%d}}`, message, kind, code)) + f.event("[DONE]")
		},
		half: `data: {"id":"c1","choices":[{"index":0,"delta":{"content":" ha`,
	}
	if f.progress != "" {
		v.progress = func(done, total int) string { return fmt.Sprintf(f.progress, done, total) }
	}
	if !f.text {
		v.opens = func() string {
			return f.chunk(`"delta":{"role":"assistant","content":""}`, "null", func() string {
				if !f.running || t.Uncounted {
					return ""
				}
				return `,"usage":` + f.runningUsage(&t, 0)
			}())
		}
	}
	return v
}

// openAIDialects are the servers that speak the two endpoints, each with what it does in its own way.
func openAIDialects() []*Dialect {
	times := func(format string) func(prompt, cached, output, reasoning int, t *Totals) string {
		return func(prompt, cached, output, _ int, t *Totals) string {
			own := counts(prompt, output, cached, -1)
			return strings.TrimSuffix(own, "}") + fmt.Sprintf(format, seconds(t.PromptMS), seconds(t.DecodeMS)) + "}"
		}
	}
	var out []*Dialect
	for _, f := range []flavour{
		{name: "openai", source: "OpenAI API reference, chat completions, streaming", can: Thinks | Calls | Reasons | Caches | Pinging | Optional, thinking: "reasoning_content", comment: ": ping\n\n"},
		{name: "openai-completions", source: "OpenAI API reference, completions (legacy), streaming", can: Caches | Pinging | Optional, text: true, comment: ":\n\n"},
		{name: "vllm-chat", source: "vLLM: entrypoints/openai protocol, stream_options.continuous_usage_stats, return_token_ids", can: Each | Thinks | Calls | Caches | Early,
			thinking: "reasoning", ids: true, running: true},
		{name: "vllm-completions", source: "vLLM: entrypoints/openai protocol, stream_options.continuous_usage_stats, return_token_ids", can: Each | Caches | Early, text: true, ids: true, running: true},
		{name: "vllm-completions-plain", source: "vLLM without --enable-prompt-tokens-details", can: Each | Early, text: true, ids: true, running: true},
		{name: "trtllm-chat", source: "TensorRT-LLM: serve/openai_protocol.py, stream_options", can: Each | Thinks | Calls | Caches | Early | EarlyCache, thinking: "reasoning_content", running: true, trail: " ", flatErrors: true},
		{name: "trtllm-completions", source: "TensorRT-LLM: serve/openai_protocol.py, stream_options", can: Each | Caches | Early | EarlyCache, text: true, running: true, trail: " ", flatErrors: true},
		{name: "groq", source: "Groq API reference, chat completions: usage times, x_groq", can: Thinks | Calls | Caches | Prefills | Decodes, thinking: "reasoning", final: true,
			usage: times(`,"queue_time":0.0001,"prompt_time":%s,"completion_time":%s,"total_time":1`),
			last: func(_ *Totals, usage string) string {
				return `,"x_groq":{"id":"req_1","usage":` + usage + `}`
			}},
		{name: "openrouter", source: "OpenRouter API reference, streaming: comments, usage with cost, provider", can: Thinks | Calls | Reasons | Caches | Pinging, thinking: "reasoning",
			id: `"provider":"DeepInfra",`, comment: ": OPENROUTER PROCESSING\n\n",
			usage: func(prompt, cached, output, reasoning int, _ *Totals) string {
				return strings.TrimSuffix(counts(prompt, output, cached, reasoning), "}") + `,"cost":0.00012,"is_byok":false}`
			}},
		{name: "deepseek", source: "DeepSeek API reference: keep-alive comments, prompt_cache_hit_tokens", can: Thinks | Calls | Reasons | Caches | Pinging, thinking: "reasoning_content", comment: ": keep-alive\n\n", final: true,
			usage: func(prompt, cached, output, reasoning int, _ *Totals) string {
				return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_cache_hit_tokens":%d,"prompt_cache_miss_tokens":%d,"completion_tokens_details":{"reasoning_tokens":%d}}`,
					prompt, output, prompt+output, cached, prompt-cached, reasoning)
			}},
		{name: "cerebras", source: "Cerebras API reference, chat completions: time_info", can: Thinks | Calls | Caches | Prefills | Decodes, thinking: "reasoning", final: true,
			last: func(t *Totals, _ string) string {
				return fmt.Sprintf(`,"time_info":{"queue_time":0.0001,"prompt_time":%s,"completion_time":%s,"total_time":1}`, seconds(t.PromptMS), seconds(t.DecodeMS))
			}},
		{name: "fireworks", source: "Fireworks API reference: perf_metrics_in_response", can: Thinks | Calls | Caches | Prefills | Decodes, thinking: "reasoning_content",
			last: func(t *Totals, _ string) string {
				return fmt.Sprintf(`,"perf_metrics":{"prompt-tokens":"%d","cached-prompt-tokens":"%d","server-time-to-first-token":"0.03","prefill-duration":"%s","generation-duration":%s}`, t.Prompt, t.Cached, seconds(t.PromptMS), seconds(t.DecodeMS))
			}},
		{name: "together", source: "Together API reference, chat completions, streaming", can: Thinks | Calls, thinking: "reasoning", final: true},
		{name: "tabbyapi", source: "TabbyAPI: endpoints/OAI, usage with times, sse_ping_interval", can: Decodes | AllOfThem | Pinging, text: true, comment: ": ping - 2026-01-01 00:00:00\n\n",
			usage: func(prompt, _, output, _ int, t *Totals) string {
				return fmt.Sprintf(`{"prompt_tokens":%d,"prompt_time":%s,"prompt_tokens_per_sec":31250.0,"completion_tokens":%d,"completion_time":%s,"completion_tokens_per_sec":500.0,"total_tokens":%d,"total_time":0.5}`,
					prompt, seconds(t.PromptMS), output, seconds(t.DecodeMS), prompt+output)
			}},
		{name: "tabbyapi-chat", source: "TabbyAPI: endpoints/OAI, usage with times, sse_ping_interval", can: Decodes | AllOfThem | Calls | Pinging, comment: ": ping - 2026-01-01 00:00:00\n\n",
			usage: func(prompt, _, output, _ int, t *Totals) string {
				return fmt.Sprintf(`{"prompt_tokens":%d,"prompt_time":%s,"prompt_tokens_per_sec":31250.0,"completion_tokens":%d,"completion_time":%s,"completion_tokens_per_sec":500.0,"total_tokens":%d,"total_time":0.5}`,
					prompt, seconds(t.PromptMS), output, seconds(t.DecodeMS), prompt+output)
			}},
		{name: "mlx-server", source: "mlx-lm: mlx_lm/server.py, streaming with include_usage", can: Thinks | Calls | Caches | Pinging | Progress, thinking: "reasoning", roles: true,
			comment: ": keepalive\n\n", progress: ": keepalive %d/%d\n\n"},
		{name: "lmstudio-v0", source: "LM Studio REST API v0, chat completions: stats, model_info, runtime", can: Thinks | Calls, thinking: "reasoning_content",
			last: func(t *Totals, _ string) string {
				return fmt.Sprintf(`,"stats":{"tokens_per_second":51.4,"time_to_first_token":0.111,"generation_time":%s,"stop_reason":"maxPredictedTokensReached"},"runtime":{"name":"llama.cpp-linux-x86_64","version":"1.0.0"}`, seconds(t.DecodeMS))
			}},
	} {
		out = append(out, f.dialect())
	}
	return out
}
