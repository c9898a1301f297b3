package pyhelper

import (
	"context"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Session is an open backend behind a helper: the drivers.Session of each driver that has one.
type Session struct {
	h          *Helper
	info       drivers.Info
	definition string
	secrets    []string
}

// NewSession makes the session of a helper whose model is loaded. It completes info with what can be asked now: the tokens
// that the chat template puts first, and how the clocks stand. definition says what the helper's own times mean; hidden are
// further paths whose folders must be in no text: Python's tracebacks are full of them.
func NewSession(ctx context.Context, h *Helper, info drivers.Info, definition string, hidden ...string) (*Session, error) {
	s := &Session{h: h, info: info, definition: definition, secrets: paths.Folders(append(hidden, info.Model.Path)...)}
	a, err := h.Tokenize(ctx, user("alpha"))
	if err != nil {
		return nil, err
	}
	b, err := h.Tokenize(ctx, user("Zulu"))
	if err != nil {
		return nil, err
	}
	for s.info.Template = 0; s.info.Template < min(len(a), len(b)) && a[s.info.Template] == b[s.info.Template]; {
		s.info.Template++
	}
	if s.info.Metadata == nil {
		s.info.Metadata = map[string]string{}
	}
	s.info.Metadata["python"] = h.Python()
	s.info.Metadata["clock_error_bound"] = h.Offset().Bound.String()
	s.info.Metadata["endpoint"] = "Python helper over pipes; the prompt is handed over as token ids before t_send"
	return s, nil
}

func user(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

// Info says what was opened.
func (s *Session) Info() drivers.Info { return s.info }

// Stream runs one generation.
func (s *Session) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	return s.h.Stream(ctx, r, s.definition)
}

// Decode is pure; see the function of that name.
func (s *Session) Decode(rec stream.Recording) (stream.Transcript, error) { return Decode(rec) }

// Tokenize gives the ids that Stream would generate from.
func (s *Session) Tokenize(ctx context.Context, p drivers.Prompt) ([]int32, error) {
	return s.h.Tokenize(ctx, p)
}

// FlushCache empties the prompt cache.
func (s *Session) FlushCache(ctx context.Context) error {
	return s.h.Call(ctx, "flush", nil, nil, time.Minute)
}

// ServerLog is the last lines that the helper and its libraries printed.
func (s *Session) ServerLog() []string { return s.h.Log() }

// Secrets lists the folders that hold the model, the interpreter, and what else NewSession was told to hide.
func (s *Session) Secrets() []string { return s.secrets }

// Close ends the helper. Closing twice is allowed.
func (s *Session) Close() error { return s.h.Close() }
