package sglang

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/framed"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// learn finds out how prompts are sent, whether one can be kept from the cache, and what the server counts.
func (s *session) learn(ctx context.Context, how string) (cacheCounts bool, err error) {
	if err := s.learnRoute(ctx, how); err != nil {
		return false, err
	}
	s.info.Metadata["endpoint"] = "/v1/chat/completions"
	if s.native {
		s.info.Metadata["endpoint"] = "/generate, prompt as token ids"
		s.info.Metadata["event_text"] = s.text
		if s.info.Template, err = s.render.before(ctx); err != nil {
			return false, err
		}
	}
	if err := s.learnSalt(ctx); err != nil {
		return false, err
	}
	m, err := readMetrics(ctx, s.http)
	switch {
	case err == nil:
		_, statsErr := cacheStats(m)
		return statsErr == nil, nil
	case refused(err):
		s.info.Metadata["metrics"] = "off: the server runs without --enable-metrics"
		return false, nil
	}
	return false, err
}

// learnRoute settles on /generate where the server renders conversations as its chat route does, else on that route.
func (s *session) learnRoute(ctx context.Context, how string) error {
	if how == endpointChat {
		s.info.Metadata["rendering"] = "by the chat route, as was asked"
		return s.learnChat(ctx)
	}
	found, err := s.render.settle(ctx, s.count)
	if err != nil {
		return err
	}
	s.info.Metadata["rendering"] = found
	if s.native = s.render.messages; s.native {
		if err = s.learnText(ctx); err == nil {
			return nil
		}
		if !refused(err) && !errors.Is(err, drivers.ErrProtocol) {
			return err
		}
		s.native = false
		s.info.Metadata["rendering"] += "; /generate does not serve: " + err.Error()
	}
	if how == endpointGenerate {
		return fmt.Errorf("%w: option %s is %s, and %s", drivers.ErrUnsupported, optEndpoint, how, s.info.Metadata["rendering"])
	}
	return s.learnChat(ctx)
}

// learnChat measures the template of the chat route, by the server's own tokenizer where that takes text.
func (s *session) learnChat(ctx context.Context) error {
	count := func(ctx context.Context, text string) (int, error) { return s.count(ctx, user(text), "") }
	var why string
	var err error
	if s.framed, why, err = framed.Learn(ctx, s.render.encode, count, refused); err != nil {
		return err
	}
	if s.framed != nil {
		s.info.Template = s.framed.Around() // with what follows the text
		s.info.Metadata["tokenizer"] = fmt.Sprintf("/tokenize, of the text; the template puts %d tokens around it", s.framed.Around())
		return nil
	}
	s.info.Metadata["tokenizer"] = "not used: " + why
	n, err := count(ctx, "a")
	if err == nil && n > 0 {
		s.info.Template = n - 1
	}
	return err
}

// learnText makes a first native request, and sees how its events hold their text.
func (s *session) learnText(ctx context.Context) error {
	const tokens = 12
	ids, err := s.render.render(ctx, user(checkText), "")
	if err != nil {
		return err
	}
	rec, err := s.generate(ctx, ids, false, quick(tokens), "")
	if err != nil {
		return err
	}
	t, err := Decode(rec)
	if err != nil {
		return err
	}
	if !t.Counts.Prompt.Known() || t.Counts.Prompt.N != len(ids) {
		return fmt.Errorf("%w: %d token ids were sent, the server counts %d", drivers.ErrProtocol, len(ids), t.Counts.Prompt.N)
	}
	s.text = learnShape(rec)
	return nil
}

// learnShape is the shape of a stream that was recorded without a hint; "" where it has too little text to tell.
func learnShape(rec stream.Recording) string {
	var d decoder
	if d.read(&rec) != nil {
		return ""
	}
	var texts []string
	for _, s := range d.steps {
		if s.text != "" {
			texts = append(texts, s.text)
		}
	}
	if len(texts) <= sureGrowth {
		return ""
	}
	return shape(texts, "")
}

// learnSalt tries whether a cache_salt keeps a prompt from the cache: one that is cached must not be so under a salt.
func (s *session) learnSalt(ctx context.Context) error {
	if s.cacheOff() {
		s.info.ColdAsked = true
		s.info.Metadata["cold"] = "the server keeps no prefixes (--disable-radix-cache)"
		return nil
	}
	text := filler("Is this known: " + salt(true))
	var cached [3]stream.Count
	for i, under := range []string{"", "", salt(true)} {
		t, err := s.ask(ctx, user(text), 1, under)
		if err != nil {
			if i == 2 && refused(err) {
				s.info.Metadata["cold"] = "by unlike prompts: the server refuses a cache_salt"
				return nil
			}
			return err
		}
		cached[i] = t.Counts.Cached
	}
	block := s.info.CacheBlock
	switch {
	case !cached[1].Known():
		s.info.Metadata["cold"] = "by unlike prompts: the server does not say what was cached, so that a cache_salt can't be checked"
	case cached[1].N < block+leastHit:
		s.info.Metadata["cold"] = fmt.Sprintf("by unlike prompts: of a prompt sent twice only %d tokens were cached, so that a cache_salt can't be checked", cached[1].N)
	case !cached[2].Known():
		// The chat route with --enable-cache-report leaves the count out where it is 0. What is left out stays unknown in every
		// sample; that a prompt can be kept from the cache is shown all the same.
		s.salted, s.info.ColdAsked = true, true
		s.info.Metadata["cold"] = fmt.Sprintf("by cache_salt: a prompt of which %d tokens were cached had no such count under a salt", cached[1].N)
	case cached[2].N > 0:
		s.info.Metadata["cold"] = fmt.Sprintf("by unlike prompts: %d tokens were cached in spite of a cache_salt", cached[2].N)
	default:
		s.salted, s.info.ColdAsked = true, true
		s.info.Metadata["cold"] = fmt.Sprintf("by cache_salt: a prompt of which %d tokens were cached had none under a salt", cached[1].N)
	}
	return nil
}

// leastHit is how many tokens more than a page have to be cached to show that the cache works.
const leastHit = 8

// filler makes a text of a few hundred tokens, longer than two pages of any cache.
func filler(start string) string {
	return start + "? " + strings.Repeat("The lake lay still, and over it went the geese in a long line. ", 24)
}

// quick is a request that is not measured. The first one may have to wait for kernels to be compiled.
func quick(tokens int) drivers.Request {
	return drivers.Request{OutputTokens: tokens, Slot: drivers.AnySlot, FirstByteWithin: 5 * time.Minute, IdleWithin: 2 * time.Minute}
}

// ask runs a short request that is not measured, by the route that the session uses.
func (s *session) ask(ctx context.Context, p drivers.Prompt, tokens int, salt string) (stream.Transcript, error) {
	r := quick(tokens)
	r.Prompt = p
	var rec stream.Recording
	var err error
	if s.native {
		var ids []int32
		if ids, err = s.render.render(ctx, p, ""); err != nil {
			return stream.Transcript{}, err
		}
		rec, err = s.generate(ctx, ids, false, r, salt)
	} else {
		rec, err = s.chat(ctx, r, salt)
	}
	if err != nil {
		return stream.Transcript{}, err
	}
	return Decode(rec)
}

// count gives the prompt tokens that the chat route makes of a conversation, by a request for one token.
func (s *session) count(ctx context.Context, p drivers.Prompt, reasoning string) (int, error) {
	r := quick(1)
	r.Prompt, r.Reasoning = p, reasoning
	rec, err := s.chat(ctx, r, "")
	if err != nil {
		return 0, fmt.Errorf("count a probe: %w", err)
	}
	t, err := Decode(rec)
	if err != nil {
		return 0, fmt.Errorf("count a probe: %w", err)
	}
	return t.Counts.Prompt.N, nil // 0 where the server does not say
}
