package oracle

import "time"

// reasoningCases are about thinking: trap 3, and the hidden part of 17.
func reasoningCases() []Case {
	var out []Case
	for _, f := range []field{
		named("reasoning_content", Reasoning), named("reasoning", Reasoning), named("thinking", Reasoning), named("reasoning_text", Reasoning),
		{"reasoning_details", Reasoning, `"reasoning_details":[{"type":"reasoning.text","text":%s,"index":0}]`},
		{"content parts", Reasoning, `"content":[{"type":"thinking","thinking":[{"type":"text","text":%s}]}]`},
	} {
		out = append(out, Case{
			Name: "reasoning first: " + f.name, Traps: []int{3}, Protocol: Chat, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "knows another name of the field: TTFT 168 instead of 40 ms", Says: "TTFT 40 ms, TTFA 168 ms",
			Writes: new(tape).add(11*ms, role()).run(40*ms, 4*ms, 32, 1, f).run(168*ms, 4*ms, 32, 1, content).end(1000, 64, 0, 32).writes,
			Want: plain(Want{Output: usageOf(64), Reasoning: usageOf(32), Events: 64, How: "one a token", TTFT: is(40), TTFA: is(168), E2E: is(292),
				Decode: is(250), P50: is(4), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)}),
		})
	}
	twice := new(tape).add(11*ms, role())
	for i := range 32 {
		text := twice.text(1)
		twice.add(40*ms+time.Duration(i)*4*ms, choice(`"content":"","reasoning":`+quote(text)+`,"reasoning_content":`+quote(text)+`,"reasoning_details":[{"text":`+quote(text)+`}]`, "null", ""), Mark{Reasoning, text, 1})
	}
	thinks := new(tape)
	for i, s := range []string{"<thi", "nk>", "\n"} {
		thinks.cum++
		thinks.add(40*ms+time.Duration(i)*5*ms, thinks.piece(s), Mark{Reasoning, s, 1})
	}
	thinks.native(55*ms, 5*ms, 20, 1, Reasoning)
	thinks.cum++
	thinks.add(155*ms, thinks.piece("</think>"), Mark{Reasoning, "</think>", 1})
	thinks.native(160*ms, 5*ms, 24, 1, Answer).final(276*ms, "limit", 1000, 0, 1000, 32, 235)

	return append(out,
		Case{
			Name: "reasoning under three names at once", Traps: []int{3}, Protocol: Chat, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "adds the text up under each name", Says: "the text once, TTFT 40 ms, TTFA 168 ms",
			Writes: twice.run(168*ms, 4*ms, 32, 1, content).end(1000, 64, 0, 32).writes,
			Want: plain(Want{Output: usageOf(64), Reasoning: usageOf(32), Events: 64, How: "one a token", TTFT: is(40), TTFA: is(168), E2E: is(292),
				Decode: is(250), P50: is(4), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)}),
		},
		Case{
			Name: "thinking marks cut in two", Traps: []int{3, 19}, Protocol: LlamaCpp, Asked: cold(48), HeadAt: 10 * ms,
			Naive: "TTFA 40 instead of 160 ms: the marks are part of the text", Says: "TTFA 160 ms, 24 reasoning tokens",
			Writes: thinks.writes,
			Want: plain(Want{Output: timing(48), Reasoning: timing(24), Events: 48, How: "stated", TTFT: is(40), TTFA: is(160), E2E: is(275),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0), ServerPrefill: is(31_250), ServerDecode: is(200)}),
		},
		Case{
			Name: "reasoning and no answer", Traps: []int{3, 14}, Protocol: Chat, Asked: cold(40), HeadAt: 10 * ms,
			Naive: "no first token at all", Says: "TTFT 40 ms; TTFA null: no text but reasoning",
			Writes: new(tape).run(40*ms, 5*ms, 40, 1, reasoning).end(1000, 40, 0, 40).writes,
			Want: plain(Want{Output: usageOf(40), Reasoning: usageOf(40), Events: 40, How: "one a token", TTFT: is(40), TTFA: onlyThinking, E2E: is(235),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)}),
		},
		Case{
			Name: "hidden reasoning, counted", Traps: []int{17}, Protocol: Chat, Asked: cold(241), HeadAt: 10 * ms,
			Naive: "391.9 instead of 200 tok/s: it divides tokens that were never streamed by the time of those that were", Says: "200 tok/s: the 117 hidden tokens are left out",
			Writes: new(tape).run(20*ms, 5*ms, 124, 1, content).end(1000, 241, 0, 117).writes,
			Want: plain(Want{Output: usageOf(241), Reasoning: usageOf(117), Events: 124, How: "one a token", TTFT: is(20), TTFA: is(20), E2E: is(635),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)}),
			Wrong: []Wrong{{AllTokens, "decode", 391.9}},
		},
		Case{
			Name: "hidden reasoning, running counts", Traps: []int{17}, Protocol: Chat, Asked: cold(241), HeadAt: 10 * ms,
			Naive: "391.9 instead of 200 tok/s", Says: "200 tok/s: what was counted before the first text falls before t_1",
			Writes: (&tape{cum: 117, more: `,"usage":{"prompt_tokens":1000,"completion_tokens":%d}`}).run(20*ms, 5*ms, 124, 1, content).end(1000, 241, 0, -1).writes,
			Want: plain(Want{Output: usageOf(241), Events: 124, How: "stated", TTFT: is(20), TTFA: is(20), E2E: is(635),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)}),
			Wrong: []Wrong{{AllTokens, "decode", 391.9}},
		},
		Case{
			Name: "hidden reasoning, uncounted", Traps: []int{17}, Protocol: Chat, Asked: cold(364), HeadAt: 10 * ms,
			Naive: "1152.4 instead of 200 tok/s", Says: "no rate: hidden tokens can't be told apart",
			Writes: new(tape).run(20*ms, 5*ms, 64, 1, content).end(1000, 364, 0, -1).writes,
			Want: plain(Want{Output: usageOf(364), Events: 64, How: "estimated", TTFT: is(20), TTFA: is(20), E2E: is(335),
				Decode: no("can't be told apart"), P50: no("told apart"), P95: no("told apart"), TokensPerEvent: no("told apart"), Stalls: is(0)}),
			Wrong: []Wrong{{LessOne, "decode", 1152.4}},
		},
		Case{
			Name: "reasoning summarised", Traps: []int{17, 3}, Protocol: Chat, Asked: cold(564), HeadAt: 10 * ms,
			Naive: "1585.9 instead of 200 tok/s", Says: "no rate: part of the reasoning was never streamed",
			Writes: new(tape).run(20*ms, 5*ms, 8, 1, reasoning).run(60*ms, 5*ms, 64, 1, content).end(1000, 564, 0, 500).writes,
			Want: plain(Want{Output: usageOf(564), Reasoning: usageOf(500), Events: 72, How: "estimated", TTFT: is(20), TTFA: is(60), E2E: is(375),
				Decode: no("part of it was never streamed"), P50: no("never streamed"), P95: no("never streamed"), TokensPerEvent: no("never streamed"), Stalls: is(0)}),
			Wrong: []Wrong{{LessOne, "decode", 1585.9}},
		},
	)
}
