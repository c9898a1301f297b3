package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// session is an open Ollama with a loaded model.
type session struct {
	api     api
	config  drivers.Config
	chosen  chosen
	info    drivers.Info
	model   string // as it is sent
	hex     string // SHA-256 of the weights; empty where it is not known
	digest  string // of the model's manifest when it was opened
	version string // of the server
	format  string // of the weights
	context int    // num_ctx
	keep    string // keep_alive of every request
	shape   shape
	thinks  bool // the model can be told whether to think

	before  *loaded       // how the model was loaded before Open; nil: it was not
	proc    *proc.Process // nil where the server was there before us
	secrets []string

	as      atomic.Pointer[loaded] // as the runner was listed last; see api.runs
	running atomic.Int32           // streams between their preparation and their end
	close   sync.Once
}

// started is a session whose server we started.
type started struct{ *session }

// chatRequest is the body of /api/chat.
type chatRequest struct {
	Model      string        `json:"model"`
	Messages   []wireMessage `json:"messages"`
	Tools      []wireTool    `json:"tools,omitempty"`
	Think      *bool         `json:"think,omitempty"`
	Stream     bool          `json:"stream"`
	Truncate   bool          `json:"truncate"` // false: a prompt that is too long is refused, not cut
	Shift      bool          `json:"shift"`    // false: a full context ends the stream, and no tokens are thrown away
	KeepAlive  string        `json:"keep_alive"`
	Options    settings      `json:"options"`
	RenderOnly bool          `json:"_debug_render_only,omitempty"`
}

// Info says what was opened.
func (s *session) Info() drivers.Info { return s.info }

// Decode is pure; see the function of that name. A key that the server repeats in an error is taken out.
func (s *session) Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := Decode(rec)
	return t, s.api.Redact(err)
}

// options are the settings of one request.
func (s *session) options(output int, seed uint64) settings {
	o := settings{
		Context: s.context, GPULayers: s.chosen.gpuLayers,
		Predict: max(output, 1), // 0 is without end
		Seed:    int64(seed & math.MaxInt32),
	}
	s.chosen.sampling(&o)
	return o
}

// request puts a prompt into a body.
func (s *session) request(p drivers.Prompt, r drivers.Request) chatRequest {
	q := chatRequest{Model: s.model, Stream: true, KeepAlive: s.keep, Options: s.options(r.OutputTokens, r.Seed)}
	q.Messages, q.Tools = s.shape.messages(p)
	if r.Reasoning != "" && s.thinks {
		on := r.Reasoning == "on"
		q.Think = &on
	}
	return q
}

// Stream sends the conversation and reads the answer. Before the send it makes sure that the model is loaded as Open left
// it, and after the last of the streams at once that it still is.
func (s *session) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	rec := stream.Recording{Protocol: protocol, Outcome: stream.Cut}
	body, err := json.Marshal(s.request(r.Prompt, r))
	if err != nil {
		return rec, fmt.Errorf("encode request: %w", err)
	}
	sent := map[string]string{sentModel: s.model, sentContext: strconv.Itoa(s.context), sentVersion: s.version, sentFormat: s.format}
	s.running.Add(1)
	again, err := s.ensure(ctx, r.Reuse)
	if err != nil {
		s.running.Add(-1)
		rec.Fault = err.Error()
		switch {
		case ctx.Err() == nil:
		case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
			rec.Outcome = stream.Deadline
			err = fmt.Errorf("%w: %w", drivers.ErrTimeout, context.Cause(ctx))
		default:
			rec.Outcome = stream.Canceled
		}
		return rec, s.explain(err, &rec)
	}
	if again {
		sent[sentReloaded] = "yes"
	}
	rec, err = s.api.Stream(ctx, httpx.Post{Path: "/api/chat", Body: body, Protocol: protocol, Sent: sent, Request: r, Began: began})
	last := s.running.Add(-1) == 0
	if err != nil {
		return rec, s.explain(err, &rec)
	}
	if last && rec.Status < 300 {
		err = s.unchanged(ctx)
	}
	return rec, err
}

// lookTime bounds the calls that only look at a server: not to know is better than to wait.
const lookTime = 2 * time.Second

// look asks how the model is loaded; nil without an error means that it is not.
func (s *session) look(ctx context.Context) (*loaded, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	running, err := s.api.ps(ctx)
	if err != nil {
		return nil, err
	}
	for i := range running { // a replaced model may be listed beside the one that took its name
		if m := &running[i]; sameModel(m.Name, s.model) && s.replaced(m) {
			return m, nil
		}
	}
	if m := find(running, s.model); m != nil {
		return m, nil
	}
	if as := s.as.Load(); as != nil && as.Name != "" {
		if m := find(running, as.Name); m != nil && m.Digest == as.Digest {
			return m, nil
		}
	}
	if len(running) == 0 {
		return nil, nil
	}
	m, err := s.api.runs(ctx, s.model, s.hex)
	if m != nil {
		s.as.Store(m)
	}
	return m, err
}

// ensure loads the model again where another client, or a restart, has unloaded it, so that loading never falls into a
// sample. A conversation that counts on the prompt cache is refused then: its cache is gone.
func (s *session) ensure(ctx context.Context, reuse bool) (again bool, err error) {
	if s.as.Load().Name == "" {
		return false, nil // not listed from the start
	}
	m, err := s.look(ctx)
	switch {
	case errors.Is(err, drivers.ErrTimeout) && ctx.Err() == nil:
		return false, nil // a busy server is late to tell: the stream itself will show
	case err != nil:
		return false, err
	case m == nil && reuse:
		return false, fmt.Errorf("%w: %s is not loaded any more, so that its prompt cache is gone: the server was restarted, or another client took its place", drivers.ErrServer, s.model)
	case m == nil:
		s.config.Log("%s is not loaded any more; loading it again", s.model)
		o := s.options(1, 0)
		got, err := s.api.load(ctx, s.config, s.model, s.hex, o)
		if err != nil {
			return false, err
		}
		s.as.Store(&got)
		return true, s.same(&got)
	}
	return false, s.same(m)
}

// unchanged reports whether the model is still the one of Open, loaded as it was. Not to know is no error.
func (s *session) unchanged(ctx context.Context) error {
	m, err := s.look(ctx)
	if err != nil || m == nil {
		return nil //nolint:nilerr // the sample is whole; what has happened since is for the next one to find
	}
	return s.same(m)
}

// replaced reports whether what is listed under the model's name is another one.
func (s *session) replaced(m *loaded) bool {
	return s.digest != "" && m.Digest != "" && m.Digest != s.digest
}

// same holds a loaded model against that of Open.
func (s *session) same(m *loaded) error {
	switch {
	case sameModel(m.Name, s.model) && s.replaced(m):
		return fmt.Errorf("%w: %s is another model now: its digest was %.12s and is %.12s", drivers.ErrModelNotFound, s.model, s.digest, m.Digest)
	case m.Context > 0 && s.info.ContextMax > 0 && m.Context != s.info.ContextMax:
		return fmt.Errorf("%w: another client has had %s loaded with a context of %d tokens, not %d: let nobody else use the server meanwhile", drivers.ErrServer, s.model, m.Context, s.info.ContextMax)
	}
	return nil
}

// explain tells a server that died from a connection that was lost.
func (s *session) explain(err error, rec *stream.Recording) error {
	if err == nil || s.proc == nil || !errors.Is(err, drivers.ErrReset) && !errors.Is(err, drivers.ErrUnreachable) {
		return err
	}
	select {
	case <-s.proc.Done():
	case <-time.After(2 * time.Second): // its end is seen a little after that of its connections
		return err
	}
	err = fmt.Errorf("%w: %w", died(s.proc), err)
	rec.Fault = err.Error()
	return err
}

// Close ends the session. A server of ours ends; on another's, a model that was loaded before stays as long as it would
// have, and one that we had loaded goes within seconds.
func (s *session) Close() error {
	s.close.Do(func() {
		if s.proc == nil {
			s.release()
		}
		s.api.Close()
		if s.proc != nil {
			s.proc.Stop(stopGrace)
		}
	})
	return nil
}

// stopGrace is how long a server may take to end by itself.
const stopGrace = 5 * time.Second

// release gives the model's stay in memory back to the server's user.
func (s *session) release() {
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	if m, err := s.look(ctx); err != nil || m == nil || s.same(m) != nil {
		return // somebody else's by now
	}
	o := s.options(1, 0)
	o.Predict = 0
	l := loading{Model: s.model, KeepAlive: keepAfter, Options: &o}
	if s.before != nil {
		l.KeepAlive = stays(s.before.Expires, time.Now())
	}
	_ = s.api.generate(ctx, l, nil)
}

// Secrets lists what must be in no text and no recording: credentials, and the folders that hold the models.
func (s *session) Secrets() []string { return s.secrets }

// ServerLog is the last lines that the server printed, without the one that lists its whole environment.
func (s started) ServerLog() []string { return told(s.proc.Tail()) }
