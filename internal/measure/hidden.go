package measure

import (
	"math"
	"time"

	"github.com/llm-speed/llm-speed/internal/stream"
)

// Tokens that are counted and never streamed make a decode rate too high. Where a server counts its events' tokens or its
// reasoning apart, they show. Where it does neither and sends fewer events than tokens, three things can tell: the text
// under the server's own tokenizer, the time that the server says it decoded for, and the number of events, each of which
// has a token at the least. The amount of text can't: between kinds of text a token's share of it differs by half.

// minSeen is how much of the time that the server spent on its tokens a stream must show, so that tokens which nobody counted
// event by event are taken for streamed ones.
const minSeen = 0.97

// maxOver is by how much a decode rate may be too high, as a share, before it is none.
const maxOver = 0.10

// shown is what the server's clock says about a stream: the share of its decoding during which text came; ok is false where
// it states no time, or one that does not fit into the whole request.
func shown(text, whole time.Duration, server stream.ServerTiming) (share float64, ok bool) {
	if text <= 0 || server.Decode <= 0 || server.Prefill+server.Decode > whole {
		return 0, false
	}
	return float64(text) / float64(server.Decode), true
}

// doubt settles a loose placement by the server's clock: where it made tokens for longer than text was shown, some of them
// came before the first text or after the last, such as thinking that is not streamed, and how many is not known. Without a
// clock only the number of events bounds how many were hidden.
func (p placement) doubt(text, whole time.Duration, server stream.ServerTiming, n, events int) placement {
	if !p.loose || !p.whole || events < 2 {
		return p
	}
	if share, ok := shown(text, whole, server); ok {
		// The server's clock runs while the first event fills, and text is timed from its end: of m events it shows m-1, or, where the
		// tokens of the first are counted, all tokens but those.
		seen := float64(events-1) / float64(events)
		if p.first > 0 && n > 0 {
			seen = 1 - p.first/float64(n)
		}
		if share < minSeen*seen {
			return p.fail("the server made tokens for %.3g ms, and text came for %.3g ms: some were never streamed, and how many is not known", ms(server.Decode), ms(text))
		}
		p.over = min(p.over, max(0, 1/share-1))
	}
	if p.over > maxOver {
		return p.fail("%d tokens for %d events of text, and the server says neither how many of them are reasoning nor when it made them: hidden tokens can't be told apart", n, events)
	}
	return p
}

// leastGain is the share of a stream's tokens by which the first step may have other than its even share before it is worth
// counting.
const leastGain = 0.005

// WantsFirstCount reports whether the tokens of FirstText, by the server's own tokenizer, would make a rate more exact: what an
// even spread gives the first step is taken off the window, and a first event may hold one token where the others hold several,
// or much of the text where a parser held the start of it back.
func WantsFirstCount(tr stream.Transcript) bool {
	c := stream.Counts{Output: clean(tr.Counts.Output), Reasoning: clean(tr.Counts.Reasoning), Hidden: tr.Counts.Hidden}
	if !c.Output.Known() {
		return false
	}
	p := place(tr.Events, c, tr.Finish, text{tokens: c.Output.N})
	if !p.whole || p.how != Estimated {
		return false
	}
	leading, events, bytes, even, all := lead(tr.Events), 0, 0, 0.0, 0.0
	for i, e := range tr.Events {
		if !bears(e) {
			continue
		}
		if events++; events <= leading {
			even += p.tokens[i]
		}
		all += p.tokens[i]
		bytes += len(e.Text)
	}
	if leading == events || all <= 0 {
		return false
	}
	byText := all * float64(len(FirstText(tr.Events))) / float64(bytes)
	return max(math.Abs(even-float64(leading)), math.Abs(even-byText)) > leastGain*all
}

// WantsTextCount reports whether the number of tokens of a stream's text, by the server's own tokenizer, would tell what
// nothing else does: whether all tokens that the server counts were streamed.
func WantsTextCount(rec stream.Recording, tr stream.Transcript) bool {
	c := stream.Counts{Output: clean(tr.Counts.Output), Reasoning: clean(tr.Counts.Reasoning), Hidden: tr.Counts.Hidden}
	if c.Reasoning.Known() || !c.Output.Known() {
		return false
	}
	// Would there be a rate if the text had as many tokens?
	if p := place(tr.Events, c, tr.Finish, text{tokens: c.Output.N}); !p.whole || p.how != Estimated {
		return false
	}
	var first, last time.Duration
	for _, e := range tr.Events {
		if !bears(e) {
			continue
		}
		if first == 0 {
			first = e.At
		}
		last = e.At
	}
	_, ok := shown(last-first, rec.End-rec.Send, tr.Server)
	return !ok
}
