package oracle

import "fmt"

// ollamaChat is /api/chat of Ollama: lines of JSON, counts and nanoseconds on the last.
func ollamaChat() *Dialect {
	return ollama("ollama-chat", Thinks, func(k Kind, text string) string {
		if k == Reasoning {
			return `"message":{"role":"assistant","content":"","thinking":` + quote(text) + `}`
		}
		return `"message":{"role":"assistant","content":` + quote(text) + `}`
	})
}

// ollamaGenerate is /api/generate.
func ollamaGenerate() *Dialect {
	return ollama("ollama-generate", Thinks, func(k Kind, text string) string {
		if k == Reasoning {
			return `"response":"","thinking":` + quote(text)
		}
		return `"response":` + quote(text)
	})
}

// ollama has no event for tokens without text, no running counts, no cached count, and leaves out numbers that are 0.
func ollama(name string, can Talent, body func(Kind, string) string) *Dialect {
	const head = `{"model":"m","created_at":"2026-01-01T00:00:00.46Z",`
	number := func(name string, n int64) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf(`,%q:%d`, name, n)
	}
	return &Dialect{
		Name: name, Source: "Ollama: docs/api.md, api/types.go", Can: can | Prefills | Decodes | ZeroLess, From: "B", Type: "application/x-ndjson",
		Status: func(message string) string { return fmt.Sprintf(`{"error":%q}`, message) },
		voice: func(*Scene) voice {
			return voice{
				says:   func(b Beat, _ int) string { return head + body(b.Kind, b.Text) + `,"done":false}` + "\n" },
				hushes: func(Beat, int) string { return "" },
				closes: func(t Totals, output, _ int) string {
					return head + body(Answer, "") + fmt.Sprintf(`,"done":true,"done_reason":%q`, t.Finish) + number("total_duration", 900_000_000) + number("load_duration", 1_441_120) +
						number("prompt_eval_count", int64(t.Prompt)) + number("prompt_eval_duration", nanoseconds(t.PromptMS)) +
						number("eval_count", int64(output)) + number("eval_duration", nanoseconds(t.DecodeMS)) + "}\n"
				},
				fails: func(message, _ string, code int) string {
					if code == 529 {
						message = "server busy, please try again. maximum pending requests exceeded"
					}
					return fmt.Sprintf(`{"error":%q}`+"\n", message)
				},
				half: head + `"response":" ha`,
			}
		},
	}
}
