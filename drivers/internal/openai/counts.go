package openai

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// step is a chunk that carried text, token ids, or a running count.
type step struct {
	at                       time.Duration
	read                     int
	reasoning, content, tool string
	ids                      int // token ids in it; -1 where the server sends none
	cum                      num // output tokens so far, as the server states them
}

func (s *step) bearsText() bool { return s.reasoning != "" || s.content != "" || s.tool != "" }

// merge takes the figures that a later usage block states; what it leaves out stays.
func (u *usage) merge(v *usage) {
	u.PromptTokens = v.PromptTokens.or(u.PromptTokens)
	u.CompletionTokens = v.CompletionTokens.or(u.CompletionTokens)
	u.CachedTokens = v.PromptDetails.CachedTokens.or(v.CachedTokens).or(v.CacheHitTokens).or(u.CachedTokens)
	u.ReasoningTokens = v.CompletionDetails.ReasoningTokens.or(v.ReasoningTokens).or(u.ReasoningTokens)
	if isSet(v.raw) {
		u.raw = v.raw
	}
}

// keepExtras notes what servers tell beside the common fields; the last word of each counts.
func (d *decoder) keepExtras(c *chunk) {
	for _, x := range []struct {
		name string
		raw  json.RawMessage
	}{
		{"x_groq", c.XGroq}, {"time_info", c.TimeInfo}, {"perf_metrics", c.PerfMetrics}, {"metrics", c.Metrics},
		{"sglext", c.SGLExt}, {"stats", c.Stats}, {"model_info", c.ModelInfo}, {"runtime", c.Runtime}, {"service_tier", c.ServiceTier}, {"provider", c.Provider},
	} {
		if isSet(x.raw) {
			d.extra[x.name] = x.raw
		}
	}
	if c.SystemFingerprint != "" {
		if b, err := json.Marshal(c.SystemFingerprint); err == nil {
			d.extra["system_fingerprint"] = b
		}
	}
	if c.Usage == nil && isSet(c.XGroq) {
		var x struct {
			Usage *usage `json:"usage"`
		}
		if unmarshal(c.XGroq, &x) == nil {
			c.Usage = x.Usage
		}
	}
}

// transcript puts together what was gathered.
func (d *decoder) transcript() stream.Transcript {
	t := d.out
	t.Counts = d.counts()
	t.Server = d.timings.server()
	t.Events = d.events(t.Counts.Output)
	if what := d.backwards(); what != "" {
		t.Disagree = append(t.Disagree, what)
	}
	if isSet(d.usage.raw) {
		d.extra["usage"] = d.usage.raw
	}
	if isSet(d.timings.raw) {
		d.extra["timings"] = d.timings.raw
	}
	t.Extra = drivers.Extra(d.extra)
	return t
}

// counts takes usage first, then the timing block. What neither states is unknown.
func (d *decoder) counts() stream.Counts {
	var c stream.Counts
	u, t := &d.usage, &d.timings
	count := func(v num, from stream.Provenance) stream.Count {
		if !v.ok {
			return stream.Count{}
		}
		return stream.Count{N: v.n, From: from}
	}
	c.Prompt = count(u.PromptTokens, stream.Usage)
	if !c.Prompt.Known() && t.CacheN.ok && t.PromptN.ok {
		c.Prompt = stream.Count{N: t.CacheN.n + t.PromptN.n, From: stream.TimingBlock}
	}
	if c.Cached = count(u.CachedTokens, stream.Usage); !c.Cached.Known() {
		c.Cached = count(t.CacheN, stream.TimingBlock)
	}
	if c.Output = count(u.CompletionTokens, stream.Usage); !c.Output.Known() {
		c.Output = count(t.PredictedN, stream.TimingBlock)
	}
	c.Reasoning = count(u.ReasoningTokens, stream.Usage)
	if c.Reasoning.N == 0 && d.thought {
		c.Reasoning = stream.Count{} // a 0 beside reasoning text only means that the server does not count it
	}
	return c
}

// server gives llama.cpp's own figures by this project's rule: the decode interval starts at the first token, so it holds
// one token less than were predicted.
func (t *timings) server() stream.ServerTiming {
	var s stream.ServerTiming
	if t.PromptN.ok && t.PromptMS > 0 {
		s.PromptTokens = stream.Count{N: t.PromptN.n, From: stream.TimingBlock}
		s.Prefill = milliseconds(t.PromptMS)
		s.StatedPrefill = t.PromptPerSecond
	}
	if t.PredictedN.ok && t.PredictedN.n > 1 && t.PredictedMS > 0 {
		s.DecodeTokens = t.PredictedN.n - 1
		s.Decode = milliseconds(t.PredictedMS)
		s.StatedDecode = t.PredictedPerSecond
	}
	if s.Prefill > 0 || s.Decode > 0 {
		s.Definition = "llama.cpp timings: prefill = prompt_n (uncached) in prompt_ms; decode = predicted_n - 1 in predicted_ms, recomputed from the raw figures"
	}
	return s
}

func milliseconds(ms float64) time.Duration {
	const most = 1e12 // about thirty years; what is beyond that is no duration
	if ms > most {
		return 0
	}
	return time.Duration(ms * float64(time.Millisecond))
}

// events turns steps into events. Their tokens come from running counts, or else from token ids, and only where these are
// sound over the whole stream.
func (d *decoder) events(output stream.Count) []stream.Event {
	tokens := func(int) int { return stream.NotStated }
	switch {
	case d.cumulative():
		before := make([]int, len(d.steps))
		for i, last := 0, 0; i < len(d.steps); i++ {
			before[i] = last
			if c := d.steps[i].cum; c.ok {
				last = c.n
			}
		}
		tokens = func(i int) int {
			if !d.steps[i].cum.ok {
				return 0
			}
			return d.steps[i].cum.n - before[i]
		}
	case d.idsFit(output):
		tokens = func(i int) int { return max(d.steps[i].ids, 0) }
	}
	events := make([]stream.Event, 0, len(d.steps))
	for i := range d.steps {
		s := &d.steps[i]
		n := tokens(i)
		if !s.bearsText() {
			if n > 0 {
				events = append(events, stream.Event{At: s.at, Read: s.read, Kind: stream.Silent, Tokens: n})
			}
			continue
		}
		for _, e := range []struct {
			kind stream.Kind
			text string
		}{{stream.Reasoning, s.reasoning}, {stream.Content, s.content}, {stream.Tool, s.tool}} {
			if e.text == "" {
				continue
			}
			events = append(events, stream.Event{At: s.at, Read: s.read, Kind: e.kind, Text: e.text, Tokens: n})
			if n > 0 {
				n = 0 // the chunk's tokens are counted once, with its first text
			}
		}
	}
	return events
}

// cumulative reports whether running counts are sound: every chunk with text has one, they never fall, and they do move.
// A server that states its total on the last chunk only, or the same number on each, does not count along.
func (d *decoder) cumulative() bool {
	texts, first, last := 0, 0, 0
	for i := range d.steps {
		s := &d.steps[i]
		if s.bearsText() {
			if !s.cum.ok {
				return false
			}
			if texts++; texts == 1 {
				first = s.cum.n
			}
		}
		if s.cum.ok {
			if s.cum.n < last {
				return false
			}
			last = s.cum.n
		}
	}
	return texts > 0 && first > 0 && (texts < 3 || last > first)
}

// backwards says where a running count fell; empty where none did.
func (d *decoder) backwards() string {
	last := 0
	for i := range d.steps {
		if c := d.steps[i].cum; c.ok {
			if c.n < last {
				return fmt.Sprintf("the running count of output tokens ran backwards: %d after %d", c.n, last)
			}
			last = c.n
		}
	}
	return ""
}

// idsFit reports whether token ids account for the output: each chunk with text has some, and all but at most the end
// token of what the server says it generated. llama.cpp lists only the last of several tokens that it held back.
func (d *decoder) idsFit(output stream.Count) bool {
	sum, texts := 0, 0
	for i := range d.steps {
		s := &d.steps[i]
		if s.bearsText() {
			if texts++; s.ids < 0 {
				return false
			}
		}
		sum += max(s.ids, 0)
	}
	return texts > 0 && sum > 0 && (!output.Known() || sum == output.N || sum == output.N-1)
}
