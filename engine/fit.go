package engine

import (
	"cmp"
	"context"
	"errors"
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
		return max(int(float64(tokens-60)/usualPerWord), 1)
	}
	return max(int(math.Round((float64(tokens)-m.base)/m.perWord)), 0)
}

// filler are words of one token on every common tokenizer; they close the last gap of a fit.
var filler = [...]string{" and", " so", " on", " we", " go", " with", " it", " all", " the", " way"}

// text is the shape of a generated prompt.
type text struct {
	label     string
	words     int
	fill      int    // filler words after them
	salt      bool   //
	saltLabel string // of the salt, where it is not the text's
	tight     bool   // a short salt and a short task, for tokenizers under which the usual ones are too long for the target
}

// tightSalt is how much of a salt a tight prompt keeps: 32 random bits.
const tightSalt = len("7f3a-91c2")

// generated makes the prompt: salt, text, a few filler words, and a task whose natural answer is long.
func (h *passHost) generated(x text) drivers.Prompt {
	var out strings.Builder
	task := h.r.prose.Task(h.r.opt.Seed)
	if x.salt {
		salt := h.r.prose.Salt(h.r.opt.Seed, cmp.Or(x.saltLabel, x.label))
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

// usualPerWord is how many tokens a word of generated text has on common tokenizers: the first guess of every fit.
const usualPerWord = 1.35

// fitted generates a prompt of the target length in the backend's own tokens, template included. With a tokenizer it is
// exact, or at most fitTolerance shorter where the prompt is long; without one see fittedByServer, and counted and head
// are nil. The same label and target give the same bytes on the same tokenizer, whatever was fitted before.
func (h *passHost) fitted(ctx context.Context, label string, target int, salted bool) (p drivers.Prompt, counted *int, head []int32, err error) {
	if h.s.caps.Tokenizer == nil {
		p, err = h.fittedByServer(ctx, label, target, salted)
		return p, nil, nil, err
	}
	x := text{label: label, salt: salted}
	own := fitModel{perWord: usualPerWord}
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
	for words := own.words(target); high < 0 || high-low > 1; {
		n, err := count(words, 0)
		if err != nil {
			return drivers.Prompt{}, nil, nil, err
		}
		if !x.tight {
			own.learn(words, n)
		}
		if near(n) {
			return p, &n, head, nil
		}
		step := int(math.Round(float64(target-n) / max(own.perWord, 0.5)))
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
			x.tight, high, words = true, -1, max(int(float64(target)/4/max(own.perWord, 1)), 1)
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

// commonWords are the lengths of the texts that all prompts of a hosted session are fitted by.
var commonWords = [...]int{40, 40, 300, 300, 900, 900}

// leastCommon is the target, in tokens, up to which each prompt is counted by itself all the same: there a line misses by
// more, and counting costs little.
const leastCommon = 256

// common reports whether a session's prompts are fitted by one line for all: where each request costs money and nothing else
// counts. The line is the same whatever was fitted before it; a prompt that misses its target by more than 1 % says so by
// its flag.
func (r *run) common(s *session) bool {
	return r.opt.Spec.Kind == drivers.Hosted && s.caps.Tokenizer == nil && s.caps.Counter == nil
}

// sizeLine says how many tokens a generated prompt of a rough size (roughTokens) has. Lines through words or bytes miss by
// 5 %, since each text is mixed of prose, lists and code in its own way.
type sizeLine struct {
	base, perSize float64
	known, failed bool
}

func (l sizeLine) tokens(p drivers.Prompt) float64 { return l.base + l.perSize*sizeOf(p) }

// sizeOf is the rough size of a generated prompt.
func sizeOf(p drivers.Prompt) float64 { return roughTokens(p.Messages[0].Content) }

// learnLine learns a session's line from a few short requests, once: the one with the least squares through their counts.
// It stays unknown where the service does not count.
func (h *passHost) learnLine(ctx context.Context) error {
	if h.s.line.known || h.s.line.failed {
		return nil
	}
	h.r.lined = true
	var n, x, y, xx, xy float64
	for i, words := range commonWords {
		p := h.generated(text{label: fmt.Sprintf("fit/%d", i), words: words, salt: true})
		_, tr, err := h.r.unmeasured(ctx, h.s, p, 2)
		if err != nil {
			return fmt.Errorf("learn how many tokens a prompt has: %w", err)
		}
		if !tr.Counts.Prompt.Known() {
			h.s.line.failed = true
			return nil
		}
		size, tokens := sizeOf(p), float64(tr.Counts.Prompt.N)
		n, x, y, xx, xy = n+1, x+size, y+tokens, xx+size*size, xy+size*tokens
	}
	perSize := (n*xy - x*y) / (n*xx - x*x)
	if perSize <= 0 {
		h.s.line.failed = true // whatever that service counts, it is not this text
		return nil
	}
	h.s.line = sizeLine{base: (y - perSize*x) / n, perSize: perSize, known: true}
	return nil
}

// fittedByLine finds the text whose rough size comes nearest to the target by the session's line.
func (h *passHost) fittedByLine(ctx context.Context, x text, target int) (drivers.Prompt, error) {
	if err := h.learnLine(ctx); err != nil || !h.s.line.known {
		return h.generated(x), err
	}
	guess := func() float64 { return h.s.line.tokens(h.generated(x)) }
	if x.words = 0; guess() > float64(target) { // too long as it is
		x.tight = true
	}
	low, high := 0, 2*target+64 // no word has less than half a token
	for low < high {
		if x.words = (low + high + 1) / 2; guess() <= float64(target) {
			low = x.words
		} else {
			high = x.words - 1
		}
	}
	x.words = low
	return h.generated(x), nil
}

// mostCounted is the longest prompt that is counted whole; longer ones are extrapolated from pieceWords, and a little short,
// so that they don't overrun a context that they are to fill.
const (
	mostCounted  = 4096
	extrapolated = 0.996
)

// pieceWords are the lengths of the beginnings that an extrapolated text is counted by.
var pieceWords = [...]int{300, 1200, 8000}

// fittedByServer fits a prompt by the server's own counts of short unmeasured requests: of the very text under another
// salt where that is short, else of its beginning. Where nobody counts, words stand for tokens and the row says so.
func (h *passHost) fittedByServer(ctx context.Context, label string, target int, salted bool) (drivers.Prompt, error) {
	x := text{label: label, salt: salted, words: max(int(float64(target-60)/usualPerWord), 0)}
	if h.r.common(h.s) && target > leastCommon {
		return h.fittedByLine(ctx, x, target)
	}
	ask := func(x text) (int, error) {
		probe := x
		probe.saltLabel = fmt.Sprintf("%s/count/%d/%d", label, x.words, x.fill)
		if h.s.caps.Counter != nil { // it keeps nothing, so that the very prompt can be counted
			probe.saltLabel = ""
			n, err := h.s.caps.Counter.CountTokens(ctx, h.generated(probe))
			if err != nil {
				return 0, fmt.Errorf("learn how many tokens a prompt has: %w", err)
			}
			return n, nil
		}
		_, tr, err := h.r.unmeasured(ctx, h.s, h.generated(probe), 2)
		switch {
		case err != nil:
			return 0, fmt.Errorf("learn how many tokens a prompt has: %w", err)
		case !tr.Counts.Prompt.Known():
			return 0, nil
		}
		return tr.Counts.Prompt.N, nil
	}
	if target > mostCounted && h.s.caps.Counter == nil {
		rough := func(words int) float64 {
			y := x
			y.words = words
			return roughTokens(h.generated(y).Messages[0].Content)
		}
		var pieces []countedPiece
		for _, words := range pieceWords {
			if float64(words) > float64(target)/usualPerWord/2 {
				break
			}
			y := x
			y.words = words
			n, err := ask(y)
			if err != nil || n == 0 {
				return h.generated(x), err
			}
			pieces = append(pieces, countedPiece{words, n, rough(words)})
		}
		x.words = foretell(int(float64(target)*extrapolated), pieces, rough)
		return h.generated(x), nil
	}
	return h.fittedByTries(x, target, ask)
}

// fitTries bounds the short requests that one prompt's fit may take.
const fitTries = 6

// fittedByTries asks for the whole prompt's count until it is the target, or the tries are used up, and gives what came
// nearest.
func (h *passHost) fittedByTries(x text, target int, ask func(text) (int, error)) (drivers.Prompt, error) {
	best, off := x, math.MaxInt
	perWord, lastWords, lastCount := usualPerWord, -1, 0
	for range fitTries {
		n, err := ask(x)
		if errors.Is(err, drivers.ErrContextLength) && x.words > 0 { // the first guess can be far off on a small tokenizer
			x.words, x.fill = x.words/2, 0
			continue
		}
		if err != nil || n == 0 {
			return h.generated(x), err
		}
		missing := target - n
		if abs(missing) < off {
			best, off = x, abs(missing)
		}
		if missing == 0 || off <= 4 && target > 1024 { // within half a percent: not worth another request
			break
		}
		switch {
		case missing < 0 && x.words == 0 && x.tight:
			return h.generated(x), nil // the template alone is longer
		case missing < 0 && x.words == 0:
			x.tight, x.words, x.fill, lastWords = true, int(float64(target)/4/usualPerWord), 0, -1
			continue
		case x.fill > 0 && x.fill+missing >= 0, x.fill == 0 && missing > 0 && float64(missing) < 2*perWord:
			x.fill += missing // words of one token each
			continue
		}
		if lastWords >= 0 && x.words != lastWords && x.fill == 0 {
			perWord = min(max(float64(n-lastCount)/float64(x.words-lastWords), 0.5), 8)
		}
		lastWords, lastCount = x.words, n
		step := int(math.Floor(float64(missing) / perWord)) // rather too short: the rest can be filled
		x.words, x.fill = max(x.words+step, 0), 0
	}
	return h.generated(best), nil
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
