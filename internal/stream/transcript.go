package stream

import (
	"encoding/json"
	"time"
)

// Provenance says where a count comes from (measurement.md section 2). The zero value means that the count is unknown.
type Provenance string

// The provenances, best first. A to C may be ranked, D is shown with its flag, E never stands as a rate.
const (
	Unknown        Provenance = ""
	Usage          Provenance = "A" // usage in the stream
	TimingBlock    Provenance = "B" // the server's timing block
	ServerTokens   Provenance = "C" // the same server's tokenizer on the whole text
	LocalTokenizer Provenance = "D"
	EventsCounted  Provenance = "E"
)

// Count is a number of tokens that knows where it comes from. A count whose From is Unknown has no value: its N is
// meaningless, never zero.
type Count struct {
	N    int        `json:"n"`
	From Provenance `json:"from"`
}

// Known reports whether the count has a value.
func (c Count) Known() bool { return c.From != Unknown }

// Kind is what an event's text is part of.
type Kind uint8

// The kinds of event. All but Silent are text-bearing.
const (
	Silent    Kind = iota // tokens without text, as the server states them (a held UTF-8 byte); never the first token
	Content               // the answer
	Reasoning             // thinking, in any of its field names
	Tool                  // a tool call's name or arguments
)

// Event is one step of a stream that carried tokens. Role-only, empty, usage-only, progress and comment events are none.
type Event struct {
	At     time.Duration // stamp on the run's clock
	Read   int           // number of the read that completed it
	Kind   Kind
	Text   string
	Tokens int // tokens in this event as the server states them; NotStated where it does not
}

// NotStated marks an Event whose server did not say how many tokens it holds.
const NotStated = -1

// Counts are the token counts of one request as the server states them.
type Counts struct {
	Prompt    Count `json:"prompt"`    // P: whole prompt, cached part and template included
	Cached    Count `json:"cached"`    // C: prompt tokens served from a cache; absent is unknown, not 0
	Output    Count `json:"output"`    // N: output tokens, reasoning included
	Reasoning Count `json:"reasoning"` // R: reasoning tokens among them

	// Hidden says that Output holds reasoning of which at most a summary was streamed, and the server does not say how much
	// it was: no rate can stand on such a count.
	Hidden bool `json:"hidden,omitempty"`
}

// ServerTiming is what the server says about its own time. Durations and counts are raw; rates are recomputed from them.
type ServerTiming struct {
	PromptTokens  Count         `json:"prompt_tokens"`      // tokens that Prefill was spent on (uncached)
	Prefill       time.Duration `json:"prefill_ns"`         // 0 where not stated
	DecodeTokens  int           `json:"decode_tokens"`      // tokens that fall inside Decode, by this project's rule; 0 where not known
	Decode        time.Duration `json:"decode_ns"`          // first token to last; 0 where not stated
	Queue         time.Duration `json:"queue_ns"`           // waiting before prefill; 0 where not stated
	Definition    string        `json:"definition"`         // which server's definition the figures follow, and what was recomputed
	StatedDecode  float64       `json:"stated_decode_tps"`  // the server's own decode rate, tok/s, as printed; 0 where none
	StatedPrefill float64       `json:"stated_prefill_tps"` // the server's own prefill rate, tok/s, as printed; 0 where none
}

// Finish reasons, in one vocabulary for all backends.
const (
	FinishLength = "length" // the asked number of tokens was generated, or the context ended
	FinishStop   = "stop"   // the model ended by itself
	FinishTool   = "tool_calls"
)

// Transcript is a recording understood: what the server said, event by event.
type Transcript struct {
	Events    []Event         // in stream order
	Counts    Counts          //
	Server    ServerTiming    //
	Finish    string          // one of the Finish reasons, or the server's own word
	PutBack   int             `json:",omitempty"` // how often the server says that it put the request back into its queue, and began it anew; 0 where it does not say
	Truncated bool            // the server says that the context was cut
	Model     string          // the model that the server says answered
	Disagree  []string        // figures of the server that can't both be true, in words with both numbers
	Extra     json.RawMessage // raw extras of the backend, a JSON object; shown as driver metadata
}
