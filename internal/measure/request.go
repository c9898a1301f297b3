package measure

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// MinTokens is the least number of tokens that a rate stands on (section 3): in the window of a decode rate, and among
// the uncached ones of a server's prefill rate, which on a full cache hit would divide one token by next to nothing.
const MinTokens = 16

// maxFirstShare is how much of an estimated stream may be in doubt in its first event. The tokens of the first event are
// taken off the window's; where they are an estimate, and many, the rate would be one too.
const maxFirstShare = 0.10

// Asked is what a request asked for, and what is known of its backend.
type Asked struct {
	Err          error // why the stream failed, from reading or decoding it; nil: it did not
	OutputTokens int   // 0: no number was asked for
	PromptTokens int   // the length that the prompt was fitted to; 0: not fitted (a fixed trace)
	Cold         bool  // the prompt shares no prefix with any before it
	Template     int   // tokens before the first message's text; negative where not known
	CacheBlock   int   // granularity of the prompt cache in tokens; below 1 is taken as 1
	TextTokens   int   // tokens of the whole streamed text by the server's own tokenizer; 0 where not known
	FirstTokens  int   // tokens of FirstText by that tokenizer; 0 where not known
	PrefixTokens []int // tokens of the text up to and with each text-bearing event, by a tokenizer; nil without one
}

// Step is what one read brought: the events that it completed, merged (section 1).
type Step struct {
	At     time.Duration // on the run's clock
	Tokens float64       // silent tokens since the step before included; 0 where Sample.Window is unknown
	Events int           // text-bearing events, at least 1

	answer    bool // has text that is not reasoning
	reasoning bool
	bytes     float64 // of its text
}

// Span is a count of tokens and the time that the server says they took; both 0 where not stated.
type Span struct {
	Tokens int
	Time   time.Duration
}

// Sample is one request, measured: section 3.
type Sample struct {
	Err    string // why it failed; empty: it did not
	Finish string
	Asked  Asked

	// Stamps on the run's clock; 0 where never reached.
	Sched, Send, FirstByte, First, Last, Answer, End time.Duration

	// Output is EventsCounted where the server does not count; such a count is shown and is never a rate.
	Prompt, Cached, Output, Reasoning stream.Count

	Events    int    // m: text-bearing, before merging
	Reads     int    // reads of the whole stream
	Steps     []Step // after merging
	TokensHow string // Stated, OneAToken, Estimated or NotCounted
	Note      string // what was left out of the window, or which of two counts was taken; may be empty

	FirstTokens    Value // n[1]: tokens of the first step
	Window         Value // tokens in (t_1, t_L]
	TokensPerEvent Value // (N - n[1]) / (m - 1) over events as the server sent them, before merging

	TTFT      Value   // ms
	TTFTSched Value   // ms
	TTFB      Value   // ms
	TTFA      Value   // ms
	Wall      Value   // ms, t_L - t_send
	Decode    Value   // D, tok/s
	Over      float64 // by what share D may be too high, because tokens may be hidden that nothing tells apart; 0 where none can be
	TPOT      Value   // ms
	AnswerTPS Value   // D of what comes after t_ans, tok/s

	ICL    []float64        // ms, in stream order; nil with fewer than two steps
	ITL    []stats.Weighted // ms; nil where the tokens of the events are not known
	MaxGap Value            // ms
	Stalls Value

	// The server's own figures, beside the client's and never mixed with them.
	ServerPrefill     Value // tok/s
	ServerDecode      Value // tok/s
	ServerQueue       Value // ms
	ServerPrefillSpan Span
	ServerDecodeSpan  Span

	Cold     Coldness
	ReadLag  time.Duration
	Flags    []Flag
	coalesce float64 // share of the steps with several events
}

// Failed reports whether the request failed; what it measured is no part of any aggregate.
func (s *Sample) Failed() bool { return s.Err != "" }

// Request measures one stream (section 3).
func Request(rec stream.Recording, tr stream.Transcript, asked Asked) Sample {
	s := Sample{
		Finish: tr.Finish, Asked: asked,
		Sched: rec.Sched, Send: rec.Send, FirstByte: rec.FirstByte, End: rec.End,
		Prompt: clean(tr.Counts.Prompt), Cached: clean(tr.Counts.Cached), Output: clean(tr.Counts.Output), Reasoning: clean(tr.Counts.Reasoning),
		Reads: len(rec.Reads), ReadLag: rec.ReadLag,
	}
	if asked.Err != nil {
		s.Err = asked.Err.Error()
		if s.Err == "" {
			s.Err = "failed without a word"
		}
	}
	p := place(tr.Events, stream.Counts{Output: s.Output, Reasoning: s.Reasoning, Hidden: tr.Counts.Hidden}, tr.Finish, text{prefix: asked.PrefixTokens, tokens: asked.TextTokens, first: asked.FirstTokens})
	first := s.steps(tr.Events, p)
	s.TokensHow, s.Note = p.how, p.note
	s.countEvents(tr.Events, p)
	stamps := s.stamps()
	p = p.doubt(s.Last-s.First, s.End-s.Send, tr.Server, s.Output.N, s.Events)
	s.latencies(stamps)
	s.decode(p, stamps, first)
	s.gaps(stamps)
	s.server(tr.Server)
	s.Cold = Cold(asked, s.Prompt, s.Cached)
	s.Flags = s.flags(tr)
	return s
}

// clean makes a count that can't be one unknown.
func clean(c stream.Count) stream.Count {
	if c.N < 0 {
		return stream.Count{}
	}
	return c
}

// steps merges the events of one read, and those of reads with one stamp: what came at t_1 is not in (t_1, t_L]. It carries
// silent tokens on to the next step that has text (those before the first into n[1]), and leaves out those after the last.
// It returns the tokens of the first text-bearing event alone.
func (s *Sample) steps(events []stream.Event, p placement) (firstEvent float64) {
	var step Step
	var carry float64
	flush := func() {
		step.Tokens += carry
		carry = 0
		if step.Events == 0 {
			carry = step.Tokens
		} else {
			s.Steps = append(s.Steps, step)
		}
		step = Step{}
	}
	for i, e := range events {
		if i > 0 && e.Read != events[i-1].Read && e.At != events[i-1].At {
			flush()
		}
		step.Tokens += p.tokens[i]
		if s.Events == 0 {
			firstEvent += p.tokens[i]
		}
		if !bears(e) {
			continue
		}
		s.Events++
		step.bytes += float64(len(e.Text))
		if step.Events == 0 {
			step.At = e.At
		}
		step.Events++
		if e.Kind == stream.Reasoning {
			step.reasoning = true
		} else {
			step.answer = true
		}
	}
	flush()
	for _, st := range s.Steps {
		if st.Events > 1 {
			s.coalesce += 1 / float64(len(s.Steps))
		}
	}
	return firstEvent
}

// countEvents completes the output count where the server gives none for the whole.
func (s *Sample) countEvents(events []stream.Event, p placement) {
	if s.Output.Known() || s.Events == 0 {
		return
	}
	if p.how == Stated {
		var sum int
		for _, e := range events {
			if e.Tokens > math.MaxInt-sum {
				return // no number of tokens that a stream can have
			}
			sum += max(e.Tokens, 0)
		}
		s.Output = stream.Count{N: sum, From: stream.Usage}
		return
	}
	s.Output = stream.Count{N: s.Events, From: stream.EventsCounted}
}

// stamps fills in t_1, t_L and t_ans, and says what is wrong with the stamps; empty: nothing.
func (s *Sample) stamps() string {
	var last time.Duration
	for _, st := range s.Steps {
		if st.At <= 0 {
			return "an event has no stamp"
		}
		if st.At < last {
			return "stamps go back"
		}
		last = st.At
	}
	if len(s.Steps) == 0 {
		return "no text-bearing event"
	}
	s.First, s.Last = s.Steps[0].At, last
	if i := slices.IndexFunc(s.Steps, func(st Step) bool { return st.answer }); i >= 0 {
		s.Answer = s.Steps[i].At
	}
	return ""
}

// latencies are TTFT, TTFT_sched, TTFB, TTFA and E2E (section 3).
func (s *Sample) latencies(stamps string) {
	from := func(start, end time.Duration, missing string) Value {
		switch {
		case start <= 0:
			return Unknown("it was never sent")
		case end <= 0:
			return Unknown("%s", missing)
		case end < start:
			return Unknown("stamps go back")
		}
		return Known(ms(end - start))
	}
	noText := stamps
	if noText == "" {
		noText = "no text-bearing event"
	}
	s.TTFT = from(s.Send, s.First, noText)
	s.TTFTSched = from(s.Sched, s.First, noText)
	if s.Sched <= 0 {
		s.TTFTSched = Unknown("no intended start")
	}
	s.TTFB = from(s.Send, s.FirstByte, "no response byte")
	noAnswer := noText
	if stamps == "" {
		noAnswer = "no text but reasoning"
	}
	s.TTFA = from(s.Send, s.Answer, noAnswer)
	s.Wall = from(s.Send, s.Last, noText)
	if s.Failed() {
		s.Wall = Unknown("the stream failed: %s", s.Err)
	}
}

// decode is D, TPOT, the answer's rate, and the token figures under them (section 3).
func (s *Sample) decode(p placement, stamps string, firstEvent float64) {
	why := p.why
	if s.Events == 0 {
		why = "no text-bearing event"
	}
	if !p.whole && why == "" {
		why = "the tokens of the events are not known"
	}
	s.FirstTokens, s.Window, s.TokensPerEvent, s.Decode, s.AnswerTPS = Unknown("%s", why), Unknown("%s", why), Unknown("%s", why), Unknown("%s", why), Unknown("%s", why)
	if s.Events > 0 {
		if p.whole {
			s.placed(p, firstEvent)
			if s.Decode = s.rate(0, p, stamps); s.Decode.Known {
				s.Over = p.over
			}
		}
		k := slices.IndexFunc(s.Steps, func(st Step) bool { return st.answer })
		switch {
		case k < 0:
			s.AnswerTPS = Unknown("no text but reasoning")
		case p.whole || p.answer && !slices.ContainsFunc(s.Steps[k+1:], func(st Step) bool { return st.reasoning }):
			s.AnswerTPS = s.rate(k, p, stamps)
		}
	}
	s.TPOT = Value{Why: s.Decode.Why}
	if s.Decode.Known {
		s.TPOT = ratio(Value{X: 1000, Known: true}, s.Decode)
	}
	if !s.Window.Known {
		for i := range s.Steps {
			s.Steps[i].Tokens = 0
		}
	}
}

// placed fills in n[1], the tokens in (t_1, t_L], and tokens/event.
func (s *Sample) placed(p placement, firstEvent float64) {
	n1, window := s.Steps[0].Tokens, tokensOf(s.Steps[1:])
	s.FirstTokens, s.Window = Known(n1), Known(window)
	s.TokensPerEvent = Unknown("one event")
	if s.Events > 1 {
		s.TokensPerEvent = Known(max(0, n1+window-firstEvent) / float64(s.Events-1))
	}
	if why := s.guessed(0, p); why != "" && len(s.Steps) > 1 {
		s.FirstTokens, s.Window = Unknown("%s", why), Unknown("%s", why)
	}
}

// guessed says why the tokens of step k weigh too much to be an estimate; empty where they do not. What is not known of
// them is by how much they differ from one a token: where N is nearly m, little is. An event that holds much of the text
// may hold as much of the tokens, whatever an even spread gives it: a parser that held the start back sends it in one piece.
func (s *Sample) guessed(k int, p placement) string {
	of, events, bytes := tokensOf(s.Steps[k:]), 0, 0.0
	for _, st := range s.Steps[k:] {
		events += st.Events
		bytes += st.bytes
	}
	if p.how != Estimated || s.Asked.PrefixTokens != nil || k == 0 && p.first > 0 || of == 0 {
		return ""
	}
	doubt := math.Abs(of-float64(events)) / max(of, float64(events))
	share := max(s.Steps[k].Tokens/of, s.Steps[k].bytes/bytes)
	if share*doubt <= maxFirstShare {
		return ""
	}
	return fmt.Sprintf("how many tokens the first event holds is an estimate, and it may be %.0f %% of them", 100*share)
}

// rate is the decode rate from step k on: the tokens after it, over the time after it.
func (s *Sample) rate(k int, p placement, stamps string) Value {
	tokens := tokensOf(s.Steps[k+1:])
	switch {
	case s.Failed():
		return Unknown("the stream failed: %s", s.Err)
	case stamps != "":
		return Unknown("%s", stamps)
	case s.Events < 2:
		return Unknown("one text-bearing event: a rate needs two")
	case len(s.Steps) == 1:
		return Unknown("all %d events came in one read, or at one moment: no time passed", s.Events)
	case k == len(s.Steps)-1:
		return Unknown("one read with text: a rate needs two")
	case s.guessed(k, p) != "":
		return Unknown("%s", s.guessed(k, p))
	case s.gulped(k):
		return Unknown("%d events came in %d reads: when they were made does not show", s.Events, len(s.Steps))
	case tokens < MinTokens:
		return Unknown("too few tokens after the first event (%.4g of %d)", tokens, MinTokens)
	}
	return per(tokens, s.Last-s.Steps[k].At)
}

// leastReads is how many reads after the first have to bring text where reads bring several events at once.
const leastReads = 4

// gulped says whether the events after step k came together in so few reads that their stamps are those of a buffer, a busy
// server or a busy client: what two reads a millisecond apart bring was not made within that millisecond.
func (s *Sample) gulped(k int) bool {
	return len(s.Steps)-1-k < leastReads && slices.ContainsFunc(s.Steps[k:], func(st Step) bool { return st.Events > 1 })
}

func tokensOf(steps []Step) float64 {
	var sum float64
	for _, st := range steps {
		sum += st.Tokens
	}
	return sum
}

// gaps are ICL, ITL, the longest gap and the stalls (section 3).
func (s *Sample) gaps(stamps string) {
	s.MaxGap, s.Stalls = Unknown("%s", stamps), Unknown("%s", stamps)
	if stamps != "" {
		return
	}
	if len(s.Steps) < 2 {
		s.MaxGap, s.Stalls = Unknown("one read with text has no gaps"), Unknown("one read with text has no gaps")
		return
	}
	var longest, waited float64
	gulped := s.gulped(0)
	for i, st := range s.Steps[1:] {
		gap := ms(st.At - s.Steps[i].At)
		s.ICL = append(s.ICL, gap)
		longest = max(longest, gap)
		// Text without a token of its own ends no token: its gap is part of the latency of the next one.
		waited += gap
		if s.Window.Known && st.Tokens > 0 && !gulped {
			s.ITL = append(s.ITL, stats.Weighted{X: waited / st.Tokens, W: st.Tokens})
			waited = 0
		}
	}
	median, _ := stats.Median(s.ICL)
	limit := max(250, 5*median)
	stalls := 0
	for _, gap := range s.ICL {
		if gap > limit {
			stalls++
		}
	}
	s.MaxGap, s.Stalls = Known(longest), Known(float64(stalls))
}
