package mlx

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/pyhelper"
)

// errNoHelper means that the helper can't run here, whatever the model.
var errNoHelper = fmt.Errorf("%w: MLX can't run here", drivers.ErrNotFound)

// loadTime bounds the loading of a model.
const loadTime = 20 * time.Minute

// definition says what ServerTiming holds.
const definition = "the helper's own stamps (time.perf_counter_ns): prefill = uncached prompt tokens from the call to the first token, which is mlx_lm's definition too; decode = the tokens after the first, from its stamp to the last one's (mlx_lm's generation_tps divides one token more by it)"

// local is what a helper would be started with.
type local struct {
	python string
	env    pyhelper.Environment
	model  pyhelper.Folder
}

// interpreter finds the Python and looks whether MLX is in it. Errors wrap errNoHelper unless the choice itself is wrong.
func interpreter(ctx context.Context, c drivers.Config, within time.Duration) (string, pyhelper.Environment, error) {
	none := pyhelper.Environment{}
	python, err := pyhelper.Interpreter(c.Options[optPython], c.Env)
	switch {
	case err != nil:
		return "", none, err
	case python == "":
		return "", none, fmt.Errorf("%w: no python3 on PATH; install Python and mlx-lm, or give --opt python=PATH", errNoHelper)
	}
	env, err := pyhelper.Look(ctx, within, python, "mlx_lm", "mlx")
	if err != nil {
		return python, none, fmt.Errorf("%w: %w", errNoHelper, err)
	}
	if why := unsuited(c, env); why != "" {
		return python, env, fmt.Errorf("%w: %s", errNoHelper, why)
	}
	return python, env, nil
}

// unsuited says why an interpreter can't run the helper; empty: it can.
func unsuited(c drivers.Config, e pyhelper.Environment) string {
	if (e.System != "Darwin" || e.Machine != "arm64") && option(c, optHelper) != "always" {
		if e.System == "Darwin" {
			return fmt.Sprintf("MLX needs Apple Silicon, and this Python is one for %s; give a native one with --opt python=PATH", e.Machine)
		}
		return fmt.Sprintf("MLX needs Apple Silicon, this is %s on %s (--opt helper=always tries MLX's builds for Linux)", e.System, e.Machine)
	}
	if _, ok := e.Packages["mlx_lm"]; !ok {
		return fmt.Sprintf("no mlx_lm in Python %s; pip install mlx-lm, or give another Python with --opt python=PATH", e.Python)
	}
	return ""
}

// wanted tells MLX's models: only its own converter writes "quantization"; unquantised ones carry its name.
func wanted(f pyhelper.Folder) bool {
	low := strings.ToLower(f.Name)
	return len(f.Config.MLX) > 0 || strings.HasPrefix(low, "mlx-community/") || strings.Contains(low, "-mlx")
}

// find says what a helper would be started with.
func find(ctx context.Context, c drivers.Config) (*local, error) {
	python, env, err := interpreter(ctx, c, pyhelper.LookToOpen)
	if err != nil {
		return nil, err
	}
	var found []pyhelper.Folder
	if !strings.HasPrefix(c.Model, "/") {
		found = pyhelper.Find(pyhelper.Places(c.Env), wanted)
	}
	model, err := pyhelper.Choose(c.Model, found, "MLX model")
	if err != nil {
		return nil, err
	}
	return &local{python, env, model}, nil
}

// loaded is what the helper says about itself and the model.
type loaded struct {
	Version      string `json:"version"`
	MLX          string `json:"mlx"`
	Device       string `json:"device"`
	DeviceName   string `json:"device_name"`
	Architecture string `json:"architecture"`
	Parallel     int    `json:"parallel"`
	Template     bool   `json:"template"`
}

// open starts the helper and loads the model.
func (l *local) open(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
	h, err := pyhelper.Start(ctx, pyhelper.Options{Python: l.python, Script: pyhelper.Script{Backend: name, Source: script}, Guard: c.Guard, Clock: c.Clock, Log: c.Log})
	if err != nil {
		return nil, fmt.Errorf("start the MLX helper: %w", err)
	}
	s, err := l.load(ctx, c, h, max(1, n.Parallel))
	if err != nil {
		_ = h.Close()
		return nil, fmt.Errorf("open %s with mlx_lm: %w", l.model.Name, err)
	}
	return s, nil
}

func (l *local) load(ctx context.Context, c drivers.Config, h *pyhelper.Helper, parallel int) (drivers.Session, error) {
	var got loaded
	if err := h.Call(ctx, "open", map[string]any{"path": l.model.Path, "parallel": parallel, "context": l.model.Model(true).ContextMax}, &got, loadTime); err != nil {
		return nil, err
	}
	if got.Parallel < 1 {
		return nil, fmt.Errorf("%w: the helper runs %d streams at once", drivers.ErrProtocol, got.Parallel)
	}
	model := l.model.Model(true)
	model.Loaded = true
	info := drivers.Info{
		Backend: name, Version: cmp.Or(got.Version, l.env.Packages["mlx_lm"]), Build: strings.TrimSpace(got.Device + " " + got.Architecture),
		URLKind: "loopback", Model: model, ContextMax: model.ContextMax, Parallel: got.Parallel, CacheBlock: 1,
		IgnoresEOS: true, ColdAsked: true,
		Metadata: map[string]string{
			"mlx": cmp.Or(got.MLX, l.env.Packages["mlx"]), "device_name": got.DeviceName,
			"generation": "mlx_lm.generate.generate_step, one stream at a time, a prompt cache of its own each",
			"sampling":   "greedy (argmax)",
			"template":   "the model's own",
		},
		Flags: map[string]string{}, WhyNot: map[string]string{},
	}
	if got.Parallel > 1 {
		info.Metadata["generation"] = "mlx_lm.generate.BatchGenerator, always cold"
	} else if parallel > 1 {
		info.Metadata["generation"] += "; this mlx_lm has no BatchGenerator"
	}
	if !got.Template {
		info.Metadata["template"] = "none: conversations are labelled text"
	}
	if strings.Contains(strings.ToLower(got.Device), "cpu") {
		info.Flags["cpu_fallback"] = "MLX computes on " + got.Device
	}
	if model.Quant == "" {
		info.WhyNot["model.quant"] = "the model's configuration names no quantisation"
	}
	return pyhelper.NewSession(ctx, h, info, definition, l.python, filepath.Join(pyhelper.Home(c.Env), "x"))
}
