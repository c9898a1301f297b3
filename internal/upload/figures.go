package upload

import (
	"github.com/llm-speed/llm-speed/internal/stats"
)

// Figures are the headline figures of a row as docs/measurement.md defines them, computed from nothing but the counts and
// durations of its document. Nil is unknown.
type Figures struct {
	TTFTms, TTFAms, PrefillTPS, DecodeTPS, Wallms, HitRate *float64
	AggregateTPS, SpanTPS                                  *float64
}

// Figures computes the row's figures. A service does the same, and believes no other.
func (r *Row) Figures() Figures {
	c := &r.Samples
	good := c.finished()
	over := func(of func(pass []int) (float64, bool)) *float64 {
		var values []float64
		for _, pass := range good {
			if x, ok := of(pass); ok {
				values = append(values, x)
			}
		}
		return median(values, len(good))
	}
	each := func(of func(i int) (float64, bool)) *float64 {
		return over(func(pass []int) (float64, bool) {
			var values []float64
			for _, i := range pass {
				if x, ok := of(i); ok {
					values = append(values, x)
				}
			}
			return value(median(values, len(pass)))
		})
	}
	return Figures{
		TTFTms: each(func(i int) (float64, bool) { return ms(c.TTFT[i]) }), TTFAms: each(func(i int) (float64, bool) { return ms(c.TTFA[i]) }),
		DecodeTPS: each(func(i int) (float64, bool) {
			if !c.DecodeOK[i] || c.Text[i] == nil {
				return 0, false
			}
			return rate(c.WindowTokens[i], 1e3, *c.Text[i])
		}),
		PrefillTPS: over(r.prefill), Wallms: over(c.wall), HitRate: over(c.hits),
		AggregateTPS: r.overBatches(good, func(b *Batch) (float64, bool) {
			if !b.AggregateOK || b.Window == nil {
				return 0, false
			}
			return rate(b.WindowTokens, 1e3, *b.Window)
		}),
		SpanTPS: r.overBatches(good, func(b *Batch) (float64, bool) {
			begin, end, ok := c.between(b.Streams)
			if !b.SpanOK || !ok {
				return 0, false
			}
			var tokens int64
			for _, s := range b.Streams {
				if c.Output[s] == nil {
					return 0, false
				}
				tokens += *c.Output[s]
			}
			return rate(&tokens, 1, end-begin)
		}),
	}
}

// finished are the requests of each pass without a failed one, by place.
func (c *Samples) finished() [][]int {
	var passes [][]int
	var failed []bool
	for i, pass := range c.Pass {
		if i == 0 || pass != c.Pass[i-1] {
			passes, failed = append(passes, nil), append(failed, false)
		}
		last := len(passes) - 1
		passes[last] = append(passes[last], i)
		failed[last] = failed[last] || c.Failed[i]
	}
	var good [][]int
	for i, pass := range passes {
		if !failed[i] {
			good = append(good, pass)
		}
	}
	return good
}

// prefill is the median prefill rate of a pass. A turn that goes on with a conversation and has none says nothing against the others.
func (r *Row) prefill(pass []int) (float64, bool) {
	c := &r.Samples
	var values []float64
	n := 0
	for _, i := range pass {
		x, ok := r.prefillOf(i)
		if ok {
			values = append(values, x)
		}
		if ok || !c.Warm[i] && !c.Reuse[i] {
			n++
		}
	}
	if n == 0 {
		n = len(pass)
	}
	return value(median(values, n))
}

func (r *Row) prefillOf(i int) (float64, bool) {
	c := &r.Samples
	switch {
	case c.PrefillFrom[i] == "server" && c.PrefillTime[i] != nil:
		return rate(c.PrefillTokens[i], 1, *c.PrefillTime[i])
	case c.PrefillFrom[i] == "estimated" && r.ColdProbe != nil && c.Prompt[i] != nil && c.TTFT[i] != nil:
		tokens := *c.Prompt[i] - r.ColdProbe.Tokens
		return rate(&tokens, 1, *c.TTFT[i]-r.ColdProbe.TTFT)
	}
	return 0, false
}

// wall is the time of a pass: from send to last text, summed over its releases.
func (c *Samples) wall(pass []int) (float64, bool) {
	var wall int64
	for first := 0; first < len(pass); {
		last := first + 1
		for last < len(pass) && c.Release[pass[last]] == c.Release[pass[first]] {
			last++
		}
		var streams []int64
		for _, i := range pass[first:last] {
			streams = append(streams, int64(i))
		}
		begin, end, ok := c.between(streams)
		if !ok {
			return 0, false
		}
		wall += end - begin
		first = last
	}
	return float64(wall) / 1e6, true
}

// between is the time from the first send of some requests of one release to their last text.
func (c *Samples) between(streams []int64) (begin, end int64, ok bool) {
	for n, s := range streams {
		if c.At[s] == nil || c.Last[s] == nil {
			return 0, 0, false
		}
		at, last := *c.At[s], *c.At[s]+*c.Last[s]
		if n == 0 {
			begin, end = at, last
		}
		begin, end = min(begin, at), max(end, last)
	}
	return begin, end, len(streams) > 0 && end > begin
}

// hits is the share of prompt tokens that a cache served.
func (c *Samples) hits(pass []int) (float64, bool) {
	var hit, total int64
	for _, i := range pass {
		if c.Prompt[i] == nil || c.Cached[i] == nil || *c.Cached[i] > *c.Prompt[i] || c.From[i][0] == 'E' || c.From[i][1] == 'E' {
			return 0, false
		}
		hit, total = hit+*c.Cached[i], total+*c.Prompt[i]
	}
	return float64(hit) / float64(total), total > 0
}

// overBatches is the median over passes of the median over a pass's releases.
func (r *Row) overBatches(good [][]int, of func(*Batch) (float64, bool)) *float64 {
	if len(r.Batches) == 0 {
		return nil
	}
	var values []float64
	for _, pass := range good {
		var list []float64
		n := 0
		for i := range r.Batches {
			if r.Batches[i].Pass != r.Samples.Pass[pass[0]] {
				continue
			}
			n++
			if x, ok := of(&r.Batches[i]); ok {
				list = append(list, x)
			}
		}
		if m := median(list, n); m != nil {
			values = append(values, *m)
		}
	}
	return median(values, len(good))
}

// median of the known ones of n values; nil where they are the smaller part.
func median(known []float64, n int) *float64 {
	if 2*len(known) < n {
		return nil
	}
	m, ok := stats.Median(known)
	if !ok {
		return nil
	}
	return &m
}

func value(x *float64) (float64, bool) {
	if x == nil {
		return 0, false
	}
	return *x, true
}

func ms(ns *int64) (float64, bool) {
	if ns == nil {
		return 0, false
	}
	return float64(*ns) / 1e6, true
}

// rate is tokens a second; parts is what a token is counted in.
func rate(tokens *int64, parts float64, ns int64) (float64, bool) {
	if tokens == nil || *tokens <= 0 || ns <= 0 {
		return 0, false
	}
	return float64(*tokens) / parts / (float64(ns) / 1e9), true
}
