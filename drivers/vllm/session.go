package vllm

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// session is an open vLLM.
type session struct {
	http     *httpx.Client
	info     drivers.Info
	dialect  dialect
	render   *renderer // nil: the server renders chats itself
	proc     *proc.Process
	answered string // the model that the server said had answered at Open, as it may be shown
	metered  bool   // /metrics has vLLM's own metrics
	secrets  []string
	close    sync.Once

	salt string // what cache salts begin with
	cold atomic.Int64
}

// Info says what was opened.
func (s *session) Info() drivers.Info { return s.info }

// Decode is pure; see the function of that name. A key that the server repeats in an error is taken out.
func (s *session) Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := Decode(rec)
	return t, s.http.Redact(err)
}

// Secrets lists what must be in no text and no recording: credentials, and the folders that hold the model.
func (s *session) Secrets() []string { return s.secrets }

// stopGrace is how long a server may take to end by itself: vLLM ends its engine processes one after another.
const stopGrace = 10 * time.Second

// Close ends the session, and the server where we started it.
func (s *session) Close() error {
	s.close.Do(func() {
		s.http.Close()
		if s.proc != nil {
			s.proc.Stop(stopGrace)
		}
	})
	return nil
}

// saltFor is the cache salt of a request. vLLM takes cached blocks only from requests of the same salt: each cold request has
// one of its own, and all that may reuse share the session's, as requests without salts would share the whole cache. So what is
// meant to be hit is hit, from whichever conversation it comes, and nothing that was cached before the session is.
func (s *session) saltFor(r drivers.Request) string {
	if r.Reuse {
		return s.salt + "-shared"
	}
	return s.salt + "-cold-" + strconv.FormatInt(s.cold.Add(1), 10)
}

// Stream renders the prompt, sends it as token ids and reads the answer.
func (s *session) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	rec, err := s.send(ctx, s.dialect, r, s.saltFor(r))
	return rec, s.explain(err, &rec)
}

func (s *session) send(ctx context.Context, d dialect, r drivers.Request, salt string) (stream.Recording, error) {
	fail := func(err error) (stream.Recording, error) {
		err = s.http.Redact(err)
		return stream.Recording{Protocol: openai.ProtocolCompletions, Outcome: stream.Cut, Fault: err.Error()}, err
	}
	var p rendered
	var err error
	if !d.chat {
		if p, err = s.render.render(ctx, r.Prompt, r.Reasoning); err != nil {
			return fail(err)
		}
	}
	body, path, protocol, err := d.encode(r, p.ids, salt)
	if err != nil {
		return fail(err)
	}
	sent := map[string]string{}
	if s.answered != "" {
		sent[sentModel] = s.answered
	}
	if p.plain {
		sent[sentRendering] = "plain"
	}
	if p.thinking {
		sent[sentThinking] = thinkingOpen
	}
	rec, err := s.http.Stream(ctx, httpx.Post{Path: path, Body: body, Protocol: protocol, Sent: sent, Request: r, Began: openai.Began})
	rec.PromptIDs = len(p.ids)
	return rec, err
}

// explain tells a server that died from a connection that was lost.
func (s *session) explain(err error, rec *stream.Recording) error {
	lost := errors.Is(err, drivers.ErrReset) || errors.Is(err, drivers.ErrUnreachable)
	switch {
	case err == nil || !lost:
		return err
	case s.proc == nil && errors.Is(err, drivers.ErrUnreachable):
		return explain(s.http.Base(), err)
	case s.proc == nil:
		return err
	}
	select {
	case <-s.proc.Done():
	case <-time.After(2 * time.Second): // its end is seen a little after that of its connections
		return err
	}
	err = s.http.Redact(fmt.Errorf("%w: %w", died(s.proc), err))
	rec.Fault = err.Error()
	return err
}

// Activity reads the gauges of running and waiting requests.
func (s *session) Activity(ctx context.Context) (drivers.Activity, error) {
	if !s.metered {
		return drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}, nil
	}
	m, err := readMetrics(ctx, s.http)
	if err != nil {
		return drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}, err
	}
	return activity(m), nil
}

// The abilities that only some servers have.
type (
	tokenizing struct{ of *session }
	counted    struct{ of *session }
	logged     struct{ of *session }
)

// Tokenize gives the ids that Stream would send.
func (t tokenizing) Tokenize(ctx context.Context, p drivers.Prompt) ([]int32, error) {
	r, err := t.of.render.render(ctx, p, "")
	return r.ids, t.of.http.Redact(err)
}

// CacheStats reads the counters of the prefix cache.
func (c counted) CacheStats(ctx context.Context) (drivers.CacheStats, error) {
	m, err := readMetrics(ctx, c.of.http)
	if err != nil {
		return drivers.CacheStats{}, err
	}
	return cacheStats(m)
}

// Preemptions counts the requests that vLLM put back for want of cache memory.
func (c counted) Preemptions(ctx context.Context) (int64, error) {
	m, err := readMetrics(ctx, c.of.http)
	if err != nil {
		return 0, err
	}
	n, ok := m.Tokens(nil, preemptNames()...)
	if !ok {
		return 0, fmt.Errorf("%w: /metrics does not count preemptions", drivers.ErrProtocol)
	}
	return n, nil
}

// ServerLog is the last lines that the server printed.
func (l logged) ServerLog() []string { return l.of.proc.Tail() }

// shaped gives the session with the abilities that its server has.
func (s *session) shaped(counters bool) drivers.Session {
	t, c, l := tokenizing{s}, counted{s}, logged{s}
	switch tokens, started := s.render != nil, s.proc != nil; {
	case tokens && counters && started:
		return struct {
			*session
			tokenizing
			counted
			logged
		}{s, t, c, l}
	case tokens && counters:
		return struct {
			*session
			tokenizing
			counted
		}{s, t, c}
	case tokens && started:
		return struct {
			*session
			tokenizing
			logged
		}{s, t, l}
	case counters && started:
		return struct {
			*session
			counted
			logged
		}{s, c, l}
	case tokens:
		return struct {
			*session
			tokenizing
		}{s, t}
	case counters:
		return struct {
			*session
			counted
		}{s, c}
	case started:
		return struct {
			*session
			logged
		}{s, l}
	}
	return s
}

// secretsOf lists credentials and folders; see drivers.SecretLister.
func secretsOf(c drivers.Config, h *httpx.Client, s *server, path string) []string {
	said := []string{c.Model, path}
	for _, m := range s.listed {
		said = append(said, m.Text("id"), m.Text("root"))
	}
	return paths.LongestFirst(append(h.Secrets(), paths.Folders(said...)...))
}
