package cli

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/calibrate"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/store"
)

// memoryLimit is where the garbage collector begins to work harder, in bytes: with the program itself a run stays under 64 MiB.
const memoryLimit = 40 << 20

// run opens the store, runs the engine, and shows and saves what came of it.
func (b *benchRun) run(ctx context.Context) error {
	if b.LimitMemory != nil {
		b.LimitMemory(memoryLimit)
	}
	options, err := b.flags.optionsOf(b.spec, true)
	if err != nil {
		return err
	}
	config := b.config(b.flags.target)
	config.Options = options
	config.Log = func(format string, args ...any) { b.view.say("  "+format, args...) }
	folder, err := b.folder()
	if err != nil {
		return err
	}
	defer folder.Close()
	save := &saver{to: folder.Save}
	opt := engine.Options{
		Suite: b.suite, Official: b.official, Workloads: b.flags.workloads, Quick: b.flags.quick, Spec: b.spec, Config: config,
		Seed: b.seed, Repeats: b.flags.repeats, MaxTime: b.flags.maxTime, Long: b.flags.long, Timeout: b.flags.timeout, Anonymous: b.flags.anon,
		Client: b.client(), RunID: folder.ID(),
		MaxTokens: b.flags.ceiling(b.spec), KeepText: b.flags.keepText,
		Compile:   b.box.compile,
		Calibrate: calibrate.Run,
		Save: func(r *record.Result) error {
			b.complete(r, options)
			return save.save(r)
		},
		SaveRaw: save.raw(folder.SaveRaw), Resume: b.old, Watch: b.watch(),
	}
	b.aboutMachine(&opt, folder)
	b.view.say("%s %s on %s, run %s", b.suite.Name, b.suite.Version, b.spec.Title, folder.ID())
	result, err := engine.Run(ctx, opt)
	b.view.close()
	if b.old == nil && neverBegan(ctx, result, err) {
		if result != nil {
			err = errors.Join(err, b.show(result))
		}
		return b.verdict(ctx, result, errors.Join(err, folder.Discard()))
	}
	if result != nil {
		// Hashing comes last: it delays no first request and meets no timed pass.
		result.Client.SHA256 = b.ownDigest()
		err = errors.Join(err, opt.Save(result))
		err = errors.Join(err, b.show(result))
		if line := b.flags.spentLine(b.spec, result); line != "" {
			b.errf("%s\n", line)
		}
		b.errf("%s\n", save.told(result, folder.Dir()))
		if !save.behind {
			b.sealed(folder, result)
		}
	}
	return b.verdict(ctx, result, err)
}

// neverBegan reports whether a run ended by itself before it measured anything, so that there is nothing to keep.
func neverBegan(ctx context.Context, r *record.Result, err error) bool {
	if r == nil {
		return true
	}
	return err != nil && len(r.Rows) == 0 && len(r.Raw) == 0 && ctx.Err() == nil
}

// folder makes the folder of a new run, or locks that of the run that goes on.
func (b *benchRun) folder() (*store.Run, error) {
	st, err := b.store()
	if err != nil {
		return nil, err
	}
	if b.old == nil {
		var random [4]byte
		_, _ = rand.Read(random[:]) // never fails, by its contract
		return st.Create(store.NewRunID(time.Now(), binary.LittleEndian.Uint32(random[:])))
	}
	run, old, err := st.Resume(b.old.RunID)
	if err != nil {
		return nil, err
	}
	if run.Imported() != nil {
		return nil, errors.Join(usagef("run %s was imported: what is added here would not be of the machine that measured it", run.ID()), run.Close())
	}
	if err := run.DropSeal(); err != nil { // it is of what the run was
		return nil, errors.Join(err, run.Close())
	}
	b.old = old // as it is now that nobody else writes it
	return run, nil
}

// complete adds what the engine can't know: which rows the run is to have and how the driver was set, for --resume.
func (b *benchRun) complete(r *record.Result, options map[string]string) {
	r.Suite.Sandbox = b.box.name
	r.Planned = nil
	for _, row := range b.rows {
		r.Planned = append(r.Planned, row.Key)
	}
	keepOptions(r, b.spec, options)
}

// tellPass is how long a pass takes at least to be worth a line of its own.
const tellPass = 5 * time.Second

// watch tells the view what happens.
func (b *benchRun) watch() engine.Watch {
	v := b.view
	told := map[string]bool{} // rows that had their line; what more passes add is in the table
	return engine.Watch{
		Live: v.live,
		Note: func(line string) { v.say("  %s", line) },
		Planned: func(p engine.Plan) {
			v.say("%s: %s; %s, time budget %s", strings.Join(nonEmpty(p.Backend.Backend, p.Backend.Version), " "), orElse(p.Backend.Model.Name, p.Backend.Model.Ref), report.Count(len(p.Rows), "row"), report.Duration(p.Budget))
			for _, line := range b.flags.costLines(b.spec, p.Estimate) {
				v.say("%s", line)
			}
		},
		Row: func(row engine.RowPlan) {
			if !v.tty {
				v.say("%s %s: started", row.Key, row.Name)
			}
		},
		Pass: func(p engine.PassDone) {
			if p.Err != nil {
				v.say("%s: pass %d failed after %s: %v", p.Key, p.Pass, report.Duration(p.Took), p.Err)
			} else if !v.tty && p.Of > 1 && p.Took >= tellPass {
				v.say("%s: pass %d of %d took %s", p.Key, p.Pass, p.Of, report.Duration(p.Took))
			}
		},
		Done: func(row record.Row) {
			if !told[row.Key] {
				v.say("%s", report.Line(row))
			}
			told[row.Key] = true
		},
	}
}

// show writes the result: as --format says, or the document where stdout is for that.
func (b *benchRun) show(r *record.Result) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	text = append(text, '\n')
	if b.flags.json == "-" {
		_, err := b.Stdout.Write(text)
		return err
	}
	if b.flags.format == "table" && len(r.Rows) == 0 {
		return b.writeFile(text)
	}
	if err := b.writeRun(b.Stdout, r, b.flags.format); err != nil {
		return errors.Join(err, b.writeFile(text))
	}
	if b.flags.format == "table" && !b.flags.noCharts {
		if err := b.charts(r); err != nil {
			return err
		}
	}
	return b.writeFile(text)
}

// writeFile writes the document to the file of --json.
func (b *benchRun) writeFile(text []byte) error {
	if b.out == nil {
		return nil
	}
	if err := b.out.write(text); err != nil {
		return fmt.Errorf("write --json: %w", err)
	}
	return nil
}

// resumeCommand is the command line that goes on with the run: with what the result does not keep.
func (b *benchRun) resumeCommand(r *record.Result) string {
	command := "llm-speed bench --resume " + r.RunID
	if !b.official {
		command += " --suite " + b.flags.suite
	}
	if b.flags.url != "" && shownURL(b.flags.url) == b.flags.url { // a URL may hold a password
		command += " --url " + b.flags.url
	}
	if strings.ContainsAny(b.flags.model, `/\`) {
		command += " --model " + b.flags.model
	}
	if b.flags.llamaPath != "" {
		command += " --llama-cpp-path " + b.flags.llamaPath
	}
	return command + optArguments(lost(r))
}

// verdict turns the end of a run into an exit code.
func (b *benchRun) verdict(ctx context.Context, r *record.Result, err error) error {
	resume := ""
	if r != nil {
		resume = b.resumeCommand(r)
	}
	switch {
	case errors.Is(context.Cause(ctx), errInterrupted):
		b.warn("interrupted; to go on: %s", resume)
		return errInterrupted
	case errors.Is(err, engine.ErrNoBackend), errors.Is(err, drivers.ErrNoModel), errors.Is(err, drivers.ErrModelNotFound), errors.Is(err, drivers.ErrAuth):
		return fail(exitBackend, backendHint(b.spec, err), err)
	case err != nil:
		return err
	case r == nil:
		return errors.New("the run gave no result")
	}
	marred := rowsWithErrors(r)
	text := ""
	if len(marred) > 0 {
		text = report.Count(len(marred), "row") + " with failed passes; the rest is saved"
	}
	if _, _, failed := report.Tally(r); failed > 0 {
		if text = fmt.Sprintf("%d of %d; the rest is saved", failed, len(r.Rows)); len(marred) > 0 {
			text = fmt.Sprintf("%d of %d, and %s with failed passes; the rest is saved", failed, len(r.Rows), report.Count(len(marred), "row"))
		}
		return fail(exitFailed, resume+"   (runs the failed rows again)", fmt.Errorf("%w: %s", errRowsFailed, text))
	}
	if cut := cutRows(r); len(cut) > 0 {
		hint := "a higher --max-tokens-total"
		if _, skipped, _ := report.Tally(r); skipped > 0 {
			hint = resume + " --max-tokens-total N   (runs the skipped rows)"
		}
		return fail(exitFailed, hint, fmt.Errorf("the ceiling of %s tokens cut %s; the rest is saved", grouped(b.flags.ceiling(b.spec)), strings.Join(cut, ", ")))
	}
	if ok, skipped, _ := report.Tally(r); ok == 0 && skipped > 0 {
		return fail(exitFailed, "llm-speed explain "+r.RunID+" "+r.Rows[0].Key, fmt.Errorf("nothing was measured: %s skipped", report.Count(skipped, "row")))
	}
	if len(marred) > 0 {
		return fail(exitFailed, "llm-speed explain "+r.RunID+" "+marred[0].Key, errors.New(text))
	}
	return nil
}

// rowsWithErrors are the rows that have figures although some of their passes failed.
func rowsWithErrors(r *record.Result) []record.Row {
	var rows []record.Row
	for _, row := range r.Rows {
		if row.Status == record.OK && slices.ContainsFunc(row.Flags, func(f record.Flag) bool { return f.Name == "errors" }) {
			rows = append(rows, row)
		}
	}
	return rows
}
