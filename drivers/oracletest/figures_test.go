// Package oracletest plays the streams of package oracle through the drivers: replayed in virtual time, cut at other read
// boundaries, over sockets, and mutilated. It lies below drivers to reach their decoders, and holds tests only.
package oracletest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/llamacpp"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// began is t_send of a replay: any moment but 0.
const began = time.Second

// record makes the recording of a case whose writes each come in one read at their own moment.
func record(c *oracle.Case) stream.Recording {
	rec := stream.Recording{
		Protocol: openai.ProtocolChat, Status: 200, Header: map[string]string{"content-type": "text/event-stream"},
		Data: []byte(c.Body()), Sched: began + c.Sched, Send: began, FirstByte: began + c.HeadAt, ReadLag: c.ReadLag, Outcome: stream.Complete,
	}
	switch c.Protocol {
	case oracle.Completions:
		rec.Protocol = openai.ProtocolCompletions
	case oracle.LlamaCpp:
		rec.Protocol, rec.Sent = "llamacpp-completion", map[string]string{"thinking": "none"}
	}
	if c.Status != 0 {
		rec.Status = c.Status
	}
	for k, v := range c.Header {
		rec.Header[strings.ToLower(k)] = v
	}
	end := 0
	for _, w := range c.Writes {
		end += len(w.Data)
		rec.Reads = append(rec.Reads, stream.Read{End: end, At: began + w.At})
		rec.End = began + w.At
	}
	if c.End != oracle.Clean {
		rec.Outcome, rec.Fault = stream.Cut, "the connection was lost"
	}
	return rec
}

// decode understands a recording as the case's driver does.
func decode(c *oracle.Case, rec stream.Recording) (stream.Transcript, error) {
	if c.Protocol == oracle.LlamaCpp {
		return llamacpp.Decode(rec)
	}
	return openai.Decode(rec)
}

func asked(c *oracle.Case, err error) measure.Asked {
	a := c.Asked
	return measure.Asked{Err: err, OutputTokens: a.Output, PromptTokens: a.Prompt, Cold: !a.Reuse, Template: a.Template, CacheBlock: a.CacheBlock}
}

// replay measures a recording of a case.
func replay(c *oracle.Case, rec stream.Recording) (measure.Sample, stream.Transcript, error) {
	tr, err := decode(c, rec)
	return measure.Request(rec, tr, asked(c, err)), tr, err
}

// words is what a stream says besides its figures: what no cutting and no haste may change.
type words struct {
	Prompt, Cached, Output, Reasoning   stream.Count
	Events                              int
	How, Finish, Cold                   string
	AnswerText, ReasoningText, ToolText string
}

func wordsOf(s *measure.Sample, tr *stream.Transcript) words {
	w := words{s.Prompt, s.Cached, s.Output, s.Reasoning, s.Events, s.TokensHow, s.Finish, string(s.Cold), "", "", ""}
	for _, e := range tr.Events {
		switch e.Kind {
		case stream.Content:
			w.AnswerText += e.Text
		case stream.Reasoning:
			w.ReasoningText += e.Text
		case stream.Tool:
			w.ToolText += e.Text
		}
	}
	return w
}

// wantWords is what the case says of them.
func wantWords(c *oracle.Case) words {
	count := func(n oracle.Count) stream.Count { return stream.Count{N: n.N, From: stream.Provenance(n.From)} }
	w := &c.Want
	return words{count(w.Prompt), count(w.Cached), count(w.Output), count(w.Reasoning), w.Events, w.How, strings.TrimPrefix(w.Finish, "-"), w.Cold,
		c.Text(oracle.Answer), c.Text(oracle.Reasoning), c.Text(oracle.Tool)}
}

// figure is one number of a case: what was measured, what is true, and how far the two may lie apart over a socket.
type figure struct {
	name         string
	got          measure.Value
	want         oracle.Fig
	share, slack float64 // the larger of share of the truth and slack is allowed
}

// figures pairs what was measured with what is true. Where a truth is given it takes the place of the literals.
func figures(c *oracle.Case, s *measure.Sample, truth *oracle.Truth) []figure {
	itl := measure.ITL([]measure.Sample{*s})
	if s.Failed() { // a failed request is part of no pool; its own latencies are looked at all the same
		alone := *s
		alone.Err = ""
		itl = measure.ITL([]measure.Sample{alone})
	}
	w := c.Want
	fs := []figure{
		{"ttft", s.TTFT, w.TTFT, 0, 0.5}, {"ttfa", s.TTFA, w.TTFA, 0, 0.5}, {"e2e", s.Wall, w.E2E, 0, 0.5},
		{"decode", s.Decode, w.Decode, 0.005, 0}, {"p50", itl.P50, w.P50, 0.005, 0.2}, {"p95", itl.P95, w.P95, 0.005, 0.2},
		{"tokens/event", s.TokensPerEvent, w.TokensPerEvent, 1e-9, 0}, {"stalls", s.Stalls, w.Stalls, 0, 0},
		{"server prefill", s.ServerPrefill, w.ServerPrefill, 1e-9, 0}, {"server decode", s.ServerDecode, w.ServerDecode, 1e-9, 0},
	}
	if truth != nil {
		for i, x := range []float64{truth.TTFT, truth.TTFA, truth.E2E, truth.Decode, truth.P50, truth.P95, truth.TokensPerEvent, truth.Stalls} {
			if fs[i].want.Why == "" {
				fs[i].want.X = x
			}
		}
	}
	return fs
}

// wrong says what is wrong with a figure; empty: nothing. Exact allows nothing but rounding.
func (f figure) wrong(exact bool) string {
	switch {
	case f.want.Why != "" && f.got.Known:
		return fmt.Sprintf("%s is %v, but can't be known: %s", f.name, f.got.X, f.want.Why)
	case f.want.Why != "" && !strings.Contains(f.got.Why, f.want.Why):
		return fmt.Sprintf("%s is unknown for the reason %q, want %q", f.name, f.got.Why, f.want.Why)
	case f.want.Why != "":
		return ""
	case !f.got.Known:
		return fmt.Sprintf("%s is unknown (%s), want %v", f.name, f.got.Why, f.want.X)
	case math.IsNaN(f.want.X):
		return ""
	}
	allowed := max(f.share*math.Abs(f.want.X), f.slack)
	if exact {
		allowed = 1e-9 * max(1, math.Abs(f.want.X))
	}
	if d := math.Abs(f.got.X - f.want.X); !(d <= allowed) {
		return fmt.Sprintf("%s is %v, want %v: off by %.3g, %.3g allowed", f.name, f.got.X, f.want.X, d, allowed)
	}
	return ""
}

func flagNames(fs []measure.Flag) []string {
	var names []string
	for _, f := range fs {
		if !ownClock(f) {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}

// ownClock reports a flag that the cases' timing blocks raise: they are literals, and the timetables beside them are short.
// internal/measure tests that flag.
func ownClock(f measure.Flag) bool {
	return f.Name == measure.Contradiction && strings.HasPrefix(f.Evidence, "the server states")
}

// wrongFlags says what differs from the case's flags.
func wrongFlags(c *oracle.Case, s *measure.Sample) string {
	want := slices.Clone(c.Want.Flags)
	slices.Sort(want)
	if got := flagNames(s.Flags); !slices.Equal(got, want) {
		return fmt.Sprintf("flags %v, want %v: %v", got, want, s.Flags)
	}
	return ""
}

func wrongError(c *oracle.Case, err error) string {
	if !errors.Is(err, c.Want.Err) {
		return fmt.Sprintf("error %v, want %v", err, c.Want.Err)
	}
	return ""
}

func sameWords(t *testing.T, want, got words) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(- want, + got)\n%s", d)
	}
}
