package vllm

import (
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// against opens a session to a handler.
func against(t *testing.T, h http.Handler, change func(*drivers.Config)) (drivers.Session, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return drivertest.OpenFor(t, Spec(), srv.URL, drivers.Need{Context: 1024, Parallel: 2}, change)
}

func TestInfo(t *testing.T) {
	f := &fake{model: "qwen", root: "Qwen/Qwen3-8B-AWQ", details: true}
	s, err := against(t, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := s.Info()
	want := drivers.Info{
		Backend: "vllm", Version: "0.11.0", URL: got.URL, URLKind: "loopback", Attached: true,
		Model:      drivers.Model{Ref: "qwen", Name: "qwen", Quant: "AWQ", ContextMax: 4096, Loaded: true},
		ContextMax: 4096, Template: 4, CacheBlock: 16, AnyParallel: true, IgnoresEOS: true, ColdAsked: true,
		Metadata: map[string]string{
			"endpoint": "/v1/completions, prompt as token ids", "rendering": "template, by /tokenize", "tools": "template", "root": "Qwen/Qwen3-8B-AWQ",
			"cached_tokens": "stated", "cache_salt": "seen to work", "cache_block_size": "16", "tokens_per_event": "stated by running usage",
			"sampling": "greedy: temperature 0, no penalties",
		},
		WhyNot: map[string]string{"model.digest": "the model is not in Hugging Face's cache of this user"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if slices.Contains(f.fields(), "include_metrics") {
		t.Error("a field that brought nothing is sent again")
	}
	r := drivertest.Ask()
	ids, err := drivers.CapsOf(s).Tokenizer.Tokenize(t.Context(), r.Prompt)
	if err != nil {
		t.Fatal(err)
	}
	tr := drivertest.Said(t, s, r)
	if tr.Counts.Prompt != stated(len(ids)) || tr.Counts.Output != stated(64) || tr.Counts.Cached != stated(0) || len(tr.Disagree) > 0 || len(tr.Events) != 64 || tr.Events[9].Tokens != 1 {
		t.Errorf("%d ids, counts %+v, %d events, %v", len(ids), tr.Counts, len(tr.Events), tr.Disagree)
	}
}

// TestSalts is what salts do to hits: cold prompts hit nothing, and all that may be reused hits, whichever slot it comes from.
func TestSalts(t *testing.T) {
	f := &fake{model: "m", details: true}
	s, err := against(t, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(reuse bool, slot int) int {
		r := drivers.Request{Prompt: filler(100), OutputTokens: 4, Reuse: reuse, Slot: slot}
		return drivertest.Said(t, s, r).Counts.Cached.N
	}
	for i, c := range []struct {
		reuse bool
		slot  int
		hits  bool
	}{
		{false, drivers.AnySlot, false}, {false, 0, false}, // the same prompt, cold both times
		{true, 0, false}, // a cold one leaves nothing for others
		{true, 0, true}, {true, drivers.AnySlot, true}, {true, 3, true},
		{false, drivers.AnySlot, false},
	} {
		if n := ask(c.reuse, c.slot); (n > 0) != c.hits || n%16 != 0 {
			t.Errorf("request %d (%+v) has %d cached tokens", i, c, n)
		}
	}
	if a, b := f.last()["cache_salt"], "llm-speed-"; !strings.HasPrefix(a.(string), b) || len(a.(string)) < len(b)+20 {
		t.Errorf("salt %q", a)
	}
	// Another session hits nothing of this one's.
	srv := httptest.NewServer(f)
	defer srv.Close()
	other, err := Spec().Open(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New()}, drivers.Need{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if tr := drivertest.Said(t, other, drivers.Request{Prompt: filler(100), OutputTokens: 4, Reuse: true}); tr.Counts.Cached.N != 0 {
		t.Errorf("another session hits %d tokens", tr.Counts.Cached.N)
	}
}

func TestLearns(t *testing.T) {
	has := func(field string, want bool) func(*testing.T, *fake, drivers.Session) {
		return func(t *testing.T, f *fake, s drivers.Session) {
			drivertest.Said(t, s, drivertest.Ask())
			if slices.Contains(f.fields(), field) != want {
				t.Errorf("sends %v; want %s: %v", f.fields(), field, want)
			}
		}
	}
	meta := func(key, want string) func(*testing.T, *fake, drivers.Session) {
		return func(t *testing.T, _ *fake, s drivers.Session) {
			if got := s.Info().Metadata[key]; !strings.HasPrefix(got, want) {
				t.Errorf("%s: %q, want %q", key, got, want)
			}
		}
	}
	type check = func(*testing.T, *fake, drivers.Session)
	for _, c := range []struct {
		name   string
		server *fake
		checks []check
	}{
		{"refuses cache_salt (engine V0)", &fake{refuses: []string{"cache_salt"}}, []check{has("cache_salt", false), has("min_tokens", true), meta("cache_salt", "refused"), meta("refused", "cache_salt"),
			func(t *testing.T, _ *fake, s drivers.Session) {
				if s.Info().ColdAsked {
					t.Error("claims to ask for cold prompts")
				}
			}}},
		{"does not know cache_salt", &fake{noSalt: true, details: true}, []check{meta("cache_salt", "not heeded"), has("cache_salt", false)}},
		{"does not know cache_salt, tells by metrics only", &fake{noSalt: true}, []check{meta("cache_salt", "not heeded"), meta("cached_tokens", "not stated; start vLLM with")}},
		{"tells cached tokens by metrics only", &fake{}, []check{meta("cache_salt", "seen to work"), meta("cached_tokens", "not stated"), func(t *testing.T, _ *fake, s drivers.Session) {
			if tr := drivertest.Said(t, s, drivertest.Ask()); tr.Counts.Cached.Known() {
				t.Errorf("absent is %+v", tr.Counts.Cached)
			}
		}}},
		{"leaves cached tokens out where 0", &fake{details: true, omitZero: true}, []check{meta("cached_tokens", "stated where not 0"), func(t *testing.T, _ *fake, s drivers.Session) {
			if tr := drivertest.Said(t, s, drivertest.Ask()); tr.Counts.Cached.Known() {
				t.Errorf("absent is %+v", tr.Counts.Cached)
			}
		}}},
		{"tells nothing of its cache", &fake{noMetrics: true}, []check{meta("cache_salt", "accepted; its effect was not seen"), has("cache_salt", true), meta("metrics", "off")}},
		{"refuses running usage", &fake{refuses: []string{"continuous_usage_stats"}}, []check{has("return_token_ids", true), meta("tokens_per_event", "stated by token ids")}},
		{"ignores running usage", &fake{noContinuous: true}, []check{has("return_token_ids", true), func(t *testing.T, _ *fake, s drivers.Session) {
			if tr := drivertest.Said(t, s, drivertest.Ask()); tr.Events[3].Tokens != 1 {
				t.Errorf("event %+v", tr.Events[3])
			}
		}}},
		{"ignores running usage, refuses ids", &fake{noContinuous: true, refuses: []string{"return_token_ids"}}, []check{has("return_token_ids", false), meta("tokens_per_event", "not stated")}},
		{"refuses min_tokens without naming it", &fake{refuses: []string{"min_tokens"}, mute: true}, []check{has("min_tokens", false), has("top_k", true), has("cache_salt", true), meta("refused", "min_tokens")}},
		{"speculates: refuses min_tokens and names others too", &fake{refuses: []string{"min_tokens"}, says: "The min_tokens, min_p, and logit_bias sampling parameters are not yet supported with speculative decoding."},
			[]check{has("min_tokens", false), has("top_k", true), meta("refused", "min_tokens")}},
		{"refuses a seed", &fake{refuses: []string{"seed"}}, []check{has("seed", false)}},
		{"refuses usage", &fake{refuses: []string{"stream_options"}}, []check{has("stream_options", false), func(t *testing.T, _ *fake, s drivers.Session) {
			if tr := drivertest.Said(t, s, drivertest.Ask()); tr.Counts.Prompt.From != stream.ServerTokens || tr.Counts.Output.Known() {
				t.Errorf("counts %+v", tr.Counts)
			}
		}}},
		{"per-request metrics", &fake{timings: true, details: true}, []check{has("include_metrics", true), func(t *testing.T, _ *fake, s drivers.Session) {
			tr := drivertest.Said(t, s, drivertest.Ask())
			want := stream.ServerTiming{PromptTokens: stated(tr.Counts.Prompt.N), Prefill: 20500 * time.Microsecond, DecodeTokens: 63, Decode: 30 * time.Millisecond, Queue: 1500 * time.Microsecond, Definition: definition}
			if d := cmp.Diff(want, tr.Server); d != "" || !strings.Contains(string(tr.Extra), "tokens_per_second") {
				t.Error(d, string(tr.Extra))
			}
		}}},
		{"per-request metrics without cached tokens", &fake{timings: true}, []check{func(t *testing.T, _ *fake, s drivers.Session) {
			if tr := drivertest.Said(t, s, drivertest.Ask()); tr.Counts.Cached.Known() || tr.Server.PromptTokens != tr.Counts.Prompt || tr.Server.Decode == 0 {
				t.Errorf("%+v", tr.Server)
			}
		}}},
		{"no chat template", &fake{noTemplate: true}, []check{meta("rendering", "plain"), func(t *testing.T, _ *fake, s drivers.Session) {
			if tr := drivertest.Said(t, s, drivertest.Ask()); !strings.Contains(string(tr.Extra), `"rendering":"plain"`) {
				t.Errorf("extra %s", tr.Extra)
			}
		}}},
		{"no system messages", &fake{noSystem: true}, []check{meta("rendering", "template"), func(t *testing.T, f *fake, s drivers.Session) {
			r := drivertest.Ask()
			r.Prompt.Tools = nil
			if tr := drivertest.Said(t, s, r); strings.Contains(string(tr.Extra), "plain") {
				t.Errorf("extra %s", tr.Extra)
			}
		}}},
		{"tools left out", &fake{noTools: true}, []check{meta("tools", "left out of the prompt")}},
		{"no /tokenize", &fake{noTokenize: true}, []check{meta("endpoint", "/v1/chat/completions"), meta("tools", "in the prompt, with tool_choice none"), has("messages", true)}},
		{"no /tokenize, tools only with a choice", &fake{noTokenize: true, noTools: true}, []check{meta("tools", "in the prompt, with tool_choice left to the server"), has("tool_choice", false)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := c.server
			f.model = "m"
			s, err := against(t, f, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, check := range c.checks {
				check(t, f, s)
			}
		})
	}
}

func TestThinking(t *testing.T) {
	f := &fake{model: "m", thinks: true, details: true}
	s, err := against(t, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	count := func(reasoning string) (thought int, c stream.Count) {
		r := drivertest.Ask()
		r.Reasoning = reasoning
		tr := drivertest.Said(t, s, r)
		for _, e := range tr.Events {
			if e.Kind == stream.Reasoning {
				thought++
			}
		}
		return thought, tr.Counts.Reasoning
	}
	if n, c := count(""); n != 33 || c != stated(33) {
		t.Errorf("left to the model: %d events of thinking, %+v", n, c)
	}
	if n, c := count("on"); n != 33 || c != stated(33) {
		t.Errorf("on: %d events of thinking, %+v", n, c)
	}
	if n, c := count("off"); n != 0 || c.Known() {
		t.Errorf("off: %d events of thinking, %+v", n, c)
	}
	asked := f.tail
	_, _ = count("on")
	if f.tail != asked {
		t.Error("the end of a prompt of the same kind was looked at again")
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
		{"another server", answer(200, `{"data":[{"id":"m","owned_by":"sglang"}]}`), nil, drivers.ErrProtocol, `the owner "sglang"`},
		{"a web page", answer(200, `<html>hello</html>`), nil, drivers.ErrProtocol, "is no vLLM"},
		{"nothing there", answer(404, ``), nil, drivers.ErrProtocol, "--backend openai-compatible"},
		{"a list", answer(200, `[1,2]`), nil, drivers.ErrProtocol, "is no vLLM"},
		{"another model", &fake{model: "qwen3-8b"}, func(c *drivers.Config) { c.Model = "qwen3-9b" }, drivers.ErrModelNotFound, "did you mean qwen3-8b?"},
		{"a key is wanted", &fake{model: "m", key: "sk-1"}, nil, drivers.ErrAuth, "VLLM_API_KEY"},
		{"loading", answer(503, `{"error":"starting"}`), nil, drivers.ErrOverloaded, "wait until its model is loaded"},
		{"broken", answer(500, `oops`), nil, drivers.ErrServer, "oops"},
		{"no ids wanted", &fake{model: "m", noTokenize: true}, func(c *drivers.Config) { c.Options = map[string]string{optEndpoint: "completions"} }, drivers.ErrUnsupported, "endpoint=chat"},
		{"wrong option", &fake{model: "m"}, func(c *drivers.Config) { c.Options = map[string]string{optEndpoint: "x"} }, nil, "auto, completions, chat"},
		{"wrong time", &fake{model: "m"}, func(c *drivers.Config) { c.Options = map[string]string{optWait: "-3s"} }, nil, "such as 20m"},
		{"not a URL", &fake{model: "m"}, func(c *drivers.Config) { c.URL = "ftp://x" }, nil, "want http://host:port"},
		{"refuses all", &fake{model: "m", refuses: []string{"prompt"}}, nil, drivers.ErrBadRequest, "'prompt' is not supported"},
	} {
		s, err := against(t, c.server, c.change)
		if err == nil {
			_ = s.Close()
			t.Errorf("%s: opened", c.name)
			continue
		}
		if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %v, %q", c.name, err, c.want, c.says)
		}
	}
}

func TestKeyFromTheEnvironment(t *testing.T) {
	s, err := against(t, &fake{model: "m", key: "sk-env-1"}, func(c *drivers.Config) {
		c.Env = func(k string) string { return map[string]string{"VLLM_API_KEY": "sk-env-1"}[k] }
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := drivers.CapsOf(s).Secrets.Secrets(); !slices.Contains(got, "sk-env-1") {
		t.Errorf("secrets %q", got)
	}
}

// TestModelChanges is a server that is restarted with another model, by another name and by the same.
func TestModelChanges(t *testing.T) {
	f := &fake{model: "one"}
	s, err := against(t, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.model = "two"
	f.mu.Unlock()
	rec, err := s.Stream(t.Context(), drivertest.Ask())
	if err == nil {
		_, err = s.Decode(rec)
	}
	if !errors.Is(err, drivers.ErrModelNotFound) {
		t.Errorf("got %v", err)
	}
	// A server that takes any name answers with its own.
	body := strings.ReplaceAll(strings.Join(good(), ""), `"model":"qwen"`, `"model":"two"`)
	_, err = Decode(stream.Recording{Status: 200, Data: []byte(body), Outcome: stream.Complete, Sent: map[string]string{sentModel: "one"}})
	if !errors.Is(err, drivers.ErrModelNotFound) || !strings.Contains(err.Error(), `"two"`) {
		t.Errorf("got %v", err)
	}
}

// TestRestart is a server that goes away in the middle, and comes back.
func TestRestart(t *testing.T) {
	f := &fake{model: "m"}
	srv := httptest.NewServer(f)
	s, err := Spec().Open(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New()}, drivers.Need{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv.CloseClientConnections()
	drivertest.Said(t, s, drivertest.Ask()) // connections that were closed are made anew
	srv.Close()
	_, err = s.Stream(t.Context(), drivertest.Ask())
	if !errors.Is(err, drivers.ErrUnreachable) || !strings.Contains(err.Error(), "is it running there?") {
		t.Errorf("got %v", err)
	}
	if _, err := drivers.CapsOf(s).CacheStatser.CacheStats(t.Context()); !errors.Is(err, drivers.ErrUnreachable) {
		t.Errorf("cache stats: %v", err)
	}
}

func TestContextLength(t *testing.T) {
	s, err := against(t, &fake{model: "m"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := s.Stream(t.Context(), drivers.Request{Prompt: filler(4090), OutputTokens: 64})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Decode(rec); !errors.Is(err, drivers.ErrContextLength) {
		t.Errorf("got %v", err)
	}
}

func TestPreemptionsAreTold(t *testing.T) {
	f := &fake{model: "m", preempted: 3}
	s, err := against(t, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int64{3, 3, 5} {
		f.mu.Lock()
		f.preempted = int(want)
		f.mu.Unlock()
		if n, err := drivers.CapsOf(s).Preempter.Preemptions(t.Context()); err != nil || n != want {
			t.Errorf("%d, %v; want %d", n, err, want)
		}
	}
}

func TestDetect(t *testing.T) {
	none := func(string) string { return "" }
	srv := httptest.NewServer(&fake{model: "m-fp8"})
	defer srv.Close()
	found, err := Spec().Detect(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New(), Env: none})
	want := []drivers.Found{{Backend: "vllm", URL: srv.URL, Version: "0.11.0", Usable: true, Models: []drivers.Model{{Ref: "m-fp8", Name: "m-fp8", Quant: "FP8", ContextMax: 4096, Loaded: true}}}}
	if d := cmp.Diff(want, found); err != nil || d != "" {
		t.Error(err, d)
	}
	locked := httptest.NewServer(&fake{model: "m", key: "k"})
	defer locked.Close()
	found, err = Spec().Detect(t.Context(), drivers.Config{URL: locked.URL, Clock: clock.New(), Env: none})
	if err != nil || len(found) != 1 || found[0].Usable || !strings.Contains(found[0].Note, "VLLM_API_KEY") {
		t.Errorf("%v, %+v", err, found)
	}
	// What else may listen on port 8000 is no vLLM; one that never answers is given up.
	for name, h := range map[string]http.HandlerFunc{
		"sglang": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"data":[{"id":"m","owned_by":"sglang"}]}`))
		},
		"trtllm": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"data":[{"id":"m","owned_by":"tensorrt_llm"}],"version":"1.0"}`))
		},
		"a page":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>`)) },
		"a 401":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
		"silence": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		other := httptest.NewServer(h)
		began := time.Now()
		found, err := Spec().Detect(t.Context(), drivers.Config{URL: other.URL, Clock: clock.New(), Env: none})
		if err != nil || len(found) != 0 || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %v, %+v after %v", name, err, found, time.Since(began))
		}
		other.Close()
	}
}

func TestQuantOf(t *testing.T) {
	for name, want := range map[string]string{
		"Qwen/Qwen3-8B-AWQ": "AWQ", "m-GPTQ-Int4": "GPTQ-INT4", "x/Llama-3.1-8B-Instruct-FP8": "FP8", "m-w4a16": "W4A16", "m-NVFP4": "NVFP4", "m.Q4_K_M": "Q4_K_M",
		"FP8-Dynamic-m": "FP8-DYNAMIC", "Qwen3-8B": "", "awquard-7b": "", "int8ify": "", "/home/me/models/m-fp8/": "FP8",
	} {
		if got := quantOf(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestLocate(t *testing.T) {
	home := t.TempDir()
	c := drivers.Config{Env: func(k string) string { return map[string]string{"HF_HOME": home}[k] }}
	snapshot := func(rev string) string {
		dir := filepath.Join(home, "hub", "models--Org--Name", "snapshots", rev)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{}`), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	if path, why := locate(c, "Org/Name", "loopback"); path != "" || !strings.Contains(why, "not in Hugging Face's cache") {
		t.Error(path, why)
	}
	want := snapshot("aaa")
	if path, why := locate(c, "Org/Name", "loopback"); path != want || why != "" {
		t.Error(path, why)
	}
	if path, why := locate(c, want, "loopback"); path != want || why != "" {
		t.Error(path, why)
	}
	for _, odd := range []string{"", "name", "a/b/c", "../x", "Org/..", filepath.Join(home, "none")} {
		if path, why := locate(c, odd, "loopback"); path != "" || why == "" {
			t.Errorf("%q: %q, %q", odd, path, why)
		}
	}
	if path, why := locate(c, "Org/Name", "lan"); path != "" || !strings.Contains(why, "another machine") {
		t.Error(path, why)
	}
	snapshot("bbb")
	if path, why := locate(c, "Org/Name", "loopback"); path != "" || !strings.Contains(why, "several revisions") {
		t.Error(path, why)
	}
}

// TestCachedModels lists what lies in Hugging Face's cache with its weights, and nothing else.
func TestCachedModels(t *testing.T) {
	home := t.TempDir()
	c := drivers.Config{Env: func(k string) string { return map[string]string{"HF_HOME": home}[k] }, Clock: clock.New()}
	put := func(repo, config string, tensors bool) string {
		dir := filepath.Join(home, "hub", repo, "snapshots", "0123abc")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if tensors {
			head := `{"model.embed_tokens.weight":{"dtype":"BF16","shape":[4,2],"data_offsets":[0,16]}}`
			body := append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...)
			if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), append(body, make([]byte, 16)...), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	const llama = `{"architectures":["LlamaForCausalLM"],"model_type":"llama","max_position_embeddings":8192,"torch_dtype":"bfloat16"}`
	want := put("models--Org--Tiny-1B", llama, true)
	older := put("models--Org--Older-1B", llama, true)
	if err := os.Chtimes(older, time.Now(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	put("models--Org--No-Weights", llama, false)
	put("models--Org--tiny-embed", llama, true)
	put("models--Org--Encoder", `{"architectures":["BertModel"],"model_type":"bert"}`, true)
	put("models--Org--Broken", `{`, false)
	got := cachedModels(t.Context(), c)
	if len(got) != 2 || got[1].Ref != "Org/Older-1B" || got[0].Ref != "Org/Tiny-1B" || got[0].Path != want || got[0].ContextMax != 8192 || got[0].SizeBytes == 0 || got[0].Loaded {
		t.Errorf("%+v", got)
	}
	// A server of this machine that names it is described by its files.
	s, err := against(t, &fake{model: "tiny", root: "Org/Tiny-1B"}, func(d *drivers.Config) { d.Env = c.Env })
	if err != nil {
		t.Fatal(err)
	}
	if m := s.Info().Model; m.Ref != "tiny" || m.Path != want || m.SizeBytes != got[0].SizeBytes || m.Quant != got[0].Quant || m.ContextMax != 8192 || s.Info().ContextMax != 4096 {
		t.Errorf("%+v", m)
	}
	if secrets := drivers.CapsOf(s).Secrets.Secrets(); !slices.Contains(secrets, filepath.Dir(want)+string(filepath.Separator)) {
		t.Errorf("secrets %q", secrets)
	}
}
