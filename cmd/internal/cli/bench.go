package cli

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// benchFlags are a run as it was asked for.
type benchFlags struct {
	target
	spending
	suite                                   string
	workloads                               []string
	quick, noUpload, anon, long, sandboxOff bool
	forgetKey                               bool
	noCharts                                bool
	json, seed, resume, format              string
	repeats                                 int
	maxTime, timeout                        time.Duration
}

func (a *app) bench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Run a suite against a backend and show, save and explain what it measures",
		Long: `Run a suite against a backend. Without --backend it is the first of these that is here: a backend that offers the
model of --model; a running server that has a model loaded; any other running server; a program that can be started for
a model. Among equals the order is that of llm-speed detect. With --url the server's own answers say which backend it is.
Services that cost money and the simulator are only used when they are named.

The result is saved row by row under the user's data directory; a run that was cut off goes on with --resume.

The first Ctrl-C stops the run, saves and shows what there is; the second ends it at once.`,
		Example: `  # a server that runs, in half a minute
  llm-speed bench --url http://127.0.0.1:8080 --quick

  # two workloads on a model file: llama-server is started for it and stopped again
  llm-speed bench --model ~/models/qwen3-8b-q4_k_m.gguf --workload W1,W2 --json result.json

  # nothing here to measure yet: the simulator shows what a run looks like
  llm-speed bench --backend sim --opt profile=fast`,
		Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runBench(cmd.Context(), f, cmd.Flags().Changed)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.suite, "suite", defaultSuite, "built-in `SUITE`, or the folder of one")
	fl.StringSliceVar(&f.workloads, "workload", nil, "workloads or rows to run, `ROW,...`, as W1,W3/32768 (default: all)")
	fl.BoolVar(&f.quick, "quick", false, "shorter shapes of every workload; never ranked")
	fl.IntVar(&f.repeats, "repeats", 0, "`N` passes of every row (default: as the time budget allows)")
	fl.StringVar(&f.seed, "seed", "", "`SEED` of the prompts, up to 16 hex digits; the same seed gives the same bytes")
	fl.StringVar(&f.resume, "resume", "", "go on with `RUN`: its id, or last")
	heading(fl, "What is measured", "suite", "workload", "quick", "repeats", "seed", "resume")
	f.target.flags(fl)
	fl.DurationVar(&f.maxTime, "max-time", 0, "`TIME` budget, as 90s or 5m (default: the suite's); never cuts a first pass")
	fl.BoolVar(&f.long, "long", false, "run rows predicted to take over 5 minutes too")
	fl.DurationVar(&f.timeout, "timeout", 0, "`TIME` that each stream may take (default: from what is asked of it)")
	f.spending.flags(fl)
	heading(fl, "Limits", "max-time", "long", "timeout", "max-tokens-total")
	fl.StringVar(&f.json, "json", "", "write the result document to `FILE`; - is stdout, which then holds nothing else")
	fl.StringVar(&f.format, "format", "table", "`FORMAT` of what goes to stdout when the run ends: "+strings.Join(runFormats(), ", ")+" (docs/formats.md)")
	choices(cmd, runFormats())
	fl.BoolVar(&f.noCharts, "no-charts", false, "on a terminal: only the table, without charts beneath it")
	fl.BoolVar(&f.noUpload, "no-upload", false, "queue nothing of the result for upload")
	fl.BoolVar(&f.anon, "anon", false, "anonymous: its fp (docs/machine.md) fits no other run, and neither does what is queued for upload")
	fl.BoolVar(&f.forgetKey, "forget-key", false, "sign the result with a random key that is dropped: nobody can sign for it again")
	heading(fl, "Where the result goes", "json", "format", "no-charts", "no-upload", "anon", "forget-key", "keep-text")
	fl.BoolVar(&f.sandboxOff, "no-sandbox", false, "run the suite's programs in this process")
	heading(fl, "Debugging", "no-sandbox")
	return cmd
}

// runBench checks all that can be checked before anything runs, then runs.
func (a *app) runBench(ctx context.Context, f benchFlags, changed func(string) bool) error {
	switch {
	case f.repeats < 0:
		return usagef("--repeats %d: want 1 or more", f.repeats)
	case f.maxTime < 0 || f.timeout < 0:
		return usagef("--max-time and --timeout can't be negative")
	case changed("repeats") && f.repeats == 0:
		return usagef("--repeats 0: want 1 or more")
	}
	if err := checkFormat(f.format); err != nil {
		return err
	}
	if f.json == "-" && f.format != "table" && f.format != "json" {
		return usagef("--json - and --format %s both want stdout; --json FILE writes the document beside it", f.format)
	}
	if err := f.target.check(); err != nil {
		return err
	}
	if err := f.spending.check(changed); err != nil {
		return err
	}
	old, err := a.resumed(&f, changed)
	if err != nil {
		return err
	}
	seed, err := parseSeed(f.seed)
	if err != nil {
		return err
	}
	box := a.sandbox()
	if f.sandboxOff {
		box = inProcess()
	}
	s, official, err := a.loadSuite(ctx, f.suite, box)
	if err != nil {
		return err
	}
	if old != nil && old.Suite.Digest != s.Digest {
		return fail(exitFailed, "llm-speed bench --suite "+f.suite, fmt.Errorf("run %s can't go on: it used suite %s with digest %s, and the suite here has %s", old.RunID, old.Suite.Name, old.Suite.Digest, s.Digest))
	}
	rows, err := engine.PlanRows(s, f.workloads, f.quick)
	if err != nil {
		return usagef("%w", err)
	}
	var out *outFile
	if f.json != "" && f.json != "-" {
		if out, err = prepareFile(f.json); err != nil {
			return fail(exitUsage, "", fmt.Errorf("--json can't be written, so nothing was run: %w", err))
		}
		defer out.drop()
	}
	if reg, err := registry(); err != nil {
		return err
	} else if f.backend != "" {
		spec, err := reg.Lookup(f.backend)
		if err != nil {
			return usagef("%w", err)
		}
		options, err := f.optionsOf(spec, true)
		if err != nil {
			return err
		}
		if err := a.checkSim(spec, options); err != nil {
			return err
		}
	}
	a.warnKey(f.target)
	v := a.newView()
	defer v.close()
	ctx, stop := a.interruptible(ctx, func() { v.say("stopping; what is measured is kept (Ctrl-C again ends at once)") })
	defer stop()
	spec, err := a.choose(ctx, &f.target)
	if err != nil {
		v.close()
		return err
	}
	b := &benchRun{app: a, flags: f, suite: s, official: official, spec: spec, seed: seed, rows: rows, old: old, view: v, out: out, box: box}
	return b.run(ctx)
}

// parseSeed reads --seed; an empty one draws a seed.
func parseSeed(text string) (uint64, error) {
	if text == "" {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails, by its contract
		return binary.LittleEndian.Uint64(b[:]), nil
	}
	seed, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
	if err != nil {
		return 0, usagef("--seed %q: want 1 to 16 hex digits, as 5eed or 00000000deadbeef", text)
	}
	return seed, nil
}

// resumed loads the run that is to go on and takes from it what the command line leaves open.
func (a *app) resumed(f *benchFlags, changed func(string) bool) (*record.Result, error) {
	if f.resume == "" {
		return nil, nil
	}
	if changed("workload") {
		return nil, fail(exitUsage, "leave out --resume, or --workload", errors.New("a resumed run goes on with what it planned; for other rows start a new run"))
	}
	saved, err := a.load(f.resume)
	if err != nil {
		return nil, err
	}
	r := saved.Result
	if r.Kind != "" {
		return nil, fail(exitUsage, "llm-speed runs", fmt.Errorf("run %s was measured by %s, not by llm-speed: there is nothing that bench could go on with", r.RunID, r.Kind))
	}
	if r.State == record.Complete && len(failedRows(r)) == 0 {
		return nil, fail(exitFailed, "llm-speed explain "+r.RunID+" ROW", fmt.Errorf("run %s is complete: there is nothing to go on with", r.RunID))
	}
	for _, fixed := range []string{"seed", "quick"} {
		if changed(fixed) {
			return nil, usagef("--%s can't be changed in a run that goes on", fixed)
		}
	}
	f.seed, f.quick, f.anon = r.Seed, r.Mode == "quick", f.anon || r.Anonymous
	take := func(flag string, to *string, from string) {
		if !changed(flag) && from != "" {
			*to = from
		}
	}
	if !r.Suite.Official && !changed("suite") {
		return nil, usagef("run %s used suite %s out of a folder: name it with --suite DIR", r.RunID, r.Suite.Name)
	}
	take("suite", &f.suite, r.Suite.Name)
	take("backend", &f.backend, r.Backend.Name)
	if _, err := os.Stat(r.Model.Ref); err != nil && !changed("model") && strings.HasSuffix(r.Model.Ref, ".gguf") {
		return nil, usagef("run %s used the file %s, and results do not keep its folder: name it with --model FILE", r.RunID, r.Model.Ref)
	}
	take("model", &f.model, r.Model.Ref)
	f.workloads = r.Planned
	if !changed("repeats") {
		f.repeats = r.Budget.Repeats
	}
	return r, a.takeOptions(f, r)
}

func failedRows(r *record.Result) []record.Row {
	var rows []record.Row
	for _, row := range r.Rows {
		if row.Status == record.Failed {
			rows = append(rows, row)
		}
	}
	return rows
}

// benchRun is a run about to happen.
type benchRun struct {
	*app
	flags    benchFlags
	suite    *suite.Suite
	official bool
	spec     drivers.Spec
	seed     uint64
	rows     []engine.RowPlan
	old      *record.Result
	view     *view
	out      *outFile
	box      sandboxed
}

// errRowsFailed ends a run of which some rows failed.
var errRowsFailed = errors.New("some rows failed")
