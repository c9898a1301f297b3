package measure

import (
	"fmt"
	"slices"
	"time"

	"github.com/llm-speed/llm-speed/internal/stats"
)

// Together is a set of streams released by one barrier, measured (W4 of section 4).
type Together struct {
	Aggregate    Value         // tok/s over the overlap
	Span         Value         // tok/s, all output tokens over first t_send to last t_L
	W0, W1       time.Duration // overlap on the run's clock; both 0 where there is none
	WindowTokens float64       // in (W0, W1]; 0 where unknown
	PerStream    Value         // p50 of D, tok/s
	PerStreamP5  Value         // p5 of D
	Fairness     Value         // least D over greatest
	Parallelism  int           // most streams at once between their t_1 and t_L
	Flags        []Flag        // of the batch; those of its streams are with them
}

// Overlap is the time in which all streams decoded, ms.
func (t Together) Overlap() Value {
	if t.W1 <= t.W0 {
		return Unknown("no overlap")
	}
	return Known(ms(t.W1 - t.W0))
}

// Batch measures streams of one barrier (W4 of section 4). One failed stream, or one whose tokens are not known, leaves
// every rate unknown: what ran beside the others is then another load than the row names.
//
// A step counts in the window when w0 < t <= w1: what arrives at w0, the last stream's first tokens among it, was made
// before w0. The window of one stream is then exactly that of its D.
func Batch(samples []Sample) Together {
	var t Together
	t.Parallelism = parallelism(samples)
	if t.Parallelism > 0 && t.Parallelism < len(samples) {
		t.Flags = append(t.Flags, Flag{ServerQueued, fmt.Sprintf("%d streams were released together, at most %d sent tokens at one time", len(samples), t.Parallelism)})
	}
	t.Aggregate, t.Span = aggregate(samples, &t), span(samples)
	ds := make([]Value, len(samples))
	for i := range samples {
		ds[i] = samples[i].Decode
	}
	t.PerStream, t.PerStreamP5, t.Fairness = PerStream(ds)
	return t
}

// complete says why a batch can't have rates; empty where it can.
func complete(samples []Sample) string {
	if len(samples) == 0 {
		return "no streams"
	}
	for i := range samples {
		switch s := &samples[i]; {
		case s.Failed():
			return fmt.Sprintf("stream %d failed: %s", i+1, s.Err)
		case s.First <= 0:
			return fmt.Sprintf("stream %d: %s", i+1, s.TTFT.Why)
		}
	}
	return ""
}

func aggregate(samples []Sample, t *Together) Value {
	if why := complete(samples); why != "" {
		return Unknown("%s", why)
	}
	w0, w1 := samples[0].First, samples[0].Last
	for i := range samples {
		w0, w1 = max(w0, samples[i].First), min(w1, samples[i].Last)
	}
	if w1 <= w0 {
		return Unknown("no overlap")
	}
	t.W0, t.W1 = w0, w1
	var tokens float64
	for i := range samples {
		if !samples[i].Window.Known {
			return Unknown("stream %d: %s", i+1, samples[i].Window.Why)
		}
		for _, st := range samples[i].Steps {
			if st.At > w0 && st.At <= w1 {
				tokens += st.Tokens
			}
		}
	}
	t.WindowTokens = tokens
	if tokens < MinTokens {
		return Unknown("too few tokens in the overlap of %.4g ms (%.4g of %d)", ms(w1-w0), tokens, MinTokens)
	}
	return per(tokens, w1-w0)
}

// span is the whole-span rate: all output tokens over the time from the first send to the last token, ramp-up and drain
// included.
func span(samples []Sample) Value {
	if why := complete(samples); why != "" {
		return Unknown("%s", why)
	}
	start, end := samples[0].Send, samples[0].Last
	var tokens float64
	for i := range samples {
		s := &samples[i]
		if s.Send <= 0 {
			return Unknown("stream %d was never sent", i+1)
		}
		if !countable(s.Output) {
			return Unknown("stream %d: its tokens are not counted", i+1)
		}
		start, end = min(start, s.Send), max(end, s.Last)
		tokens += float64(s.Output.N)
	}
	return per(tokens, end-start)
}

// PerStream is the p50 and p5 of the streams' decode rates, and fairness, the least over the greatest (W4 of section 4).
// All must be known, for the slowest streams are those that lack a rate first. The p5 has no floor: it describes these
// streams and no population.
func PerStream(ds []Value) (p50, p5, fairness Value) {
	xs, why := known(ds)
	if len(xs) < len(ds) || len(xs) == 0 {
		u := Value{Why: why}
		return u, u, u
	}
	m, _ := stats.Median(xs)
	low, _ := stats.Percentile(xs, 0.05)
	return Known(m), Known(low), ratio(Known(slices.Min(xs)), Known(slices.Max(xs)))
}

// parallelism is the most streams that were between their t_1 and t_L at one time. A stream that ends as another begins
// is not beside it. The maximum is always reached at some stream's t_1.
func parallelism(samples []Sample) int {
	most := 0
	for i := range samples {
		at := samples[i].First
		if at <= 0 {
			continue
		}
		n := 0
		for j := range samples {
			if j == i || samples[j].First > 0 && samples[j].First <= at && samples[j].Last > at {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}
