package llamacpp

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
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/sse"
	"github.com/llm-speed/llm-speed/drivers/internal/thinking"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// protocol is Recording.Protocol of a native /completion stream.
const protocol = "llamacpp-completion"

// Keys of Recording.Sent.
const (
	sentModel     = "model"     // base name that the server had at Open
	sentRendering = "rendering" // "plain" where the template refused the messages
	sentThinking  = "thinking"  // one of the two below, or absent

	thinkingOpen = "open" // the rendered prompt ends inside a thinking block
	thinkingNone = "none" // the model's template knows no thinking
)

// definition says what ServerTiming holds.
const definition = "llama-server timings: prefill = prompt_n (uncached) in prompt_ms; predicted_ms runs from the first token to the last, so decode = predicted_n - 1 in predicted_ms"

// piece is an event of the stream. Fields that a server leaves out stay nil.
type piece struct {
	Content         string            `json:"content"`
	Stop            bool              `json:"stop"`
	TokensPredicted *int              `json:"tokens_predicted"` // output tokens so far
	TokensEvaluated *int              `json:"tokens_evaluated"` // whole prompt, cached part included
	PromptProgress  json.RawMessage   `json:"prompt_progress"`
	Model           string            `json:"model"`
	StopType        string            `json:"stop_type"`
	StoppedEOS      bool              `json:"stopped_eos"` // the three of servers before stop_type
	StoppedWord     bool              `json:"stopped_word"`
	StoppedLimit    bool              `json:"stopped_limit"`
	Truncated       bool              `json:"truncated"`
	Timings         *timings          `json:"timings"`
	Error           json.RawMessage   `json:"error"`
	Settings        *samplingSettings `json:"generation_settings"`
}

type timings struct {
	CacheN        *int     `json:"cache_n,omitempty"`
	PromptN       *int     `json:"prompt_n,omitempty"`
	PromptMS      float64  `json:"prompt_ms,omitempty"`
	PromptPerS    *float64 `json:"prompt_per_second,omitempty"`
	PredictedN    *int     `json:"predicted_n,omitempty"`
	PredictedMS   float64  `json:"predicted_ms,omitempty"`
	PredictedPerS *float64 `json:"predicted_per_second,omitempty"`
	DraftN        *int     `json:"draft_n,omitempty"`
	DraftAccepted *int     `json:"draft_n_accepted,omitempty"`
}

// samplingSettings are the server's word for how it sampled.
type samplingSettings struct {
	Samplers    json.RawMessage `json:"samplers"`
	Temperature json.RawMessage `json:"temperature"`
	Speculative json.RawMessage `json:"speculative.types"`
}

// Decode understands a recorded /completion stream. Errors: *drivers.APIError for what the server states, by status or
// inside the stream; drivers.ErrTruncated for a stream without its final event, with ErrReset where the connection was
// lost; ErrTimeout; context.Canceled; ErrProtocol; ErrModelNotFound where another model answered than the session's.
func Decode(rec stream.Recording) (stream.Transcript, error) {
	d := decoder{counted: true}
	if rec.Status >= 400 {
		return d.out, httpx.StatusError(rec.Status, rec.Data, rec.Header["retry-after"])
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
		return d.out, ended(&rec)
	}
	if was := rec.Sent[sentModel]; was != "" && d.out.Model != "" && d.out.Model != was {
		return d.out, fmt.Errorf("%w: the server now answers with %q, not with %q", drivers.ErrModelNotFound, d.out.Model, was)
	}
	return d.out, nil
}

// ended judges a body that stopped without its final event.
func ended(rec *stream.Recording) error {
	switch {
	case rec.Outcome == stream.Deadline:
		return fmt.Errorf("%w: %s", drivers.ErrTimeout, rec.Fault)
	case rec.Outcome == stream.Canceled:
		return fmt.Errorf("%w: %s", context.Canceled, rec.Fault)
	case rec.Outcome != stream.Complete && rec.Status == 0:
		return fmt.Errorf("%w: no answer: %s", drivers.ErrReset, rec.Fault)
	case rec.Outcome != stream.Complete:
		return fmt.Errorf("%w: %w: %s", drivers.ErrReset, drivers.ErrTruncated, rec.Fault)
	}
	return fmt.Errorf("%w: no final event after %d bytes", drivers.ErrTruncated, len(rec.Data))
}

// decoder gathers what the events of one stream say.
type decoder struct {
	out     stream.Transcript
	last    int  // tokens_predicted so far
	counted bool // every event so far stated its count, and none of them ran backwards
	done    bool
	final   piece
}

func (d *decoder) read(rec *stream.Recording) error {
	for ev := range sse.Events(rec) {
		if ev.Stray {
			if err := stray(ev, rec.Status); err != nil {
				return err
			}
			continue
		}
		if string(ev.Data) == "[DONE]" {
			continue
		}
		var p piece
		if err := json.Unmarshal(ev.Data, &p); err != nil {
			if ev.Open {
				return nil // cut inside the line: ended says so
			}
			return fmt.Errorf("%w: event %.80q: %w", drivers.ErrProtocol, ev.Data, err)
		}
		if len(p.Error) > 0 && string(p.Error) != "null" {
			return stated(ev.Data, rec.Status)
		}
		if len(p.PromptProgress) > 0 && p.Content == "" && !p.Stop {
			continue
		}
		d.take(&p, ev)
		if p.Stop {
			d.done, d.final = true, p
			return nil
		}
	}
	return nil
}

// stated is an error object inside a stream.
func stated(body []byte, status int) error {
	var e struct {
		Error struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	code := 500
	if json.Unmarshal(body, &e) == nil && e.Error.Code != 0 {
		code = e.Error.Code
	}
	m := httpx.ErrorText(body)
	return &drivers.APIError{Kind: drivers.KindOfStatus(code, m), Status: status, Message: m}
}

// stray judges a line that is no part of an event stream: servers of before autumn 2025 stated errors so.
func stray(ev sse.Event, status int) error {
	rest, ok := bytes.CutPrefix(ev.Data, []byte("error:"))
	if !ok || ev.Open {
		return nil
	}
	body := append(append([]byte(`{"error":`), bytes.TrimSpace(rest)...), '}')
	if !json.Valid(body) {
		m := httpx.ErrorText(rest)
		return &drivers.APIError{Kind: drivers.KindOfStatus(500, m), Status: status, Message: m}
	}
	return stated(body, status)
}

// take adds one event. The server holds tokens back whose bytes are no whole character yet, so an event can bring several;
// its running count says how many.
func (d *decoder) take(p *piece, ev sse.Event) {
	tokens := stream.NotStated
	switch {
	case p.TokensPredicted == nil || !d.counted:
		d.counted = false
	case *p.TokensPredicted < d.last:
		d.counted = false
		d.out.Disagree = append(d.out.Disagree, fmt.Sprintf("tokens_predicted ran backwards: %d after %d", *p.TokensPredicted, d.last))
	default:
		tokens = *p.TokensPredicted - d.last
		d.last = *p.TokensPredicted
	}
	switch {
	case p.Content != "":
		d.out.Events = append(d.out.Events, stream.Event{At: ev.At, Read: ev.Read, Kind: stream.Content, Text: p.Content, Tokens: tokens})
	case tokens > 0:
		d.out.Events = append(d.out.Events, stream.Event{At: ev.At, Read: ev.Read, Kind: stream.Silent, Tokens: tokens})
	}
}

// finish turns what the final event says into counts, timing and extras.
func (d *decoder) finish(rec *stream.Recording) {
	if !d.counted {
		for i := range d.out.Events {
			d.out.Events[i].Tokens = stream.NotStated
		}
	}
	// /completion gives the raw text, so that the marks of thinking are in it.
	thought, thinks := thinking.Mark(d.out.Events, rec.Sent[sentThinking] == thinkingOpen)
	if !d.done {
		return
	}
	p, t := &d.final, d.final.Timings
	d.out.Finish, d.out.Truncated = p.reason(), p.Truncated
	if p.Model != "" {
		d.out.Model = baseName(strings.TrimLeft(p.Model, "*")) // stars: a folder that a kept recording hides
	}
	d.out.Counts.Prompt = count(p.TokensEvaluated)
	d.out.Counts.Output = count(p.TokensPredicted)
	extra := map[string]json.RawMessage{}
	if t != nil {
		d.out.Counts.Cached = count(t.CacheN)
		if !d.out.Counts.Output.Known() {
			d.out.Counts.Output = count(t.PredictedN)
		}
		d.out.Server = t.server()
		if b, err := json.Marshal(t); err == nil {
			extra["timings"] = b
		}
	}
	// Where no block is seen it is 0 only for a model that does not think: others may mark their thinking with tokens that
	// /completion does not show.
	if d.counted && (thinks || rec.Sent[sentThinking] == thinkingNone) {
		d.out.Counts.Reasoning = stream.Count{N: thought, From: stream.TimingBlock}
	}
	if s := p.Settings; s != nil {
		for k, v := range map[string]json.RawMessage{"samplers": s.Samplers, "temperature": s.Temperature, "speculative": s.Speculative} {
			if len(v) > 0 {
				extra[k] = v
			}
		}
	}
	if r := rec.Sent[sentRendering]; r != "" {
		extra["rendering"], _ = json.Marshal(r)
	}
	d.out.Extra = drivers.Extra(extra)
}

func (p *piece) reason() string {
	switch {
	case p.StopType == "limit", p.StopType == "" && p.StoppedLimit:
		return stream.FinishLength
	case p.StopType == "eos", p.StopType == "word", p.StopType == "" && (p.StoppedEOS || p.StoppedWord):
		return stream.FinishStop
	}
	return p.StopType
}

// count is a count that the server stated; an absent or absurd one is unknown.
func count(n *int) stream.Count {
	if n == nil || *n < 0 {
		return stream.Count{}
	}
	return stream.Count{N: *n, From: stream.TimingBlock}
}

// server gives the timings by this project's rule: one token of predicted_n falls before the interval.
func (t *timings) server() stream.ServerTiming {
	var s stream.ServerTiming
	if n := count(t.PromptN); n.Known() && n.N > 0 && milliseconds(t.PromptMS) > 0 {
		s.PromptTokens, s.Prefill = n, milliseconds(t.PromptMS)
		if t.PromptPerS != nil {
			s.StatedPrefill = *t.PromptPerS
		}
	}
	// With one token the interval is empty, and the server writes 0.001 ms.
	if n := count(t.PredictedN); n.Known() && n.N > 1 && milliseconds(t.PredictedMS) > 0 {
		s.DecodeTokens, s.Decode = n.N-1, milliseconds(t.PredictedMS)
		if t.PredictedPerS != nil {
			s.StatedDecode = *t.PredictedPerS
		}
	}
	if s.Prefill > 0 || s.Decode > 0 {
		s.Definition = definition
	}
	return s
}

// milliseconds is a duration; what is no duration that a stream can take is 0.
func milliseconds(ms float64) time.Duration {
	const most = 1e12
	if !(ms > 0) || ms > most {
		return 0
	}
	return time.Duration(math.Round(ms * float64(time.Millisecond)))
}

// baseName is the last part of a path of either system, so that no folder of the user's gets out.
func baseName(s string) string { return paths.Base(s) }

// began reports whether a recording, which may still go on, holds an event of the answer.
func began(rec stream.Recording) bool {
	t, _ := Decode(rec)
	return len(t.Events) > 0
}
