package engine

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/drivers"
)

// Estimate is the most that the first passes of a run will send, warm-ups, probes and the fitting of prompts included. Prompts
// of fixed text are guessed from their bytes, outputs are taken as asked for: a model that ends early takes less. What is sent
// again after a refusal is not in it.
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
type rowEstimate struct {
	requests, prompt, output int
	line                     bool // a prompt is fitted by the session's line, which has to be learnt first
	back                     int  // tokens of its answers, counted back: see countedBack
	backs                    int  // requests that take them
}

func (e rowEstimate) pass() int { return e.prompt + e.output }

const (
	// fewBytes is how few bytes a token of fixed text has, code and prose together, on a tokenizer that is bad at it.
	fewBytes = 2.5
	// lineMargin is by how much more a prompt may have that is fitted by a session's line.
	lineMargin = 1.05
	// dryRun is how long a program may take without a backend.
	dryRun = 10 * time.Second
	// firstPiece is about how many tokens the first read of an answer brings.
	firstPiece = 16
	// probeTokens is about what the short probes of a session take.
	probeTokens = probes * 64
)

// expect runs, where it matters, the programs of all rows that are to be run without a backend and adds up what they ask for.
func (r *run) expect(ctx context.Context, s *session) Estimate {
	e := Estimate{Price: s.info.Price, rows: map[string]rowEstimate{}}
	if r.opt.Spec.Kind != drivers.Hosted && r.opt.MaxTokens == 0 {
		return e // neither money nor a ceiling is in play
	}
	batches := map[int]bool{}
	line := lineCost()
	learnt := false
	for i := range r.rows {
		row := &r.rows[i]
		one := r.dry(ctx, s, row, r.state[i].program, batches)
		e.rows[row.Key] = one
		if r.state[i].kept != nil {
			continue
		}
		if one.line && !learnt {
			learnt = true
			e.Requests += line.requests
			e.Prompt += line.prompt
			e.Output += line.output
		}
		e.Requests += row.Passes * (one.requests + one.backs)
		e.Prompt += row.Passes * (one.prompt + one.back)
		e.Output += row.Passes * (one.output + 2*one.backs)
	}
	for n := range batches {
		e.Requests += n
		e.Prompt += n * (warmPrompt + templateTokens)
		e.Output += n * warmTokens
	}
	e.Requests += probes
	e.Prompt += probeTokens
	e.Output += probes * 2
	return e
}

// lineCost is what learning a session's line takes.
func lineCost() rowEstimate {
	e := rowEstimate{requests: len(commonWords), output: 2 * len(commonWords)}
	for _, words := range commonWords {
		e.prompt += int(usualPerWord*float64(words)) + templateTokens
	}
	return e
}

// dry runs a pass of a row against a host that only adds up. A program that can't be run so is taken for what the suite says
// that it needs.
func (r *run) dry(ctx context.Context, s *session, row *RowPlan, program Program, batches map[int]bool) rowEstimate {
	ctx, cancel := context.WithTimeout(ctx, dryRun)
	defer cancel()
	wide := *row
	wide.Need.Context, wide.Need.Prompt, wide.Need.Parallel = math.MaxInt/2, math.MaxInt/16, maxParallel // what does not fit is the run's to say
	h := &dryHost{rehearsal: rehearsal{row: &wide, known: true}, r: r, s: s, batches: batches}
	err := program.Run(ctx, h, builtins.Point{Params: row.params, Point: row.Point, Metrics: metricNames(row.workload)})
	var skip *builtins.SkipError
	if err != nil && !errors.As(err, &skip) {
		return rowEstimate{requests: row.Need.Parallel, prompt: row.Need.Prompt, output: row.Need.Output * row.Need.Parallel, line: r.common(s)}
	}
	return h.sum
}

// dryHost is a rehearsal that adds up what a backend would be sent.
type dryHost struct {
	rehearsal
	r       *run
	s       *session
	sum     rowEstimate
	batches map[int]bool
}

var _ builtins.Host = (*dryHost)(nil)

// Prompt guesses a prompt's tokens, and adds what it takes to fit it.
func (h *dryHost) Prompt(ctx context.Context, spec builtins.PromptSpec) (builtins.Prompt, error) {
	p, err := h.rehearsal.Prompt(ctx, spec)
	if err != nil {
		return p, err
	}
	tokens := templateTokens + int(float64(bytesOf(drivers.Prompt{Messages: spec.Messages, Tools: spec.Tools})+len(spec.Text))/fewBytes)
	switch {
	case spec.Tokens > 0:
		tokens = spec.Tokens
		h.fit(tokens)
		if h.r.common(h.s) {
			tokens = int(lineMargin * float64(tokens))
		}
	case spec.Extends > 0:
		tokens += h.prompts[spec.Extends-1] - templateTokens
	}
	for _, part := range spec.Parts {
		tokens += part.Tokens
	}
	h.prompts[p.ID-1] = tokens
	p.Tokens = &tokens
	return p, nil
}

// fit adds the most requests that fittedByServer makes for a prompt of its own.
func (h *dryHost) fit(target int) {
	switch {
	case h.s.caps.Tokenizer != nil, h.s.caps.Counter != nil:
	case h.r.common(h.s) && target > leastCommon:
		h.sum.line = true
	case target > mostCounted:
		for _, words := range pieceWords {
			h.sum.requests++
			h.sum.prompt += int(usualPerWord*float64(words)) + templateTokens
			h.sum.output += 2
		}
	default:
		h.sum.requests += fitTries
		h.sum.prompt += fitTries * target
		h.sum.output += 2 * fitTries
	}
}

// Stream adds up what a release sends.
func (h *dryHost) Stream(ctx context.Context, spec builtins.StreamSpec) (builtins.Batch, error) {
	b, err := h.rehearsal.Stream(ctx, spec)
	if err != nil {
		return b, err
	}
	for _, id := range spec.Prompts {
		h.sum.requests++
		h.sum.prompt += h.prompts[id-1]
		h.sum.output += spec.OutputTokens
		if h.s.caps.Tokenizer == nil && h.s.caps.Counter == nil {
			h.sum.backs += 2 // the whole answer, and what of it came first
			h.sum.back += spec.OutputTokens + templateTokens + firstPiece + templateTokens
		}
	}
	h.batches[len(spec.Prompts)] = true
	return b, nil
}

// Fingerprint is what a pass would see.
func (h *dryHost) Fingerprint(ctx context.Context) (json.RawMessage, error) {
	return (&passHost{r: h.r, s: h.s, row: h.row}).Fingerprint(ctx)
}
