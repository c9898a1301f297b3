package anthropic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/sse"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// event is the data of one event of a stream, of any type. Source: Anthropic's API reference, "Streaming messages".
type event struct {
	Type    string `json:"type"`
	Message struct {
		Model string `json:"model"`
		Usage usage  `json:"usage"`
	} `json:"message"` // message_start
	Block struct {
		Type     string          `json:"type"`
		Name     json.RawMessage `json:"name"` // tool_use
		Text     json.RawMessage `json:"text"`
		Thinking json.RawMessage `json:"thinking"`
	} `json:"content_block"` // content_block_start
	Delta struct {
		Type        string          `json:"type"`
		Text        json.RawMessage `json:"text"`
		Thinking    json.RawMessage `json:"thinking"`
		PartialJSON json.RawMessage `json:"partial_json"`
		StopReason  json.RawMessage `json:"stop_reason"` // message_delta
	} `json:"delta"`
	Usage usage           `json:"usage"` // message_delta: cumulative
	Error json.RawMessage `json:"error"`
}

// usage is a block of counts; each may be absent.
type usage struct {
	Input         num             `json:"input_tokens"` // beside what the cache read and wrote
	CacheRead     num             `json:"cache_read_input_tokens"`
	CacheCreation num             `json:"cache_creation_input_tokens"`
	Output        num             `json:"output_tokens"`
	Tier          json.RawMessage `json:"service_tier"`
}

// merge takes the figures of a later block: they are running totals, never to be added.
func (u *usage) merge(v usage) {
	u.Input, u.CacheRead, u.CacheCreation, u.Output = v.Input.or(u.Input), v.CacheRead.or(u.CacheRead), v.CacheCreation.or(u.CacheCreation), v.Output.or(u.Output)
	if len(v.Tier) > 0 {
		u.Tier = v.Tier
	}
}

// num is a number of tokens that may be absent. Anything that is no whole number from 0 up is absent.
type num struct {
	n  int
	ok bool
}

// UnmarshalJSON never fails.
func (v *num) UnmarshalJSON(b []byte) error {
	*v = num{}
	if n, err := strconv.Atoi(string(b)); err == nil && n >= 0 && n < 1e12 {
		*v = num{n, true}
	}
	return nil
}

func (v num) or(w num) num {
	if v.ok {
		return v
	}
	return w
}

// Decode understands a stream of /v1/messages. With an error the transcript holds what came before it. Errors:
// *drivers.APIError for what the service states, by status or inside the stream; ErrTruncated for a stream without
// message_stop, ErrReset too where the connection was lost; ErrTimeout; context.Canceled; ErrProtocol; ErrModelNotFound where
// another model answered than the session's first.
func Decode(rec stream.Recording) (stream.Transcript, error) {
	switch {
	case rec.Status >= 400:
		return stream.Transcript{}, refused(rec)
	case rec.Status >= 300:
		return stream.Transcript{}, fmt.Errorf("%w: HTTP %d sends elsewhere; give the final URL", drivers.ErrProtocol, rec.Status)
	}
	d := decoder{}
	err := d.read(&rec)
	if err == nil && !d.done {
		err = d.ended(&rec)
	}
	t := d.transcript(rec.Header)
	if was := rec.Sent[sentModel]; err == nil && was != "" && t.Model != "" && t.Model != was {
		err = fmt.Errorf("%w: the service answered with model %q, the session began with %q", drivers.ErrModelNotFound, t.Model, was)
	}
	return t, err
}

// refused makes the error of an HTTP error answer. A prompt that does not fit has no type of its own, only words.
func refused(rec stream.Recording) error {
	err := httpx.StatusError(rec.Status, rec.Data, rec.Header["retry-after"])
	var api *drivers.APIError
	if errors.As(err, &api) && api.Status == 400 && (strings.Contains(api.Message, "prompt is too long") || strings.Contains(api.Message, "exceed context limit")) {
		api.Kind = drivers.ErrContextLength
	}
	return err
}

// Began reports whether a recording, which may still go on, holds an event that carries tokens.
func Began(rec stream.Recording) bool {
	t, _ := Decode(rec)
	return len(t.Events) > 0
}

// decoder gathers what the events of one stream say.
type decoder struct {
	events  []stream.Event
	usage   usage
	model   string
	stop    string
	final   bool // the counts of the end were seen: those of the start are none
	thought bool
	done    bool
	open    bool // the body ended inside a line
	spoke   bool // an event was understood
}

// read goes through the events until the end, an error, or the end of the body.
func (d *decoder) read(rec *stream.Recording) error {
	for ev := range sse.Events(rec) {
		d.open = d.open || ev.Open
		data := bytes.TrimSpace(ev.Data)
		if len(data) == 0 {
			continue
		}
		var e event
		err := json.Unmarshal(data, &e)
		var odd *json.UnmarshalTypeError
		switch {
		case ev.Stray:
			if err == nil && e.Type == "error" {
				return stated(e.Error, data, rec.Status)
			}
			continue
		case err != nil && !errors.As(err, &odd), data[0] != '{':
			if ev.Open || rec.Outcome != stream.Complete && !json.Valid(data) {
				continue // the end of the body cut it; ended says so
			}
			return fmt.Errorf("%w: event %q is not a JSON object: %s", drivers.ErrProtocol, ev.Name, excerpt(data))
		}
		kind := e.Type
		if kind == "" {
			kind = ev.Name
		}
		if kind == "error" || kind == "" && len(e.Error) > 0 && string(e.Error) != "null" {
			return stated(e.Error, data, rec.Status)
		}
		d.spoke = true
		if d.take(kind, &e, ev); d.done {
			return nil
		}
	}
	return nil
}

// take adds one event.
func (d *decoder) take(kind string, e *event, ev sse.Event) {
	add := func(k stream.Kind, text string) {
		if text != "" {
			d.events = append(d.events, stream.Event{At: ev.At, Read: ev.Read, Kind: k, Text: text, Tokens: stream.NotStated})
		}
	}
	switch kind {
	case "message_start":
		d.model = e.Message.Model
		d.usage.merge(e.Message.Usage)
	case "content_block_start":
		switch e.Block.Type {
		case "thinking", "redacted_thinking":
			d.thought = true
			add(stream.Reasoning, str(e.Block.Thinking))
		case "tool_use", "server_tool_use":
			add(stream.Tool, str(e.Block.Name))
		default:
			add(stream.Content, str(e.Block.Text))
		}
	case "content_block_delta":
		switch e.Delta.Type {
		case "thinking_delta":
			d.thought = true
			add(stream.Reasoning, str(e.Delta.Thinking))
		case "signature_delta": // of thinking, which may be shown in no other way
			d.thought = true
		case "input_json_delta":
			add(stream.Tool, str(e.Delta.PartialJSON))
		case "text_delta":
			add(stream.Content, str(e.Delta.Text))
		}
	case "message_delta":
		d.usage.merge(e.Usage)
		d.final = d.final || e.Usage.Output.ok
		if s := str(e.Delta.StopReason); s != "" {
			d.stop = s
		}
	case "message_stop":
		d.done = true
	}
}

// ended judges a body that stopped without message_stop.
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
	case len(bytes.TrimSpace(rec.Data)) == 0:
		return fmt.Errorf("%w: the answer (HTTP %d) has no body", drivers.ErrTruncated, rec.Status)
	case !d.spoke && !d.open:
		return fmt.Errorf("%w: want an event stream, got %s", drivers.ErrProtocol, excerpt(rec.Data))
	}
	return fmt.Errorf("%w: no message_stop after %d bytes", drivers.ErrTruncated, len(rec.Data))
}

// transcript puts together what was gathered.
func (d *decoder) transcript(header map[string]string) stream.Transcript {
	t := stream.Transcript{Events: d.events, Model: d.model, Finish: finish(d.stop), Truncated: d.stop == "model_context_window_exceeded"}
	u := &d.usage
	if u.Input.ok {
		// The three are parts of the prompt. A service, or gateway, that states no cache counts has read nothing from one as
		// far as the sum goes, but does not say so.
		t.Counts.Prompt = stream.Count{N: u.Input.n + u.CacheRead.n + u.CacheCreation.n, From: stream.Usage}
	}
	if u.CacheRead.ok {
		t.Counts.Cached = stream.Count{N: u.CacheRead.n, From: stream.Usage}
	}
	if d.final {
		t.Counts.Output = stream.Count{N: u.Output.n, From: stream.Usage}
	}
	t.Counts.Hidden = d.thought
	extra := map[string]json.RawMessage{}
	put := func(name string, v any) {
		if b, err := json.Marshal(v); err == nil {
			extra[name] = b
		}
	}
	counts := map[string]int{}
	for name, v := range map[string]num{"input_tokens": u.Input, "cache_read_input_tokens": u.CacheRead, "cache_creation_input_tokens": u.CacheCreation, "output_tokens": u.Output} {
		if v.ok {
			counts[name] = v.n
		}
	}
	if len(counts) > 0 {
		put("usage", counts)
	}
	if tier := str(u.Tier); tier != "" {
		put("service_tier", tier)
	}
	if d.stop != "" {
		put("stop_reason", d.stop)
	}
	if id := header["request-id"]; id != "" {
		put("request-id", id)
	}
	t.Extra = drivers.Extra(extra)
	return t
}

// finish puts a stop reason into the common vocabulary; words that it does not know stay.
func finish(reason string) string {
	switch reason {
	case "max_tokens":
		return stream.FinishLength
	case "end_turn", "stop_sequence":
		return stream.FinishStop
	case "tool_use":
		return stream.FinishTool
	}
	return reason
}

// statusOf gives the HTTP status that an error type stands for inside a stream.
func statusOf(kind string) int {
	switch kind {
	case "overloaded_error":
		return 529
	case "rate_limit_error":
		return 429
	case "authentication_error", "permission_error", "billing_error":
		return 401
	case "not_found_error":
		return 404
	case "request_too_large":
		return 413
	case "invalid_request_error":
		return 400
	case "timeout_error":
		return 504
	}
	return 500
}

// stated makes the error that an event states.
func stated(raw json.RawMessage, data []byte, status int) error {
	var e struct {
		Type json.RawMessage `json:"type"`
	}
	_ = json.Unmarshal(raw, &e) // an error of another form is a server error
	kind := str(e.Type)
	m := httpx.ErrorText(data)
	return &drivers.APIError{Kind: drivers.KindOfStatus(statusOf(kind), m), Status: status, Message: m}
}

// str gives a JSON string's text; "" for everything else.
func str(raw json.RawMessage) string {
	if len(raw) < 3 || raw[0] != '"' {
		return ""
	}
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

// excerpt quotes the start of what was not understood.
func excerpt(b []byte) string {
	const most = 80
	if len(b) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(string(b[:most]), ""))
	}
	return fmt.Sprintf("%q", b)
}
