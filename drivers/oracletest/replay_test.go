package oracletest

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/oracle/judge"
)

// TestReplay plays every case in virtual time: every figure is exact.
func TestReplay(t *testing.T) {
	for _, c := range oracle.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			s, tr, err := replay(&c, record(&c))
			sameWords(t, judge.WantWords(&c), judge.WordsOf(&s, &tr))
			for _, f := range judge.Figures(&c, &s, nil) {
				if w := f.Wrong(true); w != "" {
					t.Error(w)
				}
			}
			for _, w := range []string{judge.WrongFlags(&c, &s), judge.WrongError(&c, err)} {
				if w != "" {
					t.Error(w)
				}
			}
			if want := s.TTFT.X - float64(c.Sched)/float64(time.Millisecond); s.TTFT.Known && s.TTFTSched.X != want {
				t.Errorf("ttft from the intended start is %v, want %v", s.TTFTSched, want)
			}
			if want := float64(c.HeadAt) / float64(time.Millisecond); s.TTFB.X != want {
				t.Errorf("first byte %v, want %v", s.TTFB, want)
			}
			for _, w := range c.Wrong {
				got := map[string]measure.Value{"ttft": s.TTFT, "decode": s.Decode, "prefill": s.ServerPrefill}[w.Figure]
				if got.Known && math.Abs(got.X/w.X-1) < 0.02 {
					t.Errorf("%s is %v: the number of a client that %s", w.Figure, got.X, w.Client)
				}
			}
			if f, bound := measure.ClientLag([]measure.Sample{s}); bound != (c.ReadLag > 2*time.Millisecond) {
				t.Errorf("client_bound: %v %v", bound, f)
			}
		})
	}
}

// samplesOf replays streams that must all succeed.
func samplesOf(t *testing.T, cases ...oracle.Case) []measure.Sample {
	t.Helper()
	var out []measure.Sample
	for _, c := range cases {
		s, _, err := replay(&c, record(&c))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

func checkValue(t *testing.T, name string, got measure.Value, want oracle.Fig) {
	t.Helper()
	if w := (judge.Figure{Name: name, Got: got, Want: want}).Wrong(true); w != "" {
		t.Error(w)
	}
}

func TestReplayPairs(t *testing.T) {
	for _, p := range oracle.Pairs() {
		t.Run(p.Name, func(t *testing.T) {
			s := samplesOf(t, p.Long, p.Probe)
			checkValue(t, "prefill", measure.PrefillEstimate(&s[0], &s[1]), p.Prefill)
		})
	}
}

func TestReplayBatches(t *testing.T) {
	for _, b := range oracle.Batches() {
		t.Run(b.Name, func(t *testing.T) {
			got := measure.Batch(samplesOf(t, b.Streams...))
			checkValue(t, "aggregate", got.Aggregate, b.Aggregate)
			checkValue(t, "span", got.Span, b.Span)
			checkValue(t, "per stream", got.PerStream, b.PerStream)
			checkValue(t, "fairness", got.Fairness, b.Fairness)
			if got.Parallelism != b.Parallelism || !slices.Equal(judge.FlagNames(got.Flags), b.Flags) {
				t.Errorf("parallelism %d, flags %v", got.Parallelism, got.Flags)
			}
		})
	}
}

func TestReplayRows(t *testing.T) {
	for _, r := range oracle.Rows() {
		t.Run(r.Name, func(t *testing.T) {
			over := measure.Over(measure.Each(samplesOf(t, r.Passes...), func(s *measure.Sample) measure.Value { return s.Decode }))
			checkValue(t, "decode", over.Headline, r.Decode)
			if _, unstable := over.Unstable("decode_tps"); unstable != r.Unstable {
				t.Errorf("unstable: %v; %+v", unstable, over)
			}
			sum := 0.0
			for _, v := range over.Values {
				sum += v.X
			}
			if got := sum / float64(len(over.Values)); math.Abs(got-r.Mean) > 1e-9 {
				t.Errorf("a client that takes the mean gets %v, not %v", got, r.Mean)
			}
		})
	}
}

// TestStampsThatGoBack shows that a recording whose clock stepped gives no figure at all.
func TestStampsThatGoBack(t *testing.T) {
	c := oracle.Cases()[0]
	rec := record(&c)
	for i := 60; i < len(rec.Reads); i++ {
		rec.Reads[i].At -= 500 * time.Millisecond
	}
	s, _, err := replay(&c, rec)
	if err != nil {
		t.Fatal(err)
	}
	back := oracle.Fig{Why: "stamps go back"}
	checkValue(t, "ttft", s.TTFT, back)
	checkValue(t, "decode", s.Decode, back)
	checkValue(t, "e2e", s.Wall, back)
	checkValue(t, "p50", measure.ITL([]measure.Sample{s}).P50, back)
}
