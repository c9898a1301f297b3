// Package anthropic is the driver of Anthropic's Messages API, natively: its named events, its counts of what a prompt cache
// read and wrote, its cache marks where a prompt is meant to be reused, and none where it is to be cold.
//
// It never generates a token that the engine did not ask for, contacts the service only when the user named it, and never
// retries.
package anthropic

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/apikey"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
)

// Name is the driver's name.
const Name = "anthropic"

const (
	keyName = "ANTHROPIC_API_KEY"
	base    = "https://api.anthropic.com"
	version = "2023-06-01" // of the API, as its anthropic-version header
)

var contextOption = drivers.Option{Name: "model-context", Env: "LLM_SPEED_MODEL_CONTEXT", Default: "200000",
	Help: "context length in tokens; the service does not list it"}

// Spec describes the driver.
func Spec() drivers.Spec {
	return drivers.Spec{
		Name: Name, Title: "Anthropic", Kind: drivers.Hosted, Options: []drivers.Option{contextOption},
		Doc:    "Anthropic's Messages API; costs money, so it is used only when it is named.",
		Looked: "the environment variable " + keyName,
		Start:  keyName + "=… llm-speed bench --backend anthropic --model MODEL",
		Able: drivers.Able{
			ExactLength: drivers.No(""), TokenPrompts: drivers.No(""), Tokenizer: drivers.Partly("it counts prompts, and gives no token ids"),
			Cached: drivers.Yes("usage.cache_read_input_tokens"), Cold: drivers.Yes("no cache_control"), PerEvent: drivers.No(""),
			Timing: drivers.No(""), CacheStats: drivers.No(""), Activity: drivers.No(""), Starts: drivers.No(""),
		},
		Limits: []string{
			"Weights, quantisation and hardware are the service's own: rows are never ranked beside local ones.",
			"The output's length can't be forced: a model that ends early gives rows flagged early_stop.",
			"Thinking is streamed as a summary at most and billed as a whole: with it, rates are null.",
		},
		Detect: detect, Open: open,
	}
}

// detect says whether there is a key. It contacts the service only where the user gave its URL, and then to list its models.
func detect(ctx context.Context, c drivers.Config) ([]drivers.Found, error) {
	f := drivers.Found{Backend: Name, URL: base}
	if c.URL == "" {
		if c.Env == nil || c.Env(keyName) == "" {
			return nil, nil
		}
		f.Usable, f.Note = true, "key set, not contacted; used with --backend anthropic only"
		return []drivers.Found{f}, nil
	}
	u, err := httpx.ParseBase(c.URL)
	if err != nil || !owned(u) && !c.Named {
		return nil, nil // whoever the URL is for says what is wrong with it
	}
	if !apikey.Of(c, keyName).IsSet() {
		f.Note = "no key: set " + keyName
		return []drivers.Found{f}, nil
	}
	client, err := connect(c)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	f.URL = client.Base()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ids, err := list(ctx, client)
	if err != nil {
		f.Note = explain(client.Base(), err).Error()
		return []drivers.Found{f}, nil
	}
	f.Usable = true
	for _, id := range ids {
		f.Models = append(f.Models, drivers.Model{Ref: id, Name: id})
	}
	return []drivers.Found{f}, nil
}

// owned reports whether a URL is the service's own.
func owned(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	return host == "anthropic.com" || strings.HasSuffix(host, ".anthropic.com")
}

// connect makes the client. A URL may end in /v1, as the API's own does.
func connect(c drivers.Config) (*httpx.Client, error) {
	env := c.Env
	if env == nil {
		env = func(string) string { return "" }
	}
	header := http.Header{"Anthropic-Version": {version}}
	return httpx.New(cmp.Or(c.URL, base), apikey.Of(c, keyName), header, c.Clock, httpx.WithKeyHeader("X-Api-Key"), httpx.WithProxy(env), httpx.Beside("/v1"))
}

// contextMax reads the option of the context's length.
func contextMax(c drivers.Config) (int, error) {
	text := c.Options[contextOption.Name]
	if text == "" && c.Env != nil {
		text = c.Env(contextOption.Env)
	}
	n, err := strconv.Atoi(cmp.Or(text, contextOption.Default))
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("option %s is %q; want a number of tokens", contextOption.Name, text)
	}
	return n, nil
}

// explain says what to do about an error of Open.
func explain(where string, err error) error {
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return fmt.Errorf("%s: %w; where a proxy or a gateway has a certificate of its own, SSL_CERT_FILE names the file of its authority", where, err)
	case errors.Is(err, drivers.ErrUnreachable):
		return fmt.Errorf("%s: %w; is there a way to it from here? HTTPS_PROXY is honoured", where, err)
	case errors.Is(err, drivers.ErrAuth):
		return fmt.Errorf("%s: %w; check %s", where, err, keyName)
	case errors.Is(err, drivers.ErrOverloaded), errors.Is(err, drivers.ErrRateLimited):
		return fmt.Errorf("%s: %w; try again later", where, err)
	}
	return fmt.Errorf("%s: %w", where, err)
}
