package oracle

import "fmt"

// anthropic is /v1/messages of Anthropic: named events, blocks, input counts at the start and the output's at the end.
func anthropic() *Dialect {
	named := func(name, rest string) string {
		return fmt.Sprintf("event: %s\ndata: {\"type\":%q%s}\n\n", name, name, rest)
	}
	return &Dialect{
		Name: "anthropic", Source: "Anthropic API reference: streaming messages", Can: Thinks | Summarises | Calls | Caches | Early | EarlyCache | Pinging | Sheds | EventSSE, From: "A", Type: "text/event-stream",
		Status: func(message string) string {
			return fmt.Sprintf(`{"type":"error","error":{"type":"error","message":%q}}`, message)
		},
		voice: func(s *Scene) voice {
			t := s.Totals
			index, open, began := -1, Silent, false
			start := func() string {
				if began {
					return ""
				}
				began = true
				return named("message_start", fmt.Sprintf(`,"message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":%d,"cache_read_input_tokens":%d,"cache_creation_input_tokens":0,"output_tokens":1}}`, t.Prompt-t.Cached, t.Cached))
			}
			// block ends the block that is open where it is of another kind, and starts one.
			block := func(k Kind) string {
				if open == k {
					return ""
				}
				data := start()
				if open != Silent {
					data += named("content_block_stop", fmt.Sprintf(`,"index":%d`, index))
				}
				if open = k; k == Silent {
					return data
				}
				index++
				kinds := map[Kind]string{Answer: `{"type":"text","text":""}`, Reasoning: `{"type":"thinking","thinking":"","signature":""}`, Tool: `{"type":"tool_use","id":"t1","name":"","input":{}}`}
				return data + named("content_block_start", fmt.Sprintf(`,"index":%d,"content_block":%s`, index, kinds[k]))
			}
			return voice{
				opens: start,
				says: func(b Beat, _ int) string {
					forms := map[Kind]string{Answer: `{"type":"text_delta","text":%s}`, Reasoning: `{"type":"thinking_delta","thinking":%s}`, Tool: `{"type":"input_json_delta","partial_json":%s}`}
					return block(b.Kind) + named("content_block_delta", fmt.Sprintf(`,"index":%d,"delta":`+forms[b.Kind], index, quote(b.Text)))
				},
				hushes: func(Beat, int) string { return "" },
				pings:  func() string { return named("ping", "") },
				closes: func(t Totals, output, _ int) string {
					why := map[string]string{"length": "max_tokens", "stop": "end_turn", "tool_calls": "tool_use"}
					return block(Silent) + named("message_delta", fmt.Sprintf(`,"delta":{"stop_reason":%q,"stop_sequence":null},"usage":{"output_tokens":%d}`, why[t.Finish], output)) + named("message_stop", "")
				},
				fails: func(message, kind string, _ int) string {
					if kind == "server_error" {
						kind = "api_error"
					}
					return named("error", fmt.Sprintf(`,"error":{"type":%q,"message":%q}`, kind, message))
				},
				half: "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" ha",
			}
		},
	}
}
