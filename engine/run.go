package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/prose"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// ErrNoBackend marks an error of Run that says that nothing could be measured: no session could be opened.
var ErrNoBackend = errors.New("no backend could be opened")

// run is one run of a suite.
type run struct {
	opt   Options
	clock *clock.Clock
	began time.Duration
	limit time.Duration
	rows  []RowPlan
	state []*rowState // beside rows
	prose *prose.Source

	session  *session
	broken   bool          // the session has lost its server
	losses   int           // how often a session has lost one that was running already
	first    *drivers.Info // of the first session
	rates    []rate        // what rows so far have shown
	result   *record.Result
	connsMu  sync.Mutex    // warm-ups run at once
	conns    []stream.Conn // that were opened
	secrets  []string      // beside the key: what the session says must appear nowhere
	machine  func()        // waits for what was seen of the machine, and writes it down
	observer *Observer     // nil where the machine is not watched
	runFlag  []record.Flag
	ownMu    sync.Mutex // warm-ups run at once
	own      []Span     // in which the run used the machine; see using

	ledger ledger        // tokens that all requests took
	pacing sync.Mutex    // one wait for a rate limit at a time
	waited time.Duration // for rate limits, in all
	pauses pauses        // of the pass that runs

	estimate     Estimate
	echoes       echoes
	countsBack   bool // the tokens of an answer were counted by sending it back
	lined        bool // the line that a hosted session's prompts are fitted by was learnt, or tried to be
	ceilingSkips int  // rows that the ceiling kept from being begun
}

// rowState is what a row has gathered.
type rowState struct {
	program Program
	passes  []passResult
	session *session      // that the last pass ran on
	status  record.Status // "" while it has not been run
	reason  string
	kept    *record.Row // of a resumed run: it is not run again
}

// Run runs the suite and gives the result document, which has been saved after every row. The document is there, as far as
// it came, also with an error; the error is that of the run as a whole: nothing could be opened (ErrNoBackend), a program
// is wrong (*builtins.ScriptError), the result could not be saved, or ctx ended. Rows that failed are not an error.
func Run(ctx context.Context, opt Options) (*record.Result, error) {
	r, err := newRun(ctx, opt)
	if err != nil {
		return nil, err
	}
	defer r.closeSession()
	if err := r.begin(ctx); err != nil {
		return r.result, errors.Join(err, r.endWatch())
	}
	err = r.all(ctx)
	return r.result, errors.Join(err, r.finish(ctx, err))
}

func newRun(ctx context.Context, opt Options) (*run, error) {
	rows, err := PlanRows(opt.Suite, opt.Workloads, opt.Quick)
	if err != nil {
		return nil, err
	}
	if old := opt.Resume; old != nil {
		mode := map[bool]string{true: "quick", false: "full"}[opt.Quick]
		switch {
		case old.Suite.Digest != opt.Suite.Digest:
			return nil, fmt.Errorf("run %s was made with another %s (%s, here %s): it can't be resumed with this one", old.RunID, old.Suite.Name, old.Suite.Digest, opt.Suite.Digest)
		case old.Mode != mode:
			return nil, fmt.Errorf("run %s is a %s run and can't go on as a %s one", old.RunID, old.Mode, mode)
		case old.Seed != fmt.Sprintf("%016x", opt.Seed):
			return nil, fmt.Errorf("run %s has seed %s, not %016x", old.RunID, old.Seed, opt.Seed)
		}
	}
	c := opt.Config.Clock
	if c == nil {
		c = clock.New()
		opt.Config.Clock = c
	}
	src, err := prose.Load(opt.Suite.Files, opt.Suite.Generator)
	if err != nil {
		return nil, fmt.Errorf("suite %s: %w", opt.Suite.Name, err)
	}
	r := &run{opt: opt, clock: c, began: c.Now(), rows: rows, prose: src, limit: opt.MaxTime}
	r.ledger.most = opt.MaxTokens
	if r.limit == 0 {
		s := opt.Suite.Budget.DefaultS
		if opt.Quick {
			s = opt.Suite.Budget.QuickS
		}
		r.limit = time.Duration(s * float64(time.Second))
	}
	if opt.Repeats > 0 {
		for i := range r.rows {
			r.rows[i].Passes = opt.Repeats
		}
	}
	programs := map[string]Program{}
	for i := range rows {
		name := rows[i].workload.Program
		if programs[name] == nil {
			if programs[name], err = r.compile(ctx, name); err != nil {
				return nil, err
			}
		}
		st := &rowState{program: programs[name]}
		r.state = append(r.state, st)
	}
	return r, nil
}

// begin writes down what the run is before anything of it is measured.
func (r *run) begin(ctx context.Context) error {
	mode := "full"
	if r.opt.Quick {
		mode = "quick"
	}
	s := r.opt.Suite
	r.result = &record.Result{
		Schema: record.Schema, RunID: r.opt.RunID, StartedAt: r.clock.Wall(r.began).UTC(), State: record.Running, Mode: mode,
		Client: r.opt.Client, Seed: fmt.Sprintf("%016x", r.opt.Seed), Anonymous: r.opt.Anonymous,
		Suite:   record.Suite{Name: s.Name, Version: s.Version, Digest: s.Digest, Generator: s.Generator, Official: r.opt.Official},
		Backend: record.Backend{Name: r.opt.Spec.Name}, Flags: []record.Flag{}, Rows: []record.Row{}, Raw: []record.RawFile{},
		Budget:  record.Budget{LimitS: r.limit.Seconds(), Repeats: r.opt.Repeats, Cut: []string{}},
		Reasons: record.Reasons{},
	}
	r.result.Environment.Events, r.result.Environment.Series = []string{}, []record.RawFile{}
	if old := r.opt.Resume; old != nil {
		r.goOn(old)
	}
	r.watchMachine(ctx)
	r.machine = r.look(ctx)
	return r.save()
}

// all runs the rows in order, then spends what is left of the budget.
func (r *run) all(ctx context.Context) error {
	if err := r.openFirst(ctx); err != nil {
		return err
	}
	for i := range r.rows {
		if r.state[i].kept != nil {
			continue
		}
		if err := r.row(ctx, i); err != nil {
			return err
		}
		if err := r.saveRow(i); err != nil {
			return err
		}
	}
	return r.spend(ctx)
}

// notKnown is why a row is not ranked that has nothing against it itself.
const notKnown = "the suite is not an official one, or the model's weights and quantisation are not known"

func (r *run) doing(what string) { r.opt.Watch.Live.set(func(l *Live) { l.doing = what }) }

func (r *run) note(format string, args ...any) {
	if w := r.opt.Watch.Note; w != nil {
		w(r.redactText(fmt.Sprintf(format, args...)))
	}
}
