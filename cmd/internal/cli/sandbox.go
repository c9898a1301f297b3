package cli

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/sandbox"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// workerName is the hidden command that programs of suites run in.
const workerName = "internal-worker"

func (a *app) worker() *cobra.Command {
	return &cobra.Command{
		Use: workerName, Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if code := sandbox.Serve(a.Stdin, a.Stdout); code != 0 {
				return fail(code, "", errSilent)
			}
			return nil
		},
	}
}

// sandboxed says where what a suite brings along runs: in workers, or in this process.
type sandboxed struct {
	name     string // as record.Suite.Sandbox
	evaluate suite.Evaluator
	compile  engine.Compiler
	test     func(ctx context.Context, name string, src, result []byte) ([]builtins.Tested, error)
	loose    func(ctx context.Context, name string, files map[string][]byte) error // checks a program's file that no workload names
}

// sandbox runs suites in workers of this program.
func (a *app) sandbox() sandboxed {
	path, err := a.Executable()
	if err != nil {
		err = fmt.Errorf("this program's own path can't be told, which the sandbox needs: %w; --no-sandbox does without", err)
		return sandboxed{
			name:     "worker",
			evaluate: func(context.Context, map[string][]byte, string) (string, error) { return "", err },
			compile:  func(context.Context, string, fs.FS) (engine.Program, error) { return nil, err },
			test:     func(context.Context, string, []byte, []byte) ([]builtins.Tested, error) { return nil, err },
			loose:    func(context.Context, string, map[string][]byte) error { return err },
		}
	}
	runner := sandbox.Runner{Command: []string{path, workerName}}
	return sandboxed{
		name:     "worker",
		evaluate: runner.Evaluate,
		test:     runner.Test,
		loose: func(ctx context.Context, name string, files map[string][]byte) error {
			if name == suiteTests {
				return runner.CheckTests(ctx, name, files[name])
			}
			return runner.CheckLibrary(ctx, name, files)
		},
		compile: func(ctx context.Context, main string, files fs.FS) (engine.Program, error) {
			sources, err := suite.Sources(files)
			if err != nil {
				return nil, err
			}
			p, err := runner.Compile(ctx, main, sources)
			if err != nil {
				return nil, err
			}
			return p, nil
		},
	}
}

// inProcess runs suites in this process, for debugging.
func inProcess() sandboxed {
	return sandboxed{name: "none", evaluate: suite.InProcess, compile: engine.InProcess, test: testInProcess}
}
