package vllm

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/thinking"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Keys of Recording.Sent.
const (
	sentModel     = "model"     // that the server said had answered at Open, as it may be shown
	sentRendering = "rendering" // "plain" where the template refused the messages
	sentThinking  = "thinking"  // "open" where the prompt ends inside a thinking block
)

const thinkingOpen = "open"

// definition says what ServerTiming holds. vLLM's tokens_per_second divides all tokens by the time from scheduling to the last
// token, prefill included: it is no decode rate, and is kept raw only.
const definition = "vLLM per-request metrics: queue = queue_time_ms; prefill = uncached prompt tokens in time_to_first_token_ms, which starts when the request is scheduled; decode = output tokens - 1 in generation_time_ms, which starts at the first token"

// Decode understands a stream of /v1/completions or /v1/chat/completions. It is pure. Beside the errors of openai.Decode it
// gives ErrModelNotFound where a whole stream came from another model than the one that the session began with.
func Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := openai.Decode(rec)
	t.Model = paths.Shown(t.Model)
	if rec.Protocol == openai.ProtocolCompletions {
		n, ok := thinking.Mark(t.Events, rec.Sent[sentThinking] == thinkingOpen)
		if ok && n > 0 && !t.Counts.Reasoning.Known() {
			t.Counts.Reasoning = stream.Count{N: n, From: stream.Usage}
		}
	}
	if rec.PromptIDs > 0 {
		switch p := t.Counts.Prompt; {
		case !p.Known() && err == nil:
			t.Counts.Prompt = stream.Count{N: rec.PromptIDs, From: stream.ServerTokens} // ids of the same server's tokenizer
		case p.Known() && p.N != rec.PromptIDs:
			t.Disagree = append(t.Disagree, fmt.Sprintf("%d prompt tokens were sent as ids, and the server counts %d", rec.PromptIDs, p.N))
		}
	}
	t.Server = timing(t.Extra, t.Counts)
	if r := rec.Sent[sentRendering]; r != "" {
		t.Extra = with(t.Extra, sentRendering, r)
	}
	if was := rec.Sent[sentModel]; err == nil && was != "" && t.Model != "" && t.Model != was {
		err = fmt.Errorf("%w: the server answered with model %q, the session began with %q", drivers.ErrModelNotFound, t.Model, was)
	}
	return t, err
}

// timing reads the figures that newer servers add to a stream (--enable-per-request-metrics).
func timing(extra json.RawMessage, counts stream.Counts) stream.ServerTiming {
	var e struct {
		Metrics loose.Object `json:"metrics"`
	}
	var s stream.ServerTiming
	if json.Unmarshal(extra, &e) != nil {
		return s
	}
	s.Queue = milliseconds(e.Metrics, "queue_time_ms")
	if d := milliseconds(e.Metrics, "time_to_first_token_ms"); d > 0 && counts.Prompt.Known() {
		n := counts.Prompt.N
		if counts.Cached.Known() {
			n -= counts.Cached.N
		} // else the rule of package measure: only a cold prompt has a rate then
		if n > 0 {
			s.Prefill, s.PromptTokens = d, stream.Count{N: n, From: counts.Prompt.From}
		}
	}
	if d := milliseconds(e.Metrics, "generation_time_ms"); d > 0 && counts.Output.Known() && counts.Output.N > 1 {
		s.Decode, s.DecodeTokens = d, counts.Output.N-1
	}
	if s.Queue > 0 || s.Prefill > 0 || s.Decode > 0 {
		s.Definition = definition
	}
	return s
}

// milliseconds is a field as a duration; what is no duration that a request can take is 0.
func milliseconds(o loose.Object, field string) time.Duration {
	const most = 1e12
	ms, ok := o.Number(field)
	if !ok || !(ms > 0) || ms > most {
		return 0
	}
	return time.Duration(ms * float64(time.Millisecond))
}

// with adds a text to the extras.
func with(extra json.RawMessage, key, text string) json.RawMessage {
	fields := map[string]json.RawMessage{}
	if len(extra) > 0 && json.Unmarshal(extra, &fields) != nil {
		return extra
	}
	b, err := json.Marshal(text)
	if err != nil {
		return extra
	}
	fields[key] = b
	return drivers.Extra(fields)
}
