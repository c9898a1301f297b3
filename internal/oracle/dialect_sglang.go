package oracle

import (
	"fmt"
	"strings"
)

// sglang is /generate of SGLang: every event has the whole text so far, all token ids so far, and the counts. A server that
// was started for incremental streaming sends the new text and ids alone; the counts are of the whole all the same.
func sglang(name string, incremental bool) *Dialect {
	return &Dialect{
		Name: name, Source: "SGLang: srt/entrypoints/http_server.py, /generate; docs, native APIs", Can: Each | Caches | Early | EarlyCache | Sheds | EventSSE, From: "A", Type: "text/event-stream",
		Status: func(message string) string { return fmt.Sprintf(`{"error":{"message":%q}}`, message) },
		voice: func(s *Scene) voice {
			so, ids := "", 0
			say := func(cum int, finish string) string {
				meta := fmt.Sprintf(`{"id":"r1","finish_reason":%s,"prompt_tokens":%d,"completion_tokens":%d,"cached_tokens":%d}`, finish, s.Totals.Prompt, cum, s.Totals.Cached)
				return event(fmt.Sprintf(`{"text":%s,"output_ids":[%s],"meta_info":%s}`, quote(so), strings.TrimSuffix(strings.Repeat("7,", ids), ","), meta))
			}
			return voice{
				says: func(b Beat, cum int) string {
					if so, ids = so+b.Text, cum; incremental {
						so, ids = b.Text, b.Tokens
					}
					return say(cum, "null")
				},
				hushes: func(b Beat, cum int) string {
					if ids = cum; incremental {
						so, ids = "", b.Tokens
					}
					return say(cum, "null")
				},
				closes: func(t Totals, output, _ int) string {
					finish := fmt.Sprintf(`{"type":"length","length":%d}`, output)
					if t.Finish == "stop" {
						finish = `{"type":"stop","matched":2}`
					}
					if ids = output; incremental {
						so, ids = "", 0
					}
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
