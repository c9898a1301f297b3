// Package openai speaks the wire format of OpenAI-like servers: it encodes requests for /v1/chat/completions and
// /v1/completions and decodes their streams.
//
// It is pure. It opens no connection and reads no clock, and it never guesses: a count that a server does not state is
// unknown.
package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/sse"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Values of Recording.Protocol. Decode understands both.
const (
	ProtocolChat        = "openai-chat"
	ProtocolCompletions = "openai-completions"
)

// Decode understands a stream of /v1/chat/completions or /v1/completions. With an error the transcript holds what came
// before it. Errors: *drivers.APIError for what the server states, by status or inside the stream; ErrTruncated for a stream
// without its end mark, ErrReset too where the connection was lost; ErrTimeout; context.Canceled; ErrProtocol.
func Decode(rec stream.Recording) (stream.Transcript, error) {
	d := decoder{extra: map[string]json.RawMessage{}}
	if rec.Status >= 400 {
		return stream.Transcript{}, httpx.StatusError(rec.Status, rec.Data, rec.Header["retry-after"])
	}
	if rec.Status >= 300 {
		return stream.Transcript{}, fmt.Errorf("%w: HTTP %d sends elsewhere; give the final URL", drivers.ErrProtocol, rec.Status)
	}
	if e := rec.Header["content-encoding"]; e != "" && e != "identity" {
		return stream.Transcript{}, fmt.Errorf("%w: the body is encoded as %q although identity was asked; a proxy in between may hold events back", drivers.ErrProtocol, e)
	}
	if err := plainJSON(&rec); err != nil {
		return stream.Transcript{}, err
	}
	err := d.read(&rec)
	if err == nil && !d.done {
		err = d.ended(&rec)
	}
	return d.transcript(), err
}

// ended judges a body that stopped without [DONE].
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
	case d.finished && !d.open:
		return nil // some servers close without [DONE]; the finish reason and a whole body say as much
	case len(bytes.TrimSpace(rec.Data)) == 0:
		return fmt.Errorf("%w: the answer (HTTP %d) has no body", drivers.ErrTruncated, rec.Status)
	case d.strays > 0 && !d.spoke:
		return fmt.Errorf("%w: want an event stream, got %s", drivers.ErrProtocol, excerpt(rec.Data))
	}
	return fmt.Errorf("%w: neither [DONE] nor a finish reason after %d bytes", drivers.ErrTruncated, len(rec.Data))
}

// plainJSON finds an answer that is one JSON value instead of a stream: an error, or a server that does not stream.
func plainJSON(rec *stream.Recording) error {
	body := bytes.TrimSpace(rec.Data)
	isJSON := strings.HasPrefix(rec.Header["content-type"], "application/json")
	if len(body) == 0 || (body[0] != '{' && (!isJSON || !json.Valid(body))) {
		return nil // some servers call an event stream JSON
	}
	var c chunk
	if unmarshal(body, &c) == nil {
		if err := c.stated(rec.Status); err != nil {
			return err
		}
		if len(c.Choices) > 0 {
			return fmt.Errorf("%w: the server answered in one piece instead of streaming; a server that ignores \"stream\": true can't be measured", drivers.ErrProtocol)
		}
	}
	if rec.Outcome != stream.Complete {
		return nil // ended says why
	}
	return fmt.Errorf("%w: want an event stream, got %s", drivers.ErrProtocol, excerpt(body))
}

// stated gives the error that a chunk states, in any of its forms; nil where it states none.
func (c *chunk) stated(status int) error {
	raw := c.Error
	if !isSet(raw) && c.Object == "error" {
		raw, _ = json.Marshal(map[string]json.RawMessage{"message": orNull(c.Message), "code": orNull(c.Code)})
	}
	switch strings.TrimSpace(string(raw)) {
	case "", "null", "false", `""`, "{}", "[]":
		return nil
	}
	return apiError(raw, status)
}

func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}

// apiError makes the error of an error value: an object, a string, or anything else.
func apiError(raw []byte, status int) error {
	var e struct {
		Code   num             `json:"code"`
		Status num             `json:"status"`
		Type   json.RawMessage `json:"type"`
	}
	code := 500
	if unmarshal(raw, &e) == nil {
		if c := e.Code.or(e.Status); c.ok && c.n >= 400 && c.n < 600 {
			code = c.n
		} else {
			code = codeOf(str(e.Type))
		}
	}
	m := httpx.ErrorText(append(append([]byte(`{"error":`), raw...), '}'))
	return &drivers.APIError{Kind: drivers.KindOfStatus(code, m+" "+string(raw[:min(len(raw), 500)])), Status: status, Message: m}
}

// codeOf gives the HTTP status that an error type stands for; 500 where it says nothing.
func codeOf(kind string) int {
	switch {
	case strings.Contains(kind, "rate_limit"):
		return 429
	case strings.Contains(kind, "overloaded"), strings.Contains(kind, "unavailable"):
		return 503
	case strings.Contains(kind, "authentication"), strings.Contains(kind, "permission"):
		return 401
	case strings.Contains(kind, "not_found"):
		return 404
	case strings.Contains(kind, "invalid_request"):
		return 400
	}
	return 500
}

// excerpt quotes the start of what was not understood.
func excerpt(b []byte) string {
	const most = 80
	if len(b) > most {
		return fmt.Sprintf("%q…", b[:most])
	}
	return fmt.Sprintf("%q", b)
}

// decoder gathers what the chunks of one stream say.
type decoder struct {
	steps    []step
	usage    usage
	timings  timings
	finished bool // a finish reason was seen
	done     bool // the end mark was seen
	open     bool // the body ended inside a line
	thought  bool // reasoning text was seen
	spoke    bool // an event was seen
	strays   int  // whole lines that are no part of an event stream
	out      stream.Transcript
	extra    map[string]json.RawMessage
}

// read goes through the events until the end mark, an error, or the end of the body.
func (d *decoder) read(rec *stream.Recording) error {
	for ev := range sse.Events(rec) {
		d.open = d.open || ev.Open
		data := bytes.TrimSpace(ev.Data)
		if ev.Stray {
			if err := stray(data, ev.Open, rec.Status); err != nil {
				return err
			}
			if !ev.Open {
				d.strays++
			}
			continue
		}
		d.spoke = true
		if len(data) == 0 {
			continue
		}
		if string(data) == "[DONE]" {
			d.done = true
			return nil
		}
		if ev.Name == "error" && !ev.Open {
			if data[0] != '{' {
				return &drivers.APIError{Kind: drivers.KindOfStatus(500, string(data)), Status: rec.Status, Message: httpx.ErrorText(data)}
			}
			var c chunk
			if unmarshal(data, &c) == nil {
				if err := c.stated(rec.Status); err != nil {
					return err
				}
			}
			return apiError(data, rec.Status)
		}
		if string(data) == "null" {
			continue
		}
		var c chunk
		if err := unmarshal(data, &c); err != nil || data[0] != '{' {
			if ev.Open || rec.Outcome != stream.Complete && !json.Valid(data) {
				continue // the end of the body cut it; ended says so
			}
			return fmt.Errorf("%w: event is not a JSON object: %s", drivers.ErrProtocol, excerpt(data))
		}
		if err := c.stated(rec.Status); err != nil {
			return err
		}
		if err := d.take(&c, ev, rec.Status); err != nil {
			return err
		}
	}
	return nil
}

// stray judges a line that is no part of an event stream. Old llama.cpp states errors so; the rest is ignored, as the
// standard asks.
func stray(line []byte, open bool, status int) error {
	if open {
		return nil
	}
	if rest, ok := bytes.CutPrefix(line, []byte("error:")); ok {
		rest = bytes.TrimSpace(rest)
		if json.Valid(rest) {
			return apiError(rest, status)
		}
		return &drivers.APIError{Kind: drivers.KindOfStatus(500, string(rest)), Status: status, Message: httpx.ErrorText(rest)}
	}
	var c chunk
	if len(line) > 0 && line[0] == '{' && unmarshal(line, &c) == nil {
		return c.stated(status)
	}
	return nil
}

// take adds one chunk.
func (d *decoder) take(c *chunk, ev sse.Event, status int) error {
	if c.Model != "" {
		d.out.Model = c.Model
	}
	d.out.Truncated = d.out.Truncated || c.Truncated
	d.keepExtras(c)
	cum := num{}
	if c.Usage != nil {
		d.usage.merge(c.Usage)
		cum = c.Usage.CompletionTokens
	}
	if c.Timings != nil {
		d.timings = *c.Timings
		cum = cum.or(c.Timings.PredictedN)
	}
	if isSet(c.PromptProgress) {
		return nil
	}
	for i := range c.Choices {
		ch := &c.Choices[i]
		if ch.Index.ok && ch.Index.n != 0 {
			continue
		}
		s := step{at: ev.At, read: ev.Read, cum: cum, ids: ids(ch.TokenIDs, ch.Tokens, c.TokenIDs, c.Tokens)}
		content, thinking := parts(ch.Delta.Content)
		s.reasoning = ch.Delta.reasoning()
		if s.reasoning == "" {
			s.reasoning = thinking
		}
		if content == "" {
			content = str(ch.Text)
		}
		if content == "" {
			content = str(ch.Delta.Refusal)
		}
		s.content, s.tool = content, ch.Delta.tool()
		d.thought = d.thought || s.reasoning != ""
		if s.bearsText() || s.ids > 0 || cum.ok {
			d.steps = append(d.steps, s)
		}
		if f := finish(ch.FinishReason); f != "" {
			d.out.Finish, d.finished = f, true
			if f == "error" || f == "abort" {
				return &drivers.APIError{Kind: drivers.ErrServer, Status: status, Message: "the server gave the generation up (finish_reason " + f + ")"}
			}
		}
		break // a second choice of the same index would be counted twice
	}
	return nil
}

// Began reports whether a recording, which may still go on, holds an event that carries tokens.
func Began(rec stream.Recording) bool {
	t, _ := Decode(rec)
	return len(t.Events) > 0
}
