// Package trtllm is the driver of NVIDIA's trtllm-serve, the OpenAI-compatible server of TensorRT-LLM.
//
// The server refuses every field that it does not know, so that what it takes is found out at Open, and it has versions in
// which ignore_eos or min_tokens do not work, so that the length of an answer is tried and each stream's is checked. It starts
// no server, reads none of the endpoints that are emptied by reading (/metrics, /perf_metrics), and never takes another server
// for TensorRT-LLM.
package trtllm

import (
	"fmt"
	"strconv"

	"github.com/llm-speed/llm-speed/drivers"
)

// name is the driver's in --backend.
const name = "trtllm"

// owner is what the server says its models are owned by.
const owner = "tensorrt_llm"

// port is trtllm-serve's default, and vLLM's.
const port = 8000

// The options beside URL, model and key.
const (
	optContext = "model-context"
	optWeights = "weights"
)

func options() []drivers.Option {
	return []drivers.Option{
		{Name: optContext, Env: "LLM_SPEED_TRTLLM_MODEL_CONTEXT", Help: "context length in tokens (max_seq_len), which the server does not tell"},
		{Name: optWeights, Env: "LLM_SPEED_TRTLLM_WEIGHTS", Help: "the served model's folder on this machine, for its digest and quantisation"},
	}
}

// Spec describes the driver.
func Spec() drivers.Spec {
	return drivers.Spec{
		Name:    name,
		Title:   "TensorRT-LLM",
		Doc:     "A running trtllm-serve.",
		Kind:    drivers.Local,
		Options: options(),
		Looked:  "port 8000",
		Start:   "trtllm-serve MODEL",
		Able: drivers.Able{
			ExactLength:  drivers.Partly("ignore_eos, where it was seen to work; some versions have bugs"),
			TokenPrompts: drivers.No("no endpoint renders a conversation"),
			Tokenizer:    drivers.Partly("/_internal/tokenize of newer versions, for single messages"),
			Cached:       drivers.Partly("usage.prompt_tokens_details, in all but the newest versions always"),
			Cold:         drivers.Partly("cache_salt, where it was seen to work"),
			PerEvent:     drivers.Yes("usage in every event"),
			Timing:       drivers.No("/perf_metrics is emptied by reading"),
			CacheStats:   drivers.Partly("/prometheus/metrics of newer versions"),
			Activity:     drivers.Partly("/prometheus/metrics, where it says so when idle"),
			Starts:       drivers.No(""),
		},
		Limits: []string{
			"The server does not tell its context length: give --opt model-context=N for the long workloads.",
			"It names its model and not the folder of it: give --opt weights=FOLDER for the digest and the quantisation.",
		},
		Detect: detect,
		Open:   open,
	}
}

// option is a setting's value: as the user chose it, or from the environment.
func option(c drivers.Config, which string) string { return c.Value(options(), which) }

// contextOption reads the context length that was given; 0 where none was.
func contextOption(c drivers.Config) (int, error) {
	v := option(c, optContext)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("option %s is %q; want a number of tokens", optContext, v)
	}
	return n, nil
}
