// Package engine is what a run is: it plans a suite's points against a backend, opens sessions, runs the programs pass by
// pass within a budget, turns recordings into rows, flags what is odd, and hands every finished row to be saved.
//
// It never decodes or logs inside a timed interval, never names a workload, and never lets one failed row take the others
// along.
package engine

import (
	"context"
	"encoding/json"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// Options are a run as the user asked for it.
type Options struct {
	Suite     *suite.Suite
	Official  bool     // the suite is one that the binary carries
	Workloads []string // ids to run; empty: all
	Quick     bool
	Spec      drivers.Spec
	Config    drivers.Config
	Seed      uint64
	Repeats   int           // passes of every row; 0: the budget decides
	MaxTime   time.Duration // budget; 0: the suite's
	Long      bool          // run rows predicted above five minutes too
	Timeout   time.Duration // per stream; 0: from what is asked of it
	MaxTokens int           // ceiling on the tokens of all requests, prompts and outputs; 0: none
	KeepText  bool          // keep the text of a hosted service's answers in the raw recordings
	Anonymous bool
	Client    record.Client
	RunID     string

	// Compile checks the suite's programs and says where they run; nil is InProcess.
	Compile Compiler

	// Fingerprint describes hardware and operating system as a JSON object; it runs before the first timed pass.
	Fingerprint func(context.Context) (json.RawMessage, error)
	// State describes the machine's state (load, memory, power) as a JSON object, before and after the run.
	State func(context.Context) (json.RawMessage, error)
	// ModelDigest hashes the weights after the last timed pass; nil where there are none to hash.
	ModelDigest func(ctx context.Context, path string) (digest, kind string, err error)
	// Identify reads what the headers of a model's files say, before the first timed pass; nil where nothing can be read.
	Identify func(drivers.Model) Identity
	// FP is the identity of machine and installation, computed beside the first requests; "" with the reason where it is not known.
	FP func(context.Context) (fp string, err error)
	// Observe begins to watch the machine, and ends the watching with Observer.Stop; nil does without.
	Observe func(ctx context.Context, now func() time.Duration) *Observer
	// SaveSeries stores what an Observer gave in the end, and names the file.
	SaveSeries func(series any) (record.RawFile, error)
	// Calibrate measures the client itself before the first workload; nil skips it.
	Calibrate func(ctx context.Context, parallel int) (json.RawMessage, []record.Flag, error)

	// Save is called with the whole document at the start, after every row and at the end. Its error ends the run.
	Save func(*record.Result) error
	// SaveRaw stores the recordings of one pass of a row before the row is saved, and names them.
	SaveRaw func(rowKey string, pass int, recs []stream.Recording) (record.RawFile, error)
	Resume  *record.Result // rows that are ok in it are not run again
	Watch   Watch
}

// Watch is told what happens, from the engine's goroutine. Nil functions are left out.
type Watch struct {
	Planned func(Plan)
	Row     func(RowPlan)    // a row starts
	Pass    func(PassDone)   // a pass of it has ended
	Done    func(record.Row) // a row has its result, or a better one
	Note    func(string)     // one line for a person
	Live    *Live            // polled by the view, may be nil
}

// Plan is what will be run.
type Plan struct {
	Rows     []RowPlan
	Budget   time.Duration
	Backend  drivers.Info
	Estimate Estimate // what the first passes will send
}

// RowPlan is one row of the plan.
type RowPlan struct {
	Key      string // as record.Row.Key
	ID, Name string
	Point    map[string]any
	Passes   int // first passes
	Need     suite.Need

	workload *suite.Workload
	params   map[string]any
}

// PassDone is a pass that has ended.
type PassDone struct {
	Key  string
	Pass int // from 1
	Of   int // passes planned for the row so far
	Took time.Duration
	Err  error
}
