package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/ndjson"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// protocol is Recording.Protocol of an /api/chat stream.
const protocol = "ollama-chat"

// Keys of Recording.Sent.
const (
	sentModel    = "model"   // the name that was sent
	sentContext  = "num_ctx" // the context that was asked for, tokens
	sentVersion  = "version" // of the server
	sentFormat   = "format"  // of the weights: gguf or safetensors
	sentReloaded = "reloaded"
)

// reply is a line of the stream. What a server leaves out, zeros among it, stays unset.
type reply struct {
	Model       string          `json:"model"`
	RemoteModel string          `json:"remote_model"`
	RemoteHost  string          `json:"remote_host"`
	Message     message         `json:"message"`
	Done        bool            `json:"done"`
	DoneReason  string          `json:"done_reason"`
	Error       json.RawMessage `json:"error"`
	metrics
}

// message is the part of an answer that a line brings.
type message struct {
	Content  string `json:"content"`
	Thinking string `json:"thinking"`
	Calls    []struct {
		Function struct {
			Name      string          `json:"name"`
			Arguments json.RawMessage `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
}

// metrics are the figures of the last line: tokens and nanoseconds.
type metrics struct {
	Total          num `json:"total_duration"`
	Load           num `json:"load_duration"`
	PromptCount    num `json:"prompt_eval_count"`
	PromptCached   num `json:"prompt_eval_cached_count"`
	PromptDuration num `json:"prompt_eval_duration"`
	EvalCount      num `json:"eval_count"`
	EvalDuration   num `json:"eval_duration"`
}

// num is a number that a server states. What is no whole number from 0 to 10^15 is not known.
type num struct {
	n  int64
	ok bool
}

// UnmarshalJSON never fails: a figure of the wrong type is one that is not known.
func (v *num) UnmarshalJSON(b []byte) error {
	*v = num{}
	f, err := strconv.ParseFloat(string(b), 64)
	if err == nil && f >= 0 && f <= 1e15 && f == math.Trunc(f) {
		*v = num{int64(f), true}
	}
	return nil
}

// reloadLimit is the load_duration from which a stream did not find its model loaded. With a loaded one Ollama states 1 to
// 100 ms, what it needs to look after its runner; starting a runner takes longer, with a real model by far.
const reloadLimit = 500 * time.Millisecond

// errReloaded means that loading the model was part of a stream.
var errReloaded = errors.New("the model was loaded inside the stream")

// errRepeats means that Ollama's guard against a model that repeats itself ended the stream.
var errRepeats = errors.New("ollama's guard against repetition ended the stream")

// Decode understands a recorded /api/chat stream. Errors: *drivers.APIError for what the server states, by status or inside
// the stream; drivers.ErrTruncated for a stream without its last line, with ErrReset where the connection was lost;
// ErrTimeout; context.Canceled; ErrProtocol; ErrModelNotFound where another model answered than the session's; ErrServer
// where the model was loaded inside the stream.
func Decode(rec stream.Recording) (stream.Transcript, error) {
	d := decoder{}
	if rec.Status >= 400 {
		return d.out, mapped(httpx.StatusError(rec.Status, rec.Data, rec.Header["retry-after"]))
	}
	if rec.Status >= 300 {
		return d.out, fmt.Errorf("%w: HTTP %d sends elsewhere; give the final URL", drivers.ErrProtocol, rec.Status)
	}
	err := d.read(&rec)
	d.finish(&rec)
	switch {
	case err != nil:
		return d.out, err
	case !d.done:
		return d.out, d.ended(&rec)
	}
	if was := rec.Sent[sentModel]; was != "" && d.out.Model != "" && !sameModel(was, d.out.Model) {
		return d.out, fmt.Errorf("%w: the server now answers with %q, not with %q", drivers.ErrModelNotFound, d.out.Model, was)
	}
	if load := d.last.Load; load.ok && time.Duration(load.n) >= reloadLimit {
		return d.out, fmt.Errorf("%w: %w (load_duration %s): another client asked for other settings, or the server was restarted; let nobody else use it meanwhile",
			drivers.ErrServer, errReloaded, time.Duration(load.n).Round(time.Millisecond))
	}
	return d.out, nil
}

// ended judges a body that stopped without its last line.
func (d *decoder) ended(rec *stream.Recording) error {
	switch {
	case rec.Outcome == stream.Deadline:
		return fmt.Errorf("%w: %s", drivers.ErrTimeout, rec.Fault)
	case rec.Outcome == stream.Canceled:
		return fmt.Errorf("%w: %s", context.Canceled, rec.Fault)
	case rec.Outcome != stream.Complete && rec.Status == 0:
		return fmt.Errorf("%w: no answer: %s", drivers.ErrReset, rec.Fault)
	case rec.Outcome != stream.Complete:
		return fmt.Errorf("%w: %w: %s", drivers.ErrReset, drivers.ErrTruncated, rec.Fault)
	case d.same >= repeats:
		return fmt.Errorf("%w: %w: the model said %.40q %d times in a row; try --opt %s=0.8", drivers.ErrTruncated, errRepeats, d.piece, d.same, optTemperature)
	}
	return fmt.Errorf("%w: no last line after %d bytes", drivers.ErrTruncated, len(rec.Data))
}

// repeats is how many equal pieces in a row a client sees at the least before Ollama ends a stream: of more than 30
// repetitions the last is not sent, and blank ones count from the first (llm/server.go, Completion).
const repeats = 30

// decoder gathers what the lines of one stream say.
type decoder struct {
	out   stream.Transcript
	last  reply
	done  bool
	piece string // text of the last line, without the blanks around it
	same  int    // lines in a row with that text
}

func (d *decoder) read(rec *stream.Recording) error {
	for l := range ndjson.Lines(rec) {
		var r reply
		if err := json.Unmarshal(l.Data, &r); err != nil {
			if l.Open && (rec.Outcome != stream.Complete || l.Data[0] == '{') {
				return nil // cut inside the line: ended says so
			}
			return fmt.Errorf("%w: line %.80q: %w", drivers.ErrProtocol, l.Data, err)
		}
		if len(r.Error) > 0 && string(r.Error) != "null" {
			m := httpx.ErrorText(l.Data)
			return mapped(&drivers.APIError{Kind: drivers.KindOfStatus(500, m), Status: rec.Status, Message: m})
		}
		if r.RemoteHost != "" || r.RemoteModel != "" {
			return fmt.Errorf("%w: the answer comes from a cloud model on %.80q", drivers.ErrUnsupported, r.RemoteHost)
		}
		if r.Model != "" {
			d.out.Model = r.Model
		}
		d.take(&r, l)
		if r.Done {
			d.done, d.last = true, r
			return nil
		}
	}
	return nil
}

// take adds the events of one line. How many tokens they hold is not stated: Ollama keeps tokens back whose bytes are no
// whole character yet, or that may become a tool call, and sends them with a later line, or never.
func (d *decoder) take(r *reply, l ndjson.Line) {
	add := func(kind stream.Kind, text string) {
		if text != "" {
			d.out.Events = append(d.out.Events, stream.Event{At: l.At, Read: l.Read, Kind: kind, Text: text, Tokens: stream.NotStated})
		}
	}
	add(stream.Reasoning, r.Message.Thinking)
	add(stream.Content, r.Message.Content)
	for _, c := range r.Message.Calls {
		arguments := string(c.Function.Arguments)
		if arguments == "null" {
			arguments = ""
		}
		add(stream.Tool, c.Function.Name+arguments)
	}
	if r.Done {
		return
	}
	piece := strings.TrimSpace(r.Message.Thinking + r.Message.Content)
	if piece != d.piece || d.same == 0 {
		d.piece, d.same = piece, 0
	}
	d.same++
}

// finish turns what the last line says into counts, timing and extras.
func (d *decoder) finish(rec *stream.Recording) {
	if !d.done {
		return
	}
	m := &d.last.metrics
	d.out.Finish = d.last.DoneReason
	release, _ := parseVersion(rec.Sent[sentVersion])
	prompt, cached := m.PromptCount.count(), m.PromptCached.count()
	switch {
	case prompt.Known() && cached.Known() && cached.N > prompt.N:
		d.out.Disagree = append(d.out.Disagree, fmt.Sprintf("%d prompt tokens, and %d of them cached", prompt.N, cached.N))
		cached = stream.Count{}
	case !cached.Known() && leavesCachedOut(release):
		prompt = stream.Count{} // it may be the uncached part alone, or the whole
	}
	d.out.Counts = stream.Counts{Prompt: prompt, Cached: cached, Output: m.EvalCount.count()}
	d.out.Server = m.server(d.out.Counts, release, rec.Sent[sentFormat])
	d.out.Truncated = d.truncated(rec)

	extra := map[string]json.RawMessage{}
	for key, v := range map[string]num{
		"total_duration": m.Total, "load_duration": m.Load, "prompt_eval_count": m.PromptCount, "prompt_eval_cached_count": m.PromptCached,
		"prompt_eval_duration": m.PromptDuration, "eval_count": m.EvalCount, "eval_duration": m.EvalDuration,
	} {
		if v.ok {
			extra[key] = json.RawMessage(strconv.FormatInt(v.n, 10))
		}
	}
	if rec.Sent[sentReloaded] != "" {
		extra[sentReloaded] = json.RawMessage("true")
	}
	d.out.Extra = drivers.Extra(extra)
}

// leavesCachedOut knows the releases of which it is not sure that prompt_eval_count is the whole prompt.
func leavesCachedOut(v version) bool { return !v.before(serverInside) && v.before(countsMended) }

// truncated reports whether the server cut the prompt, which versions do that do not know `truncate`, or the output, which
// has no more room once prompt and output fill the context.
func (d *decoder) truncated(rec *stream.Recording) bool {
	limit, err := strconv.Atoi(rec.Sent[sentContext])
	p, n := d.out.Counts.Prompt, d.out.Counts.Output
	if err != nil || limit <= 0 || !p.Known() {
		return false
	}
	if p.N >= limit {
		return true
	}
	return d.out.Finish == stream.FinishLength && n.Known() && p.N+n.N > limit
}

// count is a count that the server stated; an absent one, which Ollama also writes for 0, is unknown.
func (v num) count() stream.Count {
	if !v.ok || v.n > math.MaxInt32 {
		return stream.Count{}
	}
	return stream.Count{N: int(v.n), From: stream.TimingBlock}
}

// What ServerTiming holds, by the runner that the server uses.
const (
	definedByRunner = "ollama metrics: eval_duration runs from the first token to the last without the time of sampling, so decode = eval_count - 1 in eval_duration (eval_count holds the end of text too)"
	definedByServer = "ollama metrics (llama-server inside): eval_duration runs from the first token to the last, so decode = eval_count - 1 in eval_duration"
	definedPrefill  = "; prefill = prompt_eval_duration, spent on the prompt tokens that were not cached"
)

// server gives the timings by this project's rule. The tokens that prefill took are known only where the cached ones are: its
// time alone is no rate. What the runner for safetensors measures is defined otherwise again, and is left out.
func (m *metrics) server(c stream.Counts, release version, format string) stream.ServerTiming {
	var s stream.ServerTiming
	if format != "" && format != "gguf" {
		return s
	}
	if m.PromptDuration.ok && m.PromptDuration.n > 0 {
		s.Prefill = time.Duration(m.PromptDuration.n)
		if c.Prompt.Known() && c.Cached.Known() && c.Prompt.N > c.Cached.N {
			s.PromptTokens = stream.Count{N: c.Prompt.N - c.Cached.N, From: stream.TimingBlock}
		}
	}
	if m.EvalDuration.ok && m.EvalDuration.n > 0 && c.Output.Known() && c.Output.N > 1 {
		s.DecodeTokens, s.Decode = c.Output.N-1, time.Duration(m.EvalDuration.n)
	}
	switch {
	case s.Decode > 0 && !release.before(serverInside):
		s.Definition = definedByServer
	case s.Decode > 0:
		s.Definition = definedByRunner
	case s.Prefill > 0:
		s.Definition = "ollama metrics"
	}
	if s.Prefill > 0 {
		s.Definition += definedPrefill
	}
	return s
}

// mapped sharpens what the server says into a sentinel, where its words tell more than its status.
func mapped(err error) error {
	var e *drivers.APIError
	if !errors.As(err, &e) {
		return err
	}
	low := strings.ToLower(e.Message)
	switch {
	case memoryPattern.MatchString(low):
		return fmt.Errorf("%w: %w", errMemory, err)
	case strings.Contains(low, "runner has unexpectedly stopped"), strings.Contains(low, "runner process has terminated"), strings.Contains(low, "runner process no longer running"):
		return fmt.Errorf("%w: ollama's runner: %w", drivers.ErrServerDied, err)
	}
	return err
}

// began reports whether a recording, which may still go on, holds an event of the answer.
func began(rec stream.Recording) bool {
	t, _ := Decode(rec)
	return len(t.Events) > 0
}
