package openaicompat

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// checkText is what abilities are tried on: a tokenizer that counts it as the server does has met words, digits, markup and
// text outside of ASCII.
const checkText = "Say hello. Dites bonjour; 東京 2,048 <b>x_1</b>"

// open connects to a running server and learns its ways.
func open(ctx context.Context, c drivers.Config, _ drivers.Need) (drivers.Session, error) {
	if c.URL == "" {
		return nil, fmt.Errorf("%w: %s has no default address; give one with --url http://host:port/v1", drivers.ErrUnreachable, Name)
	}
	endpoint, contextMax, err := options(c)
	if err != nil {
		return nil, err
	}
	client, err := httpx.New(c.URL, c.APIKey, nil, c.Clock, httpx.WithProxy(c.Env), httpx.Beside("/v1"))
	if err != nil {
		return nil, err
	}
	s := &session{server: server{client: client}}
	opened, err := s.open(ctx, c, endpoint, contextMax)
	if err != nil {
		client.Close()
		return nil, client.Redact(explain(client.Base(), err))
	}
	return opened, nil
}

func (s *session) open(ctx context.Context, c drivers.Config, endpoint string, contextMax int) (drivers.Session, error) {
	if err := s.list(ctx); err != nil {
		return nil, err
	}
	model, err := s.choose(c.Model)
	if err != nil {
		return nil, err
	}
	s.model = model.ID
	s.identify(ctx)
	s.dialect = newDialect(s.kind, endpoint != "completions")
	first, err := s.learn(ctx, endpoint == "chat")
	if err != nil {
		if s.model == "" && !errors.Is(err, context.Canceled) {
			err = fmt.Errorf("%w (the server lists no models; name one with --model)", err)
		}
		return nil, err
	}
	s.answered = first.Model // Decode has taken a folder off
	honoured, seen := s.ignoresEOS(ctx)
	tok := s.tokenizer(ctx, first)
	s.info = drivers.Info{
		Backend: Name, Version: s.version, URL: s.client.Base(), URLKind: s.client.URLKind(), Attached: true,
		Model:      model.model(),
		ContextMax: cmp.Or(contextMax, s.context, model.context()),
		Parallel:   s.slots,
		Template:   s.template(ctx, tok),
		CacheBlock: 1,
		Simulated:  s.kind == simSrv,
		IgnoresEOS: honoured,
		ColdAsked:  s.dialect.features[llamaFields].on,
		Metadata:   s.metadata(first, seen),
	}
	if s.kind == vLLM {
		s.info.CacheBlock = 16
	}
	s.info.Model.Quant, s.info.Model.Path, s.info.Model.Loaded = s.quant, s.path, true
	s.info.Model.Ref = cmp.Or(s.info.Model.Ref, first.Model)
	s.info.Model.Name = cmp.Or(s.info.Model.Name, first.Model)
	s.info.Model.ContextMax = cmp.Or(s.info.Model.ContextMax, s.info.ContextMax)
	if tok == nil {
		return s, nil
	}
	return &tokenizing{s, tok}, nil
}

// ask runs a short request that is not measured. The first one may have to wait for the model to load.
func (s *session) ask(ctx context.Context, d dialect, text string, tokens int) (stream.Transcript, error) {
	rec, err := s.send(ctx, d, drivers.Request{Prompt: user(text), OutputTokens: tokens, Slot: drivers.AnySlot,
		FirstByteWithin: 5 * time.Minute, IdleWithin: 2 * time.Minute})
	if err != nil {
		return stream.Transcript{}, err
	}
	return s.Decode(rec)
}

func user(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

// learn finds a way of asking that the server takes, and gives the answer.
func (s *session) learn(ctx context.Context, chatOnly bool) (stream.Transcript, error) {
	var refusal error
	var blind []int
	for {
		t, err := s.ask(ctx, s.dialect, checkText, 4)
		if err == nil {
			s.restore(ctx, blind, &t)
			return t, nil
		}
		if refusal == nil {
			refusal = err
		}
		i, ok := s.dialect.adapt(err, chatOnly)
		if !ok {
			if errors.Is(err, drivers.ErrBadRequest) {
				err = refusal // the first one is about the whole request
			}
			return stream.Transcript{}, err
		}
		if i >= 0 {
			blind = append(blind, i)
		}
	}
}

// restore tries once more each feature that was given up on no more than a guess: the last one was the refused one.
func (s *session) restore(ctx context.Context, blind []int, t *stream.Transcript) {
	for _, i := range blind {
		d := s.dialect
		d.features[i].on = true
		if again, err := s.ask(ctx, d, checkText, 4); err == nil {
			s.dialect, *t = d, again
		}
	}
}

// ignoresEOS finds out whether the server generates on past the end of text. Servers that are known to do so are believed;
// of others it has to be seen: a one-word answer that ends by itself without the field and runs on with it.
func (s *session) ignoresEOS(ctx context.Context) (honoured bool, seen string) {
	const tokens, question = 24, "Answer with the single word: yes"
	if !s.dialect.features[ignoreEOS].on {
		return false, "refused"
	}
	if s.kind != "" {
		return true, "known server"
	}
	with, err := s.ask(ctx, s.dialect, question, tokens)
	if err != nil || with.Finish != stream.FinishLength {
		return false, "accepted, not honoured"
	}
	d := s.dialect
	d.features[ignoreEOS].on = false
	without, err := s.ask(ctx, d, question, tokens)
	if err == nil && without.Finish == stream.FinishStop {
		return true, "seen to work"
	}
	return false, "accepted, effect not seen"
}

// template counts the tokens that stand before a message's text: exactly with a tokenizer, else as the server's count of a
// message of one token, less that one, which takes in what follows the text too.
func (s *session) template(ctx context.Context, tok *tokenizer) int {
	if tok != nil {
		a, errA := tok.count(ctx, user("alpha"))
		b, errB := tok.count(ctx, user("Zulu"))
		if errA == nil && errB == nil {
			n := 0
			for n < min(len(a), len(b)) && a[n] == b[n] {
				n++
			}
			return n
		}
	}
	t, err := s.ask(ctx, s.dialect, "a", 1)
	if err != nil || !t.Counts.Prompt.Known() || t.Counts.Prompt.N < 1 {
		return drivers.NotKnown
	}
	return t.Counts.Prompt.N - 1
}

// metadata keeps what was learnt about the server, for the result.
func (s *session) metadata(t stream.Transcript, eos string) map[string]string {
	m := map[string]string{"ignore_eos": eos, "endpoint": "chat", "max_tokens_field": s.dialect.maxKey, "usage": "in the stream"}
	if !s.dialect.chat {
		m["endpoint"] = "completions"
	}
	if !t.Counts.Output.Known() {
		m["usage"] = "none"
	} else if t.Counts.Output.From != stream.Usage {
		m["usage"] = "timing block"
	}
	for _, f := range s.dialect.features[includeUsage:] {
		if !f.on {
			m["without_"+f.name] = "refused"
		}
	}
	if s.kind != "" {
		m["server_kind"] = s.kind
	}
	if s.header != "" {
		m["server_header"] = s.header
	}
	var extra struct {
		Fingerprint string `json:"system_fingerprint"`
	}
	if json.Unmarshal(t.Extra, &extra) == nil && extra.Fingerprint != "" {
		m["system_fingerprint"] = extra.Fingerprint
	}
	return m
}

// post makes a short call with a body.
func (s *server) post(ctx context.Context, path string, in, out any) error {
	_, err := s.client.JSON(ctx, http.MethodPost, path, in, out)
	return err
}
