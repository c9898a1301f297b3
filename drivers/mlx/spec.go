// Package mlx is the driver of Apple's MLX: a model that it runs itself through a Python helper on mlx_lm, or an mlx_lm.server
// that runs already.
//
// The helper gives exact lengths, cold prompts and a stamp for each token; the server has none of that and is measured as any
// HTTP server. The package never fetches a model, never installs a package, and never takes another server for
// mlx_lm.server, with which llama-server once shared its port.
package mlx

import (
	_ "embed" // the helper's script

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/pyhelper"
)

//go:embed llm_speed_mlx.py
var script string

// name is the driver's in --backend.
const name = "mlx"

// The options beside URL, model and key.
const (
	optPython = "python"
	optHelper = "helper"
)

func options() []drivers.Option {
	return []drivers.Option{
		pyhelper.PythonOption(),
		{Name: optHelper, Env: "LLM_SPEED_MLX_HELPER", Default: "auto",
			Help: "auto: run the model in a Python helper on Apple Silicon, else use a running mlx_lm.server; always: the helper, also on MLX's builds for Linux; never"},
	}
}

// Spec describes the driver.
func Spec() drivers.Spec {
	return drivers.Spec{
		Name:    name,
		Title:   "MLX",
		Doc:     "Apple's MLX through mlx_lm: in a helper process of llm-speed's own, or a running mlx_lm.server.",
		Kind:    drivers.Local,
		Options: options(),
		Looked:  "mlx_lm in the Python of --opt python, LLM_SPEED_PYTHON, VIRTUAL_ENV or PATH; MLX models in Hugging Face's cache, LM Studio's folders and ~/models; mlx_lm.server on port 8080",
		Start:   "pip install mlx-lm",
		Able: drivers.Able{
			ExactLength:  drivers.Partly("helper: generate_step, which ignores the end of text; mlx_lm.server: logit_bias on the end-of-text ids where the model's folder names them"),
			TokenPrompts: drivers.Partly("helper: yes; mlx_lm.server: no"),
			Tokenizer:    drivers.Partly("helper: the model's own; mlx_lm.server has no endpoint"),
			Cached:       drivers.Partly("helper: it owns the cache; mlx_lm.server: usage.prompt_tokens_details where it sends that"),
			Cold:         drivers.Partly("helper: a new prompt cache; mlx_lm.server: only the prompt's own novelty"),
			PerEvent:     drivers.Partly("helper: one line a token; mlx_lm.server: no"),
			Timing:       drivers.Partly("helper: its own stamps; mlx_lm.server: no"),
			CacheStats:   drivers.No(""),
			Activity:     drivers.No(""),
			Starts:       drivers.Yes("the helper, where mlx_lm can be imported"),
		},
		Limits: []string{
			"The helper runs on Apple Silicon; --opt helper=always runs it on MLX's builds for Linux too.",
			"Several streams at once run through mlx_lm's BatchGenerator, always with a cold cache; a version of mlx_lm without it runs them one after another.",
			"An mlx_lm.server that was asked for its default model does not say which that is.",
		},
		Detect: detect,
		Open:   open,
	}
}

// option is a setting's value: as the user chose it, from the environment, or its default.
func option(c drivers.Config, which string) string { return c.Value(options(), which) }
