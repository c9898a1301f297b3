package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/agree"
	"github.com/llm-speed/llm-speed/internal/prose"
)

// againstFlags say which server is compared with, and how long.
type againstFlags struct {
	target
	prompts []int
	repeats int
	seed    string
}

// againstNames are the flags that mean nothing without --against-server.
var againstNames = [...]string{"backend", "url", "model", "api-key", "llama-cpp-path", "opt", "prompts", "repeats", "seed"}

// benchWithin is how long llama-bench may take.
const benchWithin = 10 * time.Minute

// againstServer compares this program's figures with those that a server states of itself.
func (a *app) againstServer(ctx context.Context, f againstFlags, asJSON bool) error {
	if f.repeats < 1 {
		return usagef("--repeats %d: want 1 or more", f.repeats)
	}
	for _, n := range f.prompts {
		if n < 128 || n > 1<<20 {
			return usagef("--prompts %d: want lengths from 128 to %d tokens", n, 1<<20)
		}
	}
	seed, err := parseSeed(f.seed)
	if err != nil {
		return err
	}
	s, _, err := a.loadSuite(ctx, defaultSuite, a.sandbox())
	if err != nil {
		return err
	}
	source, err := prose.Load(s.Files, s.Generator)
	if err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	a.warnKey(f.target)
	ctx, stop := a.interruptible(ctx, func() {})
	defer stop()
	spec, err := a.choose(ctx, &f.target)
	if err != nil {
		return err
	}
	options, err := f.optionsOf(spec, true)
	if err != nil {
		return err
	}
	if err := a.checkSim(spec, options); err != nil {
		return err
	}
	config := a.config(f.target)
	config.Options = options
	config.Log = func(format string, args ...any) { a.errf("  "+format+"\n", args...) }
	o := agree.Options{Source: source, Seed: seed, Prompts: f.prompts, Repeats: f.repeats, Note: config.Log}
	r, err := a.compare(ctx, spec, config, o)
	if errors.Is(context.Cause(ctx), errInterrupted) && r == nil {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	if asJSON {
		if err := a.writeJSON(r); err != nil {
			return err
		}
	} else {
		a.outf("%s", agreement(r))
	}
	switch {
	case errors.Is(context.Cause(ctx), errInterrupted):
		return errInterrupted
	case r.Over > 0:
		return fail(exitFailed, "end what else runs on this machine, and compare again", fmt.Errorf("%d of %d comparisons are over their limits", r.Over, r.Compared))
	case r.Compared == 0:
		return fail(exitFailed, "", errors.New("nothing could be held against a limit: this server states nothing to compare with"))
	}
	return nil
}

// compare opens the backend, compares, and has llama-bench run where it belongs to the server. A started server has ended
// by then: both at once would share the machine.
func (a *app) compare(ctx context.Context, spec drivers.Spec, config drivers.Config, o agree.Options) (*agree.Report, error) {
	session, err := spec.Open(ctx, config, o.Need())
	if err != nil {
		return nil, fail(exitBackend, backendHint(spec, err), err)
	}
	info := session.Info()
	r, err := agree.Run(ctx, session, o)
	_ = session.Close()
	if err != nil {
		return nil, fail(exitBackend, "", err)
	}
	path := a.benchFor(spec, config, info)
	if path == "" || info.Model.Path == "" {
		r.BenchReason = "no llama-bench beside a llama-server that was started for this, or no model file"
		return r, nil
	}
	config.Log("llama-bench on the same file")
	ctx, cancel := context.WithTimeout(ctx, benchWithin)
	defer cancel()
	b, err := agree.RunBench(ctx, path, info.Model.Path, agree.BenchArgs(a.setting(spec, config, "args"), a.setting(spec, config, "ngl"))...)
	if err != nil {
		b = &agree.Bench{Tests: []agree.BenchTest{}, Reason: err.Error()}
	}
	r.Beside(b)
	return r, nil
}

// benchFor is the llama-bench that belongs to the server; empty where none does.
func (a *app) benchFor(spec drivers.Spec, config drivers.Config, info drivers.Info) string {
	for _, o := range spec.Options {
		if o.Env != llamaPathEnv {
			continue
		}
		path := a.setting(spec, config, o.Name)
		if path == "" && info.Attached {
			return "" // whose llama-server it is, is not known
		}
		return agree.BenchNear(path, "llama-server", a.Env("PATH"))
	}
	return ""
}

// setting is an option of a driver as it was given, or from the environment.
func (a *app) setting(spec drivers.Spec, config drivers.Config, name string) string {
	for _, o := range spec.Options {
		if o.Name == name {
			return orElse(config.Options[name], a.Env(o.Env))
		}
	}
	return ""
}
