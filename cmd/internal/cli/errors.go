package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitSuite       = 3
	exitBackend     = 4
	exitVerify      = 5
	exitInterrupted = 130
)

// exitHelp stands in every command's help.
const exitHelp = `Exit codes:
  0    ok
  1    failure, or some rows or passes failed or were cut by --max-tokens-total (the rest is saved)
  2    usage: an unknown command, flag or value
  3    suite or script error
  4    no backend, or the backend failed
  5    verification or update refused
  130  interrupted (what was measured is saved)
`

// failure is an error that knows its exit code and what the user can do.
type failure struct {
	code int
	err  error
	hint string // a command line or an instruction; may be empty
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usagef is a mistake in the command line.
func usagef(format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// fail is an error with a code and a hint.
func fail(code int, hint string, err error) error { return &failure{code, err, hint} }

// errSilent ends a command with a code when all has been said already.
var errSilent = errors.New("")

// codeOf gives the exit code of a command's error.
func codeOf(err error) int {
	var f *failure
	var script *builtins.ScriptError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &f):
		return f.code
	case errors.As(err, &script):
		return exitSuite
	case errors.Is(err, engine.ErrNoBackend):
		return exitBackend
	}
	return exitFailed
}

// backendHint is what a user can do about a backend that could not be opened; empty where the error itself says it.
func backendHint(spec drivers.Spec, err error) string {
	named := errors.Is(err, drivers.ErrNoModel) || errors.Is(err, drivers.ErrModelNotFound)
	switch {
	case spec.Kind == drivers.Hosted && (named || errors.Is(err, drivers.ErrAuth)):
		return spec.Start // the error says which model or key; this says how to give them
	case named:
		return "llm-speed list-models"
	case errors.Is(err, drivers.ErrAuth):
		return "set the server's key in the environment as LLM_SPEED_API_KEY"
	case errors.Is(err, drivers.ErrUnreachable):
		return spec.Start
	}
	return ""
}

// backtraceOf gives the places of a suite's program that led to an error; empty where it has none.
func backtraceOf(err error) string {
	var script *builtins.ScriptError
	if errors.As(err, &script) {
		return strings.TrimRight(script.Backtrace, "\n")
	}
	return ""
}

// hintOf gives what the user can do about an error.
func hintOf(err error) string {
	var f *failure
	if errors.As(err, &f) {
		return f.hint
	}
	return ""
}
