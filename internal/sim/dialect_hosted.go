package sim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// hosted is what the paid services have in common: their paths lie under a base, of which any part may be left out; a key is
// wanted; the model ends by itself only later than any workload asks for.
func hosted(base string, generates ...endpoint) *dialect {
	bases := []string{base}
	if base != "/v1" {
		bases = append(bases, "/v1")
	}
	return &dialect{
		bases: append(bases, ""), natural: longAnswer, generates: generates, refusal: nestedError, headers: rateLimits,
		authorise: func(r *request) *refusal {
			if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
				return refuse(http.StatusUnauthorized, "You didn't provide an API key.", "invalid_request_error", "invalid_api_key")
			}
			return nil
		},
		missing: func(m string) *refusal {
			return refuse(http.StatusNotFound, fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", m), "invalid_request_error", "model_not_found")
		},
		overflow: func(c *completion, asked, limit int) *refusal {
			return refuse(http.StatusBadRequest, fmt.Sprintf("This model's maximum context length is %d tokens. However, your messages resulted in %d tokens and %d were asked for. Please reduce the length of the messages.",
				limit, len(c.prompt), asked), "invalid_request_error", "context_length_exceeded")
		},
	}
}

// rateLimits are headers as several services have them.
func rateLimits(id int64) string {
	return fmt.Sprintf("x-request-id: req_sim%d\r\nx-ratelimit-limit-requests: 14400\r\nx-ratelimit-remaining-requests: 14370\r\nx-ratelimit-reset-requests: 2m59.56s\r\n"+
		"x-ratelimit-limit-tokens: 18000000\r\nx-ratelimit-remaining-tokens: 17997000\r\nx-ratelimit-reset-tokens: 7.66s\r\n", id)
}

// chat is the one endpoint that all of them have.
func chatAt(read func(c *completion, body []byte) error, speak func(c *completion) voice) endpoint {
	return endpoint{path: "/chat/completions", read: read, speak: speak}
}

// readHosted understands a chat as OpenAI's API has it.
func readHosted(c *completion, q *openAIRequest) (err error) {
	q.common(c)
	if c.model == "" {
		return refuse(http.StatusBadRequest, "you must provide a model parameter", "invalid_request_error", nil)
	}
	if c.chat {
		c.prompt, err = conversation(q.Messages, q.Tools)
	} else {
		c.prompt, err = textOrIDs(q.Prompt, parsed)
	}
	return err
}

// listModels is a list of the one model in OpenAI's shape, with further members.
func listModels(s *Server, owner string, more map[string]any) func(*request) any {
	return func(*request) any {
		m := map[string]any{"id": s.dialect.modelID(s.o.Profile), "object": "model", "created": s.origin.Unix(), "owned_by": owner}
		maps.Copy(m, more)
		return map[string]any{"object": "list", "data": []any{m}}
	}
}

// refuseUnknown refuses members that a service does not know, in its words, which have the member's name in them.
func refuseUnknown(body []byte, words string, known ...string) error {
	if odd := unknownMember(body, append(openAIMembers(), known...)); odd != "" {
		return refuse(http.StatusBadRequest, fmt.Sprintf(words, odd), "invalid_request_error", nil)
	}
	return nil
}

func openAIMembers() []string {
	return strings.Fields(`model messages stream stream_options max_tokens max_completion_tokens temperature top_p seed stop n user tools tool_choice
		parallel_tool_calls response_format frequency_penalty presence_penalty logit_bias logprobs top_logprobs reasoning_effort service_tier metadata`)
}

// openAIService speaks as OpenAI's chat completions.
func openAIService(s *Server) *dialect {
	read := func(c *completion, body []byte) error {
		var q openAIRequest
		if err := parse(body, &q); err != nil {
			return err
		}
		if err := refuseUnknown(body, "Unrecognized request argument supplied: %s", "store", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "verbosity", "modalities", "prediction"); err != nil {
			return err
		}
		return readHosted(c, &q)
	}
	d := hosted("/v1", chatAt(read, func(c *completion) voice {
		return newWire(c, style{
			each:    `"service_tier":"default","system_fingerprint":"fp_sim","obfuscation":"` + strings.Repeat("x", int(c.served.ID%7)) + `",`,
			opening: `{"role":"assistant","content":"","refusal":null}`, choice: `,"logprobs":null`, nullUsage: true, counts: openAIUsage,
		})
	}))
	d.block, d.least = 128, 1024
	d.answers = []plainRoute{{"GET /models", listModels(s, "system", nil)}}
	d.headers = func(id int64) string {
		return rateLimits(id) + "openai-processing-ms: 12\r\nopenai-version: 2020-10-01\r\nopenai-organization: sim\r\n"
	}
	return d
}

func openAIUsage(w *wire, s *Served) string {
	b := fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d`, w.prompt, s.OutputTokens, w.prompt+s.OutputTokens)
	if !w.traps.noCachedField {
		b += fmt.Sprintf(`,"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0}`, s.CachedTokens)
	}
	return b + fmt.Sprintf(`,"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`, s.Reasoning)
}

// openRouter speaks as OpenRouter with one provider behind it: comments while it waits, the provider in every chunk, usage
// and its cost always.
func openRouter(s *Server) *dialect {
	const provider, slug = "Simulated", "simulated"
	read := func(c *completion, body []byte) error {
		var q openAIRequest
		var own struct {
			Provider struct {
				Only, Order, Ignore []string
				Quantizations       []string
				Fallbacks           *bool `json:"allow_fallbacks"`
			} `json:"provider"`
		}
		if err := parse(body, &q); err != nil {
			return err
		}
		if err := parse(body, &own); err != nil {
			return err
		}
		c.usage = true
		names := func(list []string) bool {
			return slices.ContainsFunc(list, func(n string) bool {
				n, _, _ = strings.Cut(strings.ToLower(n), "/")
				return n == slug
			})
		}
		p := own.Provider
		strict := p.Fallbacks != nil && !*p.Fallbacks
		if len(p.Only) > 0 && !names(p.Only) || strict && len(p.Order) > 0 && !names(p.Order) || names(p.Ignore) ||
			len(p.Quantizations) > 0 && !slices.Contains(p.Quantizations, "fp8") {
			return refuse(http.StatusNotFound, "No allowed providers are available for the selected model.", "", 404)
		}
		err := readHosted(c, &q)
		c.usage = true
		return err
	}
	d := hosted("/api/v1", chatAt(read, openAI(style{
		each: `"provider":"` + provider + `",`, opening: `{"role":"assistant","content":""}`, reasoning: "reasoning", choice: `,"native_finish_reason":null,"logprobs":null`,
		counts: func(w *wire, s *Served) string {
			return strings.TrimSuffix(openAIUsage(w, s), "}") + fmt.Sprintf(`,"cost":%.9f,"is_byok":false}`, float64(w.prompt)*1e-7+float64(s.OutputTokens)*4e-7)
		},
		fault: func(w *wire, m string) string {
			return w.open + `"error":{"code":"server_error","message":"` + m + `"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}`
		},
	})))
	d.comment, d.always = "OPENROUTER PROCESSING", func(t *Traps) { t.commentFirst = true }
	d.model = func(p Profile) string { return "simulated/" + p.Model() }
	d.headers = func(id int64) string { return fmt.Sprintf("X-Generation-Id: gen-sim-%d\r\n", id) }
	p := s.o.Profile
	pricing := map[string]string{"prompt": "0.0000001", "completion": "0.0000004", "request": "0", "image": "0"}
	d.answers = []plainRoute{
		{"GET /models", listModels(s, "", map[string]any{"name": p.Title, "context_length": p.Context, "pricing": pricing,
			"top_provider": map[string]any{"context_length": p.Context, "max_completion_tokens": 32768, "is_moderated": false}})},
		{"GET /models/simulated/*", func(*request) any {
			return map[string]any{"data": map[string]any{"id": d.model(p), "name": p.Title, "endpoints": []any{map[string]any{
				"name": provider + " | " + d.model(p), "provider_name": provider, "tag": slug + "/fp8", "quantization": "fp8", "context_length": p.Context,
				"max_completion_tokens": 32768, "max_prompt_tokens": nil, "pricing": pricing, "status": 0, "supported_parameters": []string{"max_tokens", "temperature", "seed", "tools"},
			}}}}
		}},
		{"GET /key", func(*request) any {
			return map[string]any{"data": map[string]any{"label": "sk-or-v1-sim", "usage": 0, "limit": nil, "is_free_tier": false}}
		}},
		{"GET /generation", func(r *request) any { return s.generation(r, provider) }},
	}
	return d
}

// generation is what OpenRouter tells of a request afterwards, by its id.
func (s *Server) generation(r *request, provider string) any {
	id := r.URL.Query().Get("id")
	for _, l := range s.Log() {
		if n := fmt.Sprint(l.ID); id != "gen-sim-"+n && id != "chatcmpl-sim-"+n {
			continue
		}
		return map[string]any{"data": map[string]any{
			"id": id, "model": l.Model, "provider_name": provider, "latency": l.FirstToken.Seconds() * 1e3, "generation_time": (l.LastToken - l.FirstToken).Seconds() * 1e3,
			"moderation_latency": nil, "native_tokens_prompt": l.PromptTokens, "native_tokens_completion": l.OutputTokens, "native_tokens_cached": l.CachedTokens,
			"native_tokens_reasoning": l.Reasoning, "finish_reason": l.Finish, "native_finish_reason": l.Finish, "streamed": l.Stream,
		}}
	}
	return refuse(http.StatusNotFound, "Generation "+id+" not found", "", 404)
}

// together speaks as Together: a bare list of models, token ids in the choices, no word about cached tokens.
func together(s *Server) *dialect {
	read := func(c *completion, body []byte) error {
		var q openAIRequest
		if err := parse(body, &q); err != nil {
			return err
		}
		return readHosted(c, &q)
	}
	st := style{opening: `{"role":"assistant","content":""}`, reasoning: "reasoning", tokenID: true, choice: `,"logprobs":null`, counts: func(w *wire, s *Served) string {
		return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, w.prompt, s.OutputTokens, w.prompt+s.OutputTokens)
	}, reason: func(f string) string {
		if f == "stop" {
			return "eos"
		}
		return f
	}}
	d := hosted("/v1", chatAt(read, openAI(st)), endpoint{path: "/completions", read: read, speak: openAI(st), fit: onlyText})
	p := s.o.Profile
	d.answers = []plainRoute{{"GET /models", func(*request) any {
		return []any{map[string]any{"id": p.Model(), "object": "model", "created": s.origin.Unix(), "type": "chat", "display_name": p.Title, "organization": "Simulated",
			"context_length": p.Context, "pricing": map[string]float64{"hourly": 0, "input": 0.1, "output": 0.4, "base": 0, "finetune": 0}}}
	}}}
	return d
}

// fireworks speaks as Fireworks: an output that does not fit is silently shortened unless an error is asked for.
func fireworks(s *Server) *dialect {
	read := func(c *completion, body []byte) error {
		var q openAIRequest
		var own struct {
			Isolation string `json:"prompt_cache_isolation_key"`
			Overflow  string `json:"context_length_exceeded_behavior"`
			Perf      bool   `json:"perf_metrics_in_response"`
		}
		if err := parse(body, &q); err != nil {
			return err
		}
		if err := parse(body, &own); err != nil {
			return err
		}
		err := readHosted(c, &q)
		c.ignoreEOS, c.ids, c.salt, c.perf, c.clips = q.IgnoreEOS, q.ReturnTokenIDs, own.Isolation, own.Perf, own.Overflow != "error"
		return err
	}
	st := style{opening: `{"role":"assistant","content":""}`, counts: func(w *wire, s *Served) string {
		b := fmt.Sprintf(`{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d`, w.prompt, w.prompt+s.OutputTokens, s.OutputTokens)
		if !w.traps.noCachedField {
			b += fmt.Sprintf(`,"prompt_tokens_details":{"cached_tokens":%d}`, s.CachedTokens)
		}
		return b + "}"
	}, last: func(w *wire, s *Served) string {
		if !w.c.perf || w.traps.noTimings {
			return ""
		}
		return fmt.Sprintf(`,"perf_metrics":{"prompt-tokens":"%d","cached-prompt-tokens":"%d","server-time-to-first-token":"%s","server-processing-time":"%s","prefill-duration":"%s",`+
			`"prefill-queue-duration":"%s","generation-duration":"%s","generation-queue-duration":"0.000","tokenizer-duration":"0.000","num-concurrent-requests":"%d"}`,
			s.PromptTokens, s.CachedTokens, secs(s.FirstToken), secs(s.LastToken), secs(s.PrefillEnd-s.PrefillStart), secs(s.PrefillStart), secs(s.LastToken-s.FirstToken), max(s.Batch, 1))
	}}
	d := hosted("/inference/v1", chatAt(read, openAI(st)), endpoint{path: "/completions", read: read, speak: openAI(st), fit: onlyText})
	d.natural = shortAnswer
	d.model = func(p Profile) string { return "accounts/fireworks/models/" + p.Model() }
	d.answers = []plainRoute{{"GET /models", listModels(s, "fireworks", map[string]any{"context_length": s.o.Profile.Context, "supports_chat": true, "supports_tools": true})}}
	return d
}

// groq speaks as Groq: x_groq on the first and the last chunk, times in the usage. completion_time runs from the end of the
// prefill; what the real one means by it is not documented.
func groq(s *Server) *dialect {
	read := func(c *completion, body []byte) error {
		var q openAIRequest
		if err := parse(body, &q); err != nil {
			return err
		}
		if err := refuseUnknown(body, "property '%s' is unsupported", "reasoning_format", "include_reasoning", "exclude_domains", "include_domains", "search_settings", "documents", "citation_options", "store", "debug"); err != nil {
			return err
		}
		return readHosted(c, &q)
	}
	usage := func(w *wire, s *Served) string {
		b := fmt.Sprintf(`{"queue_time":%s,"prompt_tokens":%d,"prompt_time":%s,"completion_tokens":%d,"completion_time":%s,"total_tokens":%d,"total_time":%s`, secs(s.PrefillStart), w.prompt,
			secs(s.PrefillEnd-s.PrefillStart), s.OutputTokens, secs(s.LastToken-s.PrefillEnd), w.prompt+s.OutputTokens, secs(s.LastToken-s.PrefillStart))
		if !w.traps.noCachedField {
			b += fmt.Sprintf(`,"prompt_tokens_details":{"cached_tokens":%d}`, s.CachedTokens)
		}
		return b + "}"
	}
	speak := func(c *completion) voice {
		id := fmt.Sprintf("req_sim%d", c.served.ID)
		return newWire(c, style{
			each: `"system_fingerprint":"fp_sim",`, first: `"x_groq":{"id":"` + id + `"},`, opening: `{"role":"assistant","content":""}`, reasoning: "reasoning",
			choice: `,"logprobs":null`, counts: usage, last: func(w *wire, s *Served) string {
				if w.traps.noUsage {
					return `,"x_groq":{"id":"` + id + `"}`
				}
				return `,"x_groq":{"id":"` + id + `","usage":` + usage(w, s) + `}`
			},
			fault: func(w *wire, m string) string {
				return w.open + `"choices":[],"x_groq":{"id":"` + id + `","error":"` + m + `"},"error":{"message":"` + m + `","type":"server_error"}}`
			},
		})
	}
	d := hosted("/openai/v1", chatAt(read, speak))
	p := s.o.Profile
	d.answers = []plainRoute{{"GET /models", listModels(s, "Simulated", map[string]any{"active": true, "context_window": p.Context, "max_completion_tokens": 32768, "public_apps": nil})}}
	return d
}

// cerebras speaks as Cerebras: usage and time_info on the last chunk, a least number of tokens.
func cerebras(s *Server) *dialect {
	read := func(c *completion, body []byte) error {
		var q openAIRequest
		if err := parse(body, &q); err != nil {
			return err
		}
		err := readHosted(c, &q)
		c.usage, c.least = true, q.MinTokens
		if q.MinTokens < 0 {
			c.least = 1 << 30
		}
		return err
	}
	st := style{
		each: `"system_fingerprint":"fp_sim",`, opening: `{"role":"assistant"}`, reasoning: "reasoning", onFinish: true, counts: openAIUsage,
		last: func(w *wire, s *Served) string {
			if w.traps.noTimings {
				return ""
			}
			return fmt.Sprintf(`,"time_info":{"queue_time":%s,"prompt_time":%s,"completion_time":%s,"total_time":%s,"created":%d}`,
				secs(s.PrefillStart), secs(s.PrefillEnd-s.PrefillStart), secs(s.LastToken-s.PrefillEnd), secs(s.LastToken), w.c.created)
		},
	}
	d := hosted("/v1", chatAt(read, openAI(st)), endpoint{path: "/completions", read: read, speak: openAI(st), fit: onlyText})
	d.natural, d.block = shortAnswer, 128
	d.answers = []plainRoute{
		{"GET /models", listModels(s, "Simulated", nil)}, {"GET /tcp_warming", func(*request) any { return struct{}{} }},
	}
	return d
}

// deepSeek speaks as DeepSeek: comments while a request waits, hits and misses of its cache in the usage.
func deepSeek(s *Server) *dialect {
	read := func(c *completion, body []byte) error {
		var q openAIRequest
		if err := parse(body, &q); err != nil {
			return err
		}
		return readHosted(c, &q)
	}
	d := hosted("/v1", chatAt(read, openAI(style{
		each: `"system_fingerprint":"fp_sim",`, opening: `{"role":"assistant","content":""}`, choice: `,"logprobs":null`, nullUsage: true,
		counts: func(w *wire, s *Served) string {
			b := fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d`, w.prompt, s.OutputTokens, w.prompt+s.OutputTokens)
			if !w.traps.noCachedField {
				b += fmt.Sprintf(`,"prompt_tokens_details":{"cached_tokens":%d},"prompt_cache_hit_tokens":%d,"prompt_cache_miss_tokens":%d`, s.CachedTokens, s.CachedTokens, w.prompt-s.CachedTokens)
			}
			if s.Reasoning > 0 {
				b += fmt.Sprintf(`,"completion_tokens_details":{"reasoning_tokens":%d}`, s.Reasoning)
			}
			return b + "}"
		},
	})))
	d.block = 64
	d.comment, d.always = "keep-alive", func(t *Traps) { t.commentFirst = true }
	d.headers = nil
	d.answers = []plainRoute{{"GET /models", listModels(s, "deepseek", nil)}}
	return d
}
