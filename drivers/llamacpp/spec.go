// Package llamacpp is the driver of llama.cpp's llama-server: one that runs already, or one that it starts for a GGUF file
// and ends again.
//
// It renders a conversation with the server's own template, sends it as token ids to the native /completion, and reads what
// that streams. It never mistakes another server for llama.cpp, downloads no model, and leaves no process behind.
package llamacpp

import (
	"github.com/llm-speed/llm-speed/drivers"
)

// name is the driver's in --backend.
const name = "llamacpp"

// The options beside URL, model and key.
const (
	optPath   = "path"
	optArgs   = "args"
	optLayers = "ngl"
	optStart  = "start"
)

func options() []drivers.Option {
	return []drivers.Option{
		{Name: optPath, Env: "LLM_SPEED_LLAMA_CPP_PATH", Help: "llama-server, or the folder that it is in (also --llama-cpp-path); default: the one on PATH"},
		{Name: optArgs, Env: "LLM_SPEED_LLAMA_CPP_ARGS", Help: "further arguments for a llama-server that is started, as in a shell"},
		{Name: optLayers, Env: "LLM_SPEED_LLAMA_CPP_NGL", Help: "layers on the GPU (-ngl); default: llama-server's own choice"},
		{Name: optStart, Env: "LLM_SPEED_LLAMA_CPP_START", Default: "auto", Help: "auto: use a running llama-server that serves the model, else start one; always: start one; never"},
	}
}

// Spec describes the driver.
func Spec() drivers.Spec {
	return drivers.Spec{
		Name:    name,
		Title:   "llama.cpp",
		Doc:     "llama.cpp's llama-server, running or started for a GGUF file.",
		Kind:    drivers.Local,
		Options: options(),
		Looked:  "ports 8080 and 9931, llama-server on PATH, and GGUF files in the caches of llama.cpp, Hugging Face and LM Studio and in ~/models",
		Start:   "llama-server -m MODEL.gguf",
		Able: drivers.Able{
			ExactLength: drivers.Yes("n_predict with ignore_eos"), TokenPrompts: drivers.Yes("/completion, after /apply-template and /tokenize"), Tokenizer: drivers.Yes("/tokenize"),
			Cached: drivers.Yes("timings.cache_n"), Cold: drivers.Yes("cache_prompt: false in the request"), PerEvent: drivers.Yes("tokens_predicted of each event"),
			Timing: drivers.Yes("timings, recomputed"), CacheStats: drivers.Partly("/metrics, with --metrics"), Activity: drivers.Partly("/slots, unless switched off"), Starts: drivers.Yes("llama-server -m FILE"),
		},
		Limits: []string{
			"A server in router mode, without a model of its own, is not measured.",
			"Of a server that runs already the compute back end is not known: llama-server does not tell it over HTTP.",
		},
		Live:   drivers.Live{Date: "2026-11-24", Version: "0.7.0 (b11669, Debian)", How: "in CI, with a tiny GGUF of random weights on two CPU cores"},
		Detect: detect,
		Open:   open,
	}
}

// option is a setting's value: as the user chose it, from the environment, or its default.
func option(c drivers.Config, which string) string { return c.Value(options(), which) }
