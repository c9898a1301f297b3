package oracle

import (
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
)

// combinedCases have several traps at once.
func combinedCases() []Case {
	// 16 events of two reasoning tokens, 16 of two answer tokens, 4 ms apart, with a stall of 300 ms in the middle.
	stalled := func(more string) *tape {
		return (&tape{more: more}).add(11*ms, role()).run(20*ms, 4*ms, 16, 2, reasoning).run(380*ms, 4*ms, 16, 2, content)
	}
	each := `,"usage":{"prompt_tokens":1000,"completion_tokens":%d}`

	messy := new(tape)
	messy.add(12*ms, event(`{"index":0,"content":"","stop":false,"tokens_predicted":0,"tokens_evaluated":1000,"prompt_progress":{"total":1000,"cache":0,"processed":512,"time_ms":9}}`))
	messy.cum++
	messy.add(40*ms, messy.piece("<think>"), Mark{Reasoning, "<think>", 1})
	for i := range 10 { // two tokens, then one that is silent
		at := 45*ms + time.Duration(i)*10*ms
		messy.native(at, 0, 1, 2, Reasoning).silent(at+5*ms, 0, 1)
	}
	messy.cum++
	messy.add(145*ms, messy.piece("</think>"), Mark{Reasoning, "</think>", 1})
	messy.native(150*ms, 5*ms, 20, 3, Answer).silent(250*ms, 5*ms, 4)
	messy.final(271*ms, "limit", 1000, 0, 1000, 32, 230)
	messy.split(2*ms, func(s string) int { return len(s) / 2 }).rewrite(func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") })

	agent := (&tape{more: `,"usage":{"prompt_tokens":1000,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":900}}`}).
		add(20*ms, role()).run(60*ms, 5*ms, 10, 1, reasoning).run(110*ms, 5*ms, 10, 2, content).run(160*ms, 5*ms, 10, 3, arguments).end(1000, 60, 900, 10)

	hidden := new(tape).add(15*ms, role()).run(300*ms, 5*ms, 20, 1, content)
	hidden.add(hidden.last()+ms, finish("stop")+usage(1000, 220, 512, 200)+done)

	lumps := new(tape)
	for i := range 8 {
		var data string
		var marks []Mark
		for range 8 {
			d, m := lumps.chat(content, 1)
			data, marks = data+d, append(marks, m)
		}
		lumps.add(40*ms+time.Duration(i)*30*ms, data, marks...)
	}
	lumps.add(251*ms, finish("length")+done)

	broken := (&tape{more: each}).add(20*ms, role()).run(60*ms, 5*ms, 12, 2, reasoning)
	broken.add(130*ms, event(`{"error":{"message":"overloaded","type":"overloaded_error"}}`))
	return []Case{
		{
			Name: "two tokens an event, reasoning first, a stall, usage absent", Traps: []int{1, 2, 3, 4}, Protocol: Chat, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "counts events over a time with a stall in it", Says: "TTFT 20 ms, TTFA 380 ms, one stall, no rate",
			Writes: stalled("").add(441*ms, finish("length")+done).writes,
			Want: plain(Want{Output: Count{32, "E"}, Events: 32, TTFT: is(20), TTFA: is(380), E2E: is(440),
				Decode: uncounted, P50: uncounted, P95: uncounted, TokensPerEvent: uncounted, Stalls: is(1), Cold: "assumed",
				Flags: []string{"count_provenance_E", "cold_unproved"}}),
		},
		{
			Name: "two tokens an event, reasoning first, a stall, running counts", Traps: []int{1, 2, 3}, Protocol: Chat, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "leaves the stall out, or the reasoning", Says: "147.6 tok/s, one stall, `coalesced`",
			Writes: stalled(each).end(1000, 64, 0, -1).writes,
			Want: plain(Want{Output: usageOf(64), Events: 32, How: "stated", TTFT: is(20), TTFA: is(380), E2E: is(440),
				Decode: is(62 / 0.420), P50: is(2), P95: fewTokens, TokensPerEvent: is(2), Stalls: is(1), Flags: []string{"coalesced"}}),
		},
		{
			Name: "progress, thinking marks, silent tokens, three an event, CRLF, cut", Traps: []int{1, 2, 3, 5, 17, 19}, Protocol: LlamaCpp, Asked: cold(96), HeadAt: 10 * ms,
			Naive: "counts 33 events over 230 ms", Says: "443.9 tok/s, 32 reasoning tokens, `coalesced`",
			Writes: messy.writes,
			// 1 + 10 x (2 + 1 silent) + 1 + 60 + 4 silent = 96 tokens, of which the first 32 are thinking; t_1 = 40 with one, t_L = 245: 91 tokens in 205 ms.
			// Latencies: 2 tokens at 2.5 ms, 27 at 10/3, 2 at 5 (</think> and the silent one before it), 60 at 5/3.
			Want: plain(Want{Output: timing(96), Reasoning: timing(32), Events: 32, How: "stated", TTFT: is(40), TTFA: is(150), E2E: is(245),
				Decode: is(91 / 0.205), P50: is(5.0 / 3), P95: fewTokens, TokensPerEvent: is(91.0 / 31), Stalls: is(0),
				ServerPrefill: is(31_250), ServerDecode: is(95 / 0.230), Flags: []string{"coalesced"}}),
		},
		{
			Name: "reasoning, answer and tool call at one, two and three tokens, mostly cached", Traps: []int{1, 2, 3, 8, 15}, Protocol: Chat, HeadAt: 10 * ms,
			Asked: Asked{Output: 60, Reuse: true, Template: 20, CacheBlock: 16},
			Naive: "counts 30 events: 198.6 instead of 406.9 tok/s", Says: "406.9 tok/s, TTFA 110 ms, `coalesced`",
			Writes: agent.writes,
			// 59 tokens in 145 ms. Of the latencies 9 are 5 ms, 20 are 2.5, 30 are 5/3: the median of 59 is the 30th.
			Want: plain(Want{Prompt: usageOf(1000), Cached: usageOf(900), Output: usageOf(60), Reasoning: usageOf(10), Events: 30, How: "stated", TTFT: is(60), TTFA: is(110), E2E: is(205),
				Decode: is(59 / 0.145), P50: is(5.0 / 3), P95: fewTokens, TokensPerEvent: is(59.0 / 29), Stalls: is(0), Cold: "reuse", Flags: []string{"coalesced"}}),
			Wrong: []Wrong{{CountsEvents, "decode", 198.6}},
		},
		{
			Name: "hidden reasoning, a cache hit, an early stop", Traps: []int{2, 7, 14, 17}, Protocol: Chat, Asked: cold(300), HeadAt: 10 * ms,
			Naive: "2305 instead of 200 tok/s", Says: "200 tok/s, `cache_contaminated`, `early_stop`",
			Writes: hidden.writes,
			Want: plain(Want{Prompt: usageOf(1000), Cached: usageOf(512), Output: usageOf(220), Reasoning: usageOf(200), Events: 20, How: "one a token", TTFT: is(300), TTFA: is(300), E2E: is(395),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0), Finish: "stop", Cold: "broken",
				Flags: []string{"cache_contaminated", "early_stop"}}),
			Wrong: []Wrong{{LessOne, "decode", 2305.3}},
		},
		{
			Name: "buffered blocks, usage refused", Traps: []int{4, 10}, Protocol: Chat, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "takes 64 events for 64 tokens and their gaps for latencies", Says: "no rate, `coalesced`, `count_provenance_E`, `cold_unproved`",
			Writes: lumps.writes,
			Want: plain(Want{Output: Count{64, "E"}, Events: 64, TTFT: is(40), TTFA: is(40), E2E: is(250),
				Decode: uncounted, P50: uncounted, P95: uncounted, TokensPerEvent: uncounted, Stalls: is(0), Cold: "assumed",
				Flags: []string{"coalesced", "count_provenance_E", "cold_unproved"}}),
		},
		{
			Name: "role first, two tokens an event, then an error", Traps: []int{1, 2, 3, 18}, Protocol: Chat, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "a rate and an early stop", Says: "the stream failed; TTFT 60 ms is shown and is part of nothing",
			Writes: broken.writes,
			Want: plain(Want{Prompt: usageOf(1000), Output: usageOf(24), Events: 12, How: "stated", TTFT: is(60), TTFA: onlyThinking, E2E: failed,
				Decode: failed, P50: is(2.5), P95: fewTokens, TokensPerEvent: is(2), Stalls: is(0), Finish: "-", Cold: "assumed",
				Flags: []string{"errors", "coalesced", "cold_unproved"}, Err: drivers.ErrOverloaded}),
		},
	}
}
