package pyhelper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// RecordingProtocol is Recording.Protocol of a helper's stream.
const RecordingProtocol = "llm-speed-helper-1"

// Keys of Recording.Sent.
const (
	sentOffset     = "clock_offset_ns" // run's clock = helper's + this
	sentBound      = "clock_bound_ns"
	sentRendering  = "rendering" // "template" or "plain"
	sentThinking   = "thinking"  // "open", "maybe" or "none"
	sentThinkStart = "think_start"
	sentThinkEnd   = "think_end"
	sentDefinition = "definition" // Server.Definition
)

// How long a helper may take to render and encode a prompt, and to come back from a stream that was given up.
const (
	prepareTime = 2 * time.Minute
	drainTime   = time.Minute // a prefill is given up only between two of its chunks
)

// generation is what prepare is told.
type generation struct {
	conversation
	Tokens int    `json:"tokens"`
	Reuse  bool   `json:"reuse"`
	Slot   int    `json:"slot"`
	Seed   uint64 `json:"seed"`
}

// conversation is a prompt as a chat template wants it: arguments are objects, content is never null.
type conversation struct {
	Messages  []chatMessage `json:"messages"`
	Tools     []openai.Tool `json:"tools,omitempty"`
	Reasoning string        `json:"reasoning,omitempty"`
}

type chatMessage struct {
	Role       string     `json:"role"`
	Content    string     `json:"content"`
	ToolCalls  []toolCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
	Name       string     `json:"name,omitempty"`
}

type toolCall struct {
	ID       string   `json:"id"`
	Type     string   `json:"type"`
	Function function `json:"function"`
}

type function struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

// converse puts a prompt into the form of Hugging Face's chat templates.
func converse(p drivers.Prompt, reasoning string) (conversation, error) {
	c := conversation{Messages: make([]chatMessage, 0, len(p.Messages)), Reasoning: reasoning}
	for _, m := range p.Messages {
		w := chatMessage{Role: m.Role, Content: m.Content, ToolCallID: m.ToolCallID, Name: m.Name}
		for _, t := range m.ToolCalls {
			args := t.Arguments
			if len(args) == 0 {
				args = json.RawMessage("{}")
			}
			w.ToolCalls = append(w.ToolCalls, toolCall{t.ID, "function", function{t.Name, args}})
		}
		c.Messages = append(c.Messages, w)
	}
	if len(p.Tools) > 0 {
		var err error
		if c.Tools, err = openai.Tools(p); err != nil {
			return c, err
		}
	}
	return c, nil
}

// prepared is what the helper says about a prompt that it has rendered.
type prepared struct {
	IDs        []int32 `json:"ids"` // of tokenize only
	Prompt     int     `json:"prompt"`
	Rendering  string  `json:"rendering"`
	Why        string  `json:"why"`
	Thinking   string  `json:"thinking"`
	ThinkStart string  `json:"think_start"`
	ThinkEnd   string  `json:"think_end"`
}

// Tokenize gives the ids that Stream would generate from.
func (h *Helper) Tokenize(ctx context.Context, p drivers.Prompt) ([]int32, error) {
	c, err := converse(p, "")
	if err != nil {
		return nil, err
	}
	var got prepared
	if err := h.Call(ctx, "tokenize", c, &got, prepareTime); err != nil {
		return nil, fmt.Errorf("tokenize: %w", err)
	}
	if len(got.IDs) == 0 {
		return nil, fmt.Errorf("tokenize: %w: no tokens in the answer", drivers.ErrProtocol)
	}
	return got.IDs, nil
}

// Stream runs one generation. The prompt is rendered, encoded and in the backend's memory before r.Hold; what is sent then is
// one short line. The recording holds the helper's lines, each under the stamp of our read of the pipe, and, in Sent, what
// turns the helper's own stamps into the run's. definition goes to ServerTiming.Definition.
func (h *Helper) Stream(ctx context.Context, r drivers.Request, definition string) (stream.Recording, error) {
	rec := stream.Recording{Protocol: RecordingProtocol, Outcome: stream.Cut, Sent: map[string]string{
		sentOffset: strconv.FormatInt(int64(h.offset.Add), 10), sentBound: strconv.FormatInt(int64(h.offset.Bound), 10), sentDefinition: definition,
	}}
	fail := func(err error) (stream.Recording, error) {
		rec.End = h.clock.Now()
		switch {
		case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
			rec.Outcome, err = stream.Deadline, fmt.Errorf("%w: %w", drivers.ErrTimeout, context.Cause(ctx))
		case ctx.Err() != nil:
			rec.Outcome = stream.Canceled
			if err = context.Cause(ctx); !errors.Is(err, context.Canceled) {
				err = fmt.Errorf("%w: %w", context.Canceled, err)
			}
		case errors.Is(err, drivers.ErrTimeout):
			rec.Outcome = stream.Deadline
		}
		rec.Fault = err.Error()
		return rec, err
	}
	if err := h.drain(ctx); err != nil {
		return fail(err)
	}
	id := h.number()
	ready, err := h.prepare(ctx, id, r)
	if err != nil {
		h.cancel(id)
		return fail(err)
	}
	maps.Copy(rec.Sent, ready.sent())
	rec.PromptIDs = ready.Prompt
	rec.Conn = stream.Conn{Reused: true, Proto: "pipe"}
	line := fmt.Appendf(nil, `{"op":"go","id":%d}`+"\n", id)
	rec.Request = len(line)
	f := &inflight{data: make([]byte, 0, 64<<10), reads: make([]stream.Read, 0, 1024), tap: r.Tap, done: make(chan struct{})}
	h.mu.Lock()
	h.streams[id] = f
	h.mu.Unlock()
	if r.Hold != nil {
		if rec.Sched, err = r.Hold(ctx); err != nil {
			h.mu.Lock()
			delete(h.streams, id)
			h.mu.Unlock()
			h.cancel(id)
			return fail(err)
		}
	}
	rec.Send, err = h.write(line)
	if rec.Sched == 0 {
		rec.Sched = rec.Send
	}
	if err == nil {
		err = h.await(ctx, f, rec.Send, r)
	}
	h.keep(f, &rec)
	if err != nil {
		h.cancel(id)
		return fail(err)
	}
	rec.End, rec.Outcome = h.clock.Now(), stream.Complete
	return rec, nil
}

func (h *Helper) prepare(ctx context.Context, id int64, r drivers.Request) (prepared, error) {
	c, err := converse(r.Prompt, r.Reasoning)
	if err != nil {
		return prepared{}, err
	}
	m, err := h.call(ctx, id, "prepare", generation{c, r.OutputTokens, r.Reuse, r.Slot, r.Seed}, prepareTime)
	if err != nil {
		return prepared{}, err
	}
	var p prepared
	if err := json.Unmarshal(m.OK, &p); err != nil || p.Prompt <= 0 {
		return p, fmt.Errorf("%w: the helper's answer to prepare: %s", drivers.ErrProtocol, excerpt(m.OK))
	}
	return p, nil
}

// sent are the facts of a prompt that decoding needs.
func (p *prepared) sent() map[string]string {
	m := map[string]string{}
	for k, v := range map[string]string{sentRendering: p.Rendering, sentThinking: p.Thinking, sentThinkStart: p.ThinkStart, sentThinkEnd: p.ThinkEnd} {
		if v != "" {
			m[k] = v
		}
	}
	return m
}

// keep moves what has come of a stream into its recording; what comes later is dropped.
func (h *Helper) keep(f *inflight, rec *stream.Recording) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rec.Data, rec.Reads, rec.ReadLag = f.data, f.reads, f.lag
	if len(f.reads) > 0 {
		rec.FirstByte = f.reads[0].At
	}
	f.left = true
}

// cancel tells the helper that nobody waits for a stream any more.
func (h *Helper) cancel(id int64) {
	if h.Alive() == nil {
		go func() { // a blocked helper must not hold the caller up
			_, _ = h.write(fmt.Appendf(nil, `{"op":"cancel","id":%d}`+"\n", id))
		}()
	}
}

// drain waits until the streams that were given up have ended in the helper too: they would delay the next one.
func (h *Helper) drain(ctx context.Context) error {
	late := time.NewTimer(drainTime)
	defer late.Stop()
	for {
		if err := h.Alive(); err != nil {
			return err
		}
		h.mu.Lock()
		freed, left := h.freed, 0
		for _, f := range h.streams {
			if f.left {
				left++
			}
		}
		h.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-freed:
		case <-h.gone:
			return h.why
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			err := fmt.Errorf("%w: the Python helper for %s is blocked: it did not give up a cancelled stream within %s; it was ended; its log: %s",
				drivers.ErrTimeout, h.backend, drainTime, lastLines(h.proc.Tail(), 2))
			h.end(err)
			return err
		}
	}
}

// await waits for the last line of a stream. Deadlines are looked at when a timer fires, not at every read.
func (h *Helper) await(ctx context.Context, f *inflight, send time.Duration, r drivers.Request) error {
	var timer *time.Timer
	var fired <-chan time.Time
	if d := first(r.FirstByteWithin, r.IdleWithin); d > 0 {
		timer = time.NewTimer(d)
		defer timer.Stop()
		fired = timer.C
	}
	for {
		select {
		case <-f.done:
			return nil
		case <-h.gone:
			select {
			case <-f.done:
				return nil
			default:
			}
			return h.why
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-fired:
			left, err := h.left(f, send, r)
			if err != nil {
				return err
			}
			if left > 0 {
				timer.Reset(left)
			}
		}
	}
}

// first is the smaller of two limits of which 0 is none.
func first(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// left is how long a stream may still go on without news; 0 is for ever. The limits are those of drivers.Request.
func (h *Helper) left(f *inflight, send time.Duration, r drivers.Request) (time.Duration, error) {
	h.mu.Lock()
	text, at := f.text, max(f.at, send)
	h.mu.Unlock()
	now := h.clock.Now()
	idle := at + r.IdleWithin - now
	switch {
	case text && r.IdleWithin == 0:
		return 0, nil
	case text && idle <= 0:
		return 0, fmt.Errorf("%w: silence inside the stream within %s", drivers.ErrTimeout, r.IdleWithin.Round(time.Millisecond))
	case text:
		return idle, nil
	case r.FirstByteWithin == 0 && r.IdleWithin > 0:
		return r.IdleWithin, nil // before the first token only its own limit counts
	case r.FirstByteWithin == 0:
		return 0, nil
	}
	if wait := send + r.FirstByteWithin - now; wait > 0 {
		return wait, nil
	}
	return 0, fmt.Errorf("%w: no token within %s", drivers.ErrTimeout, r.FirstByteWithin.Round(time.Millisecond))
}
