package builtins

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"go.starlark.net/starlark"
)

// Limits of one run of a program.
const (
	MaxSteps = 10_000_000 // Starlark steps, loading included
	MaxPrint = 64 << 10   // bytes printed
)

// Point is what one pass runs.
type Point struct {
	Params  map[string]any // of the workload, as decoded from JSON
	Point   map[string]any // of the row, as decoded from JSON
	Metrics []string       // names that w.record takes
}

// session is one run of a program.
type session struct {
	ctx     context.Context
	host    Host
	point   Point
	specs   map[string]Spec
	running bool // run(w) has begun: before that a program may only define things
	steps   uint64
	printed int
	unknown map[string]int // w.record(metric, None), by metric
}

// Run runs one pass: the top level of every file, then run(w). It returns nil, a *SkipError, an error that wraps the
// context's where ctx has ended, or a *ScriptError.
func (p *Program) Run(ctx context.Context, host Host, point Point) (err error) {
	s := &session{ctx: ctx, host: host, point: point, specs: map[string]Spec{}, unknown: map[string]int{}}
	for _, spec := range Specs() {
		s.specs[spec.Name] = spec
	}
	defer func() {
		// Starlark's own functions can panic too, on sizes that Go can't allocate.
		if r := recover(); r != nil {
			bug := &BugError{r, debug.Stack()}
			err = &ScriptError{File: p.name, Msg: bug.Error(), Err: bug}
		}
	}()
	err = runError(ctx, p.name, s.run(p))
	s.tellUnknown()
	return err
}

func (s *session) run(p *Program) error {
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	w, err := s.newW()
	if err != nil {
		return err
	}
	env := s.globals()
	loaded := map[string]starlark.StringDict{}
	for _, m := range p.modules {
		err := s.thread(m.name, loaded, func(t *starlark.Thread) error {
			globals, err := m.code.Init(t, env)
			globals.Freeze()
			loaded[m.name] = globals
			return err
		})
		if err != nil {
			return err
		}
	}
	s.running = true
	return s.thread(p.name, loaded, func(t *starlark.Thread) error {
		_, err := starlark.Call(t, loaded[p.name]["run"], starlark.Tuple{w}, nil)
		return err
	})
}

// thread runs f on a new Starlark thread, which ends with the context and shares the run's steps with those before it.
func (s *session) thread(name string, loaded map[string]starlark.StringDict, f func(*starlark.Thread) error) error {
	t := &starlark.Thread{
		Name:  name,
		Print: func(_ *starlark.Thread, msg string) { s.print(msg) },
		Load:  func(_ *starlark.Thread, module string) (starlark.StringDict, error) { return loaded[module], nil },
		OnMaxSteps: func(t *starlark.Thread) {
			t.Cancel(fmt.Sprintf("more than %d steps; a program only arranges streams, data belongs into suite.jsonnet", MaxSteps))
		},
	}
	// A limit of 0 would be none at all.
	t.SetMaxExecutionSteps(max(MaxSteps-min(s.steps, MaxSteps), 1))
	stop := context.AfterFunc(s.ctx, func() { t.Cancel(context.Cause(s.ctx).Error()) })
	defer stop()
	defer func() { s.steps += t.ExecutionSteps() }()
	return f(t)
}

// print shows what the program printed, line by line, without control characters, up to MaxPrint bytes.
func (s *session) print(msg string) {
	for line := range strings.SplitSeq(msg, "\n") {
		if s.printed > MaxPrint {
			return
		}
		if s.printed += len(line) + 1; s.printed > MaxPrint {
			s.host.Log(fmt.Sprintf("print: left out what follows %d bytes", MaxPrint))
			return
		}
		s.host.Log(shown(line))
	}
}

// tellUnknown says how many values of a metric were not known, so that they are not lost in silence.
func (s *session) tellUnknown() {
	for _, metric := range s.point.Metrics {
		if n := s.unknown[metric]; n > 0 {
			s.host.Log(fmt.Sprintf("w.record: %s was unknown (None) %d times; no value recorded for them", metric, n))
		}
	}
}

// globals are the builtins under their names.
func (s *session) globals() starlark.StringDict {
	env := starlark.StringDict{}
	for name, spec := range s.specs {
		if spec.global() {
			env[name] = s.builtin(spec, nil)
		}
	}
	return env
}

// globalNames are the names that every program may use.
func globalNames() map[string]bool {
	names := map[string]bool{}
	for _, spec := range Specs() {
		if spec.global() {
			names[spec.Name] = true
		}
	}
	return names
}

// method binds a method's spec to its receiver.
func (s *session) method(name string, recv starlark.Value) *starlark.Builtin {
	return s.builtin(s.specs[name], recv)
}

// builtin makes a Starlark function of a spec.
func (s *session) builtin(spec Spec, recv starlark.Value) *starlark.Builtin {
	return starlark.NewBuiltin(spec.Name, func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (v starlark.Value, err error) {
		// Recovered here, the error knows the line of the program that led to it.
		defer func() {
			if r := recover(); r != nil {
				v, err = nil, &BugError{r, debug.Stack()}
			}
		}()
		if spec.Live && !s.running {
			return nil, fmt.Errorf("%s: may be called inside run(w) only, not while the file is loaded", spec.Name)
		}
		return spec.call(&call{session: s, spec: spec, recv: recv, args: args, kwargs: kwargs})
	})
}

// call is one call of a builtin.
type call struct {
	*session
	spec   Spec
	recv   starlark.Value // of a method
	args   starlark.Tuple
	kwargs []starlark.Tuple
}

// unpack stores the arguments into vars, in the order of the spec's params.
func (c *call) unpack(vars ...any) error {
	positional := 0
	pairs := make([]any, 0, 2*len(vars))
	for i, p := range c.spec.Params {
		name := p.Name
		if !p.Required {
			name += "??"
		}
		if p.Positional {
			positional++
		}
		pairs = append(pairs, name, vars[i])
	}
	if len(c.args) > positional {
		names := make([]string, 0, len(c.spec.Params))
		for _, p := range c.spec.Params[positional:] {
			names = append(names, p.Name+"=")
		}
		if len(names) == 0 {
			return fmt.Errorf("%s: got %d positional arguments, want at most %d", c.spec.Name, len(c.args), positional)
		}
		return fmt.Errorf("%s: got %d positional arguments, want at most %d; the rest by name: %s",
			c.spec.Name, len(c.args), positional, strings.Join(names, " "))
	}
	return starlark.UnpackArgs(c.spec.Name, c.args, c.kwargs, pairs...)
}

// errorf is a mistake of the program in this call.
func (c *call) errorf(format string, args ...any) error {
	return fmt.Errorf(c.spec.Name+": "+format, args...)
}

// hostError marks an error of the host.
func (c *call) hostError(err error) error { return &HostError{Builtin: c.spec.Name, Err: err} }

// declared reports whether the suite declares a metric.
func (s *session) declared(metric string) bool { return slices.Contains(s.point.Metrics, metric) }
