package sim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

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
