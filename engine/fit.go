package engine

import (
	"context"
	"fmt"
	"math"
	"strings"

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

// filler are words of one token on every common tokenizer; they close the last gap of a fit.
var filler = [...]string{" and", " so", " on", " we", " go", " with", " it", " all", " the", " way"}

// text is the shape of a generated prompt.
type text struct {
	label string
	words int
	fill  int  // filler words after them
	salt  bool //
	tight bool // a short salt and a short task, for tokenizers under which the usual ones are too long for the target
}

// tightSalt is how much of a salt a tight prompt keeps: 32 random bits.
const tightSalt = len("7f3a-91c2")

// generated makes the prompt: salt, text, a few filler words, and a task whose natural answer is long.
func (h *passHost) generated(x text) drivers.Prompt {
	var out strings.Builder
	task := h.r.prose.Task(h.r.opt.Seed)
	if x.salt {
		salt := h.r.prose.Salt(h.r.opt.Seed, x.label)
		if x.tight {
			salt, task = salt[:tightSalt]+" ", "Write on."
		}
		out.WriteString(salt)
	}
	out.WriteString(h.r.prose.Text(h.r.opt.Seed, x.label, x.words))
	for i := range x.fill {
		out.WriteString(filler[i%len(filler)])
	}
	out.WriteString("\n\n" + task)
	return oneMessage(out.String())
}

func oneMessage(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

// fitted generates a prompt of the target length in the backend's own tokens, template included. With a tokenizer it is
// exact, or at most fitTolerance shorter where the prompt is long; without one it follows from counts that the server
// stated for other prompts (at 4k tokens or less), and counted and head are nil.
func (h *passHost) fitted(ctx context.Context, label string, target int, salted bool) (p drivers.Prompt, counted *int, head []int32, err error) {
	if h.s.caps.Tokenizer == nil {
		if err := h.learnByServer(ctx, target); err != nil {
			return drivers.Prompt{}, nil, nil, err
		}
		x := text{label: label, words: h.s.fit.words(target), salt: salted}
		if x.words == 0 {
			x.tight, x.words = true, int(float64(target)/2/max(h.s.fit.perWord, 1))
		}
		return h.generated(x), nil, nil, nil
	}
	x := text{label: label, salt: salted}
	count := func(words, fill int) (int, error) {
		x.words, x.fill = words, fill
		p = h.generated(x)
		ids, err := h.s.caps.Tokenizer.Tokenize(ctx, p)
		if err != nil {
			return 0, fmt.Errorf("count the tokens of a prompt: %w", err)
		}
		head = h.s.headOf(ids)
		return len(ids), nil
	}
	near := func(n int) bool {
		off := target - n
		return off == 0 || off > 0 && target > 4096 && float64(off) <= fitTolerance*float64(target)
	}
	// The longest text that is not over the target: the line's guess, then between what was too short and what too long.
	low, lowCount, high := -1, 0, -1
	for words := h.s.fit.words(target); high < 0 || high-low > 1; {
		n, err := count(words, 0)
		if err != nil {
			return drivers.Prompt{}, nil, nil, err
		}
		if !x.tight {
			h.s.fit.learn(words, n)
		}
		if near(n) {
			return p, &n, head, nil
		}
		step := int(math.Round(float64(target-n) / max(h.s.fit.perWord, 0.5)))
		if n <= target {
			low, lowCount = words, n
			words += max(step, 1)
		} else {
			high = words
			words += min(step, -1)
		}
		if high == 0 && x.tight {
			return p, &n, head, nil // the template alone is longer
		}
		if high == 0 {
			x.tight, high, words = true, -1, max(int(float64(target)/4/max(h.s.fit.perWord, 1)), 1)
			continue
		}
		if high > 0 {
			words = min(words, high-1)
		}
		words = max(words, low+1, 0)
	}
	// What is missing is less than a word of the text has: fill up, and take back what was too much.
	best, bestCount := p, -1
	for fill := target - lowCount; fill >= 0; fill-- {
		n, err := count(low, fill)
		if err != nil {
			return drivers.Prompt{}, nil, nil, err
		}
		if n <= target && n > bestCount {
			best, bestCount = p, n
		}
		if n <= target {
			break
		}
	}
	return best, &bestCount, head, nil
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
		_, tr, err := h.r.unmeasured(ctx, h.s, h.generated(text{label: label, words: words, salt: true}), 2)
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
