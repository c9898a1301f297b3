// Package judge holds what was measured of a stream to what is true of it: the recordings of oracle cases, their figures,
// texts, counts and flags, and ways of cutting their bytes. It decodes nothing and opens no connection; the tests that play
// cases through drivers use it.
package judge

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Began is t_send of a replay: any moment but 0.
const Began = time.Second

// Recording makes the recording of a case whose writes each come in one read at their own moment. What a driver notes of a
// request (protocol, facts of the request, token ids) is taken from like, a recording that it made itself.
func Recording(c *oracle.Case, like stream.Recording) stream.Recording {
	rec := stream.Recording{
		Protocol: like.Protocol, Sent: like.Sent, PromptIDs: like.PromptIDs, Status: 200, Header: map[string]string{"content-type": "text/event-stream"},
		Data: []byte(c.Body()), Sched: Began + c.Sched, Send: Began, FirstByte: Began + c.HeadAt, ReadLag: c.ReadLag, Outcome: stream.Complete,
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
		rec.Reads = append(rec.Reads, stream.Read{End: end, At: Began + w.At})
		rec.End = Began + w.At
	}
	if c.End != oracle.Clean {
		rec.Outcome, rec.Fault = stream.Cut, "the connection was lost"
	}
	return rec
}

// Asked is what a case's request asked for. Where nothing in the stream tells whether all of its tokens were streamed, it has
// the tokens of its text too, as the engine has the server count them.
func Asked(c *oracle.Case, err error) measure.Asked {
	a := c.Asked
	out := measure.Asked{Err: err, OutputTokens: a.Output, PromptTokens: a.Prompt, Cold: !a.Reuse, Template: a.Template, CacheBlock: a.CacheBlock}
	w, n := &c.Want, c.TextTokens()
	clock := w.ServerDecode.Why == "" // tells by itself, where a play over a socket has not made the stream shorter than it says
	if w.How == measure.Estimated && w.Reasoning.From == "" && c.Text(oracle.Tool) == "" && (!clock || n == w.Output.N) {
		out.TextTokens = n
	}
	return out
}

// Words is what a stream says besides its figures: what no cutting and no haste may change.
type Words struct {
	Prompt, Cached, Output, Reasoning   stream.Count
	Events                              int
	How, Finish, Cold                   string
	AnswerText, ReasoningText, ToolText string
}

// WordsOf is what was understood.
func WordsOf(s *measure.Sample, tr *stream.Transcript) Words {
	w := Words{s.Prompt, s.Cached, s.Output, s.Reasoning, s.Events, s.TokensHow, s.Finish, string(s.Cold), "", "", ""}
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

// WantWords is what the case says of them.
func WantWords(c *oracle.Case) Words {
	count := func(n oracle.Count) stream.Count { return stream.Count{N: n.N, From: stream.Provenance(n.From)} }
	w := &c.Want
	return Words{count(w.Prompt), count(w.Cached), count(w.Output), count(w.Reasoning), w.Events, w.How, strings.TrimPrefix(w.Finish, "-"), w.Cold,
		c.Text(oracle.Answer), c.Text(oracle.Reasoning), c.Text(oracle.Tool)}
}

// Figure is one number of a case: what was measured, what is true, and how far the two may lie apart over a socket.
type Figure struct {
	Name         string
	Got          measure.Value
	Want         oracle.Fig
	Share, Slack float64 // the larger of share of the truth and slack is allowed
}

// Figures pairs what was measured with what is true. Where a truth is given it takes the place of the literals.
func Figures(c *oracle.Case, s *measure.Sample, truth *oracle.Truth) []Figure {
	itl := measure.ITL([]measure.Sample{*s})
	if s.Failed() { // a failed request is part of no pool; its own latencies are looked at all the same
		alone := *s
		alone.Err = ""
		itl = measure.ITL([]measure.Sample{alone})
	}
	w := c.Want
	fs := []Figure{
		{"ttft", s.TTFT, w.TTFT, 0, 0.5}, {"ttfa", s.TTFA, w.TTFA, 0, 0.5}, {"e2e", s.Wall, w.E2E, 0, 0.5},
		{"decode", s.Decode, w.Decode, 0.005, 0}, {"p50", itl.P50, w.P50, 0.005, 0.2}, {"p95", itl.P95, w.P95, 0.005, 0.2},
		{"tokens/event", s.TokensPerEvent, w.TokensPerEvent, 1e-9, 0}, {"stalls", s.Stalls, w.Stalls, 0, 0},
		{"server prefill", s.ServerPrefill, w.ServerPrefill, 1e-9, 0}, {"server decode", s.ServerDecode, w.ServerDecode, 1e-9, 0},
	}
	if truth != nil {
		for i, x := range []float64{truth.TTFT, truth.TTFA, truth.E2E, truth.Decode, truth.P50, truth.P95, truth.TokensPerEvent, truth.Stalls} {
			if fs[i].Want.Why == "" {
				fs[i].Want.X = x
			}
		}
	}
	return fs
}

// Wrong says what is wrong with a figure; empty: nothing. Exact allows nothing but rounding.
func (f Figure) Wrong(exact bool) string {
	switch {
	case f.Want.Why != "" && f.Got.Known:
		return fmt.Sprintf("%s is %v, but can't be known: %s", f.Name, f.Got.X, f.Want.Why)
	case f.Want.Why != "" && !strings.Contains(f.Got.Why, f.Want.Why):
		return fmt.Sprintf("%s is unknown for the reason %q, want %q", f.Name, f.Got.Why, f.Want.Why)
	case f.Want.Why != "":
		return ""
	case !f.Got.Known:
		return fmt.Sprintf("%s is unknown (%s), want %v", f.Name, f.Got.Why, f.Want.X)
	case math.IsNaN(f.Want.X):
		return ""
	}
	allowed := max(f.Share*math.Abs(f.Want.X), f.Slack)
	if exact {
		allowed = 1e-9 * max(1, math.Abs(f.Want.X))
	}
	if d := math.Abs(f.Got.X - f.Want.X); !(d <= allowed) {
		return fmt.Sprintf("%s is %v, want %v: off by %.3g, %.3g allowed", f.Name, f.Got.X, f.Want.X, d, allowed)
	}
	return ""
}

// FlagNames lists flags by name, without those that OwnClock reports.
func FlagNames(fs []measure.Flag) []string {
	var names []string
	for _, f := range fs {
		if !OwnClock(f) {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}

// OwnClock reports a flag that the cases' timing blocks raise: they are literals, and the timetables beside them are short.
// internal/measure tests that flag.
func OwnClock(f measure.Flag) bool {
	return f.Name == measure.Contradiction && strings.HasPrefix(f.Evidence, "the server states")
}

// WrongFlags says what differs from the case's flags; empty: nothing.
func WrongFlags(c *oracle.Case, s *measure.Sample) string {
	want := slices.Clone(c.Want.Flags)
	slices.Sort(want)
	if got := FlagNames(s.Flags); !slices.Equal(got, want) {
		return fmt.Sprintf("flags %v, want %v: %v", got, want, s.Flags)
	}
	return ""
}

// WrongError says how the error differs from the case's; empty: it does not.
func WrongError(c *oracle.Case, err error) string {
	if !errors.Is(err, c.Want.Err) {
		return fmt.Sprintf("error %v, want %v", err, c.Want.Err)
	}
	return ""
}
