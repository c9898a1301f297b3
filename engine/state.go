package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/record"
)

// Observer watches the machine on goroutines of its own while the run goes on. Its functions are called outside timed
// intervals; times are on the run's clock.
type Observer struct {
	// Ready waits until the machine has been looked at once, and not for long.
	Ready func(context.Context)
	// Serves is told where a server on this machine listens, once it is open; nil where nobody wants to know.
	Serves func(url string)
	// Flags says what was odd about the machine while streams ran, with the evidence. own are all stretches in which the run
	// used the machine, the first one first: requests of every kind, and the opening of a server.
	Flags func(streams, own []Span) []record.Flag
	// Joules is what the sensor saw between two times; an error where it did not see enough.
	Joules func(from, to time.Duration) (float64, error)
	// Sensor names what Joules reads and what that covers; empty with the reason where there is none.
	Sensor func() (name, why string)
	// Stop ends the watching and gives what was seen, to be stored; nil where that is nothing.
	Stop func() any
}

// Span is a stretch of time on the run's clock.
type Span struct{ From, To time.Duration }

// watchMachine begins to watch the machine, before anything is opened: what is busy then is not ours.
func (r *run) watchMachine(ctx context.Context) {
	if r.opt.Observe == nil {
		return
	}
	r.observer = r.opt.Observe(context.WithoutCancel(ctx), r.clock.Now)
	r.observer.Ready(ctx)
}

// endWatch ends the watching: the rows get the last word on it, and the series is stored. Calling it again is allowed.
func (r *run) endWatch() error {
	o := r.observer
	if o == nil {
		return nil
	}
	series := o.Stop()
	for i := range r.result.Rows {
		row := &r.result.Rows[i]
		at := slices.IndexFunc(r.rows, func(p RowPlan) bool { return p.Key == row.Key })
		if at < 0 || r.state[at].kept != nil {
			continue
		}
		// A sample that came after the row was built may show more, never less.
		r.judge(row, r.state[at])
		row.Rankable = row.Rankable && rankableFlags(row.Flags)
	}
	r.observer = nil
	if series == nil || r.opt.SaveSeries == nil {
		return nil
	}
	f, err := r.opt.SaveSeries(series)
	if err != nil {
		return fmt.Errorf("save what was seen of the machine: %w", err)
	}
	r.result.Environment.Series = append(r.result.Environment.Series, f)
	return nil
}

// using notes that the run uses the machine itself, until the function that it gives is called.
func (r *run) using() func() {
	began := r.clock.Now()
	return func() {
		r.ownMu.Lock()
		defer r.ownMu.Unlock()
		r.own = append(r.own, Span{began, r.clock.Now()})
	}
}

// tellServer lets the observer know whose processes the server's are.
func (r *run) tellServer(url string) {
	if r.observer != nil && r.observer.Serves != nil && url != "" {
		r.observer.Serves(url)
	}
}

// here reports whether what serves runs on this machine, so that its state says something about the row.
func (r *run) here() bool {
	return r.opt.Spec.Kind != drivers.Hosted && r.first != nil && r.first.URLKind == "loopback"
}

// judge adds to a row what the machine's state says about it.
func (r *run) judge(row *record.Row, st *rowState) {
	switch {
	case r.observer == nil:
		row.Reasons["energy"] = "the machine was not watched"
		return
	case !r.here():
		row.Reasons["energy"] = "the model was served by another machine"
		return
	}
	var streams []Span
	for i := range st.passes {
		for n := range st.passes[i].samples {
			if m := &st.passes[i].samples[n]; m.Send > 0 {
				streams = append(streams, Span{m.Send, max(m.End, m.Last, m.Send)})
			}
		}
	}
	for _, f := range r.observer.Flags(streams, r.own) {
		if r.first.Simulated && (f.Name == "cpu_fallback" || f.Name == "cpu_busy") {
			continue // it runs on the CPU because that is what it is, and its numbers are of no machine
		}
		row.Flags = addFlag(row.Flags, f)
	}
	delete(row.Reasons, "energy")
	row.Energy = nil
	if name, why := r.observer.Sensor(); name == "" {
		row.Reasons["energy"] = cmp.Or(why, "no sensor of power can be read")
	} else {
		row.Energy = r.energy(name, st)
	}
}

// leastEnergy is the shortest interval whose energy is taken. Sensors are read once a second, and some show the mean of the
// second before.
const leastEnergy = 3 * time.Second

// errShort says that an interval is too short for the sensor.
var errShort = errors.New("no interval is 3 s long, and the sensor is read once a second")

// part is a sum over intervals.
type part struct {
	joules, seconds, tokens float64
	err                     error // why nothing could be summed up
}

func (p *part) add(o *Observer, from, to time.Duration, tokens float64) {
	if to-from < leastEnergy {
		p.err = cmp.Or(p.err, errShort)
		return
	}
	j, err := o.Joules(from, to)
	if err != nil {
		p.err = err
		return
	}
	p.joules, p.seconds, p.tokens = p.joules+j, p.seconds+(to-from).Seconds(), p.tokens+tokens
}

// result gives the sum, joules a token, and why they are null.
func (p *part) result() (sum, each *float64, why string) {
	if p.seconds == 0 || p.tokens <= 0 {
		return nil, nil, cmp.Or(p.err, errors.New("no interval with a known number of tokens")).Error()
	}
	perToken := p.joules / p.tokens
	return &p.joules, &perToken, ""
}

// energy sums up what the streams of a row took. A stream that runs alone is divided at its first token; of streams released
// together only the window in which all decode counts, since before it some read prompts while others write.
func (r *run) energy(sensor string, st *rowState) *record.Energy {
	var decode, prefill part
	for i := range st.passes {
		p := &st.passes[i]
		if p.err != nil {
			continue
		}
		for _, b := range p.batches {
			if b.W1ns > b.W0ns {
				decode.add(r.observer, time.Duration(b.W0ns), time.Duration(b.W1ns), b.Batch.WindowTokens)
			}
			prefill.err = cmp.Or(prefill.err, errors.New("the streams run together: some write while others read their prompts"))
		}
		if len(p.batches) > 0 {
			continue
		}
		for n := range p.samples {
			m := &p.samples[n]
			if m.Failed() || m.First == 0 {
				continue
			}
			if m.Window.Known && m.Window.X > 0 {
				decode.add(r.observer, m.First, m.Last, m.Window.X)
			}
			if m.Prompt.Known() && m.Cached.Known() && m.Prompt.N > m.Cached.N {
				prefill.add(r.observer, m.Send, m.First, float64(m.Prompt.N-m.Cached.N))
			} else {
				prefill.err = cmp.Or(prefill.err, errors.New("the server does not state how many prompt tokens it read"))
			}
		}
	}
	e := &record.Energy{Method: sensor, Reasons: record.Reasons{}}
	var why string
	if e.DecodeJ, e.PerOutputToken, why = decode.result(); why != "" {
		e.Reasons["per_output_token"], e.Reasons["decode_j"] = why, why
	}
	if e.PrefillJ, e.PerPromptToken, why = prefill.result(); why != "" {
		e.Reasons["per_prompt_token"], e.Reasons["prefill_j"] = why, why
	}
	e.DecodeS, e.DecodeTokens, e.PrefillS, e.PrefillTokens = decode.seconds, decode.tokens, prefill.seconds, prefill.tokens
	return e
}
