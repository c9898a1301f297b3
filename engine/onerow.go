package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/record"
)

// row runs the first passes of a row. Its error is one that ends the run.
func (r *run) row(ctx context.Context, at int) error {
	row, st := &r.rows[at], r.state[at]
	r.opt.Watch.Live.set(func(l *Live) { l.row, l.name, l.pass, l.of = row.Key, row.Name, 1, row.Passes })
	if w := r.opt.Watch.Row; w != nil {
		w(*row)
	}
	s, err := r.ready(ctx, at)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		st.status, st.reason = record.Failed, "no session: "+r.redactText(err.Error())
		return nil
	}
	if s.info.ContextMax > 0 && row.Need.Context > s.info.ContextMax {
		st.status = record.Skipped
		st.reason = fmt.Sprintf("needs a context of %d tokens; the server offers %d a stream", row.Need.Context, s.info.ContextMax)
		return nil
	}
	if t, from := r.predict(row); t > maxRowTime && !r.opt.Long {
		st.status = record.Skipped
		st.reason = fmt.Sprintf("predicted to take %s a pass (from the rates of %s), over the limit of %s; --long runs it all the same", t.Round(time.Second), from, maxRowTime)
		return nil
	}
	if reason := r.overCeiling(row); reason != "" {
		st.status, st.reason = record.Skipped, reason
		return nil
	}
	reopened := false
	for len(st.passes) < row.Passes {
		if r.broken && !reopened { // a server that went is given one more chance a row
			reopened = true
			if again, err := r.ready(ctx, at); err == nil {
				s = again
			} else if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		if r.broken {
			break
		}
		if err := r.one(ctx, at, s); err != nil {
			return err
		}
		if s = r.roomier(ctx, at, s); st.status == "" {
			continue
		}
		if st.status == record.Failed || st.status == record.Skipped || st.cut() {
			break
		}
	}
	return nil
}

// one runs one pass of a row on a session. A pass that fails marks the row and is no error; a wrong program, an ended
// context and a raw file that can't be written are.
func (r *run) one(ctx context.Context, at int, s *session) error {
	row, st := &r.rows[at], r.state[at]
	n := len(st.passes) + 1
	r.opt.Watch.Live.set(func(l *Live) { l.pass, l.of = n, max(row.Passes, n) })
	h := &passHost{r: r, s: s, row: row, pass: n, began: r.clock.Now(), cuts: r.ledger.refused()}
	h.out.pass, r.pauses = n, pauses{}
	if s.caps.CacheStatser != nil {
		if c, err := s.caps.CacheStatser.CacheStats(ctx); err == nil {
			h.cache0 = &c
		}
	}
	err := st.program.Run(ctx, h, builtins.Point{Params: row.params, Point: row.Point, Metrics: metricNames(row.workload)})
	h.out.pauses = r.pauses
	h.out.took = r.clock.Now() - h.began - h.out.pauses.waited
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var skip *builtins.SkipError
	switch {
	case errors.As(err, &skip):
		st.status, st.reason = record.Skipped, skip.Reason
	case h.cut(err):
		h.out.err, h.out.ceiling = r.redact(hostError(err)), true
		if len(st.passes) == 0 {
			st.status = record.Skipped
		}
		st.reason = fmt.Sprintf("pass %d was cut: %v", n, h.out.err)
	case err != nil && isHostError(err):
		h.out.err = r.redact(hostError(err))
		if lostServer(h.out.err) {
			r.broken = true
			if s.info.Attached {
				r.losses++
			}
		}
		// A row with finished passes stays; one without has failed.
		if len(st.passes) == 0 {
			st.status = record.Failed
		}
		st.reason = fmt.Sprintf("pass %d: %v", n, h.out.err)
	case err != nil:
		return err
	case len(h.out.samples) == 0:
		st.status, st.reason = record.Failed, "the program streamed nothing"
		h.out.err = errors.New(st.reason)
	default:
		st.status = record.OK
	}
	if st.status == record.OK || st.status == record.Failed || len(h.out.samples) > 0 {
		if err := r.keepRaw(row, &h.out); err != nil {
			return err
		}
		st.passes = append(st.passes, h.out)
		st.session = s
		r.observe(row, &h.out)
	}
	if w := r.opt.Watch.Pass; w != nil {
		w(PassDone{Key: row.Key, Pass: n, Of: max(row.Passes, n), Took: h.out.took, Err: h.out.err})
	}
	return nil
}

// keepRaw stores the recordings of a pass and lets go of their bytes.
func (r *run) keepRaw(row *RowPlan, p *passResult) error {
	if r.opt.SaveRaw != nil && len(p.recs) > 0 {
		for i := range p.recs {
			p.recs[i] = r.redactRecording(p.recs[i], p.samples[i].prompt.Prompt)
		}
		f, err := r.opt.SaveRaw(row.Key, p.pass, p.recs)
		if err != nil {
			return fmt.Errorf("save the raw timings of %s: %w", row.Key, err)
		}
		p.raw = f
		r.result.Raw = append(r.result.Raw, f)
	}
	p.recs = nil
	return nil
}

// lostServer reports whether an error means that the session will not work again.
func lostServer(err error) bool {
	return errors.Is(err, drivers.ErrServerDied) || errors.Is(err, drivers.ErrUnreachable) || errors.Is(err, drivers.ErrReset)
}
