package oracle

import (
	"math"
	"slices"
	"time"
)

// Truth is what follows from known tokens at known moments: milliseconds and tokens a second. A figure that has no value
// is NaN. Whether a client may know it is for the case to say.
type Truth struct {
	TTFT, TTFA, E2E, Decode, P50, P95, TokensPerEvent, Stalls float64
}

// arrival is what came in one write: one read, as far as a client can tell.
type arrival struct {
	at     float64 // ms
	tokens float64
	answer bool
	text   bool
}

// Truth calculates from the moments at which the writes were really made, after t_send. It has its own arithmetic on
// purpose: rates are counted token by token and percentiles over the list with every token written out.
func (c *Case) Truth(moments []time.Duration) Truth {
	nan := math.NaN()
	t := Truth{nan, nan, nan, nan, nan, nan, nan, nan}
	var got []arrival
	events, firstEvent, all, pending := 0, 0.0, 0.0, 0.0
	for i, w := range c.Writes {
		a := arrival{at: moments[i].Seconds() * 1000}
		for _, m := range w.Marks {
			a.tokens += m.Tokens
			if m.Kind == Silent {
				if events == 0 {
					firstEvent += m.Tokens
				}
				continue
			}
			if events == 0 {
				firstEvent += m.Tokens
			}
			events++
			a.text = true
			a.answer = a.answer || m.Kind != Reasoning
		}
		if !a.text { // silent tokens are seen with the next text, or never
			pending += a.tokens
			continue
		}
		a.tokens += pending
		pending = 0
		all += a.tokens
		got = append(got, a)
	}
	if len(got) == 0 {
		return t
	}
	first, last := got[0], got[len(got)-1]
	t.TTFT, t.E2E = first.at, last.at
	if i := slices.IndexFunc(got, func(a arrival) bool { return a.answer }); i >= 0 {
		t.TTFA = got[i].at
	}
	if events > 1 {
		t.TokensPerEvent = (all - firstEvent) / float64(events-1)
	}
	if len(got) < 2 {
		return t
	}
	t.Decode = (all - first.tokens) / (last.at - first.at) * 1000

	var each, gaps []float64
	whole, wait := true, 0.0
	for i, a := range got[1:] {
		gap := a.at - got[i].at
		gaps = append(gaps, gap)
		wait += gap
		whole = whole && a.tokens == math.Trunc(a.tokens)
		if a.tokens >= 1 {
			for range int(a.tokens) {
				each = append(each, wait/a.tokens)
			}
			wait = 0
		}
	}
	if whole && len(each) > 0 {
		t.P50, t.P95 = quantile(each, 0.50), quantile(each, 0.95)
	}
	limit := math.Max(250, 5*quantile(gaps, 0.5))
	t.Stalls = 0
	for _, g := range gaps {
		if g > limit {
			t.Stalls++
		}
	}
	return t
}

// quantile is Hyndman–Fan type 7.
func quantile(xs []float64, p float64) float64 {
	s := slices.Clone(xs)
	slices.Sort(s)
	h := p * float64(len(s)-1)
	lo := int(math.Floor(h))
	if lo+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[lo] + (h-float64(lo))*(s[lo+1]-s[lo])
}
