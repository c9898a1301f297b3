// Package sglang is the driver of a running SGLang server.
//
// It has the server render a conversation to token ids, sends these to the native /generate, and reads what that streams;
// where the server can't render, it uses the chat route and says so. Whether a cold prompt can be asked for it tries out at
// Open. It starts no server, never takes another server for SGLang, and never asks for /health_generate, which generates.
package sglang

import (
	"fmt"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
)

// name is the driver's in --backend.
const name = "sglang"

// port is SGLang's default.
const port = 30000

// optEndpoint chooses how prompts are sent.
const optEndpoint = "endpoint"

// The values of optEndpoint.
const (
	endpointAuto     = "auto"
	endpointGenerate = "generate"
	endpointChat     = "chat"
)

func options() []drivers.Option {
	return []drivers.Option{{
		Name: optEndpoint, Env: "LLM_SPEED_SGLANG_ENDPOINT", Default: endpointAuto,
		Help: "generate (/generate with token ids), chat (/v1/chat/completions), or auto: generate where the server can render a conversation to token ids",
	}}
}

// Spec describes the driver.
func Spec() drivers.Spec {
	return drivers.Spec{
		Name:    name,
		Title:   "SGLang",
		Doc:     "A running SGLang server.",
		Kind:    drivers.Local,
		Options: options(),
		Looked:  "port 30000",
		Start:   "python -m sglang.launch_server --model-path MODEL --enable-metrics",
		Able: drivers.Able{
			ExactLength:  drivers.Yes("max_new_tokens with ignore_eos"),
			TokenPrompts: drivers.Partly("input_ids, where /tokenize renders conversations as the chat route does"),
			Tokenizer:    drivers.Partly("/tokenize, on the same condition"),
			Cached:       drivers.Partly("meta_info.cached_tokens; on the chat route sglext, or --enable-cache-report"),
			Cold:         drivers.Partly("cache_salt, where it was seen to work, or --disable-radix-cache"),
			PerEvent:     drivers.Yes("running completion_tokens"),
			Timing:       drivers.No("only the queue's"),
			CacheStats:   drivers.Partly("/metrics, with --enable-metrics"),
			Activity:     drivers.Yes("/get_load or /v1/loads, else /metrics"),
			Starts:       drivers.No(""),
		},
		Limits: []string{
			"A server whose /tokenize takes no messages is measured by its chat route: no exact prompt lengths, and cached tokens only where that route tells them.",
			"A model without a chat template is refused: measure it with openai-compatible and --opt endpoint=completions.",
			"Thinking in a raw completion is found by its marks; a model that marks it with tokens that show no text has it counted as answer.",
		},
		Detect: detect,
		Open:   open,
	}
}

// endpoint reads and checks the option.
func endpoint(c drivers.Config) (string, error) {
	v := c.Options[optEndpoint]
	if v == "" && c.Env != nil {
		v = strings.TrimSpace(c.Env("LLM_SPEED_SGLANG_ENDPOINT"))
	}
	switch v {
	case "":
		return endpointAuto, nil
	case endpointAuto, endpointGenerate, endpointChat:
		return v, nil
	}
	return "", fmt.Errorf("option %s is %q; want auto, generate or chat", optEndpoint, v)
}
