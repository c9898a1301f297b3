package engine

import (
	"context"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// textTokens counts the streamed text with the server's own tokenizer, where the server counts another number of tokens than
// it sent events and does not say which held how many: only so is it known that none was hidden, and how many came first, which
// are not in the window of a rate. 0 where it is not needed or not to be had.
func (h *passHost) textTokens(ctx context.Context, p *prompt, rec stream.Recording, tr stream.Transcript) (whole, first int) {
	if !tr.Counts.Output.Known() {
		return 0, 0
	}
	var text strings.Builder
	events := 0
	for _, e := range tr.Events {
		switch {
		case e.Tokens != stream.NotStated, e.Kind == stream.Tool:
			return 0, 0
		case e.Text != "":
			events++
			text.WriteString(e.Text)
		}
	}
	if events == 0 {
		return 0, 0
	}
	count, wants := h.tokensOf, tr.Counts.Output.N > events+1
	if h.s.caps.Tokenizer == nil {
		if h.keepsOff(p) {
			return 0, 0
		}
		count, wants = h.countedBack, measure.WantsTextCount(rec, tr)
	}
	if wants {
		if whole = h.tokensIn(ctx, count, text.String()); whole == 0 {
			return 0, 0 // then there is no rate, however many came first
		}
	}
	if measure.WantsFirstCount(tr) {
		first = h.tokensIn(ctx, count, measure.FirstText(tr.Events))
	}
	return whole, first
}

// tokensIn counts the tokens of a text; 0 where they are not known. A template, and the start of a text, may have tokens of
// their own: they cancel.
func (h *passHost) tokensIn(ctx context.Context, count func(context.Context, string) int, text string) int {
	with := count(ctx, textHead+text)
	if with == 0 {
		return 0
	}
	if h.s.textHead == 0 {
		h.s.textHead = max(count(ctx, textHead+oneToken)-1, 0)
	}
	if h.s.textHead == 0 || with <= h.s.textHead {
		return 0
	}
	return with - h.s.textHead
}

// textHead stands before a text that is counted, so that its first word does not begin the message, and oneToken behind it where
// it is counted alone: templates trim blanks at a message's ends. A letter in a line of its own is one token everywhere.
const (
	textHead = ".\n"
	oneToken = "a"
)

// tokensOf counts with a tokenizer; 0 where it does not.
func (h *passHost) tokensOf(ctx context.Context, text string) int {
	ids, err := h.s.caps.Tokenizer.Tokenize(ctx, oneMessage(text))
	if err != nil {
		return 0
	}
	return len(ids)
}

// countedBack sends a text back as a prompt and takes the server's own count of it; 0 where there is none. It costs one
// unmeasured request, of hosted services a few tokens, and is made for streams alone whose rate would be unknown without it.
func (h *passHost) countedBack(ctx context.Context, text string) int {
	if h.s.caps.Counter != nil {
		n, err := h.s.caps.Counter.CountTokens(ctx, oneMessage(text))
		if err != nil {
			return 0
		}
		return n
	}
	p := oneMessage(text)
	if left, has := h.r.ledger.left(); has && left < h.r.most(p, nil, 2) {
		return 0 // what is left of the ceiling is for what was asked for
	}
	h.r.countsBack = true
	_, tr, err := h.r.unmeasured(ctx, h.s, p, 2)
	if err != nil || !tr.Counts.Prompt.Known() {
		return 0
	}
	return tr.Counts.Prompt.N
}

// keepsOff reports whether no request of our own may come between those of a conversation: on a server of one user it would
// push the conversation out of the cache that the next turn is to hit.
func (h *passHost) keepsOff(p *prompt) bool {
	return p.reuse && h.r.opt.Spec.Kind != drivers.Hosted && h.s.caps.Counter == nil
}
