package oracle

import "fmt"

// lmStudio is /api/v1/chat of LM Studio: named events, statistics at the end.
func lmStudio() *Dialect {
	named := func(name, rest string) string {
		return fmt.Sprintf("event: %s\ndata: {\"type\":%q%s}\n\n", name, name, rest)
	}
	return &Dialect{
		Name: "lmstudio-v1", Source: "LM Studio REST API v1: streaming events of /api/v1/chat", Can: Thinks | Reasons | Progress | Sheds | EventSSE, From: "A", Type: "text/event-stream",
		Status: func(message string) string { return fmt.Sprintf(`{"error":{"message":%q}}`, message) },
		voice: func(*Scene) voice {
			open := Silent
			turn := func(k Kind) string {
				names := map[Kind]string{Answer: "message", Reasoning: "reasoning"}
				if open == k {
					return ""
				}
				data := ""
				if open != Silent {
					data = named(names[open]+".end", "")
				}
				if open = k; k != Silent {
					data += named(names[k]+".start", "")
				}
				return data
			}
			return voice{
				opens: func() string {
					return named("chat.start", `,"model_instance_id":"m"`) + named("prompt_processing.start", "")
				},
				progress: func(done, total int) string {
					return named("prompt_processing.progress", fmt.Sprintf(`,"progress":%.3f`, float64(done)/float64(total)))
				},
				says: func(b Beat, _ int) string {
					name := "message.delta"
					if b.Kind == Reasoning {
						name = "reasoning.delta"
					}
					return turn(b.Kind) + named(name, `,"content":`+quote(b.Text))
				},
				hushes: func(Beat, int) string { return "" },
				closes: func(t Totals, output, reasoning int) string {
					return turn(Silent) + named("chat.end", fmt.Sprintf(`,"result":{"model_instance_id":"m","output":[],"stats":{"input_tokens":%d,"total_output_tokens":%d,"reasoning_output_tokens":%d,"tokens_per_second":51.4,"time_to_first_token_seconds":0.04}}`, t.Prompt, output, reasoning))
				},
				fails: func(message, kind string, _ int) string {
					return named("error", fmt.Sprintf(`,"error":{"type":%q,"message":%q}`, kind, message))
				},
				half: "event: message.delta\ndata: {\"type\":\"message.delta\",\"content\":\" ha",
			}
		},
	}
}
