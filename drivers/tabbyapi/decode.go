package tabbyapi

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Keys of Recording.Sent.
const (
	sentModel  = "model"  // the model that answered at Open, as it may be shown; absent where the server says none
	sentCached = "cached" // cachedCounted where the server was seen to count cached tokens

	cachedCounted = "counted"
)

// definition says what ServerTiming holds.
const definition = "TabbyAPI usage, after exllama: completion_time begins before the forward pass of the first token, so that all completion_tokens fall into it; " +
	"prompt_time ends before that pass, which takes the last prompt token, so that the uncached prompt tokens but one fall into it; recomputed from the raw figures"

// Decode understands a recorded stream. Beside the errors of openai.Decode it gives ErrModelNotFound where a whole stream
// came from another model than the one that the session began with.
func Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := openai.Decode(rec)
	t.Model = paths.Shown(t.Model)
	if t.Counts.Cached.N == 0 && rec.Sent[sentCached] != cachedCounted {
		t.Counts.Cached = stream.Count{} // the server writes 0 for what it does not know
	}
	var extra loose.Object
	_ = extra.UnmarshalJSON(t.Extra)
	t.Server = timing(extra.Object("usage"), t.Counts)
	if was := rec.Sent[sentModel]; err == nil && was != "" && t.Model != "" && t.Model != was {
		err = fmt.Errorf("%w: the server answered with model %q, the session began with %q", drivers.ErrModelNotFound, t.Model, was)
	}
	return t, err
}

// timing gives the server's own figures by this project's rule. The rates beside them count cached tokens as work in some
// versions; they are shown as stated and never used.
func timing(usage loose.Object, c stream.Counts) stream.ServerTiming {
	var s stream.ServerTiming
	if d := seconds(usage["completion_time"]); d > 0 && c.Output.Known() && c.Output.N > 0 {
		s.Decode, s.DecodeTokens = d, c.Output.N
		s.StatedDecode, _ = usage.Number("completion_tokens_per_sec")
	}
	if d := seconds(usage["prompt_time"]); d > 0 && c.Prompt.Known() && c.Cached.Known() && c.Prompt.N-c.Cached.N > 1 {
		s.Prefill, s.PromptTokens = d, stream.Count{N: c.Prompt.N - c.Cached.N - 1, From: stream.Usage}
		s.StatedPrefill, _ = usage.Number("prompt_tokens_per_sec")
	}
	if s.Decode > 0 || s.Prefill > 0 {
		s.Definition = definition
	}
	return s
}

// seconds reads a duration; 0 where it is none, and where it was rounded so far that a rate over it would be off by more
// than half a percent: older versions write hundredths of a second.
func seconds(raw json.RawMessage) time.Duration {
	const most, leastRounded = 1e6, 1.0
	v, ok := loose.Number(raw)
	if !ok || v <= 0 || v > most {
		return 0
	}
	text := strings.TrimSpace(string(raw))
	_, decimals, _ := strings.Cut(text, ".")
	if !strings.ContainsAny(text, "eE") && len(decimals) <= 2 && v < leastRounded {
		return 0
	}
	return time.Duration(math.Round(v * float64(time.Second)))
}
