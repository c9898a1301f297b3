package hosted

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
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// session is an open service.
type session struct {
	service   service
	client    *httpx.Client
	prefix    string
	model     string
	info      drivers.Info
	meter     *limits.Meter
	endpoints []endpoint // OpenRouter's providers of the model
	quant     string     // that a provider is to serve

	mu       sync.Mutex
	pinned   provider        // OpenRouter's
	answered string          // the model that the first answer names
	maxKey   string          // field of the output's length, where the service wanted another
	dropped  map[string]bool // fields that the service refused
}

// Keys of Recording.Sent.
const (
	sentTokens   = "output_tokens"
	sentService  = "service"
	sentModel    = "model"    // that the first answer named
	sentProvider = "provider" // that the answers have to name
)

// Info says what was opened.
func (s *session) Info() drivers.Info { return s.info }

// Stream sends one request and returns what was read.
func (s *session) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	sent := map[string]string{sentTokens: strconv.Itoa(r.OutputTokens), sentService: s.service.name}
	s.mu.Lock()
	if s.answered != "" {
		sent[sentModel] = s.answered
	}
	if s.pinned.answers != "" {
		sent[sentProvider] = s.pinned.answers
	}
	s.mu.Unlock()
	body, err := s.encode(r)
	if err != nil {
		return stream.Recording{Protocol: openai.ProtocolChat, Outcome: stream.Cut, Fault: err.Error(), Sent: sent}, err
	}
	rec, err := s.client.Stream(ctx, httpx.Post{
		Path: s.prefix + "/chat/completions", Body: body, Protocol: openai.ProtocolChat, Sent: sent, Request: r, Began: openai.Began,
	})
	if errors.Is(err, drivers.ErrUnreachable) {
		err = s.service.explain(s.client.Base(), err)
	}
	s.note(rec)
	return rec, err
}

// note learns from an answer: limits from each, model and provider from the first whole one.
func (s *session) note(rec stream.Recording) {
	if rec.Status == 0 {
		return
	}
	if rec.Status == http.StatusTooManyRequests {
		if _, err := Decode(rec); errors.Is(err, drivers.ErrNoCredit) {
			return // no limit that opens again
		}
	}
	s.meter.Note(rec.Status, rec.Header, rec.FirstByte)
	if rec.Sent[sentModel] != "" && (!s.service.pins || rec.Sent[sentProvider] != "") {
		return
	}
	t, err := Decode(rec)
	if err != nil {
		return
	}
	if s.service.pins {
		s.learn(providerOf(t.Extra))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answered == "" {
		s.answered = t.Model
	}
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

// Secrets lists what must be in no text and no recording.
func (s *session) Secrets() []string { return paths.LongestFirst(s.client.Secrets()) }

// Close closes the connections.
func (s *session) Close() error {
	s.client.Close()
	return nil
}

// another is the error of an answer that did not come from where the session began.
func another(what, got, want string) error {
	return fmt.Errorf("%w: the answer came from %s %q, and the session is held to %q; samples of both would be one row", drivers.ErrServer, what, got, want)
}
