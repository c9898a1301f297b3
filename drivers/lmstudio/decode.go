package lmstudio

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/sse"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// protocolNative is Recording.Protocol of a stream of /api/v1/chat.
const protocolNative = "lmstudio-chat"

// definition says what ServerTiming holds. The two examples of LM Studio's documentation contradict each other: 9 tokens in a
// generation_time of 0.156 s are the 57.69 tok/s beside them, 53 in 0.954 s are not the 51.44 beside those. So no rate is
// computed from these figures; they are kept as they are.
const definition = "LM Studio stats: tokens_per_second as printed; which tokens it counts, and over which time, is not documented"

// Decode understands a stream of any of the endpoints. It is pure. Beside the errors of openai.Decode it gives ErrOverloaded for
// a stream in which the model was loaded first, whose times are no measure, and ErrModelNotFound where a whole stream came from
// another model than the one that the session began with.
func Decode(rec stream.Recording) (stream.Transcript, error) {
	var t stream.Transcript
	var err error
	if rec.Protocol == protocolNative && rec.Status < 300 {
		t, err = decodeNative(&rec)
	} else {
		t, err = openai.Decode(rec)
		t.Server = timing(t.Extra)
	}
	t.Model = paths.Shown(t.Model)
	if c := rec.Sent[sentContext]; c != "" && t.Counts.Prompt.Known() && t.Counts.Output.Known() {
		// LM Studio may drop the middle of a prompt, or its beginning, instead of refusing it.
		if most, err := strconv.Atoi(c); err == nil && t.Counts.Prompt.N+t.Counts.Output.N > most {
			t.Truncated = true
		}
	}
	if was := rec.Sent[sentModel]; err == nil && was != "" && t.Model != "" && t.Model != was {
		err = fmt.Errorf("%w: the server answered with model %q, the session began with %q", drivers.ErrModelNotFound, t.Model, was)
	}
	return t, err
}

// timing keeps the server's own rate, beside which nothing is computed.
func timing(extra json.RawMessage) stream.ServerTiming {
	var e struct {
		Stats loose.Object `json:"stats"`
	}
	var s stream.ServerTiming
	if json.Unmarshal(extra, &e) != nil {
		return s
	}
	if s.StatedDecode = rate(e.Stats); s.StatedDecode > 0 {
		s.Definition = definition
	}
	return s
}

// rate is the server's own decode rate; 0 where it gives none.
func rate(stats loose.Object) float64 {
	if v, ok := stats.Number("tokens_per_second"); ok && v > 0 {
		return v
	}
	return 0
}

// native gathers what the events of one stream of /api/v1/chat say.
type native struct {
	out    stream.Transcript
	extra  map[string]json.RawMessage
	loads  bool  // the model was loaded inside the stream
	failed error // that an event stated; chat.end follows it
	done   bool
	spoke  bool
}

func decodeNative(rec *stream.Recording) (stream.Transcript, error) {
	n := native{extra: map[string]json.RawMessage{}}
	if e := rec.Header["content-encoding"]; e != "" && e != "identity" {
		return n.out, fmt.Errorf("%w: the body is encoded as %q although identity was asked; a proxy in between may hold events back", drivers.ErrProtocol, e)
	}
	err := n.read(rec)
	n.out.Extra = drivers.Extra(n.extra)
	switch {
	case err != nil:
		return n.out, err
	case n.failed != nil:
		return n.out, n.failed
	case !n.done:
		return n.out, n.ended(rec)
	case n.loads:
		return n.out, fmt.Errorf("%w: LM Studio loaded the model inside this stream, so that its times hold the loading", drivers.ErrOverloaded)
	}
	if asked, err := strconv.Atoi(rec.Sent[sentTokens]); err == nil && n.out.Counts.Output.Known() {
		n.out.Finish = stream.FinishStop // the endpoint gives no reason
		if n.out.Counts.Output.N >= asked {
			n.out.Finish = stream.FinishLength
		}
	}
	return n.out, nil
}

func (n *native) read(rec *stream.Recording) error {
	body := bytes.TrimSpace(rec.Data)
	if len(body) > 0 && body[0] == '{' { // an error with status 200, or a server that does not stream
		if err := stated(body, rec.Status); err != nil {
			return err
		}
		if json.Valid(body) {
			return fmt.Errorf("%w: want an event stream, got %.80q", drivers.ErrProtocol, body)
		}
	}
	for ev := range sse.Events(rec) {
		data := bytes.TrimSpace(ev.Data)
		if ev.Stray || len(data) == 0 {
			continue
		}
		n.spoke = true
		var o loose.Object
		if !json.Valid(data) {
			if ev.Open || rec.Outcome != stream.Complete {
				continue // the end of the body cut it; ended says so
			}
			return fmt.Errorf("%w: event is not a JSON object: %.80q", drivers.ErrProtocol, data)
		}
		_ = json.Unmarshal(data, &o)
		kind := o.Text("type")
		if kind == "" {
			kind = ev.Name
		}
		n.take(kind, o, data, ev, rec.Status)
		if n.done {
			return nil
		}
	}
	return nil
}

// take adds one event. What is not text, an error or the end is passed over, tool calls of LM Studio's own among it.
func (n *native) take(kind string, o loose.Object, data []byte, ev sse.Event, status int) {
	if id := o.Text("model_instance_id"); id != "" {
		n.out.Model = id
	}
	text := func(k stream.Kind) {
		if s := o.Text("content"); s != "" {
			n.out.Events = append(n.out.Events, stream.Event{At: ev.At, Read: ev.Read, Kind: k, Text: s, Tokens: stream.NotStated})
		}
	}
	switch {
	case kind == "reasoning.delta":
		text(stream.Reasoning)
	case kind == "message.delta":
		text(stream.Content)
	case strings.HasPrefix(kind, "model_load."):
		n.loads = true
	case kind == "error", o.Has("error"):
		if n.failed = stated(data, status); n.failed == nil {
			m := httpx.ErrorText(data)
			n.failed = &drivers.APIError{Kind: drivers.ErrServer, Status: status, Message: m}
		}
	case kind == "chat.end":
		n.finish(o.Object("result"))
	}
}

// finish takes in the last event.
func (n *native) finish(result loose.Object) {
	n.done = true
	if id := result.Text("model_instance_id"); id != "" {
		n.out.Model = id
	}
	stats := result.Object("stats")
	count := func(key string) stream.Count {
		if v, ok := stats.Int(key); ok {
			return stream.Count{N: v, From: stream.Usage}
		}
		return stream.Count{}
	}
	n.out.Counts = stream.Counts{Prompt: count("input_tokens"), Output: count("total_output_tokens"), Reasoning: count("reasoning_output_tokens")}
	if n.out.Server.StatedDecode = rate(stats); n.out.Server.StatedDecode > 0 {
		n.out.Server.Definition = definition
	}
	if d, ok := stats.Number("model_load_time_seconds"); ok && d > 0 {
		n.loads = true
	}
	if raw := result["stats"]; result.Has("stats") {
		n.extra["stats"] = raw
	}
}

// stated is the error that a body or an event states; nil where it states none.
func stated(data []byte, status int) error {
	var o loose.Object
	if _ = json.Unmarshal(data, &o); !o.Has("error") {
		return nil
	}
	code := 500
	switch kind := o.Object("error").Text("type"); {
	case strings.HasPrefix(kind, "invalid_request"), kind == "not_implemented":
		code = 400
	case kind == "model_not_found":
		code = 404
	case strings.Contains(kind, "overloaded"), strings.Contains(kind, "unavailable"):
		code = 503
	case strings.Contains(kind, "rate_limit"):
		code = 429
	}
	m := httpx.ErrorText(data)
	return &drivers.APIError{Kind: drivers.KindOfStatus(code, m), Status: status, Message: m}
}

// ended judges a body that stopped without its last event.
func (n *native) ended(rec *stream.Recording) error {
	switch {
	case rec.Outcome == stream.Deadline:
		return fmt.Errorf("%w: %s", drivers.ErrTimeout, rec.Fault)
	case rec.Outcome == stream.Canceled:
		return fmt.Errorf("%w: %s", context.Canceled, rec.Fault)
	case rec.Outcome != stream.Complete && rec.Status == 0:
		return fmt.Errorf("%w: no answer: %s", drivers.ErrReset, rec.Fault)
	case rec.Outcome != stream.Complete:
		return fmt.Errorf("%w: %w: %s", drivers.ErrReset, drivers.ErrTruncated, rec.Fault)
	case !n.spoke && len(bytes.TrimSpace(rec.Data)) > 0:
		return fmt.Errorf("%w: want an event stream, got %.80q", drivers.ErrProtocol, bytes.TrimSpace(rec.Data))
	}
	return fmt.Errorf("%w: no chat.end after %d bytes", drivers.ErrTruncated, len(rec.Data))
}

// nativeBegan reports whether a recording, which may still go on, holds an event with text.
func nativeBegan(rec stream.Recording) bool {
	t, _ := Decode(rec)
	return len(t.Events) > 0
}
