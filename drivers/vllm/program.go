package vllm

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/proc"
)

// program is a way to start vLLM.
type program struct {
	path    string // executable; "" where there is none
	module  bool   // path is Python, which runs vLLM as a module
	version string // "" where not known
}

// args is the start of the command line: what is to be done, and for which model.
func (p *program) args(model string) []string {
	if p.module {
		return []string{"-m", "vllm.entrypoints.openai.api_server", "--model", model}
	}
	return []string{"serve", model}
}

// askVersion prints vLLM's version without importing it, which takes many seconds.
const askVersion = `import importlib.metadata as m; print("vllm", m.version("vllm"))`

// find looks for vLLM: the one of option path, which may be its virtual environment, the one on PATH, or a package of python3.
func find(ctx context.Context, c drivers.Config) (program, error) {
	if at := option(c, optPath); at != "" {
		path, err := filepath.Abs(at)
		if err != nil {
			return program{}, err
		}
		for _, try := range []string{path, filepath.Join(path, "bin", name), filepath.Join(path, name)} {
			if proc.Executable(try) {
				return program{path: try, version: versionOf(ctx, interpreter(try))}, nil
			}
		}
		return program{}, fmt.Errorf("%w: option %s: no program vllm is %s or in its bin", drivers.ErrNotFound, optPath, at)
	}
	if path := proc.Find(name, c.Getenv("PATH")); path != "" {
		return program{path: path, version: versionOf(ctx, interpreter(path))}, nil
	}
	python := proc.Find("python3", c.Getenv("PATH"))
	if v := versionOf(ctx, python); v != "" {
		return program{path: python, module: true, version: v}, nil
	}
	return program{}, nil
}

// versionOf asks a Python which vLLM it has; "" where it has none or does not say in time.
func versionOf(ctx context.Context, python string) string {
	if python == "" {
		return ""
	}
	out, err := proc.Output(ctx, python, "-c", askVersion)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(out) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return v
		}
	}
	return ""
}

// interpreter is the Python that a script's first line names; "" where it names none.
func interpreter(script string) string {
	f, err := os.Open(script)
	if err != nil {
		return ""
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, 1024)).ReadString('\n')
	path, ok := strings.CutPrefix(strings.TrimSpace(line), "#!")
	if err != nil || !ok || strings.ContainsAny(path, " \t") || !filepath.IsAbs(path) || !strings.Contains(filepath.Base(path), "python") || !proc.Executable(path) {
		return ""
	}
	return path
}
