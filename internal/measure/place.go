package measure

import (
	"fmt"
	"math"
	"strings"

	"github.com/llm-speed/llm-speed/internal/stream"
)

// How tokens were put on events (section 2).
const (
	Stated     = "stated"      // the server says how many tokens each event holds
	OneAToken  = "one a token" // as many events as tokens
	Estimated  = "estimated"   // spread over the events
	NotCounted = ""            // not at all: the number of tokens is not known
)

// placement says how many tokens each event of a stream holds: n[i] of section 2.
type placement struct {
	tokens []float64 // by event, silent ones included; meaningless for events that the flags below do not cover
	how    string
	whole  bool   // tokens holds for every event
	answer bool   // tokens holds for the events of the answer, whatever of the reasoning
	why    string // why whole is not set
	note   string // what was left out, or which of two contradicting counts was taken

	// Where the server says neither how many tokens an event holds nor how many of all are reasoning, some may have been
	// counted and never streamed: see doubt.
	loose bool
	first float64 // tokens of the first step where they are counted and not spread, else 0
	over  float64 // by what share the tokens that were streamed may be fewer than those that the events were given; 0: they are not
}

func (p placement) fail(why string, args ...any) placement {
	p.whole, p.answer, p.why = false, false, fmt.Sprintf(why, args...)
	return p
}

// bears reports whether an event is text-bearing (section 1).
func bears(e stream.Event) bool { return e.Kind != stream.Silent && e.Text != "" }

// tally is what placing needs to know of a stream.
type tally struct {
	m, reasoning, answer, tools  int     // text-bearing events; tools are among the answer's
	bytes, reasoningB, answerB   float64 // of their text
	stated, silent, statedReason float64 // tokens that the server states for events: all, silent ones, reasoning ones
	allStated                    bool    // every text-bearing event has its count
}

func count(events []stream.Event) tally {
	t := tally{allStated: true}
	for _, e := range events {
		n := float64(max(e.Tokens, 0))
		t.stated += n
		if !bears(e) {
			t.silent += n
			continue
		}
		t.m++
		t.bytes += float64(len(e.Text))
		if e.Kind == stream.Reasoning {
			t.reasoning++
			t.reasoningB += float64(len(e.Text))
			t.statedReason += n
		} else {
			t.answer++
			t.answerB += float64(len(e.Text))
		}
		if e.Kind == stream.Tool {
			t.tools++
		}
		if e.Tokens < 0 {
			t.allStated = false
		}
	}
	t.allStated = t.allStated && t.m > 0 && t.stated > 0
	return t
}

// slack is how many tokens two counts of one stream may differ by before they contradict each other: the end-of-text
// token, which some servers count and none streams, or one in a hundred.
func slack(n float64) float64 { return max(1, n/100) }

// text is what a tokenizer makes of a stream's text: nothing where there is none.
type text struct {
	prefix []int // tokens up to and with each text-bearing event
	tokens int   // tokens of the whole; 0 where not known
	first  int   // tokens of what came first, in one read; 0 where not known
}

// agrees reports whether the text has about n tokens. Joins of a tokenizer's pieces, and marks around a part of the text,
// cost a few.
func (x text) agrees(n float64) bool { return math.Abs(n-float64(x.tokens)) <= max(3, n/50) }

// place assigns tokens to events. Counts must have been cleaned.
func place(events []stream.Event, c stream.Counts, finish string, x text) placement {
	p := placement{tokens: make([]float64, len(events))}
	for i, e := range events {
		p.tokens[i] = float64(max(e.Tokens, 0))
	}
	t := count(events)
	switch {
	case c.Hidden:
		return p.fail("the model thought, at most a summary of it was streamed, and the server does not say how many of its %d tokens that were", c.Output.N)
	case c.Output.From == stream.EventsCounted, !c.Output.Known() && !t.allStated:
		return p.fail("the server does not say how many tokens it sent; events counted are no rate")
	case t.allStated:
		return p.stated(t, c)
	}
	return p.spread(events, t, c, finish, x)
}

// stated takes the server's own count for each event, and checks it against the count for the whole.
func (p placement) stated(t tally, c stream.Counts) placement {
	p.how = Stated
	if !c.Output.Known() {
		p.whole, p.answer = true, true
		p.note = fmt.Sprintf("no count for the whole; the events' own counts add up to %.0f", t.stated)
		return p
	}
	n := float64(c.Output.N)
	missing := n - t.stated // counted, and in no event
	hidden := 0.0
	if c.Reasoning.Known() {
		hidden = max(0, float64(c.Reasoning.N)-t.statedReason)
	}
	switch {
	case missing < -slack(n):
		return p.fail("the server's counts contradict each other: %.0f tokens in its events, %.0f in its usage", t.stated, n)
	case missing <= slack(n):
		if missing != 0 {
			p.note = fmt.Sprintf("events state %.0f tokens, usage %.0f; the events' are taken", t.stated, n)
		}
	case missing <= hidden+slack(n):
		p.note = fmt.Sprintf("%.0f of %.0f tokens are reasoning that was counted and never streamed; left out", missing, n)
	default:
		return p.fail("%.0f of %.0f tokens are in no event; when they were made is not known", missing, n)
	}
	p.whole, p.answer = true, true
	return p
}

// minTextPerToken is how many bytes of text a token has at the least when a server sends fewer events than tokens. Prose has 4 to 5, code about 3, Chinese about 4. Less means that tokens were counted whose
// text was never streamed.
const minTextPerToken = 3

// maxTextPerToken is how many bytes a visible token can have on average. More means that fewer tokens were hidden than
// the counts make it look: the reasoning was streamed as part of the answer.
const maxTextPerToken = 12

// spread puts N tokens on m events that do not state theirs.
func (p placement) spread(events []stream.Event, t tally, c stream.Counts, finish string, x text) placement {
	n, m := float64(c.Output.N), float64(t.m)
	visible := n - t.silent // tokens that text was streamed for, as far as is known
	r, rKnown := float64(c.Reasoning.N), c.Reasoning.Known()
	all := func(stream.Event) bool { return true }
	reasoning := func(e stream.Event) bool { return e.Kind == stream.Reasoning }
	answer := func(e stream.Event) bool { return e.Kind != stream.Reasoning }

	switch {
	case t.m == 0:
		return p.fail("no text-bearing event")
	case n <= 0:
		return p.fail("the server counts no tokens for %d events of text", t.m)
	case visible <= 0:
		return p.fail("the server's counts contradict each other: %.0f silent tokens, %.0f in its usage", t.silent, n)
	case rKnown && r > n:
		return p.fail("the server's counts contradict each other: %.0f reasoning tokens among %.0f", r, n)
	case visible == m:
		p.fill(events, m, t.m, text{}, all)
		p.how, p.whole, p.answer = OneAToken, true, true
		return p
	case visible == m+1 && finish == stream.FinishStop:
		p.fill(events, m, t.m, text{}, all)
		p.how, p.whole, p.answer = OneAToken, true, true
		p.note = fmt.Sprintf("%.0f tokens for %.0f events: the last is the end of text, which has none; left out", n, m)
		return p
	}
	p.how = Estimated

	if rKnown && r > 0 && t.reasoning == 0 {
		visible -= r
		p.note = fmt.Sprintf("%.0f of %.0f tokens are reasoning that was counted and never streamed; left out", r, n)
		switch {
		case visible <= 0:
			return p.fail("%.0f of %.0f tokens are hidden reasoning, which leaves none for %d events of text", r, n, t.m)
		case visible > t.bytes:
			return p.fail("%.0f tokens, reasoning apart, for %.0f bytes of text: more was hidden than is known", visible, t.bytes)
		case t.bytes > maxTextPerToken*visible, visible < m-slack(m):
			return p.fail("%.0f tokens, reasoning apart, for %d events and %.0f bytes of text: some of the reasoning was streamed as answer", visible, t.m, t.bytes)
		}
		if visible == m {
			p.how = OneAToken
		}
		p.fill(events, visible, t.m, x, all)
		p.whole, p.answer = true, true
		return p
	}

	if rKnown && r > 0 {
		rest := visible - r
		switch {
		case t.answer == 0 && math.Abs(rest) > slack(n):
			return p.fail("%.0f tokens are not reasoning, and no event of an answer came", rest)
		case t.answer == 0:
			p.fill(events, visible, t.reasoning, x, all)
			p.whole = true
			return p
		case rest <= 0:
			return p.fail("all %.0f tokens are reasoning by the server's count, and %d events of an answer came", r, t.answer)
		case rest > t.answerB:
			return p.fail("%.0f answer tokens for %.0f bytes of text: some were never streamed", rest, t.answerB)
		}
		p.fill(events, rest, t.answer, text{first: x.first}, answer)
		p.answer = true
		if partlyHidden(r, t.reasoningB, rest, t.answerB) {
			p.why = fmt.Sprintf("%.0f reasoning tokens for %.0f bytes of streamed reasoning: part of it was never streamed, and how many tokens that is, is not known", r, t.reasoningB)
			return p
		}
		p.fill(events, r, t.reasoning, text{first: x.first}, reasoning)
		p.whole = true
		return p
	}

	switch {
	case visible > t.bytes:
		return p.fail("%.0f tokens for %.0f bytes of text: some were never streamed, and how many is not known", visible, t.bytes)
	case x.tokens > 0 && visible > m && !x.agrees(visible) && visible > float64(x.tokens):
		return p.fail("%.0f tokens counted, and the streamed text has %d by the server's own count: the others were hidden, and when they were made can't be told apart", visible, x.tokens)
	case x.tokens == 0 && x.prefix == nil && t.tools > 0 && t.m > 1 && visible > m+slack(visible):
		return p.fail("%.0f tokens in %d events of a tool call, whose marks no event shows: how many each holds would be an estimate", visible, t.m)
	case x.tokens == 0 && x.prefix == nil && visible > m+slack(visible) && t.bytes < minTextPerToken*visible:
		return p.fail("%.0f tokens for %.0f bytes of text in %d events: hidden tokens can't be told apart", visible, t.bytes, t.m)
	case visible < m && t.reasoning > 0 && visible <= float64(t.answer)+slack(visible):
		return p.fail("%.0f tokens for %d events, %d of them reasoning: the server's count seems to leave reasoning out", visible, t.m, t.reasoning)
	}
	p.fill(events, visible, t.m, x, all)
	p.whole, p.answer = true, true
	leading := 0.0 // events of the first step, where its tokens are counted
	if p.first > 0 {
		leading = float64(lead(events))
	}
	switch {
	case x.tokens > 0:
		p.over = max(0, (visible-p.first)/max(float64(x.tokens)-p.first, 1)-1)
	case x.prefix == nil && !rKnown && !(visible < m && visible >= m-slack(m)):
		p.loose, p.over = true, math.Inf(1)
		if visible > m {
			p.over = (visible-p.first)/(m-leading) - 1 // no event has less than a token
		}
	}
	return p
}

// partlyHidden reports whether r reasoning tokens are too many for the reasoning text that was streamed: more than its
// bytes, or less than half the text a token that the answer of the same stream has.
func partlyHidden(r, reasoningBytes, answer, answerBytes float64) bool {
	if r > reasoningBytes {
		return true
	}
	return r >= 16 && answer >= 16 && reasoningBytes/r < 0.5*answerBytes/answer
}

// lead is how many text-bearing events the first read with text brought: those that Sample.steps merges into the first step.
func lead(events []stream.Event) int {
	n := 0
	for i, e := range events {
		if n > 0 && e.Read != events[i-1].Read && e.At != events[i-1].At {
			break
		}
		if bears(e) {
			n++
		}
	}
	return n
}

// FirstText is the text that the first read with text brought: the tokens of it are n[1].
func FirstText(events []stream.Event) string {
	var text strings.Builder
	left := lead(events)
	for _, e := range events {
		if left > 0 && bears(e) {
			text.WriteString(e.Text)
			left--
		}
	}
	return text.String()
}

// leads reports whether the first step's tokens are known, and leave one at the least for each of the m events after it that want
// picks as it does those before.
func (x text) leads(events []stream.Event, n float64, m int, want func(stream.Event) bool) (leading int, ok bool) {
	leading = lead(events)
	if x.first <= 0 || leading >= m || x.first > len(FirstText(events)) || n-float64(x.first) < float64(m-leading) {
		return leading, false
	}
	left := leading
	for _, e := range events {
		if left > 0 && bears(e) {
			if !want(e) {
				return leading, false
			}
			left--
		}
	}
	return leading, true
}

// fill spreads n tokens over the m text-bearing events that want picks: in proportion to the text tokenised by prefix,
// where prefix fits; else the first step has what was counted of it, and the others share the rest evenly.
func (p *placement) fill(events []stream.Event, n float64, m int, x text, want func(stream.Event) bool) {
	prefix := x.prefix
	if !ascending(prefix, m) {
		prefix = nil
	}
	each := n / float64(m)
	leading, led := x.leads(events, n, m, want)
	if led = led && prefix == nil; led {
		p.first = float64(x.first)
		each = (n - p.first) / float64(m-leading)
	}
	i := 0
	for k, e := range events {
		if !bears(e) || !want(e) {
			continue
		}
		if prefix == nil {
			p.tokens[k] = each
			if led && i < leading {
				p.tokens[k] = p.first / float64(leading)
			}
		} else {
			before := 0
			if i > 0 {
				before = prefix[i-1]
			}
			p.tokens[k] = n * float64(prefix[i]-before) / float64(prefix[m-1])
		}
		i++
	}
}

// ascending reports whether prefix is a count for each of m events that never falls and ends above 0.
func ascending(prefix []int, m int) bool {
	if len(prefix) != m || m == 0 || prefix[m-1] <= 0 {
		return false
	}
	last := 0
	for _, x := range prefix {
		if x < last {
			return false
		}
		last = x
	}
	return true
}
