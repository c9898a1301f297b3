package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

const (
	// mostRepeats is how often a sample that a service has refused is sent again before the row fails.
	mostRepeats = 4
	// patience is how long a run waits for rate limits in all where no --max-time says otherwise.
	patience = 10 * time.Minute
	// firstBackoff is how long a request waits after a refusal that names no time, by its headers or in its stream; each
	// further one waits twice as long.
	firstBackoff = 5 * time.Second
	// tellWait is how long a wait is at least to be worth a line of its own.
	tellWait = 5 * time.Second
)

// pauses are what a pass has waited for the service's limits, and what of it was sent again. None of it is in any time.
type pauses struct {
	waited   time.Duration
	repeated int
	why      []string
}

func (p *pauses) add(why string) {
	if why != "" && !slices.Contains(p.why, why) && len(p.why) < 8 {
		p.why = append(p.why, why)
	}
}

// pace waits until the service's limits leave room for so many requests. Waits come one at a time: requests that wait for
// the same limit wait together.
func (r *run) pace(ctx context.Context, s *session, requests, prompt, output int) error {
	if s.caps.Pacer == nil {
		return nil
	}
	r.pacing.Lock()
	defer r.pacing.Unlock()
	for {
		wait, why := s.caps.Pacer.Pace(requests, prompt, output)
		if wait <= 0 {
			return nil
		}
		if err := r.rest(ctx, wait, why); err != nil {
			return err
		}
		r.pauses.waited += wait
		r.pauses.add(why)
	}
}

// rest waits, and says so. What the budget has no room for is an error at once.
func (r *run) rest(ctx context.Context, wait time.Duration, why string) error {
	left := patience - r.waited
	if r.opt.MaxTime > 0 {
		left = r.opt.MaxTime - (r.clock.Now() - r.began)
	}
	if wait > left {
		return fmt.Errorf("%w: %s wants a wait of %s (%s), and %s are left for waiting; --max-time gives more",
			drivers.ErrRateLimited, r.opt.Spec.Title, roundUp(wait), why, max(left, 0).Round(time.Second))
	}
	if wait >= tellWait {
		r.note("waiting %s for the rate limit: %s", roundUp(wait), why)
	}
	var was string
	r.opt.Watch.Live.set(func(l *Live) {
		was = l.doing
		l.doing = fmt.Sprintf("waiting %s for the rate limit", roundUp(wait))
	})
	defer r.opt.Watch.Live.set(func(l *Live) { l.doing = was })
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		r.waited += wait
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// roundUp is a wait as people read it: whole seconds.
func roundUp(d time.Duration) time.Duration {
	return time.Duration(math.Ceil(d.Seconds())) * time.Second
}

// again decides about a request that failed: whether it is sent once more, after what the service asked for. A service that
// refused for a field of the request is asked without it; one that refused for its limits, after a wait, which the next
// pace takes. What failed was no sample: nothing, or not all, was generated.
func (r *run) again(ctx context.Context, s *session, err error, try int) (why string, ok bool) {
	if err == nil || try >= mostRepeats {
		return "", false
	}
	if s.caps.Adapter != nil {
		if changed, ok := s.caps.Adapter.Adapt(err); ok {
			r.note("the service refused a field of the request; from now on: %s", changed)
			return "a request was refused, and is written otherwise now: " + changed, true
		}
	}
	if s.caps.Pacer == nil || !errors.Is(err, drivers.ErrRateLimited) && !errors.Is(err, drivers.ErrOverloaded) {
		return "", false
	}
	why = err.Error()
	wait := firstBackoff << try
	var api *drivers.APIError
	if errors.As(err, &api) {
		why = fmt.Sprintf("refused with HTTP %d: %v", api.Status, api.Kind)
		if api.Status == http.StatusOK {
			why = fmt.Sprintf("given up inside the stream: %v", api.Kind)
		}
		if api.RetryAfter > 0 {
			wait = api.RetryAfter
		}
	}
	return why, r.backOff(ctx, s, wait, why)
}

// backOff waits where the service's limits, as far as they are known, ask for no wait, although it has just refused.
func (r *run) backOff(ctx context.Context, s *session, wait time.Duration, why string) bool {
	r.pacing.Lock()
	defer r.pacing.Unlock()
	if known, _ := s.caps.Pacer.Pace(1, 1, 1); known > 0 {
		return true // the next pace waits for it
	}
	if r.rest(ctx, wait, why) != nil {
		return false // no time is left: the error that there is stays
	}
	r.pauses.waited += wait
	return true
}

// refusal is the first error of a batch that again could do something about; nil where there is none.
func (h *passHost) refusal(recs []stream.Recording, errs []error) error {
	if h.s.caps.Pacer == nil && h.s.caps.Adapter == nil {
		return nil
	}
	for i := range recs {
		if errs[i] != nil {
			continue // it did not come as far as an answer
		}
		_, err := h.s.Decode(recs[i])
		var api *drivers.APIError
		if errors.As(err, &api) {
			return h.r.redact(err)
		}
	}
	return nil
}

// pausesOf sums up the pauses of a row; nil where there were none.
func pausesOf(st *rowState) *record.Pauses {
	var sum pauses
	for i := range st.passes {
		p := &st.passes[i].pauses
		sum.waited += p.waited
		sum.repeated += p.repeated
		for _, why := range p.why {
			sum.add(why)
		}
	}
	if sum.waited == 0 && sum.repeated == 0 {
		return nil
	}
	return &record.Pauses{WaitedS: sum.waited.Seconds(), Repeated: sum.repeated, Why: sum.why}
}
