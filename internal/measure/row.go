package measure

import (
	"fmt"

	"github.com/llm-speed/llm-speed/internal/stats"
)

// Each takes one figure of every request that did not fail: Median(Each(samples, TTFT)).
func Each(samples []Sample, of func(*Sample) Value) []Value {
	var vs []Value
	var failed string
	for i := range samples {
		if samples[i].Failed() {
			failed = samples[i].Err
			continue
		}
		vs = append(vs, of(&samples[i]))
	}
	if len(vs) == 0 && failed != "" {
		return []Value{Unknown("every request failed: %s", failed)}
	}
	return vs
}

// Latency is ITL pooled over all tokens of all requests, ms, each percentile with its floor (section 4).
type Latency struct {
	P50, P95, P99 Value
	Tokens        float64 // how many tokens it stands on
}

// ITL pools the latencies of the requests that did not fail. Tokens of one stream follow each other closely, so that the
// pool knows less than so many separate samples would.
func ITL(samples []Sample) Latency {
	var pool []stats.Weighted
	why := "no samples"
	for i := range samples {
		s := &samples[i]
		if s.Failed() {
			continue
		}
		pool = append(pool, s.ITL...)
		if !s.Window.Known {
			why = s.Window.Why
		} else if s.MaxGap.Why != "" {
			why = s.MaxGap.Why
		}
	}
	at := func(p float64) Value {
		if len(pool) == 0 {
			return Value{Why: why}
		}
		x, ok, why := stats.WeightedTail(pool, p)
		if !ok {
			return Value{Why: why}
		}
		return Known(x)
	}
	return Latency{P50: at(0.50), P95: at(0.95), P99: at(0.99), Tokens: stats.Total(pool)}
}

// Spread is what several passes say together about one figure (section 4).
type Spread struct {
	Headline  Value   // median over passes
	CV        Value   // a fraction
	Low, High Value   // 95 % interval of the mean over passes
	Passes    int     // with a known figure
	Values    []Value // by pass
}

// unstableCV is the coefficient of variation above which a row is unstable once its budget is spent (section 4).
const unstableCV = 0.05

// Over aggregates one figure over passes (section 4). CV and the interval need two passes.
func Over(passes []Value) Spread {
	xs, why := known(passes)
	s := Spread{Headline: Median(passes), Passes: len(xs), Values: passes}
	if len(xs) == 1 {
		why = "one pass"
	}
	if len(xs) > 0 && !s.Headline.Known {
		xs, why = nil, s.Headline.Why
	}
	s.CV, s.Low, s.High = Value{Why: why}, Value{Why: why}, Value{Why: why}
	if len(xs) < 2 {
		return s
	}
	if cv, ok := stats.CV(xs); ok {
		s.CV = Known(cv)
	} else {
		s.CV = Unknown("the mean is 0")
	}
	if low, high, ok := stats.CI95(xs); ok {
		s.Low, s.High = Known(max(0, low)), Known(high) // no figure of this package is below 0
	}
	return s
}

// Unstable raises the flag for a figure whose spread is above 5 % (section 4); the caller knows whether the budget is spent.
func (s Spread) Unstable(name string) (Flag, bool) {
	if !s.CV.Known || s.CV.X <= unstableCV {
		return Flag{}, false
	}
	return Flag{Unstable, fmt.Sprintf("%s varies by %.1f %% over %d passes (limit 5)", name, 100*s.CV.X, s.Passes)}, true
}

// Wanting reports whether one more pass may narrow the spread; the rows with the largest go first.
func (s Spread) Wanting() bool { return !s.CV.Known || s.CV.X > unstableCV }
