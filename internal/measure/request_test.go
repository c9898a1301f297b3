package measure

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/stream"
)

const msec = time.Millisecond

// sent is a stream that was meant to start at 990 ms, was sent at 1000 ms and answered at 1010 ms.
func sent() stream.Recording {
	return stream.Recording{Sched: 990 * msec, Send: 1000 * msec, FirstByte: 1010 * msec, Outcome: stream.Complete}
}

// run is n events of one kind, each in a read of its own: the first at first, the others gap apart.
func run(n int, first, gap time.Duration, kind stream.Kind, text string, tokens int) []stream.Event {
	var es []stream.Event
	for i := range n {
		at := first + time.Duration(i)*gap
		es = append(es, stream.Event{At: at, Read: int(at / msec), Kind: kind, Text: text, Tokens: tokens})
	}
	return es
}

func usage(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }

func output(n int) stream.Counts { return stream.Counts{Output: usage(n)} }

func wantValue(t *testing.T, name string, got Value, want float64) {
	t.Helper()
	if !got.Known || math.Abs(got.X-want) > 1e-6*max(1, want) {
		t.Errorf("%s = %+v, want %v", name, got, want)
	}
}

func wantUnknown(t *testing.T, name string, got Value, why string) {
	t.Helper()
	if got.Known || got.Why == "" || !strings.Contains(got.Why, why) {
		t.Errorf("%s = %+v, want unknown because of %q", name, got, why)
	}
}

func hasFlag(s Sample, name string) bool {
	return slices.ContainsFunc(s.Flags, func(f Flag) bool { return f.Name == name })
}

// An ordinary stream: 101 tokens, the first at 1500 ms, one every 10 ms.
func TestPlainStream(t *testing.T) {
	tr := stream.Transcript{Events: run(101, 1500*msec, 10*msec, stream.Content, " word", stream.NotStated), Counts: output(101), Finish: stream.FinishLength}
	s := Request(sent(), tr, Asked{OutputTokens: 101})
	wantValue(t, "TTFT", s.TTFT, 500)
	wantValue(t, "TTFT_sched", s.TTFTSched, 510)
	wantValue(t, "TTFB", s.TTFB, 10)
	wantValue(t, "TTFA", s.TTFA, 500)
	wantValue(t, "E2E", s.Wall, 1500)
	wantValue(t, "D", s.Decode, 100)
	wantValue(t, "TPOT", s.TPOT, 10)
	wantValue(t, "answer_tps", s.AnswerTPS, 100)
	wantValue(t, "tokens/event", s.TokensPerEvent, 1)
	wantValue(t, "n[1]", s.FirstTokens, 1)
	wantValue(t, "window", s.Window, 100)
	wantValue(t, "max gap", s.MaxGap, 10)
	wantValue(t, "stalls", s.Stalls, 0)
	if s.TokensHow != OneAToken || len(s.ICL) != 100 || len(s.ITL) != 100 || len(s.Flags) != 0 {
		t.Errorf("n_i %q, %d gaps, %d latencies, flags %v", s.TokensHow, len(s.ICL), len(s.ITL), s.Flags)
	}
}

// Trap 1. Events of 2 tokens every 10.672 ms are 187.4 tok/s; a client that counts events says 93.7.
// Events of 4 every 20 ms are 200; one that divides N, or N - 1, by the window says 203.2 or 202.4.
func TestSeveralTokensInAnEvent(t *testing.T) {
	for _, c := range []struct {
		name        string
		events, per int
		gap         time.Duration
		want        float64
	}{
		{"pairs", 128, 2, 10672 * time.Microsecond, 187.406297},
		{"fours", 64, 4, 20 * msec, 200},
	} {
		for _, stated := range []bool{true, false} {
			n, how := stream.NotStated, Estimated
			if stated {
				n, how = c.per, Stated
			}
			tr := stream.Transcript{Events: run(c.events, 1500*msec, c.gap, stream.Content, " four words of text", n), Counts: output(256)}
			s := Request(sent(), tr, Asked{TextTokens: 256})
			wantValue(t, c.name+" D", s.Decode, c.want)
			wantValue(t, c.name+" tokens/event", s.TokensPerEvent, float64(c.per))
			wantValue(t, c.name+" ITL", ITL([]Sample{s}).P50, ms(c.gap)/float64(c.per))
			if s.TokensHow != how || !hasFlag(s, Coalesced) {
				t.Errorf("%s: n_i %q, flags %v", c.name, s.TokensHow, s.Flags)
			}
		}
	}
}

// Trap 1. A first event of 16 tokens, then 240 of one every 5 ms: 240 / 1.2 s. (N - 1) over the window would be 212.5.
func TestSeveralTokensInTheFirstEvent(t *testing.T) {
	es := run(241, 1500*msec, 5*msec, stream.Content, " word", 1)
	es[0].Tokens = 16
	s := Request(sent(), stream.Transcript{Events: es, Counts: output(256)}, Asked{})
	wantValue(t, "D", s.Decode, 200)
	wantValue(t, "n[1]", s.FirstTokens, 16)
	wantValue(t, "tokens/event", s.TokensPerEvent, 1)
	if hasFlag(s, Coalesced) {
		t.Errorf("flags %v", s.Flags)
	}
}

// A first read that brings 16 events is one step at t_1: its 16 tokens are no part of the window.
func TestFirstReadBringsSeveralEvents(t *testing.T) {
	es := run(256, 1425*msec, 5*msec, stream.Content, " word", stream.NotStated)
	for i := range 16 {
		es[i].At, es[i].Read = 1500*msec, 0
	}
	s := Request(sent(), stream.Transcript{Events: es, Counts: output(256)}, Asked{})
	wantValue(t, "D", s.Decode, 200) // 240 / 1.2 s
	wantValue(t, "n[1]", s.FirstTokens, 16)
	if s.Events != 256 || len(s.Steps) != 241 || s.TokensHow != OneAToken {
		t.Errorf("%d events, %d steps, n_i %q", s.Events, len(s.Steps), s.TokensHow)
	}
}

// A proxy that passes on 8 events a read: gaps are those of reads, tokens/event is that of events, and the flag says so.
func TestSeveralEventsInMostReads(t *testing.T) {
	es := run(256, 1500*msec, 5*msec, stream.Content, " word", stream.NotStated)
	for i := range es {
		es[i].At, es[i].Read = 1535*msec+time.Duration(i/8)*40*msec, i/8
	}
	s := Request(sent(), stream.Transcript{Events: es, Counts: output(256)}, Asked{})
	wantValue(t, "D", s.Decode, 200) // 248 / 1.24 s
	wantValue(t, "tokens/event", s.TokensPerEvent, 1)
	wantValue(t, "max gap", s.MaxGap, 40)
	if !hasFlag(s, Coalesced) || len(s.ICL) != 31 {
		t.Errorf("%d gaps, flags %v", len(s.ICL), s.Flags)
	}
}

// Traps 2 and 5. A silent token at 1120 ms is not the first token, counts for n[1], and one in the middle for its next
// event; one at the end is left out.
func TestSilentTokens(t *testing.T) {
	es := run(101, 1500*msec, 10*msec, stream.Content, " word", 1)
	silent := func(at time.Duration) stream.Event {
		return stream.Event{At: at, Read: int(at / msec), Kind: stream.Silent, Tokens: 1}
	}
	es = slices.Concat([]stream.Event{silent(1120 * msec)}, es[:51], []stream.Event{silent(2005 * msec)}, es[51:], []stream.Event{silent(2600 * msec)})
	s := Request(sent(), stream.Transcript{Events: es, Counts: output(104)}, Asked{})
	wantValue(t, "TTFT", s.TTFT, 500)
	wantValue(t, "E2E", s.Wall, 1500)
	wantValue(t, "n[1]", s.FirstTokens, 2)
	wantValue(t, "window", s.Window, 101)
	wantValue(t, "D", s.Decode, 101)
	if !slices.Contains(weights(s), 2) {
		t.Errorf("no event of two tokens in %v", s.ITL)
	}
}

func weights(s Sample) (ws []float64) {
	for _, w := range s.ITL {
		ws = append(ws, w.W)
	}
	return ws
}

// Trap 5. Tokens without text and without a count of their own: the server says 120, 100 events came. Where the server's
// clock says that all were made while text came, the rate is that of the tokens: 118.8 / 0.99 s. Else nobody knows when.
func TestTokensThatYieldNoTextUnstated(t *testing.T) {
	tr := stream.Transcript{Events: run(100, 1500*msec, 10*msec, stream.Content, " word", stream.NotStated), Counts: output(120)}
	wantUnknown(t, "D without a clock", Request(sent(), tr, Asked{}).Decode, "can't be told apart")
	tr.Server = stream.ServerTiming{Decode: 990 * msec, DecodeTokens: 119}
	rec := sent()
	rec.End = rec.Send + 2*time.Second
	s := Request(rec, tr, Asked{})
	wantValue(t, "D", s.Decode, 120)
	if s.TokensHow != Estimated {
		t.Errorf("n_i %q", s.TokensHow)
	}
}

// Trap 3. Reasoning first: TTFT is the reasoning's, TTFA the answer's, and the answer has a rate of its own.
func TestReasoningThenAnswer(t *testing.T) {
	es := slices.Concat(run(100, 1500*msec, 10*msec, stream.Reasoning, " thought", stream.NotStated), run(51, 3000*msec, 20*msec, stream.Content, " word", stream.NotStated))
	c := output(151)
	c.Reasoning = usage(100)
	s := Request(sent(), stream.Transcript{Events: es, Counts: c}, Asked{})
	wantValue(t, "TTFT", s.TTFT, 500)
	wantValue(t, "TTFA", s.TTFA, 2000)
	wantValue(t, "E2E", s.Wall, 3000)
	wantValue(t, "D", s.Decode, 60) // 150 / 2.5 s
	wantValue(t, "answer_tps", s.AnswerTPS, 50)
	wantValue(t, "max gap", s.MaxGap, 510)
	wantValue(t, "stalls", s.Stalls, 1)

	s = Request(sent(), stream.Transcript{Events: es[:100], Counts: output(100)}, Asked{})
	wantUnknown(t, "TTFA", s.TTFA, "no text but reasoning")
	wantUnknown(t, "answer_tps", s.AnswerTPS, "no text but reasoning")
	wantValue(t, "D", s.Decode, 100)
}

// Trap 17. 600 of 1000 tokens are hidden: the window holds 399, in 3.99 s. A client that takes N says 250.
func TestHiddenReasoning(t *testing.T) {
	for _, tokens := range []int{stream.NotStated, 1} {
		c := output(1000)
		c.Reasoning = usage(600)
		s := Request(sent(), stream.Transcript{Events: run(400, 9000*msec, 10*msec, stream.Content, " word", tokens), Counts: c}, Asked{})
		wantValue(t, "D", s.Decode, 100)
		wantValue(t, "window", s.Window, 399)
		if !strings.Contains(s.Note, "600 of 1000") {
			t.Errorf("note %q", s.Note)
		}
	}
}

// Trap 17. The same without the server's count of them: no rate, however the tokens are put.
func TestHiddenReasoningOfUnknownNumber(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		tokens int
	}{"stated": {" word", 1}, "unstated": {" wor", stream.NotStated}, "hardly any text": {"w", stream.NotStated}} {
		s := Request(sent(), stream.Transcript{Events: run(400, 9000*msec, 10*msec, stream.Content, c.text, c.tokens), Counts: output(1000)}, Asked{})
		wantUnknown(t, name+": D", s.Decode, "")
		wantUnknown(t, name+": TPOT", s.TPOT, "")
		wantUnknown(t, name+": window", s.Window, "")
		wantUnknown(t, name+": tokens/event", s.TokensPerEvent, "")
		if len(s.ITL) != 0 || len(s.ICL) != 399 {
			t.Errorf("%s: %d latencies, %d gaps", name, len(s.ITL), len(s.ICL))
		}
		wantValue(t, name+": TTFT", s.TTFT, 8000)
	}
}

// The server counts reasoning that it streams as part of the answer: what is left for the events is too few, and half the
// rate would come out.
func TestReasoningStreamedAsAnswer(t *testing.T) {
	for name, es := range map[string][]stream.Event{
		"more events than tokens": run(990, 1500*msec, 10*msec, stream.Content, " word", stream.NotStated),
		"long events":             run(100, 1500*msec, 10*msec, stream.Content, strings.Repeat(" word", 80), stream.NotStated),
	} {
		c := output(1000)
		c.Reasoning = usage(900)
		wantUnknown(t, name, Request(sent(), stream.Transcript{Events: es, Counts: c}, Asked{}).Decode, "streamed as answer")
	}
}

// An end-of-text token that was counted and not streamed leaves a large first read as good as known:
// 86 events of 107/106 tokens in 0.86 s.
func TestFirstReadOfAnEstimatedStream(t *testing.T) {
	es := run(106, 1310*msec, 10*msec, stream.Content, " word", stream.NotStated)
	for i := range 20 {
		es[i].At, es[i].Read = 1500*msec, 0
	}
	s := Request(sent(), stream.Transcript{Events: es, Counts: output(107)}, Asked{})
	wantValue(t, "D", s.Decode, 100.943396)
}

// Reasoning of which only a summary is streamed: no rate for the whole, one for the answer, 100 tokens after the first 1.
func TestSummarisedReasoning(t *testing.T) {
	es := slices.Concat(run(20, 1500*msec, 10*msec, stream.Reasoning, " summary", stream.NotStated), run(101, 5000*msec, 10*msec, stream.Content, " word", stream.NotStated))
	c := output(901)
	c.Reasoning = usage(800)
	s := Request(sent(), stream.Transcript{Events: es, Counts: c}, Asked{})
	wantUnknown(t, "D", s.Decode, "never streamed")
	wantValue(t, "answer_tps", s.AnswerTPS, 100)
}

func TestCountsThatContradict(t *testing.T) {
	reasoning := slices.Concat(run(200, 1500*msec, 10*msec, stream.Reasoning, " thought", stream.NotStated), run(100, 3500*msec, 10*msec, stream.Content, " word", stream.NotStated))
	over := output(100)
	over.Reasoning = usage(200)
	for name, tr := range map[string]stream.Transcript{
		"events state more than usage": {Events: run(200, 1500*msec, 10*msec, stream.Content, " word", 1), Counts: output(100)},
		"reasoning above output":       {Events: reasoning, Counts: over},
		"usage leaves reasoning out":   {Events: reasoning, Counts: output(100)},
		"no tokens for text":           {Events: run(50, 1500*msec, 10*msec, stream.Content, " word", stream.NotStated), Counts: output(0)},
	} {
		s := Request(sent(), tr, Asked{})
		wantUnknown(t, name+": D", s.Decode, "")
	}
}

// Trap 4. No usage: events are counted and shown, and make no rate.
func TestNoUsage(t *testing.T) {
	s := Request(sent(), stream.Transcript{Events: run(100, 1500*msec, 10*msec, stream.Content, " word", stream.NotStated)}, Asked{OutputTokens: 100})
	wantUnknown(t, "D", s.Decode, "events counted are no rate")
	wantValue(t, "TTFT", s.TTFT, 500)
	if s.Output != (stream.Count{N: 100, From: stream.EventsCounted}) || !hasFlag(s, ProvenanceE) || !hasFlag(s, EarlyStop) {
		t.Errorf("output %+v, flags %v", s.Output, s.Flags)
	}
	// A driver that says it counted events is taken at its word, whatever its events claim.
	counted := stream.Counts{Output: stream.Count{N: 100, From: stream.EventsCounted}}
	s = Request(sent(), stream.Transcript{Events: run(100, 1500*msec, 10*msec, stream.Content, " word", 1), Counts: counted}, Asked{})
	wantUnknown(t, "D", s.Decode, "events counted are no rate")
	// The same with a count for each event is a count.
	s = Request(sent(), stream.Transcript{Events: run(101, 1500*msec, 10*msec, stream.Content, " word", 2)}, Asked{})
	wantValue(t, "D", s.Decode, 200)
	if s.Output != usage(202) {
		t.Errorf("output %+v", s.Output)
	}
}

func TestLocalTokenizer(t *testing.T) {
	c := stream.Counts{Output: stream.Count{N: 100, From: stream.LocalTokenizer}}
	events := run(100, 1500*msec, 10*msec, stream.Content, " word", stream.NotStated)
	s := Request(sent(), stream.Transcript{Events: events, Counts: c}, Asked{})
	wantValue(t, "D", s.Decode, 100)
	if !hasFlag(s, ProvenanceD) {
		t.Errorf("flags %v", s.Flags)
	}
	for asked, want := range map[int]bool{100: false, 101: false, 104: true} {
		tr := stream.Transcript{Events: events, Counts: c, Finish: stream.FinishLength}
		if got := hasFlag(Request(sent(), tr, Asked{OutputTokens: asked}), EarlyStop); got != want {
			t.Errorf("%d asked for: early stop %v", asked, got)
		}
	}
}

// Trap 14, and the shortest streams that there are.
func TestTooShort(t *testing.T) {
	one := run(1, 1500*msec, 0, stream.Content, " word", stream.NotStated)
	together := run(30, 1500*msec, 0, stream.Content, " word", stream.NotStated)
	sameStamp := run(30, 1500*msec, 0, stream.Content, " word", stream.NotStated)
	for i := range sameStamp {
		sameStamp[i].Read = i
	}
	for _, c := range []struct {
		name   string
		events []stream.Event
		n      int
		why    string
	}{
		{"N = 0", nil, 0, "no text-bearing event"},
		{"N = 5 and no text", nil, 5, "no text-bearing event"},
		{"N = 1", one, 1, "one text-bearing event"},
		{"16 tokens, 15 of them in the window", run(16, 1500*msec, 10*msec, stream.Content, " word", stream.NotStated), 16, "too few tokens"},
		{"one read", together, 30, "all 30 events came in one read"},
		{"one stamp", sameStamp, 30, "no time passed"},
	} {
		s := Request(sent(), stream.Transcript{Events: c.events, Counts: output(c.n), Finish: stream.FinishStop}, Asked{OutputTokens: 256})
		wantUnknown(t, c.name+": D", s.Decode, c.why)
		wantUnknown(t, c.name+": TPOT", s.TPOT, c.why)
		if len(c.events) == 0 {
			wantUnknown(t, c.name+": TTFT", s.TTFT, "no text-bearing event")
			wantUnknown(t, c.name+": E2E", s.Wall, "no text-bearing event")
		} else {
			wantValue(t, c.name+": TTFT", s.TTFT, 500)
		}
		if !hasFlag(s, EarlyStop) {
			t.Errorf("%s: flags %v", c.name, s.Flags)
		}
	}
	s := Request(sent(), stream.Transcript{Events: run(17, 1500*msec, 10*msec, stream.Content, " word", stream.NotStated), Counts: output(17)}, Asked{})
	wantValue(t, "17 tokens: D", s.Decode, 100)
}

// Trap 15. A parser held 198 tokens of a call back: two events, of which the second's share is not known unless the server
// states it. Then 198 tokens came in 1.98 s.
func TestToolCallHeldBack(t *testing.T) {
	es := []stream.Event{
		{At: 1500 * msec, Read: 1, Kind: stream.Tool, Text: "edit", Tokens: stream.NotStated},
		{At: 3480 * msec, Read: 2, Kind: stream.Tool, Text: strings.Repeat("argument ", 100), Tokens: stream.NotStated},
	}
	s := Request(sent(), stream.Transcript{Events: es, Counts: output(200)}, Asked{})
	wantUnknown(t, "D", s.Decode, "estimate")
	wantValue(t, "TTFA", s.TTFA, 500)
	wantUnknown(t, "D of one event", Request(sent(), stream.Transcript{Events: es[:1], Counts: output(200)}, Asked{}).Decode, "")

	s = Request(sent(), stream.Transcript{Events: es, Counts: output(200)}, Asked{PrefixTokens: []int{2, 200}})
	wantValue(t, "D by prefix", s.Decode, 100)

	es[0].Tokens, es[1].Tokens = 2, 198
	wantValue(t, "D stated", Request(sent(), stream.Transcript{Events: es, Counts: output(200)}, Asked{}).Decode, 100)
}

// Trap 18. What a failed stream showed before it failed stays, what needs its end does not.
func TestFailedStream(t *testing.T) {
	tr := stream.Transcript{Events: run(100, 1500*msec, 10*msec, stream.Content, " word", 1)}
	s := Request(sent(), tr, Asked{OutputTokens: 256, Err: errors.New("connection reset")})
	wantUnknown(t, "D", s.Decode, "connection reset")
	wantUnknown(t, "E2E", s.Wall, "connection reset")
	wantValue(t, "TTFT", s.TTFT, 500)
	if !s.Failed() || !hasFlag(s, Errors) || hasFlag(s, EarlyStop) {
		t.Errorf("flags %v", s.Flags)
	}
	wantUnknown(t, "median", Median(Each([]Sample{s}, func(s *Sample) Value { return s.TTFT })), "every request failed")
}

func TestStampsThatCanNotBe(t *testing.T) {
	es := run(30, 1500*msec, 10*msec, stream.Content, " word", 1)
	back := slices.Clone(es)
	back[20].At = 1400 * msec
	wantUnknown(t, "D", Request(sent(), stream.Transcript{Events: back, Counts: output(30)}, Asked{}).Decode, "stamps go back")
	none := slices.Clone(es)
	none[0].At = 0
	wantUnknown(t, "TTFT", Request(sent(), stream.Transcript{Events: none, Counts: output(30)}, Asked{}).TTFT, "no stamp")
	rec := sent()
	rec.Send = 0
	wantUnknown(t, "TTFT", Request(rec, stream.Transcript{Events: es, Counts: output(30)}, Asked{}).TTFT, "never sent")
	rec = sent()
	rec.Sched, rec.FirstByte = 0, 0
	s := Request(rec, stream.Transcript{Events: es, Counts: output(30)}, Asked{})
	wantUnknown(t, "TTFT_sched", s.TTFTSched, "no intended start")
	wantUnknown(t, "TTFB", s.TTFB, "no response byte")
}

// Text that carries no token of its own ends no token: pairs of events 10 ms apart are tokens of 20 ms.
func TestTextWithoutToken(t *testing.T) {
	es := run(101, 1500*msec, 10*msec, stream.Content, " w", 0)
	for i := 0; i < len(es); i += 2 {
		es[i].Tokens = 1
	}
	s := Request(sent(), stream.Transcript{Events: es, Counts: output(51)}, Asked{})
	wantValue(t, "D", s.Decode, 50)
	wantValue(t, "ITL", ITL([]Sample{s}).P50, 20)
}

func TestStalls(t *testing.T) {
	es := run(60, 1500*msec, 100*msec, stream.Content, " word", 1)
	shift := func(from int, by time.Duration) {
		for i := from; i < len(es); i++ {
			es[i].At += by
		}
	}
	shift(10, 300*msec) // a gap of 400: less than 5 x 100
	shift(20, 400*msec) // a gap of 500: not more
	shift(30, 401*msec) // a gap of 501
	s := Request(sent(), stream.Transcript{Events: es, Counts: output(60)}, Asked{})
	wantValue(t, "stalls", s.Stalls, 1)
	wantValue(t, "max gap", s.MaxGap, 501)
}

// TestGulps: two reads a millisecond apart bring 64 tokens each. They were not made within that millisecond, and there is no
// rate, and no token latency of microseconds. Four reads after the first, or
// an event a read, are a rate.
func TestGulps(t *testing.T) {
	of := func(reads, eventsARead int, gap time.Duration) Sample {
		rec := stream.Recording{Send: time.Second, Sched: time.Second, FirstByte: time.Second}
		tr := stream.Transcript{Finish: stream.FinishLength, Counts: stream.Counts{Output: stream.Count{N: reads * eventsARead, From: stream.Usage}}}
		for read := range reads {
			for range eventsARead {
				tr.Events = append(tr.Events, stream.Event{At: 2*time.Second + time.Duration(read)*gap, Read: read, Kind: stream.Content, Text: " word", Tokens: stream.NotStated})
			}
		}
		rec.End = 2*time.Second + time.Duration(reads)*gap
		return Request(rec, tr, Asked{OutputTokens: reads * eventsARead})
	}
	for _, c := range []struct {
		reads, each int
		gap         time.Duration
		want        float64 // 0: null
	}{
		{2, 64, time.Millisecond, 0}, {4, 32, time.Millisecond, 0}, {5, 32, 320 * time.Millisecond, 100}, {128, 1, 10 * time.Millisecond, 100},
	} {
		s := of(c.reads, c.each, c.gap)
		if s.Decode.Known != (c.want > 0) || s.Decode.Known && math.Abs(s.Decode.X-c.want) > 1e-6 {
			t.Errorf("%d reads of %d events: %+v, want %v", c.reads, c.each, s.Decode, c.want)
		}
		if (s.ITL != nil) != (c.want > 0) {
			t.Errorf("%d reads of %d events: latencies %v", c.reads, c.each, s.ITL)
		}
	}
}
