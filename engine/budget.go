package engine

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/record"
)

const (
	// maxRowTime is the predicted time of one pass above which a row is skipped (measurement.md section 4).
	maxRowTime = 5 * time.Minute
	// steady, steadyPasses and mostPasses say when a row has nothing more to gain from the budget: its interval is narrow,
	// or has been given every chance to become so.
	steady       = 0.01
	steadyPasses = 3
	mostPasses   = 20
)

// rate is what a pass has shown of the backend's speed.
type rate struct {
	key     string
	context int
	prefill float64 // prompt tokens a second, by the client's TTFT: what a prediction needs
	decode  float64 // tokens a second of one stream
}

// observe keeps the rates of a pass for predictions and deadlines.
func (r *run) observe(row *RowPlan, p *passResult) {
	for _, m := range p.samples {
		if m.err != nil || !m.TTFT.Known || m.TTFT.X <= 0 {
			continue
		}
		v := rate{key: row.Key, context: m.tr.Counts.Prompt.N}
		if m.tr.Counts.Prompt.Known() {
			uncached := m.tr.Counts.Prompt.N - m.tr.Counts.Cached.N // N is 0 where unknown
			v.prefill = float64(uncached) / m.TTFT.X * 1000
		}
		if m.Decode.Known {
			v.decode = m.Decode.X
		}
		r.rates = append(r.rates, v)
	}
}

// remember takes the rates of a row of an earlier document.
func (r *run) remember(row *record.Row) {
	for i := range row.Samples {
		s := &row.Samples[i]
		if s.TTFTms == nil || *s.TTFTms <= 0 || s.Prompt.N == nil || s.DecodeTPS == nil {
			continue
		}
		uncached := *s.Prompt.N
		if s.Cached.N != nil {
			uncached -= *s.Cached.N
		}
		r.rates = append(r.rates, rate{key: row.Key, context: *s.Prompt.N, prefill: float64(uncached) / *s.TTFTms * 1000, decode: *s.DecodeTPS})
	}
}

// predict says how long one pass of a row will take, from the row before it with the nearest context; 0 where no row has
// shown a rate yet.
func (r *run) predict(row *RowPlan) (time.Duration, string) {
	var best *rate
	for i := range r.rates {
		v := &r.rates[i]
		if v.prefill > 0 && v.decode > 0 && (best == nil || near(v.context, row.Need.Context) <= near(best.context, row.Need.Context)) {
			best = v
		}
	}
	if best == nil {
		return 0, ""
	}
	s := float64(row.Need.Prompt)/best.prefill + float64(row.Need.Output)/best.decode
	return time.Duration(s * float64(time.Second)), best.key
}

// near is the distance of two contexts in octaves.
func near(a, b int) float64 { return math.Abs(math.Log2(float64(max(a, 1)) / float64(max(b, 1)))) }

// firstByteWithin is the deadline of the first byte of a stream with so many prompt tokens before it: half a minute, and
// ten times what the slowest rate so far says, or 20 tokens a second where no rate is known.
func (r *run) firstByteWithin(tokens int) time.Duration {
	if r.opt.Timeout > 0 {
		return r.opt.Timeout
	}
	slowest := 0.0
	for _, v := range r.rates {
		if v.prefill > 0 && v.context >= 64 && (slowest == 0 || v.prefill < slowest) {
			slowest = v.prefill
		}
	}
	perToken := 1.0 / 20
	if slowest > 0 {
		perToken = min(perToken, 10/slowest)
	}
	return 30*time.Second + time.Duration(float64(tokens)*perToken*float64(time.Second))
}

// idleWithin is the longest silence inside a stream: half a minute, or a hundred tokens at the slowest rate seen.
func (r *run) idleWithin() time.Duration {
	if r.opt.Timeout > 0 {
		return r.opt.Timeout
	}
	d := 30 * time.Second
	for _, v := range r.rates {
		if v.decode > 0 {
			d = max(d, time.Duration(100/v.decode*float64(time.Second)))
		}
	}
	return d
}

// spend uses what is left of the budget for further passes: rows whose spread is not known yet first, those of the open
// session and the cheapest first, then the row with the largest spread, until each is steady or no pass fits any more.
func (r *run) spend(ctx context.Context) error {
	if r.opt.Repeats > 0 {
		return nil
	}
	if r.opt.Spec.Kind == drivers.Hosted { // time that is left is no reason to spend money
		r.result.Budget.Cut = append(r.result.Budget.Cut, "no further passes on a hosted service; --repeats gives them")
		return nil
	}
	left := func() time.Duration { return r.limit - (r.clock.Now() - r.began) - finishReserve }
	for {
		at, cost := -1, time.Duration(0)
		var bestSpread float64
		var bestHere bool // its session is open
		for i := range r.rows {
			st := r.state[i]
			if st.kept != nil || st.status != record.OK || r.broken {
				continue
			}
			c := r.passCost(i)
			spread, known := r.spread(i)
			switch {
			case c > left(), st.cut(), !r.fits(&r.rows[i]), r.lostSince(st):
				continue
			case len(st.passes) >= mostPasses, known && spread <= steady && len(st.passes) >= steadyPasses:
				continue
			case !known:
				spread = math.Inf(1)
			}
			here := r.session != nil && r.session.serves(r.rows[i].Need)
			if at < 0 || spread > bestSpread || (spread == bestSpread && (here && !bestHere || here == bestHere && c < cost)) {
				at, cost, bestSpread, bestHere = i, c, spread, here
			}
		}
		if at < 0 {
			return r.tellCut(left())
		}
		r.opt.Watch.Live.set(func(l *Live) {
			l.row, l.name = r.rows[at].Key, r.rows[at].Name
			l.deadline = r.limit
		})
		s, err := r.ready(ctx, at)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			r.note("no further passes: %v", err)
			r.broken = true
			continue
		}
		r.rows[at].Passes = len(r.state[at].passes) + 1
		before := len(r.state[at].passes)
		if err := r.one(ctx, at, s); err != nil {
			return err
		}
		if err := r.saveRow(at); err != nil {
			return err
		}
		if p := r.state[at].passes; len(p) == before || p[len(p)-1].err != nil {
			return nil //nolint:nilerr // it is in the row; further passes of a server that has begun to fail tell nothing
		}
	}
}

// finishReserve is kept for closing the run: stopping a server, saving, drawing the table.
const finishReserve = 500 * time.Millisecond

// passCost predicts a further pass of a row: what its last one took, and a server of its own where it needs one.
func (r *run) passCost(at int) time.Duration {
	st := r.state[at]
	c := st.passes[len(st.passes)-1].took
	if r.session == nil || !r.session.serves(r.rows[at].Need) {
		if st.session != nil {
			c += st.session.opened
		}
	}
	return c + c/50
}

// spread is the widest of a row's headline figures over its passes: half the 95 % interval, as a share of the median. The
// coefficient of variation would not do: it does not shrink with more passes, the interval does.
func (r *run) spread(at int) (float64, bool) {
	if len(r.state[at].passes) < 2 {
		return 0, false
	}
	row := r.build(at)
	var worst float64
	for name, ci := range row.CI95 {
		if x := fieldOf(&row, name); x != nil && *x > 0 {
			worst = max(worst, (ci.High-ci.Low)/2 / *x)
		}
	}
	return worst, true
}

// tellCut says what the budget left out.
func (r *run) tellCut(left time.Duration) error {
	var rows, before []string
	for i := range r.rows {
		st := r.state[i]
		if st.kept == nil && st.status == record.OK && r.lostSince(st) {
			before = append(before, r.rows[i].Key)
			continue
		}
		if st.kept == nil && st.status == record.OK && len(st.passes) < 2 {
			rows = append(rows, fmt.Sprintf("%s (%s)", r.rows[i].Key, r.passCost(i).Round(100*time.Millisecond)))
		}
	}
	if len(rows) > 0 {
		r.result.Budget.Cut = append(r.result.Budget.Cut, fmt.Sprintf("no second pass of %s: %s were left of %s; --max-time or --repeats gives them",
			strings.Join(rows, ", "), max(left, 0).Round(100*time.Millisecond), r.limit))
	}
	if len(before) > 0 {
		r.result.Budget.Cut = append(r.result.Budget.Cut, fmt.Sprintf("no further pass of %s: the server was lost after it, and may have come back with other settings",
			strings.Join(before, ", ")))
	}
	return nil
}
