package llamacpp

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
	"github.com/llm-speed/llm-speed/internal/weights"
	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

func scripted(t *testing.T, change map[string]drivertest.Script) (*drivertest.Server, drivers.Config) {
	t.Helper()
	a := answers()
	for k, v := range change {
		a[k] = v
		if v.Writes == nil && v.Status == 0 {
			delete(a, k)
		}
	}
	srv := drivertest.NewServer(t, a)
	return srv, drivers.Config{URL: srv.URL, Clock: clock.New(), Log: t.Logf, Env: func(string) string { return "" }}
}

func failing(status int, body string) drivertest.Script {
	s := drivertest.JSON(body)
	s.Status = status
	return s
}

func openScripted(t *testing.T, change map[string]drivertest.Script) (*drivertest.Server, drivers.Session) {
	t.Helper()
	srv, c := scripted(t, change)
	s, err := open(t.Context(), c, drivers.Need{Context: 100_000, Parallel: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return srv, s
}

func TestAttach(t *testing.T) {
	_, s := openScripted(t, nil)
	got := s.Info()
	want := drivers.Info{
		Backend: name, Version: "b1-x", URL: got.URL, URLKind: "loopback", Attached: true,
		Model:      drivers.Model{Ref: "m", Name: "m", Quant: "Q4_K_M", ContextMax: 40960, Loaded: true},
		ContextMax: 8192, Parallel: 2, Template: 9, CacheBlock: 1, IgnoresEOS: true, ColdAsked: true,
		Metadata: map[string]string{"endpoint": "/completion, prompt as token ids", "tools": "template", "build": "b1-x", "sampling": "greedy: temperature 0, sampler chain: temperature",
			"rendering": "template; the token count equals that of /v1/chat/completions/input_tokens"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	caps := drivers.CapsOf(s)
	if a, err := caps.Activity.Activity(t.Context()); err != nil || a != (drivers.Activity{Running: 1, Waiting: 0}) {
		t.Errorf("activity %+v, %v", a, err)
	}
	if c, err := caps.CacheStatser.CacheStats(t.Context()); err != nil || c != (drivers.CacheStats{QueriedTokens: 9, HitTokens: 2}) {
		t.Errorf("cache %+v, %v", c, err)
	}
}

func TestAttachWithoutMetrics(t *testing.T) {
	_, s := openScripted(t, map[string]drivertest.Script{"GET /metrics": failing(501, `{"error":{"message":"start it with --metrics"}}`)})
	caps := drivers.CapsOf(s)
	if caps.CacheStatser != nil {
		t.Error("cache counters without /metrics")
	}
	if a, err := caps.Activity.Activity(t.Context()); err != nil || a != (drivers.Activity{Running: 1, Waiting: drivers.NotKnown}) {
		t.Errorf("activity %+v, %v", a, err)
	}
	_, s = openScripted(t, map[string]drivertest.Script{"GET /metrics": {}, "GET /slots": {}})
	if a, err := s.(drivers.ActivityReporter).Activity(t.Context()); err != nil || a != (drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}) {
		t.Errorf("activity without slots %+v, %v", a, err)
	}
	// Counters of a server that does not tell cached tokens apart are none.
	_, s = openScripted(t, map[string]drivertest.Script{"GET /metrics": drivertest.JSON("llamacpp:prompt_tokens_total 7\n")})
	if drivers.CapsOf(s).CacheStatser != nil {
		t.Error("cache counters without cached tokens")
	}
}

func TestAttachWaitsForLoading(t *testing.T) {
	loading := failing(http.StatusServiceUnavailable, `{"error":{"message":"Loading model","type":"unavailable_error","code":503}}`)
	srv, c := scripted(t, map[string]drivertest.Script{"GET /props": loading, "GET /health": loading})
	time.AfterFunc(100*time.Millisecond, func() {
		srv.Play("GET /props", answers()["GET /props"])
		srv.Play("GET /health", answers()["GET /health"])
	})
	s, err := open(t.Context(), c, drivers.Need{})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

func TestAttachErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change map[string]drivertest.Script
		model  string
		want   error
	}{
		{"another server", map[string]drivertest.Script{"GET /props": {}, "GET /v1/models": drivertest.JSON(`{"data":[{"id":"m","owned_by":"vllm"}]}`)}, "", drivers.ErrProtocol},
		{"another server with props", map[string]drivertest.Script{"GET /props": drivertest.JSON(`{"x":1}`), "GET /v1/models": {}}, "", drivers.ErrProtocol},
		{"a web page", map[string]drivertest.Script{"GET /props": drivertest.JSON(`<html>`)}, "", drivers.ErrProtocol},
		{"a router", map[string]drivertest.Script{"GET /props": drivertest.JSON(`{"role":"router","build_info":"b1","total_slots":0}`)}, "", drivers.ErrUnsupported},
		{"no key", map[string]drivertest.Script{"GET /v1/models": failing(401, `{"error":{"message":"Invalid API Key"}}`)}, "", drivers.ErrAuth},
		{"another model", nil, "qwen", drivers.ErrModelNotFound},
		{"another model's path", nil, "/else/n.gguf", drivers.ErrModelNotFound},
	} {
		_, cfg := scripted(t, c.change)
		cfg.Model = c.model
		s, err := open(t.Context(), cfg, drivers.Need{})
		if err == nil {
			_ = s.Close()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestAttachToAServerThatNeverAnswers takes ten seconds.
func TestAttachToAServerThatNeverAnswers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			k, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, k); _ = k.Close() }()
		}
	}()
	began := time.Now()
	c := drivers.Config{URL: l.Addr().String(), Clock: clock.New(), Env: func(string) string { return "" }}
	_, err = open(t.Context(), c, drivers.Need{})
	if !errors.Is(err, drivers.ErrTimeout) || !strings.Contains(err.Error(), "GET /props: no answer within 10s") || !strings.Contains(err.Error(), "--url") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestLooksAreShort has a server that answers no more once it is open.
func TestLooksAreShort(t *testing.T) {
	t.Parallel()
	srv, s := openScripted(t, nil)
	srv.Play("GET /metrics", drivertest.Script{First: time.Minute})
	caps := drivers.CapsOf(s)
	for name, look := range map[string]func() error{
		"activity":    func() error { _, err := caps.Activity.Activity(t.Context()); return err },
		"cache_stats": func() error { _, err := caps.CacheStatser.CacheStats(t.Context()); return err },
	} {
		began := time.Now()
		if err := look(); !errors.Is(err, drivers.ErrTimeout) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

// TestPrefillAfterAPing is a server that says that it lives and works on the prompt for longer than the idle limit.
func TestPrefillAfterAPing(t *testing.T) {
	srv, s := openScripted(t, nil)
	srv.Play("POST /completion", drivertest.Script{Writes: []string{": ping\n\n", ev("so", 1) + "\n\n" + final + "\n\n"}, Pause: 200 * time.Millisecond})
	r := drivertest.Ask()
	r.FirstByteWithin, r.IdleWithin = 10*time.Second, 50*time.Millisecond
	if rec, err := s.Stream(t.Context(), r); err != nil || rec.Outcome != stream.Complete {
		t.Errorf("%v, outcome %s", err, rec.Outcome)
	}
}

func TestSecrets(t *testing.T) {
	srv, c := scripted(t, nil)
	c.URL = strings.Replace(srv.URL, "//", "//bob:hunter22@", 1)
	c.APIKey = drivers.NewSecret("sk-mine")
	c.Env = func(k string) string { return map[string]string{"LLAMA_API_KEY": "sk-of-the-environment"}[k] }
	s, err := open(t.Context(), c, drivers.Need{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := drivers.CapsOf(s).Secrets.Secrets()
	for _, want := range []string{"/models/", "hunter22", "bob:hunter22", "Ym9iOmh1bnRlcjIy", "sk-mine", "sk-of-the-environment"} {
		if !slices.Contains(got, want) {
			t.Errorf("secrets %q lack %q", got, want)
		}
	}
	srv.Play("POST /apply-template", failing(401, `{"error":{"message":"bob:hunter22 or sk-of-the-environment is wrong"}}`))
	if _, err := s.Stream(t.Context(), drivertest.Ask()); err == nil || !strings.Contains(err.Error(), "*** or *** is wrong") {
		t.Errorf("got %v", err)
	}
	// A recording is kept with stars for the folder. It still says which model answered.
	whole := strings.Replace(final, `"stop":true,`, `"stop":true,"model":"********m.gguf",`, 1)
	if tr, err := Decode(stream.Recording{Protocol: protocol, Status: 200, Data: []byte(whole + "\n\n"), Outcome: stream.Complete, Sent: map[string]string{sentModel: "m.gguf"}}); err != nil || tr.Model != "m.gguf" {
		t.Errorf("model %q, %v", tr.Model, err)
	}
}

func TestShortOfMemory(t *testing.T) {
	for _, c := range []struct {
		how, log    string
		before, now int64
		want        bool
	}{
		{"exit status 1", "ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory", -1, -1, true},
		{"exit status 1", "failed to allocate buffer for kv cache", -1, -1, true},
		{"exit status 1", "warning: failed to allocate 512.00 MiB of pinned memory", -1, -1, false},
		{"exit status 1", "error loading model", 3, 4, false},
		{"signal: killed", "loading", 3, 4, true},
		{"signal: killed", "loading", 3, 3, false},
		{"signal: killed", "loading", -1, -1, false},
		{"signal: killed", "loading", -1, 5, false},
	} {
		if got := shortOfMemory(c.how, []string{"start", c.log}, c.before, c.now); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for text, want := range map[string]int64{"nr_free_pages 7\noom_kill 12\nx 1\n": 12, "drop_pagecache 1\n": -1, "oom_kill x\n": -1, "": -1} {
		if got := parseOOMKills(text); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestDetectTellsServersApart(t *testing.T) {
	for _, c := range []struct {
		name   string
		change map[string]drivertest.Script
		found  int
		usable bool
		note   string
	}{
		{"llama-server", nil, 1, true, "2 slots of 8192 tokens"},
		{"another", map[string]drivertest.Script{"GET /props": {}}, 0, false, ""},
		{"another with models", map[string]drivertest.Script{"GET /props": drivertest.JSON(`{}`), "GET /v1/models": drivertest.JSON(`{"data":[{"id":"x","owned_by":"library"}]}`)}, 0, false, ""},
		{"loading", map[string]drivertest.Script{"GET /props": failing(503, `{"error":{"message":"Loading model"}}`)}, 1, true, "loading its model"},
		{"locked", map[string]drivertest.Script{"GET /v1/models": failing(401, `{}`)}, 1, false, "needs a key: --api-key or LLAMA_API_KEY"},
	} {
		_, cfg := scripted(t, c.change)
		found, err := detect(t.Context(), cfg)
		if err != nil || len(found) != c.found {
			t.Errorf("%s: %+v, %v", c.name, found, err)
			continue
		}
		if c.found > 0 && (found[0].Usable != c.usable || found[0].Note != c.note) {
			t.Errorf("%s: %+v", c.name, found[0])
		}
	}
}

func TestRendering(t *testing.T) {
	refuses := failing(500, `{"error":{"message":"Jinja Exception: no tools here"}}`)
	t.Run("no template", func(t *testing.T) {
		srv, s := openScripted(t, map[string]drivertest.Script{"POST /apply-template": {}})
		if got := s.Info().Metadata["rendering"]; got != "plain: the server renders no chat template" {
			t.Errorf("rendering %q", got)
		}
		srv.Play("POST /completion", drivertest.Script{Writes: []string{final + "\n\n"}})
		_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: drivertest.Ask().Prompt, OutputTokens: 4, Slot: drivers.AnySlot})
		if !strings.Contains(string(tr.Extra), `"rendering":"plain"`) {
			t.Errorf("extra %s", tr.Extra)
		}
		reqs := srv.Requests("POST /tokenize")
		body := string(reqs[len(reqs)-1].Body)
		for _, part := range []string{"Be brief.", "call read", "hello", "assistant:"} {
			if !strings.Contains(body, part) {
				t.Errorf("the plain text lacks %q: %s", part, body)
			}
		}
	})
	t.Run("refused later", func(t *testing.T) {
		srv, s := openScripted(t, nil)
		srv.Play("POST /apply-template", refuses)
		srv.Play("POST /completion", drivertest.Script{Writes: []string{final + "\n\n"}})
		rec, _ := drivertest.Streamed(t, s, drivers.Request{Prompt: drivertest.Ask().Prompt, OutputTokens: 4, Slot: 5})
		if rec.Sent[sentRendering] != "plain" {
			t.Errorf("sent %v", rec.Sent)
		}
		// Once as it is, once with the system message inside the user's.
		reqs := srv.Requests("POST /apply-template")
		if last := string(reqs[len(reqs)-1].Body); strings.Contains(last, `"system"`) || !strings.Contains(last, "Be brief.") {
			t.Errorf("last try %s", last)
		}
		reqs = srv.Requests("POST /completion")
		if body := string(reqs[0].Body); !strings.Contains(body, `"id_slot":1`) { // 5 of 2 slots
			t.Errorf("request %s", body)
		}
	})
	t.Run("counts differ", func(t *testing.T) {
		_, s := openScripted(t, map[string]drivertest.Script{"POST /v1/chat/completions/input_tokens": drivertest.JSON(`{"input_tokens":12}`)})
		if got := s.Info().Metadata["rendering"]; got != "template; the token count differs from the 12 of /v1/chat/completions/input_tokens" {
			t.Errorf("rendering %q", got)
		}
	})
	t.Run("count by a chat", func(t *testing.T) {
		_, s := openScripted(t, map[string]drivertest.Script{"POST /v1/chat/completions/input_tokens": {}, "POST /v1/chat/completions": drivertest.JSON(`{"usage":{"prompt_tokens":9}}`)})
		if got := s.Info().Metadata["rendering"]; got != "template; the token count equals that of /v1/chat/completions" {
			t.Errorf("rendering %q", got)
		}
	})
	t.Run("thinking", func(t *testing.T) {
		srv, s := openScripted(t, map[string]drivertest.Script{"POST /apply-template": drivertest.JSON(`{"prompt":"hello<think>\n"}`)})
		srv.Play("POST /completion", drivertest.Script{Writes: []string{ev("so</think>", 3) + "\n\n", ev("yes", 4) + "\n\n", final + "\n\n"}})
		_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: "x"}}}, OutputTokens: 4, Reasoning: "off"})
		if tr.Counts.Reasoning != (stream.Count{N: 3, From: "B"}) || tr.Events[0].Kind != stream.Reasoning || tr.Events[1].Kind != stream.Content {
			t.Errorf("%+v", tr)
		}
		reqs := srv.Requests("POST /apply-template")
		if body := string(reqs[len(reqs)-1].Body); !strings.Contains(body, `"enable_thinking":false`) {
			t.Errorf("request %s", body)
		}
	})
}

func TestChoose(t *testing.T) {
	dir := t.TempDir()
	var found []weights.File
	for _, n := range []string{"Qwen3-8B-Q4_K_M", "Llama-3.2-1B-Q8_0", "broken"} {
		path := filepath.Join(dir, n+".gguf")
		data := weightstest.Options{}.Bytes()
		if n == "broken" {
			data = data[:1000]
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		found = append(found, weights.File{Path: path, Name: n})
	}
	if err := os.WriteFile(filepath.Join(dir, "noise.gguf"), make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ref, want, fails string
		kind             error
	}{
		{"", "Qwen3-8B-Q4_K_M", "", nil},
		{"llama-3.2", "Llama-3.2-1B-Q8_0", "", nil},
		{"Llama-3.2-1B-Q8_0.gguf", "Llama-3.2-1B-Q8_0", "", nil},
		{filepath.Join(dir, "Llama-3.2-1B-Q8_0.gguf"), "Llama-3.2-1B-Q8_0", "", nil},
		{"lama-3-2b", "", "near: Llama-3.2-1B-Q8_0", drivers.ErrModelNotFound},
		{"broken", "", "download it again, or give another file", weights.ErrCutOff},
		{filepath.Join(dir, "broken.gguf"), "", "download it again, or give another file", weights.ErrCutOff},
		{filepath.Join(dir, "noise.gguf"), "", "give a GGUF file with --model", weights.ErrNotGGUF},
	} {
		path, _, err := choose(c.ref, found)
		if err != nil && (c.fails == "" || !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.fails)) || err == nil && weights.NameOf(path) != c.want {
			t.Errorf("%q: %s, %v", c.ref, path, err)
		}
	}
	if _, _, err := choose("", nil); !errors.Is(err, drivers.ErrNoModel) {
		t.Errorf("no files: %v", err)
	}
}

func TestNoProgram(t *testing.T) {
	c := drivers.Config{Clock: clock.New(), Env: func(string) string { return "" }, Options: map[string]string{optStart: "always"}}
	if _, err := open(t.Context(), c, drivers.Need{}); !errors.Is(err, drivers.ErrNotFound) || !strings.Contains(err.Error(), "--llama-cpp-path") {
		t.Errorf("got %v", err)
	}
	c.Options[optPath] = t.TempDir()
	if _, err := open(t.Context(), c, drivers.Need{}); !errors.Is(err, drivers.ErrNotFound) {
		t.Errorf("empty folder: %v", err)
	}
	c.Options[optPath] = filepath.Join(t.TempDir(), "none")
	if _, err := open(t.Context(), c, drivers.Need{}); !errors.Is(err, drivers.ErrNotFound) || !strings.Contains(err.Error(), "option path (--llama-cpp-path)") {
		t.Errorf("no such path: %v", err)
	}
	c.Options[optStart] = "perhaps"
	if _, err := open(t.Context(), c, drivers.Need{}); err == nil || !strings.Contains(err.Error(), "auto, always or never") {
		t.Errorf("bad option: %v", err)
	}
}

func TestWords(t *testing.T) {
	for said, want := range map[string]string{
		"Q4_K - Medium": "Q4_K_M", "Q3_K - Large": "Q3_K_L", "Q5_K - Small": "Q5_K_S", "all F32": "F32", "F16": "F16", "Q8_0": "Q8_0",
		"IQ4_NL - 4.5 bpw": "IQ4_NL", "IQ2_XXS - 2.0625 bpw": "IQ2_XXS", "MXFP4 MoE": "MXFP4", "Q4_0 (guessed)": "Q4_0", "": "",
	} {
		if got := quant(said); got != want {
			t.Errorf("quant(%q) = %q, want %q", said, got, want)
		}
	}
	for text, want := range map[string]string{
		"version: 0.7.0 (build 11669, commit Debian)\nbuilt with GNU 16.2.0 for Linux x86_64\n": "0.7.0 (build 11669, commit Debian)",
		"ggml_cuda_init: found 1 device\r\nversion: 9439 (47f6423ed)\r\n":                       "9439 (47f6423ed)",
		"segmentation fault": "",
	} {
		if got := parseVersion(text); got != want {
			t.Errorf("parseVersion(%q) = %q", text, got)
		}
	}
	for text, want := range map[string]string{
		"load_backend: loaded CPU backend from /x.so\nAvailable devices:\n  (none)\n":                  "CPU",
		"Available devices:\n  CUDA0: NVIDIA H200 (143771 MiB, 143129 MiB free)\n  CUDA1: NVIDIA H200": "CUDA0: NVIDIA H200, CUDA1: NVIDIA H200",
		"error: unknown argument": "",
	} {
		if got := devices(text); got != want {
			t.Errorf("devices(%q) = %q", text, got)
		}
	}
}

func TestArgs(t *testing.T) {
	l := launch{c: drivers.Config{Options: map[string]string{optLayers: "12", optArgs: "-t 2"}}, model: "/m.gguf", context: 4096, parallel: 2,
		help: "-fit, --fit [on|off]  x\n--metrics   y\n--ui, --webui, --no-ui, --no-webui z\n"}
	got, err := l.args(99)
	want := "-m /m.gguf --host 127.0.0.1 --port 99 -c 8192 -np 2 --fit off --metrics --no-ui -ngl 12 -t 2"
	if err != nil || strings.Join(got, " ") != want {
		t.Errorf("got %q, %v", got, err)
	}
	for _, c := range []struct{ model, args, env, want string }{
		{"/home/u/m.gguf", "", "", " --alias m.gguf"}, {"/home/u/m.gguf", "-a mine", "", " -a mine"}, {"/home/u/m.gguf", "--alias=mine", "", " --alias=mine"},
		{"/home/u/m,n.gguf", "", "", ""}, {"/home/u/m.gguf", "", "mine", ""},
	} {
		l := launch{c: drivers.Config{Options: map[string]string{optArgs: c.args}, Env: func(k string) string { return map[string]string{"LLAMA_ARG_ALIAS": c.env}[k] }},
			model: c.model, context: 4096, parallel: 1, help: "-a,    --alias STRING   x\n"}
		got, err := l.args(99)
		if want := "-m " + c.model + " --host 127.0.0.1 --port 99 -c 4096 -np 1" + c.want; err != nil || strings.Join(got, " ") != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	for need, want := range map[int]int{0: 4096, 1: 256, 256: 256, 257: 512, 40000: 20000} {
		if got := contextFor(need, weights.Info{Context: 20000}); got != want {
			t.Errorf("context for %d is %d, want %d", need, got, want)
		}
	}
}

func TestLastLines(t *testing.T) {
	lines := []string{"0.00.1 I srv  load_model: loading", "0.00.2 E llama: out of memory", "0.00.3 E cmn  failed to load", "0.00.4 I srv  exiting"}
	if got := lastLines(lines, 1); got != "llama: out of memory" {
		t.Errorf("got %q", got)
	}
	if got := lastLines([]string{"", "one", "two", "three"}, 2); got != "two | three" {
		t.Errorf("got %q", got)
	}
	if got := lastLines(nil, 2); got != "nothing" {
		t.Errorf("got %q", got)
	}
}
