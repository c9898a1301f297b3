package engine

import (
	"context"
	"fmt"
	"math"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/drivers"
)

// assembled makes one user message out of generated parts. The salt is the pass's, so that a shared part can be reused
// within the pass and never across passes.
func (h *passHost) assembled(ctx context.Context, spec builtins.PromptSpec) (drivers.Prompt, error) {
	text := h.r.prose.Salt(h.r.opt.Seed, fmt.Sprintf("%s/%d/parts", h.row.Key, h.pass))
	if !spec.Cold {
		text = "" // a shared part comes first: its own text differs from pass to pass
	}
	for i, part := range spec.Parts {
		label := fmt.Sprintf("%s/%d/shared/%s", h.row.Key, h.pass, part.Shared)
		if part.Shared == "" {
			label = fmt.Sprintf("%s/%d/%d/fresh/%d", h.row.Key, h.pass, len(h.prompts)+1, i)
		}
		one, err := h.part(ctx, label, part.Tokens)
		if err != nil {
			return drivers.Prompt{}, err
		}
		text += one
	}
	return oneMessage(text + h.r.prose.Task(h.r.opt.Seed)), nil
}

// partTries bounds the counts that one part's fit may take.
const partTries = 6

// part is a generated text of so many tokens: as the backend's tokenizer counts them behind other text, within 1 %, or, where
// there is none, as the usual ratio has it. The same label gives the same text.
func (h *passHost) part(ctx context.Context, label string, tokens int) (string, error) {
	if text, ok := h.partTexts[label]; ok {
		return text, nil
	}
	generated := func(words int) string { return h.r.prose.Text(h.r.opt.Seed, label, max(words, 1)) + "\n\n" }
	words := int(float64(tokens) / usualPerWord)
	if h.s.caps.Tokenizer == nil {
		return generated(words), nil
	}
	const before = "Text.\n\n"
	count := func(text string) (int, error) {
		ids, err := h.s.caps.Tokenizer.Tokenize(ctx, oneMessage(before+text))
		if err != nil {
			return 0, fmt.Errorf("count the tokens of a part: %w", err)
		}
		return len(ids), nil
	}
	base, err := count("")
	if err != nil {
		return "", err
	}
	best, off := "", math.MaxInt
	for range partTries {
		text := generated(words)
		n, err := count(text)
		if err != nil {
			return "", err
		}
		n -= base
		if abs(n-tokens) < off {
			best, off = text, abs(n-tokens)
		}
		step := int(math.Round(float64(tokens-n) * float64(words) / float64(max(n, 1))))
		if float64(off) <= 0.002*float64(tokens) || step == 0 {
			break
		}
		words = max(words+step, 1)
	}
	if h.partTexts == nil {
		h.partTexts = map[string]string{}
	}
	h.partTexts[label] = best
	return best, nil
}
