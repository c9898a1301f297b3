package sim

import (
	"encoding/json"
	"io"
	"sync"
	"time"
)

// Kinds of a Sent event.
const (
	kindHeaders   = "headers" // response headers in a write of their own
	kindRole      = "role"    // a delta with a role and no text
	kindContent   = "content"
	kindReasoning = "reasoning"
	kindTool      = "tool"
	kindSilent    = "silent" // tokens without text
	kindHidden    = "hidden" // tokens without event; never in Served.Events
	kindComment   = "comment"
	kindGarbage   = "garbage"
	kindError     = "error"
	kindFinish    = "finish"
	kindUsage     = "usage"
	kindDone      = "done"
	kindBody      = "body" // the whole answer of a request that did not stream
)

// Served is the truth about one request. Durations count from the moment at which the request had been read in full, unless they
// say otherwise; one that was never reached is 0.
type Served struct {
	ID           int64         `json:"id"`
	Path         string        `json:"path"`
	Model        string        `json:"model"` // that answered
	Stream       bool          `json:"stream"`
	Status       int           `json:"status"`
	Refusal      string        `json:"refusal,omitempty"` // why, for a status of 400 or more
	Traps        string        `json:"traps,omitempty"`
	Received     time.Duration `json:"received_ns"`       // since the server's start: the request had been read in full
	Upload       time.Duration `json:"upload_ns"`         // from the request's first byte to its last
	PromptTokens int           `json:"prompt_tokens"`     //
	CachedTokens int           `json:"cached_tokens"`     // of them from the cache, in truth
	MayCache     bool          `json:"may_use_cache"`     // the cache was used
	Asked        int           `json:"asked_tokens"`      //
	Load         time.Duration `json:"load_ns,omitempty"` // the model was loaded first, so long
	OutputTokens int           `json:"output_tokens"`     // generated, reasoning and silent ones included
	Reasoning    int           `json:"reasoning"`         // of them reasoning, hidden ones included
	Hidden       int           `json:"hidden"`            // of them without any event
	Silent       int           `json:"silent"`            // of them with an event but without text
	PrefillStart time.Duration `json:"prefill_start_ns"`  // what lies before is queueing
	PrefillEnd   time.Duration `json:"prefill_end_ns"`    //
	FirstToken   time.Duration `json:"first_token_ns"`    // token 1 was due
	LastToken    time.Duration `json:"last_token_ns"`     // token N was due
	Batch        int           `json:"batch"`             // the most streams that decoded together with it, itself included
	Events       []Sent        `json:"events"`
	Finish       string        `json:"finish,omitempty"`
	Ended        string        `json:"ended"` // complete, early stop, error, reset, truncated, hung, refused, client gone, server closed
}

// Sent is one event as it was written. Events of one write share their stamps.
type Sent struct {
	Kind   string        `json:"kind"`
	Tokens int           `json:"tokens,omitempty"` // output tokens in it
	Text   string        `json:"text,omitempty"`   // as the client must see it; name and arguments for a tool call
	Due    time.Duration `json:"due_ns"`           // by the timetable
	Begin  time.Duration `json:"begin_ns"`         // right before its (last) write
	End    time.Duration `json:"end_ns"`           // right after that returned
}

// TextBearing reports whether the event has text that counts as output.
func (s Sent) TextBearing() bool {
	return s.Text != "" && (s.Kind == kindContent || s.Kind == kindReasoning || s.Kind == kindTool)
}

// journal keeps the last requests served. Bounded by what it holds: requests, and events in them.
type journal struct {
	mu       sync.Mutex
	served   []Served
	events   int
	expected int           // requests whose last bytes are being written
	since    time.Duration // requests received before this moment were cleared, also where they end later
	out      io.Writer
	sums     totals
}

const (
	keptRequests = 10000
	keptEvents   = 400000
)

// expect says that a client may soon have seen the end of a request that is not in the journal yet.
func (l *journal) expect() {
	l.mu.Lock()
	l.expected++
	l.mu.Unlock()
}

func (l *journal) add(s *Served, expected bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if expected {
		l.expected--
	}
	l.sums.add(s)
	if s.Received < l.since {
		return
	}
	l.served = append(l.served, *s)
	l.events += len(s.Events)
	drop := 0
	for drop < len(l.served)-1 && (len(l.served)-drop > keptRequests || l.events > keptEvents) {
		l.events -= len(l.served[drop].Events)
		drop++
	}
	l.served = l.served[drop:]
}

// all waits, for a second at most, until requests whose end a client can have seen are in, and gives what there is.
func (l *journal) all() []Served {
	l.settle()
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Served(nil), l.served...)
}

func (l *journal) settle() {
	for range 1000 {
		l.mu.Lock()
		expected := l.expected
		l.mu.Unlock()
		if expected == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// totals waits as all does.
func (l *journal) totals() totals {
	l.settle()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sums
}

func (l *journal) clear(now time.Duration) {
	l.mu.Lock()
	l.served, l.events, l.since = nil, 0, now
	l.mu.Unlock()
}

// print writes one line to the log file, if there is one.
func (l *journal) print(s *Served) {
	if l.out == nil {
		return
	}
	b, err := json.Marshal(s)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.out.Write(append(b, '\n'))
}
