package hosted

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Decode is pure: which service answered stands in the recording. Beside the errors of openai.Decode it gives
// ErrModelNotFound where a whole stream came from another model than the session's first, and ErrServer where OpenRouter
// answered from another provider, or out of its own cache of answers.
func Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := openai.Decode(rec)
	said := said{counts: t.Counts}
	_ = json.Unmarshal(t.Extra, &said.extra) // nil where there is none
	if v, ok := serviceOf(rec); ok && v.timing != nil && err == nil {
		t.Server = v.timing(said).server(t.Counts)
	}
	t.Extra = withHeaders(said.extra, rec.Header)
	if err != nil {
		return t, err
	}
	if was := rec.Sent[sentModel]; was != "" && t.Model != "" && t.Model != was {
		return t, fmt.Errorf("%w: the service answered with model %q, the session began with %q", drivers.ErrModelNotFound, t.Model, was)
	}
	if was, now := rec.Sent[sentProvider], providerOf(t.Extra); was != "" && now != "" && !strings.EqualFold(now, was) {
		return t, another("provider", now, was)
	}
	if strings.EqualFold(rec.Header["x-openrouter-cache-status"], "hit") {
		return t, fmt.Errorf("%w: the answer came out of OpenRouter's cache of answers: nothing was generated", drivers.ErrServer)
	}
	return t, nil
}

// serviceOf finds the service that a recording is of.
func serviceOf(rec stream.Recording) (service, bool) {
	for _, v := range services() {
		if v.name == rec.Sent[sentService] {
			return v, true
		}
	}
	return service{}, false
}

// providerOf is the provider that an answer names; empty where it names none.
func providerOf(extra json.RawMessage) string {
	var x struct {
		Provider string `json:"provider"`
	}
	_ = json.Unmarshal(extra, &x) // what is no text stays empty
	return x.Provider
}

// withHeaders adds the headers that say something about this one answer to a transcript's extras.
func withHeaders(extra map[string]json.RawMessage, header map[string]string) json.RawMessage {
	for _, name := range []string{"x-request-id", "openai-processing-ms", "x-generation-id", "fireworks-server-time-to-first-token", "x-groq-region"} {
		v := header[name]
		if v == "" {
			continue
		}
		if extra == nil {
			extra = map[string]json.RawMessage{}
		}
		if b, err := json.Marshal(v); err == nil {
			extra[name] = b
		}
	}
	return drivers.Extra(extra)
}

// said is what an answer states beside its text.
type said struct {
	counts stream.Counts
	extra  map[string]json.RawMessage
}

// timing is a service's own times, 0 where it states none.
type timing struct {
	queue, prefill, decode time.Duration
	definition             string
}

// server puts a service's times beside the counts of the same answer.
//
// Where the services' decode interval begins is not documented. With N-1 tokens in it the rate is exact if it begins at the
// first token, and one part in N low if it begins before it: never too high.
func (x timing) server(c stream.Counts) stream.ServerTiming {
	s := stream.ServerTiming{Queue: x.queue, Prefill: x.prefill, Decode: x.decode}
	if x.prefill > 0 && c.Prompt.Known() {
		s.PromptTokens = c.Prompt
		if c.Cached.Known() {
			s.PromptTokens.N = max(c.Prompt.N-c.Cached.N, 0)
		}
	}
	if x.decode > 0 && c.Output.Known() && c.Output.N > 1 {
		s.DecodeTokens = c.Output.N - 1
	}
	if s.Queue > 0 || s.Prefill > 0 || s.Decode > 0 {
		s.Definition = x.definition
	}
	return s
}

const unsaid = "; the rate counts N-1 tokens in it, since where it begins is not documented: exact if that is the first token, else 1/N low"

// groqTiming reads the times that Groq puts into usage, in seconds.
func groqTiming(x said) timing {
	return seconds(x.extra["usage"], "Groq usage: prefill = prompt_tokens less cached ones in prompt_time; decode = completion_time"+unsaid)
}

// cerebrasTiming reads Cerebras' time_info, in seconds.
func cerebrasTiming(x said) timing {
	return seconds(x.extra["time_info"], "Cerebras time_info: prefill = prompt_tokens less cached ones in prompt_time; decode = completion_time"+unsaid)
}

func seconds(raw json.RawMessage, definition string) timing {
	f := fields(raw)
	return timing{queue: f.seconds("queue_time"), prefill: f.seconds("prompt_time"), decode: f.seconds("completion_time"), definition: definition}
}

// fireworksTiming reads Fireworks' perf_metrics, in seconds, some of them as texts. Prefill and generation stand in it on
// dedicated deployments alone.
func fireworksTiming(x said) timing {
	f := fields(x.extra["perf_metrics"])
	return timing{
		queue: f.seconds("prefill-queue-duration"), prefill: f.seconds("prefill-duration"), decode: f.seconds("generation-duration"),
		definition: "Fireworks perf_metrics: prefill = prompt tokens less cached ones in prefill-duration; decode = generation-duration" + unsaid,
	}
}

// object is a JSON object whose fields may have any type.
type object map[string]json.RawMessage

func fields(raw json.RawMessage) object {
	var o object
	_ = json.Unmarshal(raw, &o) // nil where it is no object
	return o
}

// seconds reads a time in seconds, as a number or a text; 0 where it is none, or longer than a day.
func (o object) seconds(name string) time.Duration {
	f, err := strconv.ParseFloat(strings.TrimSuffix(strings.Trim(string(o[name]), `"`), "s"), 64)
	if err != nil || !(f > 0 && f < 86400) {
		return 0
	}
	return time.Duration(math.Round(f * float64(time.Second)))
}
