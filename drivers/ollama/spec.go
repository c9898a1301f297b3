// Package ollama is the driver of Ollama: a server that runs already, or one that it starts with `ollama serve` for the
// models in the user's own store and ends again.
//
// It speaks the native API (https://github.com/ollama/ollama/blob/main/docs/api.md): a conversation goes to /api/chat, and
// what that streams is read line by line. It never pulls, changes or removes a model, never uses Ollama's cloud models,
// never lets the loading of a model fall into a sample, and leaves no process behind.
package ollama

import (
	"fmt"
	"strconv"

	"github.com/llm-speed/llm-speed/drivers"
)

// name is the driver's in --backend.
const name = "ollama"

// The options beside URL, model and key.
const (
	optPath        = "path"
	optStart       = "start"
	optGPULayers   = "num_gpu"
	optTemperature = "temperature"
)

func options() []drivers.Option {
	return []drivers.Option{
		{Name: optPath, Env: "LLM_SPEED_OLLAMA_PATH", Help: "the ollama program, for starting a server; default: the one on PATH"},
		{Name: optStart, Env: "LLM_SPEED_OLLAMA_START", Default: "auto", Help: "auto: use a running server, else start one with `ollama serve` and end it again; always: start one, with room for the parallel streams of each workload; never"},
		{Name: optGPULayers, Env: "LLM_SPEED_OLLAMA_NUM_GPU", Help: "layers on the GPU (num_gpu); default: Ollama's own choice"},
		{Name: optTemperature, Env: "LLM_SPEED_OLLAMA_TEMPERATURE", Default: "0", Help: "0 is greedy; above 0 seeded sampling with Ollama's own defaults, for a model that repeats itself until Ollama ends the stream"},
	}
}

// Spec describes the driver.
func Spec() drivers.Spec {
	return drivers.Spec{
		Name:    name,
		Title:   "Ollama",
		Doc:     "Ollama's own API, at a running server or at one that is started for the user's models.",
		Kind:    drivers.Local,
		Options: options(),
		Looked:  "OLLAMA_HOST or 127.0.0.1:11434, and ollama on PATH with the models in OLLAMA_MODELS or ~/.ollama/models",
		Start:   "ollama serve",
		Able: drivers.Able{
			ExactLength:  drivers.No("num_predict is only a cap: a stream that ends early is flagged"),
			TokenPrompts: drivers.No(""),
			Tokenizer:    drivers.No("no endpoint; lengths are fitted by prompt_eval_count"),
			Cached:       drivers.Partly("prompt_eval_cached_count, in versions after 0.33.2"),
			Cold:         drivers.Partly("only the prompt's own first words: the cache can't be switched off"),
			PerEvent:     drivers.No("a line may hold several tokens, or none"),
			Timing:       drivers.Yes("eval_count and eval_duration; prompt_eval_duration"),
			CacheStats:   drivers.No(""),
			Activity:     drivers.No(""),
			Starts:       drivers.Yes("ollama serve"),
		},
		Limits: []string{
			"How many streams a running server takes at once (OLLAMA_NUM_PARALLEL, 1 by default) can't be asked; with --opt start=always a server is started that takes what the workload needs.",
			"Versions up to 0.33.2 do not say how many prompt tokens came from the cache: hit rates are null, cold prompts are not proved cold, and the prefill rate is the client's estimate.",
			"More than 30 equal pieces of text in a row make Ollama end a stream without its counts; such a request fails, and --opt temperature=0.8 helps.",
			"A template that knows no tools, or no system message, gets them as part of the messages' text; the result's metadata says so.",
		},
		Live: drivers.Live{Date: "2026-11-24", Version: "0.17.4", How: "in CI, with a tiny GGUF on two CPU cores"},

		Detect: detect,
		Open:   open,
	}
}

// option is a setting's value: as the user chose it, from the environment, or its default.
func option(c drivers.Config, which string) string { return c.Value(options(), which) }

// chosen are the options as Open uses them.
type chosen struct {
	start       string
	gpuLayers   *int
	temperature float64
}

func choices(c drivers.Config) (chosen, error) {
	o := chosen{start: option(c, optStart)}
	if o.start != "auto" && o.start != "always" && o.start != "never" {
		return o, fmt.Errorf("option %s is %q; want auto, always or never", optStart, o.start)
	}
	if v := option(c, optGPULayers); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > 1e6 {
			return o, fmt.Errorf("option %s is %q; want a number of layers, 0 for the CPU alone", optGPULayers, v)
		}
		o.gpuLayers = &n
	}
	t, err := strconv.ParseFloat(option(c, optTemperature), 64)
	if err != nil || !(t >= 0 && t <= 10) {
		return o, fmt.Errorf("option %s is %q; want a number from 0 to 10", optTemperature, option(c, optTemperature))
	}
	o.temperature = t
	return o, nil
}
