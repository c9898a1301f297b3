package hosted

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
)

func spec(t *testing.T, name string) drivers.Spec {
	t.Helper()
	for _, s := range Specs() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no driver %q", name)
	return drivers.Spec{}
}

func config(base string, env ...string) drivers.Config {
	vars := map[string]string{}
	for i := 0; i < len(env); i += 2 {
		vars[env[i]] = env[i+1]
	}
	return drivers.Config{URL: base, Clock: clock.New(), Env: func(n string) string { return vars[n] }, Options: map[string]string{}, Log: func(string, ...any) {}}
}

func hello() drivers.Request {
	return drivers.Request{Prompt: drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: "Hello"}}}, OutputTokens: 32, Slot: drivers.AnySlot}
}

func open(t *testing.T, name string, c drivers.Config) (drivers.Session, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := spec(t, name).Open(ctx, c, drivers.Need{Context: 1000, Parallel: 1})
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

// TestDetect: without a URL nothing is contacted, and what is not set is not there.
func TestDetect(t *testing.T) {
	for _, v := range services() {
		s := spec(t, v.name)
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // any call would fail
		if found, err := s.Detect(ctx, config("")); err != nil || len(found) != 0 {
			t.Errorf("%s without a key: %v, %v", v.name, found, err)
		}
		c := config("", v.keys, "sk-very-secret")
		found, err := s.Detect(ctx, c)
		if err != nil || len(found) != 1 || !found[0].Usable || !strings.Contains(found[0].Note, "not contacted") || strings.Contains(fmt.Sprintf("%+v", found), "sk-very") {
			t.Errorf("%s with a key: %+v, %v", v.name, found, err)
		}
		if found, err := s.Detect(ctx, config("http://127.0.0.1:1", v.keys, "k")); err != nil || len(found) != 0 {
			t.Errorf("%s at somebody else's URL: %+v, %v", v.name, found, err)
		}
		gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"data":[{"id":"m"}]}`) }))
		named := config(gateway.URL, v.keys, "k")
		named.Named = true
		if found, err := s.Detect(t.Context(), named); err != nil || len(found) != 1 || len(found[0].Models) != 1 || found[0].URL != gateway.URL+v.path {
			t.Errorf("%s at a gateway that was named as it: %+v, %v", v.name, found, err)
		}
		gateway.Close()
		if found, err := s.Detect(ctx, config("https://"+v.host+v.path)); err != nil || len(found) != 1 || found[0].Usable || !strings.Contains(found[0].Note, v.keys) {
			t.Errorf("%s at its URL without a key: %+v, %v", v.name, found, err)
		}
		if !strings.Contains(s.Start, v.keys) || !strings.Contains(s.Looked, v.keys) || s.Kind != drivers.Hosted {
			t.Errorf("%s: %+v", v.name, s)
		}
	}
}

func TestOwns(t *testing.T) {
	for _, c := range []struct {
		service, url string
		want         bool
	}{
		{"groq", "https://api.groq.com/openai/v1", true}, {"groq", "https://API.GROQ.COM", true}, {"groq", "https://eu.groq.com", true},
		{"groq", "https://api.groq.com.evil.org", false}, {"groq", "https://notgroq.com", false}, {"openrouter", "https://openrouter.ai/api/v1", true},
		{"together", "https://api.together.ai/v1", true}, {"fireworks", "https://api.fireworks.ai", true}, {"openai", "https://us.api.openai.com/v1", true},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range services() {
			if got := v.owns(u); got != (c.want && v.name == c.service) {
				t.Errorf("%s owns %s: %v", v.name, c.url, got)
			}
		}
	}
}

func TestOpenErrors(t *testing.T) {
	models := drivertest.JSON(`{"data":[{"id":"llama-3.3-70b"},{"id":"whisper-large"},{"id":"qwen3-32b"}]}`)
	status := func(code int, body string) drivertest.Script {
		s := drivertest.JSON(body)
		s.Status = code
		return s
	}
	for _, c := range []struct {
		name, model string
		models      drivertest.Script
		options     map[string]string
		want        error
		text        []string
	}{
		{"no model", "", models, nil, drivers.ErrNoModel, []string{"--model", "costs money", "llama-3.3-70b, qwen3-32b"}},
		{"a wrong model", "llama-3.3-70", models, nil, drivers.ErrModelNotFound, []string{"did you mean llama-3.3-70b"}},
		{"a model that writes no text", "whisper-large", models, nil, drivers.ErrModelNotFound, nil},
		{"a wrong key", "x", status(401, `{"error":{"message":"Invalid API Key sk-test-123456"}}`), nil, drivers.ErrAuth, []string{"GROQ_API_KEY", "***"}},
		{"down", "x", status(503, `{"error":"down"}`), nil, drivers.ErrOverloaded, []string{"try again later"}},
		{"refused for its limits", "x", status(429, `slow`), nil, drivers.ErrRateLimited, []string{"try again later"}},
		{"no money", "x", status(402, `{"error":{"message":"Insufficient Balance"}}`), nil, drivers.ErrNoCredit, []string{"Insufficient Balance"}},
		{"no list, no model", "", status(404, `nothing`), nil, drivers.ErrNoModel, []string{"lists none"}},
		{"a page", "", drivertest.Script{Header: map[string]string{"Content-Type": "text/html"}, Writes: []string{"<html>login</html>"}}, nil, drivers.ErrNoModel, nil},
		{"a bad option", "x", models, map[string]string{"model-context": "lots"}, nil, []string{"model-context", "lots"}},
	} {
		srv := drivertest.NewServer(t, map[string]drivertest.Script{"GET /openai/v1/models": c.models})
		cfg := config(srv.URL)
		cfg.Model, cfg.APIKey, cfg.Options = c.model, drivers.NewSecret("sk-test-123456"), c.options
		_, err := open(t, "groq", cfg)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, part := range c.text {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v does not say %q", c.name, err, part)
			}
		}
		if strings.Contains(err.Error(), "sk-test") {
			t.Errorf("%s: the key is in %v", c.name, err)
		}
	}
	if _, err := open(t, "groq", config("")); !errors.Is(err, drivers.ErrAuth) || !strings.Contains(err.Error(), "GROQ_API_KEY") {
		t.Errorf("without a key: %v", err)
	}
}

// TestWithoutList: a gateway that lists no models is taken by its word.
func TestWithoutList(t *testing.T) {
	srv := drivertest.NewServer(t, map[string]drivertest.Script{"POST /gw/chat/completions": {Writes: synthetic()["groq"]}})
	cfg := config(srv.URL+"/gw", "GROQ_API_KEY", "k")
	cfg.Model = "some-model"
	s, err := open(t, "groq", cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stream(t.Context(), hello()); err != nil || len(srv.Requests("POST /gw/chat/completions")) != 1 {
		t.Errorf("%v, %d requests", err, len(srv.Requests("POST /gw/chat/completions")))
	}
	if n := len(srv.Requests("GET /gw/models")); n != 1 {
		t.Errorf("%d lists asked for", n)
	}
}

func TestPrices(t *testing.T) {
	near := func(a, b float64) bool { return a > b*0.999999 && a < b*1.000001 }
	for _, c := range []struct {
		service, path, models string
		prompt, output, req   float64
		none                  bool
		wantsCtx              int
	}{
		{service: "openrouter", path: "/api/v1", models: `{"data":[{"id":"m","context_length":131072,"pricing":{"prompt":"0.0000004","completion":"0.0000016","request":"0.001"}}]}`, prompt: 4e-7, output: 16e-7, req: 0.001, wantsCtx: 131072},
		{service: "openrouter", path: "/api/v1", models: `{"data":[{"id":"m","pricing":{"prompt":"-1","completion":"-1"}}]}`, none: true},
		{service: "together", path: "/v1", models: `[{"id":"m","type":"chat","context_length":8192,"pricing":{"hourly":0,"input":0.18,"output":0.6,"base":0,"finetune":0}}]`, prompt: 1.8e-7, output: 6e-7, wantsCtx: 8192},
		{service: "groq", path: "/openai/v1", models: `{"data":[{"id":"m","context_window":32768,"pricing":{"prompt":"1","completion":"1"}}]}`, none: true, wantsCtx: 32768},
	} {
		srv := drivertest.NewServer(t, map[string]drivertest.Script{"GET " + c.path + "/models": drivertest.JSON(c.models)})
		cfg := config(srv.URL, "X", "")
		cfg.Model, cfg.APIKey = "m", drivers.NewSecret("k")
		s, err := open(t, c.service, cfg)
		if err != nil {
			t.Fatal(err)
		}
		i := s.Info()
		switch p := i.Price; {
		case c.none && p != nil:
			t.Errorf("%s: price %+v", c.service, p)
		case !c.none && (p == nil || !near(p.Prompt, c.prompt) || !near(p.Output, c.output) || c.req > 0 && !near(p.Request, c.req) || !strings.Contains(p.From, "/models")):
			t.Errorf("%s: price %+v", c.service, p)
		}
		if i.ContextMax != c.wantsCtx {
			t.Errorf("%s: context %d, want %d", c.service, i.ContextMax, c.wantsCtx)
		}
	}
}

func routed(t *testing.T, srv *drivertest.Server) []map[string]any {
	t.Helper()
	var out []map[string]any
	for _, r := range srv.Requests("POST /api/v1/chat/completions") {
		var body struct {
			Provider map[string]any `json:"provider"`
		}
		if err := json.Unmarshal(r.Body, &body); err != nil {
			t.Fatal(err)
		}
		out = append(out, body.Provider)
	}
	return out
}

// TestProviderIsPinned: the one that was asked for, or the one of the first answer, gets every request.
func TestProviderIsPinned(t *testing.T) {
	answers := func() map[string]drivertest.Script {
		return map[string]drivertest.Script{
			"GET /api/v1/models": drivertest.JSON(`{"data":[{"id":"org/m"}]}`),
			"GET /api/v1/models/org/m/endpoints": drivertest.JSON(`{"data":{"endpoints":[
				{"provider_name":"Groq","tag":"groq","quantization":"unknown","context_length":131072},
				{"provider_name":"DeepInfra","tag":"deepinfra/bf16","quantization":"bf16","context_length":65536},
				{"provider_name":"DeepInfra","tag":"deepinfra/fp8","quantization":"fp8","context_length":32768}]}}`),
			"POST /api/v1/chat/completions": {Writes: synthetic()["openrouter"]},
		}
	}
	for _, c := range []struct {
		name, provider, quant string
		only                  [2]string // in the first request and in later ones; "" none
		context               int
		quantKnown            string
		fails                 string
	}{
		{name: "of the first answer", only: [2]string{"", "deepinfra"}},
		{name: "by its slug", provider: "deepinfra", only: [2]string{"deepinfra", "deepinfra"}, context: 65536, quantKnown: "bf16"},
		{name: "by its name", provider: "DeepInfra", only: [2]string{"deepinfra", "deepinfra"}, context: 65536, quantKnown: "bf16"},
		{name: "one of two endpoints", provider: "deepinfra/fp8", only: [2]string{"deepinfra/fp8", "deepinfra/fp8"}, context: 32768, quantKnown: "fp8"},
		{name: "by its weights", provider: "deepinfra", quant: "fp8", only: [2]string{"deepinfra", "deepinfra"}, context: 32768, quantKnown: "fp8"},
		{name: "none such", provider: "nobody", fails: "groq, deepinfra/bf16, deepinfra/fp8"},
		{name: "none with such weights", provider: "groq", quant: "fp8", fails: "groq fp8"},
	} {
		srv := drivertest.NewServer(t, answers())
		cfg := config(srv.URL)
		cfg.Model, cfg.APIKey = "org/m", drivers.NewSecret("k")
		cfg.Options = map[string]string{"provider": c.provider, "quantization": c.quant}
		s, err := open(t, "openrouter", cfg)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if i := s.Info(); i.ContextMax != c.context || i.Model.Quant != c.quantKnown || (i.WhyNot["model.quant"] == "") != (c.quantKnown != "") {
			t.Errorf("%s: context %d, quant %q, %v", c.name, i.ContextMax, i.Model.Quant, i.WhyNot)
		}
		for range 3 {
			rec, err := s.Stream(t.Context(), hello())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Decode(rec); err != nil {
				t.Fatal(err)
			}
		}
		for i, route := range routed(t, srv) {
			want := c.only[min(i, 1)]
			only, _ := route["only"].([]any)
			if route["allow_fallbacks"] != false || want == "" && len(only) != 0 || want != "" && !slices.Equal(only, []any{want}) {
				t.Errorf("%s: request %d is routed by %v, want %q alone", c.name, i, route, want)
			}
		}
		// The router breaks its word.
		moved := strings.ReplaceAll(strings.Join(synthetic()["openrouter"], ""), "DeepInfra", "Groq")
		srv.Play("POST /api/v1/chat/completions", drivertest.Script{Writes: []string{moved}})
		rec, err := s.Stream(t.Context(), hello())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Decode(rec); err == nil || !strings.Contains(err.Error(), "Groq") || !strings.Contains(err.Error(), "DeepInfra") {
			t.Errorf("%s: an answer of another provider: %v", c.name, err)
		}
	}
}

// TestAdapt: what a service refuses by its name is left out from then on; what can't be left out is not.
func TestAdapt(t *testing.T) {
	refused := func(status int, words string) error {
		return &drivers.APIError{Kind: drivers.KindOfStatus(status, words), Status: status, Message: words}
	}
	for _, c := range []struct {
		service string
		err     error
		ok      bool
		gone    string // field that later requests lack
		there   string // field that they have
	}{
		{"openai", refused(400, "Unsupported value: 'temperature' does not support 0 with this model."), true, "temperature", "max_completion_tokens"},
		{"openai", refused(400, "Unrecognized request argument supplied: max_completion_tokens. Use max_tokens"), true, "max_completion_tokens", "max_tokens"},
		{"groq", refused(400, "`reasoning_effort` is not supported with this model"), true, "reasoning_effort", "model"},
		{"fireworks", refused(422, "Extra inputs are not permitted, field: 'perf_metrics_in_response'"), true, "perf_metrics_in_response", "ignore_eos"},
		{"cerebras", refused(400, "min_tokens is not supported"), true, "min_tokens", "max_completion_tokens"},
		{"together", refused(400, "stream_options is unknown"), true, "stream_options", "seed"},
		{"groq", refused(400, "messages must not be empty"), false, "", "messages"},
		{"groq", refused(500, "temperature too high in the machine room"), false, "", "temperature"},
		{"groq", errors.New("temperature"), false, "", "temperature"},
		{"openrouter", refused(404, "No endpoints found that match provider"), false, "", "provider"},
	} {
		v := services()[slices.IndexFunc(services(), func(v service) bool { return v.name == c.service })]
		s := &session{service: v, model: "m", dropped: map[string]bool{}}
		r := hello()
		r.Reasoning = "off"
		before, _ := s.encode(r)
		changed, ok := s.Adapt(c.err)
		if ok != c.ok || ok != (changed != "") {
			t.Errorf("%s: %v: %q, %v", c.service, c.err, changed, ok)
			continue
		}
		after, err := s.encode(r)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(after, &fields); err != nil {
			t.Fatal(err)
		}
		if _, has := fields[c.there]; !has {
			t.Errorf("%s: %s is missing in %s", c.service, c.there, after)
		}
		if _, has := fields[c.gone]; has && c.gone != "" || c.gone != "" && !strings.Contains(string(before), `"`+c.gone+`"`) {
			t.Errorf("%s: %s: before %s, after %s", c.service, c.gone, before, after)
		}
		if _, again := s.Adapt(c.err); again {
			t.Errorf("%s: the same refusal twice changes something twice", c.service)
		}
	}
}

// TestCold: where a service can be told to reuse nothing, each prompt has a cache of its own, the same one for the same bytes.
func TestCold(t *testing.T) {
	v := services()[slices.IndexFunc(services(), func(v service) bool { return v.cold != "" })]
	s := &session{service: v, model: "m", dropped: map[string]bool{}}
	key := func(text string, reuse bool) string {
		r := hello()
		r.Prompt.Messages[0].Content, r.Reuse = text, reuse
		b, err := s.encode(r)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(b, &fields); err != nil {
			t.Fatal(err)
		}
		k, _ := fields[v.cold].(string)
		return k
	}
	a, again, b := key("a", false), key("a", false), key("b", false)
	if a == "" || a != again || a == b || key("a", true) != "" {
		t.Errorf("keys %q, %q, %q, with reuse %q", a, again, b, key("a", true))
	}
}

// TestPace: limits of one answer hold the next requests.
func TestPace(t *testing.T) {
	srv := drivertest.NewServer(t, map[string]drivertest.Script{
		"GET /openai/v1/models": drivertest.JSON(`{"data":[{"id":"m"}]}`),
		"POST /openai/v1/chat/completions": {Writes: synthetic()["groq"], Header: map[string]string{
			"Content-Type": "text/event-stream", "X-Ratelimit-Limit-Tokens": "6000", "X-Ratelimit-Remaining-Tokens": "100", "X-Ratelimit-Reset-Tokens": "50s"}},
	})
	cfg := config(srv.URL)
	cfg.Model, cfg.APIKey = "m", drivers.NewSecret("k")
	s, err := open(t, "groq", cfg)
	if err != nil {
		t.Fatal(err)
	}
	pacer := drivers.CapsOf(s).Pacer
	if wait, why := pacer.Pace(1, 1000, 100); wait != 0 {
		t.Errorf("before any answer: %v, %s", wait, why)
	}
	if _, err := s.Stream(t.Context(), hello()); err != nil {
		t.Fatal(err)
	}
	if wait, why := pacer.Pace(1, 1000, 100); wait < 45*time.Second || wait > 50*time.Second || !strings.Contains(why, "6000 tokens") {
		t.Errorf("%v, %s", wait, why)
	}
	if wait, _ := pacer.Pace(1, 10, 10); wait != 0 {
		t.Errorf("a small request: %v", wait)
	}
}

// TestNoCredit: a service without credit refuses with the status of a rate limit, and no wait helps.
func TestNoCredit(t *testing.T) {
	refusal := drivertest.JSON(`{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}`)
	refusal.Status = 429
	srv := drivertest.NewServer(t, map[string]drivertest.Script{
		"GET /v1/models": drivertest.JSON(`{"data":[{"id":"m"}]}`), "POST /v1/chat/completions": refusal,
	})
	cfg := config(srv.URL)
	cfg.Model, cfg.APIKey = "m", drivers.NewSecret("sk-test-123456")
	s, err := open(t, "openai", cfg)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := s.Stream(t.Context(), hello())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Decode(rec); !errors.Is(err, drivers.ErrNoCredit) || !strings.Contains(err.Error(), "check your plan") {
		t.Errorf("decode: %v", err)
	}
	if wait, why := drivers.CapsOf(s).Pacer.Pace(1, 1000, 100); wait != 0 {
		t.Errorf("waits %v: %s", wait, why)
	}
}

// TestUntrusted: an unknown certificate is told from a service that is out of reach.
func TestUntrusted(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	cfg := config(srv.URL)
	cfg.Model, cfg.APIKey = "m", drivers.NewSecret("k")
	if _, err := open(t, "openai", cfg); err == nil || !strings.Contains(err.Error(), "SSL_CERT_FILE") || strings.Contains(err.Error(), "HTTPS_PROXY") {
		t.Errorf("%v", err)
	}
}

// TestProxy: a service is reached through the environment's proxy, and the result says so.
func TestProxy(t *testing.T) {
	srv := drivertest.NewServer(t, map[string]drivertest.Script{
		"GET /openai/v1/models":            drivertest.JSON(`{"data":[{"id":"m"}]}`),
		"POST /openai/v1/chat/completions": {Writes: synthetic()["groq"]},
	})
	cfg := config("http://service.example", "HTTP_PROXY", "http://user:proxy-secret@"+strings.TrimPrefix(srv.URL, "http://"))
	cfg.Model, cfg.APIKey = "m", drivers.NewSecret("k")
	s, err := open(t, "groq", cfg)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := s.Stream(t.Context(), hello())
	if err != nil || !rec.Conn.Proxy {
		t.Errorf("%v, %+v", err, rec.Conn)
	}
	if i := s.Info(); !strings.HasPrefix(i.Metadata["proxy"], "yes") || i.URLKind != "remote" || strings.Contains(fmt.Sprintf("%+v", i), "proxy-secret") {
		t.Errorf("info %+v", i)
	}
	if !slices.Contains(drivers.CapsOf(s).Secrets.Secrets(), "proxy-secret") {
		t.Error("the proxy's password is not among the secrets")
	}
	r := srv.Requests("POST /openai/v1/chat/completions")[0]
	if r.Header.Get("Proxy-Authorization") == "" || r.Header.Get("Authorization") != "Bearer k" {
		t.Errorf("headers %v", r.Header)
	}
}
