package exllama

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/pyhelper"
)

// loadTime bounds the loading of a model, its warm-up included.
const loadTime = 20 * time.Minute

// The context of a stream where no need says it, and the size of a page of the generators' cache, in tokens.
const (
	defaultContext = 8192
	page           = 256
)

// definition says what ServerTiming holds.
const definition = "the helper's own stamps (time.perf_counter_ns): prefill = uncached prompt tokens from enqueue() to the first token, less the generator's time_enqueued; decode = the tokens after the first, from its stamp to the last one's. The generator's time_prefill and time_generate, which end and start before the first token's forward pass, stand in the extras"

// interpreter finds the Python and looks whether the backend is in it.
func (f flavor) interpreter(ctx context.Context, c drivers.Config, within time.Duration) (string, pyhelper.Environment, error) {
	none := pyhelper.Environment{}
	python, err := pyhelper.Interpreter(c.Options[optPython], c.Env)
	switch {
	case err != nil:
		return "", none, err
	case python == "":
		return "", none, fmt.Errorf("%w: no python3 on PATH; install Python and %s, or give --opt python=PATH", drivers.ErrNotFound, f.name)
	}
	env, err := pyhelper.Look(ctx, within, python, f.name, "torch")
	if err != nil {
		return python, none, fmt.Errorf("look for %s: %w", f.name, err)
	}
	for _, module := range []string{f.name, "torch"} {
		if _, ok := env.Packages[module]; !ok {
			return python, env, fmt.Errorf("%w: no %s in Python %s; pip install %s, or give another Python with --opt python=PATH", drivers.ErrNotFound, module, env.Python, module)
		}
	}
	return python, env, nil
}

func (f flavor) wanted(m pyhelper.Folder) bool {
	return strings.EqualFold(m.Config.Quantization.Method, f.method)
}

// loaded is what the helper says about itself and the model.
type loaded struct {
	Version   string   `json:"version"`
	Torch     string   `json:"torch"`
	CUDA      string   `json:"cuda"`
	HIP       string   `json:"hip"`
	Devices   []string `json:"devices"`
	FlashAttn string   `json:"flash_attn"`
	Tokens    int      `json:"cache_tokens"`
	Parallel  int      `json:"parallel"`
	Template  bool     `json:"template"`
	Paged     bool     `json:"paged"`
	More      int      `json:"more"` // tokens that jobs are asked for beyond those wanted
}

// open starts the helper and loads the model with a cache for what is needed.
func (f flavor) open(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
	if c.URL != "" {
		return nil, fmt.Errorf("%w: %s runs in a helper process and has no URL; TabbyAPI, its server, is another backend", drivers.ErrUnsupported, f.name)
	}
	python, env, err := f.interpreter(ctx, c, pyhelper.LookToOpen)
	if err != nil {
		return nil, err
	}
	var found []pyhelper.Folder
	if !strings.HasPrefix(c.Model, "/") {
		found = pyhelper.Find(pyhelper.Places(c.Env), f.wanted)
	}
	folder, err := pyhelper.Choose(c.Model, found, f.quant+" model")
	if err != nil {
		return nil, err
	}
	if m := folder.Config.Quantization.Method; m != "" && !strings.EqualFold(m, f.method) {
		return nil, fmt.Errorf("%w: %s is quantised as %q, %s runs %s", drivers.ErrUnsupported, folder.Name, m, f.name, f.quant)
	}
	h, err := pyhelper.Start(ctx, pyhelper.Options{Python: python, Script: pyhelper.Script{Backend: f.name, Source: script}, Guard: c.Guard, Clock: c.Clock, Log: c.Log})
	if err != nil {
		return nil, fmt.Errorf("start the %s helper: %w", f.name, err)
	}
	s, err := f.load(ctx, h, folder, env, n, python, filepath.Join(pyhelper.Home(c.Env), "x"))
	if err != nil {
		_ = h.Close()
		return nil, fmt.Errorf("open %s with %s: %w", folder.Name, f.name, err)
	}
	return s, nil
}

// contextFor is the context of a stream: what is needed in whole pages, and no more than the model has.
func contextFor(need int, most int) int {
	if need <= 0 {
		need = defaultContext
	}
	if most > 0 {
		need = min(need, most)
	}
	return (need + page - 1) / page * page
}

func (f flavor) load(ctx context.Context, h *pyhelper.Helper, folder pyhelper.Folder, env pyhelper.Environment, n drivers.Need, hidden ...string) (drivers.Session, error) {
	model := folder.Model(true)
	model.Loaded = true
	parallel, stream := max(1, n.Parallel), contextFor(n.Context, model.ContextMax)
	var got loaded
	if err := h.Call(ctx, "open", map[string]any{"path": folder.Path, "context": stream, "parallel": parallel}, &got, loadTime); err != nil {
		return nil, err
	}
	if model.ContextMax > 0 {
		stream = min(stream, model.ContextMax)
	}
	info := drivers.Info{
		Backend: f.name, Version: cmp.Or(got.Version, env.Packages[f.name]), Build: build(got), URLKind: "loopback",
		Model: model, ContextMax: stream, Parallel: parallel, CacheBlock: page, IgnoresEOS: true, ColdAsked: true,
		Metadata: map[string]string{
			"torch": got.Torch, "devices": strings.Join(got.Devices, ", "), "cache_tokens": strconv.Itoa(got.Tokens),
			"flash_attn": cmp.Or(got.FlashAttn, "none"), "paged": strconv.FormatBool(got.Paged),
			"generation": "dynamic generator, stop_conditions=None", "sampling": "greedy", "template": "the model's own",
		},
		WhyNot: map[string]string{},
	}
	if !got.Template {
		info.Metadata["template"] = "none: conversations are labelled text"
	}
	if got.More > 0 {
		info.Metadata["generation"] += fmt.Sprintf(", max_new_tokens %d above what is wanted: this version ends jobs so many short", got.More)
	}
	if model.Quant == "" {
		info.WhyNot["model.quant"] = "the model's configuration names no quantisation"
	}
	return pyhelper.NewSession(ctx, h, info, definition, hidden...)
}

// build names what torch computes with.
func build(l loaded) string {
	switch {
	case l.CUDA != "":
		return "CUDA " + l.CUDA
	case l.HIP != "":
		return "ROCm " + l.HIP
	}
	return ""
}
