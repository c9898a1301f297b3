package builtins

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// Tested is what one test function of a suite's suite_test.star came to.
type Tested struct {
	Name     string    `json:"name"`
	Failures []Failure `json:"failures,omitempty"`
	Printed  []string  `json:"printed,omitempty"`
}

// Failure is an expectation that did not hold, at its place.
type Failure struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"col"`
	Msg  string `json:"msg"`
}

// String gives file:line:col and what did not hold.
func (f Failure) String() string { return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Col, f.Msg) }

// testMethods are what a test's t has, by name, with their parameters.
func testMethods() map[string][]Param {
	msg := Param{Name: "msg", Type: "string", Default: "None", Doc: "said where it does not hold"}
	got := Param{Name: "got", Type: "any", Required: true, Positional: true}
	return map[string][]Param{
		"row":   {{Name: "key", Type: "string", Required: true, Positional: true}},
		"true":  {{Name: "cond", Type: "any", Required: true, Positional: true}, msg},
		"equal": {got, {Name: "want", Type: "any", Required: true, Positional: true}, msg},
		"near":  {got, {Name: "want", Type: "number", Required: true, Positional: true}, {Name: "percent", Type: "number", Required: true}, msg},
		"known": {got, msg},
		"fail":  {{Name: "msg", Type: "string", Required: true, Positional: true}},
	}
}

// RunTests runs every function test_…(t) of a test file on a result document, as decoded from JSON. t.result is the
// document, t.row(key) one of its rows; t.true, t.equal, t.near, t.known and t.fail note what does not hold and go on. The
// error is a *ScriptError of the file as a whole; one inside a function is that test's failure.
func RunTests(ctx context.Context, name string, src []byte, result map[string]any) (tests []Tested, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &ScriptError{File: name, Msg: "can't be run", Err: &BugError{r, debug.Stack()}}
		}
	}()
	file, code, err := compileTests(name, src)
	if err != nil {
		return nil, err
	}
	doc, err := toStarlark("result", result, 0)
	if err != nil {
		return nil, err
	}
	doc.Freeze()
	r := &testRun{ctx: ctx, file: name, doc: doc.(*object)}
	var globals starlark.StringDict
	if err := r.thread(nil, func(t *starlark.Thread) (err error) {
		globals, err = code.Init(t, nil)
		globals.Freeze()
		return err
	}); err != nil {
		return nil, runError(ctx, name, err)
	}
	for _, stmt := range file.Stmts {
		def, ok := stmt.(*syntax.DefStmt)
		if !ok || !strings.HasPrefix(def.Name.Name, "test_") {
			continue
		}
		one := Tested{Name: def.Name.Name}
		err := r.thread(&one, func(t *starlark.Thread) error {
			_, err := starlark.Call(t, globals[def.Name.Name], starlark.Tuple{r.value(&one)}, nil)
			return err
		})
		if ctx.Err() != nil {
			return tests, Stopped(ctx, name)
		}
		if err = runError(ctx, name, err); err != nil {
			f := Failure{File: name, Msg: err.Error()}
			var script *ScriptError
			if errors.As(err, &script) {
				f = Failure{script.File, script.Line, script.Col, script.Msg}
			}
			one.Failures = append(one.Failures, f)
		}
		tests = append(tests, one)
	}
	return tests, nil
}

// CheckTests checks a test file without running it: syntax, unknown names, and that there is a test.
func CheckTests(name string, src []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &ScriptError{File: name, Msg: "can't be compiled", Err: &BugError{r, debug.Stack()}}
		}
	}()
	_, _, err = compileTests(name, src)
	return err
}

func compileTests(name string, src []byte) (*syntax.File, *starlark.Program, error) {
	if len(src) > MaxSource {
		return nil, nil, &ScriptError{File: name, Msg: fmt.Sprintf("%d bytes of source, want at most %d", len(src), MaxSource)}
	}
	opts := syntax.FileOptions{Set: true}
	file, code, err := starlark.SourceProgramOptions(&opts, name, src, func(string) bool { return false })
	if err != nil {
		return nil, nil, compileError(name, err)
	}
	for _, stmt := range file.Stmts {
		switch stmt := stmt.(type) {
		case *syntax.LoadStmt:
			return nil, nil, at(stmt.Load, "a test file loads nothing")
		case *syntax.DefStmt:
			if strings.HasPrefix(stmt.Name.Name, "test_") {
				return file, code, nil
			}
		}
	}
	return nil, nil, &ScriptError{File: name, Msg: "no tests: a test is a function test_…(t)"}
}

// testRun is one run of a test file.
type testRun struct {
	ctx  context.Context //nolint:containedctx // of the one run
	file string
	doc  *object
}

func (r *testRun) thread(one *Tested, f func(*starlark.Thread) error) error {
	t := &starlark.Thread{Name: r.file, Print: func(_ *starlark.Thread, msg string) {
		if one != nil && len(one.Printed) < 100 {
			one.Printed = append(one.Printed, msg)
		}
	}}
	t.SetMaxExecutionSteps(MaxSteps)
	stop := context.AfterFunc(r.ctx, func() { t.Cancel(context.Cause(r.ctx).Error()) })
	defer stop()
	return f(t)
}

// value is the t of one test.
func (r *testRun) value(one *Tested) *object {
	o := newObject("t")
	o.set("result", r.doc)
	methods := testMethods()
	names := make([]string, 0, len(methods))
	for name := range methods {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		o.set(name, starlark.NewBuiltin("t."+name, func(t *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			c := &call{spec: Spec{Name: b.Name(), Params: methods[name]}, args: args, kwargs: kwargs}
			v, wrong, err := r.call(name, c)
			if err == nil && wrong != "" {
				pos := t.CallFrame(1).Pos
				one.Failures = append(one.Failures, Failure{pos.Filename(), int(pos.Line), int(pos.Col), wrong})
			}
			return v, err
		}))
	}
	return o
}

// call does one method; wrong says what does not hold.
func (r *testRun) call(name string, c *call) (v starlark.Value, wrong string, err error) {
	var got, want, msg starlark.Value
	var percent floatArg
	switch name {
	case "row":
		err = c.unpack(&got)
		if err != nil {
			return nil, "", err
		}
		v, err = r.row(got)
		return v, "", err
	case "fail":
		if err = c.unpack(&msg); err == nil {
			wrong = plain(msg)
		}
		return starlark.None, wrong, err
	case "true":
		if err = c.unpack(&got, &msg); err == nil && !bool(got.Truth()) {
			wrong = "does not hold"
		}
	case "known":
		if err = c.unpack(&got, &msg); err == nil && got == starlark.None {
			wrong = "is None, want a value"
		}
	case "equal":
		if err = c.unpack(&got, &want, &msg); err == nil {
			var same bool
			if same, err = starlark.EqualDepth(got, want, maxDepth); err == nil && !same {
				wrong = fmt.Sprintf("got %s, want %s", short(got), short(want))
			}
		}
	case "near":
		if err = c.unpack(&got, &want, &percent, &msg); err == nil {
			wrong, err = near(c, got, want, percent.f)
		}
	}
	if msg != nil && wrong != "" {
		wrong = plain(msg) + ": " + wrong
	}
	return starlark.None, wrong, err
}

// row finds a row of the result.
func (r *testRun) row(key starlark.Value) (starlark.Value, error) {
	rows, _ := r.doc.attrs["results"].(*starlark.List)
	var keys []string
	for i := range rowsLen(rows) {
		o, ok := rows.Index(i).(*object)
		if !ok {
			continue
		}
		if same, _ := starlark.Equal(o.attrs["key"], key); same {
			return o, nil
		}
		keys = append(keys, plain(o.attrs["key"]))
	}
	return nil, fmt.Errorf("t.row: the result has no row %s; it has: %s", key, listed(keys))
}

func rowsLen(l *starlark.List) int {
	if l == nil {
		return 0
	}
	return l.Len()
}

func near(c *call, got, want starlark.Value, percent float64) (wrong string, err error) {
	w, ok := starlark.AsFloat(want)
	if !ok {
		return "", c.errorf("want: got %s, want a number", want.Type())
	}
	g, ok := starlark.AsFloat(got)
	if !ok {
		return fmt.Sprintf("got %s, want about %g", short(got), w), nil
	}
	if math.Abs(g-w) > math.Abs(w)*percent/100 {
		return fmt.Sprintf("got %g, want %g within %g %%", g, w, percent), nil
	}
	return "", nil
}

func plain(v starlark.Value) string {
	if s, ok := starlark.AsString(v); ok {
		return s
	}
	return short(v)
}

// short is a value's text, cut.
func short(v starlark.Value) string {
	if o, ok := v.(*object); ok {
		return "a " + o.Type()
	}
	s := v.String()
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}
