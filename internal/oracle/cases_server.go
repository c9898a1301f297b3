package oracle

// serverCases are about what a server counts, keeps and does: traps 6, 7, 8 and 12.
func serverCases() []Case {
	steady := func(prompt, cached int) []Write {
		return new(tape).run(40*ms, 5*ms, 40, 1, content).end(prompt, 40, cached, -1).writes
	}
	want := func(w Want) Want {
		w.Output, w.Events, w.How = usageOf(40), 40, "one a token"
		w.TTFT, w.TTFA, w.E2E, w.Decode, w.P50, w.P95, w.TokensPerEvent, w.Stalls = is(40), is(40), is(235), is(200), is(5), fewTokens, is(1), is(0)
		return plain(w)
	}
	reuse := func(output int) Asked { return Asked{Output: output, Reuse: true, Template: 20, CacheBlock: 1} }
	native := func(worked int) []Write {
		return new(tape).native(510*ms, 5*ms, 20, 1, Answer).
			final(606*ms, "limit", 2_335_369, 2_331_369, worked, 500, 95).writes
	}
	nativeWant := plain(Want{Prompt: timing(2_335_369), Cached: timing(2_331_369), Output: timing(20), Reasoning: timing(0), Events: 20, How: "stated",
		TTFT: is(510), TTFA: is(510), E2E: is(605), Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0),
		ServerPrefill: is(8000), ServerDecode: is(200), Cold: "reuse"})
	return []Case{
		{
			Name: "prompt longer than asked", Traps: []int{6}, Protocol: Chat, Asked: cold(40), HeadAt: 10 * ms,
			Naive: "takes the length that it asked for", Says: "the server's count, `prompt_drift`",
			Writes: steady(1011, 0), Want: want(Want{Prompt: usageOf(1011), Cached: usageOf(0), Flags: []string{"prompt_drift"}}),
		},
		{
			Name: "prompt a percent longer", Traps: []int{6}, Protocol: Chat, Asked: cold(40), HeadAt: 10 * ms,
			Naive: "nothing", Says: "the server's count; within the 1 %",
			Writes: steady(1010, 0), Want: want(Want{Prompt: usageOf(1010), Cached: usageOf(0)}),
		},
		{
			Name: "a cold prompt from the cache", Traps: []int{7}, Protocol: Chat, Asked: cold(40), HeadAt: 10 * ms,
			Naive: "calls a cache hit prefill", Says: "`cache_contaminated`, cold is broken",
			Writes: steady(1000, 512), Want: want(Want{Prompt: usageOf(1000), Cached: usageOf(512), Cold: "broken", Flags: []string{"cache_contaminated"}}),
		},
		{
			Name: "the template from the cache", Traps: []int{7}, Protocol: Chat, HeadAt: 10 * ms,
			Asked: Asked{Output: 40, Prompt: 1000, Template: 20, CacheBlock: 16},
			Naive: "calls every cached token contamination", Says: "cold is proved: two blocks of 16 hold the template's 20",
			Writes: steady(1000, 32), Want: want(Want{Prompt: usageOf(1000), Cached: usageOf(32)}),
		},
		{
			Name: "one block more than the template", Traps: []int{7}, Protocol: Chat, HeadAt: 10 * ms,
			Asked: Asked{Output: 40, Prompt: 1000, Template: 20, CacheBlock: 16},
			Naive: "does not look", Says: "`cache_contaminated`",
			Writes: steady(1000, 48), Want: want(Want{Prompt: usageOf(1000), Cached: usageOf(48), Cold: "broken", Flags: []string{"cache_contaminated"}}),
		},
		{
			Name: "cached tokens not told", Traps: []int{7}, Protocol: Chat, Asked: cold(40), HeadAt: 10 * ms,
			Naive: "takes an absent count for 0", Says: "C null, cold is assumed, `cold_unproved`",
			Writes: steady(1000, -1), Want: want(Want{Prompt: usageOf(1000), Cold: "assumed", Flags: []string{"cold_unproved"}}),
		},
		{
			Name: "prefill of a cached prompt", Traps: []int{8}, Protocol: LlamaCpp, Asked: reuse(20), HeadAt: 10 * ms,
			Naive: "4,670,738 instead of 8,000 tok/s: it divides the whole prompt by the time of its uncached part", Says: "8,000 tok/s",
			Writes: native(4000), Want: nativeWant, Wrong: []Wrong{{WholePrompt, "prefill", 4_670_738}},
		},
		{
			Name: "a counter that holds cached tokens", Traps: []int{8}, Protocol: LlamaCpp, Asked: reuse(20), HeadAt: 10 * ms,
			Naive: "4,670,738 instead of 8,000 tok/s: the server's own counter says so", Says: "8,000 tok/s: cached tokens taken off",
			Writes: native(2_335_369), Want: nativeWant, Wrong: []Wrong{{WholePrompt, "prefill", 4_670_738}},
		},
		{
			Name: "all but one token cached", Traps: []int{8, 7}, Protocol: LlamaCpp, Asked: reuse(40), HeadAt: 10 * ms,
			Naive: "a rate from one token", Says: "server prefill null: too few uncached tokens",
			Writes: new(tape).native(40*ms, 5*ms, 40, 1, Answer).final(236*ms, "limit", 1000, 999, 1, 5, 195).writes,
			Want: plain(Want{Prompt: timing(1000), Cached: timing(999), Output: timing(40), Reasoning: timing(0), Events: 40, How: "stated", TTFT: is(40), TTFA: is(40), E2E: is(235),
				Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0), ServerPrefill: no("too few uncached"), ServerDecode: is(200), Cold: "reuse"}),
		},
		{
			Name: "queued on the client", Traps: []int{12}, Protocol: Chat, Asked: cold(40), HeadAt: 10 * ms, Sched: -80 * ms,
			Naive: "starts its clock at the send", Says: "TTFT 40 ms, TTFT_sched 120 ms",
			Writes: steady(1000, 0), Want: want(Want{}),
		},
	}
}
