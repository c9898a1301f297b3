package tabbyapi

import (
	"context"
	"fmt"
	"net/http"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// session is an open TabbyAPI.
type session struct {
	server
	http     *httpx.Client
	info     drivers.Info
	answered string // the model that answered at Open, as it may be shown; "" where the server says none
	counted  bool   // the server was seen to count cached tokens
	forced   bool   // ban_eos_token and min_tokens are sent
	more     int    // tokens that are asked for beyond those wanted; see learnShort
	tail     int    // prompt tokens after those that /v1/token/encode gives: the start of the answer
	secrets  []string
}

// tokenizing is a session whose server's tokenizer was seen to count as the server does.
type tokenizing struct{ *session }

// Info says what was opened.
func (s *session) Info() drivers.Info { return s.info }

// Close closes the connections; the server runs on.
func (s *session) Close() error {
	s.http.Close()
	return nil
}

// Secrets lists what must be in no text and no recording: credentials, and the folders in which models lie.
func (s *session) Secrets() []string { return s.secrets }

// Decode is pure; see the function of that name. A key that the server repeats in an error is taken out.
func (s *session) Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := Decode(rec)
	return t, s.http.Redact(err)
}

// Stream sends one request and returns what was read. The model is named as it is loaded: another name could make the server
// load another one.
func (s *session) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	extra := map[string]any{"skip_special_tokens": false} // what shows no text can't be stamped
	if s.forced {
		extra["ban_eos_token"], extra["min_tokens"] = true, r.OutputTokens
	}
	if len(r.Prompt.Tools) > 0 {
		extra["tool_choice"] = "none" // tools are in the prompt all the same, and the text is not held back to parse calls
	}
	if r.Reasoning != "" {
		extra["template_vars"] = map[string]bool{"enable_thinking": r.Reasoning == "on"}
	}
	body, err := openai.Chat{Prompt: r.Prompt, Call: openai.Call{
		Model: s.id(), MaxTokens: r.OutputTokens + s.more, Seed: r.Seed, IncludeUsage: true, Extra: extra,
	}}.Encode()
	if err != nil {
		return stream.Recording{Protocol: openai.ProtocolChat, Outcome: stream.Cut, Fault: err.Error()}, err
	}
	sent := map[string]string{}
	if s.answered != "" {
		sent[sentModel] = s.answered
	}
	if s.counted {
		sent[sentCached] = cachedCounted
	}
	return s.http.Stream(ctx, httpx.Post{Path: "/v1/chat/completions", Body: body, Protocol: openai.ProtocolChat, Sent: sent, Request: r, Began: openai.Began})
}

// notGiven stands in Tokenize's answer for the tokens that begin the answer: the server counts them with the prompt, and its
// tokenizer leaves them out. How many they are was measured at Open.
const notGiven = -1

// Tokenize gives the token ids of a prompt as Stream would render it; the last few, which begin the answer, are notGiven. A
// prompt with tools is drivers.ErrUnsupported: the server's tokenizer takes none.
func (s tokenizing) Tokenize(ctx context.Context, p drivers.Prompt) ([]int32, error) {
	if usesTools(p) {
		return nil, fmt.Errorf("%w: TabbyAPI's /v1/token/encode takes no tools", drivers.ErrUnsupported)
	}
	ids, err := s.encode(ctx, p)
	if err != nil {
		return nil, s.http.Redact(err)
	}
	for range s.tail {
		ids = append(ids, notGiven)
	}
	return ids, nil
}

func usesTools(p drivers.Prompt) bool {
	if len(p.Tools) > 0 {
		return true
	}
	for _, m := range p.Messages {
		if len(m.ToolCalls) > 0 || m.Role == "tool" {
			return true
		}
	}
	return false
}

// encode asks for the tokens of a conversation.
func (s *session) encode(ctx context.Context, p drivers.Prompt) ([]int32, error) {
	var out struct {
		Tokens []int32 `json:"tokens"`
	}
	in := map[string]any{"text": openai.Messages(p)}
	if _, err := s.http.JSON(ctx, http.MethodPost, "/v1/token/encode", in, &out); err != nil {
		return nil, fmt.Errorf("tokenize: %w", err)
	}
	if len(out.Tokens) == 0 {
		return nil, fmt.Errorf("tokenize: %w: no tokens in the answer", drivers.ErrProtocol)
	}
	return out.Tokens, nil
}

func (s *session) secretsOf(c drivers.Config) []string {
	said := append([]string{c.Model, s.id(), s.info.Model.Path}, s.listed...)
	return paths.LongestFirst(append(s.http.Secrets(), paths.Folders(said...)...))
}
