package oracle

import "github.com/llm-speed/llm-speed/drivers"

// faultScenes are about answers that fail after 20 tokens, or at once.
func faultScenes() []Scene {
	lost := func(err error) func(*Dialect) Want {
		return func(d *Dialect) Want {
			w := Want{Output: Count{20, "E"}, Events: 20, TTFT: is(40), TTFA: is(40), E2E: failed,
				Decode: uncounted, P50: uncounted, P95: uncounted, TokensPerEvent: uncounted, Stalls: is(0), Finish: "-", Err: err, Flags: []string{"errors", "count_provenance_E"}}
			if d.can(Each) {
				w.Output, w.How, w.Flags = Count{20, "A"}, "stated", []string{"errors"}
				w.Decode, w.P50, w.P95, w.TokensPerEvent = failed, is(5), fewTokens, is(1)
			}
			return w
		}
	}
	nothing := func(err error) func(*Dialect) Want {
		return func(*Dialect) Want {
			return Want{TTFT: noText, TTFA: noText, E2E: failed, Decode: noText, P50: noText, P95: noText, TokensPerEvent: noText, Stalls: noText,
				Finish: "-", Err: err, Flags: []string{"errors"}}
		}
	}
	scene := func(name, naive string, err error, f func(*Scene, *script)) Scene {
		text := new(script).do(12*ms, Opens).say(40*ms, 5*ms, 20, 1, Answer)
		s := text.scene(name, naive, "the stream failed, says why, and is part of no rate", 64, 18)
		s.Want = lost(err)
		f(&s, text)
		s.Beats = text.beats
		return s
	}
	const early = "takes 20 tokens for an early stop"
	status := func(name string, code int, err error) Scene {
		return scene(name, "TTFT of the error page", err, func(s *Scene, t *script) {
			t.beats = nil
			t.do(20*ms, Breaks)
			s.Status, s.Want = code, nothing(err)
		})
	}
	return []Scene{
		scene("error object inside the stream", early, drivers.ErrServer, func(_ *Scene, t *script) { t.do(150*ms, Breaks) }),
		scene("overload inside the stream", early, drivers.ErrOverloaded, func(s *Scene, t *script) {
			s.Needs = Sheds
			t.do(150*ms, Overloads)
		}),
		scene("no end mark", early, drivers.ErrTruncated, func(*Scene, *script) {}),
		scene("cut inside an event", "counts the half event", drivers.ErrTruncated, func(_ *Scene, t *script) { t.do(150*ms, Halves) }),
		scene("garbage inside the stream", "skips it in silence", drivers.ErrProtocol, func(_ *Scene, t *script) { t.do(150*ms, Babbles) }),
		scene("connection closed half-way", early, drivers.ErrTruncated, func(s *Scene, _ *script) { s.End = Cut }),
		scene("connection reset half-way", "tries again inside the sample", drivers.ErrReset, func(s *Scene, _ *script) { s.End = Reset }),
		status("HTTP 503", 503, drivers.ErrOverloaded),
		status("HTTP 429", 429, drivers.ErrRateLimited),
	}
}
