package measure

import (
	"time"

	"github.com/llm-speed/llm-speed/internal/stream"
)

// How a prefill rate came about (section 3): by the server's own time, or estimated by the client from two requests.
const (
	PrefillServer    = "server"
	PrefillEstimated = "estimated"
)

// server takes over the server's own figures, as rates by this project's rule (section 3).
func (s *Sample) server(t stream.ServerTiming) {
	s.ServerPrefill = s.serverPrefill(t)
	s.ServerDecode = s.serverDecode(t)
	s.ServerQueue = Unknown("the server states no queue time")
	if t.Queue > 0 {
		s.ServerQueue = Known(ms(t.Queue))
	}
}

func (s *Sample) serverPrefill(t stream.ServerTiming) Value {
	tokens := clean(t.PromptTokens)
	if t.Prefill <= 0 {
		return Unknown("the server states no prefill time")
	}
	if !tokens.Known() {
		return Unknown("the server does not state how many tokens its prefill took")
	}
	if tokens.From == stream.EventsCounted {
		return Unknown("prompt tokens are no events")
	}
	s.ServerPrefillSpan = Span{Tokens: tokens.N, Time: t.Prefill}
	n := tokens.N
	switch {
	case s.Failed():
		return Unknown("the stream failed: %s", s.Err)
	case s.Prompt.Known() && s.Cached.Known():
		// Some counters hold the cached tokens too, which no time was spent on.
		n = min(n, s.Prompt.N-s.Cached.N)
	case !s.Cached.Known() && !s.Asked.Cold:
		return Unknown("the server does not say how many of its %d prompt tokens came from a cache", n)
	}
	if n < MinTokens {
		return Unknown("too few uncached prompt tokens (%d of %d)", max(n, 0), MinTokens)
	}
	s.ServerPrefillSpan.Tokens = n
	return per(float64(n), t.Prefill)
}

func (s *Sample) serverDecode(t stream.ServerTiming) Value {
	if t.Decode <= 0 || t.DecodeTokens <= 0 {
		return Unknown("the server states no decode time with its tokens")
	}
	s.ServerDecodeSpan = Span{Tokens: t.DecodeTokens, Time: t.Decode}
	switch {
	case s.Failed():
		return Unknown("the stream failed: %s", s.Err)
	case t.DecodeTokens < MinTokens:
		return Unknown("too few tokens in the server's decode time (%d of %d)", t.DecodeTokens, MinTokens)
	}
	return per(float64(t.DecodeTokens), t.Decode)
}

// The limits under which a difference of two TTFT is noise (section 3).
const (
	minPrefillTime  = 5 * time.Millisecond
	minPrefillShare = 0.20
	// maxPrefillNoise is by how much probes alike may differ in TTFT, as a share of the difference that is taken for prefill: on
	// a path that is early or late by more than that a rate would be luck.
	maxPrefillNoise = 0.05
)

// Unsteady is in the reason of an estimate that is none because probes alike took unlike times.
const Unsteady = "what prefill takes can't be told from what the path does"

// Probe is the short cold prompt that an estimated prefill rate is taken against (section 3): its tokens, and of the requests
// that were made of such a prompt the median TTFT and by how much the latest was later than the first.
type Probe struct {
	Tokens int
	TTFT   time.Duration
	Noise  time.Duration // 0 of a single request, which does not show it
}

// PrefillByClient is the client's estimate of the prefill rate, tok/s, from a prompt of p tokens and a probe in the same run
// (section 3). Both must be cold: see PrefillEstimate, which checks that.
func PrefillByClient(p int, ttft time.Duration, probe Probe) Value {
	p0, d := probe.Tokens, ttft-probe.TTFT
	switch {
	case p0 < 0 || probe.TTFT <= 0 || ttft <= 0:
		return Unknown("the prompt or the probe has no TTFT")
	case p-p0 < MinTokens:
		return Unknown("the prompt (%d tokens) is hardly longer than the probe (%d)", p, p0)
	case d < minPrefillTime:
		return Unknown("TTFT of %d and of %d tokens differ by %.3g ms, less than 5: prefill does not show", p, p0, ms(d))
	case float64(d) < minPrefillShare*float64(ttft):
		return Unknown("TTFT of %d and of %d tokens differ by %.3g %%, less than 20: prefill does not show", p, p0, 100*float64(d)/float64(ttft))
	case float64(probe.Noise) > maxPrefillNoise*float64(d):
		return Unknown("TTFT of %d and of %d tokens differ by %.3g ms, and that of the short ones alone by %.3g ms: "+Unsteady, p, p0, ms(d), ms(probe.Noise))
	}
	return per(float64(p-p0), d)
}

// PrefillEstimate is PrefillByClient over two samples, unknown unless both are cold and counted.
func PrefillEstimate(s, probe *Sample) Value {
	for _, x := range []*Sample{s, probe} {
		switch {
		case x.Failed():
			return Unknown("the stream failed: %s", x.Err)
		case x.Cold != ColdProved && x.Cold != ColdAssumed:
			return Unknown("not both cold")
		case !countable(x.Prompt):
			return Unknown("the server does not state the prompt's length")
		case !x.TTFT.Known:
			return x.TTFT
		}
	}
	return PrefillByClient(s.Prompt.N, s.First-s.Send, Probe{Tokens: probe.Prompt.N, TTFT: probe.First - probe.Send})
}

// countable reports whether a count may be part of a figure: it is known, and not a count of events.
func countable(c stream.Count) bool { return c.Known() && c.From != stream.EventsCounted && c.N >= 0 }
