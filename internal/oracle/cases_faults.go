package oracle

import "github.com/llm-speed/llm-speed/drivers"

// faultCases are about answers that fail: trap 18, and 10 for gzip.
func faultCases() []Case {
	start := func() *tape { return new(tape).run(40*ms, 5*ms, 20, 1, content) }
	bad := func(err error) Want { // 20 events came; nothing is known of their tokens
		return plain(Want{Output: Count{20, "E"}, Events: 20, TTFT: is(40), TTFA: is(40), E2E: failed,
			Decode: uncounted, P50: uncounted, P95: uncounted, TokensPerEvent: uncounted, Stalls: is(0), Cold: "assumed",
			Finish: "-", Flags: []string{"errors", "count_provenance_E", "cold_unproved"}, Err: err})
	}
	counted := func(err error) Want { // as above, but the events say how many tokens they hold
		return plain(Want{Output: usageOf(20), Events: 20, How: "stated", TTFT: is(40), TTFA: is(40), E2E: failed,
			Decode: failed, P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0), Cold: "assumed",
			Finish: "-", Flags: []string{"errors", "cold_unproved"}, Err: err})
	}
	native := func() *tape { return new(tape).native(40*ms, 5*ms, 20, 1, Answer) }
	nothing := func(err error) Want {
		return plain(Want{TTFT: noText, TTFA: noText, E2E: failed, Decode: noText, P50: noText, P95: noText, TokensPerEvent: noText, Stalls: noText,
			Cold: "assumed", Finish: "-", Flags: []string{"errors", "cold_unproved"}, Err: err})
	}
	c := func(name, naive string, p Protocol, w []Write, want Want) Case {
		if p == LlamaCpp && want.Output.From == "A" {
			want.Prompt, want.Cached = unknown, unknown
		}
		return Case{Name: name, Traps: []int{18}, Protocol: p, Asked: cold(64), HeadAt: 10 * ms, Naive: naive,
			Says: "the stream failed, says why, and is part of no rate", Writes: w, Want: want}
	}
	cut := c("connection closed half-way", "takes 20 tokens for an early stop", Chat, start().writes, bad(drivers.ErrTruncated))
	cut.End = Cut
	reset := c("connection reset half-way", "tries again inside the sample", Chat, start().writes, bad(drivers.ErrReset))
	reset.End = Reset
	nativeReset := c("connection reset half-way, counted", "takes 20 tokens for an early stop", LlamaCpp, native().writes, counted(drivers.ErrReset))
	nativeReset.End = Reset
	busy := c("HTTP 503", "TTFT of the error page", Chat, new(tape).add(20*ms, `{"error":{"message":"Loading model","type":"unavailable_error","code":503}}`).writes, nothing(drivers.ErrOverloaded))
	busy.Status, busy.Framing = 503, Length
	limited := c("HTTP 429", "tries again inside the sample", LlamaCpp, new(tape).add(20*ms, `{"error":{"message":"slow down","code":429}}`).writes, nothing(drivers.ErrRateLimited))
	limited.Status, limited.Framing = 429, Length
	gzip := c("gzip although identity was asked", "stamps what the compressor let go", Chat, new(tape).add(40*ms, "\x1f\x8b\x08\x00\x00\x00\x00\x00").add(80*ms, "\x00\x00\xff\xff").writes, nothing(drivers.ErrProtocol))
	gzip.Header, gzip.Traps = map[string]string{"Content-Encoding": "gzip"}, []int{10}
	gzip.Says = "the stream failed: the body is encoded"
	return []Case{
		c("error object inside a 200 stream", "takes 20 tokens for an early stop", Chat, start().add(150*ms, event(`{"error":{"message":"out of memory","type":"server_error","code":500}}`)+done).writes, bad(drivers.ErrServer)),
		c("rate limit inside a 200 stream", "takes 20 tokens for an early stop", Chat, start().add(150*ms, event(`{"error":{"message":"slow down","code":429}}`)).writes, bad(drivers.ErrRateLimited)),
		c("error line of an old llama.cpp", "takes 20 tokens for an early stop", LlamaCpp, native().add(150*ms, "error: {\"code\":500,\"message\":\"compute failed\"}\n\n").writes, counted(drivers.ErrServer)),
		c("error object, llama.cpp", "takes 20 tokens for an early stop", LlamaCpp, native().add(150*ms, event(`{"error":{"code":500,"message":"compute failed","type":"server_error"}}`)).writes, counted(drivers.ErrServer)),
		c("no end mark and no finish reason", "takes 20 tokens for an early stop", Chat, start().writes, bad(drivers.ErrTruncated)),
		c("no final event, llama.cpp", "takes 20 tokens for an early stop", LlamaCpp, native().writes, counted(drivers.ErrTruncated)),
		c("cut inside an event", "counts the half event", Chat, start().add(150*ms, `data: {"choices":[{"index":0,"delta":{"content":" ha`).writes, bad(drivers.ErrTruncated)),
		c("garbage inside the stream", "skips it in silence", Chat, start().add(150*ms, "data: {not json}\n\n").add(155*ms, finish("length")+usage(1000, 20, 0, -1)+done).writes, bad(drivers.ErrProtocol)),
		cut, reset, nativeReset, busy, limited, gzip,
	}
}
