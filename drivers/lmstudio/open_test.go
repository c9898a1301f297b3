package lmstudio

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// against opens a session to a handler.
func against(t *testing.T, h http.Handler, need int, change func(*drivers.Config)) (drivers.Session, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return drivertest.OpenFor(t, Spec(), srv.URL+"/v1", drivers.Need{Context: need, Parallel: 1}, change)
}

func one(text string) drivers.Request {
	return drivers.Request{Prompt: drivers.Prompt{Messages: []chat.Message{{Role: "system", Content: "Be brief."}, {Role: "user", Content: text}}}, OutputTokens: 16, Slot: drivers.AnySlot}
}

// TestLoads is a model that is not loaded: it is, with what the rows need, before anything is timed, and put away at the end.
func TestLoads(t *testing.T) {
	for _, nested := range []bool{false, true} {
		f := &fake{nested: nested, loadTime: 50 * time.Millisecond}
		s, err := against(t, f, 5000, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := s.Info()
		want := drivers.Info{
			Backend: "lmstudio", Build: "llama.cpp-linux-cuda 2.5.0", URL: got.URL, URLKind: "loopback", Attached: true, Sized: true, AnyParallel: true,
			Model:      drivers.Model{Ref: "qwen/qwen3-4b", Name: "qwen/qwen3-4b", Quant: "Q4_K_M", SizeBytes: 2000, ContextMax: 32768, Loaded: true},
			ContextMax: 5376, Parallel: 4, Template: drivers.NotKnown, CacheBlock: 1,
			Metadata: map[string]string{"api": "/api/v1", "endpoint": "/v1/chat/completions", "usage": "in the stream", "cached_tokens": "never stated", "format": "gguf", "instance": "qwen/qwen3-4b",
				"load_context_length": "5376", "load_parallel": "4", "load_seconds": "9.099", "sampling": "greedy: temperature 0, no penalty"},
			WhyNot: map[string]string{"model.digest": "LM Studio does not tell where the model's file lies"},
		}
		if nested {
			want.Parallel = 0
			delete(want.Metadata, "load_parallel")
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if len(f.loads) != 1 || f.loads[0]["context_length"] != 5376.0 || f.requests[1] != "POST /api/v1/models/load" {
			t.Errorf("loaded by %v, after %v", f.loads, f.requests)
		}
		if tr := drivertest.Said(t, s, one("x")); tr.Counts.Output != count(16) || tr.Counts.Cached.Known() || tr.Finish != stream.FinishLength {
			t.Errorf("%+v", tr.Counts)
		}
		if f.last["repeat_penalty"] != 1.0 || f.last["temperature"] != 0.0 {
			t.Errorf("sent %v", f.last)
		}
		_ = s.Close()
		_ = s.Close()
		if !slices.Equal(f.unloads, []string{"qwen/qwen3-4b"}) {
			t.Errorf("put away: %q", f.unloads)
		}
	}
}

// TestLoadedAlready is a model that the user has loaded: it stays as it is, and is not put away.
func TestLoadedAlready(t *testing.T) {
	for _, c := range []struct {
		name              string
		need              int
		reload            string
		context, loads    int
		unloads, unloads2 []string // before the streams, and in all
	}{
		{"large enough", 4000, "no", 4096, 0, nil, nil},
		{"too small", 9000, "no", 4096, 0, nil, nil},
		{"too small, to be loaded anew", 9000, "yes", 9728, 1, []string{"gemma-3-4b"}, []string{"gemma-3-4b", "gemma-3-4b"}},
		{"longer than the model can", 100_000, "yes", 32768, 1, []string{"gemma-3-4b"}, []string{"gemma-3-4b", "gemma-3-4b"}},
	} {
		f := &fake{loaded: map[string]int{"gemma-3-4b": 4096}}
		s, err := against(t, f, c.need, func(cfg *drivers.Config) { cfg.Options[optReload] = c.reload })
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		i := s.Info()
		if i.Model.Ref != "gemma-3-4b" || i.ContextMax != c.context || i.Sized != (c.loads > 0 && c.context < 32768) || len(f.loads) != c.loads || !slices.Equal(f.unloads, c.unloads) {
			t.Errorf("%s: %+v, loads %v, unloads %q", c.name, i, f.loads, f.unloads)
		}
		_ = s.Close()
		if !slices.Equal(f.unloads, c.unloads2) {
			t.Errorf("%s: put away %q", c.name, f.unloads)
		}
	}
}

// TestEviction is a model that LM Studio puts away between two streams: it is loaded again before the next one is sent, once for
// all streams that start together.
func TestEviction(t *testing.T) {
	f := &fake{}
	s, err := against(t, f, 4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.evict("qwen/qwen3-4b")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			r := one("x")
			r.Hold = func(ctx context.Context) (time.Duration, error) {
				f.mu.Lock()
				defer f.mu.Unlock()
				if _, ok := f.loaded["qwen/qwen3-4b"]; !ok {
					t.Error("let go before the model was loaded")
				}
				return 0, nil
			}
			if _, err := s.Stream(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(f.loads) != 2 {
		t.Errorf("loaded %d times, want once at Open and once again", len(f.loads))
	}
}

// TestEvictionBefore04 is an LM Studio that can't be told to load: a request that is not measured makes it.
func TestEvictionBefore04(t *testing.T) {
	f := &fake{old: true}
	s, err := against(t, f, 4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.evict("qwen/qwen3-4b")
	r := one("x")
	r.Hold = func(context.Context) (time.Duration, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if _, ok := f.loaded["qwen/qwen3-4b"]; !ok {
			t.Error("let go before the model was loaded")
		}
		return 0, nil
	}
	if _, err := s.Stream(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		name     string
		server   *fake
		endpoint string
		want     string // endpoint
		rate     float64
	}{
		{"v0 tells its figures", &fake{v0Stats: true}, "auto", "/api/v0/chat/completions", 50.5},
		{"v0 tells nothing in streams", &fake{}, "auto", "/v1/chat/completions", 0},
		{"v0 is gone", &fake{noV0: true}, "auto", "/v1/chat/completions", 0},
		{"before 0.4", &fake{old: true, v0Stats: true}, "auto", "/api/v0/chat/completions", 50.5},
		{"told to use v0", &fake{}, "v0", "/api/v0/chat/completions", 0},
		{"told to use chat", &fake{v0Stats: true}, "chat", "/v1/chat/completions", 0},
		{"told to use native", &fake{}, "native", "/api/v1/chat", 40},
	} {
		s, err := against(t, c.server, 4096, func(cfg *drivers.Config) { cfg.Options[optEndpoint] = c.endpoint })
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		tr := drivertest.Said(t, s, one("x"))
		if got := s.Info().Metadata["endpoint"]; got != c.want || tr.Server.StatedDecode != c.rate || tr.Counts.Prompt != count(11) {
			t.Errorf("%s: %s, %v, %+v", c.name, got, tr.Server, tr.Counts)
		}
	}
}

func TestNative(t *testing.T) {
	f := &fake{}
	s, err := against(t, f, 4096, func(cfg *drivers.Config) { cfg.Options[optEndpoint] = "native" })
	if err != nil {
		t.Fatal(err)
	}
	r := one("Hello?")
	r.Reasoning = "off"
	tr := drivertest.Said(t, s, r)
	want := map[string]any{"model": "qwen/qwen3-4b", "system_prompt": "Be brief.", "input": "Hello?", "max_output_tokens": 16.0, "temperature": 0.0, "top_p": 1.0, "repeat_penalty": 1.0,
		"store": false, "stream": true, "reasoning": "off"}
	if d := cmp.Diff(want, f.last); d != "" {
		t.Error(d)
	}
	if tr.Finish != stream.FinishLength || tr.Counts.Reasoning != count(0) || len(tr.Events) != 16 {
		t.Errorf("%+v", tr)
	}
	if _, err := s.Stream(t.Context(), drivertest.Ask()); !errors.Is(err, drivers.ErrUnsupported) || !strings.Contains(err.Error(), "endpoint=auto") {
		t.Errorf("a conversation with tools: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	for field, want := range map[string]string{"repeat_penalty": "repeat_penalty", "seed": "seed", "stream_options": "include_usage"} {
		f := &fake{refuses: []string{field}}
		s, err := against(t, f, 4096, nil)
		if err != nil {
			t.Errorf("%s: %v", field, err)
			continue
		}
		if got := s.Info().Metadata["refused"]; got != want {
			t.Errorf("%s: refused %q", field, got)
		}
		tr := drivertest.Said(t, s, one("x"))
		if _, sent := f.last[field]; sent || (field == "stream_options") == tr.Counts.Output.Known() {
			t.Errorf("%s: sent %v, counts %+v", field, sent, tr.Counts)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	answer := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	for _, c := range []struct {
		name   string
		server http.Handler
		change func(*drivers.Config)
		want   error
		says   string
	}{
		{"another server", answer(404, `{"detail":"Not Found"}`), nil, drivers.ErrProtocol, "--backend openai-compatible"},
		{"a page", answer(200, `<html>`), nil, drivers.ErrProtocol, "is no LM Studio"},
		{"another list of models", answer(200, `{"models":[{"name":"llama3:8b"}],"data":[{"id":"m","owned_by":"vllm"}]}`), nil, drivers.ErrProtocol, "is no LM Studio"},
		{"no models", answer(200, `{"models":[]}`), nil, drivers.ErrNoModel, "lms get"},
		{"embeddings only", answer(200, `{"models":[{"type":"embedding","key":"e"}]}`), nil, drivers.ErrNoModel, "lms get"},
		{"another model", &fake{}, func(c *drivers.Config) { c.Model = "qwen3-5b" }, drivers.ErrModelNotFound, "qwen/qwen3-4b"},
		{"an embedding model", &fake{}, func(c *drivers.Config) { c.Model = "text-embedding-nomic" }, drivers.ErrModelNotFound, "it serves"},
		{"a token is wanted", &fake{token: "t"}, nil, drivers.ErrAuth, "LM_API_TOKEN"},
		{"no memory", &fake{loadFail: "Model loading was stopped due to insufficient system resources."}, nil, drivers.ErrServer, "load qwen/qwen3-4b: server error (HTTP 500): Model loading was stopped"},
		{"loads for too long", &fake{loadTime: 400 * time.Millisecond}, func(c *drivers.Config) { c.Options[optWait] = "80ms" }, drivers.ErrTimeout, "(option wait)"},
		{"another model answers", &fake{answers: "gemma-3-4b"}, func(c *drivers.Config) { c.Model = "qwen/qwen3-4b" }, drivers.ErrModelNotFound, "gemma-3-4b answers"},
		{"endpoint gone", &fake{noV0: true}, func(c *drivers.Config) { c.Options[optEndpoint] = "v0" }, drivers.ErrServer, "Unexpected endpoint"},
		{"wrong option", &fake{}, func(c *drivers.Config) { c.Options[optEndpoint] = "x" }, nil, "auto, v0, chat, native"},
		{"refuses all", &fake{refuses: []string{"messages"}}, nil, drivers.ErrBadRequest, "'messages' is not a known field"},
	} {
		s, err := against(t, c.server, 4096, c.change)
		if err == nil {
			_ = s.Close()
			t.Errorf("%s: opened", c.name)
			continue
		}
		if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %v, %q", c.name, err, c.want, c.says)
		}
		if f, ok := c.server.(*fake); ok && f.loadFail == "" && f.loadTime == 0 {
			f.mu.Lock()
			if len(f.loads) > 0 && !slices.Equal(f.unloads, []string{"qwen/qwen3-4b"}) {
				t.Errorf("%s: a model was loaded and not put away: %q", c.name, f.unloads)
			}
			f.mu.Unlock()
		}
	}
}

// TestChanges is a server that answers with another model in the middle, one whose model is deleted, and one that goes away.
func TestChanges(t *testing.T) {
	f := &fake{loaded: map[string]int{"gemma-3-4b": 8192}}
	srv := httptest.NewServer(f)
	s, err := Spec().Open(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New()}, drivers.Need{Context: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	drivertest.Said(t, s, one("x"))
	f.mu.Lock()
	f.answers = "qwen/qwen3-4b"
	f.mu.Unlock()
	rec, err := s.Stream(t.Context(), one("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Decode(rec); !errors.Is(err, drivers.ErrModelNotFound) || !strings.Contains(err.Error(), `"qwen/qwen3-4b"`) {
		t.Errorf("another model: %v", err)
	}
	srv.CloseClientConnections()
	srv.Close()
	if _, err := s.Stream(t.Context(), one("x")); !errors.Is(err, drivers.ErrUnreachable) || !strings.Contains(err.Error(), "lms server start") {
		t.Errorf("gone: %v", err)
	}
}

func TestDetect(t *testing.T) {
	srv := httptest.NewServer(&fake{loaded: map[string]int{"gemma-3-4b": 4096}})
	defer srv.Close()
	found, err := Spec().Detect(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New()})
	want := []drivers.Found{{Backend: "lmstudio", URL: srv.URL, Usable: true, Models: []drivers.Model{
		{Ref: "qwen/qwen3-4b", Name: "qwen/qwen3-4b", Quant: "Q4_K_M", SizeBytes: 2000, ContextMax: 32768},
		{Ref: "gemma-3-4b", Name: "gemma-3-4b", Quant: "Q4_K_M", SizeBytes: 1000, ContextMax: 32768, Loaded: true}}}}
	if d := cmp.Diff(want, found); err != nil || d != "" {
		t.Error(err, d)
	}
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	began := time.Now()
	found, err = Spec().Detect(t.Context(), drivers.Config{URL: silent.URL, Clock: clock.New()})
	if err != nil || len(found) != 0 || time.Since(began) > 5*time.Second {
		t.Errorf("silence: %v, %+v after %v", err, found, time.Since(began))
	}
}

// TestFile finds a model's file by its size, and by nothing less.
func TestFile(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, ".lmstudio", "models", "qwen", "qwen3-4b")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name string, size int) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	path := func() (string, []string) {
		s, err := against(t, &fake{}, 4096, func(c *drivers.Config) {
			c.Env = func(k string) string { return map[string]string{"HOME": home, "USERPROFILE": home}[k] }
		})
		if err != nil {
			t.Fatal(err)
		}
		return s.Info().Model.Path, drivers.CapsOf(s).Secrets.Secrets()
	}
	put("other.gguf", 1999)
	if got, _ := path(); got != "" {
		t.Errorf("found %s", got)
	}
	want := put("qwen3-4b-q4_k_m.gguf", 2000)
	got, secrets := path()
	if got != want || !slices.Contains(secrets, dir+string(filepath.Separator)) {
		t.Errorf("found %q, secrets %q", got, secrets)
	}
	put("copy.gguf", 2000)
	if got, _ := path(); got != "" {
		t.Errorf("found %s of two", got)
	}
}

// TestInstalled is an LM Studio whose server does not run: it is told, and can't be used as it is.
func TestInstalled(t *testing.T) {
	home := t.TempDir()
	c := drivers.Config{Env: func(k string) string { return map[string]string{"HOME": home, "USERPROFILE": home}[k] }}
	if got := installed(c); got != nil {
		t.Errorf("nothing there: %+v", got)
	}
	lms := filepath.Join(home, ".lmstudio", "bin", "lms")
	if err := os.MkdirAll(filepath.Dir(lms), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lms, nil, 0o700); err != nil { //nolint:gosec // it stands for a program
		t.Fatal(err)
	}
	if got := installed(c); len(got) != 1 || got[0].Usable || got[0].Binary != lms || !strings.Contains(got[0].Note, "lms server start") {
		t.Errorf("%+v", got)
	}
}
