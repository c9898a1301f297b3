package sim

import "fmt"

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
