package oracle

// shortCases are about streams that have too little: traps 14 and 17.
func shortCases() []Case {
	lump := new(tape)
	var data string
	var marks []Mark
	for range 64 {
		d, m := lump.chat(content, 1)
		data, marks = data+d, append(marks, m)
	}
	return []Case{
		{
			Name: "no tokens", Traps: []int{14}, Protocol: Chat, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "TTFT 20 ms, or 0", Says: "TTFT and rates null, `early_stop`",
			Writes: new(tape).add(20*ms, role()).add(60*ms, finish("stop")+usage(1000, 0, 0, -1)+done).writes,
			Want: plain(Want{Output: usageOf(0), Events: 0, TTFT: noText, TTFA: noText, E2E: noText, Finish: "stop",
				Decode: noText, P50: noText, P95: noText, TokensPerEvent: noText, Stalls: noText, Flags: []string{"early_stop"}}),
			Wrong: []Wrong{{FirstEvent, "ttft", 20}},
		},
		{
			Name: "tokens and no text", Traps: []int{14, 5}, Protocol: LlamaCpp, Asked: cold(20), HeadAt: 10 * ms,
			Naive: "TTFT of the first empty event", Says: "20 tokens; TTFT and rates null",
			Writes: new(tape).silent(20*ms, 5*ms, 20).final(121*ms, "limit", 1000, 0, 1000, 16, 95).writes,
			Want: plain(Want{Output: timing(20), Reasoning: timing(0), Events: 0, TTFT: noText, TTFA: noText, E2E: noText,
				Decode: noText, P50: noText, P95: noText, TokensPerEvent: noText, Stalls: noText, ServerPrefill: is(62_500), ServerDecode: is(200)}),
		},
		{
			Name: "one token", Traps: []int{14}, Protocol: LlamaCpp, Asked: cold(1), HeadAt: 10 * ms,
			Naive: "1,000,000 tok/s: the server writes 0.001 ms for no time", Says: "TTFT 40 ms; rates null",
			Writes: new(tape).native(40*ms, 0, 1, 1, Answer).final(41*ms, "limit", 1000, 0, 1000, 32, 0.001).writes,
			Want: plain(Want{Output: timing(1), Reasoning: timing(0), Events: 1, How: "stated", TTFT: is(40), TTFA: is(40), E2E: is(40),
				Decode: no("one text-bearing event"), P50: noGaps, P95: noGaps, TokensPerEvent: no("one event"), Stalls: noGaps, ServerPrefill: is(31_250)}),
		},
		{
			Name: "16 tokens: 15 after the first", Traps: []int{14}, Protocol: Chat, Asked: cold(16), HeadAt: 10 * ms,
			Naive: "a rate from 15 tokens", Says: "no rate: too few tokens",
			Writes: new(tape).run(40*ms, 5*ms, 16, 1, content).end(1000, 16, 0, -1).writes,
			Want: plain(Want{Output: usageOf(16), Events: 16, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(115),
				Decode: no("too few tokens"), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)}),
		},
		{
			Name: "17 tokens: 16 after the first", Traps: []int{14}, Protocol: Chat, Asked: cold(17), HeadAt: 10 * ms,
			Naive: "divides 17 tokens by the time of 16", Says: "200 tok/s",
			Writes: new(tape).run(40*ms, 5*ms, 17, 1, content).end(1000, 17, 0, -1).writes,
			Want: plain(Want{Output: usageOf(17), Events: 17, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(120),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)}),
			Wrong: []Wrong{{AllTokens, "decode", 212.5}},
		},
		{
			Name: "early stop", Traps: []int{14}, Protocol: Chat, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "compares 30 tokens with 64", Says: "200 tok/s, `early_stop`",
			Writes: func() []Write {
				t := new(tape).run(40*ms, 5*ms, 30, 1, content)
				return t.add(t.last()+ms, finish("stop")+usage(1000, 30, 0, -1)+done).writes
			}(),
			Want: plain(Want{Output: usageOf(30), Events: 30, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(185), Finish: "stop",
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0), Flags: []string{"early_stop"}}),
		},
		{
			Name: "all in one read", Traps: []int{10, 14}, Protocol: Chat, Asked: cold(64), HeadAt: 10 * ms,
			Naive: "divides 64 tokens by microseconds", Says: "no rate: all events came in one read",
			Writes: lump.add(200*ms, data+finish("length")+usage(1000, 64, 0, -1)+done, marks...).writes,
			Want: plain(Want{Output: usageOf(64), Events: 64, How: "one a token", TTFT: is(200), TTFA: is(200), E2E: is(200),
				Decode: oneRead, P50: noGaps, P95: noGaps, TokensPerEvent: is(1), Stalls: noGaps, Flags: []string{"coalesced"}}),
		},
		{
			Name: "129 tokens after the first", Traps: []int{17}, Protocol: Chat, Asked: cold(130), HeadAt: 10 * ms,
			Naive: "prints the largest sample as p95", Says: "p95 null: too few (129 of 130)",
			Writes: new(tape).run(40*ms, 2*ms, 130, 1, content).end(1000, 130, 0, -1).writes,
			Want: plain(Want{Output: usageOf(130), Events: 130, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(298),
				Decode: is(500), P50: is(2), P95: no("129 of 130"), TokensPerEvent: is(1), Stalls: is(0)}),
		},
		{
			Name: "130 tokens after the first, ten of them slow", Traps: []int{17}, Protocol: Chat, Asked: cold(131), HeadAt: 10 * ms,
			Naive: "nothing, but n-1 shows", Says: "p95 known",
			// 120 gaps of 1.5 ms, then 10 of 6 ms: the p95 lies at index 122.55, among the slow ones.
			Writes: func() []Write {
				t := new(tape).run(40*ms, 1500*us, 121, 1, content)
				return t.run(t.last()+6*ms, 6*ms, 10, 1, content).end(1000, 131, 0, -1).writes
			}(),
			Want: plain(Want{Output: usageOf(131), Events: 131, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(280),
				Decode: is(130 / 0.240), P50: is(1.5), P95: is(6), TokensPerEvent: is(1), Stalls: is(0)}),
		},
	}
}
