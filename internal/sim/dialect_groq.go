package sim

import "fmt"

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
