package drivertest

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/oracle/judge"
	"github.com/llm-speed/llm-speed/internal/stream"
)

const (
	tries   = 8                     // how often a case is served until its figures are right once: other programs make single ones late
	longest = 80 * time.Millisecond // what a case takes over the socket; longer timetables are run faster
	cuts    = 3                     // sets of cuttings of each case
)

// wire lets one timed stream run at a time: suites that run in parallel would make each other's late.
var wire sync.Mutex

// checkOracle plays every case of the driver's dialects: replayed with exact figures, cut in other portions, and served over
// a socket. Each recording takes what a driver notes of a request from one that the driver made itself.
func checkOracle(t *testing.T, s *Suite) {
	for _, name := range s.Oracle {
		t.Run(name, func(t *testing.T) {
			d := oracle.DialectOf(name)
			if d == nil {
				t.Fatalf("package oracle has no dialect %q", name)
			}
			b := s.open(t)
			_, tr, err, _ := b.run(t.Context(), t, Script{Writes: s.Good}, Ask())
			if err != nil {
				t.Fatal(err)
			}
			if d.Model = tr.Model; d.Model == "" {
				d.Model = oracle.NoModel
			}
			played := 0
			for _, c := range d.Cases() {
				t.Run(c.Name, func(t *testing.T) { b.play(t, &c) })
				played++
			}
			if played < 30 {
				t.Errorf("only %d cases", played)
			}
		})
	}
}

// play puts one case through the driver.
func (b *bench) play(t *testing.T, c *oracle.Case) {
	like, _, err, _ := b.run(t.Context(), t, Script{Writes: b.Good}, question(c))
	if err != nil {
		t.Fatal(err)
	}
	asIfSent(c, &like)
	if b.replay(t, c, like); t.Failed() {
		return
	}
	for seed := range uint64(cuts) {
		for _, cut := range judge.Cuttings(c, seed) {
			t.Run(cut.Name, func(t *testing.T) { b.recut(t, c, like, cut) })
		}
	}
	if !t.Failed() {
		t.Run("socket", func(t *testing.T) { b.serve(t, c) })
	}
}

// question is the request that a case answers.
func question(c *oracle.Case) drivers.Request {
	r := Ask()
	r.OutputTokens, r.Reuse, r.FirstByteWithin, r.IdleWithin = c.Asked.Output, c.Asked.Reuse, 10*time.Second, 10*time.Second
	return r
}

// asIfSent makes a recording say that as many prompt ids were sent as the case's server counts: the test's own prompt is
// shorter than that.
func asIfSent(c *oracle.Case, rec *stream.Recording) {
	if rec.PromptIDs > 0 && c.Want.Prompt.From != "" {
		rec.PromptIDs = c.Want.Prompt.N
	}
}

func (b *bench) measure(c *oracle.Case, rec stream.Recording) (measure.Sample, stream.Transcript, error) {
	tr, err := b.ses.Decode(rec)
	return measure.Request(rec, tr, judge.Asked(c, err)), tr, err
}

// sameWords holds texts, counts and the error to the case.
func sameWords(t *testing.T, c *oracle.Case, s *measure.Sample, tr *stream.Transcript, err error) {
	t.Helper()
	if d := cmp.Diff(judge.WantWords(c), judge.WordsOf(s, tr)); d != "" {
		t.Errorf("(- want, + got)\n%s", d)
	}
	if w := judge.WrongError(c, err); w != "" {
		t.Error(w)
	}
}

// replay plays a case in virtual time: every figure is exact.
func (b *bench) replay(t *testing.T, c *oracle.Case, like stream.Recording) {
	t.Helper()
	s, tr, err := b.measure(c, judge.Recording(c, like))
	sameWords(t, c, &s, &tr, err)
	for _, f := range judge.Figures(c, &s, nil) {
		if w := f.Wrong(true); w != "" {
			t.Error(w)
		}
	}
	if w := judge.WrongFlags(c, &s); w != "" {
		t.Error(w)
	}
}

// recut reads the same bytes in other portions.
func (b *bench) recut(t *testing.T, c *oracle.Case, like stream.Recording, cut judge.Cutting) {
	s, tr, err := b.measure(c, cut.Apply(judge.Recording(c, like)))
	sameWords(t, c, &s, &tr, err)
	for _, w := range cut.Wrong(c, &s) {
		t.Error(w)
	}
}

// serve plays a case over a socket. Texts and counts are right each time; figures are compared with what the server did when,
// but for the race detector, which makes the client several times slower.
func (b *bench) serve(t *testing.T, c *oracle.Case) {
	within := longest
	if c.Want.Stalls.X > 0 || c.ByClock() {
		within = time.Second // a stall has a length of its own, and so has a time that the server states
	}
	var wrong map[string]string // by figure, what is wrong with its best try
	for range tries {
		p := NewPlay(c, within)
		if raceDetector && !c.ByClock() { // no time is compared then
			p = PlayWithin(c, longest/4)
		}
		b.srv.Play(b.Stream, Script{Play: p})
		wire.Lock()
		rec, serr := b.ses.Stream(t.Context(), question(c))
		wire.Unlock()
		select {
		case <-p.Over:
		case <-time.After(10 * time.Second):
			t.Fatalf("no stream was asked for: %v", serr)
		}
		asIfSent(c, &rec)
		tr, err := b.ses.Decode(rec)
		if err == nil {
			err = serr
		}
		s := measure.Request(rec, tr, judge.Asked(c, err))
		sameWords(t, c, &s, &tr, err)
		if t.Failed() || raceDetector {
			return
		}
		truth := c.Truth(p.Moments)
		now := map[string]string{"flags": judge.WrongFlags(c, &s)}
		for _, f := range judge.Figures(c, &s, &truth) {
			if f.Name == "p50" || f.Name == "p95" {
				f.Slack = 1 // ms: in a timetable run faster the gaps are about as long as the scheduler's whims
			}
			now[f.Name] = f.Wrong(false)
		}
		if wrong == nil {
			wrong = now
		}
		for name, w := range now {
			if w == "" {
				delete(wrong, name)
			}
		}
		if len(wrong) == 0 {
			return
		}
	}
	var all []string
	for _, w := range wrong {
		all = append(all, w)
	}
	t.Errorf("%d tries: %s", tries, strings.Join(all, "; "))
}
