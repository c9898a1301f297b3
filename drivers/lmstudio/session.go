package lmstudio

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// session is an open LM Studio.
type session struct {
	http     *httpx.Client
	info     drivers.Info
	dialect  dialect
	log      func(string, ...any)
	v1       bool
	reload   bool
	wait     time.Duration // for loading
	key      string        // of the model
	instance instance      // the loaded copy
	answered string        // the model that the server said had answered at Open, as it may be shown
	secrets  []string
	close    sync.Once
	loading  sync.Mutex

	mu          sync.Mutex
	ours        string // the copy that this session had loaded; "" where it had none loaded
	loadSeconds string // that its loading took, as the server says
}

// Keys of Recording.Sent.
const (
	sentTokens  = "output_tokens"
	sentContext = "context" // of the loaded copy; absent where not known
	sentModel   = "model"   // session.answered
)

// Info says what was opened.
func (s *session) Info() drivers.Info { return s.info }

// Decode is pure; see the function of that name. A key that the server repeats in an error is taken out.
func (s *session) Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := Decode(rec)
	return t, s.http.Redact(err)
}

// Secrets lists what must be in no text and no recording: credentials, and the folder that holds the model.
func (s *session) Secrets() []string { return s.secrets }

// Close ends the session, and puts away the copy of the model that it had loaded.
func (s *session) Close() error {
	s.close.Do(func() {
		s.mu.Lock()
		ours := s.ours
		s.mu.Unlock()
		if ours != "" {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := s.unload(ctx, ours); err != nil && !errors.Is(err, drivers.ErrUnreachable) {
				s.log("LM Studio keeps %s loaded: %v", ours, err)
			}
		}
		s.http.Close()
	})
	return nil
}

// Stream looks whether the model is still loaded, sends one request and returns what was read.
func (s *session) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	if err := s.present(ctx); err != nil {
		err = s.http.Redact(err)
		return stream.Recording{Protocol: openai.ProtocolChat, Outcome: stream.Cut, Fault: err.Error()}, err
	}
	rec, err := s.send(ctx, s.dialect, r)
	if errors.Is(err, drivers.ErrUnreachable) {
		err = explain(s.http.Base(), err)
	}
	return rec, err
}

func (s *session) send(ctx context.Context, d dialect, r drivers.Request) (stream.Recording, error) {
	body, protocol, err := d.encode(r)
	if err != nil {
		return stream.Recording{Protocol: protocol, Outcome: stream.Cut, Fault: err.Error()}, err
	}
	sent := map[string]string{sentTokens: strconv.Itoa(r.OutputTokens)}
	if s.instance.context > 0 {
		sent[sentContext] = strconv.Itoa(s.instance.context)
	}
	if s.answered != "" {
		sent[sentModel] = s.answered
	}
	began := openai.Began
	if d.route == routeNative {
		began = nativeBegan
	}
	return s.http.Stream(ctx, httpx.Post{Path: path(d.route), Body: body, Protocol: protocol, Sent: sent, Request: r, Began: began})
}

// secretsOf lists credentials and folders; see drivers.SecretLister.
func secretsOf(h *httpx.Client, path string) []string {
	return paths.LongestFirst(append(h.Secrets(), paths.Folders(path)...))
}
