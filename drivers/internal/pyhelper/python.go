package pyhelper

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/proc"
)

// PythonOption is the driver's option that names the interpreter.
func PythonOption() drivers.Option {
	return drivers.Option{Name: "python", Env: "LLM_SPEED_PYTHON",
		Help: "Python interpreter, or the folder of its environment; default: the one of VIRTUAL_ENV, else python3 on PATH"}
}

// Interpreter finds the Python to use: the one that the option or its variable names, that of the active environment, or the
// one on PATH. "" and nil mean that none is there; an error is about a choice that can't be used.
func Interpreter(option string, env func(string) string) (string, error) {
	if env == nil {
		env = func(string) string { return "" }
	}
	if option == "" {
		option = strings.TrimSpace(env(PythonOption().Env))
	}
	if option != "" {
		for _, p := range []string{option, inside(option)} {
			if proc.Executable(p) {
				return filepath.Abs(p)
			}
		}
		if !strings.ContainsAny(option, `/\`) {
			if p := proc.Find(option, env("PATH")); p != "" {
				return p, nil
			}
		}
		return "", fmt.Errorf("%w: option python is %s: no Python interpreter there; give its path, or the folder of its environment", drivers.ErrNotFound, option)
	}
	if venv := env("VIRTUAL_ENV"); filepath.IsAbs(venv) && proc.Executable(inside(venv)) {
		return inside(venv), nil
	}
	for _, name := range []string{"python3", "python"} {
		if p := proc.Find(name, env("PATH")); p != "" {
			return p, nil
		}
	}
	return "", nil
}

// inside is the interpreter of an environment's folder.
func inside(folder string) string {
	if runtime.GOOS == "windows" {
		return filepath.Join(folder, "Scripts", "python.exe")
	}
	return filepath.Join(folder, "bin", "python")
}

// Environment is what an interpreter says about itself and its packages.
type Environment struct {
	Python   string            `json:"python"`
	System   string            `json:"system"`   // Darwin, Linux, Windows
	Machine  string            `json:"machine"`  // arm64, x86_64
	Packages map[string]string `json:"packages"` // version by module that can be imported; "" where its version is not known
}

// How long Look may take: for a look around, to know in time that nothing is there is better than to know all; where
// everything hangs on the answer, a busy machine is waited for.
const (
	LookAround = 1500 * time.Millisecond
	LookToOpen = 30 * time.Second
)

// lookMark stands before the line that look.py prints: a site's own start-up files may print too.
const lookMark = "llm-speed-look "

// lookSource finds modules without importing them: an import of torch takes seconds.
const lookSource = `import importlib.metadata, importlib.util, json, platform, sys
sys.path[:] = [p for p in sys.path if p not in ("", ".")]
found = {}
for module in sys.argv[1:]:
    try:
        if importlib.util.find_spec(module) is None:
            continue
    except (ImportError, ValueError):
        continue
    try:
        found[module] = importlib.metadata.version(module.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        found[module] = ""
print("` + lookMark + `" + json.dumps({"python": platform.python_version(), "system": platform.system(), "machine": platform.machine(), "packages": found}))
`

// Look asks an interpreter which of the modules it has, without importing them.
func Look(ctx context.Context, within time.Duration, python string, modules ...string) (Environment, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("%w: %s did not answer within %s", drivers.ErrTimeout, filepath.Base(python), within))
	defer cancel()
	text, err := proc.Output(ctx, python, append([]string{"-c", lookSource}, modules...)...)
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, lookMark); ok {
			var e Environment
			if err := json.Unmarshal([]byte(rest), &e); err != nil {
				return e, fmt.Errorf("%w: %s: %w", drivers.ErrProtocol, filepath.Base(python), err)
			}
			return e, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("%w: %s is no Python: it printed %s", drivers.ErrProtocol, filepath.Base(python), excerpt([]byte(text)))
	} else if text != "" {
		err = fmt.Errorf("%w: %s", err, lastLines(strings.Split(text, "\n"), 2))
	}
	return Environment{}, err
}
