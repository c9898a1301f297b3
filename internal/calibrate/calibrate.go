// Package calibrate measures the client itself before it measures anything else (measurement.md section 7).
//
// It runs the same code as a benchmark, driver and socket included, against a simulator in this process that logs what it
// really sent and when, and states how far the client's figures are from that truth. It never touches the backend that
// the run is about.
package calibrate

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	simdriver "github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Limit is the error, p99, above which the client can't be trusted to measure on this machine now.
const Limit = 2 * time.Millisecond

// Receipt is the calibration of a run. Errors are the client's figure less the truth, absolute.
type Receipt struct {
	Streams        int      `json:"streams"`  // at once, as in the run
	Requests       int      `json:"requests"` //
	TookS          float64  `json:"took_s"`
	TTFTErrorP50Ms *float64 `json:"ttft_error_p50_ms"`
	TTFTErrorP99Ms *float64 `json:"ttft_error_p99_ms"`
	ITLErrorP99Ms  *float64 `json:"itl_error_p99_ms"`
	DecodeError    *float64 `json:"decode_error_ratio"` // median over streams of |client rate / true rate - 1|
	EventsPerS     float64  `json:"events_per_s"`       // taken in while all streams ran at 200 a second each
	EventsPerSMax  float64  `json:"events_per_s_max"`   // taken in while the simulator, on the same machine, sent as fast as it could: this client can do at least that
	LimitMs        float64  `json:"limit_ms"`
	Passed         bool     `json:"passed"`
	Simulated      bool     `json:"simulated"` // always true: what is measured here is the client
	Load
}

// profile gives so many tokens a second to each stream, however many there are, after 30 ms.
func profile(parallel int, tps float64) sim.Profile {
	return sim.Profile{
		Name: "calibration", Title: "calibration of the client", PrefillTPS: 1e6, PrefillHalf: 1e9, DecodeTPS: tps, DecodeHalf: 1e9,
		First: 30 * time.Millisecond, BatchExponent: 1, Context: 1 << 17, Slots: max(parallel, 1), Speed: 1,
	}
}

// The rates of a stream: one that models reach, and one that no simulator keeps up with.
const (
	ordinary  = 200
	fullSpeed = 1e7
)

// Run calibrates with one stream, then with as many as the run will use, for about a second. The flag `client_bound` comes
// with a receipt over the limit, and with an error.
func Run(ctx context.Context, parallel int) (json.RawMessage, []record.Flag, error) {
	return run(ctx, max(parallel, 1), Limit)
}

func run(ctx context.Context, parallel int, limit time.Duration) (json.RawMessage, []record.Flag, error) {
	r, err := measure(ctx, parallel, limit)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		return failed(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, nil, fmt.Errorf("calibrate: %w", err)
	}
	if r.Passed {
		return b, nil, nil
	}
	return b, []record.Flag{{Name: "client_bound", Evidence: fmt.Sprintf(
		"this client was off by %s ms (TTFT, p99) and %s ms (token gaps, p99) against a simulator with %d streams; the limit is %g ms",
		text(r.TTFTErrorP99Ms), text(r.ITLErrorP99Ms), r.Streams, r.LimitMs)}}, nil
}

// failed is what comes of a calibration that could not be made.
func failed(err error) (json.RawMessage, []record.Flag, error) {
	return nil, []record.Flag{{Name: "client_bound", Evidence: "the calibration failed: " + err.Error()}}, fmt.Errorf("calibrate: %w", err)
}

func text(x *float64) string {
	if x == nil {
		return "an unknown number of"
	}
	return fmt.Sprintf("%.2f", *x)
}

func measure(ctx context.Context, parallel int, limit time.Duration) (*Receipt, error) {
	c := clock.New()
	r := &Receipt{Streams: parallel, LimitMs: limit.Seconds() * 1000, Simulated: true}
	began := c.Now()
	watch := watchLoad(ctx)
	if err := r.accuracy(ctx, c); err != nil {
		return nil, err
	}
	if err := r.capacity(ctx, c); err != nil {
		return nil, err
	}
	r.Load = watch(ctx)
	r.TookS = (c.Now() - began).Seconds()
	within := func(x *float64) bool { return x != nil && *x <= r.LimitMs }
	r.Passed = within(r.TTFTErrorP99Ms) && within(r.ITLErrorP99Ms)
	return r, nil
}

// open starts a simulator and opens it as a run does; end closes both.
func open(ctx context.Context, c *clock.Clock, p sim.Profile) (server *sim.Server, session drivers.Session, end func(), err error) {
	if server, err = sim.Start(ctx, sim.Options{Profile: p}); err != nil {
		return nil, nil, nil, err
	}
	session, err = simdriver.Spec().Open(ctx, drivers.Config{
		URL: server.URL(), Clock: c, Env: func(string) string { return "" }, Log: func(string, ...any) {},
	}, drivers.Need{Context: 1024, Parallel: p.Slots})
	if err != nil {
		_ = server.Close()
		return nil, nil, nil, err
	}
	return server, session, func() { _, _ = session.Close(), server.Close() }, nil
}

// accuracy fills in how far the client is from the truth: three streams one after another, then as many as the run will
// use at once.
func (r *Receipt) accuracy(ctx context.Context, c *clock.Clock) error {
	server, session, end, err := open(ctx, c, profile(r.Streams, ordinary))
	if err != nil {
		return err
	}
	defer end()
	rounds := [][]int{{24}, {25}, {26}, lengths(64, r.Streams)}
	var ttft, itl, decode []float64
	for _, lengths := range rounds {
		server.ClearLog()
		got, err := streams(ctx, session, lengths)
		if err != nil {
			return err
		}
		events, span := 0, time.Duration(0)
		truth := server.Log()
		for i, n := range lengths {
			t, ok := served(truth, n)
			if !ok {
				return fmt.Errorf("the simulator has no log of a stream of %d tokens", n)
			}
			e := compare(got[i], t)
			ttft, itl, decode = append(ttft, e.ttft), append(itl, e.itl...), append(decode, e.decode)
			events += e.events - 1 // the first one begins the span
			span = max(span, e.span)
			r.Requests++
		}
		if span > 0 {
			r.EventsPerS = float64(events) / span.Seconds()
		}
	}
	r.TTFTErrorP50Ms, r.TTFTErrorP99Ms = percentile(ttft, 0.5), percentile(ttft, 0.99)
	r.ITLErrorP99Ms, r.DecodeError = percentile(itl, 0.99), percentile(decode, 0.5)
	return nil
}

// capacity fills in how many events a second come in when the simulator sends as fast as it can. Both share the machine,
// so that it is the least that the client can do.
func (r *Receipt) capacity(ctx context.Context, c *clock.Clock) error {
	_, session, end, err := open(ctx, c, profile(r.Streams, fullSpeed))
	if err != nil {
		return err
	}
	defer end()
	got, err := streams(ctx, session, lengths(max(capacityEvents/r.Streams, 64), r.Streams))
	if err != nil {
		return err
	}
	var first, last time.Duration
	events := -1 // the first one begins the span
	for _, g := range got {
		for _, e := range g.tr.Events {
			if first == 0 || e.At < first {
				first = e.At
			}
			last = max(last, e.At)
		}
		events += len(g.tr.Events)
	}
	if last > first {
		r.EventsPerSMax = float64(events) / (last - first).Seconds()
	}
	return nil
}

// capacityEvents takes a machine of today about a tenth of a second.
const capacityEvents = 20000

// lengths are n distinct lengths, which tell the streams apart in the simulator's log.
func lengths(from, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = from + i
	}
	return out
}

func percentile(xs []float64, p float64) *float64 {
	if x, ok := stats.Percentile(xs, p); ok {
		return &x
	}
	return nil
}

// got is one stream as the client saw it.
type got struct {
	rec stream.Recording
	tr  stream.Transcript
	err error
}

// streams runs streams of these lengths at once.
func streams(ctx context.Context, s drivers.Session, lengths []int) ([]got, error) {
	out := make([]got, len(lengths))
	var wg, ready sync.WaitGroup
	ready.Add(len(lengths))
	for i, n := range lengths {
		wg.Go(func() {
			once := sync.OnceFunc(ready.Done)
			defer once()
			req := drivers.Request{
				Prompt:       drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: fmt.Sprintf("Calibration stream %d of %d tokens.", i, n)}}},
				OutputTokens: n, Slot: drivers.AnySlot, FirstByteWithin: 10 * time.Second, IdleWithin: 10 * time.Second,
				Hold: func(context.Context) (time.Duration, error) {
					once()
					ready.Wait()
					return 0, nil
				},
			}
			if out[i].rec, out[i].err = s.Stream(ctx, req); out[i].err == nil {
				out[i].tr, out[i].err = s.Decode(out[i].rec)
			}
		})
	}
	wg.Wait()
	for _, g := range out {
		if g.err != nil {
			return nil, g.err
		}
	}
	return out, nil
}

func served(log []sim.Served, asked int) (sim.Served, bool) {
	for _, s := range log {
		if s.Asked == asked {
			return s, true
		}
	}
	return sim.Served{}, false
}

// errorsOf are the differences of one stream from the truth.
type errorsOf struct {
	ttft   float64   // ms
	itl    []float64 // ms
	decode float64   // |client rate / true rate - 1|
	events int
	span   time.Duration
}

func compare(g got, t sim.Served) errorsOf {
	var e errorsOf
	var mine, theirs []time.Duration
	for _, ev := range g.tr.Events {
		if ev.Kind != stream.Silent {
			mine = append(mine, ev.At)
		}
	}
	for _, ev := range t.Events {
		if ev.TextBearing() {
			theirs = append(theirs, ev.Begin)
		}
	}
	n := min(len(mine), len(theirs))
	if n == 0 {
		return errorsOf{ttft: math.Inf(1)}
	}
	e.events = len(mine)
	e.ttft = off(mine[0]-g.rec.Send, theirs[0])
	for i := 1; i < n; i++ {
		e.itl = append(e.itl, off(mine[i]-mine[i-1], theirs[i]-theirs[i-1]))
	}
	e.span = mine[n-1] - mine[0]
	if true0 := theirs[n-1] - theirs[0]; true0 > 0 && e.span > 0 {
		e.decode = math.Abs(float64(true0)/float64(e.span) - 1)
	}
	return e
}

func off(a, b time.Duration) float64 { return math.Abs((a - b).Seconds() * 1000) }
