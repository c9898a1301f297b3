package sim

import "fmt"

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
