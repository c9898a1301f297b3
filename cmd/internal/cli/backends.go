package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/all"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/sim"
)

// How long looking for backends may take in all, and what of it the drivers are given.
const (
	detectWithin = 2 * time.Second
	answerWithin = 1700 * time.Millisecond
)

// llamaPathEnv is the environment variable of the driver option that --llama-cpp-path sets.
const llamaPathEnv = "LLM_SPEED_LLAMA_CPP_PATH"

// target says which backend is meant.
type target struct {
	backend, url, model, key, llamaPath string
	options                             []string
}

func (t *target) flags(f *pflag.FlagSet) {
	f.StringVar(&t.backend, "backend", "", "`BACKEND` to use; see llm-speed detect (default: the first one found)")
	f.StringVar(&t.url, "url", "", "base `URL` of a running server")
	f.StringVar(&t.model, "model", "", "`MODEL`, as list-models shows it, or a file (default: the first one)")
	f.StringVar(&t.key, "api-key", "", "`KEY` of the server; better in the environment as LLM_SPEED_API_KEY")
	f.StringVar(&t.llamaPath, "llama-cpp-path", "", "`PATH` of llama-server, or of the folder that it is in")
	f.StringArrayVar(&t.options, "opt", nil, "option of the backend, `NAME=VALUE`; may be repeated")
	heading(f, "On which backend", "backend", "url", "model", "api-key", "llama-cpp-path", "opt")
}

// config makes what drivers are opened with. Options that are not the driver's own are found out in optionsOf.
func (a *app) config(t target) drivers.Config {
	key := orElse(t.key, a.Env("LLM_SPEED_API_KEY"))
	return drivers.Config{
		URL: t.url, Named: t.backend != "", Model: t.model, APIKey: drivers.NewSecret(key), Env: a.Env, Clock: clock.New(), Guard: a.guardCommand(),
		Log: func(string, ...any) {},
	}
}

// warnKey tells that a key in an argument is not safe.
func (a *app) warnKey(t target) {
	if t.key != "" {
		a.warn("a key in an argument can be seen by other users of this machine; set LLM_SPEED_API_KEY instead")
	}
}

// optionsOf takes the options that spec has out of --opt and --llama-cpp-path. strict refuses what spec does not have.
func (t target) optionsOf(spec drivers.Spec, strict bool) (map[string]string, error) {
	options := map[string]string{}
	names := make([]string, len(spec.Options))
	for i, o := range spec.Options {
		names[i] = o.Name
		if o.Env == llamaPathEnv && t.llamaPath != "" {
			options[o.Name] = absolute(t.llamaPath)
		}
	}
	for _, o := range t.options {
		name, value, ok := strings.Cut(o, "=")
		switch {
		case !ok:
			return nil, usagef("--opt %s: want name=value", o)
		case slices.Contains(names, name):
			options[name] = value
		case strict && len(names) == 0:
			return nil, usagef("unknown option %q: backend %s has none", name, spec.Name)
		case strict:
			return nil, usagef("unknown option %q of backend %s; valid: %s", name, spec.Name, strings.Join(names, ", "))
		}
	}
	return options, nil
}

// check refuses what makes no sense of a target, before anything is looked for.
func (t target) check() error {
	if t.llamaPath != "" && !exists(t.llamaPath) {
		return usagef("--llama-cpp-path %s: there is no such file or folder", t.llamaPath)
	}
	if t.url != "" && !isServer(t.url) {
		return usagef("--url %s: no URL of a server; want http://host:port or https://host", shownURL(t.url))
	}
	return nil
}

// checkSim refuses values that the simulator does not know, where the spec is the simulator's.
func (a *app) checkSim(spec drivers.Spec, options map[string]string) error {
	if spec.Kind != drivers.Simulated {
		return nil
	}
	for _, o := range spec.Options {
		var err error
		switch value := orElse(options[o.Name], a.Env(o.Env)); o.Name {
		case "profile":
			_, err = sim.Lookup(value)
		case "traps":
			_, err = sim.ParseTraps(value)
		}
		if err != nil {
			return fail(exitUsage, "llm-speed sim --help", fmt.Errorf("option %s of backend %s: %w", o.Name, spec.Name, err))
		}
	}
	return nil
}

// registry is the list of drivers.
func registry() (*drivers.Registry, error) { return all.Registry() }

// seen is what one driver found.
type seen struct {
	spec  drivers.Spec
	found []drivers.Found
	err   error
	told  []string // URLs among those found that the driver looks at only where it is told to
}

// errLate is of a driver that went on looking after its time.
var errLate = fmt.Errorf("no answer within %s", answerWithin)

// look asks the drivers what there is, all at once, and gives the answers in their order, each server with one driver. A
// driver that takes too long is not waited for. The error is ctx's.
func (a *app) look(ctx context.Context, specs []drivers.Spec, t target) ([]seen, error) {
	out := make([]seen, len(specs))
	type answer struct {
		of    int
		found []drivers.Found
		err   error
	}
	answers := make(chan answer, len(specs))
	within, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	c := a.config(t)
	for i, spec := range specs {
		options, err := t.optionsOf(spec, false)
		if err != nil {
			return nil, err
		}
		mine := c
		mine.Options = options
		out[i] = seen{spec: spec, err: errLate}
		go func() {
			found, err := spec.Detect(within, mine)
			answers <- answer{i, found, err}
		}()
	}
	began := time.Now()
	last := time.NewTimer(detectWithin)
	defer last.Stop()
	for range specs {
		select {
		case got := <-answers:
			out[got.of].found, out[got.of].err = got.found, got.err
			if errors.Is(got.err, context.DeadlineExceeded) {
				out[got.of].err = errLate
			}
			continue
		case <-last.C:
		case <-ctx.Done():
			return out, context.Cause(ctx)
		}
		break
	}
	claim(out, t.url)
	if t.url == "" {
		a.offer(ctx, out, t, time.Until(began.Add(detectWithin)))
	}
	return out, nil
}

// offer shows servers that only the driver of a common protocol found to the others: one of theirs may listen at a port that
// is not its own. What time is left bounds it.
func (a *app) offer(ctx context.Context, answers []seen, t target, within time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var specs []drivers.Spec
	for _, s := range answers {
		if s.spec.Kind == drivers.Local && !s.spec.Fallback {
			specs = append(specs, s.spec)
		}
	}
	for i := range answers {
		if !answers[i].spec.Fallback || len(specs) == 0 {
			continue
		}
		answers[i].found = slices.DeleteFunc(answers[i].found, func(f drivers.Found) bool {
			there := t
			there.url = f.URL
			again, err := a.look(ctx, specs, there)
			if err != nil {
				return false
			}
			theirs, ok := pickUsable(again)
			if !ok {
				return false
			}
			for j := range answers {
				if answers[j].spec.Name == theirs.spec.Name {
					mine := theirs.found[0]
					mine.Simulated = mine.Simulated || f.Simulated
					answers[j].found = append(answers[j].found, mine)
					answers[j].told = append(answers[j].told, mine.URL)
				}
			}
			return true
		})
	}
}

// pickUsable is the driver that can use what was looked at; after a claim there is one at the most.
func pickUsable(answers []seen) (seen, bool) {
	i := slices.IndexFunc(answers, func(s seen) bool { return len(s.found) > 0 && s.found[0].Usable })
	if i < 0 {
		return seen{}, false
	}
	return answers[i], true
}

// choose finds the backend that the user named or, where none was named, the one that pick prefers. The simulator and
// services that cost money are never chosen unasked. A server of no backend of its own was found at an address that its
// driver has to be told, or at a port that is not its own: that becomes the target's URL.
func (a *app) choose(ctx context.Context, t *target) (drivers.Spec, error) {
	reg, err := registry()
	if err != nil {
		return drivers.Spec{}, err
	}
	if t.backend != "" {
		spec, err := reg.Lookup(t.backend)
		if err != nil {
			return spec, usagef("%w", err)
		}
		return spec, nil
	}
	var specs []drivers.Spec
	for _, s := range reg.Specs() {
		if s.Kind != drivers.Simulated && !costsMoney(s, *t) {
			specs = append(specs, s)
		}
	}
	if err := anyHas(reg.Specs(), *t); err != nil {
		return drivers.Spec{}, err
	}
	answers, err := a.look(ctx, specs, *t)
	if err != nil {
		return drivers.Spec{}, err
	}
	s, found, ok := pick(answers, *t)
	if !ok {
		if t.url == "" && strings.EqualFold(filepath.Ext(t.model), ".gguf") {
			return reg.Lookup("llamacpp") // what it lacks is all that this user wants to know
		}
		return drivers.Spec{}, nothingFound(answers, *t)
	}
	if t.url == "" && (s.spec.Fallback || slices.Contains(s.told, found.URL)) {
		t.url = found.URL
	}
	return s.spec, nil
}

// anyHas refuses an option that no backend has.
func anyHas(specs []drivers.Spec, t target) error {
	var names []string
	for _, s := range specs {
		for _, o := range s.Options {
			names = append(names, o.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, o := range t.options {
		if name, _, _ := strings.Cut(o, "="); !slices.Contains(names, name) {
			return usagef("unknown option %q; backends have: %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}

// nothingFound says what was looked for and where, and how to start each kind of server.
func nothingFound(answers []seen, t target) error {
	if t.url != "" { // it is known what is there: what else could be is of no use
		for _, s := range answers {
			for _, f := range s.found {
				if !s.spec.Fallback && !f.Usable {
					return fail(exitBackend, "", fmt.Errorf("%s at %s can't be used: %s", s.spec.Title, shownURL(t.url), orElse(f.Note, "it does not say why")))
				}
			}
		}
	}
	var b strings.Builder
	b.WriteString("no backend found")
	if t.url != "" {
		fmt.Fprintf(&b, " at %s", shownURL(t.url))
	}
	for _, s := range answers {
		if s.spec.Kind == drivers.Hosted && len(s.found) == 0 && s.err == nil {
			continue // no service is at that URL
		}
		state := "not found"
		if len(s.found) > 0 {
			state = "not usable"
		}
		fmt.Fprintf(&b, "\n  %s: %s; searched: %s", s.spec.Title, state, searched(s.spec, t))
		if s.err != nil {
			fmt.Fprintf(&b, "\n    %v", s.err)
		}
		for _, f := range s.found {
			note := orElse(f.Note, "it does not say why")
			if f.Simulated && f.Usable {
				note = "a simulator, which is only used where it is named: --url " + f.URL
			}
			if at := foundAt(f); !strings.HasPrefix(note, at) {
				note = at + ": " + note
			}
			fmt.Fprintf(&b, "\n    %s", note)
		}
		fmt.Fprintf(&b, "\n    start it with: %s", s.spec.Start)
	}
	return fail(exitBackend, "llm-speed bench --backend sim   (shows a run without a server; its numbers are simulated)", errors.New(b.String()))
}

// searched says where a driver looked.
func searched(spec drivers.Spec, t target) string {
	if t.url != "" && spec.Kind != drivers.Simulated {
		return shownURL(t.url)
	}
	return spec.Looked
}

func foundAt(f drivers.Found) string {
	if f.URL != "" {
		return f.URL
	}
	return orElse(f.Binary, f.Backend)
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
