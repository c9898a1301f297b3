package engine

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/drivers"
)

// Estimate is what the first passes of a run will send, warm-ups, probes and the fitting of prompts included. Prompts of
// fixed text are guessed from their bytes, outputs are taken as asked for: a model that ends early takes less.
type Estimate struct {
	Requests, Prompt, Output int
	Price                    *drivers.Price // nil where the service states none
	rows                     map[string]rowEstimate
}

// USD is what that costs by the service's own prices; ok is false where it states none. What its cache makes cheaper is not
// taken off.
func (e Estimate) USD() (dollars float64, ok bool) {
	if e.Price == nil {
		return 0, false
	}
	return float64(e.Prompt)*e.Price.Prompt + float64(e.Output)*e.Price.Output + float64(e.Requests)*e.Price.Request, true
}

// rowEstimate is one pass of a row.
type rowEstimate struct{ requests, prompt, output int }

func (e rowEstimate) pass() int { return e.prompt + e.output }

const (
	// usualBytes is how many bytes a token of fixed text has on common tokenizers, code and prose together.
	usualBytes = 3.6
	// dryRun is how long a program may take without a backend.
	dryRun = 10 * time.Second
	// probeTokens is about what the three short probes of a session take.
	probeTokens = 3 * 64
)

// expect runs the programs of all rows that are to be run without a backend and adds up what they ask for.
func (r *run) expect(ctx context.Context, s *session) Estimate {
	e := Estimate{Price: s.info.Price, rows: map[string]rowEstimate{}}
	batches := map[int]bool{}
	for i := range r.rows {
		row := &r.rows[i]
		one := r.dry(ctx, s, row, r.state[i].program, batches)
		e.rows[row.Key] = one
		if r.state[i].kept != nil {
			continue
		}
		e.Requests += row.Passes * one.requests
		e.Prompt += row.Passes * one.prompt
		e.Output += row.Passes * one.output
	}
	for n := range batches {
		e.Requests += n
		e.Prompt += n * (warmPrompt + templateTokens)
		e.Output += n * warmTokens
	}
	e.Requests += 3
	e.Prompt += probeTokens
	e.Output += 3 * 2
	if r.common(s) {
		e.Output += 2 * len(commonWords)
		e.Requests += len(commonWords)
		for _, words := range commonWords {
			e.Prompt += int(usualPerWord*float64(words)) + templateTokens
		}
	}
	return e
}

// dry runs a pass of a row against a host that only adds up. A program that can't be run so is taken for what the suite says
// that it needs.
func (r *run) dry(ctx context.Context, s *session, row *RowPlan, program Program, batches map[int]bool) rowEstimate {
	ctx, cancel := context.WithTimeout(ctx, dryRun)
	defer cancel()
	h := &dryHost{r: r, s: s, row: row, batches: batches}
	err := program.Run(ctx, h, builtins.Point{Params: row.params, Point: row.Point, Metrics: metricNames(row.workload)})
	var skip *builtins.SkipError
	if err != nil && !errors.As(err, &skip) {
		return rowEstimate{requests: row.Need.Parallel, prompt: row.Need.Prompt, output: row.Need.Output * row.Need.Parallel}
	}
	return h.sum
}

// dryHost answers a program with made-up figures and sends nothing.
type dryHost struct {
	r       *run
	s       *session
	row     *RowPlan
	prompts []int // tokens
	sum     rowEstimate
	batches map[int]bool
}

var _ builtins.Host = (*dryHost)(nil)

// Prompt guesses a prompt's tokens, and adds what it takes to fit it.
func (h *dryHost) Prompt(_ context.Context, spec builtins.PromptSpec) (builtins.Prompt, error) {
	if len(h.prompts) >= maxPrompts {
		return builtins.Prompt{}, errors.New("too many prompts")
	}
	tokens := templateTokens + int(float64(bytesOf(drivers.Prompt{Messages: spec.Messages, Tools: spec.Tools})+len(spec.Text))/usualBytes)
	switch {
	case spec.Tokens > 0:
		tokens = spec.Tokens
		h.fit(tokens)
	case spec.Extends > 0 && spec.Extends <= len(h.prompts):
		tokens += h.prompts[spec.Extends-1] - templateTokens
	}
	for _, p := range spec.Parts {
		tokens += p.Tokens
	}
	h.prompts = append(h.prompts, tokens)
	return builtins.Prompt{ID: len(h.prompts), Tokens: &tokens}, nil
}

// fit adds the requests that fittedByServer makes for a prompt of its own.
func (h *dryHost) fit(target int) {
	switch {
	case h.s.caps.Tokenizer != nil, h.s.caps.Counter != nil, h.r.common(h.s):
	case target > mostCounted:
		h.sum.requests += 2
		h.sum.prompt += int(usualPerWord*3000) + 2*templateTokens
		h.sum.output += 4
	default:
		h.sum.requests += 3
		h.sum.prompt += 3 * target
		h.sum.output += 6
	}
}

// Stream adds up what a release sends.
func (h *dryHost) Stream(_ context.Context, spec builtins.StreamSpec) (builtins.Batch, error) {
	if h.sum.requests > maxStreams {
		return builtins.Batch{}, errors.New("too many streams")
	}
	one, n := 1.0, spec.OutputTokens
	out := builtins.Batch{AggregateTPS: &one, OverlapMs: &one, WallMs: &one}
	for _, id := range spec.Prompts {
		if id < 1 || id > len(h.prompts) {
			return builtins.Batch{}, errors.New("no such prompt")
		}
		h.sum.requests++
		h.sum.prompt += h.prompts[id-1]
		h.sum.output += n
		tokens, none := h.prompts[id-1], 0
		out.Streams = append(out.Streams, builtins.Stream{
			TTFTms: &one, TTFAms: &one, DecodeTPS: &one, AnswerTPS: &one, WallMs: &one,
			Prompt: &tokens, Cached: &none, Output: &n, Reasoning: &none, Flags: []string{},
		})
	}
	h.batches[len(spec.Prompts)] = true
	return out, nil
}

// CacheStats knows nothing.
func (h *dryHost) CacheStats(context.Context) (*builtins.CacheStats, error) {
	return nil, nil //nolint:nilnil // nil is how the builtin says that the backend exposes none
}

// Fingerprint is what a pass would see.
func (h *dryHost) Fingerprint(ctx context.Context) (json.RawMessage, error) {
	return (&passHost{r: h.r, s: h.s, row: h.row}).Fingerprint(ctx)
}

// Elapsed is made up.
func (h *dryHost) Elapsed() time.Duration { return time.Second }

// Record keeps nothing.
func (h *dryHost) Record(string, float64) error { return nil }

// Log says nothing: the program will say it again.
func (h *dryHost) Log(string) {}
