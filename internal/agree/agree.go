// Package agree holds the client's figures against those that the server states about itself: decode and prefill rates by
// each one's own clock, and the counts of prompt, cached and output tokens.
//
// It measures with the same driver, decoder and metrics as a benchmark does. It never corrects a figure, never takes a
// server's figure for a client's, and says of what it can't compare why. What a server says of itself is not the truth
// either: two clocks that agree are hard to fool, two that do not are a reason to look.
package agree

import (
	"context"
	"fmt"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/prose"
)

// The limits of the relative difference between client and server. Counts have none: they are equal or they are not.
const (
	DecodeLimit  = 0.02
	PrefillLimit = 0.05
)

// Options say what is compared. The zero value of each number is its default.
type Options struct {
	Source  *prose.Source        // where prompt text comes from
	Seed    uint64               //
	Prompts []int                // lengths of the cold prompts, tokens, as near as a few tries come; default 512, 2048, 4096
	Output  int                  // tokens that each cold request asks for; default 256
	Repeats int                  // requests of each length; default 3
	Turns   int                  // of the conversation; default 6; negative: no conversation
	Note    func(string, ...any) // lines for a person about what is done now; may be nil
}

// The defaults.
const (
	defaultOutput  = 256
	defaultRepeats = 3
	defaultTurns   = 6
	turnOutput     = 24
	turnWords      = 120
	probeRepeats   = 5
	streamWithin   = 10 * time.Minute
)

func (o Options) withDefaults() Options {
	if len(o.Prompts) == 0 {
		o.Prompts = DefaultPrompts()
	}
	if o.Output <= 0 {
		o.Output = defaultOutput
	}
	if o.Repeats <= 0 {
		o.Repeats = defaultRepeats
	}
	if o.Turns == 0 {
		o.Turns = defaultTurns
	}
	if o.Note == nil {
		o.Note = func(string, ...any) {}
	}
	return o
}

// DefaultPrompts are the lengths of the cold prompts, tokens.
func DefaultPrompts() []int { return []int{512, 2048, 4096} }

// Need is what the session has to have room for.
func (o Options) Need() drivers.Need {
	o = o.withDefaults()
	longest := 0
	for _, n := range o.Prompts {
		longest = max(longest, n)
	}
	// Fitting may overshoot by a tenth, and the conversation grows by some 300 tokens a turn on a poor tokenizer.
	return drivers.Need{Context: max(longest+longest/8+o.Output, 512*max(o.Turns, 0)) + 64, Parallel: 1}
}

// Report is what was compared.
type Report struct {
	Schema      string       `json:"schema"`
	Backend     string       `json:"backend"`
	Version     string       `json:"version"`
	Build       string       `json:"build,omitempty"`
	Model       string       `json:"model"`
	Seed        string       `json:"seed"` // hex
	Simulated   bool         `json:"simulated"`
	Attached    bool         `json:"attached"`
	Agreed      bool         `json:"agreed"`   // something was held against a limit, and nothing is over it
	Compared    int          `json:"compared"` // comparisons that were held against a limit
	Over        int          `json:"over"`     // of which are over it
	Comparisons []Comparison `json:"comparisons"`
	Requests    []Request    `json:"requests"`
	Bench       *Bench       `json:"llama_bench"`
	BenchReason string       `json:"llama_bench_reason"` // why there is none; empty where there is
}

// Schema names the form of a Report.
const Schema = "llm-speed/agreement/v1"

// Comparison is one figure of both sides.
type Comparison struct {
	Name       string   `json:"name"` // decode_tps, prefill_tps, prefill_difference_tps, cached_tokens, prompt_tokens, output_tokens, ...
	What       string   `json:"what"` // for people
	Unit       string   `json:"unit"`
	Client     *float64 `json:"client"` // median over the requests; a sum for counts
	Server     *float64 `json:"server"`
	Difference *float64 `json:"difference_ratio"` // median over the requests of client / server - 1; for counts of the sums
	Limit      *float64 `json:"limit_ratio"`      // null: shown, not held against anything
	OK         *bool    `json:"ok"`               // null: not held against its limit, Reason says why
	Requests   int      `json:"requests"`         // that it stands on
	Reason     string   `json:"reason"`           // why there is no difference, or no verdict, or what is wrong
}

// Request is one stream with the raw figures of both sides.
type Request struct {
	Kind          string   `json:"kind"` // probe, cold or turn
	Asked         int      `json:"asked_prompt_tokens,omitempty"`
	PromptIDs     *int     `json:"prompt_ids"` // token ids of the prompt, by the server's tokenizer; null without one
	Prompt        *int     `json:"prompt_tokens"`
	Cached        *int     `json:"cached_tokens"`
	Shared        *int     `json:"shared_tokens"` // what its ids have in common with the turn before; null where not known
	AskedOutput   int      `json:"asked_output_tokens"`
	Output        *int     `json:"output_tokens"`
	EventTokens   *int     `json:"event_tokens"` // tokens of all events, where the server counts them one by one
	TTFTms        *float64 `json:"ttft_ms"`
	Decode        *float64 `json:"decode_tps"`
	Prefill       *float64 `json:"prefill_tps"` // the client's estimate
	ServerDecode  *float64 `json:"server_decode_tps"`
	ServerPrefill *float64 `json:"server_prefill_tps"`
	DecodeTokens  int      `json:"server_decode_tokens"`
	DecodeNs      int64    `json:"server_decode_ns"`
	PrefillTokens int      `json:"server_prefill_tokens"`
	PrefillNs     int64    `json:"server_prefill_ns"`
	Flags         []string `json:"flags"`
}

// Run compares on an open session. An error is one of the session: a stream that failed, or ctx that ended.
func Run(ctx context.Context, s drivers.Session, o Options) (*Report, error) {
	o = o.withDefaults()
	info := s.Info()
	r := &run{Options: o, session: s, info: info, caps: drivers.CapsOf(s)}
	r.report = Report{
		Schema: Schema, Backend: info.Backend, Version: info.Version, Build: info.Build, Model: info.Model.Name,
		Seed: fmt.Sprintf("%016x", o.Seed), Simulated: info.Simulated, Attached: info.Attached,
		Comparisons: []Comparison{}, Requests: []Request{}, BenchReason: "not asked for",
	}
	if err := r.cold(ctx); err != nil {
		return nil, err
	}
	if o.Turns > 0 {
		if err := r.conversation(ctx); err != nil {
			return nil, err
		}
	}
	r.counts()
	for _, c := range r.report.Comparisons {
		if c.OK == nil {
			continue
		}
		r.report.Compared++
		if !*c.OK {
			r.report.Over++
		}
	}
	r.report.Agreed = r.report.Compared > 0 && r.report.Over == 0
	return &r.report, nil
}
