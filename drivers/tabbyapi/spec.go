// Package tabbyapi is the driver of a running TabbyAPI, the OpenAI-compatible server of exllamav2 and exllamav3.
//
// It measures the model that is loaded, through the chat route, and counts prompts with the server's own tokenizer where that
// was seen to agree with what the server counts. It loads and unloads no model, starts no server, and takes a cached-token
// count of 0 for unknown unless the server was seen to count at all.
package tabbyapi

import (
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
)

// name is the driver's in --backend.
const name = "tabbyapi"

// owner is what the server says its models are owned by.
const owner = "tabbyAPI"

// port is TabbyAPI's default. Other programs use it too, macOS's AirPlay among them.
const port = 5000

// page is how many tokens exllama's cache holds together.
const page = 256

// optWeights is the option beside URL, model and key.
const optWeights = "weights"

func options() []drivers.Option {
	return []drivers.Option{
		{Name: optWeights, Env: "LLM_SPEED_TABBYAPI_WEIGHTS", Help: "the loaded model's folder on this machine, for its digest and quantisation"},
	}
}

// Spec describes the driver.
func Spec() drivers.Spec {
	return drivers.Spec{
		Name:    name,
		Title:   "TabbyAPI",
		Doc:     "A running TabbyAPI (exllamav2, exllamav3) with its model loaded; the key of its api_tokens.yml by --api-key.",
		Kind:    drivers.Local,
		Options: options(),
		Looked:  "port 5000",
		Start:   "python main.py --model-name MODEL (in TabbyAPI's folder)",
		Able: drivers.Able{
			ExactLength:  drivers.Partly("ban_eos_token and min_tokens, where they were seen to work"),
			TokenPrompts: drivers.No("prompts are text"),
			Tokenizer:    drivers.Partly("/v1/token/encode, where its counts agree with the server's; not for tools"),
			Cached:       drivers.Partly("usage.cached_tokens of newer versions"),
			Cold:         drivers.No("by unlike prompts only"),
			PerEvent:     drivers.No(""),
			Timing:       drivers.Partly("completion_time and, where cached tokens are counted, prompt_time of usage; older versions round them to 10 ms"),
			CacheStats:   drivers.No(""),
			Activity:     drivers.No(""),
			Starts:       drivers.No(""),
		},
		Limits: []string{
			"With exllamav3 it heeds neither ban_eos_token nor min_tokens: a model that ends early gives rows flagged early_stop.",
			"The prompt cache can't be switched off and older versions do not count it: cold prompts are cold by being new, and flagged cold_unproved.",
			"It names its model and not the folder of it: give --opt weights=FOLDER for the digest and the quantisation.",
		},
		Detect: detect,
		Open:   open,
	}
}

// weightsOption is the folder that was given; "" where none was.
func weightsOption(c drivers.Config) string {
	if v := c.Options[optWeights]; v != "" || c.Env == nil {
		return v
	}
	return strings.TrimSpace(c.Env("LLM_SPEED_TABBYAPI_WEIGHTS"))
}
