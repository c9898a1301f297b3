// Package vllm is the driver of vLLM's OpenAI-compatible server: one that runs already, or one that it starts with
// `vllm serve` and ends again.
//
// It has the server render a conversation (/tokenize), sends the token ids to /v1/completions, so that the prompt's length is
// exact, and counts the tokens of each event by the running counts of the stream. It measures cold prompts under cache salts of
// their own. On /v1/completions the text is raw: where a model thinks, the driver finds the block by its marks. Where the
// server has no /tokenize it goes by /v1/chat/completions.
//
// It never takes another server for vLLM, downloads no model unless told to, asks for nothing while streams run, and leaves no
// process behind.
package vllm

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
)

// name is the driver's in --backend, and what a server writes as the owner of its models.
const name = "vllm"

// The options beside URL, model and key.
const (
	optEndpoint = "endpoint"
	optStart    = "start"
	optPath     = "path"
	optArgs     = "args"
	optDownload = "download"
	optWait     = "wait"
	optSalt     = "salt"
)

func options() []drivers.Option {
	return []drivers.Option{
		{Name: optEndpoint, Env: "LLM_SPEED_VLLM_ENDPOINT", Default: "auto", Help: "auto, completions (prompts as token ids) or chat"},
		{Name: optStart, Env: "LLM_SPEED_VLLM_START", Default: "auto", Help: "auto: use a running vLLM, else start one; always: start one; never"},
		{Name: optPath, Env: "LLM_SPEED_VLLM_PATH", Help: "vllm, or the virtual environment that it is in; default: the one on PATH, else python3 -m vllm"},
		{Name: optArgs, Env: "LLM_SPEED_VLLM_ARGS", Help: "further arguments for a vLLM that is started, as in a shell"},
		{Name: optDownload, Env: "LLM_SPEED_VLLM_DOWNLOAD", Default: "no", Help: "yes: a vLLM that is started may download the model"},
		{Name: optWait, Env: "LLM_SPEED_VLLM_WAIT", Default: "20m", Help: "how long a vLLM that is started may take to load its model and compile"},
		{Name: optSalt, Env: "LLM_SPEED_VLLM_SALT", Help: "what cache salts begin with; default: random, so that nothing that was cached before is hit"},
	}
}

// Spec describes the driver.
func Spec() drivers.Spec {
	return drivers.Spec{
		Name:    name,
		Title:   "vLLM",
		Doc:     "vLLM's server, running or started with vllm serve.",
		Kind:    drivers.Local,
		Options: options(),
		Looked:  "port 8000, vllm on PATH, python3's package vllm, and the models in Hugging Face's cache",
		Start:   "vllm serve MODEL --enable-prompt-tokens-details",
		Able:    able(),
		Limits:  limits(),
		Detect:  detect,
		Open:    open,
	}
}

// option is a setting's value: as the user chose it, from the environment, or its default.
func option(c drivers.Config, which string) string { return c.Value(options(), which) }

// check refuses settings that mean nothing.
func check(c drivers.Config) error {
	for which, values := range map[string][]string{optEndpoint: {"auto", "completions", "chat"}, optStart: {"auto", "always", "never"}, optDownload: {"yes", "no"}} {
		v, ok := option(c, which), false
		for _, w := range values {
			ok = ok || v == w
		}
		if !ok {
			return fmt.Errorf("option %s is %q; want %s", which, v, strings.Join(values, ", "))
		}
	}
	if d, err := time.ParseDuration(option(c, optWait)); err != nil || d <= 0 {
		return fmt.Errorf("option %s is %q; want a time such as 20m", optWait, option(c, optWait))
	}
	return nil
}

// connect makes the client of a server. The key is the user's, or the one that vLLM itself takes from the environment; that
// one is hidden also where another is used: a server that was started has it too.
func connect(c drivers.Config, url string) (*httpx.Client, error) {
	key := c.APIKey
	if !key.IsSet() {
		key = drivers.NewSecret(c.Getenv("VLLM_API_KEY"))
	}
	h, err := httpx.New(url, key, nil, c.Clock, httpx.Beside("/v1"))
	if err == nil {
		h.Hide(c.Getenv("VLLM_API_KEY"))
	}
	return h, err
}

// explain says what to do about an error of a running server.
func explain(base string, err error) error {
	switch {
	case errors.Is(err, errOther):
		return fmt.Errorf("%w: %s is no vLLM: %w; for other servers there is --backend openai-compatible", drivers.ErrProtocol, base, err)
	case errors.Is(err, drivers.ErrUnreachable):
		return fmt.Errorf("vLLM at %s: %w; is it running there? Start it, or give another --url", base, err)
	case errors.Is(err, drivers.ErrAuth):
		return fmt.Errorf("vLLM at %s: %w; give its key with --api-key or in VLLM_API_KEY", base, err)
	case errors.Is(err, drivers.ErrTimeout):
		return fmt.Errorf("vLLM at %s: %w; it takes connections and does not answer: restart it, or give another --url", base, err)
	case errors.Is(err, drivers.ErrOverloaded):
		return fmt.Errorf("vLLM at %s: %w; wait until its model is loaded and try again", base, err)
	}
	return fmt.Errorf("vLLM at %s: %w", base, err)
}
