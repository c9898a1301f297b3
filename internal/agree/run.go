package agree

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// run is one comparison under way.
type run struct {
	Options
	session drivers.Session
	info    drivers.Info
	caps    drivers.Caps
	report  Report

	probes  []sample
	perWord float64 // tokens a word of the generator's text has here; 0 until seen
	all     []sample
}

// sample is one measured request.
type sample struct {
	measure.Sample
	kind   string
	asked  int // prompt tokens aimed at
	ids    []int32
	server stream.ServerTiming
	each   *int // tokens of all events; nil where the server does not count them one by one
	shared *int // tokens that a prefix cache has of it
}

// one runs and measures a request, and keeps its figures.
func (r *run) one(ctx context.Context, kind string, p drivers.Prompt, output int, reuse bool) (sample, error) {
	m := sample{kind: kind}
	if r.caps.Tokenizer != nil {
		ids, err := r.caps.Tokenizer.Tokenize(ctx, p)
		if err != nil {
			return m, fmt.Errorf("count the tokens of a prompt: %w", err)
		}
		m.ids = ids
	}
	rec, err := r.session.Stream(ctx, drivers.Request{
		Prompt: p, OutputTokens: output, Reuse: reuse, Seed: r.Seed, Slot: 0, FirstByteWithin: streamWithin, IdleWithin: time.Minute,
	})
	if err != nil {
		return m, fmt.Errorf("stream a prompt: %w", err)
	}
	tr, err := r.session.Decode(rec)
	if err != nil {
		return m, fmt.Errorf("read a stream: %w", err)
	}
	m.Sample = measure.Request(rec, tr, measure.Asked{
		OutputTokens: output, Cold: !reuse, Template: r.info.Template, CacheBlock: r.info.CacheBlock,
	})
	m.server = tr.Server
	m.each = eventTokens(tr.Events)
	return m, nil
}

// eventTokens adds up the tokens of the events; nil where one does not state them.
func eventTokens(events []stream.Event) *int {
	n := 0
	for _, e := range events {
		if e.Tokens == stream.NotStated {
			return nil
		}
		n += e.Tokens
	}
	if len(events) == 0 {
		return nil
	}
	return &n
}

// keep puts a request into the report.
func (r *run) keep(m sample) {
	r.all = append(r.all, m)
	q := Request{
		Kind: m.kind, Asked: m.asked, Prompt: count(m.Prompt), Cached: count(m.Cached), Shared: m.shared,
		AskedOutput: m.Asked.OutputTokens, Output: count(m.Output), EventTokens: m.each, TTFTms: m.TTFT.Ptr(), Decode: m.Decode.Ptr(),
		ServerDecode: m.ServerDecode.Ptr(), ServerPrefill: m.ServerPrefill.Ptr(),
		DecodeTokens: m.ServerDecodeSpan.Tokens, DecodeNs: int64(m.ServerDecodeSpan.Time),
		PrefillTokens: m.ServerPrefillSpan.Tokens, PrefillNs: int64(m.ServerPrefillSpan.Time), Flags: []string{},
	}
	if m.ids != nil {
		n := len(m.ids)
		q.PromptIDs = &n
	}
	if m.kind == kindCold {
		q.Prefill = r.clientPrefill(&m).Ptr()
	}
	for _, f := range m.Flags {
		q.Flags = append(q.Flags, f.Name)
	}
	r.report.Requests = append(r.report.Requests, q)
}

func count(c stream.Count) *int {
	if !c.Known() {
		return nil
	}
	return &c.N
}

// The kinds of request.
const (
	kindProbe = "probe"
	kindCold  = "cold"
	kindTurn  = "turn"
)

func message(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

// prompt makes a cold prompt of about so many tokens: a salt, text, and a task with a long answer.
func (r *run) prompt(ctx context.Context, label string, tokens int) (drivers.Prompt, error) {
	words := 0
	build := func() drivers.Prompt {
		return message(r.Source.Salt(r.Seed, label) + r.Source.Text(r.Seed, label, words) + "\n\n" + r.Source.Task(r.Seed))
	}
	if r.perWord == 0 {
		r.perWord = 1.35
	}
	words = max(int(float64(tokens-60)/r.perWord), 1)
	if r.caps.Tokenizer == nil {
		return build(), nil
	}
	// A few tries bring it near; the exact length does not matter, since every figure goes by the length that it has.
	for range 5 {
		p := build()
		ids, err := r.caps.Tokenizer.Tokenize(ctx, p)
		if err != nil {
			return p, fmt.Errorf("count the tokens of a prompt: %w", err)
		}
		if math.Abs(float64(len(ids)-tokens)) <= 0.01*float64(tokens) {
			return p, nil
		}
		r.perWord = max(float64(len(ids)-40)/float64(words), 0.5)
		next := max(words+int(math.Round(float64(tokens-len(ids))/r.perWord)), 1)
		if next == words {
			return p, nil
		}
		words = next
	}
	return build(), nil
}

// cold runs the warm-up, the short probes and the cold prompts, each length in turn within a repeat so that a machine that
// grows slower does so for all of them.
func (r *run) cold(ctx context.Context) error {
	r.Note("warming up")
	if _, err := r.one(ctx, "warm-up", message(r.Source.Salt(r.Seed, "agree/warm")+"Say yes."), 8, false); err != nil {
		return err
	}
	r.Note("%d short prompts, for what does not grow with the prompt", probeRepeats)
	for i := range probeRepeats {
		m, err := r.one(ctx, kindProbe, message(r.Source.Salt(r.Seed, fmt.Sprintf("agree/probe/%d", i))[:9]+" Say yes."), 2, false)
		if err != nil {
			return err
		}
		r.probes = append(r.probes, m)
		r.keep(m)
	}
	lengths := r.fits()
	groups := map[int][]sample{}
	for i := range r.Repeats {
		for _, n := range lengths {
			r.Note("cold prompt of about %d tokens, %d of %d", n, i+1, r.Repeats)
			p, err := r.prompt(ctx, fmt.Sprintf("agree/%d/%d", n, i), n)
			if err != nil {
				return err
			}
			m, err := r.one(ctx, kindCold, p, r.Output, false)
			if err != nil {
				return err
			}
			m.asked = n
			groups[n] = append(groups[n], m)
			r.keep(m)
		}
	}
	for _, n := range lengths {
		r.decode(n, groups[n])
	}
	for _, n := range lengths {
		r.prefill(n, groups[n])
	}
	return nil
}

// fits leaves out the lengths that the server has no room for, and says so.
func (r *run) fits() []int {
	var out []int
	for _, n := range r.Prompts {
		if room := r.info.ContextMax; room > 0 && n+n/8+r.Output > room {
			why := fmt.Sprintf("the server's context of %d tokens has no room for it", room)
			r.add(Comparison{Name: nameDecode, What: "decode, prompt of " + tokens(n), Unit: Rate, Limit: ptr(DecodeLimit), Reason: why})
			continue
		}
		out = append(out, n)
	}
	return out
}

// conversation runs turns that each begin with the one before. The replies in it are fixed and begin with a salt, so that
// what the server generated is no part of what the next turn can reuse.
func (r *run) conversation(ctx context.Context) error {
	before, err := r.counters(ctx)
	if err != nil {
		return err
	}
	var p drivers.Prompt
	var last []int32
	turns := make([]sample, 0, r.Turns)
	for i := range r.Turns {
		r.Note("turn %d of %d of a conversation", i+1, r.Turns)
		label := fmt.Sprintf("agree/turn/%d", i)
		text := r.Source.Text(r.Seed, label, turnWords)
		if i == 0 {
			p.Messages = []chat.Message{{Role: "user", Content: r.Source.Salt(r.Seed, label) + text}}
		} else {
			p.Messages = append(append([]chat.Message{}, p.Messages...),
				chat.Message{Role: "assistant", Content: strings.TrimSpace(r.Source.Salt(r.Seed, label))},
				chat.Message{Role: "user", Content: text})
		}
		m, err := r.one(ctx, kindTurn, p, turnOutput, true)
		if err != nil {
			return err
		}
		if i > 0 && m.ids != nil && last != nil {
			n := commonPrefix(last, m.ids)
			if block := r.info.CacheBlock; block > 1 {
				n -= n % block
			}
			m.shared = &n
		}
		last = m.ids
		turns = append(turns, m)
		r.keep(m)
	}
	after, err := r.counters(ctx)
	if err != nil {
		return err
	}
	r.reuse(turns)
	r.against(turns, before, after)
	return nil
}

// counters reads the server's own prefix cache counters; nil where it has none.
func (r *run) counters(ctx context.Context) (*drivers.CacheStats, error) {
	if r.caps.CacheStatser == nil {
		return nil, nil
	}
	c, err := r.caps.CacheStatser.CacheStats(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the server's cache counters: %w", err)
	}
	return &c, nil
}

func commonPrefix(a, b []int32) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// clientPrefill is the client's estimate of a cold request's prefill rate, against the probes' median.
func (r *run) clientPrefill(m *sample) measure.Value {
	var times []float64
	tokens := 0
	for i := range r.probes {
		p := &r.probes[i]
		if !p.TTFT.Known || !p.Prompt.Known() {
			return measure.Unknown("the short probe has no count of its tokens, or no time to first token")
		}
		if p.Cold == measure.ColdBroken {
			return measure.Unknown("the short probe was not cold")
		}
		times, tokens = append(times, float64(p.First-p.Send)), tokens+p.Prompt.N
	}
	first, ok := stats.Median(times)
	switch {
	case !ok:
		return measure.Unknown("no short probe")
	case m.Cold == measure.ColdBroken:
		return measure.Unknown("the prompt was not cold")
	case !m.Prompt.Known():
		return measure.Unknown("the server does not state the prompt's length")
	case !m.TTFT.Known:
		return m.TTFT
	}
	return measure.PrefillByClient(m.Prompt.N, m.First-m.Send, measure.Probe{
		Tokens: tokens / len(r.probes), TTFT: time.Duration(first), Noise: time.Duration(slices.Max(times) - slices.Min(times)),
	})
}
