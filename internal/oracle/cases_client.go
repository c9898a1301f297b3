package oracle

import "time"

// clientCases are about the client's own part and what lies between: traps 9, 10 and 11.
func clientCases() []Case {
	steady := func() []Write { return new(tape).run(40*ms, 5*ms, 40, 1, content).end(1000, 40, 0, -1).writes }
	want := plain(Want{Output: usageOf(40), Events: 40, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(235),
		Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)})
	bursts := new(tape)
	for i := range 10 {
		bursts.run(40*ms+time.Duration(i)*30*ms, 20*us, 16, 1, content)
	}
	bursts.end(1000, 160, 0, -1)
	lumps := new(tape)
	for i := range 10 {
		var data string
		var marks []Mark
		for range 16 {
			d, m := lumps.chat(content, 1)
			data, marks = data+d, append(marks, m)
		}
		lumps.add(40*ms+time.Duration(i)*30*ms, data, marks...)
	}
	lumps.end(1000, 160, 0, -1)
	return []Case{
		{
			Name: "kept connection closed by the server", Traps: []int{9}, Protocol: Chat, Asked: cold(40), HeadAt: 10 * ms, Expired: true,
			Naive: "finds out inside TTFT and connects again", Says: "a new connection before t_send, one request, TTFT 40 ms",
			Writes: steady(), Want: want,
		},
		{
			Name: "the client is late", Traps: []int{11}, Protocol: Chat, Asked: cold(40), HeadAt: 10 * ms, ReadLag: 5 * ms,
			Naive: "calls its own lag the server's", Says: "`client_bound` on the row",
			Writes: steady(), Want: want,
		},
		{
			Name: "a proxy that buffers, byte by byte", Traps: []int{10}, Protocol: Chat, Asked: cold(160), HeadAt: 10 * ms, Close: true,
			Naive: "latency 0.02 ms a token", Says: "`proxy_buffered`; median latency as it came",
			// 159 tokens from 40 to 310.3 ms. Gaps: 150 of 0.02 ms, 9 of 29.7 ms; index 150.1 of the p95 is a long one.
			Writes: bursts.writes,
			Want: plain(Want{Output: usageOf(160), Events: 160, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(310.3),
				Decode: is(159 / 0.2703), P50: is(0.02), P95: is(29.7), TokensPerEvent: is(1), Stalls: is(0), Flags: []string{"proxy_buffered"}}),
		},
		{
			Name: "a proxy that buffers, whole blocks", Traps: []int{10}, Protocol: Chat, Asked: cold(160), HeadAt: 10 * ms,
			Naive: "gaps of nothing between the events of one read", Says: "the events of a read merged, `coalesced`",
			Writes: lumps.writes,
			Want: plain(Want{Output: usageOf(160), Events: 160, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(310),
				Decode: is(144 / 0.270), P50: is(30.0 / 16), P95: is(30.0 / 16), TokensPerEvent: is(1), Stalls: is(0), Flags: []string{"coalesced"}}),
		},
	}
}
