// Package openaicompat is the driver of any server that speaks OpenAI's chat or text completions over HTTP, found by its
// URL alone.
//
// What such a server can do it learns at Open by a few short requests of a handful of tokens, outside every timed interval.
// It never reads a key from the environment, starts no server, and never claims an ability that it has not seen work.
package openaicompat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
)

// Name is the driver's name.
const Name = "openai-compatible"

var (
	endpointOption = drivers.Option{Name: "endpoint", Env: "LLM_SPEED_OPENAI_ENDPOINT", Default: "auto",
		Help: "auto, chat (/v1/chat/completions) or completions (/v1/completions)"}
	contextOption = drivers.Option{Name: "model-context", Env: "LLM_SPEED_OPENAI_MODEL_CONTEXT", Default: "",
		Help: "context length in tokens, where the server does not tell it"}
)

// Spec describes the driver.
func Spec() drivers.Spec {
	return drivers.Spec{
		Name:    Name,
		Title:   "OpenAI-compatible server",
		Doc:     "Any server with /v1/chat/completions or /v1/completions, by --url; the key, where one is needed, by --api-key only.",
		Kind:    drivers.Local,
		Options: []drivers.Option{endpointOption, contextOption},
		Looked:  "the URL given with --url, else ports " + strings.Join(usualPorts[:], ", "),
		Start:   "vllm serve MODEL   (or any other such server); then: llm-speed bench --url http://127.0.0.1:8000/v1",
		Able: drivers.Able{
			ExactLength: drivers.Partly("ignore_eos, tried at Open"), TokenPrompts: drivers.No(""), Tokenizer: drivers.Partly("/tokenize, where its count is the server's own"),
			Cached: drivers.Partly("prompt_tokens_details.cached_tokens, by server"), Cold: drivers.Partly("cache_prompt: false on llama.cpp; a new prompt elsewhere"),
			PerEvent: drivers.Partly("running usage or token ids, by server"), Timing: drivers.Partly("timings of llama.cpp"),
			CacheStats: drivers.No(""), Activity: drivers.No(""), Starts: drivers.No(""),
		},
		Limits: []string{
			"What a server does with fields that it does not know can't be seen: only what was tried at Open is relied upon.",
			"Where the server counts no tokens, rates are null.",
		},
		Fallback: true,
		Detect:   detect,
		Open:     open,
	}
}

// usualPorts are where servers that speak this protocol listen by default: vLLM and others, llama.cpp and others, LM Studio,
// TabbyAPI, SGLang, Ollama, llama.cpp again, KoboldCpp, Jan, GPT4All.
var usualPorts = [...]string{"8000", "8080", "1234", "5000", "30000", "11434", "9931", "5001", "1337", "4891"}

// probeTime bounds the look at one of them.
const probeTime = 800 * time.Millisecond

// detect asks the URL that was given for its models, or the usual ports. What another driver claims there is the other's.
func detect(ctx context.Context, c drivers.Config) ([]drivers.Found, error) {
	if c.URL != "" {
		return ask(ctx, c)
	}
	var found [len(usualPorts)][]drivers.Found
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	for i, port := range usualPorts {
		all.Go(func() {
			here := c
			here.URL = "http://127.0.0.1:" + port
			if f, err := ask(ctx, here); err == nil && len(f) == 1 && (f[0].Usable && len(f[0].Models) > 0 || f[0].Simulated) {
				found[i] = f
			}
		})
	}
	all.Wait()
	return slices.Concat(found[:]...), nil
}

// ask asks a URL for its models.
func ask(ctx context.Context, c drivers.Config) ([]drivers.Found, error) {
	client, err := httpx.New(c.URL, c.APIKey, nil, c.Clock, httpx.WithProxy(c.Env), httpx.Beside("/v1"))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	f := drivers.Found{Backend: Name, URL: client.Base()}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s := server{client: client}
	err = s.list(ctx)
	f.Simulated = client.Simulated()
	if err != nil {
		f.Note = explain(client.Base(), err).Error()
		return []drivers.Found{f}, nil
	}
	s.identify(ctx)
	f.Usable, f.Version = true, s.version
	for _, m := range s.models {
		f.Models = append(f.Models, m.model())
	}
	return []drivers.Found{f}, nil
}

// option reads a setting: as given, from the environment, or its default.
func option(c drivers.Config, o drivers.Option) string {
	if v := c.Options[o.Name]; v != "" {
		return v
	}
	if c.Env != nil {
		if v := c.Env(o.Env); v != "" {
			return v
		}
	}
	return o.Default
}

// options reads and checks the driver's settings.
func options(c drivers.Config) (endpoint string, contextMax int, err error) {
	switch endpoint = option(c, endpointOption); endpoint {
	case "auto", "chat", "completions":
	default:
		return "", 0, fmt.Errorf("option endpoint is %q; want auto, chat or completions", endpoint)
	}
	if v := option(c, contextOption); v != "" {
		if contextMax, err = strconv.Atoi(v); err != nil || contextMax <= 0 {
			return "", 0, fmt.Errorf("option model-context is %q; want a number of tokens", v)
		}
	}
	return endpoint, contextMax, nil
}

// explain says what to do about an error of Open.
func explain(base string, err error) error {
	var api *drivers.APIError
	switch {
	case errors.Is(err, drivers.ErrUnreachable):
		return fmt.Errorf("%s: %w; is the server running there? Start it, or give another --url", base, err)
	case errors.Is(err, drivers.ErrAuth):
		return fmt.Errorf("%s: %w; give the server's key with --api-key", base, err)
	case errors.Is(err, drivers.ErrOverloaded):
		return fmt.Errorf("%s: %w; wait until the model is loaded and try again", base, err)
	case errors.As(err, &api) && api.Status == 404 && errors.Is(err, drivers.ErrNotFound):
		return fmt.Errorf("%s: %w; nothing OpenAI-like answers below this URL", base, err)
	}
	return fmt.Errorf("%s: %w", base, err)
}
