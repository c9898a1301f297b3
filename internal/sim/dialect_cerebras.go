package sim

import "fmt"

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
