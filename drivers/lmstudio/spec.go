// Package lmstudio is the driver of LM Studio's local server, by its REST API beside the OpenAI-compatible endpoints.
//
// It finds models and their quantisation by the REST API (/api/v1, or /api/v0 of servers before 0.4), has the model loaded
// before anything is timed, and looks before each stream whether it still is: LM Studio loads models on the first request and
// puts them away by itself. It streams by /api/v0/chat/completions where that adds the server's own figures, else by
// /v1/chat/completions, and, where it is told to, by the native /api/v1/chat.
//
// LM Studio can't be told to ignore the end of text or its prompt cache, and never says how many tokens it had cached. The
// driver starts no LM Studio, downloads no model, and puts away no model that was loaded before it came, unless told to.
package lmstudio

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
)

// name is the driver's in --backend.
const name = "lmstudio"

// The options beside URL, model and key.
const (
	optEndpoint = "endpoint"
	optReload   = "reload"
	optWait     = "wait"
)

func options() []drivers.Option {
	return []drivers.Option{
		{Name: optEndpoint, Env: "LLM_SPEED_LMSTUDIO_ENDPOINT", Default: "auto", Help: "auto, v0 (/api/v0/chat/completions), chat (/v1/chat/completions) or native (/api/v1/chat: prompts of one message without tools)"},
		{Name: optReload, Env: "LLM_SPEED_LMSTUDIO_RELOAD", Default: "no", Help: "yes: a model that is loaded with too small a context is put away and loaded with what the rows need"},
		{Name: optWait, Env: "LLM_SPEED_LMSTUDIO_WAIT", Default: "20m", Help: "how long the model may take to load"},
	}
}

// Spec describes the driver.
func Spec() drivers.Spec {
	return drivers.Spec{
		Name:    name,
		Title:   "LM Studio",
		Doc:     "LM Studio's local server, by its REST API.",
		Kind:    drivers.Local,
		Options: options(),
		Looked:  "port 1234, and lms on PATH or in ~/.lmstudio/bin",
		Start:   "lms server start; then: lms load MODEL --context-length 32768",
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
	for which, values := range map[string][]string{optEndpoint: {"auto", "v0", "chat", "native"}, optReload: {"yes", "no"}} {
		if v := option(c, which); !slices.Contains(values, v) {
			return fmt.Errorf("option %s is %q; want %s", which, v, strings.Join(values, ", "))
		}
	}
	if d, err := time.ParseDuration(option(c, optWait)); err != nil || d <= 0 {
		return fmt.Errorf("option %s is %q; want a time such as 20m", optWait, option(c, optWait))
	}
	return nil
}

// connect makes the client of a server. The key is the user's, or the token that LM Studio's documentation puts into the
// environment; that one is hidden also where another is used.
func connect(c drivers.Config, url string) (*httpx.Client, error) {
	key := c.APIKey
	if !key.IsSet() {
		key = drivers.NewSecret(c.Getenv("LM_API_TOKEN"))
	}
	h, err := httpx.New(url, key, nil, c.Clock, httpx.Beside("/api/v1", "/api/v0", "/v1"))
	if err == nil {
		h.Hide(c.Getenv("LM_API_TOKEN"))
	}
	return h, err
}

// explain says what to do about an error of a server.
func explain(base string, err error) error {
	switch {
	case errors.Is(err, errOther):
		return fmt.Errorf("%w: %s is no LM Studio with a REST API (0.3.6 or newer): %w; for other servers there is --backend openai-compatible", drivers.ErrProtocol, base, err)
	case errors.Is(err, drivers.ErrUnreachable):
		return fmt.Errorf("LM Studio at %s: %w; start its server with lms server start, or in its window under Developer, or give another --url", base, err)
	case errors.Is(err, drivers.ErrAuth):
		return fmt.Errorf("LM Studio at %s: %w; give an API token with --api-key or in LM_API_TOKEN", base, err)
	case errors.Is(err, drivers.ErrTimeout):
		return fmt.Errorf("LM Studio at %s: %w; it takes connections and does not answer: restart its server, or give another --url", base, err)
	}
	return fmt.Errorf("LM Studio at %s: %w", base, err)
}
