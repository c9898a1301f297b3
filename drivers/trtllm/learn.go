package trtllm

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/framed"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// learn finds out which fields the server takes, whether an answer's length can be forced, what the template adds, and
// whether a prompt can be kept from the cache.
func (s *session) learn(ctx context.Context) error {
	first, err := s.learnFields(ctx)
	if err != nil {
		return err
	}
	s.answered = first.Model
	if err := s.learnLength(ctx); err != nil {
		return err
	}
	if err := s.learnTemplate(ctx); err != nil {
		return err
	}
	if err := s.learnReasoning(ctx); err != nil {
		return err
	}
	return s.learnSalt(ctx)
}

// learnTemplate measures how many tokens the template puts around a text, by the server's own tokenizer where it has one.
func (s *session) learnTemplate(ctx context.Context) error {
	count := func(ctx context.Context, text string) (int, error) {
		t, err := s.ask(ctx, text, 1, "")
		return t.Counts.Prompt.N, err
	}
	s.info.Template = drivers.NotKnown
	var why string
	var err error
	if s.framed, why, err = framed.Learn(ctx, s.encode, count, refused); err != nil {
		return err
	}
	if s.framed != nil {
		s.info.Template = s.framed.Around() // with what follows the text
		s.info.Metadata["tokenizer"] = fmt.Sprintf("/_internal/tokenize, of the text; the template puts %d tokens around it", s.framed.Around())
		return nil
	}
	s.info.Metadata["tokenizer"] = "not used: " + why
	n, err := count(ctx, "a")
	if err == nil && n > 0 {
		s.info.Template = n - 1
	}
	return err
}

// learnFields asks until nothing is refused any more, with all optional fields at first.
func (s *session) learnFields(ctx context.Context) (stream.Transcript, error) {
	for {
		t, err := s.ask(ctx, checkText, 4, newSalt())
		if err == nil {
			if !s.fields[fieldUsage] {
				s.info.Metadata["usage"] = "none"
			}
			return t, nil
		}
		field, ok := s.fields.giveUp(err)
		if !ok {
			return t, err
		}
		s.info.Metadata["without_"+field] = "refused"
	}
}

// checkText meets words, digits, markup and text outside of ASCII.
const checkText = "Say hello. Dites bonjour; 東京 2,048 <b>x_1</b>"

// learnLength tries whether an answer that would end by itself goes on to the length asked for: with ignore_eos, else with
// min_tokens beside it.
func (s *session) learnLength(ctx context.Context) error {
	const tokens, question = 24, "Answer with the single word: yes"
	full := func() (bool, error) {
		t, err := s.ask(ctx, question, tokens, "")
		return err == nil && t.Finish == stream.FinishLength && (!t.Counts.Output.Known() || t.Counts.Output.N == tokens), err
	}
	if s.fields[fieldIgnoreEOS] {
		ok, err := full()
		if err != nil {
			return err
		}
		if ok {
			s.info.IgnoresEOS = true
			s.info.Metadata["length"] = "ignore_eos: a one-word answer went on to the length asked for"
			return nil
		}
	}
	s.fields[fieldMinTokens] = true
	ok, err := full()
	switch {
	case ok:
		s.info.IgnoresEOS = true
		s.info.Metadata["length"] = "ignore_eos and min_tokens: a one-word answer went on to the length asked for with both"
		return nil
	case err != nil && !refused(err):
		return err
	}
	s.fields[fieldMinTokens] = false
	s.info.Metadata["length"] = "not forced: neither ignore_eos nor min_tokens made a one-word answer go on"
	return nil
}

// learnReasoning tries whether thinking can be switched: newer servers refuse a template argument that the template has no
// use for.
func (s *session) learnReasoning(ctx context.Context) error {
	if !s.fields[fieldKwargs] {
		return nil
	}
	r := quick(1)
	r.Prompt, r.Reasoning = user("a"), "off"
	rec, err := s.send(ctx, r, "")
	if err == nil {
		_, err = Decode(rec)
	}
	if err != nil && refused(err) {
		s.fields[fieldKwargs] = false
		s.info.Metadata["without_"+fieldKwargs] = "refused"
		return nil
	}
	return err
}

// learnSalt tries whether a cache_salt keeps a prompt from the cache: one that is cached must not be so under a salt.
func (s *session) learnSalt(ctx context.Context) error {
	if !s.fields[fieldSalt] {
		s.info.Metadata["cold"] = "by unlike prompts: the server refuses a cache_salt"
		return nil
	}
	text := filler("Is this known: " + newSalt())
	var cached [3]stream.Count
	for i, salt := range []string{"", "", newSalt()} {
		t, err := s.ask(ctx, text, 1, salt)
		if err != nil {
			return err
		}
		cached[i] = t.Counts.Cached
	}
	switch {
	case !cached[1].Known() || !cached[2].Known():
		s.info.Metadata["cold"] = "by unlike prompts: the server does not say what was cached, so that a cache_salt can't be checked"
	case cached[1].N < max(s.info.Template, 0)+leastHit:
		s.info.Metadata["cold"] = fmt.Sprintf("by unlike prompts: of a prompt sent twice only %d tokens were cached, so that a cache_salt can't be checked", cached[1].N)
	case cached[2].N > 0:
		s.info.Metadata["cold"] = fmt.Sprintf("by unlike prompts: %d tokens were cached in spite of a cache_salt", cached[2].N)
	default:
		s.salted, s.info.ColdAsked = true, true
		s.info.Metadata["cold"] = fmt.Sprintf("by cache_salt: a prompt of which %d tokens were cached had none under a salt", cached[1].N)
	}
	return nil
}

// leastHit is how many tokens beside the template have to be cached to show that the cache works.
const leastHit = 8

// filler makes a text of a few hundred tokens, longer than two blocks of any cache.
func filler(start string) string {
	return start + "? " + strings.Repeat("The lake lay still, and over it went the geese in a long line. ", 24)
}

// describe reads what newer servers say of themselves in /prometheus/metrics.
func (s *session) describe(ctx context.Context) {
	m, err := readMetrics(ctx, s.http)
	s.metrics, s.meters = m, err == nil && m.HasPrefix("trtllm_")
	if !s.meters {
		s.info.Metadata["metrics"] = "off: no /prometheus/metrics"
		return
	}
	if n, ok := m.Tokens(nil, "trtllm_kv_cache_tokens_per_block"); ok && n > 0 && n < 1<<20 {
		s.info.CacheBlock = int(n)
	}
	if n, ok := m.Tokens(nil, "trtllm_max_num_active_requests"); ok && n > 0 && n < 1<<20 {
		s.info.Parallel = int(n)
	}
	for metric, labels := range map[string][]string{
		"trtllm_model_config_info":       {"dtype", "quantization", "gpu_type"},
		"trtllm_parallel_config_info":    {"tensor_parallel_size", "pipeline_parallel_size", "gpu_count"},
		"trtllm_speculative_config_info": {"spec_enabled", "spec_method", "spec_num_tokens"},
		"trtllm_kv_cache_config_info":    {"page_size", "enable_block_reuse", "cache_dtype"},
	} {
		for _, l := range labels {
			if v := m.Label(metric, l); v != "" && len(v) < 100 && !paths.IsAbs(v) {
				s.info.Metadata[l] = v
			}
		}
	}
}

// watches reports whether the gauges of running requests can be believed: they are those of the last iteration, so that some
// versions leave them above 0 when the last request has ended.
func (s *session) watches(ctx context.Context) bool {
	for try := range 3 {
		a := activity(s.metrics)
		switch {
		case a.Running == drivers.NotKnown:
			return false
		case a.Running == 0:
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Duration(try+1) * 200 * time.Millisecond):
		}
		if m, err := readMetrics(ctx, s.http); err == nil {
			s.metrics = m
		}
	}
	s.info.Metadata["activity"] = "not used: the server still named running requests after all of ours had ended"
	return false
}

func user(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

// quick is a request that is not measured. The first one may have to wait for kernels to be compiled.
func quick(tokens int) drivers.Request {
	return drivers.Request{OutputTokens: tokens, Slot: drivers.AnySlot, FirstByteWithin: 5 * time.Minute, IdleWithin: 2 * time.Minute}
}

// ask runs a short request that is not measured.
func (s *session) ask(ctx context.Context, text string, tokens int, salt string) (stream.Transcript, error) {
	r := quick(tokens)
	r.Prompt = user(text)
	rec, err := s.send(ctx, r, salt)
	if err != nil {
		return stream.Transcript{}, err
	}
	return Decode(rec)
}
