package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Limits of one pass, whatever its program does: a loop over a paid API is an attack on the purse.
const (
	maxPrompts   = 4096
	maxStreams   = 1024
	maxParallel  = 256
	maxOutput    = 32 << 10
	maxPromptLen = 1 << 20
)

// passHost is the host of one pass of one row: it realises prompts, runs streams, and keeps what they gave.
type passHost struct {
	partTexts map[string]string // generated parts, by label
	r         *run
	s         *session
	row       *RowPlan
	pass      int // from 1

	began   time.Duration
	cache0  *drivers.CacheStats
	prompts []*prompt
	streams int
	allowed allowance
	cuts    int // requests that the ceiling had kept back when the pass began

	out passResult
}

// passResult is what a pass leaves behind.
type passResult struct {
	pass    int
	samples []measured
	batches []batchResult
	metrics map[string][]float64
	raw     record.RawFile // where recs were saved
	recs    []stream.Recording
	wall    time.Duration // from send to last text, summed over the steps of the program; the client's own work between them is left out
	took    time.Duration // everything included but pauses
	pauses  pauses
	ceiling bool // the ceiling on tokens ended it
	err     error
}

// batchResult is a barrier's figures, as kept and as measured.
type batchResult struct {
	record.Batch
	measure.Together
}

// measured is one timed stream: its metrics and the facts about it that the row needs.
type measured struct {
	measure.Sample
	rec        stream.Recording  // without Data and Reads
	tr         stream.Transcript // without Events
	prompt     *prompt
	asked      int
	release    int // number in the pass of the first stream of its release
	prefill    measure.Value
	prefillHow string
	maxHit     *int // prompt tokens that a perfect prefix cache could have served; nil where not known or not meant
	maxBound   bool // maxHit is an upper bound, not exact
	err        error
	seen       []record.Flag // what was seen of the server around its batch: other_traffic, server_queued
}

// prompt is a realised prompt.
type prompt struct {
	drivers.Prompt
	id     int
	target int     // tokens it was fitted to; 0: it is what it is
	count  *int    // tokens as counted before the send
	ids    []int32 // kept for prompts that may share a prefix
	reuse  bool    // the prompt cache may serve and keep it
	cold   bool    // no earlier prompt shares its prefix
	parent *prompt // that it extends
	stated int     // prompt tokens that the server stated when it was streamed; 0 before
	before int     // tokens that the template puts before the salt; negative where not known
	head   []int32 // its first tokens; nil where the backend can't count
	seen   bool    // has been streamed
	spec   builtins.PromptSpec
}

var _ builtins.Host = (*passHost)(nil)

// Prompt realises a prompt outside any timed interval.
func (h *passHost) Prompt(ctx context.Context, spec builtins.PromptSpec) (builtins.Prompt, error) {
	if len(h.prompts) >= maxPrompts {
		return builtins.Prompt{}, fmt.Errorf("more than %d prompts in one pass", maxPrompts)
	}
	h.r.doing("preparing prompts")
	p := &prompt{id: len(h.prompts) + 1}
	if err := h.realise(ctx, p, spec, fmt.Sprintf("%s/%d/%d", h.row.Key, h.pass, p.id)); err != nil {
		return builtins.Prompt{}, err
	}
	own := bytesOf(p.Prompt) // a longer one shares what it extends
	if p.parent != nil {
		own -= bytesOf(p.parent.Prompt)
	}
	if err := h.allowed.hold(own + 4*len(p.ids)); err != nil {
		return builtins.Prompt{}, err
	}
	h.prompts = append(h.prompts, p)
	return builtins.Prompt{ID: p.id, Tokens: p.count}, nil
}

// realise makes the prompt of a spec in place of what p holds but its number.
func (h *passHost) realise(ctx context.Context, p *prompt, spec builtins.PromptSpec, label string) error {
	*p = prompt{id: p.id, spec: spec, cold: spec.Cold, reuse: !spec.Cold, before: h.s.info.Template}
	if !spec.Cold {
		label = fmt.Sprintf("%s/warm/%d", h.row.Key, spec.Tokens) // the same text each time, so that it can be hit
	}
	var err error
	switch {
	case spec.Tokens > 0:
		if spec.Tokens > maxPromptLen {
			return fmt.Errorf("a prompt of %d tokens is over the limit of %d", spec.Tokens, maxPromptLen)
		}
		p.target = spec.Tokens
		p.Prompt, p.count, p.head, err = h.fitted(ctx, label, spec.Tokens, spec.Cold)
	case spec.Extends > 0:
		p.parent, err = h.promptOf(spec.Extends)
		if err == nil {
			p.cold, p.reuse = false, true
			p.Tools = p.parent.Tools
			p.Messages = append(slices.Clip(slices.Clone(p.parent.Messages)), spec.Messages...)
		}
	case len(spec.Messages) > 0:
		p.Prompt = drivers.Prompt{Messages: slices.Clone(spec.Messages), Tools: spec.Tools}
		if spec.Cold {
			p.Messages[0].Content = h.r.prose.Salt(h.r.opt.Seed, label) + p.Messages[0].Content
		}
		p.reuse = true // a conversation is meant to go on
	case len(spec.Parts) > 0:
		p.reuse = true
		p.Prompt, err = h.assembled(ctx, spec)
	default:
		text := spec.Text
		if spec.Cold {
			text = h.r.prose.Salt(h.r.opt.Seed, label) + text
		}
		p.Prompt = oneMessage(text)
	}
	if err != nil {
		return h.r.redact(err)
	}
	if p.reuse && h.s.caps.Tokenizer != nil {
		p.ids, err = h.s.caps.Tokenizer.Tokenize(ctx, p.Prompt)
		if errors.Is(err, drivers.ErrUnsupported) {
			p.ids = nil // a kind of prompt that this tokenizer does not know: the server's own count has to do
			return nil
		}
		if err != nil {
			return h.r.redact(fmt.Errorf("count the tokens of a prompt: %w", err))
		}
		n := len(p.ids)
		p.count, p.head = &n, h.s.headOf(p.ids)
		if p.cold {
			if err := h.measureTemplate(ctx, p, spec, label); err != nil {
				return h.r.redact(err)
			}
		}
	}
	return nil
}

// measureTemplate finds how many tokens of a salted conversation come before its salt: some templates put the tools there,
// which two sessions then share. A second salt tells.
func (h *passHost) measureTemplate(ctx context.Context, p *prompt, spec builtins.PromptSpec, label string) error {
	if len(spec.Messages) == 0 {
		return nil
	}
	other := drivers.Prompt{Messages: slices.Clone(spec.Messages), Tools: spec.Tools}
	other.Messages[0].Content = h.r.prose.Salt(h.r.opt.Seed, label+"/other") + other.Messages[0].Content
	ids, err := h.s.caps.Tokenizer.Tokenize(ctx, other)
	if err != nil {
		return fmt.Errorf("count the tokens of a prompt: %w", err)
	}
	p.before = commonPrefix(p.ids, ids)
	return nil
}

func (h *passHost) promptOf(id int) (*prompt, error) {
	if id < 1 || id > len(h.prompts) {
		return nil, fmt.Errorf("no prompt %d in this pass", id)
	}
	return h.prompts[id-1], nil
}

// Stream runs prompts behind one barrier, and measures what came back when the last has ended.
func (h *passHost) Stream(ctx context.Context, spec builtins.StreamSpec) (builtins.Batch, error) {
	n := len(spec.Prompts)
	switch {
	case n == 0:
		return builtins.Batch{}, errors.New("no prompt to stream")
	case n > maxParallel:
		return builtins.Batch{}, fmt.Errorf("%d streams at once are over the limit of %d", n, maxParallel)
	case h.streams+n > maxStreams:
		return builtins.Batch{}, fmt.Errorf("more than %d streams in one pass", maxStreams)
	case spec.OutputTokens < 1 || spec.OutputTokens > maxOutput:
		return builtins.Batch{}, fmt.Errorf("output_tokens is %d; want 1 to %d", spec.OutputTokens, maxOutput)
	}
	h.streams += n
	ps := make([]*prompt, n)
	for i, id := range spec.Prompts {
		p, err := h.promptOf(id)
		if err != nil {
			return builtins.Batch{}, err
		}
		ps[i] = p
	}
	if err := h.allow(ps, spec.OutputTokens); err != nil {
		return builtins.Batch{}, err
	}
	if err := h.warm(ctx, n); err != nil {
		return builtins.Batch{}, err
	}
	traffic := h.watchTraffic(ctx)
	h.r.doing("streaming")
	for _, p := range ps {
		if p.cold && p.head != nil && !p.seen {
			p.before = max(p.before, h.s.heads.shares(p.head))
		}
		h.s.heads.remember(p.head)
	}
	recs, errs, err := h.taken(ctx, ps, spec)
	if err != nil {
		return builtins.Batch{}, err
	}
	traffic.ended(ctx)
	h.r.doing("measuring")

	first := len(h.out.samples)
	var failed error
	for i, p := range ps {
		m := h.measure(ctx, p, recs[i], errs[i], spec)
		m.release = first
		h.out.samples = append(h.out.samples, m)
		h.out.recs = append(h.out.recs, recs[i])
		if m.err != nil && failed == nil {
			failed = m.err
		}
	}
	if ctx.Err() != nil {
		return builtins.Batch{}, context.Cause(ctx)
	}
	seen := traffic.seen(h.out.samples[first:])
	for i := range ps {
		h.out.samples[first+i].seen = seen
	}
	if failed != nil {
		return builtins.Batch{}, failed
	}
	return h.batch(first, spec), nil
}

// allow holds a release against what a pass may ask for.
func (h *passHost) allow(ps []*prompt, output int) error {
	h.allowed.need = h.row.Need
	tokens := func(p *prompt) int { return h.r.most(p.Prompt, p.count, 0) }
	sends := make([]sending, len(ps))
	for i, p := range ps {
		sends[i] = sending{id: p.id, spec: p.spec, tokens: tokens(p)}
		if p.parent != nil {
			sends[i].parent = tokens(p.parent)
		}
	}
	return h.allowed.take(sends, output)
}

// taken releases the streams until the service has taken all of them: what it refuses for its limits is void, and made again
// after the wait that it asks for. Between samples there is time; inside one nothing waits.
func (h *passHost) taken(ctx context.Context, ps []*prompt, spec builtins.StreamSpec) ([]stream.Recording, []error, error) {
	for try := 0; ; try++ {
		most, in := make([]int, len(ps)), 0
		for i, p := range ps {
			most[i] = h.r.most(p.Prompt, p.count, spec.OutputTokens)
			in += most[i] - spec.OutputTokens
		}
		if err := h.r.pace(ctx, h.s, len(ps), in, len(ps)*spec.OutputTokens); err != nil {
			return nil, nil, err
		}
		if err := h.r.ledger.reserve(in + len(ps)*spec.OutputTokens); err != nil {
			return nil, nil, err
		}
		h.r.doing("streaming")
		recs, errs := h.release(ctx, ps, spec)
		for i, p := range ps {
			tr, _ := h.s.Decode(recs[i])
			h.r.ledger.settle(most[i], bytesOf(p.Prompt), &recs[i], tr.Counts)
		}
		why, again := h.r.again(ctx, h.s, h.refusal(recs, errs), try)
		if !again || ctx.Err() != nil {
			return recs, errs, nil //nolint:nilerr // what failed is in errs, a row keeps it
		}
		h.r.pauses.repeated++
		h.r.pauses.add(why)
		for i, p := range ps {
			if recs[i].Status >= 400 || !p.spec.Cold || p.seen {
				continue
			}
			// The service has met this prompt: it would not be cold a second time.
			if err := h.realise(ctx, p, p.spec, fmt.Sprintf("%s/%d/%d/again/%d", h.row.Key, h.pass, p.id, try)); err != nil {
				return nil, nil, err
			}
		}
	}
}

// release runs the streams: each prepares on a goroutine of its own, all wait at the barrier, and start at once.
func (h *passHost) release(ctx context.Context, ps []*prompt, spec builtins.StreamSpec) ([]stream.Recording, []error) {
	n := len(ps)
	defer h.r.using()()
	recs, errs := make([]stream.Recording, n), make([]error, n)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	barrier := newBarrier(h.r, n)
	taps := make([]*stream.Tap, n)
	for i := range taps {
		taps[i] = &stream.Tap{}
	}
	h.r.opt.Watch.Live.set(func(l *Live) { l.taps = taps })
	defer h.r.opt.Watch.Live.set(func(l *Live) { l.taps = nil })
	runtime.GC() // now, so that it has no reason to run while the streams do
	var wg sync.WaitGroup
	for i, p := range ps {
		h.r.sending(p.Prompt)
		req := drivers.Request{
			Prompt: p.Prompt, OutputTokens: spec.OutputTokens, Reuse: p.reuse, Seed: h.r.opt.Seed, Reasoning: spec.Reasoning,
			Slot: drivers.AnySlot, Tap: taps[i],
			FirstByteWithin: h.r.firstByteWithin(n * h.lengthOf(p)), IdleWithin: h.r.idleWithin(),
		}
		if n == 1 && p.reuse {
			req.Slot = 0 // a conversation stays where its cache is
		}
		wait := time.Duration(i) * spec.Stagger
		arrived := false
		req.Hold = func(ctx context.Context) (time.Duration, error) {
			arrived = true
			return barrier.wait(ctx, wait)
		}
		wg.Go(func() {
			recs[i], errs[i] = h.s.Stream(ctx, req)
			if !arrived { // it failed before the barrier: the others shall not wait for it
				cancel(fmt.Errorf("another stream of the batch failed before the start: %w", errs[i]))
			}
		})
	}
	wg.Wait()
	return recs, errs
}

// lengthOf is the best guess at a prompt's tokens, for deadlines.
func (h *passHost) lengthOf(p *prompt) int {
	switch {
	case p.count != nil:
		return *p.count
	case p.target > 0:
		return p.target
	}
	n := 0
	for _, m := range p.Messages {
		n += len(m.Content) / 3
	}
	return n
}

// barrier lets n streams start together.
type barrier struct {
	r       *run
	mu      sync.Mutex
	missing int
	at      time.Duration
	open    chan struct{}
}

func newBarrier(r *run, n int) *barrier {
	return &barrier{r: r, missing: n, open: make(chan struct{})}
}

// wait returns when all have arrived and this one's stagger has passed, with the stamp of its intended start.
func (b *barrier) wait(ctx context.Context, stagger time.Duration) (time.Duration, error) {
	b.mu.Lock()
	if b.missing--; b.missing == 0 {
		b.at = b.r.clock.Now()
		close(b.open)
	}
	b.mu.Unlock()
	select {
	case <-b.open:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	if stagger > 0 {
		select {
		case <-time.After(b.at + stagger - b.r.clock.Now()):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return b.at + stagger, nil
}

// CacheStats gives the server's counters since the pass began.
func (h *passHost) CacheStats(ctx context.Context) (*builtins.CacheStats, error) {
	if h.s.caps.CacheStatser == nil || h.cache0 == nil {
		return nil, nil //nolint:nilnil // nil is how the builtin says that the backend exposes none
	}
	now, err := h.s.caps.CacheStatser.CacheStats(ctx)
	if err != nil {
		return nil, h.r.redact(err)
	}
	return &builtins.CacheStats{QueriedTokens: now.QueriedTokens - h.cache0.QueriedTokens, HitTokens: now.HitTokens - h.cache0.HitTokens}, nil
}

// Fingerprint describes hardware, backend, model and limits.
func (h *passHost) Fingerprint(context.Context) (json.RawMessage, error) {
	i := h.s.info
	return json.Marshal(map[string]any{
		"hardware": h.r.result.Fingerprint,
		"backend":  map[string]any{"name": i.Backend, "version": i.Version, "build": i.Build, "caps": h.s.caps.Names()},
		"model":    map[string]any{"ref": fileName(i.Model.Ref), "name": fileName(i.Model.Name), "quant": i.Model.Quant},
		"limits":   map[string]any{"context": i.ContextMax, "parallel": i.Parallel},
	})
}

// Elapsed is the time since the pass began, without pauses.
func (h *passHost) Elapsed() time.Duration { return h.r.clock.Now() - h.began - h.r.pauses.waited }

// Record keeps a value of a declared metric.
func (h *passHost) Record(metric string, value float64) error {
	if _, ok := h.row.workload.Metrics[metric]; !ok {
		known := make([]string, 0, len(h.row.workload.Metrics))
		for m := range h.row.workload.Metrics {
			known = append(known, m)
		}
		slices.Sort(known)
		return fmt.Errorf("the suite declares no metric %q for this workload; declared: %v", metric, known)
	}
	if h.out.metrics == nil {
		h.out.metrics = map[string][]float64{}
	}
	if len(h.out.metrics[metric]) >= maxStreams {
		return fmt.Errorf("more than %d values of %q in one pass", maxStreams, metric)
	}
	h.out.metrics[metric] = append(h.out.metrics[metric], value)
	return nil
}

// Log shows a line that the program printed.
func (h *passHost) Log(line string) { h.r.note("%s: %s", h.row.Key, line) }
