package sim

import "fmt"

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
