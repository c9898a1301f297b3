package trtllm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/framed"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/prometheus"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// session is an open trtllm-serve.
type session struct {
	server
	http     *httpx.Client
	id       string // the model's, as requests name it
	answered string // the model that answered at Open, as it may be shown; "" where the server says none
	info     drivers.Info
	fields   fields            // constant after Open
	salted   bool              // a cache_salt keeps a request from the cache
	watched  bool              // the gauges of running requests can be believed
	framed   *framed.Tokenizer // nil where the server has no tokenizer, or one that counts otherwise
	secrets  []string
}

// tokenizing is a session whose server's tokenizer was seen to count as the server does.
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
	switch {
	case s.framed != nil && cacheCounts:
		return tokenizingMetered{tokenizing{s}, metered{s}, s}
	case s.framed != nil:
		return tokenizing{s}
	case cacheCounts:
		return metered{s}
	}
	return s
}

// sentModel is the key of session.answered in Recording.Sent.
const sentModel = "model"

// Info says what was opened.
func (s *session) Info() drivers.Info { return s.info }

// Close closes the connections; the server runs on.
func (s *session) Close() error {
	s.http.Close()
	return nil
}

// Secrets lists what must be in no text and no recording: credentials, and the folders in which models lie.
func (s *session) Secrets() []string { return s.secrets }

// Stream sends one request and returns what was read.
func (s *session) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	salt := ""
	if s.salted && !r.Reuse {
		salt = newSalt()
	}
	return s.send(ctx, r, salt)
}

// newSalt gives a value that no request before had.
func newSalt() string { return "llm-speed-" + rand.Text() }

func (s *session) send(ctx context.Context, r drivers.Request, salt string) (stream.Recording, error) {
	extra := map[string]any{}
	if s.fields[fieldIgnoreEOS] {
		extra[fieldIgnoreEOS] = true
	}
	if s.fields[fieldMinTokens] {
		extra[fieldMinTokens] = r.OutputTokens
	}
	if s.fields[fieldSpecial] {
		extra[fieldSpecial] = false // past the end of text a model may write nothing else, and what shows no text can't be stamped
	}
	if salt != "" && s.fields[fieldSalt] {
		extra[fieldSalt] = salt
	}
	if r.Reasoning != "" && s.fields[fieldKwargs] {
		extra[fieldKwargs] = map[string]bool{"enable_thinking": r.Reasoning == "on"}
	}
	body, err := openai.Chat{Prompt: r.Prompt, Call: openai.Call{
		Model: s.id, MaxTokens: r.OutputTokens, Seed: r.Seed, NoSeed: !s.fields[fieldSeed],
		IncludeUsage: s.fields[fieldUsage], EachUsage: s.fields[fieldUsage] && s.fields[fieldEach], Extra: extra,
	}}.Encode()
	if err != nil {
		return stream.Recording{Protocol: openai.ProtocolChat, Outcome: stream.Cut, Fault: err.Error()}, err
	}
	sent := map[string]string{}
	if s.answered != "" {
		sent[sentModel] = s.answered
	}
	return s.http.Stream(ctx, httpx.Post{Path: "/v1/chat/completions", Body: body, Protocol: openai.ProtocolChat, Sent: sent, Request: r, Began: openai.Began})
}

// Decode is pure; see the function of that name. A key that the server repeats in an error is taken out.
func (s *session) Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := Decode(rec)
	return t, s.http.Redact(err)
}

// Decode understands a recorded stream. Beside the errors of openai.Decode it gives ErrModelNotFound where a whole stream
// came from another model than the one that the session began with.
func Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := openai.Decode(rec)
	t.Model = paths.Shown(t.Model)
	if was := rec.Sent[sentModel]; err == nil && was != "" && t.Model != "" && t.Model != was {
		err = fmt.Errorf("%w: the server answered with model %q, the session began with %q", drivers.ErrModelNotFound, t.Model, was)
	}
	return t, err
}

// Tokenize counts a prompt of one user message; see framed.Tokenizer.
func (s tokenizing) Tokenize(ctx context.Context, p drivers.Prompt) ([]int32, error) {
	ids, err := s.framed.Tokenize(ctx, p)
	return ids, s.http.Redact(err)
}

// encode gives the token ids of a text by itself. Newer servers have this route, for text only.
func (s *session) encode(ctx context.Context, text string) ([]int32, error) {
	var out struct {
		Tokens []int32 `json:"tokens"`
	}
	if _, err := s.http.JSON(ctx, http.MethodPost, "/_internal/tokenize", map[string]string{"prompt": text}, &out); err != nil {
		return nil, fmt.Errorf("tokenize: %w", err)
	}
	if len(out.Tokens) == 0 {
		return nil, fmt.Errorf("tokenize: %w: no tokens in the answer", drivers.ErrProtocol)
	}
	return out.Tokens, nil
}

// lookTime bounds the calls that only look at a server: not to know is better than to wait.
const lookTime = 2 * time.Second

// CacheStats reads the counters of the prompt cache.
func (s metered) CacheStats(ctx context.Context) (drivers.CacheStats, error) {
	m, err := readMetrics(ctx, s.http)
	if err != nil {
		return drivers.CacheStats{}, s.http.Redact(err)
	}
	return cacheStats(m)
}

func cacheStats(m prometheus.Metrics) (drivers.CacheStats, error) {
	queried, ok1 := m.Tokens(nil, "trtllm_prompt_tokens_total")
	hit, ok2 := m.Tokens(nil, "trtllm_prompt_cached_tokens_total")
	if !ok1 || !ok2 {
		return drivers.CacheStats{}, fmt.Errorf("%w: /prometheus/metrics has no counters of cached prompt tokens", drivers.ErrProtocol)
	}
	return drivers.CacheStats{QueriedTokens: queried, HitTokens: hit}, nil
}

// Activity counts the requests at work, where the server was seen to tell.
func (s *session) Activity(ctx context.Context) (drivers.Activity, error) {
	none := drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}
	if !s.watched {
		return none, nil
	}
	m, err := readMetrics(ctx, s.http)
	if err != nil {
		return none, s.http.Redact(err)
	}
	return activity(m), nil
}

func activity(m prometheus.Metrics) drivers.Activity {
	a := drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}
	if n, ok := m.Tokens(nil, "trtllm_num_requests_running"); ok {
		a.Running = int(n)
	}
	if n, ok := m.Tokens(nil, "trtllm_num_requests_waiting"); ok {
		a.Waiting = int(n)
	}
	return a
}

// readMetrics reads the Prometheus text. /metrics beside it is JSON, and emptied by reading: another one may want that.
func readMetrics(ctx context.Context, c *httpx.Client) (prometheus.Metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var text string
	if _, err := c.JSON(ctx, http.MethodGet, "/prometheus/metrics", nil, &text); err != nil {
		return prometheus.Metrics{}, fmt.Errorf("ask /prometheus/metrics: %w", err)
	}
	return prometheus.Parse(text), nil
}

// refused reports whether an error is the server's answer to this one request, and not trouble with the server.
func refused(err error) bool {
	var api *drivers.APIError
	return errors.As(err, &api) && api.Status != http.StatusUnauthorized && api.Status != http.StatusForbidden && api.Status != http.StatusServiceUnavailable
}
