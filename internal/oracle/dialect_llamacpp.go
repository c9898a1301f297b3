package oracle

import "fmt"

// llamaCpp is /completion of llama-server.
func llamaCpp() *Dialect {
	return &Dialect{
		Name: "llama.cpp", Source: "llama.cpp: tools/server/README.md, POST /completion", Can: Each | Caches | Reasons | Prefills | Decodes | Pinging | Progress | Sheds | EventSSE | Raw, From: "B", Type: "text/event-stream",
		Status: func(message string) string {
			return fmt.Sprintf(`{"error":{"code":500,"message":%q,"type":"server_error"}}`, message)
		},
		voice: func(s *Scene) voice {
			piece := func(text string, cum int) string {
				return event(fmt.Sprintf(`{"index":0,"content":%s,"tokens":[],"stop":false,"id_slot":0,"tokens_predicted":%d,"tokens_evaluated":%d}`, quote(text), cum, s.Totals.Prompt))
			}
			return voice{
				says:   func(b Beat, cum int) string { return piece(b.Text, cum) },
				hushes: func(_ Beat, cum int) string { return piece("", cum) },
				pings:  func() string { return ":\n\n" },
				progress: func(done, total int) string {
					return event(fmt.Sprintf(`{"index":0,"content":"","tokens":[0],"stop":false,"tokens_predicted":0,"tokens_evaluated":%d,"prompt_progress":{"total":%d,"cache":0,"processed":%d,"time_ms":9}}`, total, total, done))
				},
				closes: func(t Totals, output, _ int) string {
					why := map[string]string{"length": "limit", "stop": "eos"}
					return event(fmt.Sprintf(`{"index":0,"content":"","model":"m","stop":true,"stop_type":%q,"truncated":false,"tokens_predicted":%d,"tokens_evaluated":%d,"timings":{"cache_n":%d,"prompt_n":%d,"prompt_ms":%g,"predicted_n":%d,"predicted_ms":%g}}`,
						why[t.Finish], output, t.Prompt, t.Cached, t.Prompt-t.Cached, t.PromptMS, output, t.DecodeMS))
				},
				fails: func(message, kind string, code int) string {
					return event(fmt.Sprintf(`{"error":{"code":%d,"message":%q,"type":%q}}`, code, message, kind))
				},
				half: `data: {"index":0,"content":" ha`,
			}
		},
	}
}
