package engine

import (
	"context"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// textTokens counts the streamed text with the server's own tokenizer, where the server counts another number of tokens than
// it sent events and does not say which held how many: only so is it known that none was hidden. 0 where it is not needed or
// not to be had.
func (h *passHost) textTokens(ctx context.Context, p *prompt, rec stream.Recording, tr stream.Transcript) int {
	if !tr.Counts.Output.Known() {
		return 0
	}
	var text strings.Builder
	events := 0
	for _, e := range tr.Events {
		switch {
		case e.Tokens != stream.NotStated, e.Kind == stream.Tool:
			return 0
		case e.Text != "":
			events++
			text.WriteString(e.Text)
		}
	}
	if events == 0 {
		return 0
	}
	count := h.tokensOf
	if h.s.caps.Tokenizer == nil {
		if !measure.WantsTextCount(rec, tr) || h.keepsOff(p) {
			return 0
		}
		count = h.countedBack
	} else if tr.Counts.Output.N <= events+1 {
		return 0
	}
	// A template, or the start of a text, may have tokens of its own: they cancel.
	with := count(ctx, textHead+text.String())
	if with == 0 {
		return 0
	}
	without := h.s.textHead
	if h.s.caps.Tokenizer != nil || without == 0 {
		if without = count(ctx, textHead); h.s.caps.Tokenizer == nil {
			h.s.textHead = without
		}
	}
	if without == 0 || with <= without {
		return 0
	}
	return with - without
}

// textHead stands before a text that is counted, so that its first word has a space before it as it had in the answer.
const textHead = ".\n"

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
