package anthropic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/limits"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Protocol is the value of Recording.Protocol.
const Protocol = "anthropic-messages"

// Keys of Recording.Sent.
const (
	sentTokens = "output_tokens"
	sentModel  = "model" // that the first answer named
)

// session is an open service.
type session struct {
	client *httpx.Client
	model  string
	info   drivers.Info
	meter  *limits.Meter

	mu       sync.Mutex
	answered string          // the model that the first answer names
	dropped  map[string]bool // fields that the model refused
}

// Info says what was opened.
func (s *session) Info() drivers.Info { return s.info }

// Stream sends one request and returns what was read.
func (s *session) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	sent := map[string]string{sentTokens: strconv.Itoa(r.OutputTokens)}
	s.mu.Lock()
	if s.answered != "" {
		sent[sentModel] = s.answered
	}
	s.mu.Unlock()
	body, err := s.encode(r)
	if err != nil {
		return stream.Recording{Protocol: Protocol, Outcome: stream.Cut, Fault: err.Error(), Sent: sent}, err
	}
	rec, err := s.client.Stream(ctx, httpx.Post{Path: "/v1/messages", Body: body, Protocol: Protocol, Sent: sent, Request: r, Began: Began})
	if errors.Is(err, drivers.ErrUnreachable) {
		err = explain(s.client.Base(), err)
	}
	if rec.Status == 0 {
		return rec, err
	}
	s.meter.Note(rec.Status, rec.Header, rec.FirstByte)
	if sent[sentModel] == "" {
		if t, derr := Decode(rec); derr == nil {
			s.mu.Lock()
			s.answered = t.Model
			s.mu.Unlock()
		}
	}
	return rec, err
}

// Decode understands a recording; see the function of that name. A key that the service repeats in an error is taken out.
func (s *session) Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := Decode(rec)
	return t, s.client.Redact(err)
}

// Pace says how long the service's limits ask to wait.
func (s *session) Pace(requests, prompt, output int) (wait time.Duration, why string) {
	return s.meter.Pace(requests, prompt, output)
}

// CountTokens asks how many tokens a prompt has. It costs nothing and has a rate limit of its own.
func (s *session) CountTokens(ctx context.Context, p drivers.Prompt) (int, error) {
	body := conversation(p, false)
	body["model"] = s.model
	var out struct {
		InputTokens int `json:"input_tokens"`
	}
	if _, err := s.client.JSON(ctx, http.MethodPost, "/v1/messages/count_tokens", body, &out); err != nil {
		return 0, fmt.Errorf("count tokens: %w", err)
	}
	if out.InputTokens <= 0 {
		return 0, fmt.Errorf("count tokens: %w: no count in the answer", drivers.ErrProtocol)
	}
	return out.InputTokens, nil
}

// Secrets lists what must be in no text and no recording.
func (s *session) Secrets() []string { return paths.LongestFirst(s.client.Secrets()) }

// Close closes the connections.
func (s *session) Close() error {
	s.client.Close()
	return nil
}
