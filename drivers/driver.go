// Package drivers is the contract between the engine and a backend.
//
// A driver is a Spec (data: its name, options, ports, how to find it) whose Open gives a Session. A Session sends a
// Request and returns what was read; a separate pure Decode says what that means. All else that a backend can do is an
// optional one-method interface, asserted once into Caps. Drivers never import one another, the engine or the metrics,
// never retry inside a timed sample, and never let a secret into a text.
package drivers

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Kind tells servers of this machine from paid ones.
type Kind string

// The kinds of backend.
const (
	Local     Kind = "local"
	Hosted    Kind = "hosted"
	Simulated Kind = "simulated" // every row carries the flag `simulated` and is never rankable; never chosen unasked
)

// Spec describes a backend. It is data: flags, detect, help and documents are made from it.
type Spec struct {
	Name    string   // as in --backend
	Title   string   // for people
	Doc     string   // one sentence
	Kind    Kind     //
	Options []Option // what can be set beside URL, model and key
	Looked  string   // where Detect looks, in words ("ports 8080 and 9931, llama-server on PATH")
	Start   string   // how a user starts one, one command line
	Able    Able     // what can be fixed, counted and proved; docs/backends.md is written from it, drivertest holds it to what is seen
	Limits  []string // known limits, a sentence each, for docs/backends.md
	Live    Live     // when a real server of it was last measured; the zero value says never
	// Fallback is set where Detect takes every server of a common protocol for its own: a server that another driver finds
	// too is the other's.
	Fallback bool
	// Detect says what of this backend is here. It returns within ctx, opens no session and starts nothing.
	// Nothing found is an empty list; an error means that looking itself failed.
	Detect func(ctx context.Context, c Config) ([]Found, error)
	// Open connects to a server or starts one. Need is what the next rows will ask of it.
	Open func(ctx context.Context, c Config, n Need) (Session, error)
}

// Able is what a backend lets a client fix, count and prove. Every field has to be stated, with Yes, No or Partly: the test of
// docs/backends.md complains about one that is not.
type Able struct {
	ExactLength  Ability // the output's length can be forced: Info.IgnoresEOS
	TokenPrompts Ability // this driver sends prompts as token ids
	Tokenizer    Ability // exact prompt lengths before sending: Tokenizer of the session
	Cached       Ability // it states how many prompt tokens came from the cache: Counts.Cached
	Cold         Ability // how a cold prompt is guaranteed; Partly where only the prompt's own novelty says so: Info.ColdAsked
	PerEvent     Ability // it states how many tokens each event holds
	Timing       Ability // it states its own times of prefill and decode: Transcript.Server
	CacheStats   Ability // cumulative counters of its prefix cache: CacheStatser
	Activity     Ability // requests of other clients can be seen: ActivityReporter
	Starts       Ability // this driver starts one itself where none runs
}

// Ability is one cell of the table of docs/backends.md. The zero value is not stated.
type Ability struct {
	Is  Answer
	How string // a few words: the field, the endpoint, the condition; may be empty for Yes and No
}

// Answer is the short form of an Ability.
type Answer uint8

// The answers. Some depends on the server's version, its start line or the model: How says on what.
const (
	NotStated Answer = iota
	Has
	HasNot
	Some
)

// Yes is an ability that every supported server of the backend has.
func Yes(how string) Ability { return Ability{Has, how} }

// No is one that none has, or that the driver does not use.
func No(how string) Ability { return Ability{HasNot, how} }

// Partly is one that depends on what how says.
func Partly(how string) Ability { return Ability{Some, how} }

// Live says when a driver last measured a real server, and which. Empty fields: never.
type Live struct {
	Date    string // 2026-11-24
	Version string // of the server
	How     string // "in CI, with a tiny GGUF on two CPU cores", "by hand, on an H200"
}

// Option is a setting of one driver, reached as --opt name=value or by its environment variable.
type Option struct {
	Name, Env, Default, Help string
	Secret                   bool
}

// Found is a backend that Detect saw.
type Found struct {
	Backend string  `json:"backend"`
	URL     string  `json:"url,omitempty"`    // base URL of a running server; empty when bench would start one
	Binary  string  `json:"binary,omitempty"` // executable that would be started
	Version string  `json:"version,omitempty"`
	Build   string  `json:"build,omitempty"` // build flags or compute back end, where it says so
	Models  []Model `json:"models"`
	Note    string  `json:"note,omitempty"` // why it can't be used, or what is odd about it
	Usable  bool    `json:"usable"`
	// Simulated is a simulator that answers as this backend: bench never chooses it unasked.
	Simulated bool `json:"simulated,omitempty"`
}

// Model is a model that a backend offers.
type Model struct {
	Ref        string `json:"ref"`  // what --model takes
	Name       string `json:"name"` // for people
	Path       string `json:"path,omitempty"`
	Quant      string `json:"quant,omitempty"`
	SizeBytes  int64  `json:"size_bytes,omitempty"`
	ContextMax int    `json:"context_max,omitempty"` // tokens; 0 where not known
	Loaded     bool   `json:"loaded"`
	Digest     string `json:"digest,omitempty"`      // sha256:… of the weights, or the hex alone, where the backend knows it without hashing
	DigestKind string `json:"digest_kind,omitempty"` // what that digest is over
}

// Config is what a user chose. Open and Detect read the environment through it alone.
type Config struct {
	URL     string            // base URL; empty: default ports, or start a server
	Named   bool              // the user named this backend: the URL is meant for it, whoever's host it is
	Model   string            // model reference; empty: the first one
	APIKey  Secret            //
	Options map[string]string // by Option.Name
	Env     func(string) string
	Clock   *clock.Clock
	Log     func(format string, args ...any) // progress lines for a person, never nil
	Guard   []string                         // command that runs a child and ends it when this process dies; see internal/proc
}

// Need is what the coming rows ask of a session.
type Need struct {
	Context  int // tokens a stream, prompt and output together
	Parallel int // streams at once
}

// Session is an open backend. Its methods may be called from several goroutines at once, Close last.
type Session interface {
	// Info says what was opened. It is constant over the session.
	Info() Info
	// Stream sends one request and returns what was read, also when it fails: the recording then holds what had come.
	// Preparing (rendering, encoding, connecting) comes first, then r.Hold, then the send. An HTTP error status is not an
	// error here: Decode reads it. It returns promptly when ctx ends, and has closed the connection then.
	Stream(ctx context.Context, r Request) (stream.Recording, error)
	// Decode is pure: the same recording always gives the same transcript. With an error the transcript holds what was
	// understood before it. Errors wrap the sentinels of this package.
	Decode(rec stream.Recording) (stream.Transcript, error)
	// Close ends the session and every process it started. Closing twice is allowed.
	Close() error
}

// Info describes an open session.
type Info struct {
	Backend     string            // Spec.Name
	Version     string            // the server's own word; empty where it has none
	Build       string            // build flags or compute back end; empty where not known
	URL         string            // base URL, no credentials
	URLKind     string            // "loopback", "lan" or "remote"
	Attached    bool              // the server ran before us
	Sized       bool              // Open shaped what serves to its Need, also where it is attached: rows of another need want another Open
	AnyParallel bool              // what was opened runs any number of streams as well as if it had been opened for just so many
	Model       Model             //
	ContextMax  int               // tokens that one stream may use in this session; 0 where not known
	Parallel    int               // streams that the server really runs at once; 0 where not known
	Template    int               // prompt tokens that the chat template puts before the first message's text; NotKnown where not known
	CacheBlock  int               // prompt cache granularity in tokens; 1 where the cache is exact or unknown
	Simulated   bool              //
	IgnoresEOS  bool              // the backend can be told to generate on past the end of text
	ColdAsked   bool              // the backend can be told, per request, to reuse nothing
	Metadata    map[string]string // raw extras worth keeping, no paths, no secrets
	Flags       map[string]string // flags of docs/measurement.md section 6 that hold for the whole session, with evidence
	Price       *Price            // what the service says that it charges; nil where it does not say
	WhyNot      map[string]string // why a field is not known, by its name in the result: "model.digest", "model.quant"
}

// Price is what a service charges, in US dollars.
type Price struct {
	Prompt  float64 // a prompt token that is not cached
	Output  float64 // an output token
	Request float64 // a request, beside its tokens
	From    string  // who says so: "openrouter.ai/api/v1/models"
}

// NotKnown is the value of an Info number that the backend does not tell.
const NotKnown = -1

// Prompt is what is sent: a conversation for the backend's own chat template.
type Prompt struct {
	Messages []chat.Message
	Tools    []chat.Tool
}

// Request is one stream to run.
type Request struct {
	Prompt       Prompt
	OutputTokens int    // exact where Info.IgnoresEOS, else an upper bound
	Reuse        bool   // the prompt cache may serve this prompt and keep it; false: reuse nothing, where the backend can be told
	Seed         uint64 //
	Reasoning    string // "", "off" or "on"; "" leaves it to the backend
	Slot         int    // streams of one conversation share a slot, where the backend has such; AnySlot otherwise

	// Hold, when set, is called once, after all preparation and right before the send; it returns when the stream may
	// start, with t_sched, or with an error, which Stream passes on.
	Hold func(context.Context) (sched time.Duration, err error)
	Tap  *stream.Tap // may be nil

	// FirstByteWithin is the deadline from the send to the first text; what comes before it (a role, comments) does not end
	// this wait, and a silence that IdleWithin allows may outlast it. 0: none.
	FirstByteWithin time.Duration
	IdleWithin      time.Duration // longest silence after it; 0: none
}

// AnySlot leaves the choice of the slot to the server.
const AnySlot = -1

// The optional interfaces of a Session.
type (
	// Tokenizer renders a prompt as Stream would and gives its token ids, template included. ErrUnsupported: it does so for
	// other kinds of prompt only (some know no tools).
	Tokenizer interface {
		Tokenize(ctx context.Context, p Prompt) ([]int32, error)
	}
	// CacheStatser reads the server's prefix cache counters, cumulative since the server started.
	CacheStatser interface {
		CacheStats(ctx context.Context) (CacheStats, error)
	}
	// Preempter counts requests that the server has put back into its queue, cumulative since it started: what such a request had
	// computed was thrown away, and done again inside its times.
	Preempter interface {
		Preemptions(ctx context.Context) (int64, error)
	}
	// CacheFlusher empties the prompt cache.
	CacheFlusher interface {
		FlushCache(ctx context.Context) error
	}
	// ActivityReporter tells what the server is doing now, so that other traffic is seen.
	ActivityReporter interface {
		Activity(ctx context.Context) (Activity, error)
	}
	// ServerLogger gives the last lines that a server started by the driver has printed.
	ServerLogger interface {
		ServerLog() []string
	}
	// Pacer is a service with rate limits. Pace says how long to wait before so many requests, with so many prompt and output
	// tokens in all, may be sent, and which limit asks for it; 0 where none does. It knows what the answers so far have
	// stated, makes no call, and never waits itself.
	Pacer interface {
		Pace(requests, prompt, output int) (wait time.Duration, why string)
	}
	// Adapter is a session that learns from a refusal. Adapt looks at the error of a request that the service refused before
	// it did anything, and reports whether later requests will be written otherwise, so that the same one may pass then.
	Adapter interface {
		Adapt(err error) (changed string, ok bool)
	}
	// TokenCounter counts a prompt as the service would, template included, without generating; it gives no token ids.
	TokenCounter interface {
		CountTokens(ctx context.Context, p Prompt) (int, error)
	}
	// SecretLister lists what must stand in no text and no recording, beside Config.APIKey: credentials in the forms in
	// which a server may repeat them, and folders of this machine that a server names.
	SecretLister interface {
		Secrets() []string
	}
)

// CacheStats are cumulative counters of prompt tokens.
type CacheStats struct {
	QueriedTokens int64 `json:"queried_tokens"` // prompt tokens looked up
	HitTokens     int64 `json:"hit_tokens"`     // of which were cached
}

// Activity is what a server does at one moment.
type Activity struct {
	Running int // requests being worked on; NotKnown where not told
	Waiting int // requests queued; NotKnown where not told
}

// Caps are the optional abilities of a session, asserted once.
type Caps struct {
	Tokenizer    Tokenizer
	CacheStatser CacheStatser
	Preempter    Preempter
	CacheFlusher CacheFlusher
	Activity     ActivityReporter
	ServerLogger ServerLogger
	Pacer        Pacer
	Adapter      Adapter
	Counter      TokenCounter
	Secrets      SecretLister // no ability: Names leaves it out
}

// CapsOf asserts each optional interface once. Sessions are never wrapped, so what it finds is what there is.
func CapsOf(s Session) Caps {
	var c Caps
	c.Tokenizer, _ = s.(Tokenizer)
	c.CacheStatser, _ = s.(CacheStatser)
	c.Preempter, _ = s.(Preempter)
	c.CacheFlusher, _ = s.(CacheFlusher)
	c.Activity, _ = s.(ActivityReporter)
	c.ServerLogger, _ = s.(ServerLogger)
	c.Pacer, _ = s.(Pacer)
	c.Adapter, _ = s.(Adapter)
	c.Counter, _ = s.(TokenCounter)
	c.Secrets, _ = s.(SecretLister)
	return c
}

// Names lists the abilities that are there, for people and golden files.
func (c Caps) Names() []string {
	var names []string
	for _, a := range []struct {
		name string
		has  bool
	}{
		{"tokenizer", c.Tokenizer != nil}, {"cache_stats", c.CacheStatser != nil}, {"cache_flush", c.CacheFlusher != nil},
		{"activity", c.Activity != nil}, {"preemptions", c.Preempter != nil}, {"server_log", c.ServerLogger != nil}, {"pace", c.Pacer != nil}, {"adapt", c.Adapter != nil}, {"token_count", c.Counter != nil},
	} {
		if a.has {
			names = append(names, a.name)
		}
	}
	return names
}

// Extra merges raw extras into one JSON object for Transcript.Extra; nil where there are none. It is valid UTF-8 whatever the
// server sent, so that documents with it can be read.
func Extra(fields map[string]json.RawMessage) json.RawMessage {
	if len(fields) == 0 {
		return nil
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return nil
	}
	return bytes.ToValidUTF8(b, []byte("\ufffd"))
}
