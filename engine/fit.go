package engine

import (
	"context"
	"fmt"
	"math"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
)

// fitModel says how many tokens a generated prompt of so many words has on a session's backend: tokens = base + perWord *
// words. It is learnt from the server's own counts.
type fitModel struct {
	base, perWord float64
	points        []fitPoint
}

type fitPoint struct{ words, tokens int }

// fitTolerance is how near a fit has to come before it stops looking, as a share of the target. measurement.md section 5
// allows 1 %.
const fitTolerance = 0.002

// learn takes in a count and refits: a line through the two points furthest apart, or a typical ratio through one.
func (m *fitModel) learn(words, tokens int) {
	for i, p := range m.points {
		if p.words == words {
			m.points[i].tokens = tokens
			return
		}
	}
	m.points = append(m.points, fitPoint{words, tokens})
	lo, hi := m.points[0], m.points[0]
	for _, p := range m.points {
		if p.words < lo.words {
			lo = p
		}
		if p.words > hi.words {
			hi = p
		}
	}
	if hi.words-lo.words < 16 {
		m.perWord = 1.3
	} else {
		m.perWord = max(float64(hi.tokens-lo.tokens)/float64(hi.words-lo.words), 0.2)
	}
	m.base = float64(hi.tokens) - m.perWord*float64(hi.words)
}

// words inverts the line.
func (m *fitModel) words(tokens int) int {
	if len(m.points) == 0 {
		return max(int(float64(tokens-60)/1.35), 1)
	}
	return max(int(math.Round((float64(tokens)-m.base)/m.perWord)), 0)
}

// generated makes the prompt of so many words: salt, text, and a task whose natural answer is long.
func (h *passHost) generated(label string, words int, salted bool) drivers.Prompt {
	text := h.r.prose.Text(h.r.opt.Seed, label, words)
	if salted {
		text = h.r.prose.Salt(h.r.opt.Seed, label) + text
	}
	return oneMessage(text + "\n\n" + h.r.prose.Task(h.r.opt.Seed))
}

func oneMessage(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

// fitted generates a prompt of the target length in the backend's own tokens, template included. With a tokenizer the
// count is exact; without one it follows from counts that the server stated for other prompts (at 4k tokens or less),
// and counted is nil.
func (h *passHost) fitted(ctx context.Context, label string, target int, salted bool) (p drivers.Prompt, counted *int, err error) {
	if h.s.caps.Tokenizer == nil {
		if err := h.learnByServer(ctx, target); err != nil {
			return drivers.Prompt{}, nil, err
		}
		return h.generated(label, h.s.fit.words(target), salted), nil, nil
	}
	best, bestOff := drivers.Prompt{}, math.MaxInt
	words, bestCount := h.s.fit.words(target), 0
	tried := map[int]bool{}
	for range 8 {
		tried[words] = true
		p := h.generated(label, words, salted)
		ids, err := h.s.caps.Tokenizer.Tokenize(ctx, p)
		if err != nil {
			return drivers.Prompt{}, nil, fmt.Errorf("count the tokens of a prompt: %w", err)
		}
		n := len(ids)
		h.s.fit.learn(words, n)
		off := target - n
		if abs(off) < bestOff {
			best, bestOff, bestCount = p, abs(off), n
		}
		if off == 0 || (target > 1024 && float64(abs(off)) <= fitTolerance*float64(target)) {
			break
		}
		step := int(math.Round(float64(off) / max(h.s.fit.perWord, 0.5)))
		if step == 0 {
			step = off / abs(off)
		}
		if words = max(words+step, 0); tried[words] {
			break // the target lies between two word counts, or below the template, salt and task alone
		}
	}
	return best, &bestCount, nil
}

// learnByServer makes sure that the server's own counts of two prompts are known, by short unmeasured requests of at most
// 4k tokens.
func (h *passHost) learnByServer(ctx context.Context, target int) error {
	sizes := []int{60, 240}
	if target > 400 {
		sizes = append(sizes, 2400)
	}
	for _, words := range sizes {
		known := false
		for _, p := range h.s.fit.points {
			known = known || p.words == words
		}
		if known {
			continue
		}
		label := fmt.Sprintf("fit/%d/%d", words, h.r.nextProbe())
		_, tr, err := h.r.unmeasured(ctx, h.s, h.generated(label, words, true), 2)
		if err != nil {
			return fmt.Errorf("learn how many tokens a prompt has: %w", err)
		}
		if !tr.Counts.Prompt.Known() {
			return nil // nobody counts here; words stand for tokens and the row says so
		}
		h.s.fit.learn(words, tr.Counts.Prompt.N)
	}
	return nil
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
