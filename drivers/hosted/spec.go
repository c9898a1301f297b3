// Package hosted is the driver of hosted services that speak OpenAI's chat completions: one table (service.go) says what
// differs between them.
//
// It never generates a token that the engine did not ask for: what a service takes is known from its documents, and what it
// refuses is learnt from the refusal (Adapt). It contacts no service unless the user named it, by backend or URL, sends its
// key nowhere else, and never retries.
package hosted

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/apikey"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
)

var (
	contextOption = drivers.Option{Name: "model-context", Env: "LLM_SPEED_MODEL_CONTEXT",
		Help: "context length in tokens, where the service does not list it"}
	providerOption = drivers.Option{Name: "provider", Env: "LLM_SPEED_OPENROUTER_PROVIDER",
		Help: "the provider that all requests go to, by its slug or name (default: the one of the first answer)"}
	quantOption = drivers.Option{Name: "quantization", Env: "LLM_SPEED_OPENROUTER_QUANTIZATION",
		Help: "weights of that provider, as fp8 or bf16 (default: whichever it serves)"}
)

// Specs describes the drivers, one a service.
func Specs() []drivers.Spec {
	var specs []drivers.Spec
	for _, v := range services() {
		options := []drivers.Option{contextOption}
		if v.pins {
			options = append(options, providerOption, quantOption)
		}
		specs = append(specs, drivers.Spec{
			Name: v.name, Title: v.title, Kind: drivers.Hosted, Options: options,
			Doc:    fmt.Sprintf("The hosted API of %s; costs money, so it is used only when it is named.", v.title),
			Looked: "the environment variable " + v.keys,
			Start:  fmt.Sprintf("%s=… llm-speed bench --backend %s --model MODEL", v.keys, v.name),
			Able:   v.able, Limits: v.limits,
			Detect: v.detect, Open: v.open,
		})
	}
	return specs
}

// detect says whether there is a key. It contacts the service only where the user gave its URL, and then to list its models.
func (v service) detect(ctx context.Context, c drivers.Config) ([]drivers.Found, error) {
	f := drivers.Found{Backend: v.name, URL: "https://" + v.host + v.path}
	key := apikey.Of(c, v.keys)
	if c.URL == "" {
		if c.Env == nil || c.Env(v.keys) == "" { // a key given for no backend in particular says nothing
			return nil, nil
		}
		f.Usable, f.Note = true, "key set, not contacted; used with --backend "+v.name+" only"
		return []drivers.Found{f}, nil
	}
	u, err := httpx.ParseBase(c.URL)
	if err != nil || !v.owns(u) && !c.Named {
		return nil, nil // whoever the URL is for says what is wrong with it
	}
	if !key.IsSet() {
		f.Note = "no key: set " + v.keys
		return []drivers.Found{f}, nil
	}
	client, prefix, err := v.client(c)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	f.URL = client.Base() + prefix
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	models, err := list(ctx, client, prefix)
	if err != nil {
		f.Note = v.explain(client.Base(), err).Error()
		return []drivers.Found{f}, nil
	}
	f.Usable = true
	for _, m := range models {
		f.Models = append(f.Models, m.model())
	}
	return []drivers.Found{f}, nil
}

// owns reports whether a URL is the service's own.
func (v service) owns(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	domain := v.host
	if i := strings.IndexByte(domain, '.'); strings.Count(domain, ".") > 1 {
		domain = domain[i+1:] // api.groq.com is in groq.com
	}
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// client connects to the service, or to the URL that stands for it. prefix is the path of the API below the client's base:
// a URL without a path has the API where the service has it.
func (v service) client(c drivers.Config) (client *httpx.Client, prefix string, err error) {
	base := cmp.Or(c.URL, "https://"+v.host)
	u, err := httpx.ParseBase(base)
	if err != nil {
		return nil, "", fmt.Errorf("--url: %w", err)
	}
	if u.Path == "" {
		prefix = v.path
	}
	env := c.Env
	if env == nil {
		env = func(string) string { return "" }
	}
	client, err = httpx.New(base, apikey.Of(c, v.keys), nil, c.Clock, httpx.WithProxy(env))
	return client, prefix, err
}

// option reads a setting: as given, from the environment, or its default.
func option(c drivers.Config, o drivers.Option) string {
	if s := c.Options[o.Name]; s != "" {
		return s
	}
	if c.Env != nil {
		if s := c.Env(o.Env); s != "" {
			return s
		}
	}
	return o.Default
}

// modelContext reads the option of that name; 0 where it is not set.
func modelContext(c drivers.Config) (int, error) {
	text := option(c, contextOption)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("option %s is %q; want a number of tokens", contextOption.Name, text)
	}
	return n, nil
}
