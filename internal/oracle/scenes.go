package oracle

import (
	"math"
	"strings"
	"time"
)

// Scenes are what every dialect is tried with, as far as it can express them. Most have a counterpart among Cases, with its
// figures worked out there.
func Scenes() []Scene {
	var all []Scene
	for _, part := range [][]Scene{countScenes(), hiddenScenes(), shortScenes(), cacheScenes(), wireScenes(), faultScenes()} {
		all = append(all, part...)
	}
	return all
}

// how is how the tokens of a stream's events are known.
func (d *Dialect) how(otherwise string) string {
	if d.can(Each) {
		return "stated"
	}
	return otherwise
}

// same gives one Want to every dialect, but for how the tokens of its events are known.
func same(otherwise string, w Want) func(*Dialect) Want {
	return func(d *Dialect) Want {
		w := w
		w.How = d.how(otherwise)
		w.Flags = append([]string(nil), w.Flags...)
		return w
	}
}

// thought is same for a stream with reasoning: what is a summary at most can't be put beside the count of what was thought.
func thought(w Want) func(*Dialect) Want {
	return func(d *Dialect) Want {
		w := same("one a token", w)(d)
		if d.can(Summarises) {
			w.How = ""
			w.Decode, w.P50, w.P95, w.TokensPerEvent = summary, summary, summary, summary
		}
		return w
	}
}

// steady is what is true of 40 tokens in 40 events, 5 ms apart, from 40 ms on.
var steady = Want{Events: 40, TTFT: is(40), TTFA: is(40), E2E: is(235), Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)}

func (s *script) scene(name, naive, says string, output int, traps ...int) Scene {
	return Scene{Name: name, Traps: traps, Naive: naive, Says: says, Asked: cold(output), HeadAt: 10 * ms, Beats: s.beats,
		Totals: Totals{Prompt: 1000, Finish: "length", PromptMS: 32}}
}

// with changes a scene.
func (s Scene) with(f func(*Scene)) Scene {
	f(&s)
	return s
}

// countScenes are about tokens and events that are not the same.
func countScenes() []Scene {
	uneven := new(script).do(12*ms, Opens)
	for i := range 48 {
		uneven.say(40*ms+time.Duration(i)*5*ms, 0, 1, i%3+1, Answer)
	}
	uneven.do(276*ms, Closes)
	between := new(script).do(12*ms, Opens)
	for i := range 20 { // silent, text, text
		at := 40*ms + time.Duration(i)*15*ms
		between.hush(at, 0, 1).say(at+5*ms, 5*ms, 2, 1, Answer)
	}
	between.do(341*ms, Closes)
	return []Scene{
		new(script).do(12*ms, Opens).say(40*ms, 2*ms, 140, 1, Answer).do(319*ms, Closes).
			scene("plain", "nothing: every event is one token", "all figures", 140, 1).with(func(s *Scene) {
			s.Totals.DecodeMS = 278
			s.Want = same("one a token", Want{Events: 140, TTFT: is(40), TTFA: is(40), E2E: is(318), Decode: is(500), P50: is(2), P95: is(2), TokensPerEvent: is(1), Stalls: is(0)})
		}),
		new(script).do(12*ms, Opens).say(40*ms, 4*ms, 64, 2, Answer).do(293*ms, Closes).
			scene("two tokens an event", "counts events: half the rate", "500 tok/s, `coalesced`", 128, 1).with(func(s *Scene) {
			s.Totals.DecodeMS = 254
			s.Want = same("estimated", Want{Events: 64, TTFT: is(40), TTFA: is(40), E2E: is(292), Decode: is(500), P50: is(2), P95: fewTokens, TokensPerEvent: is(2), Stalls: is(0), Flags: []string{"coalesced"}})
		}),
		uneven.scene("one, two, three tokens an event", "counts events, or spreads the tokens where the server says how they lie", "the rate by the tokens of each event, or by an even spread", 96, 1).with(func(s *Scene) {
			s.Totals.DecodeMS = 235
			s.Want = func(d *Dialect) Want {
				w := Want{Events: 48, How: "estimated", TTFT: is(40), TTFA: is(40), E2E: is(275), Decode: is(94 / 0.235), P50: is(2.5), P95: fewTokens, TokensPerEvent: is(2), Stalls: is(0), Flags: []string{"coalesced"}}
				if d.can(Each) { // the first event holds one token, not two
					w.How, w.Decode, w.P50, w.TokensPerEvent = "stated", is(95/0.235), is(5.0/3), is(95.0/47)
				}
				return w
			}
		}),
		new(script).do(120*ms, Opens).say(500*ms, 5*ms, 32, 1, Answer).do(656*ms, Closes).
			scene("opening long before the first token", "TTFT 120 instead of 500 ms", "TTFT 500 ms", 32, 2).with(func(s *Scene) {
			s.HeadAt, s.Totals.DecodeMS, s.Totals.PromptMS = 119*ms, 155, 400
			s.Want = same("one a token", Want{Events: 32, TTFT: is(500), TTFA: is(500), E2E: is(655), Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)})
		}),
		new(script).do(12*ms, Opens).do(20*ms, Pings).do(30*ms, Pings).say(40*ms, 5*ms, 20, 1, Answer).do(137*ms, Pings).say(140*ms, 5*ms, 20, 1, Answer).do(236*ms, Closes).
			scene("signs of life before and between", "TTFT 20 ms; a gap of 3 ms", "all figures, as if they were not there", 40, 2, 19).with(func(s *Scene) {
			s.Needs, s.Totals.DecodeMS, s.Want = Pinging, 195, same("one a token", steady)
		}),
		new(script).do(12*ms, Opens).do(20*ms, Progresses).do(30*ms, Progresses).say(40*ms, 5*ms, 40, 1, Answer).do(236*ms, Closes).
			scene("progress before the first token", "TTFT 20 instead of 40 ms", "all figures, as if it were not there", 40, 2).with(func(s *Scene) {
			s.Needs, s.Totals.DecodeMS, s.Want = Progress, 195, same("one a token", steady)
		}),
		between.scene("tokens without text between", "counts 40 events: 134.5 tok/s", "200 tok/s where the server says so, an estimate where its clock bears it out, no rate otherwise", 60, 5).with(func(s *Scene) {
			s.Totals.DecodeMS = 295
			s.Want = func(d *Dialect) Want {
				// t_1 = 45, t_L = 335; by an even spread 1.5 tokens an event, whose latencies can't be written out.
				w := Want{Events: 40, How: "estimated", TTFT: is(45), TTFA: is(45), E2E: is(335), Decode: is(58.5 / 0.290), P50: is(math.NaN()), P95: fewTokens, TokensPerEvent: is(1.5), Stalls: is(0), Flags: []string{"coalesced"}}
				switch {
				case d.can(Each):
					w.How, w.Decode, w.P50, w.TokensPerEvent = "stated", is(58/0.290), is(5), is(58.0/39)
				case d.Can&(Decodes|Reasons) == 0:
					w.Decode, w.P50, w.P95, w.TokensPerEvent, w.Flags = no("told apart"), no("told apart"), no("told apart"), no("told apart"), nil
				}
				return w
			}
		}),
		new(script).do(12*ms, Opens).say(40*ms, 5*ms, 40, 1, Answer).hush(240*ms, ms, 100).do(341*ms, Closes).
			scene("tokens without text at the end", "712.8 instead of 200 tok/s: it divides by a time in which they were not made", "200 tok/s where the server counts as it goes, no rate otherwise", 140, 5, 17).with(func(s *Scene) {
			s.Totals.DecodeMS = 300
			s.Want = func(d *Dialect) Want {
				w := steady
				w.How = "estimated"
				w.Decode, w.P50, w.P95, w.TokensPerEvent = no("can't be told apart"), no("told apart"), no("told apart"), no("told apart")
				if d.can(Each) {
					w.How, w.Decode, w.P50, w.P95, w.TokensPerEvent = "stated", is(200), is(5), fewTokens, is(1)
				}
				return w
			}
		}),
		new(script).do(12*ms, Opens).say(40*ms, 5*ms, 40, 1, Answer).hush(240*ms, 0, 1).do(241*ms, Closes).
			scene("the end-of-text token counted", "205.1 instead of 200 tok/s", "200 tok/s, `early_stop`", 64, 5, 14).with(func(s *Scene) {
			s.Totals.Finish, s.Totals.DecodeMS = "stop", 200
			s.Want = func(d *Dialect) Want {
				w := steady
				w.How, w.Flags = d.how("one a token"), []string{"early_stop"}
				return w
			}
		}),
		new(script).do(12*ms, Opens).say(40*ms, 4*ms, 16, 2, Answer).say(400*ms, 4*ms, 16, 2, Answer).do(461*ms, Closes).
			scene("a stall in the middle", "leaves the stall out", "one stall, and the rate over the whole", 64, 1).with(func(s *Scene) {
			s.Totals.DecodeMS = 420
			// 62 tokens from 40 to 460; the stall is 300 ms, in which two tokens came.
			s.Want = same("estimated", Want{Events: 32, TTFT: is(40), TTFA: is(40), E2E: is(460), Decode: is(62 / 0.420), P50: is(2), P95: fewTokens, TokensPerEvent: is(2), Stalls: is(1), Flags: []string{"coalesced"}})
		}),
		new(script).do(12*ms, Opens).say(40*ms, 5*ms, 20, 1, Answer).forget(136*ms, 5).say(140*ms, 5*ms, 20, 1, Answer).do(236*ms, Closes).
			scene("counts that run backwards", "negative tokens", "200 tok/s by the total, `contradiction`: the running counts are not used", 40, 1).with(func(s *Scene) {
			s.Needs, s.Spoilt, s.Totals.DecodeMS = Each, IDs|Raw, 195
			s.Want = func(*Dialect) Want {
				w := steady
				w.How, w.Flags = "one a token", []string{"contradiction"}
				return w
			}
		}),
		new(script).do(12*ms, Opens).say(40*ms, 5*ms, 40, 1, Answer).do(236*ms, Closes).
			scene("no counts", "takes 40 events for 40 tokens", "no rate: the server counts no tokens", 40, 4).with(func(s *Scene) {
			s.Needs, s.Spoilt, s.Totals.Uncounted, s.Totals.PromptMS = Optional, Each, true, 0
			s.Want = func(*Dialect) Want {
				w := steady
				w.Output, w.Decode, w.P50, w.P95, w.TokensPerEvent = Count{40, "E"}, uncounted, uncounted, uncounted, uncounted
				w.Flags = []string{"count_provenance_E"}
				return w
			}
		}),
	}
}

// hiddenScenes are about reasoning and tool calls.
func hiddenScenes() []Scene {
	return []Scene{
		new(script).do(12*ms, Opens).say(40*ms, 5*ms, 16, 1, Reasoning).say(120*ms, 5*ms, 48, 1, Answer).do(356*ms, Closes).
			scene("reasoning first", "TTFT 120 instead of 40 ms", "TTFT 40 ms, TTFA 120 ms", 64, 3).with(func(s *Scene) {
			s.Needs, s.Totals.DecodeMS = Thinks, 315
			s.Want = thought(Want{Events: 64, TTFT: is(40), TTFA: is(120), E2E: is(355), Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)})
		}),
		new(script).do(12*ms, Opens).say(40*ms, 5*ms, 40, 1, Reasoning).do(236*ms, Closes).
			scene("nothing but reasoning", "no TTFT", "TTFT 40 ms, TTFA null", 40, 3).with(func(s *Scene) {
			s.Needs, s.Totals.DecodeMS = Thinks, 195
			w := steady
			w.TTFA = onlyThinking
			s.Want = thought(w)
		}),
		new(script).do(12*ms, Opens).say(20*ms, 5*ms, 64, 1, Answer).do(336*ms, Closes).
			scene("hidden reasoning", "1152.4 instead of 200 tok/s", "200 tok/s where the server counts it apart, no rate otherwise", 364, 17).with(func(s *Scene) {
			s.Spoilt, s.Totals.Hidden, s.Totals.PromptMS = Raw, 300, 0
			s.Want = func(d *Dialect) Want {
				w := Want{Events: 64, How: "estimated", TTFT: is(20), TTFA: is(20), E2E: is(335), Decode: no("can't be told apart"), P50: no("told apart"), P95: no("told apart"), TokensPerEvent: no("told apart"), Stalls: is(0)}
				if d.can(Each) || d.can(Reasons) {
					w.How, w.Decode, w.P50, w.P95, w.TokensPerEvent = d.how("one a token"), is(200), is(5), fewTokens, is(1)
				}
				return w
			}
		}),
		new(script).do(12*ms, Opens).say(40*ms, 5*ms, 20, 1, Answer).say(140*ms, 5*ms, 20, 1, Tool).do(236*ms, Closes).
			scene("a tool call, piece by piece", "loses the call's tokens", "all figures, `early_stop`; the call is part of the answer", 40, 15).with(func(s *Scene) {
			s.Needs, s.Totals.Finish, s.Totals.DecodeMS = Calls, "tool_calls", 195
			w := steady
			w.Flags = []string{"early_stop"} // the model ended by itself
			s.Want = same("one a token", w)
		}),
	}
}

// shortScenes are about streams that have too little.
func shortScenes() []Scene {
	nothing := Want{TTFT: noText, TTFA: noText, E2E: noText, Decode: noText, P50: noText, P95: noText, TokensPerEvent: noText, Stalls: noText}
	lump := new(script).do(12*ms, Opens).say(200*ms, 0, 64, 1, Answer).do(201*ms, Closes)
	return []Scene{
		new(script).do(12*ms, Opens).do(60*ms, Closes).
			scene("no tokens", "TTFT 12 ms, or 0", "TTFT and rates null, `early_stop`", 64, 14).with(func(s *Scene) {
			s.Spoilt, s.Totals.Finish, s.Totals.PromptMS = ZeroLess, "stop", 0
			s.Want = func(*Dialect) Want {
				w := nothing
				w.Flags = []string{"early_stop"}
				return w
			}
		}),
		new(script).do(12*ms, Opens).hush(20*ms, 5*ms, 20).do(121*ms, Closes).
			scene("tokens and no text", "TTFT of the first empty event", "20 tokens; TTFT and rates null", 20, 5, 14).with(func(s *Scene) {
			s.Totals.PromptMS, s.Totals.DecodeMS = 16, 95
			s.Want = func(*Dialect) Want { return nothing }
		}),
		new(script).do(12*ms, Opens).say(40*ms, 0, 1, 1, Answer).do(41*ms, Closes).
			scene("one token", "a rate out of no time", "TTFT 40 ms; rates null", 1, 14).with(func(s *Scene) {
			s.Want = same("one a token", Want{Events: 1, TTFT: is(40), TTFA: is(40), E2E: is(40), Decode: no("one text-bearing event"), P50: noGaps, P95: noGaps, TokensPerEvent: no("one event"), Stalls: noGaps})
		}),
		new(script).do(12*ms, Opens).say(40*ms, 5*ms, 16, 1, Answer).do(116*ms, Closes).
			scene("16 tokens: 15 after the first", "a rate from 15 tokens", "no rate: too few tokens", 16, 14).with(func(s *Scene) {
			s.Totals.DecodeMS = 75
			s.Want = same("one a token", Want{Events: 16, TTFT: is(40), TTFA: is(40), E2E: is(115), Decode: no("too few tokens"), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)})
		}),
		new(script).do(12*ms, Opens).say(40*ms, 5*ms, 17, 1, Answer).do(121*ms, Closes).
			scene("17 tokens: 16 after the first", "divides 17 tokens by the time of 16", "200 tok/s", 17, 14).with(func(s *Scene) {
			s.Totals.DecodeMS = 80
			s.Want = same("one a token", Want{Events: 17, TTFT: is(40), TTFA: is(40), E2E: is(120), Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)})
		}),
		new(script).do(12*ms, Opens).say(40*ms, 5*ms, 30, 1, Answer).do(186*ms, Closes).
			scene("early stop", "compares 30 tokens with 64", "200 tok/s, `early_stop`", 64, 14).with(func(s *Scene) {
			s.Totals.Finish, s.Totals.DecodeMS = "stop", 145
			s.Want = same("one a token", Want{Events: 30, TTFT: is(40), TTFA: is(40), E2E: is(185), Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0), Flags: []string{"early_stop"}})
		}),
		lump.scene("all in one read", "divides 64 tokens by microseconds", "no rate: all events came in one read", 64, 10, 14).with(func(s *Scene) {
			s.Totals.DecodeMS = 126
			s.Want = same("one a token", Want{Events: 64, TTFT: is(200), TTFA: is(200), E2E: is(200), Decode: oneRead, P50: noGaps, P95: noGaps, TokensPerEvent: is(1), Stalls: noGaps, Flags: []string{"coalesced"}})
		}),
	}
}

// cacheScenes are about the prompt.
func cacheScenes() []Scene {
	scene := func(name, naive, says string, f func(*Scene), traps ...int) Scene {
		return new(script).do(12*ms, Opens).say(40*ms, 5*ms, 40, 1, Answer).do(236*ms, Closes).scene(name, naive, says, 40, traps...).with(func(s *Scene) {
			s.Totals.DecodeMS, s.Want = 195, same("one a token", steady)
			f(s)
		})
	}
	drift := steady
	drift.Flags = []string{"prompt_drift"}
	return []Scene{
		scene("a cold prompt from the cache", "calls a cache hit prefill", "`cache_contaminated` where the server says so, cold is assumed otherwise", func(s *Scene) { s.Totals.Cached = 512 }, 7),
		scene("prefill of a cached prompt", "80,000 instead of 8,000 tok/s: it divides the whole prompt by the time of its uncached part", "8,000 tok/s where the cached part is known, null otherwise", func(s *Scene) {
			s.Asked.Reuse, s.Totals.Cached, s.Totals.PromptMS = true, 900, 12.5
		}, 8),
		scene("all but one token cached", "a rate from one token", "server prefill null", func(s *Scene) {
			s.Asked.Reuse, s.Totals.Cached, s.Totals.PromptMS = true, 999, 5
		}, 7, 8),
		scene("prompt longer than asked", "takes the length that it asked for", "the server's count, `prompt_drift`", func(s *Scene) {
			s.Totals.Prompt, s.Want = 1011, same("one a token", drift)
		}, 6),
	}
}

// wireScenes are the steady stream in other bytes.
func wireScenes() []Scene {
	scene := func(name, naive string, f func(*Scene)) Scene {
		return new(script).do(12*ms, Opens).say(40*ms, 5*ms, 40, 1, Answer).do(236*ms, Closes).scene(name, naive, "all figures, as if nothing were odd", 40, 19).with(func(s *Scene) {
			s.Totals.DecodeMS, s.Want = 195, same("one a token", steady)
			f(s)
		})
	}
	replace := func(pairs ...string) func(string) string { return strings.NewReplacer(pairs...).Replace }
	middle := func(s string) int { return len(s) / 2 }
	wide := func(s *Scene) {
		words := [...]string{" é東🐀", " ñ京🐁", " ü都🐂"}
		n := 0
		for i := range s.Beats {
			if s.Beats[i].Act == Says {
				s.Beats[i].Text = words[n%len(words)]
				n++
			}
		}
	}
	inside := func(s string) int {
		for _, c := range []string{"東", "京", "都"} {
			if i := strings.LastIndex(s, c); i >= 0 {
				return i + 2
			}
		}
		return len(s) / 2 // the dialect does not send it as it is
	}
	return []Scene{
		scene("CRLF", "finds no end of a line", func(s *Scene) { s.bytes = replace("\n", "\r\n") }),
		scene("events in three writes", "stamps an event before it is whole, or loses it", func(s *Scene) {
			s.cut = func(t *tape) { t.split(2*ms, middle).split(ms, middle) }
		}),
		scene("cut inside a UTF-8 character", "loses the character, or stamps the first half", func(s *Scene) {
			s.Traps = []int{5}
			wide(s)
			s.cut = func(t *tape) { t.split(2*ms, inside) }
		}),
		scene("no space after the field name", "looks for \"data: \"", func(s *Scene) {
			s.Needs, s.bytes = EventSSE, replace("data: ", "data:", "event: ", "event:")
		}),
		scene("comments and other fields", "takes them for events", func(s *Scene) {
			s.Needs = EventSSE
			s.bytes = func(data string) string { return ": keep-alive\n\nid: 7\nretry: 10\n" + data }
		}),
		scene("a long comment", "gives up at 64 KiB", func(s *Scene) {
			s.Needs = EventSSE
			n := 0
			s.bytes = func(data string) string {
				if n++; n == 20 {
					return ": " + strings.Repeat("y", 200<<10) + "\n" + data
				}
				return data
			}
		}),
		scene("body until the connection closes", "waits for a length", func(s *Scene) { s.frame = UntilClose }),
		scene("chunks of seven bytes", "takes a chunk for an event", func(s *Scene) { s.frame = Crumbs }),
		scene("one chunk filled by many writes", "waits for the chunk to be whole", func(s *Scene) { s.frame = OneChunk }),
	}
}
