package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// chunk is one event of a stream, in the shapes of all the servers that call themselves OpenAI-like. Fields whose type
// differs between servers are raw.
type chunk struct {
	Object            string          `json:"object"`
	Model             string          `json:"model"`
	SystemFingerprint string          `json:"system_fingerprint"`
	Choices           []choice        `json:"choices"`
	Usage             *usage          `json:"usage"`
	Timings           *timings        `json:"timings"`
	Error             json.RawMessage `json:"error"`
	Message           json.RawMessage `json:"message"`         // with object "error"
	Code              json.RawMessage `json:"code"`            // with object "error"
	Tokens            json.RawMessage `json:"tokens"`          // token ids of this event
	TokenIDs          json.RawMessage `json:"token_ids"`       // the same
	PromptProgress    json.RawMessage `json:"prompt_progress"` // prefill is still going on
	Truncated         bool            `json:"truncated"`

	XGroq       json.RawMessage `json:"x_groq"`
	TimeInfo    json.RawMessage `json:"time_info"`    // Cerebras
	PerfMetrics json.RawMessage `json:"perf_metrics"` // Fireworks
	Metrics     json.RawMessage `json:"metrics"`      // vLLM
	SGLExt      json.RawMessage `json:"sglext"`       // SGLang
	Stats       json.RawMessage `json:"stats"`        // LM Studio
	ModelInfo   json.RawMessage `json:"model_info"`   // LM Studio
	Runtime     json.RawMessage `json:"runtime"`      // LM Studio
	ServiceTier json.RawMessage `json:"service_tier"` // OpenAI
	Provider    json.RawMessage `json:"provider"`     // OpenRouter
}

type choice struct {
	Index        num             `json:"index"`
	Delta        delta           `json:"delta"`
	Text         json.RawMessage `json:"text"` // of /v1/completions
	FinishReason json.RawMessage `json:"finish_reason"`
	Tokens       json.RawMessage `json:"tokens"`
	TokenIDs     json.RawMessage `json:"token_ids"`
}

type delta struct {
	Content          json.RawMessage `json:"content"`
	Refusal          json.RawMessage `json:"refusal"`
	ReasoningContent json.RawMessage `json:"reasoning_content"`
	Reasoning        json.RawMessage `json:"reasoning"`
	Thinking         json.RawMessage `json:"thinking"`
	ReasoningText    json.RawMessage `json:"reasoning_text"`
	ReasoningDetails json.RawMessage `json:"reasoning_details"`
	ToolCalls        json.RawMessage `json:"tool_calls"`
	FunctionCall     json.RawMessage `json:"function_call"` // what tool_calls was before
}

type usage struct {
	PromptTokens     num `json:"prompt_tokens"`
	CompletionTokens num `json:"completion_tokens"`
	CachedTokens     num `json:"cached_tokens"`    // some servers put it here
	ReasoningTokens  num `json:"reasoning_tokens"` // SGLang
	CacheHitTokens   num `json:"prompt_cache_hit_tokens"`
	PromptDetails    struct {
		CachedTokens num `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		ReasoningTokens num `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`

	raw json.RawMessage
}

// UnmarshalJSON keeps the raw block beside the fields, and takes null and odd types for absent.
func (u *usage) UnmarshalJSON(b []byte) error {
	type plain usage
	var p plain
	if err := unmarshal(b, &p); err != nil {
		return err
	}
	*u = usage(p)
	u.raw = bytes.Clone(b)
	return nil
}

// timings is llama.cpp's block; durations are milliseconds, rates tok/s.
type timings struct {
	CacheN             num     `json:"cache_n"`
	PromptN            num     `json:"prompt_n"`
	PromptMS           float64 `json:"prompt_ms"`
	PromptPerSecond    float64 `json:"prompt_per_second"`
	PredictedN         num     `json:"predicted_n"`
	PredictedMS        float64 `json:"predicted_ms"`
	PredictedPerSecond float64 `json:"predicted_per_second"`

	raw json.RawMessage
}

// UnmarshalJSON keeps the raw block beside the fields, and takes null and odd types for absent.
func (t *timings) UnmarshalJSON(b []byte) error {
	type plain timings
	var p plain
	if err := unmarshal(b, &p); err != nil {
		return err
	}
	*t = timings(p)
	t.raw = bytes.Clone(b)
	return nil
}

// num is a number of tokens that may be absent. Anything that is no whole number from 0 up is absent.
type num struct {
	n  int
	ok bool
}

// UnmarshalJSON never fails.
func (v *num) UnmarshalJSON(b []byte) error {
	*v = num{}
	if n, err := strconv.Atoi(string(b)); err == nil {
		*v = num{n, n >= 0}
	} else if f, err := strconv.ParseFloat(string(b), 64); err == nil && f >= 0 && f < 1e12 && f == float64(int(f)) {
		*v = num{int(f), true}
	}
	return nil
}

// or gives v, or w where v is absent.
func (v num) or(w num) num {
	if v.ok {
		return v
	}
	return w
}

// unmarshal fills v from an object as far as the types fit; a field of another type counts as absent. It fails on what is
// not JSON.
func unmarshal(b []byte, v any) error {
	err := json.Unmarshal(b, v)
	var odd *json.UnmarshalTypeError
	if errors.As(err, &odd) {
		return nil
	}
	return err
}

// isSet reports whether a raw value is there and not null.
func isSet(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// str gives a JSON string's text; "" for everything else.
func str(raw json.RawMessage) string {
	if len(raw) < 3 || raw[0] != '"' {
		return ""
	}
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

// ids counts the elements of an array of token ids; -1 where there is none.
func ids(raws ...json.RawMessage) int {
	for _, raw := range raws {
		if len(raw) == 0 || raw[0] != '[' {
			continue
		}
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) == nil {
			return len(list)
		}
	}
	return -1
}

// parts gives the text of a content value: a string, or an array of parts of which some may be thinking.
func parts(raw json.RawMessage) (text, thinking string) {
	if len(raw) == 0 || raw[0] != '[' {
		return str(raw), ""
	}
	var list []struct {
		Type     string          `json:"type"`
		Text     json.RawMessage `json:"text"`
		Thinking json.RawMessage `json:"thinking"`
	}
	_ = unmarshal(raw, &list)
	var say, think strings.Builder
	for _, p := range list {
		say.WriteString(str(p.Text))
		inner, _ := parts(p.Thinking)
		think.WriteString(inner)
	}
	return say.String(), think.String()
}

// reasoning gives the thinking of a delta under whichever name it comes. Servers that changed the name send the same text
// under both, so only the first that is not empty counts.
func (d *delta) reasoning() string {
	for _, raw := range []json.RawMessage{d.ReasoningContent, d.Reasoning, d.Thinking, d.ReasoningText} {
		if text, _ := parts(raw); text != "" {
			return text
		}
	}
	if !isSet(d.ReasoningDetails) {
		return ""
	}
	var list []struct {
		Text    json.RawMessage `json:"text"`
		Summary json.RawMessage `json:"summary"`
	}
	_ = unmarshal(d.ReasoningDetails, &list)
	var b strings.Builder
	for _, p := range list {
		b.WriteString(str(p.Text))
		b.WriteString(str(p.Summary))
	}
	return b.String()
}

// tool gives the text of a delta's tool calls: names and arguments in order.
func (d *delta) tool() string {
	if !isSet(d.ToolCalls) && !isSet(d.FunctionCall) {
		return ""
	}
	type function struct {
		Name      json.RawMessage `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	}
	var calls []struct {
		Function function `json:"function"`
	}
	_ = unmarshal(d.ToolCalls, &calls)
	var b strings.Builder
	for _, c := range calls {
		b.WriteString(str(c.Function.Name))
		b.WriteString(arguments(c.Function.Arguments))
	}
	if len(calls) == 0 {
		var f function
		_ = unmarshal(d.FunctionCall, &f)
		b.WriteString(str(f.Name))
		b.WriteString(arguments(f.Arguments))
	}
	return b.String()
}

// arguments gives the text of a call's arguments: a JSON string's text, or an object as it stands.
func arguments(raw json.RawMessage) string {
	if len(raw) > 2 && raw[0] == '{' {
		return string(raw)
	}
	return str(raw)
}

// finish puts a finish reason into the common vocabulary; "" where there is none.
func finish(raw json.RawMessage) string {
	word := str(raw)
	if word == "" && len(raw) > 0 && raw[0] == '{' { // SGLang's own form
		var o struct {
			Type string `json:"type"`
		}
		_ = unmarshal(raw, &o)
		word = o.Type
	}
	return FinishReason(word)
}
