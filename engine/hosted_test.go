package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// service is the fake as a hosted service: it has limits, refuses requests, and learns.
type service struct {
	*fake
	conf *serviceConf
}

type serviceConf struct {
	fakeConf
	price  *drivers.Price
	pace   func(now time.Duration, requests, prompt, output int) (time.Duration, string)
	refuse func(stream int, req drivers.Request) int // HTTP status instead of the stream; 0: none
	learns string                                    // word in a refusal that Adapt knows
	inside func(drivers.Request, time.Duration) bool // whether the stream ends in an error of its own

	mu      sync.Mutex
	asked   []asked
	adapted bool
	prompt  int // tokens of all requests that were answered
	output  int
}

type asked struct{ requests, prompt, output int }

// hosted is the service without a tokenizer, as hosted ones are.
type hosted struct {
	drivers.Session
	drivers.Pacer
	drivers.Adapter
}

func (c *serviceConf) spec(kind drivers.Kind) drivers.Spec {
	return drivers.Spec{Name: "fake", Title: "a service in virtual time", Kind: kind, Open: func(ctx context.Context, cfg drivers.Config, n drivers.Need) (drivers.Session, error) {
		s := &service{fake: &fake{clock: cfg.Clock, need: n, conf: &c.fakeConf}, conf: c}
		return hosted{s, s, s}, nil
	}}
}

func (s *service) Info() drivers.Info {
	i := s.fake.Info()
	i.Attached, i.Price, i.Model.Path, i.Template, i.IgnoresEOS = true, s.conf.price, "", drivers.NotKnown, false
	return i
}

func (s *service) Pace(requests, prompt, output int) (time.Duration, string) {
	s.conf.mu.Lock()
	defer s.conf.mu.Unlock()
	s.conf.asked = append(s.conf.asked, asked{requests, prompt, output})
	if s.conf.pace == nil {
		return 0, ""
	}
	return s.conf.pace(s.clock.Now(), requests, prompt, output)
}

func (s *service) Adapt(err error) (string, bool) {
	s.conf.mu.Lock()
	defer s.conf.mu.Unlock()
	if s.conf.learns == "" || s.conf.adapted || !strings.Contains(err.Error(), s.conf.learns) {
		return "", false
	}
	s.conf.adapted = true
	return "no " + s.conf.learns, true
}

func (s *service) Stream(ctx context.Context, req drivers.Request) (stream.Recording, error) {
	s.conf.fakeConf.mu.Lock()
	n := s.conf.streams
	s.conf.fakeConf.mu.Unlock()
	if s.conf.refuse != nil {
		if status := s.conf.refuse(n, req); status != 0 {
			s.conf.fakeConf.mu.Lock()
			s.conf.streams++
			s.conf.fakeConf.mu.Unlock()
			rec := stream.Recording{Protocol: "fake", Outcome: stream.Complete, Status: status, Send: s.clock.Now() + 1}
			if req.Hold != nil {
				var err error
				if rec.Sched, err = req.Hold(ctx); err != nil {
					return rec, err
				}
			}
			return rec, nil
		}
	}
	rec, err := s.fake.Stream(ctx, req)
	if s.conf.inside != nil && s.conf.inside(req, rec.Send) {
		rec.Data = append(rec.Data, "overloaded\n"...)
	}
	s.conf.mu.Lock()
	s.conf.prompt += len(words(req.Prompt))
	s.conf.output += req.OutputTokens
	s.conf.mu.Unlock()
	return rec, err
}

func (s *service) Decode(rec stream.Recording) (stream.Transcript, error) {
	if rec.Status >= 400 {
		return stream.Transcript{}, &drivers.APIError{Kind: drivers.KindOfStatus(rec.Status, ""), Status: rec.Status, Message: "refused temperature"}
	}
	tr, err := s.fake.Decode(rec)
	if bytes.HasSuffix(rec.Data, []byte("overloaded\n")) {
		err = &drivers.APIError{Kind: drivers.ErrOverloaded, Status: 200, Message: "overloaded"}
	}
	return tr, err
}

// runService runs rows of the test suite on a service, in virtual time.
func runService(t *testing.T, c *serviceConf, kind drivers.Kind, change func(*engine.Options)) (res *record.Result, took time.Duration) {
	t.Helper()
	s := load(t, "60", nil)
	synctest.Test(t, func(t *testing.T) {
		o := options(s, &c.fakeConf)
		o.Spec = c.spec(kind)
		o.Repeats = 1
		change(&o)
		began := time.Now()
		var err error
		if res, err = engine.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		took = time.Since(began)
	})
	return res, took
}

// TestPaceWaitsBetweenSamples: a limit of one request each 20 s stretches the run and no time in it.
func TestPaceWaitsBetweenSamples(t *testing.T) {
	free, _ := runService(t, &serviceConf{}, drivers.Hosted, func(o *engine.Options) { o.Workloads = []string{"talk"} })
	var next time.Duration
	c := &serviceConf{pace: func(now time.Duration, requests, _, _ int) (time.Duration, string) {
		if wait := next - now; wait > 0 {
			return wait, "1 left of 1 requests, and 1 are needed"
		}
		next = now + time.Duration(requests)*20*time.Second
		return 0, ""
	}}
	var notes []string
	var mu sync.Mutex
	paced, took := runService(t, c, drivers.Hosted, func(o *engine.Options) {
		o.Workloads = []string{"talk"}
		o.Watch.Note = func(line string) { mu.Lock(); notes = append(notes, line); mu.Unlock() }
	})
	a, b := free.Rows[0], paced.Rows[0]
	if a.Status != record.OK || b.Status != record.OK {
		t.Fatalf("%s %s, %s %s", a.Status, a.Reason, b.Status, b.Reason)
	}
	if took < 60*time.Second {
		t.Errorf("the run took %v; its requests have 20 s between them", took)
	}
	near(t, "wall clock", b.Wallms, *a.Wallms, 1e-6)
	near(t, "time of a turn", b.TurnP50ms, *a.TurnP50ms, 1e-6)
	near(t, "ttft", b.TTFTms, *a.TTFTms, 1e-6)
	if b.Pauses == nil || b.Pauses.WaitedS < 39 || b.Pauses.Repeated != 0 || len(b.Pauses.Why) == 0 || a.Pauses != nil {
		t.Errorf("pauses %+v, and without limits %+v", b.Pauses, a.Pauses)
	}
	if !slices.ContainsFunc(notes, func(l string) bool { return strings.Contains(l, "waiting 20s for the rate limit") }) {
		t.Errorf("notes %q", notes)
	}
	// What is asked for is what is sent: tokens of the prompt, bounded from above, and those of the answer.
	for _, q := range c.asked {
		if q.requests < 1 || q.prompt < 1 || q.output < 1 {
			t.Errorf("asked for %+v", q)
		}
	}
}

func TestPaceStaysInBudget(t *testing.T) {
	forever := func(time.Duration, int, int, int) (time.Duration, string) {
		return 5 * time.Hour, "0 left of 1000 requests day"
	}
	for _, c := range []struct {
		max  time.Duration
		left string
	}{{0, "10m0s are left"}, {3 * time.Minute, "3m0s are left"}} {
		res, took := runService(t, &serviceConf{pace: forever}, drivers.Hosted, func(o *engine.Options) { o.Workloads, o.MaxTime = []string{"short"}, c.max })
		row := res.Rows[0]
		if row.Status != record.Failed || !strings.Contains(row.Reason, "5h0m0s") || !strings.Contains(row.Reason, c.left) || !strings.Contains(row.Reason, "requests day") {
			t.Errorf("%s: %s", row.Status, row.Reason)
		}
		if took > time.Minute {
			t.Errorf("it waited %v for nothing", took)
		}
	}
}

// TestRefusedSamplesAreVoid: what the service refuses is sent again after the wait, and leaves no trace in any figure.
func TestRefusedSamplesAreVoid(t *testing.T) {
	plain, _ := runService(t, &serviceConf{}, drivers.Hosted, func(o *engine.Options) { o.Workloads = []string{"short"} })
	for _, status := range []int{429, 503, 529} {
		refusals := 0
		var until time.Duration
		c := &serviceConf{
			refuse: func(_ int, req drivers.Request) int {
				if req.OutputTokens == 101 && refusals < 2 {
					refusals++
					until = -1
					return status
				}
				return 0
			},
		}
		c.pace = func(now time.Duration, _, _, _ int) (time.Duration, string) {
			if until == -1 {
				until = now + 7*time.Second
			}
			return max(until-now, 0), fmt.Sprintf("it answered HTTP %d", status)
		}
		res, _ := runService(t, c, drivers.Hosted, func(o *engine.Options) { o.Workloads = []string{"short"} })
		row := res.Rows[0]
		if row.Status != record.OK || len(row.Samples) != 1 || row.Requests != 1 {
			t.Fatalf("%d: %s %s, %d samples", status, row.Status, row.Reason, len(row.Samples))
		}
		near(t, "decode", row.DecodeTPS, *plain.Rows[0].DecodeTPS, 1e-9)
		near(t, "ttft", row.TTFTms, *plain.Rows[0].TTFTms, 1e-9)
		near(t, "wall clock", row.Wallms, *plain.Rows[0].Wallms, 1e-9)
		if row.Pauses == nil || row.Pauses.Repeated != 2 || row.Pauses.WaitedS < 13.9 || row.Pauses.WaitedS > 14.1 {
			t.Errorf("%d: pauses %+v", status, row.Pauses)
		}
		for _, f := range row.Flags {
			if f.Name == "errors" {
				t.Errorf("%d: flag %+v", status, f)
			}
		}
	}
}

// TestRefusedForGood: a service that goes on refusing fails the row, and nothing loops.
func TestRefusedForGood(t *testing.T) {
	c := &serviceConf{refuse: func(_ int, req drivers.Request) int {
		if req.OutputTokens == 101 {
			return 429
		}
		return 0
	}}
	res, _ := runService(t, c, drivers.Hosted, func(o *engine.Options) { o.Workloads = []string{"short"} })
	row := res.Rows[0]
	if row.Status != record.Failed || !strings.Contains(row.Reason, "429") || len(row.Samples) != 1 || row.Samples[0].Error == "" {
		t.Errorf("%s: %s, %d samples", row.Status, row.Reason, len(row.Samples))
	}
	if n := len(c.outputs); n > 12 {
		t.Errorf("%d requests", n)
	}
	if spent := res.Budget.Tokens; spent == nil || spent.Uncounted != 0 {
		t.Errorf("refused requests were taken for spent: %+v", spent)
	}
}

// TestGivenUpInside: a service that gives a stream up without naming a time is left alone for a while, longer each time.
func TestGivenUpInside(t *testing.T) {
	var at []time.Duration
	c := &serviceConf{inside: func(req drivers.Request, now time.Duration) bool {
		if req.OutputTokens != 101 {
			return false
		}
		at = append(at, now)
		return len(at) <= 3
	}}
	res, _ := runService(t, c, drivers.Hosted, func(o *engine.Options) { o.Workloads = []string{"short"} })
	row := res.Rows[0]
	if row.Status != record.OK || len(at) != 4 || row.Pauses == nil || row.Pauses.Repeated != 3 || row.Pauses.WaitedS != 35 {
		t.Fatalf("%s %s, sent at %v, pauses %+v", row.Status, row.Reason, at, row.Pauses)
	}
	for i, least := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second} {
		if gap := at[i+1] - at[i]; gap < least || gap > least+5*time.Second {
			t.Errorf("try %d came %v after the one before", i+2, gap)
		}
	}
}

// TestBatchIsVoidAsAWhole: one refused stream voids its batch, and prompts that the service has met are made anew.
func TestBatchIsVoidAsAWhole(t *testing.T) {
	var mu sync.Mutex
	n := 0
	c := &serviceConf{refuse: func(_ int, req drivers.Request) int {
		mu.Lock()
		defer mu.Unlock()
		if req.OutputTokens != 51 {
			return 0
		}
		if n++; n == 2 {
			return 429
		}
		return 0
	}}
	res, _ := runService(t, c, drivers.Hosted, func(o *engine.Options) { o.Workloads = []string{"many/4"} })
	row := res.Rows[0]
	if row.Status != record.OK || len(row.Samples) != 4 || row.Pauses == nil || row.Pauses.Repeated != 1 {
		t.Fatalf("%s %s, %d samples, pauses %+v", row.Status, row.Reason, len(row.Samples), row.Pauses)
	}
	seen := map[string]int{}
	for i, p := range c.prompts {
		if c.outputs[i] == 51 {
			seen[p]++
		}
	}
	for p, times := range seen {
		if times > 1 {
			t.Errorf("a prompt that had been answered was sent %d times: %.60s", times, p)
		}
	}
}

// TestAdapt: a refused field is left out from then on, at the first request that meets it.
func TestAdapt(t *testing.T) {
	c := &serviceConf{learns: "temperature"}
	c.refuse = func(int, drivers.Request) int {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.adapted {
			return 0
		}
		return 400
	}
	res, _ := runService(t, c, drivers.Hosted, func(o *engine.Options) { o.Workloads = []string{"short"} })
	if row := res.Rows[0]; row.Status != record.OK || row.Pauses != nil {
		t.Errorf("%s: %s, pauses %+v", row.Status, row.Reason, row.Pauses)
	}
	never := &serviceConf{refuse: func(int, drivers.Request) int { return 400 }}
	res, _ = runService(t, never, drivers.Hosted, func(o *engine.Options) { o.Workloads = []string{"short"} })
	if row := res.Rows[0]; row.Status != record.Failed || len(never.fakeConf.outputs) > 1 || never.streams != 1 {
		t.Errorf("%s: %s, %d streams", row.Status, row.Reason, never.streams)
	}
}

// spent is what the service has really been sent.
func (c *serviceConf) spent() int { return c.prompt + c.output }

// TestCeiling: whatever the ceiling, and whatever the engine sends of its own accord, it is never passed.
func TestCeiling(t *testing.T) {
	for most := 50; most < 6000; most += 271 {
		for _, kind := range []drivers.Kind{drivers.Hosted, drivers.Local} {
			c := &serviceConf{}
			res, _ := runService(t, c, kind, func(o *engine.Options) { o.MaxTokens, o.Repeats, o.MaxTime = most, 0, 20*time.Second })
			got := c.spent()
			if got > most {
				t.Fatalf("%s, ceiling %d: %d tokens were sent", kind, most, got)
			}
			b := res.Budget
			if b.Tokens == nil || b.Tokens.Prompt+b.Tokens.Output != got || b.TokensMax == nil || *b.TokensMax != most {
				t.Fatalf("%s, ceiling %d: %d sent, told %+v", kind, most, got, b.Tokens)
			}
			for _, row := range res.Rows {
				switch {
				case row.Status == record.Skipped && !strings.Contains(row.Reason, "--max-tokens-total"):
					t.Errorf("%s: skipped: %s", row.Key, row.Reason)
				case row.Status == record.Failed:
					t.Errorf("%s: failed: %s", row.Key, row.Reason)
				case row.Status == record.Skipped && res.State != record.Partial:
					t.Errorf("%s is skipped and the run is %s", row.Key, res.State)
				}
				for _, f := range row.Flags {
					if f.Name == "errors" {
						t.Errorf("%s: flag %+v", row.Key, f)
					}
				}
			}
		}
	}
}

// TestCeilingKeepsWhatThereIs: passes that had ended stay, the one that was cut leaves no figure.
func TestCeilingKeepsWhatThereIs(t *testing.T) {
	plain := &serviceConf{}
	runService(t, plain, drivers.Hosted, func(o *engine.Options) { o.Workloads, o.Repeats = []string{"short"}, 1 })
	c := &serviceConf{}
	res, _ := runService(t, c, drivers.Hosted, func(o *engine.Options) {
		o.Workloads, o.Repeats, o.MaxTokens = []string{"short"}, 6, plain.spent()+1500
	})
	row := res.Rows[0]
	if row.Status != record.OK || row.Passes < 1 || row.Passes > 5 || row.DecodeTPS == nil || !strings.Contains(row.Reason, "the ceiling of") || res.State != record.Partial {
		t.Errorf("%s after %d passes: %s; the run is %s", row.Status, row.Passes, row.Reason, res.State)
	}
}

func TestEstimate(t *testing.T) {
	c := &serviceConf{price: &drivers.Price{Prompt: 1e-6, Output: 5e-6, Request: 0.001, From: "here"}}
	var plan engine.Plan
	var before int
	runService(t, c, drivers.Hosted, func(o *engine.Options) {
		o.Watch.Planned = func(p engine.Plan) { plan, before = p, c.streams }
	})
	if before != 0 {
		t.Errorf("%d requests were sent before the estimate", before)
	}
	e := plan.Estimate
	prompt, output := c.prompt, c.output
	if got := len(c.prompts); e.Requests < got || e.Requests > 2*got {
		t.Errorf("%d requests expected, %d made", e.Requests, got)
	}
	if e.Prompt < prompt || e.Prompt > 2*prompt || e.Output < output || e.Output > output+100 {
		t.Errorf("%d and %d tokens expected, %d and %d sent", e.Prompt, e.Output, prompt, output)
	}
	usd, ok := e.USD()
	if want := float64(e.Prompt)*1e-6 + float64(e.Output)*5e-6 + float64(e.Requests)*0.001; !ok || usd != want {
		t.Errorf("%v %v, want %v", usd, ok, want)
	}
	if _, ok := (engine.Estimate{Prompt: 5}).USD(); ok {
		t.Error("a cost without a price")
	}
}

// TestEstimateOfShortPrompts: texts that only long prompts are fitted by are not in the estimate of a run that has none.
func TestEstimateOfShortPrompts(t *testing.T) {
	for _, workload := range []string{"short", "talk", "many/4"} {
		c := &serviceConf{}
		var plan engine.Plan
		runService(t, c, drivers.Hosted, func(o *engine.Options) {
			o.Workloads, o.Watch.Planned = []string{workload}, func(p engine.Plan) { plan = p }
		})
		if e := plan.Estimate; e.Prompt < c.prompt || e.Prompt > 2*c.prompt+1300 { // room to have each answer counted back, and its beginning
			t.Errorf("%s: %d prompt tokens expected, %d sent", workload, e.Prompt, c.prompt)
		}
	}
}

// TestCeilingKnowsTheLine: a row is not begun where the texts that its prompts are fitted by would not fit below the ceiling.
func TestCeilingKnowsTheLine(t *testing.T) {
	c := &serviceConf{}
	res, _ := runService(t, c, drivers.Hosted, func(o *engine.Options) { o.Workloads, o.MaxTokens = []string{"grow"}, 3000 })
	if len(c.prompts) != 0 || slices.ContainsFunc(res.Rows, func(r record.Row) bool { return r.Status != record.Skipped }) || !strings.Contains(res.Rows[0].Reason, "left of the ceiling") {
		t.Errorf("%d requests; %s: %s", len(c.prompts), res.Rows[0].Status, res.Rows[0].Reason)
	}
}

// TestHostedSpendsNoSparePasses: time that is left is no reason to send more to a service that is paid for.
func TestHostedSpendsNoSparePasses(t *testing.T) {
	res, _ := runService(t, &serviceConf{}, drivers.Hosted, func(o *engine.Options) { o.Workloads, o.Repeats = []string{"grow"}, 0 })
	for _, row := range res.Rows {
		if row.Passes != 1 {
			t.Errorf("%s: %d passes", row.Key, row.Passes)
		}
	}
	if !slices.ContainsFunc(res.Budget.Cut, func(s string) bool { return strings.Contains(s, "--repeats") }) {
		t.Errorf("cut: %q", res.Budget.Cut)
	}
}

// TestTextOfHostedAnswers: it is kept only where that was asked for; the rest of a recording is the same.
func TestTextOfHostedAnswers(t *testing.T) {
	var kept, masked [][]byte
	for _, keep := range []bool{true, false} {
		res, _ := runService(t, &serviceConf{}, drivers.Hosted, func(o *engine.Options) {
			o.Workloads, o.KeepText = []string{"short"}, keep
			o.SaveRaw = func(_ string, _ int, recs []stream.Recording) (record.RawFile, error) {
				for _, r := range recs {
					if keep {
						kept = append(kept, r.Data)
					} else {
						masked = append(masked, r.Data)
					}
				}
				return record.RawFile{Path: "raw/x"}, nil
			}
		})
		if _, told := res.Reasons["raw_timings.text"]; told == keep {
			t.Errorf("keep %v: reasons %v", keep, res.Reasons)
		}
	}
	if len(kept) == 0 || len(kept) != len(masked) {
		t.Fatalf("%d and %d recordings", len(kept), len(masked))
	}
	for i := range kept { // the fake's lines are no JSON: nothing of them is text
		if !bytes.Equal(kept[i], masked[i]) {
			t.Errorf("recording %d differs", i)
		}
	}
}

// TestPausesAreInNoTimer: prompts are fitted inside of a pass, and what is waited for then is in no figure of a program.
func TestPausesAreInNoTimer(t *testing.T) {
	program := map[string]string{"talk.star": "def run(w):\n    t = timer()\n    stream(prompt(tokens = 200), output_tokens = 50)\n    w.record(\"turn_ms\", t.elapsed_ms())\n"}
	run := func(pace func(time.Duration, int, int, int) (time.Duration, string)) (elapsed float64, p *record.Pauses) {
		res, _ := runService(t, &serviceConf{pace: pace}, drivers.Hosted, func(o *engine.Options) {
			o.Suite, o.Workloads = load(t, "60", program), []string{"talk"}
		})
		row := res.Rows[0]
		if row.Status != record.OK {
			t.Fatalf("%s: %s", row.Status, row.Reason)
		}
		return row.Metrics["turn_ms"].Values[0][0], row.Pauses
	}
	free, none := run(nil)
	var next time.Duration
	paced, pauses := run(func(now time.Duration, _, _, _ int) (time.Duration, string) {
		if next > now {
			return next - now, "slow"
		}
		next = now + 30*time.Second
		return 0, ""
	})
	if none != nil || pauses == nil || pauses.WaitedS < 100 {
		t.Fatalf("pauses %+v and %+v", none, pauses)
	}
	if paced < free-0.001 || paced > free+0.001 {
		t.Errorf("the timer says %g ms, and %g ms with waits", free, paced)
	}
}

// counting is the service with a count of prompts that costs nothing.
type counting struct {
	hosted
	drivers.TokenCounter
}

func (s *service) CountTokens(_ context.Context, p drivers.Prompt) (int, error) {
	return len(words(p)), nil
}

// TestCountedPrompts: where a service counts for nothing, prompts are fitted by its counts, and nothing is sent to learn them.
func TestCountedPrompts(t *testing.T) {
	c := &serviceConf{}
	res, _ := runService(t, c, drivers.Hosted, func(o *engine.Options) {
		o.Workloads = []string{"grow"}
		open := o.Spec.Open
		o.Spec.Open = func(ctx context.Context, cfg drivers.Config, n drivers.Need) (drivers.Session, error) {
			s, err := open(ctx, cfg, n)
			h := s.(hosted)
			return counting{h, h.Session.(*service)}, err
		}
	})
	for _, row := range res.Rows {
		want := int(row.Point["size"].(float64))
		if got := row.Samples[0].Prompt.N; got == nil || *got < want-1 || *got > want {
			t.Errorf("%s: %v prompt tokens", row.Key, got)
		}
	}
	if timed := len(res.Rows); c.streams != timed+1+5 { // beside them a warm-up and five probes
		t.Errorf("%d requests for %d samples", c.streams, timed)
	}
}

// TestCeilingCountsEarlierInvocations: what a run took before it was resumed counts against its ceiling, and is told.
func TestCeilingCountsEarlierInvocations(t *testing.T) {
	for most := 3000; most < 20000; most += 2000 {
		first, then := &serviceConf{}, &serviceConf{}
		old, _ := runService(t, first, drivers.Hosted, func(o *engine.Options) { o.MaxTokens, o.Repeats = most, 0 })
		res, _ := runService(t, then, drivers.Hosted, func(o *engine.Options) { o.MaxTokens, o.Repeats, o.Resume = most, 0, old })
		spent := first.spent() + then.spent()
		if spent > most {
			t.Errorf("ceiling %d: %d tokens were sent, and then %d", most, first.spent(), then.spent())
		}
		if b := res.Budget.Tokens; b == nil || b.Prompt+b.Output != spent {
			t.Errorf("ceiling %d: told %+v, sent %d and %d", most, b, first.spent(), then.spent())
		}
	}
}

// TestSavedRowsTellTokens: a document that was saved in the middle says what the run had taken, for who is killed writes
// no end.
func TestSavedRowsTellTokens(t *testing.T) {
	var saved []int
	runService(t, &serviceConf{}, drivers.Hosted, func(o *engine.Options) {
		o.Save = func(r *record.Result) error {
			if len(r.Rows) > 0 && r.State == record.Running {
				if r.Budget.Tokens == nil {
					t.Fatal("saved with rows and without tokens")
				}
				saved = append(saved, r.Budget.Tokens.Prompt)
			}
			return nil
		}
	})
	if len(saved) == 0 || saved[0] == 0 {
		t.Errorf("saved tokens: %v", saved)
	}
}
