// Package builtins is the Starlark surface of a suite's programs: prompt, stream, timer, cache_stats, fingerprint and the
// w that run(w) is given. It unpacks and checks arguments, converts values, and calls a Host; it never opens a socket or a
// file, never measures, and knows neither engine nor drivers.
package builtins

import (
	"context"
	"encoding/json"
	"time"

	"github.com/llm-speed/llm-speed/internal/chat"
)

// Host does what the builtins ask. It speaks in plain structs of JSON-able fields, so that it can stand in this process or
// at the other end of a pipe. Errors end the program; they reach it with a Starlark backtrace.
type Host interface {
	// Prompt realises a prompt: generated text is fitted to its tokens on this backend, cold prompts are salted.
	Prompt(ctx context.Context, spec PromptSpec) (Prompt, error)
	// Stream runs prompts, all at once behind one barrier, and returns when the last has ended.
	Stream(ctx context.Context, spec StreamSpec) (Batch, error)
	// CacheStats reads the backend's prefix cache counters since the pass began; nil where it exposes none.
	CacheStats(ctx context.Context) (*CacheStats, error)
	// Fingerprint describes hardware, backend, model and limits as a JSON object.
	Fingerprint(ctx context.Context) (json.RawMessage, error)
	// Elapsed is the time since the pass began, on the engine's clock.
	Elapsed() time.Duration
	// Record keeps a value of a metric that the suite declares.
	Record(metric string, value float64) error
	// Log shows a line that the program printed.
	Log(line string)
}

// PromptSpec asks for a prompt: exactly one of Tokens, Text, Messages, Parts and Extends is set.
type PromptSpec struct {
	Tokens   int            `json:"tokens,omitempty"`   // generated text, so many tokens with the template
	Text     string         `json:"text,omitempty"`     // one user message
	Messages []chat.Message `json:"messages,omitempty"` // a conversation
	Tools    []chat.Tool    `json:"tools,omitempty"`    // with Messages
	Parts    []Part         `json:"parts,omitempty"`    // one user message out of generated parts
	Extends  int            `json:"extends,omitempty"`  // ID of the prompt that Messages are added to
	Cold     bool           `json:"cold"`               // salted, so that no earlier prompt shares its prefix
}

// Part is a generated piece of a prompt. A shared part has the same text wherever its name is used in a pass; a fresh one
// never.
type Part struct {
	Shared string `json:"shared,omitempty"`
	Tokens int    `json:"tokens"`
}

// Prompt is a realised prompt. Its text stays with the host.
type Prompt struct {
	ID     int  `json:"id"`
	Tokens *int `json:"tokens"` // prompt tokens as counted before the send; nil where the backend can't count
}

// StreamSpec asks for streams. More than one prompt is a batch behind one barrier.
type StreamSpec struct {
	Prompts      []int         `json:"prompts"` // prompt IDs
	Batch        bool          `json:"batch"`   // a list was given, be it of one
	OutputTokens int           `json:"output_tokens"`
	Reasoning    string        `json:"reasoning,omitempty"` // "", "off" or "on"
	Stagger      time.Duration `json:"stagger_ns,omitempty"`
}

// Stream is one finished stream, stamped and counted in Go. Nil is unknown.
type Stream struct {
	TTFTms    *float64 `json:"ttft_ms"`
	TTFAms    *float64 `json:"ttfa_ms"`
	DecodeTPS *float64 `json:"decode_tps"`
	AnswerTPS *float64 `json:"answer_tps"`
	WallMs    *float64 `json:"wall_ms"`
	Prompt    *int     `json:"prompt_tokens"`
	Cached    *int     `json:"cached_tokens"`
	Output    *int     `json:"output_tokens"`
	Reasoning *int     `json:"reasoning_tokens"`
	Flags     []string `json:"flags"`
}

// Batch is what Stream gives back, streams in the order of the prompts.
type Batch struct {
	Streams      []Stream `json:"streams"`
	AggregateTPS *float64 `json:"aggregate_tps"`
	OverlapMs    *float64 `json:"overlap_ms"`
	WallMs       *float64 `json:"wall_ms"`
}

// CacheStats are prompt tokens looked up in, and served from, the backend's prefix cache.
type CacheStats struct {
	QueriedTokens int64 `json:"queried_tokens"`
	HitTokens     int64 `json:"hit_tokens"`
}
