package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// Rehearse runs one pass of every row of a suite, full and quick, with made-up answers and no backend, and holds what it
// asks for against what the suite says that it needs: prompts and answers against the context, streams at once against
// parallel. Each row is rehearsed twice, with every figure known and with every figure unknown, since a backend may leave any
// of them out. The error joins what is wrong, each once, *builtins.ScriptError with its place.
func Rehearse(ctx context.Context, s *suite.Suite, compile Compiler) error {
	programs := map[string]Program{}
	said := map[string]bool{}
	var wrong []error
	add := func(row *RowPlan, err error) {
		if err == nil || said[err.Error()] {
			return
		}
		said[err.Error()] = true
		wrong = append(wrong, fmt.Errorf("%w (row %s)", err, row.Key))
	}
	broken := map[string]bool{}
	for _, quick := range []bool{false, true} {
		rows := allRows(s, quick)
		for i := range rows {
			row := &rows[i]
			name := row.workload.Program
			if broken[name] {
				continue
			}
			if programs[name] == nil {
				p, err := compile(ctx, name, s.Files)
				if err != nil {
					add(row, err)
					broken[name] = true
					continue
				}
				programs[name] = p
			}
			for _, known := range []bool{true, false} {
				err := rehearse(ctx, programs[name], row, known)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				add(row, err)
			}
		}
	}
	return errors.Join(wrong...)
}

func rehearse(ctx context.Context, p Program, row *RowPlan, known bool) error {
	h := &rehearsal{row: row, known: known}
	err := p.Run(ctx, h, builtins.Point{Params: row.params, Point: row.Point, Metrics: metricNames(row.workload)})
	var skip *builtins.SkipError
	if errors.As(err, &skip) {
		return nil
	}
	if err == nil && h.streams == 0 {
		return &builtins.ScriptError{File: row.workload.Program, Msg: "streams nothing: a pass has at least one stream(...)"}
	}
	return err
}

// rehearsal is a host without a backend.
type rehearsal struct {
	row     *RowPlan
	known   bool
	prompts []int                 // tokens, by ID-1
	specs   []builtins.PromptSpec // by ID-1, without texts
	streams int
	allowed allowance
	now     time.Duration
}

var _ builtins.Host = (*rehearsal)(nil)

// bytesPerToken is a rough size of a token, for prompts that the suite gives as text.
const bytesPerToken = 3

// Prompt makes a prompt of about as many tokens as a backend would.
func (h *rehearsal) Prompt(_ context.Context, spec builtins.PromptSpec) (builtins.Prompt, error) {
	if len(h.prompts) >= maxPrompts {
		return builtins.Prompt{}, fmt.Errorf("more than %d prompts in one pass", maxPrompts)
	}
	n := spec.Tokens + len(spec.Text)/bytesPerToken
	for _, part := range spec.Parts {
		n += part.Tokens
	}
	for _, m := range spec.Messages {
		n += len(m.Content) / bytesPerToken
	}
	if spec.Extends > 0 {
		if spec.Extends > len(h.prompts) {
			return builtins.Prompt{}, fmt.Errorf("no prompt %d to extend", spec.Extends)
		}
		n += h.prompts[spec.Extends-1]
	}
	if spec.Tokens > maxPromptLen {
		return builtins.Prompt{}, fmt.Errorf("a prompt of %d tokens is over the limit of %d", spec.Tokens, maxPromptLen)
	}
	if err := h.allowed.hold(bytesOf(drivers.Prompt{Messages: spec.Messages, Tools: spec.Tools}) + len(spec.Text) + bytesPerToken*spec.Tokens); err != nil {
		return builtins.Prompt{}, err
	}
	h.prompts = append(h.prompts, n)
	h.specs = append(h.specs, builtins.PromptSpec{Parts: spec.Parts, Cold: spec.Cold, Extends: spec.Extends})
	p := builtins.Prompt{ID: len(h.prompts)}
	if h.known {
		p.Tokens = &n
	}
	return p, nil
}

// Stream checks the sizes and gives made-up figures, or none.
func (h *rehearsal) Stream(_ context.Context, spec builtins.StreamSpec) (builtins.Batch, error) {
	n := len(spec.Prompts)
	need := h.row.Need
	switch {
	case n > need.Parallel:
		return builtins.Batch{}, fmt.Errorf("%d streams at once, and the suite says that it needs parallel: %d", n, need.Parallel)
	case h.streams+n > maxStreams:
		return builtins.Batch{}, fmt.Errorf("more than %d streams in one pass", maxStreams)
	case spec.OutputTokens > maxOutput:
		return builtins.Batch{}, fmt.Errorf("output_tokens is %d; want 1 to %d", spec.OutputTokens, maxOutput)
	}
	h.streams += n
	b := builtins.Batch{}
	var sends []sending
	for _, id := range spec.Prompts {
		if id < 1 || id > len(h.prompts) {
			return builtins.Batch{}, fmt.Errorf("no prompt %d", id)
		}
		p := h.prompts[id-1]
		one := sending{id: id, spec: h.specs[id-1], tokens: p}
		if one.spec.Extends > 0 {
			one.parent = h.prompts[one.spec.Extends-1]
		}
		sends = append(sends, one)
		if p+spec.OutputTokens > need.Context {
			return builtins.Batch{}, fmt.Errorf("a prompt of %d tokens and an answer of %d, and the suite says that it needs context: %d", p, spec.OutputTokens, need.Context)
		}
		b.Streams = append(b.Streams, h.answer(p, spec))
	}
	h.allowed.need = need
	if err := h.allowed.take(sends, spec.OutputTokens); err != nil {
		return builtins.Batch{}, err
	}
	took := 200 + 20*float64(spec.OutputTokens)
	h.now += time.Duration(took * float64(time.Millisecond))
	if h.known {
		tps := 50 * float64(n)
		b.AggregateTPS, b.OverlapMs, b.WallMs = &tps, &took, &took
	}
	return b, nil
}

func (h *rehearsal) answer(prompt int, spec builtins.StreamSpec) builtins.Stream {
	if !h.known {
		return builtins.Stream{Flags: []string{"rehearsal"}}
	}
	ttft, tps, wall := 200.0, 50.0, 200+20*float64(spec.OutputTokens)
	output, zero := spec.OutputTokens, 0
	s := builtins.Stream{TTFTms: &ttft, TTFAms: &ttft, DecodeTPS: &tps, AnswerTPS: &tps, WallMs: &wall, Prompt: &prompt, Cached: &zero, Output: &output, Flags: []string{"rehearsal"}}
	if spec.Reasoning != "off" {
		s.Reasoning = &zero
	}
	return s
}

// CacheStats has figures where they are known.
func (h *rehearsal) CacheStats(context.Context) (*builtins.CacheStats, error) {
	if !h.known {
		return nil, nil
	}
	return &builtins.CacheStats{QueriedTokens: 1000, HitTokens: 100}, nil
}

// Fingerprint describes no machine.
func (h *rehearsal) Fingerprint(context.Context) (json.RawMessage, error) {
	return json.RawMessage(`{}`), nil
}

// Elapsed is made up: each answer takes a while.
func (h *rehearsal) Elapsed() time.Duration {
	h.now += time.Millisecond
	return h.now
}

// Record takes any value.
func (h *rehearsal) Record(string, float64) error { return nil }

// Log shows nothing.
func (h *rehearsal) Log(string) {}

// Problems takes an error of Rehearse or suite.Load apart: where each is, and what.
func Problems(err error) []suite.ProblemError {
	var out []suite.ProblemError
	var walk func(error)
	walk = func(err error) {
		var script *builtins.ScriptError
		switch e := err.(type) { //nolint:errorlint // the tree is walked here
		case nil:
			return
		case *suite.ProblemError:
			out = append(out, *e)
			return
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				walk(one)
			}
			return
		}
		if errors.As(err, &script) {
			msg := strings.Replace(err.Error(), script.Error(), script.Msg, 1)
			out = append(out, suite.ProblemError{File: script.File, Line: script.Line, Col: script.Col, Msg: msg})
			return
		}
		var list suite.ProblemErrors
		if errors.As(err, &list) {
			for _, p := range list {
				out = append(out, *p)
			}
			return
		}
		out = append(out, suite.ProblemError{Msg: err.Error()})
	}
	walk(err)
	return out
}
