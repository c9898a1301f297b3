package engine

import (
	"fmt"
	"math"
	"sync"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// ledger counts the tokens, prompts and outputs, of every request of a run: timed ones, warm-ups, probes and those that fit
// prompts. Before a request is sent, room for the most that it can take is set aside; afterwards its own count takes its
// place. So the ceiling holds whatever runs at once. It is safe for use by several goroutines.
type ledger struct {
	mu      sync.Mutex
	most    int     // the ceiling; 0: none
	spent   int     // counted, and set aside
	prompt  int     // counted, prompts alone
	output  int     // counted, outputs alone
	guessed int     // part of spent that nobody has counted: requests whose counts are not known
	cuts    int     // requests that were not sent
	perByte float64 // most tokens that a byte of a prompt has had so far; 0 where none has been counted
}

// ceilingError says that a request was not sent.
type ceilingError struct{ most, spent, next int }

func (e *ceilingError) Error() string {
	return fmt.Sprintf("the ceiling of %d tokens: %d are spent, and the next request could take %d; --max-tokens-total gives more", e.most, e.spent, e.next)
}

// carry takes over what earlier invocations of the run took: a ceiling holds for the run, however often it is resumed.
func (l *ledger) carry(t *record.Tokens) {
	if t == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prompt, l.output, l.guessed = l.prompt+t.Prompt, l.output+t.Output, l.guessed+t.Uncounted
	l.spent += t.Prompt + t.Output + t.Uncounted
}

// reserve sets tokens aside, or says that they are over the ceiling.
func (l *ledger) reserve(tokens int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.most > 0 && l.spent+tokens > l.most {
		l.cuts++
		return &ceilingError{l.most, l.spent, tokens}
	}
	l.spent += tokens
	return nil
}

// settle takes what was set aside for a request back, and puts in its place what it took. bytes are those of its prompt.
func (l *ledger) settle(reserved, bytes int, rec *stream.Recording, c stream.Counts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.Prompt.Known() && c.Output.Known():
		l.spent += c.Prompt.N + c.Output.N - reserved
		l.prompt += c.Prompt.N
		l.output += c.Output.N
		if bytes >= leastToLearn {
			l.perByte = max(l.perByte, float64(c.Prompt.N)/float64(bytes))
		}
	case rec.Send == 0 || rec.Status >= 400: // never sent, or refused before anything was done
		l.spent -= reserved
	default:
		l.guessed += reserved
	}
}

// refused is how many requests the ceiling has kept back so far.
func (l *ledger) refused() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cuts
}

// left is how many tokens are left below the ceiling; ok is false where there is none.
func (l *ledger) left() (tokens int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.most-l.spent, 0), l.most > 0
}

// usualPerByte and templateTokens bound a prompt that nobody has counted: code and prose have 3 to 5 bytes a token, rarely
// fewer, and a chat template adds some tens of tokens.
const (
	usualPerByte   = 0.4
	templateTokens = 64
	leastToLearn   = 512 // bytes of a prompt whose template does not weigh much any more
)

// bound is the most tokens that a prompt of so many bytes is taken to have.
func (l *ledger) bound(bytes int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	perByte := usualPerByte
	if l.perByte > 0 {
		perByte = min(1.1*l.perByte, 1)
	}
	return int(math.Ceil(perByte*float64(bytes))) + templateTokens
}

// bytesOf is the size of a prompt's text, tools included.
func bytesOf(p drivers.Prompt) int {
	n := 0
	for _, m := range p.Messages {
		n += len(m.Role) + len(m.Content)
		for _, c := range m.ToolCalls {
			n += len(c.Name) + len(c.Arguments)
		}
	}
	for _, t := range p.Tools {
		n += len(t.Name) + len(t.Description) + len(t.Parameters)
	}
	return n
}

// most is the most tokens that a request takes: its prompt as counted before the send where that was done.
func (r *run) most(p drivers.Prompt, count *int, output int) int {
	if count != nil {
		return *count + output
	}
	return r.ledger.bound(bytesOf(p)) + output
}

// cut reports whether a pass was ended by the ceiling.
func (h *passHost) cut(err error) bool { return err != nil && h.r.ledger.refused() > h.cuts }

// cut reports whether the last pass of a row was.
func (st *rowState) cut() bool { return len(st.passes) > 0 && st.passes[len(st.passes)-1].ceiling }

// overCeiling says why a row is not begun: a pass of it would not fit below the ceiling. Empty: it would.
func (r *run) overCeiling(row *RowPlan) string {
	if r.fits(row) {
		return ""
	}
	r.ceilingSkips++
	left, _ := r.ledger.left()
	need := r.next(row)
	return fmt.Sprintf("a pass takes about %d tokens, and %d are left of the ceiling of %d; --max-tokens-total gives more", need, left, r.ledger.most)
}

// fits reports whether a pass of a row fits below the ceiling, as far as is known before it.
func (r *run) fits(row *RowPlan) bool {
	left, has := r.ledger.left()
	return !has || r.next(row) <= left
}

// next is about what the next pass of a row takes, with what has to be learnt before it.
func (r *run) next(row *RowPlan) int {
	e := r.estimate.rows[row.Key]
	n := e.pass()
	if e.line && !r.lined {
		n += lineCost().pass()
	}
	if r.countsBack { // what has never been needed is not set aside
		n += e.back + 2*e.backs
	}
	return n
}

// tellTokens writes down what the run has taken.
func (r *run) tellTokens() {
	l := &r.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	r.result.Budget.Tokens = &record.Tokens{Prompt: l.prompt, Output: l.output, Uncounted: l.guessed}
	if l.most > 0 {
		r.result.Budget.TokensMax = &l.most
	}
}
