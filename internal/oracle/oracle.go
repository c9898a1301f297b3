// Package oracle holds streams whose true figures are known: one or more for each trap of measurement.md section 8, and
// for combinations of them.
//
// A Case is the exact bytes of an answer, the moment at which each of them is written, and what is true of it: as literals,
// and, for moments that only turn out as the stream is served, by a small calculation from known tokens at known times
// (truth.go). Nothing here imports the metrics, parses a stream, reads a clock or opens a connection; the tests in
// drivers/oracletest play the cases through every driver.
package oracle

import (
	"strings"
	"time"
)

// Protocol is how a case speaks, and which driver it is for.
type Protocol string

// The protocols of the cases that Cases gives; those of a Dialect bear its name.
const (
	Chat        Protocol = "openai chat"        // /v1/chat/completions
	Completions Protocol = "openai completions" // /v1/completions
	LlamaCpp    Protocol = "llama.cpp"          // /completion
	Sim         Protocol = "sim"                // the simulator's driver
)

// Kind is what the text of a Mark is part of.
type Kind uint8

// The kinds. Silent tokens are stated by the server and have no text.
const (
	Answer Kind = iota
	Reasoning
	Tool
	Silent
)

// Mark is an event of the stream: tokens that are there once the write that it belongs to is.
type Mark struct {
	Kind   Kind
	Text   string
	Tokens float64 // n[i] by the rule of measurement.md section 2; 0 where they can't be known
}

// Write is what the server writes at one moment. No two writes of a case share a moment.
type Write struct {
	At    time.Duration // after t_send
	Data  string        // bytes of the body
	Marks []Mark        // events whose text is complete with this write
	Ends  []int         // where in Data each of them is complete; nil: at the ends of lines, see Cut
}

// Framing is how HTTP tells where the body ends.
type Framing uint8

// The framings.
const (
	Chunked    Framing = iota // each write is a chunk
	UntilClose                // the connection closes
	Length                    // Content-Length
	OneChunk                  // one chunk, which all writes fill
	Crumbs                    // chunks of seven bytes, many to a write
)

// End is how the answer ends.
type End uint8

// The ends.
const (
	Clean End = iota // as HTTP says
	Cut              // the connection is closed inside the body
	Reset            // the connection is reset inside the body
)

// Asked is what the request asked for, and what is known of its backend.
type Asked struct {
	Output     int  // tokens
	Prompt     int  // tokens; 0: not fitted
	Reuse      bool // the prompt cache may be used: the prompt is not cold
	Template   int  // tokens before the first message's text; -1 where not known
	CacheBlock int  // tokens
}

// Count is a number of tokens with its provenance, A to E; unknown where From is empty.
type Count struct {
	N    int
	From string
}

// Fig is a figure that is X, or one that can't be known: then Why is a part of the reason that has to be given.
type Fig struct {
	X   float64
	Why string
}

// Want is what is true of a case. Times are milliseconds after t_send, rates tokens a second.
type Want struct {
	Prompt, Cached, Output, Reasoning Count

	Events         int    // m
	How            string // how the tokens of the events are known: "stated", "one a token", "estimated" or ""
	TTFT           Fig
	TTFA           Fig
	E2E            Fig
	Decode         Fig // D
	P50, P95       Fig // of ITL
	TokensPerEvent Fig
	Stalls         Fig
	ServerPrefill  Fig
	ServerDecode   Fig

	Finish string   // in the common vocabulary
	Flags  []string // those of the stream; any other is wrong
	Cold   string   // proved, assumed, broken or reuse
	Err    error    // sentinel that the stream fails with; nil: it does not fail
}

// Wrong is a figure that a client reports that falls into the trap.
type Wrong struct {
	Client string // one of the clients in naive.go
	Figure string // ttft, decode or prefill
	X      float64
}

// Case is one stream.
type Case struct {
	Name     string
	Traps    []int // numbers of measurement.md section 8
	Naive    string
	Says     string
	Protocol Protocol
	Asked    Asked

	Status  int               // 200 where 0
	Header  map[string]string // beside the content type
	HeadAt  time.Duration     // when the response's header is written
	Sched   time.Duration     // t_sched relative to t_send; 0 or before it
	Framing Framing
	Writes  []Write
	End     End

	ReadLag time.Duration // what the client itself spent between two reads; replay only
	Expired bool          // the server has closed the connections that it had open; sockets only
	Close   bool          // events follow each other faster than reads are told apart: over sockets only TTFT and counts are compared

	Want  Want
	Wrong []Wrong
}

// Body is the whole body.
func (c *Case) Body() string {
	n := 0
	for _, w := range c.Writes {
		n += len(w.Data)
	}
	b := make([]byte, 0, n)
	for _, w := range c.Writes {
		b = append(b, w.Data...)
	}
	return string(b)
}

// Text is the whole text of one kind, in stream order.
func (c *Case) Text(k Kind) string {
	var s strings.Builder
	for _, w := range c.Writes {
		for _, m := range w.Marks {
			if m.Kind == k {
				s.WriteString(m.Text)
			}
		}
	}
	return s.String()
}

// TextTokens is how many tokens the visible text has. Each is a word with the space before it, in every case but those of
// tool calls.
func (c *Case) TextTokens() int { return strings.Count(c.Text(Reasoning)+c.Text(Answer), " ") }

// ByClock reports whether only the time that the server states bears the rate out: such a case can't be played faster than
// it was.
func (c *Case) ByClock() bool {
	return c.Want.How == "estimated" && c.Want.Decode.Why == "" && c.Want.ServerDecode.Why == "" && c.TextTokens() != c.Want.Output.N
}

// Moments are the writes' own times, the timetable.
func (c *Case) Moments() []time.Duration {
	at := make([]time.Duration, len(c.Writes))
	for i, w := range c.Writes {
		at[i] = w.At
	}
	return at
}
