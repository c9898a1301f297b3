package sglang

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/framed"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// session is an open SGLang server.
type session struct {
	server
	http   *httpx.Client
	id     string // the model's, as requests name it
	info   drivers.Info
	render renderer
	framed *framed.Tokenizer // counts prompts where render can't; may be nil
	native bool              // what can be rendered goes to /generate
	salted bool              // a cache_salt keeps a request from the cache
	text   string            // how events hold their text, as seen at Open; textWhole, textDelta or ""
	checks bool              // each stream first asks whether the same weights are still served
}

// tokenizing is a session whose server renders conversations to token ids.
type tokenizing struct{ *session }

// metered is a session whose server counts its prompt cache.
type metered struct{ *session }

// tokenizingMetered is both.
type tokenizingMetered struct {
	tokenizing
	metered
	*session
}

// shaped gives the session with the abilities that its server has.
func (s *session) shaped(cacheCounts bool) drivers.Session {
	counts := s.render.messages || s.framed != nil
	switch {
	case counts && cacheCounts:
		return tokenizingMetered{tokenizing{s}, metered{s}, s}
	case counts:
		return tokenizing{s}
	case cacheCounts:
		return metered{s}
	}
	return s
}

// Info says what was opened.
func (s *session) Info() drivers.Info { return s.info }

// Decode is pure; see the function of that name. A key that the server repeats in an error is taken out.
func (s *session) Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := Decode(rec)
	return t, s.http.Redact(err)
}

// Close closes the connections; the server runs on.
func (s *session) Close() error {
	s.http.Close()
	return nil
}

// Secrets lists what must be in no text and no recording: credentials, and the folders that hold the model.
func (s *session) Secrets() []string {
	said := []string{s.id, s.weightsPath(), s.model.Text("tokenizer_path"), s.args.Text("tokenizer_path")}
	for _, m := range s.listed {
		said = append(said, m.Text("id"), m.Text("root"))
	}
	return paths.LongestFirst(append(s.http.Secrets(), paths.Folders(said...)...))
}

// Stream renders the prompt, sends it as token ids where the server renders it as its chat route would, else by that route,
// and reads the answer.
func (s *session) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	fail := func(err error) (stream.Recording, error) {
		err = s.http.Redact(err)
		return stream.Recording{Protocol: protocol, Outcome: stream.Cut, Fault: err.Error()}, err
	}
	if s.checks {
		if err := s.same(ctx); err != nil {
			return fail(err)
		}
	}
	if !s.native || !s.render.exact(r.Prompt, r.Reasoning) {
		return s.chat(ctx, r, salt(s.salted && !r.Reuse))
	}
	ids, err := s.render.render(ctx, r.Prompt, r.Reasoning)
	if err != nil {
		return fail(err)
	}
	return s.generate(ctx, ids, s.render.opensThinking(ctx, ids), r, salt(s.salted && !r.Reuse))
}

// salt gives a value that no request before had; "" where none is wanted.
func salt(wanted bool) string {
	if !wanted {
		return ""
	}
	return "llm-speed-" + rand.Text()
}

// generation is the body of a native request. cache_salt came after extra_key, which does the same; a server ignores a field
// of the body that it does not know, but refuses an unknown sampling parameter, so that only old ones are sent.
type generation struct {
	IDs      []int32  `json:"input_ids"`
	Sampling sampling `json:"sampling_params"`
	Stream   bool     `json:"stream"`
	Salt     string   `json:"cache_salt,omitempty"`
	Extra    string   `json:"extra_key,omitempty"`
}

// sampling is greedy. Special tokens are shown: past the end of text a model may write nothing else, and a token that shows
// no text can't be stamped.
type sampling struct {
	Tokens      int     `json:"max_new_tokens"`
	IgnoreEOS   bool    `json:"ignore_eos"`
	Temperature float64 `json:"temperature"`
	SkipSpecial bool    `json:"skip_special_tokens"`
}

func (s *session) generate(ctx context.Context, ids []int32, opensThinking bool, r drivers.Request, salt string) (stream.Recording, error) {
	body, err := json.Marshal(generation{
		IDs: ids, Stream: true, Salt: salt, Extra: salt,
		Sampling: sampling{Tokens: r.OutputTokens, IgnoreEOS: true},
	})
	if err != nil {
		return stream.Recording{Protocol: protocol, Outcome: stream.Cut, Fault: err.Error()}, fmt.Errorf("encode request: %w", err)
	}
	sent := s.sent()
	if opensThinking {
		sent[sentThinking] = thinkingOpen
	}
	rec, err := s.http.Stream(ctx, httpx.Post{Path: "/generate", Body: body, Protocol: protocol, Sent: sent, Request: r, Began: began})
	rec.PromptIDs = len(ids)
	return rec, err
}

func (s *session) sent() map[string]string {
	sent := map[string]string{sentModel: paths.Shown(s.id)}
	if v := s.model.Text("weight_version"); v != "" {
		sent[sentWeights] = v
	}
	if s.text != "" {
		sent[sentText] = s.text
	}
	return sent
}

// chat sends a conversation by the chat route.
func (s *session) chat(ctx context.Context, r drivers.Request, salt string) (stream.Recording, error) {
	extra := map[string]any{"ignore_eos": true, "top_p": 1, "return_cached_tokens_details": true}
	if salt != "" {
		extra["cache_salt"], extra["extra_key"] = salt, salt
	}
	if r.Reasoning != "" {
		extra["chat_template_kwargs"] = thinkingKwargs(r.Reasoning)
	}
	body, err := openai.Chat{Prompt: r.Prompt, Call: openai.Call{
		Model: s.id, MaxTokens: r.OutputTokens, Seed: r.Seed, IncludeUsage: true, EachUsage: true, Extra: extra,
	}}.Encode()
	if err != nil {
		return stream.Recording{Protocol: openai.ProtocolChat, Outcome: stream.Cut, Fault: err.Error()}, err
	}
	return s.http.Stream(ctx, httpx.Post{Path: "/v1/chat/completions", Body: body, Protocol: openai.ProtocolChat, Sent: s.sent(), Request: r, Began: openai.Began})
}

// same asks whether the server still has the weights that the session began with: /generate names no model.
func (s *session) same(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var now loose.Object
	if _, err := s.http.JSON(ctx, http.MethodGet, s.infoPath, nil, &now); err != nil {
		if errors.Is(err, drivers.ErrTimeout) { // a server at work may be slow to say so
			return nil
		}
		return fmt.Errorf("ask for the served model: %w", err)
	}
	if was, is := s.model.Text("model_path"), now.Text("model_path"); is != "" && was != is {
		return fmt.Errorf("%w: the server now has %q, the session began with %q", drivers.ErrModelNotFound, paths.Shown(is), paths.Shown(was))
	}
	return nil
}

// Tokenize gives the ids that Stream would send. Where the chat route is used, those of the template are not known, and only
// their number stands in their place. A kind of conversation that the server does not render as its chat route does is
// drivers.ErrUnsupported.
func (s tokenizing) Tokenize(ctx context.Context, p drivers.Prompt) ([]int32, error) {
	var ids []int32
	var err error
	switch {
	case s.render.exact(p, ""):
		ids, err = s.render.render(ctx, p, "")
	case s.framed != nil:
		ids, err = s.framed.Tokenize(ctx, p)
	default:
		return nil, fmt.Errorf("%w: this server's /tokenize leaves out a part of conversations with tools", drivers.ErrUnsupported)
	}
	return ids, s.http.Redact(err)
}
