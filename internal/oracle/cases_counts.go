package oracle

import (
	"fmt"
	"time"
)

// countCases are about tokens and events that are not the same: traps 1, 2, 4, 5 and 15.
func countCases() []Case {
	const famous = 10_672_358 * time.Nanosecond // two tokens in it are 187.4 tok/s
	each := `,"usage":{"prompt_tokens":1000,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":0}}`
	uneven := func() []Write {
		t := &tape{}
		for i := range 48 {
			t.native(40*ms+time.Duration(i)*5*ms, 0, 1, i%3+1, Answer)
		}
		return t.final(276*ms, "limit", 1000, 0, 1000, 32, 235).writes
	}
	held := &tape{more: each}
	held.run(30*ms, 4*ms, 32, 1, content)
	data, mark := held.chat(arguments, 64)
	held.add(30*ms+31*4*ms+128*ms, data, mark).end(1000, 96, 0, -1)
	heldUnstated := &tape{}
	heldUnstated.run(30*ms, 4*ms, 32, 1, content)
	data, mark = heldUnstated.chat(arguments, 64)
	heldUnstated.add(30*ms+31*4*ms+128*ms, data, mark).end(1000, 96, 0, -1)
	return []Case{
		{
			Name: "plain", Traps: []int{1}, Protocol: Chat, Asked: cold(140), HeadAt: 10 * ms,
			Naive: "nothing: every event is one token", Says: "all figures",
			Writes: new(tape).add(12*ms, role()).run(40*ms, 2*ms, 140, 1, content).end(1000, 140, 0, -1).writes,
			Want: plain(Want{Output: usageOf(140), Events: 140, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(318),
				Decode: is(500), P50: is(2), P95: is(2), TokensPerEvent: is(1), Stalls: is(0)}),
		},
		{
			Name: "plain completions", Traps: []int{1}, Protocol: Completions, Asked: cold(140), HeadAt: 10 * ms,
			Naive: "nothing: every event is one token", Says: "all figures",
			Writes: new(tape).completion(40*ms, 2*ms, 140, 1).end(1000, 140, 0, -1).writes,
			Want: plain(Want{Output: usageOf(140), Events: 140, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(318),
				Decode: is(500), P50: is(2), P95: is(2), TokensPerEvent: is(1), Stalls: is(0)}),
		},
		{
			Name: "plain llama.cpp", Traps: []int{1}, Protocol: LlamaCpp, Asked: cold(140), HeadAt: 10 * ms,
			Naive: "takes the server's own rate, which divides 140 tokens by the time of 139", Says: "all figures, the server's recomputed",
			Writes: new(tape).native(40*ms, 2*ms, 140, 1, Answer).final(319*ms, "limit", 1000, 0, 1000, 32, 278).writes,
			Want: plain(Want{Output: timing(140), Reasoning: timing(0), Events: 140, How: "stated", TTFT: is(40), TTFA: is(40), E2E: is(318),
				Decode: is(500), P50: is(2), P95: is(2), TokensPerEvent: is(1), Stalls: is(0), ServerPrefill: is(31_250), ServerDecode: is(500)}),
		},
		{
			Name: "plain simulator", Traps: []int{1}, Protocol: Sim, Asked: cold(140), HeadAt: 10 * ms,
			Naive: "nothing: every event is one token", Says: "all figures",
			Writes: new(tape).add(12*ms, role()).run(40*ms, 2*ms, 140, 1, content).end(1000, 140, 0, -1).writes,
			Want: plain(Want{Output: usageOf(140), Events: 140, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(318),
				Decode: is(500), P50: is(2), P95: is(2), TokensPerEvent: is(1), Stalls: is(0)}),
		},
		{
			Name: "two tokens an event", Traps: []int{1}, Protocol: Chat, Asked: cold(128), HeadAt: 10 * ms,
			Naive: "counts events: 93.6 instead of 187.4 tok/s", Says: "187.4 tok/s, `coalesced`, tokens of an event estimated",
			Writes: func() []Write {
				t := new(tape).run(100*ms, famous, 64, 2, content)
				return t.add(t.last()+718*time.Microsecond, finish("length")+usage(1000, 128, 0, -1)+done).writes
			}(),
			Want: plain(Want{Output: usageOf(128), Events: 64, How: "estimated", TTFT: is(100), TTFA: is(100), E2E: is(100 + 63*10.672358),
				Decode: is(2 / 0.010672358), P50: is(10.672358 / 2), P95: fewTokens, TokensPerEvent: is(2), Stalls: is(0), Flags: []string{"coalesced"}}),
			Wrong: []Wrong{{CountsEvents, "decode", 93.6}},
		},
		{
			Name: "two tokens an event, stated", Traps: []int{1}, Protocol: Chat, Asked: cold(140), HeadAt: 10 * ms,
			Naive: "counts events: half the rate", Says: "500 tok/s, `coalesced`, tokens of an event as the running counts say",
			Writes: (&tape{more: each}).run(40*ms, 4*ms, 70, 2, content).end(1000, 140, 0, -1).writes,
			Want: plain(Want{Output: usageOf(140), Events: 70, How: "stated", TTFT: is(40), TTFA: is(40), E2E: is(316),
				Decode: is(500), P50: is(2), P95: is(2), TokensPerEvent: is(2), Stalls: is(0), Flags: []string{"coalesced"}}),
			Wrong: []Wrong{{CountsEvents, "decode", 249.1}},
		},
		{
			Name: "token ids, three an event", Traps: []int{1}, Protocol: Sim, Asked: cold(60), HeadAt: 10 * ms,
			Naive: "counts events: a third of the rate", Says: "600 tok/s, `coalesced`, tokens of an event by their ids",
			Writes: (&tape{more: `,"token_ids":[1,2,%d]`}).run(40*ms, 5*ms, 20, 3, content).end(1000, 60, 0, -1).writes,
			Want: plain(Want{Output: usageOf(60), Events: 20, How: "stated", TTFT: is(40), TTFA: is(40), E2E: is(135),
				Decode: is(600), P50: is(5.0 / 3), P95: fewTokens, TokensPerEvent: is(3), Stalls: is(0), Flags: []string{"coalesced"}}),
		},
		{
			Name: "one, two, three tokens an event", Traps: []int{1}, Protocol: LlamaCpp, Asked: cold(96), HeadAt: 10 * ms,
			Naive: "counts events, or spreads the tokens evenly and gets the latency wrong", Says: "404.3 tok/s and each token's own latency, by the running counts",
			Writes: uneven(),
			Want: plain(Want{Output: timing(96), Reasoning: timing(0), Events: 48, How: "stated", TTFT: is(40), TTFA: is(40), E2E: is(275),
				Decode: is(95 / 0.235), P50: is(5.0 / 3), P95: fewTokens, TokensPerEvent: is(95.0 / 47), Stalls: is(0),
				ServerPrefill: is(31_250), ServerDecode: is(95 / 0.235), Flags: []string{"coalesced"}}),
		},
		{
			Name: "role long before the first token", Traps: []int{2}, Protocol: Chat, Asked: cold(32), HeadAt: 119 * ms,
			Naive: "TTFT 120 instead of 500 ms: the first event has a role and no text", Says: "TTFT 500 ms",
			Writes: new(tape).add(120*ms, role()).run(500*ms, 5*ms, 32, 1, content).end(1000, 32, 0, -1).writes,
			Want: plain(Want{Output: usageOf(32), Events: 32, How: "one a token", TTFT: is(500), TTFA: is(500), E2E: is(655),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)}),
			Wrong: []Wrong{{FirstEvent, "ttft", 120}},
		},
		{
			Name: "progress and pings before the first token", Traps: []int{2, 19}, Protocol: LlamaCpp, Asked: cold(32), HeadAt: 5 * ms,
			Naive: "TTFT 10 instead of 100 ms: it takes progress for a token", Says: "TTFT 100 ms",
			Writes: new(tape).
				add(10*ms, event(`{"index":0,"content":"","stop":false,"tokens_predicted":0,"tokens_evaluated":1000,"prompt_progress":{"total":1000,"cache":0,"processed":512,"time_ms":9}}`)).
				add(30*ms, ": ping\n\n").
				add(60*ms, event(`{"index":0,"content":"","stop":false,"tokens_predicted":0,"tokens_evaluated":1000,"prompt_progress":{"total":1000,"cache":0,"processed":1000,"time_ms":50}}`)).
				native(100*ms, 5*ms, 32, 1, Answer).final(256*ms, "limit", 1000, 0, 1000, 80, 155).writes,
			Want: plain(Want{Output: timing(32), Reasoning: timing(0), Events: 32, How: "stated", TTFT: is(100), TTFA: is(100), E2E: is(255),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0), ServerPrefill: is(12_500), ServerDecode: is(200)}),
			Wrong: []Wrong{{FirstEvent, "ttft", 10}},
		},
		{
			Name: "usage refused", Traps: []int{4}, Protocol: Chat, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "takes 64 events for 64 tokens", Says: "no rate, `count_provenance_E`, `cold_unproved`; TTFT stands",
			Writes: new(tape).run(40*ms, 4*ms, 64, 1, content).add(293*ms, finish("length")+done).writes,
			Want: plain(Want{Output: Count{64, "E"}, Events: 64, TTFT: is(40), TTFA: is(40), E2E: is(292),
				Decode: uncounted, P50: uncounted, P95: uncounted, TokensPerEvent: uncounted, Stalls: is(0), Cold: "assumed",
				Flags: []string{"count_provenance_E", "cold_unproved"}}),
		},
		{
			Name: "no usage, but a timing block", Traps: []int{4}, Protocol: Chat, Asked: cold(128), HeadAt: 10 * ms,
			Naive: "takes 64 events for 128 tokens", Says: "500 tok/s, counts of provenance B",
			Writes: new(tape).run(40*ms, 4*ms, 64, 2, content).
				add(293*ms, choice("", `"length"`, `,"timings":{"cache_n":0,"prompt_n":1000,"prompt_ms":32,"predicted_n":128,"predicted_ms":254}`)+done).writes,
			Want: plain(Want{Output: timing(128), Events: 64, How: "estimated", TTFT: is(40), TTFA: is(40), E2E: is(292),
				Decode: is(500), P50: is(2), P95: fewTokens, TokensPerEvent: is(2), Stalls: is(0), ServerPrefill: is(31_250), ServerDecode: is(500),
				Flags: []string{"coalesced"}}),
		},
		{
			Name: "silent tokens between", Traps: []int{5}, Protocol: LlamaCpp, Asked: cold(60), HeadAt: 10 * ms,
			Naive: "counts 40 events: 131.8 instead of 200 tok/s", Says: "200 tok/s: a token without text is part of the next event",
			Writes: func() []Write {
				t := new(tape)
				for i := range 20 { // silent, text, text
					at := 40*ms + time.Duration(i)*15*ms
					t.silent(at, 0, 1).native(at+5*ms, 5*ms, 2, 1, Answer)
				}
				return t.final(341*ms, "limit", 1000, 0, 1000, 32, 295).writes
			}(),
			// t_1 = 45 with two tokens, t_L = 335, 58 tokens between.
			Want: plain(Want{Output: timing(60), Reasoning: timing(0), Events: 40, How: "stated", TTFT: is(45), TTFA: is(45), E2E: is(335),
				Decode: is(58 / 0.290), P50: is(5), P95: fewTokens, TokensPerEvent: is(58.0 / 39), Stalls: is(0),
				ServerPrefill: is(31_250), ServerDecode: is(200), Flags: []string{"coalesced"}}),
			Wrong: []Wrong{{CountsEvents, "decode", 131.8}},
		},
		{
			Name: "silent tokens at the end, stated", Traps: []int{5, 17}, Protocol: LlamaCpp, Asked: cold(60), HeadAt: 10 * ms,
			Naive: "302.6 instead of 200 tok/s: it divides by a time in which they were not made", Says: "200 tok/s: what is silent after the last text is left out",
			Writes: new(tape).native(40*ms, 5*ms, 40, 1, Answer).silent(240*ms, 5*ms, 20).final(336*ms, "limit", 1000, 0, 1000, 32, 295).writes,
			Want: plain(Want{Output: timing(60), Reasoning: timing(0), Events: 40, How: "stated", TTFT: is(40), TTFA: is(40), E2E: is(235),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0), ServerPrefill: is(31_250), ServerDecode: is(200)}),
			Wrong: []Wrong{{LessOne, "decode", 302.6}},
		},
		{
			Name: "silent tokens at the end, unstated", Traps: []int{5, 17}, Protocol: Chat, Asked: cold(140), HeadAt: 10 * ms,
			Naive: "712.8 instead of 200 tok/s", Says: "no rate: hidden tokens can't be told apart",
			Writes: new(tape).run(40*ms, 5*ms, 40, 1, content).add(340*ms, finish("length")+usage(1000, 140, 0, -1)+done).writes,
			Want: plain(Want{Output: usageOf(140), Events: 40, How: "estimated", TTFT: is(40), TTFA: is(40), E2E: is(235),
				Decode: no("can't be told apart"), P50: no("told apart"), P95: no("told apart"), TokensPerEvent: no("told apart"), Stalls: is(0)}),
			Wrong: []Wrong{{LessOne, "decode", 712.8}},
		},
		{
			Name: "silent tokens at the end, running counts", Traps: []int{5, 17}, Protocol: Chat, Asked: cold(60), HeadAt: 10 * ms,
			Naive: "302.6 instead of 200 tok/s", Says: "200 tok/s: what is silent after the last text is left out",
			Writes: func() []Write {
				t := (&tape{more: each}).run(40*ms, 5*ms, 40, 1, content)
				for i := range 20 {
					t.cum++
					t.add(240*ms+time.Duration(i)*5*ms, choice(`"content":""`, "null", fmt.Sprintf(each, t.cum)), Mark{Silent, "", 1})
				}
				return t.end(1000, 60, 0, -1).writes
			}(),
			Want: plain(Want{Output: usageOf(60), Events: 40, How: "stated", TTFT: is(40), TTFA: is(40), E2E: is(235),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)}),
			Wrong: []Wrong{{LessOne, "decode", 302.6}},
		},
		{
			Name: "tokens that no event accounts for", Traps: []int{5, 17}, Protocol: Chat, Asked: cold(60), HeadAt: 10 * ms,
			Naive: "302.6 tok/s", Says: "no rate: 20 of 60 tokens are in no event",
			Writes: (&tape{more: each}).run(40*ms, 5*ms, 40, 1, content).end(1000, 60, 0, -1).writes,
			Want: plain(Want{Output: usageOf(60), Events: 40, How: "stated", TTFT: is(40), TTFA: is(40), E2E: is(235),
				Decode: no("are in no event"), P50: no("are in no event"), P95: no("are in no event"), TokensPerEvent: no("are in no event"), Stalls: is(0)}),
			Wrong: []Wrong{{LessOne, "decode", 302.6}},
		},
		{
			Name: "running counts that fall", Traps: []int{1}, Protocol: Chat, Asked: cold(40), HeadAt: 10 * ms,
			Naive: "negative tokens", Says: "200 tok/s by the total, `contradiction`: the running counts are not used",
			Writes: func() []Write {
				t := &tape{more: each}
				t.run(40*ms, 5*ms, 20, 1, content)
				t.cum = 5
				return t.run(140*ms, 5*ms, 20, 1, content).end(1000, 40, 0, -1).writes
			}(),
			Want: plain(Want{Output: usageOf(40), Events: 40, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(235),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0), Flags: []string{"contradiction"}}),
		},
		{
			Name: "the end-of-text token counted", Traps: []int{5, 14}, Protocol: Chat, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "205.1 instead of 200 tok/s: the end of text is a token, and has no text", Says: "200 tok/s, `early_stop`: it is left out",
			Writes: func() []Write {
				t := new(tape).run(40*ms, 5*ms, 40, 1, content)
				return t.add(240*ms, finish("stop")+usage(1000, 41, 0, -1)+done).writes
			}(),
			Want: plain(Want{Output: usageOf(41), Events: 40, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(235), Finish: "stop",
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0), Flags: []string{"early_stop"}}),
			Wrong: []Wrong{{LessOne, "decode", 205.1}},
		},
		{
			Name: "the end-of-text token counted, running counts", Traps: []int{5, 14}, Protocol: LlamaCpp, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "205.1 instead of 200 tok/s", Says: "200 tok/s, `early_stop`",
			Writes: new(tape).native(40*ms, 5*ms, 40, 1, Answer).silent(240*ms, 0, 1).final(241*ms, "eos", 1000, 0, 1000, 32, 200).writes,
			Want: plain(Want{Output: timing(41), Reasoning: timing(0), Events: 40, How: "stated", TTFT: is(40), TTFA: is(40), E2E: is(235), Finish: "stop",
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0), ServerPrefill: is(31_250), ServerDecode: is(200), Flags: []string{"early_stop"}}),
			Wrong: []Wrong{{LessOne, "decode", 205.1}},
		},
		{
			Name: "tool call held back, stated", Traps: []int{15, 1}, Protocol: Chat, Asked: cold(96), HeadAt: 10 * ms,
			Naive: "counts 33 events: 126.5 instead of 377.0 tok/s", Says: "377.0 tok/s, `coalesced`",
			Writes: held.writes,
			// t_1 = 30, t_L = 282: 95 tokens in 252 ms; the parser held 64 of them.
			Want: plain(Want{Output: usageOf(96), Events: 33, How: "stated", TTFT: is(30), TTFA: is(30), E2E: is(282),
				Decode: is(95 / 0.252), P50: is(2), P95: fewTokens, TokensPerEvent: is(95.0 / 32), Stalls: is(0), Flags: []string{"coalesced"}}),
			Wrong: []Wrong{{CountsEvents, "decode", 126.5}},
		},
		{
			Name: "tool call held back, unstated", Traps: []int{15, 1}, Protocol: Chat, Asked: cold(96), HeadAt: 10 * ms,
			Naive: "counts 33 events", Says: "no rate: how many tokens each event of a call holds is not known",
			Writes: evenly(heldUnstated.writes, 96),
			Want: plain(Want{Output: usageOf(96), Events: 33, How: "estimated", TTFT: is(30), TTFA: is(30), E2E: is(282),
				Decode: no("estimate"), P50: no("estimate"), P95: no("estimate"), TokensPerEvent: no("estimate"), Stalls: is(0)}),
			Wrong: []Wrong{{CountsEvents, "decode", 126.5}},
		},
		{
			Name: "tool call in one piece", Traps: []int{15}, Protocol: Chat, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "divides 64 tokens by next to nothing", Says: "no rate: one text-bearing event",
			Writes: func() []Write {
				t := new(tape).add(11*ms, role())
				data, m := t.chat(arguments, 64)
				return t.add(300*ms, data, m).end(1000, 64, 0, -1).writes
			}(),
			Want: plain(Want{Output: usageOf(64), Events: 1, How: "estimated", TTFT: is(300), TTFA: is(300), E2E: is(300),
				Decode: no("one text-bearing event"), P50: noGaps, P95: noGaps, TokensPerEvent: no("one event"), Stalls: noGaps}),
		},
		{
			Name: "first tokens held back, stated", Traps: []int{15, 1, 17}, Protocol: Chat, Asked: cold(243), HeadAt: 10 * ms,
			Naive: "391.9 instead of 200 tok/s: it takes the 119 tokens that came at once for made since", Says: "200 tok/s",
			Writes: burstFirst(each),
			Want: plain(Want{Output: usageOf(243), Events: 125, How: "stated", TTFT: is(30), TTFA: is(30), E2E: is(650),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)}),
			Wrong: []Wrong{{AllTokens, "decode", 391.9}},
		},
		{
			Name: "first tokens held back, unstated", Traps: []int{15, 1, 17}, Protocol: Chat, Asked: cold(243), HeadAt: 10 * ms,
			Naive: "391.9 instead of 200 tok/s, and 388.8 after an even spread", Says: "no rate: how many tokens the first event holds is not known well enough",
			Writes: evenly(burstFirst(""), 243),
			Want: plain(Want{Output: usageOf(243), Events: 125, How: "estimated", TTFT: is(30), TTFA: is(30), E2E: is(650),
				Decode: no("first event"), P50: no("first event"), P95: no("first event"), TokensPerEvent: is(243.0 / 125), Stalls: is(0), Flags: []string{"coalesced"}}),
			Wrong: []Wrong{{AllTokens, "decode", 391.9}},
		},
	}
}

// burstFirst is an event of 119 tokens that a parser held back, then 124 of one token, 200 a second.
func burstFirst(more string) []Write {
	t := &tape{more: more}
	data, m := t.chat(content, 119)
	return t.add(30*ms, data, m).run(35*ms, 5*ms, 124, 1, content).end(1000, 243, 0, -1).writes
}

// evenly puts n tokens on the events alike: the rule where nothing says how many each holds, and no tokenizer is there.
func evenly(writes []Write, n float64) []Write {
	m := 0.0
	for _, w := range writes {
		m += float64(len(w.Marks))
	}
	for _, w := range writes {
		for j := range w.Marks {
			w.Marks[j].Tokens = n / m
		}
	}
	return writes
}
