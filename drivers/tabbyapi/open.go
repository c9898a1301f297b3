package tabbyapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/stream"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// open connects to a running server and learns its ways.
func open(ctx context.Context, c drivers.Config, _ drivers.Need) (drivers.Session, error) {
	url := c.URL
	if url == "" {
		url = defaultURL()
	}
	client, err := httpx.New(url, c.APIKey, nil, c.Clock, httpx.Beside("/v1"))
	if err != nil {
		return nil, err
	}
	s, err := attach(ctx, c, client)
	if err != nil {
		client.Close()
		return nil, client.Redact(explain(client.Base(), err))
	}
	return s, nil
}

func attach(ctx context.Context, c drivers.Config, client *httpx.Client) (drivers.Session, error) {
	srv, err := identify(ctx, client)
	if err != nil {
		return nil, err
	}
	if err := srv.choose(c.Model); err != nil {
		return nil, err
	}
	s := &session{server: *srv, http: client}
	model, why, err := srv.about(weightsOption(c))
	if err != nil {
		return nil, err
	}
	s.info = drivers.Info{
		Backend: name, URL: client.Base(), URLKind: client.URLKind(), Attached: true,
		Model: model, ContextMax: srv.context(), Parallel: srv.params().Count("max_batch_size"), Template: drivers.NotKnown, CacheBlock: page,
		Metadata: srv.metadata(), WhyNot: why,
	}
	s.secrets = s.secretsOf(c)
	if o := overrides(ctx, client); o != "" {
		s.info.Metadata["sampler_overrides"] = o
	}
	counts, err := s.learn(ctx)
	if err != nil {
		return nil, err
	}
	s.info.Simulated = client.Simulated()
	if counts {
		return tokenizing{s}, nil
	}
	return s, nil
}

// about describes the loaded model, by its folder where one was given. why says what of it is not known.
func (s *server) about(folder string) (m drivers.Model, why map[string]string, err error) {
	shown := paths.Shown(s.id())
	m = drivers.Model{Ref: shown, Name: shown, ContextMax: s.params().Count("max_seq_len"), Loaded: true}
	if folder == "" {
		none := "TabbyAPI names its model, not the folder that it lies in; give that with --opt " + optWeights + "=FOLDER"
		return m, map[string]string{"model.digest": none, "model.quant": none}, nil
	}
	info, err := weights.Read(folder)
	if err != nil {
		return m, nil, fmt.Errorf("option %s: %w", optWeights, err)
	}
	if m.Path, err = filepath.Abs(folder); err != nil {
		return m, nil, fmt.Errorf("option %s: %w", optWeights, err)
	}
	if have := paths.Base(m.Path); !strings.EqualFold(have, paths.Base(s.id())) {
		return m, nil, fmt.Errorf("%w: option %s is the folder %q, and %q is loaded", drivers.ErrModelNotFound, optWeights, have, shown)
	}
	m.Quant, m.SizeBytes = info.Quant, info.SizeBytes
	why = map[string]string{}
	if m.Quant == "" {
		why["model.quant"] = "the headers of the weights do not say"
	}
	return m, why, nil
}

// learn finds out whether an answer's length can be forced, whether cached tokens are counted, and whether the server's
// tokenizer counts as the server does.
func (s *session) learn(ctx context.Context) (counts bool, err error) {
	if err := s.learnShort(ctx); err != nil {
		return false, err
	}
	if err := s.learnLength(ctx); err != nil {
		return false, err
	}
	if err := s.learnCached(ctx); err != nil {
		return false, err
	}
	short, err := s.ask(ctx, "a", 1)
	if err != nil {
		return false, err
	}
	if short.Counts.Prompt.Known() && short.Counts.Prompt.N > 0 {
		s.info.Template = short.Counts.Prompt.N - 1 // with what follows the text
	}
	counts, err = s.learnTokenizer(ctx, short.Counts.Prompt)
	if err != nil || !counts {
		return false, err
	}
	s.info.Template, err = s.before(ctx)
	return true, err
}

// learnShort finds out whether answers end one token before max_tokens: TabbyAPI hands it on to exllamav3 as it is
// (backends/exllamav3/model.py), whose versions around 1.4 keep one less.
func (s *session) learnShort(ctx context.Context) error {
	const tokens = 8
	s.forced = true
	t, err := s.ask(ctx, "Count from one to one hundred in words, a number in each line.", tokens)
	if err != nil {
		if refused(err) && !errors.Is(err, drivers.ErrModelNotFound) {
			return nil // learnLength finds out what is refused
		}
		return err
	}
	if t.Finish == stream.FinishLength && t.Counts.Output.Known() && t.Counts.Output.N == tokens-1 {
		s.more = 1
		s.info.Metadata["max_tokens"] = "one above what is wanted: the server ends answers one token short of it"
	}
	return nil
}

// learnLength tries whether an answer that would end by itself goes on to the length asked for.
func (s *session) learnLength(ctx context.Context) error {
	const tokens, question = 24, "Answer with the single word: yes"
	t, err := s.ask(ctx, question, tokens)
	switch {
	case err != nil && (!refused(err) || errors.Is(err, drivers.ErrModelNotFound)):
		return err
	case err == nil && t.Finish == stream.FinishLength && (!t.Counts.Output.Known() || t.Counts.Output.N == tokens):
		s.info.IgnoresEOS = true
		s.info.Metadata["length"] = "ban_eos_token and min_tokens: a one-word answer went on to the length asked for"
	case err == nil:
		s.info.Metadata["length"] = fmt.Sprintf("not forced: a one-word answer ended after %d of %d tokens in spite of ban_eos_token and min_tokens", t.Counts.Output.N, tokens)
	default:
		s.forced = false
		s.info.Metadata["length"] = "not forced: ban_eos_token or min_tokens is refused"
		if t, err = s.ask(ctx, question, tokens); err != nil {
			return err
		}
	}
	s.answered = t.Model
	return nil
}

// learnCached sends a prompt of several pages twice: where the second time no token is said to be cached, the server does
// not count them.
func (s *session) learnCached(ctx context.Context) error {
	text := "Is this known: " + rand.Text() + "? " + strings.Repeat("The lake lay still, and over it went the geese in a long line. ", 48)
	var t stream.Transcript
	var err error
	for range 2 {
		if t, err = s.ask(ctx, text, 1); err != nil {
			if refused(err) { // a small context
				s.info.Metadata["cached_tokens"] = "not checked: " + err.Error()
				return nil
			}
			return err
		}
	}
	if s.counted = t.Counts.Cached.Known() && t.Counts.Cached.N > 0; s.counted {
		s.info.Metadata["cached_tokens"] = fmt.Sprintf("counted: of a prompt sent twice %d tokens were cached", t.Counts.Cached.N)
		return nil
	}
	s.info.Metadata["cached_tokens"] = "not counted: of a prompt sent twice none are said to be cached"
	return nil
}

// learnTokenizer measures how many tokens the server counts beyond those that its tokenizer gives, on two texts: where the
// two differ, the tokenizer is not used.
func (s *session) learnTokenizer(ctx context.Context, short stream.Count) (bool, error) {
	no := func(why string) (bool, error) {
		s.info.Metadata["tokenizer"] = "not used: " + why
		return false, nil
	}
	long, err := s.ask(ctx, checkText, 1)
	if err != nil {
		return false, err
	}
	if !short.Known() || !long.Counts.Prompt.Known() {
		return no("the server does not count prompts")
	}
	var beyond [2]int
	for i, q := range []struct {
		text string
		own  int
	}{{"a", short.N}, {checkText, long.Counts.Prompt.N}} {
		ids, err := s.encode(ctx, user(q.text))
		switch {
		case err != nil && (refused(err) || errors.Is(err, drivers.ErrProtocol)):
			return no(err.Error())
		case err != nil:
			return false, err
		}
		beyond[i] = q.own - len(ids)
	}
	const most = 64 // tokens that a template puts before an answer
	if beyond[0] != beyond[1] || beyond[0] < 0 || beyond[0] > most {
		return no(fmt.Sprintf("it gives %d and %d tokens less than the server counts for two texts", beyond[0], beyond[1]))
	}
	s.tail = beyond[0]
	s.info.Metadata["tokenizer"] = fmt.Sprintf("/v1/token/encode; the server counts %d more, with which the answer begins", s.tail)
	return true, nil
}

// before counts the tokens that stand before the text of a first user message: what two different texts share.
func (s *session) before(ctx context.Context) (int, error) {
	var ids [2][]int32
	for i, text := range []string{"Apples", "zebra crossing 7"} {
		var err error
		if ids[i], err = s.encode(ctx, user(text)); err != nil {
			return drivers.NotKnown, err
		}
	}
	n := 0
	for n < len(ids[0]) && n < len(ids[1]) && ids[0][n] == ids[1][n] {
		n++
	}
	return n, nil
}

// checkText meets words, digits, markup and text outside of ASCII.
const checkText = "Say hello. Dites bonjour; 東京 2,048 <b>x_1</b>"

func user(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

// ask runs a short request that is not measured. The first one may have to wait for kernels to be compiled.
func (s *session) ask(ctx context.Context, text string, tokens int) (stream.Transcript, error) {
	rec, err := s.Stream(ctx, drivers.Request{Prompt: user(text), OutputTokens: tokens, Slot: drivers.AnySlot, FirstByteWithin: 5 * time.Minute, IdleWithin: 2 * time.Minute})
	if err != nil {
		return stream.Transcript{}, err
	}
	return Decode(rec)
}

// explain says what to do about an error of Open.
func explain(base string, err error) error {
	switch {
	case errors.Is(err, errOther):
		return fmt.Errorf("%w: %s is no TabbyAPI: %w", drivers.ErrProtocol, base, err)
	case errors.Is(err, drivers.ErrUnreachable):
		return fmt.Errorf("%s: %w; is TabbyAPI running there? Start it, or give another --url", base, err)
	case errors.Is(err, drivers.ErrAuth):
		return fmt.Errorf("%s: %w; give the key of TabbyAPI's api_tokens.yml with --api-key", base, err)
	}
	return fmt.Errorf("TabbyAPI at %s: %w", base, err)
}
