package oracle

import (
	"fmt"
	"strings"
)

// sglang is /generate of SGLang: every event has the whole text so far, all token ids so far, and the counts.
func sglang() *Dialect {
	return &Dialect{
		Name: "sglang", Source: "SGLang: srt/entrypoints/http_server.py, /generate; docs, native APIs", Can: Each | Caches | Early | EarlyCache | Sheds | EventSSE, From: "A", Type: "text/event-stream",
		Status: func(message string) string { return fmt.Sprintf(`{"error":{"message":%q}}`, message) },
		voice: func(s *Scene) voice {
			so, ids := "", 0
			say := func(cum int, finish string) string {
				meta := fmt.Sprintf(`{"id":"r1","finish_reason":%s,"prompt_tokens":%d,"completion_tokens":%d,"cached_tokens":%d}`, finish, s.Totals.Prompt, cum, s.Totals.Cached)
				return event(fmt.Sprintf(`{"text":%s,"output_ids":[%s],"meta_info":%s}`, quote(so), strings.TrimSuffix(strings.Repeat("7,", ids), ","), meta))
			}
			return voice{
				says: func(b Beat, cum int) string {
					so, ids = so+b.Text, cum
					return say(cum, "null")
				},
				hushes: func(_ Beat, cum int) string {
					ids = cum
					return say(cum, "null")
				},
				closes: func(t Totals, output, _ int) string {
					finish := fmt.Sprintf(`{"type":"length","length":%d}`, output)
					if t.Finish == "stop" {
						finish = `{"type":"stop","matched":2}`
					}
					ids = output
					return say(output, finish) + done
				},
				fails: func(message, kind string, code int) string {
					return event(fmt.Sprintf(`{"error":{"message":%q,"type":%q,"code":%d}}`, message, kind, code)) + done
				},
				half: `data: {"text":" ha`,
			}
		},
	}
}
