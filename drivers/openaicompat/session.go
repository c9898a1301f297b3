package openaicompat

import (
	"context"
	"errors"
	"strconv"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// session is an open server.
type session struct {
	server
	dialect dialect
	model   string
	info    drivers.Info
}

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

// Decode understands a recording. A key that the server repeats in an error is taken out.
func (s *session) Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := openai.Decode(rec)
	return t, s.client.Redact(err)
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
	return s.client.Stream(ctx, httpx.Post{Path: s.prefix + path, Body: body, Protocol: protocol,
		Sent: map[string]string{"output_tokens": strconv.Itoa(r.OutputTokens)}, Request: r})
}
