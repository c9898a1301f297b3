package builtins

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// ScriptError is an error at a place of a program: of its text, of its run, or of a builtin that it called. The cause stays
// reachable through errors.Is and errors.As; see IsMistake for whose fault it is.
type ScriptError struct {
	File      string `json:"file"`
	Line      int    `json:"line"` // from 1; 0 where there is no place
	Col       int    `json:"col"`  // from 1; 0 where there is no place
	Msg       string `json:"msg"`
	Backtrace string `json:"backtrace,omitempty"` // Starlark's, with the message; empty for errors found before the run
	Err       error  `json:"-"`                   // the cause in Go, may be nil
}

// Error gives file:line:col and the message.
func (e *ScriptError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Col, e.Msg)
}

// Unwrap gives the cause.
func (e *ScriptError) Unwrap() error { return e.Err }

// HostError is what a Host method returned: the program did nothing wrong.
type HostError struct {
	Builtin string // that called the host
	Err     error
}

// Error names the builtin and the host's error.
func (e *HostError) Error() string { return e.Builtin + ": " + e.Err.Error() }

// Unwrap gives the host's error.
func (e *HostError) Unwrap() error { return e.Err }

// SkipError says that the program left its point out with w.skip.
type SkipError struct{ Reason string }

// Error gives the reason.
func (e *SkipError) Error() string { return "skipped: " + e.Reason }

// BugError is a panic of this program, recovered.
type BugError struct {
	Value any    // what was panicked with
	Stack []byte // of the goroutine
}

// Error says that it is a bug and which.
func (e *BugError) Error() string {
	return fmt.Sprintf("internal error, a bug of llm-speed, please report it: %v", e.Value)
}

// IsMistake reports whether the program itself is at fault: its text or what it did, not the host, a skip or an interrupt.
func IsMistake(err error) bool {
	var script *ScriptError
	var host *HostError
	var bug *BugError
	return errors.As(err, &script) && !errors.As(err, &host) && !errors.As(err, &bug)
}

// compileError places the errors of the parser and the resolver.
func compileError(file string, err error) error {
	var parse syntax.Error
	if errors.As(err, &parse) {
		return at(parse.Pos, parse.Msg)
	}
	var list resolve.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		first := at(list[0].Pos, list[0].Msg)
		for i, more := range list[1:] {
			if i == 9 {
				first.Msg += fmt.Sprintf("\n(and %d more)", len(list)-10)
				break
			}
			first.Msg += "\n" + at(more.Pos, more.Msg).Error()
		}
		return first
	}
	return &ScriptError{File: file, Msg: err.Error(), Err: err}
}

// at makes an error of a place.
func at(pos syntax.Position, msg string) *ScriptError {
	return &ScriptError{File: pos.Filename(), Line: int(pos.Line), Col: int(pos.Col), Msg: msg}
}

// runError turns what Starlark gave back into the errors above. An ended context comes first: whatever else was seen then
// is its consequence.
func runError(ctx context.Context, file string, err error) error {
	if err == nil {
		return nil
	}
	var skip *SkipError
	if errors.As(err, &skip) {
		return skip
	}
	if ctx.Err() != nil {
		return Stopped(ctx, file)
	}
	var eval *starlark.EvalError
	if !errors.As(err, &eval) {
		return &ScriptError{File: file, Msg: err.Error(), Err: err}
	}
	out := &ScriptError{File: file, Msg: shown(eval.Msg), Backtrace: shown(eval.Backtrace()), Err: eval.Unwrap()}
	for i := range eval.CallStack {
		if pos := eval.CallStack.At(i).Pos; pos.Filename() != "<builtin>" {
			out.File, out.Line, out.Col = pos.Filename(), int(pos.Line), int(pos.Col)
			break
		}
	}
	return out
}

// maxMessage bounds what a program can say in an error, in bytes.
const maxMessage = 4 << 10

// shown makes text of a program fit to be shown: without control characters, which a terminal would obey, and not endless.
func shown(text string) string {
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' && r != '\n' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// Stopped is the error of a program whose context has ended.
func Stopped(ctx context.Context, file string) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%s stopped: %w (%w)", file, cause, ctx.Err())
	}
	return fmt.Errorf("%s stopped: %w", file, ctx.Err())
}

// listed joins names for an error message.
func listed(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
