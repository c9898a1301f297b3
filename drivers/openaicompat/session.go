package openaicompat

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// session is an open server.
type session struct {
	server
	dialect  dialect
	model    string
	answered string // the model that the server said had answered at Open, as it may be shown; "" where it says none
	info     drivers.Info
}

// Keys of Recording.Sent.
const (
	sentTokens = "output_tokens"
	sentModel  = "model" // session.answered
)

// Info says what was opened.
func (s *session) Info() drivers.Info { return s.info }

// Stream sends one request and returns what was read.
func (s *session) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	rec, err := s.send(ctx, s.dialect, r)
	if errors.Is(err, drivers.ErrUnreachable) {
		err = explain(s.client.Base(), err)
	}
	return rec, err
}

// Decode understands a recording; see the function of that name. A key that the server repeats in an error is taken out.
func (s *session) Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := Decode(rec)
	return t, s.client.Redact(err)
}

// Decode is pure. Beside the errors of openai.Decode it gives ErrModelNotFound where a whole stream came from another model
// than the one that the session began with.
func Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := openai.Decode(rec)
	t.Model = paths.Shown(t.Model)
	if was := rec.Sent[sentModel]; err == nil && was != "" && t.Model != "" && t.Model != was {
		err = fmt.Errorf("%w: the server answered with model %q, the session began with %q", drivers.ErrModelNotFound, t.Model, was)
	}
	return t, err
}

// Secrets lists what must be in no text and no recording: the client's credentials, and the folders in which the server
// says that its models lie.
func (s *session) Secrets() []string {
	said := []string{s.model, s.weights}
	for _, m := range s.models {
		said = append(said, m.ID, m.Root)
	}
	return paths.LongestFirst(append(s.client.Secrets(), paths.Folders(said...)...))
}

// Close closes the connections; the server runs on.
func (s *session) Close() error {
	s.client.Close()
	return nil
}

func (s *session) send(ctx context.Context, d dialect, r drivers.Request) (stream.Recording, error) {
	body, path, protocol, err := d.encode(s.model, s.slots, r)
	if err != nil {
		return stream.Recording{Protocol: protocol, Outcome: stream.Cut, Fault: err.Error()}, err
	}
	sent := map[string]string{sentTokens: strconv.Itoa(r.OutputTokens)}
	if s.answered != "" {
		sent[sentModel] = s.answered
	}
	return s.client.Stream(ctx, httpx.Post{Path: s.prefix + path, Body: body, Protocol: protocol, Sent: sent, Request: r, Began: openai.Began})
}
