package oracletest

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/drivers/openaicompat"
	simdriver "github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/oracle/judge"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// event is the event of a chat stream whose delta is the given text, with pad bytes of another field before it.
func event(text string, pad int) string {
	padding := ""
	if pad > 0 {
		padding = `"padding":"` + strings.Repeat("x", pad) + `",`
	}
	return `data: {` + padding + `"choices":[{"delta":{"content":"` + text + `"}}]}` + "\n\n"
}

// long is a chat stream of n events, 130 or more for its percentiles to be known, of one token each: the first after first,
// the next each gap later. text gives event i's.
func long(first, gap time.Duration, n int, text func(i int) string) oracle.Case {
	ms := func(d time.Duration) oracle.Fig { return oracle.Fig{X: float64(d) / float64(time.Millisecond)} }
	c := oracle.Case{
		Protocol: oracle.Chat, Asked: oracle.Asked{Output: n, Prompt: 1000, Template: 20, CacheBlock: 1},
		Want: oracle.Want{
			Prompt: oracle.Count{N: 1000, From: "A"}, Cached: oracle.Count{From: "A"}, Output: oracle.Count{N: n, From: "A"}, Events: n, How: "one a token",
			TTFT: ms(first), TTFA: ms(first), E2E: ms(first + time.Duration(n-1)*gap), Decode: oracle.Fig{X: float64(time.Second) / float64(gap)},
			P50: ms(gap), P95: ms(gap), TokensPerEvent: oracle.Fig{X: 1},
			ServerPrefill: oracle.Fig{Why: "states no prefill time"}, ServerDecode: oracle.Fig{Why: "states no decode time"},
			Finish: "length", Cold: "proved",
		},
	}
	c.Writes = make([]oracle.Write, 0, n+1)
	for i := range n {
		said := text(i)
		c.Writes = append(c.Writes, oracle.Write{At: first + time.Duration(i)*gap, Data: event(said, 0), Marks: []oracle.Mark{{Text: said, Tokens: 1}}})
	}
	c.Writes = append(c.Writes, oracle.Write{At: c.Writes[n-1].At + time.Millisecond, Data: `data: {"choices":[{"delta":{},"finish_reason":"length"}]}` + "\n\n" +
		fmt.Sprintf(`data: {"choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":0}}}`, n) + "\n\ndata: [DONE]\n\n"})
	return c
}

// numbered is a text that no other event of a stream has.
func numbered(i int) string { return fmt.Sprintf(" w%06d", i) }

// saidBy is the text of the marks, which Case.Text puts together in quadratic time.
func saidBy(c *oracle.Case) string {
	var b strings.Builder
	for _, w := range c.Writes {
		for _, m := range w.Marks {
			b.WriteString(m.Text)
		}
	}
	return b.String()
}

func said(tr *stream.Transcript) string {
	var b strings.Builder
	for _, e := range tr.Events {
		b.WriteString(e.Text)
	}
	return b.String()
}

// sameText compares long texts without printing them.
func sameText(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Errorf("the text has %d bytes, want %d, and differs from byte %d on", len(got), len(want), at)
}

// sameCounts compares what no haste may change.
func sameCounts(t *testing.T, c *oracle.Case, s *measure.Sample, tr *stream.Transcript) {
	t.Helper()
	want, got := judge.WantWords(&oracle.Case{Want: c.Want}), judge.WordsOf(s, &stream.Transcript{})
	sameWords(t, want, got)
	sameText(t, said(tr), saidBy(c))
}

// listen serves a case once over a socket to a session of b's.
func (b bench) listen(t *testing.T, c *oracle.Case) (stream.Recording, stream.Transcript, *play) {
	t.Helper()
	p := &play{Play: drivertest.PlayWithin(c, time.Hour)}
	b.srv.lay(p)
	defer b.srv.lift()
	rec, err := b.ses.Stream(t.Context(), request(c))
	if err != nil {
		t.Fatal(err)
	}
	<-p.Over
	tr, err := b.ses.Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	return rec, tr, p
}

// TestTenThousandEvents takes 10,000 events in one stream. Whatever the machine does meanwhile, the counts and the text are
// exact, and every figure is what the truth's calculation makes of the recording's own stamps.
func TestTenThousandEvents(t *testing.T) {
	for _, tt := range []struct {
		name string
		gap  time.Duration
	}{{"5000 a second", 200 * time.Microsecond}, {"as fast as the socket takes them", time.Nanosecond}} {
		t.Run(tt.name, func(t *testing.T) {
			b := open(t, oracle.Chat)
			c := long(20*time.Millisecond, tt.gap, 10_000, numbered)
			wrong := "never served"
			for range tries {
				rec, tr, p := b.listen(t, &c)
				s := measure.Request(rec, tr, judge.Asked(&c, nil))
				sameCounts(t, &c, &s, &tr)
				var reads []oracle.Read
				for _, r := range rec.Reads {
					reads = append(reads, oracle.Read{End: r.End, At: r.At - rec.Send})
				}
				seen := c.Cut(reads)
				truth := seen.Truth(seen.Moments())
				for _, f := range judge.Figures(&c, &s, &truth) {
					if f.Name == "tokens/event" {
						f.Want.X = 1 // of events as the server sent them, however they were read
					}
					if w := f.Wrong(true); w != "" {
						t.Errorf("by the client's own stamps: %s", w)
					}
				}
				if t.Failed() {
					return
				}
				if tt.gap < time.Microsecond { // the server's writes fill the socket: when each was read is the reader's doing
					return
				}
				served := c.Truth(p.Moments)
				f := judge.Figure{Name: "decode", Got: s.Decode, Want: oracle.Fig{X: served.Decode}, Share: 0.005}
				if wrong = f.Wrong(false); wrong == "" {
					return
				}
			}
			t.Errorf("%d tries: %s", tries, wrong)
		})
	}
}

// TestLongLines takes streams with lines of a megabyte and more, in texts and in fields that mean nothing.
func TestLongLines(t *testing.T) {
	const within = 30 * time.Second // of all machines, also with the race detector
	texts := func(size, every int) func(int) string {
		return func(i int) string {
			if i%every == every-1 {
				return strings.Repeat(numbered(i), size/len(numbered(i))+1)[:size]
			}
			return numbered(i)
		}
	}
	padded := func(c oracle.Case, size int) oracle.Case {
		for i := range c.Writes[:c.Want.Events] {
			c.Writes[i].Data = event(c.Writes[i].Marks[0].Text, size)
		}
		return c
	}
	framed := func(c oracle.Case, f oracle.Framing) oracle.Case {
		c.Framing = f
		return c
	}
	ms := time.Millisecond
	for _, tt := range []struct {
		name string
		c    oracle.Case
	}{
		{"1 MiB of text, each fourth line", long(5*ms, ms, 32, texts(1<<20, 4))},
		{"1 MiB of padding, each line", padded(long(5*ms, ms, 32, numbered), 1<<20)},
		{"1 MiB of text in chunks of seven bytes", framed(long(5*ms, ms, 20, texts(1<<20, 20)), oracle.Crumbs)},
		{"1 MiB of text, a body of known length", framed(long(5*ms, ms, 20, texts(1<<20, 10)), oracle.Length)},
		{"8 MiB of text in one line", long(5*ms, ms, 20, texts(8<<20, 10))},
		{"8 MiB of text in one line, the first", long(5*ms, ms, 1, texts(8<<20, 1))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := open(t, oracle.Chat)
			began := time.Now()
			rec, tr, _ := b.listen(t, &tt.c)
			s := measure.Request(rec, tr, judge.Asked(&tt.c, nil))
			if took := time.Since(began); took > within {
				t.Errorf("took %v", took)
			}
			sameCounts(t, &tt.c, &s, &tr)
			if len(rec.Data) != len(tt.c.Body()) {
				t.Errorf("kept %d bytes of a body of %d", len(rec.Data), len(tt.c.Body()))
			}
		})
	}
}

// TestLongLineFromTheSimulator goes the whole way of a run: the simulator's trap, the simulator's driver.
func TestLongLineFromTheSimulator(t *testing.T) {
	for _, size := range []int{1 << 20, 8 << 20} {
		traps, err := sim.ParseTraps(fmt.Sprintf("long-line=%d", size))
		if err != nil {
			t.Fatal(err)
		}
		srv, ses := attach(t, sim.Options{Profile: profile, Traps: traps}, simdriver.Spec(), 1)
		c := oracle.Case{Asked: oracle.Asked{Output: 64}}
		rec, err := ses.Stream(t.Context(), request(&c))
		if err != nil {
			t.Fatal(err)
		}
		tr, err := ses.Decode(rec)
		if err != nil || len(rec.Data) < size {
			t.Fatalf("%v, %d bytes", err, len(rec.Data))
		}
		sameText(t, said(&tr), served(srv)[0])
		if s := measure.Request(rec, tr, judge.Asked(&c, nil)); s.Output.N != 64 || s.Events != 64 {
			t.Errorf("N %d, m %d, want 64 and 64", s.Output.N, s.Events)
		}
	}
}

// profile is a machine whose streams all run at 2,000 tok/s, however many there are and however long they are.
var profile = sim.Profile{Name: "even", PrefillTPS: 1e6, PrefillHalf: 1e12, DecodeTPS: 2000, DecodeHalf: 1e12, First: 20 * time.Millisecond,
	BatchExponent: 1, Context: 16384, Slots: 16, Speed: 1}

func attach(t *testing.T, o sim.Options, spec drivers.Spec, parallel int) (*sim.Server, drivers.Session) {
	t.Helper()
	srv, err := sim.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	ses, err := spec.Open(t.Context(), drivers.Config{URL: srv.URL(), Env: func(string) string { return "" }, Clock: clock.New(), Log: t.Logf},
		drivers.Need{Context: o.Profile.Context, Parallel: parallel})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ses.Close() })
	srv.ClearLog()
	return srv, ses
}

// served lists the texts of the streams that a simulator has served, in order.
func served(srv *sim.Server) []string {
	var texts []string
	for _, s := range srv.Log() {
		var b strings.Builder
		for _, e := range s.Events {
			if e.TextBearing() {
				b.WriteString(e.Text)
			}
		}
		texts = append(texts, b.String())
	}
	slices.Sort(texts)
	return texts
}

// TestSixteenStreams takes 16 streams of 2,000 tok/s each at once: 32,000 events a second. None is lost, none is cut, none
// gets a piece of another's text, and memory stays in proportion to what was sent.
func TestSixteenStreams(t *testing.T) {
	const streams, tokens, most = 16, 4000, 256 << 20
	for _, spec := range []drivers.Spec{openaicompat.Spec(), simdriver.Spec()} {
		t.Run(spec.Name, func(t *testing.T) {
			srv, ses := attach(t, sim.Options{Profile: profile}, spec, streams)
			stop, peak := make(chan struct{}), make(chan uint64)
			runtime.GC() // what earlier tests have left is not these streams'
			var before runtime.MemStats
			runtime.ReadMemStats(&before)
			go func() {
				highest := before.HeapInuse
				for tick := time.NewTicker(50 * time.Millisecond); ; {
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					highest = max(highest, m.HeapInuse)
					select {
					case <-stop:
						peak <- highest - before.HeapInuse
						return
					case <-tick.C:
					}
				}
			}()
			recs, errs := make([]stream.Recording, streams), make([]error, streams)
			var all sync.WaitGroup
			for i := range streams {
				all.Go(func() {
					r := request(&oracle.Case{Asked: oracle.Asked{Output: tokens}})
					r.Prompt.Messages[0].Content = fmt.Sprintf("Tell me about lake %d.", i)
					r.Seed, r.FirstByteWithin, r.IdleWithin = uint64(i)+1, 30*time.Second, 30*time.Second
					recs[i], errs[i] = ses.Stream(t.Context(), r)
				})
			}
			all.Wait()
			close(stop)
			if highest := <-peak; highest > most {
				t.Errorf("the heap grew by up to %d MiB, %d allowed", highest>>20, most>>20)
			} else {
				t.Logf("the heap grew by up to %d MiB", highest>>20)
			}
			var texts []string
			var samples []measure.Sample
			for i, rec := range recs {
				if errs[i] != nil {
					t.Fatalf("stream %d: %v", i, errs[i])
				}
				tr, err := ses.Decode(rec)
				if err != nil {
					t.Fatalf("stream %d: %v", i, err)
				}
				s := measure.Request(rec, tr, measure.Asked{OutputTokens: tokens, Cold: true, Template: -1})
				if s.Output != (stream.Count{N: tokens, From: stream.Usage}) || s.Events != tokens || rec.Outcome != stream.Complete || s.Finish != stream.FinishLength {
					t.Errorf("stream %d: N %+v, m %d, %s, finish %q", i, s.Output, s.Events, rec.Outcome, s.Finish)
				}
				if d := s.Decode; !d.Known || math.IsNaN(d.X) || d.X > 2000*1.25 { // slower is the machine's doing; much faster than it was sent can't be
					t.Errorf("stream %d: decode %+v", i, d)
				}
				samples = append(samples, s)
				texts = append(texts, said(&tr))
			}
			slices.Sort(texts)
			want := served(srv)
			if len(want) != streams || len(slices.Compact(slices.Clone(texts))) != streams {
				t.Fatalf("%d streams were served, %d texts differ; want %d", len(want), len(slices.Compact(texts)), streams)
			}
			for i := range texts {
				sameText(t, texts[i], want[i])
			}
			together := measure.Batch(samples)
			if together.Parallelism != streams || !together.Aggregate.Known {
				t.Errorf("parallelism %d, aggregate %+v", together.Parallelism, together.Aggregate)
			}
			t.Logf("aggregate %.0f tok/s, per stream %.0f", together.Aggregate.X, together.PerStream.X)
		})
	}
}

// TestHours replays streams of an hour and far longer in virtual time: every figure is exact.
func TestHours(t *testing.T) {
	for _, tt := range []struct {
		name       string
		first, gap time.Duration
		events     int
	}{
		{"an hour, a token a second", time.Second, time.Second, 3600},
		{"an hour, a million tokens", time.Second, 3600 * time.Microsecond, 1_000_000},
		{"an hour until the first token", time.Hour, 20 * time.Millisecond, 1000},
		{"a year, a token an hour", time.Hour, time.Hour, 365 * 24},
	} {
		if testing.Short() && tt.events > 100_000 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			c := long(tt.first, tt.gap, tt.events, numbered)
			s, tr, err := replay(&c, record(&c))
			if err != nil {
				t.Fatal(err)
			}
			sameCounts(t, &c, &s, &tr)
			truth := c.Truth(c.Moments())
			for _, f := range append(judge.Figures(&c, &s, nil), judge.Figures(&c, &s, &truth)...) {
				if w := f.Wrong(true); w != "" {
					t.Error(w)
				}
			}
			if w := judge.WrongFlags(&c, &s); w != "" {
				t.Error(w)
			}
			if want := float64(tt.gap) / float64(time.Millisecond); math.Abs(s.MaxGap.X-want) > 1e-9*want || !s.MaxGap.Known {
				t.Errorf("longest gap %v, want %v ms", s.MaxGap, want)
			}
		})
	}
}
