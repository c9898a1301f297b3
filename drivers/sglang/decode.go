package sglang

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/sse"
	"github.com/llm-speed/llm-speed/drivers/internal/thinking"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// protocol is Recording.Protocol of a native /generate stream.
const protocol = "sglang-generate"

// Keys of Recording.Sent.
const (
	sentModel    = "model"    // the name under which the session asks for its model, as it may be shown
	sentWeights  = "weights"  // weight_version that the session began with
	sentText     = "text"     // how the server's events hold their text: textWhole or textDelta
	sentThinking = "thinking" // thinkingOpen where the prompt ends inside a thinking block

	thinkingOpen = "open"
)

// Decode understands a recorded stream of /generate or of the chat route. Errors: *drivers.APIError for what the server
// states, by status, inside the stream, or as an abort; drivers.ErrTruncated for a stream without its end, with ErrReset
// where the connection was lost; ErrTimeout; context.Canceled; ErrProtocol; ErrModelNotFound where other weights answered
// than those that the session began with.
func Decode(rec stream.Recording) (stream.Transcript, error) {
	if rec.Protocol != protocol {
		return decodeChat(rec)
	}
	var d decoder
	if rec.Status >= 400 {
		return d.out, httpx.StatusError(rec.Status, rec.Data, rec.Header["retry-after"])
	}
	if rec.Status >= 300 {
		return d.out, fmt.Errorf("%w: HTTP %d sends elsewhere; give the final URL", drivers.ErrProtocol, rec.Status)
	}
	if e := rec.Header["content-encoding"]; e != "" && e != "identity" {
		return d.out, fmt.Errorf("%w: the body is encoded as %q although identity was asked; a proxy in between may hold events back", drivers.ErrProtocol, e)
	}
	err := d.read(&rec)
	d.finish(&rec)
	switch {
	case err != nil:
		return d.out, err
	case !d.done && (d.out.Finish == "" || d.open || rec.Outcome != stream.Complete):
		return d.out, d.ended(&rec)
	case !d.spoke:
		return d.out, fmt.Errorf("%w: the stream ends without any event: %s", drivers.ErrProtocol, excerpt(rec.Data))
	}
	if was := rec.Sent[sentWeights]; was != "" && d.weights != "" && d.weights != was {
		return d.out, fmt.Errorf("%w: the server now answers with weights of version %q, the session began with %q", drivers.ErrModelNotFound, d.weights, was)
	}
	return d.out, nil
}

// piece is an event of the stream. output_ids is left alone: in some versions it is cumulative where the text is not, and
// the other way round.
type piece struct {
	Text  json.RawMessage `json:"text"`
	Index json.RawMessage `json:"index"`
	Meta  loose.Object    `json:"meta_info"`
	Error json.RawMessage `json:"error"`
}

// step is an event that was understood.
type step struct {
	at      time.Duration
	read    int
	text    string
	total   int // output tokens so far
	counted bool
}

// decoder gathers what the events of one stream say.
type decoder struct {
	out     stream.Transcript
	steps   []step
	meta    loose.Object // of the last event that had one
	weights string
	spoke   bool // an event was seen
	done    bool // the end mark was seen
	open    bool // the body ended inside a line
	stray   bool // a line that is no part of an event stream was seen
}

func (d *decoder) read(rec *stream.Recording) error {
	for ev := range sse.Events(rec) {
		d.open = d.open || ev.Open
		data := bytes.TrimSpace(ev.Data)
		switch {
		case ev.Stray && !ev.Open:
			d.stray = true
			if len(data) > 0 && data[0] == '{' && json.Valid(data) {
				if err := stated(data, rec.Status); err != nil {
					return err
				}
			}
			continue
		case ev.Stray, len(data) == 0, string(data) == "null":
			continue
		case string(data) == "[DONE]":
			d.done = true
			return nil
		}
		var p piece
		if data[0] != '{' || !json.Valid(data) {
			if ev.Open || rec.Outcome != stream.Complete && !json.Valid(data) {
				continue // the end of the body cut it; ended says so
			}
			return fmt.Errorf("%w: event is not a JSON object: %s", drivers.ErrProtocol, excerpt(data))
		}
		_ = json.Unmarshal(data, &p) // fields of other types count as absent
		if err := stated(data, rec.Status); err != nil {
			return err
		}
		if err := d.take(&p, ev, rec.Status); err != nil {
			return err
		}
	}
	return nil
}

// stated is the error that an event states; nil where it states none.
func stated(body []byte, status int) error {
	var o loose.Object
	_ = o.UnmarshalJSON(body)
	flat := strings.EqualFold(o.Text("object"), "error")
	switch strings.TrimSpace(string(o["error"])) {
	case "", "null", "false", `""`, "{}", "[]":
		if !flat {
			return nil
		}
	}
	code, ok := o.Object("error").Int("code", "status_code")
	if !ok {
		code, ok = o.Int("code", "status_code")
	}
	if !ok || code < 400 || code > 599 {
		code = 500
	}
	m := httpx.ErrorText(body)
	return &drivers.APIError{Kind: drivers.KindOfStatus(code, m), Status: status, Message: m}
}

// take adds one event.
func (d *decoder) take(p *piece, ev sse.Event, status int) error {
	if n, ok := loose.Int(p.Index); ok && n > 0 {
		return nil // of another prompt of a batch, which is never asked for
	}
	d.spoke = true
	s := step{at: ev.At, read: ev.Read, text: loose.Text(p.Text)}
	if len(p.Meta) > 0 {
		d.meta = p.Meta
		if w := p.Meta.Text("weight_version"); w != "" {
			d.weights = w
		}
		s.total, s.counted = p.Meta.Int("completion_tokens")
	}
	d.steps = append(d.steps, s)
	return d.reason(p.Meta, status)
}

// reason takes the finish reason: an object with a type, in old versions a word. An abort is an error.
func (d *decoder) reason(meta loose.Object, status int) error {
	if !meta.Has("finish_reason") {
		return nil
	}
	why := meta.Object("finish_reason")
	word := why.Text("type")
	if word == "" {
		word = meta.Text("finish_reason")
	}
	if word == "" {
		return nil
	}
	d.out.Finish = openai.FinishReason(word)
	if word != "abort" && word != "error" {
		return nil
	}
	m := why.Text("message")
	code, ok := why.Int("status_code")
	if !ok || code < 400 || code > 599 {
		code = 500
	}
	err := &drivers.APIError{Kind: drivers.KindOfStatus(code, m), Status: status, Message: httpx.ErrorText([]byte(m))}
	if m == "" {
		err.Message = "the server gave the generation up (finish_reason " + word + ")"
	}
	return err
}

// finish turns the steps into events, and the last meta_info into counts.
func (d *decoder) finish(rec *stream.Recording) {
	texts := make([]string, len(d.steps))
	for i := range d.steps {
		texts[i] = d.steps[i].text
	}
	if shape(texts, rec.Sent[sentText]) == textWhole {
		var rewritten bool
		if texts, rewritten = deltas(texts, d.done || d.out.Finish != ""); rewritten {
			d.out.Disagree = append(d.out.Disagree, "an event's whole text changed what an earlier one had said")
		}
	}
	tokens := d.tokens(texts)
	for i, s := range d.steps {
		e := stream.Event{At: s.at, Read: s.read, Kind: stream.Silent, Text: texts[i], Tokens: tokens[i]}
		if e.Text != "" {
			e.Kind = stream.Content
		}
		if e.Text != "" || e.Tokens > 0 {
			d.out.Events = append(d.out.Events, e)
		}
	}
	c := &d.out.Counts
	c.Prompt, c.Cached, c.Output = d.count("prompt_tokens"), d.count("cached_tokens"), d.count("completion_tokens")
	if n, ok := thinking.Mark(d.out.Events, rec.Sent[sentThinking] == thinkingOpen); ok {
		c.Reasoning = stream.Count{N: n, From: stream.Usage} // from the running counts of the thinking's events
	}
	d.out.Truncated = rec.PromptIDs > 0 && c.Prompt.Known() && c.Prompt.N < rec.PromptIDs // --allow-auto-truncate says nothing
	d.out.Model = rec.Sent[sentModel]
	d.out.Server.Queue = d.queue()
	// Renamed in 2026: scheduler retractions of this request, for want of cache memory (basic_usage/native_api.md of its documentation shows both).
	if n, ok := d.meta.Int("num_retractions", "total_retractions"); ok && n > 0 {
		d.out.PutBack = n
	}
	d.out.Extra = d.extra()
}

// tokens gives the tokens of each step by the running count; NotStated for all where an event with text lacks it, or where
// it ran backwards.
func (d *decoder) tokens(texts []string) []int {
	n := make([]int, len(d.steps))
	last, sound, fell := 0, true, false
	for i, s := range d.steps {
		switch {
		case !s.counted:
			sound = sound && texts[i] == ""
		case s.total < last:
			if !fell { // once is enough: what comes after it counts on from there
				d.out.Disagree = append(d.out.Disagree, fmt.Sprintf("completion_tokens ran backwards: %d after %d", s.total, last))
			}
			sound, fell = false, true
		default:
			n[i], last = s.total-last, s.total
		}
	}
	if !sound || last == 0 {
		for i := range n {
			n[i] = stream.NotStated
		}
	}
	return n
}

// count is a count of the last meta_info.
func (d *decoder) count(key string) stream.Count {
	n, ok := d.meta.Int(key)
	if !ok {
		return stream.Count{}
	}
	return stream.Count{N: n, From: stream.Usage}
}

// queue is how long the request waited before it was first scheduled; 0 where the server does not say, which needs
// --enable-metrics.
func (d *decoder) queue() time.Duration {
	const most = 1e6 // seconds
	s, ok := d.meta.Number("queue_time")
	if !ok || s <= 0 || s > most {
		return 0
	}
	return time.Duration(math.Round(s * float64(time.Second)))
}

// extra keeps the figures of the last meta_info: durations and counts of the server's own, raw. Lists are left out.
func (d *decoder) extra() json.RawMessage {
	kept := map[string]json.RawMessage{}
	for k, v := range d.meta {
		if k == "id" || len(v) > longestSetting {
			continue
		}
		if _, isNumber := loose.Number(v); isNumber || k == "finish_reason" || k == "cached_tokens_details" || k == "weight_version" {
			kept[k] = v
		}
	}
	if len(kept) == 0 {
		return nil
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return nil
	}
	return drivers.Extra(map[string]json.RawMessage{"meta_info": b})
}

// ended judges a body that stopped without its end.
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
	case !d.spoke && d.stray:
		return fmt.Errorf("%w: want an event stream, got %s", drivers.ErrProtocol, excerpt(rec.Data))
	}
	return fmt.Errorf("%w: neither [DONE] nor a finish reason after %d bytes", drivers.ErrTruncated, len(rec.Data))
}

// excerpt quotes the start of what was not understood.
func excerpt(b []byte) string {
	const most = 80
	if len(b) > most {
		return fmt.Sprintf("%q…", b[:most])
	}
	return fmt.Sprintf("%q", b)
}

// decodeChat understands a stream of the chat route. Its usage tells cached tokens only where the server was started with
// --enable-cache-report, and leaves a 0 out; sglext.cached_tokens_details, which is asked for, always tells them.
func decodeChat(rec stream.Recording) (stream.Transcript, error) {
	t, err := openai.Decode(rec)
	t.Model = paths.Shown(t.Model)
	if !t.Counts.Cached.Known() {
		t.Counts.Cached = cachedDetails(t.Extra)
	}
	if was := rec.Sent[sentModel]; err == nil && was != "" && t.Model != "" && t.Model != was {
		err = fmt.Errorf("%w: the server answered with model %q, the session began with %q", drivers.ErrModelNotFound, t.Model, was)
	}
	return t, err
}

// cachedDetails adds up sglext.cached_tokens_details: {"device":n,"host":n,"storage":n}.
func cachedDetails(extra json.RawMessage) stream.Count {
	var o loose.Object
	_ = o.UnmarshalJSON(extra)
	details := o.Object("sglext").Object("cached_tokens_details")
	sum, known := 0, false
	for _, k := range []string{"device", "host", "storage"} {
		if n, ok := details.Int(k); ok {
			sum, known = sum+n, true
		}
	}
	if !known {
		return stream.Count{}
	}
	return stream.Count{N: sum, From: stream.Usage}
}

// began reports whether a recording, which may still go on, holds text of the answer.
func began(rec stream.Recording) bool {
	t, _ := Decode(rec)
	return len(t.Events) > 0
}
