package vllm

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// usualURL is where vLLM listens unless told otherwise.
const usualURL = "http://127.0.0.1:8000"

// open attaches to a server or starts one.
func open(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	if err := check(c); err != nil {
		return nil, err
	}
	how := option(c, optStart)
	if c.URL != "" {
		return attach(ctx, c, c.URL)
	}
	if how == "always" {
		return start(ctx, c, n)
	}
	if f := ask(ctx, c, usualURL); f.err == nil || errors.Is(f.err, drivers.ErrAuth) {
		return attach(ctx, c, usualURL) // that one has the GPU's memory: a second would find none
	}
	if how == "never" {
		return nil, fmt.Errorf("%w: no vLLM runs on port 8000; start one, or give --url", drivers.ErrUnreachable)
	}
	return start(ctx, c, n)
}

// attach connects to a running server.
func attach(ctx context.Context, c drivers.Config, url string) (drivers.Session, error) {
	h, err := connect(c, url)
	if err != nil {
		return nil, err
	}
	s, err := identify(ctx, h)
	if err != nil {
		h.Close()
		return nil, h.Redact(explain(h.Base(), err))
	}
	return (&opened{server: s, http: h}).session(ctx, c)
}

// opened is a vLLM that answers.
type opened struct {
	*server
	http     *httpx.Client
	proc     *proc.Process     // nil where it ran before us
	meta     map[string]string // what is known from starting it
	parallel int               // that it was started for; 0 where not known
	path     string            // of the weights that it was started for; "" where not known
}

// session learns the ways of a server and makes the session of it.
func (o *opened) session(ctx context.Context, c drivers.Config) (drivers.Session, error) {
	s := &session{http: o.http, proc: o.proc, metered: o.metered}
	fail := func(err error) (drivers.Session, error) {
		err = s.explain(err, &stream.Recording{})
		_ = s.Close()
		return nil, o.http.Redact(fmt.Errorf("open vLLM at %s: %w", o.http.Base(), err))
	}
	ref := c.Model
	if o.proc != nil {
		ref = "" // it serves what it was started for, and nothing else
	}
	model, err := o.choose(ref)
	if err != nil {
		return fail(err)
	}
	o.describe(ctx, o.http)
	if s.salt = option(c, optSalt); s.salt == "" {
		s.salt = "llm-speed-" + rand.Text()
	}
	meta := map[string]string{}
	if err := s.route(ctx, c, model.Text("id"), meta); err != nil {
		return fail(err)
	}
	first, err := s.learn(ctx)
	if err != nil {
		return fail(err)
	}
	if s.dialect.chat {
		meta["tools"] = s.learnTools(ctx)
	}
	block := blockSize(o.metrics)
	if err := s.learnCache(ctx, block, meta); err != nil {
		return fail(err)
	}
	s.answered = first.Model // Decode has taken a folder off
	if err := s.describe(ctx, c, o, model, first, meta); err != nil {
		return fail(err)
	}
	_, err = cacheStats(o.metrics)
	return s.shaped(o.metered && err == nil), nil
}

// route decides between prompts as token ids and chats.
func (s *session) route(ctx context.Context, c drivers.Config, model string, meta map[string]string) error {
	endpoint := option(c, optEndpoint)
	r := &renderer{http: s.http, model: model, tails: map[string]bool{}}
	found, can, err := r.settle(ctx)
	switch {
	case err != nil:
		return err
	case !can && endpoint == "completions":
		return fmt.Errorf("%w: the server has no /tokenize, so that prompts can't be sent as token ids; use --opt endpoint=chat", drivers.ErrUnsupported)
	case !can || endpoint == "chat":
		s.dialect = newDialect(model, true)
		meta["endpoint"] = "/v1/chat/completions"
		if can {
			s.render = r // to count with
		}
		return nil
	}
	s.render, s.dialect = r, newDialect(model, false)
	meta["endpoint"], meta["rendering"], meta["tools"] = "/v1/completions, prompt as token ids", found, r.tools(ctx)
	return nil
}

// ask runs a short request that is not measured. The first one may have to wait while kernels are compiled.
func (s *session) ask(ctx context.Context, d dialect, p drivers.Prompt, tokens int, salt string) (stream.Transcript, error) {
	rec, err := s.send(ctx, d, drivers.Request{Prompt: p, OutputTokens: tokens, Slot: drivers.AnySlot,
		FirstByteWithin: 5 * time.Minute, IdleWithin: 2 * time.Minute}, salt)
	if err != nil {
		return stream.Transcript{}, err
	}
	return s.Decode(rec)
}

// coldSalt is a salt that no other request has.
func (s *session) coldSalt() string { return s.saltFor(drivers.Request{}) }

// learn finds a way of asking that the server takes, and gives the answer.
func (s *session) learn(ctx context.Context) (stream.Transcript, error) {
	var refusal error
	var gave []int
	sure := true
	try := func(d dialect) (stream.Transcript, error) {
		return s.ask(ctx, d, user("Say hello. Dites bonjour; 東京 2,048 <b>x_1</b>"), 4, s.coldSalt())
	}
	t, err := try(s.dialect)
	for err != nil {
		refusal = cmp.Or(refusal, err)
		i, named, ok := s.dialect.adapt(err)
		if !ok {
			if errors.Is(err, drivers.ErrBadRequest) {
				err = refusal // the first one is about the whole request
			}
			return stream.Transcript{}, err
		}
		gave, sure = append(gave, i), sure && named
		t, err = try(s.dialect)
	}
	// Given up on no more than a guess, or one of several that a refusal names at once: what was refused is one of them.
	for _, i := range gave {
		if sure && len(gave) == 1 {
			break
		}
		d := s.dialect
		d.features[i].on = true
		if again, err := try(d); err == nil {
			s.dialect, t = d, again
		}
	}
	// A field that is not known is only warned about in the server's log: one that brings nothing is not sent again.
	s.dialect.features[ownMetrics].on = s.dialect.features[ownMetrics].on && hasMetrics(t.Extra)
	if isCounted(t) {
		return t, nil
	}
	d := s.dialect
	// Ids of all prompt tokens come back too, in the first event, which delays it: running counts are better.
	d.features[tokenIDs].on = true
	if again, err := try(d); err == nil && isCounted(again) {
		s.dialect, t = d, again
	}
	return t, nil
}

// learnTools finds out how a chat keeps its tools in the prompt, and says it in words. Without a choice of tools no parser
// holds tokens back, but some versions leave the tools out then; with one, servers that were started without a parser refuse.
func (s *session) learnTools(ctx context.Context) string {
	p := toolPrompt()
	bare, err := s.ask(ctx, s.dialect, drivers.Prompt{Messages: p.Messages}, 2, s.coldSalt())
	if err != nil || !bare.Counts.Prompt.Known() {
		return "not known: a call and its result are refused, or prompts are not counted"
	}
	d := s.dialect
	for _, choice := range []string{"none", ""} {
		d.toolChoice = choice
		if t, err := s.ask(ctx, d, p, 2, s.coldSalt()); err == nil && t.Counts.Prompt.N > bare.Counts.Prompt.N {
			s.dialect = d
			return "in the prompt, with tool_choice " + cmp.Or(choice, "left to the server")
		}
	}
	return "left out of the prompt, or refused"
}

// mostTried is the largest cache block that is tried, in tokens: three of them have to be computed.
const mostTried = 1024

// learnCache finds out what the server tells of its prompt cache, and whether it heeds salts: one prompt is sent twice under
// one salt, then under another.
func (s *session) learnCache(ctx context.Context, block int, meta map[string]string) error {
	if block > mostTried {
		meta["cached_tokens"] = fmt.Sprintf("not tried: blocks of %d tokens", block)
		return nil
	}
	p, one, two := filler(3*block+16), s.coldSalt(), s.coldSalt()
	var cached [3]stream.Count
	var hits [4]int64
	hits[0] = s.hits(ctx)
	for i, salt := range []string{one, one, two} {
		t, err := s.ask(ctx, s.dialect, p, 2, salt)
		if errors.Is(err, drivers.ErrContextLength) {
			meta["cached_tokens"] = "not tried: the model's context is too short"
			return nil
		}
		if err != nil {
			return fmt.Errorf("try the prompt cache: %w", err)
		}
		cached[i], hits[i+1] = t.Counts.Cached, s.hits(ctx)
	}
	switch {
	case cached[0].Known():
		meta["cached_tokens"] = "stated"
	case cached[1].Known() && cached[1].N > 0:
		meta["cached_tokens"] = "stated where not 0"
	default:
		meta["cached_tokens"] = "not stated; start vLLM with --enable-prompt-tokens-details"
	}
	hit := func(i int) int64 {
		if n := cached[i]; n.Known() {
			return int64(n.N)
		}
		if hits[i] < 0 || hits[i+1] < 0 {
			return 0
		}
		return hits[i+1] - hits[i]
	}
	switch on := s.dialect.features[salted].on; {
	case !on:
		meta["cache_salt"] = "refused"
	case hit(1) <= 0:
		meta["cache_salt"] = "accepted; its effect was not seen, for nothing is cached or nobody tells"
	case hit(2) > 0:
		meta["cache_salt"] = "not heeded"
		s.dialect.features[salted].on = false
	default:
		meta["cache_salt"] = "seen to work"
	}
	return nil
}

// hits is the server's count of cached tokens; -1 where it has none.
func (s *session) hits(ctx context.Context) int64 {
	if !s.metered {
		return -1
	}
	m, err := readMetrics(ctx, s.http)
	if err != nil {
		return -1
	}
	c, err := cacheStats(m)
	if err != nil {
		return -1
	}
	return c.HitTokens
}

// isCounted reports whether each event of a stream states its tokens.
func isCounted(t stream.Transcript) bool {
	for _, e := range t.Events {
		if e.Tokens == stream.NotStated {
			return false
		}
	}
	return len(t.Events) > 0
}

// describe fills in the session's Info.
func (s *session) describe(ctx context.Context, c drivers.Config, o *opened, model loose.Object, first stream.Transcript, meta map[string]string) error {
	before := drivers.NotKnown
	if s.render != nil {
		var err error
		if before, err = s.render.before(ctx); err != nil {
			return err
		}
	}
	for k, v := range o.meta {
		meta[k] = v
	}
	cacheMetadata(o.metrics, meta)
	if refused := s.dialect.refused(); len(refused) > 0 {
		meta["refused"] = strings.Join(refused, ", ")
	}
	meta["sampling"] = "greedy: temperature 0, no penalties"
	meta["tokens_per_event"] = "stated by running usage"
	switch {
	case !isCounted(first):
		meta["tokens_per_event"] = "not stated"
	case s.dialect.features[tokenIDs].on:
		meta["tokens_per_event"] = "stated by token ids"
	}
	if !s.metered {
		meta["metrics"] = "off"
	}
	s.info = drivers.Info{
		Backend: name, Version: o.version, Build: o.build(), URL: o.http.Base(), URLKind: o.http.URLKind(), Attached: o.proc == nil,
		ContextMax: model.Count("max_model_len"), Parallel: o.parallel, Template: before, CacheBlock: blockSize(o.metrics),
		AnyParallel: o.proc == nil || o.parallel >= usualParallel, Simulated: o.http.Simulated(), IgnoresEOS: s.dialect.features[ignoreEOS].on, ColdAsked: s.dialect.features[salted].on,
		Metadata: meta, WhyNot: map[string]string{},
	}
	s.info.Model = o.model(c, model, o.path, s.info.URLKind, s.info.WhyNot)
	s.secrets = secretsOf(c, o.http, o.server, s.info.Model.Path)
	if n := o.config.Object("scheduler_config").Count("max_num_seqs"); s.info.Parallel == 0 && n > 0 {
		s.info.Parallel = n
	}
	if root := model.Text("root"); root != "" && !paths.IsAbs(root) {
		meta["root"] = root
	}
	if parent := model.Text("parent"); parent != "" {
		meta["adapter_of"] = paths.Shown(parent)
	}
	if n := s.info.Parallel; n > 0 {
		meta["max_num_seqs"] = strconv.Itoa(n)
	}
	return nil
}
