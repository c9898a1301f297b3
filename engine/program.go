package engine

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/llm-speed/llm-speed/builtins"
)

// Program is a checked program of a suite: a *builtins.Program in this process, or one in a sandbox. Errors are those of
// builtins.Program.Run.
type Program interface {
	Run(ctx context.Context, host builtins.Host, point builtins.Point) error
}

// Compiler checks the program at the path main, and all that it loads, among a suite's files. Errors are
// *builtins.ScriptError.
type Compiler func(ctx context.Context, main string, files fs.FS) (Program, error)

// InProcess is the Compiler that runs programs in this process, where one that wants too much memory ends it.
func InProcess(_ context.Context, main string, files fs.FS) (Program, error) {
	read := func(path string) ([]byte, error) { return readSuite(files, path) }
	src, err := read(main)
	if err != nil {
		return nil, err
	}
	p, err := builtins.Compile(main, src, read)
	if err != nil {
		return nil, err // not p: a nil pointer in an interface is not nil
	}
	return p, nil
}

func (r *run) compile(ctx context.Context, program string) (Program, error) {
	compiler := r.opt.Compile
	if compiler == nil {
		compiler = InProcess
	}
	p, err := compiler(ctx, program, r.opt.Suite.Files)
	if err != nil {
		return nil, fmt.Errorf("suite %s: %w", r.opt.Suite.Name, err)
	}
	return p, nil
}
