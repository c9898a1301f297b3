package sglang

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
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

func TestOpenNative(t *testing.T) {
	f := &fake{maxModelLen: 40960}
	ses, _ := f.open(t)
	i := ses.Info()
	if i.Version != "0.5.6" || i.Build != "cuda" || i.Model.Ref != "Qwen3-8B" || i.Model.Quant != "awq" || i.ContextMax != 9000 || i.Model.ContextMax != 40960 ||
		i.Parallel != 7 || i.CacheBlock != 1 || !i.IgnoresEOS || !i.ColdAsked || i.Simulated || i.Template != len("<s>[user]") {
		t.Errorf("info: %+v", i)
	}
	if i.Metadata["event_text"] != textWhole || !strings.HasPrefix(i.Metadata["endpoint"], "/generate") || i.WhyNot["model.digest"] == "" {
		t.Errorf("metadata: %v", i.Metadata)
	}
	for k, v := range i.Metadata {
		if strings.Contains(v, "/home") || strings.Contains(v, "sk-server") {
			t.Errorf("%s: %s", k, v)
		}
	}
	if secrets := drivers.CapsOf(ses).Secrets.Secrets(); !slices.Contains(secrets, "/home/u/models/") {
		t.Errorf("secrets: %q", secrets)
	}
	if diff := cmp.Diff([]string{"tokenizer", "cache_flush", "activity"}, drivers.CapsOf(ses).Names()); diff != "" {
		t.Error(diff)
	}
	const n = 30
	first := drivertest.Said(t, ses, ask("one and the same", n))
	salts := []any{f.last()["cache_salt"]}
	again := drivertest.Said(t, ses, ask("one and the same", n))
	if salts = append(salts, f.last()["cache_salt"]); salts[0] == nil || salts[0] == salts[1] || f.last()["extra_key"] != salts[1] {
		t.Errorf("salts: %v", salts)
	}
	for _, got := range []stream.Transcript{first, again} {
		sum := 0
		for _, e := range got.Events {
			sum += e.Tokens
		}
		if got.Counts.Cached != (stream.Count{N: 0, From: stream.Usage}) || got.Counts.Output.N != n || sum != n || len(got.Events) != n || got.Finish != stream.FinishLength {
			t.Errorf("counts %+v, %d tokens in %d events, %s", got.Counts, sum, len(got.Events), got.Finish)
		}
	}
	warm := ask("one and the same", n)
	warm.Reuse = true
	golden(t, "testdata/request_cold.json", f.last(), salts[1])
	drivertest.Said(t, ses, warm)
	if f.last()["cache_salt"] != nil {
		t.Error("a prompt that may be reused has a salt")
	}
	if got := drivertest.Said(t, ses, warm); got.Counts.Cached.N == 0 || got.Counts.Prompt.N != got.Counts.Cached.N+1 {
		t.Errorf("counts %+v", got.Counts)
	}
	ids, err := drivers.CapsOf(ses).Tokenizer.Tokenize(t.Context(), user("xyz"))
	if err != nil || len(ids) != len("<s>[user]xyz<nil>[assistant]") {
		t.Errorf("%v, %d ids", err, len(ids))
	}
	think := ask("why", 4)
	think.Reasoning = "on"
	if got := drivertest.Said(t, ses, think); got.Events[0].Kind != stream.Reasoning || got.Counts.Reasoning.N != 4 {
		t.Errorf("inside a thinking block: %+v", got)
	}
}

// golden holds a request to a file, with its salt and its prompt, one byte a token, replaced.
func golden(t *testing.T, file string, body map[string]any, salt any) {
	t.Helper()
	shown := maps.Clone(body)
	for k, v := range shown {
		if v == salt {
			shown[k] = "SALT"
		}
	}
	shown["input_ids"] = "IDS"
	got, err := json.MarshalIndent(shown, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if got = append(got, '\n'); *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file) //nolint:gosec // the test's own file
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestOpenVariants(t *testing.T) {
	for _, c := range []struct {
		name     string
		fake     *fake
		native   bool
		cold     bool
		text     string
		cached   bool   // a stream tells its cached tokens
		metadata string // a word in metadata[cold]
	}{
		{"old names", &fake{oldNames: true}, true, true, textWhole, true, "by cache_salt"},
		{"incremental", &fake{incremental: true}, true, true, textDelta, true, "by cache_salt"},
		{"salt ignored", &fake{ignoresSalt: true}, true, false, textWhole, true, "in spite of"},
		{"salt refused", &fake{refusesSalt: true}, true, false, textWhole, true, "refuses"},
		{"no cache", &fake{noCache: true}, true, true, textWhole, true, "keeps no prefixes"},
		{"no messages in /tokenize", &fake{noMessages: true}, false, true, "", true, "by cache_salt"},
		{"nor cached tokens", &fake{noMessages: true, noDetails: true}, false, false, "", false, "does not say"},
		{"only such above 0", &fake{noMessages: true, noDetails: true, report: true}, false, true, "", false, "no such count"},
		{"no /generate", &fake{noGenerate: true}, false, true, "", true, "by cache_salt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ses, _ := c.fake.open(t)
			i := ses.Info()
			if got := strings.HasPrefix(i.Metadata["endpoint"], "/generate"); got != c.native || i.ColdAsked != c.cold || i.Metadata["event_text"] != c.text ||
				!strings.Contains(i.Metadata["cold"], c.metadata) {
				t.Errorf("info: %+v", i)
			}
			r := ask("Tell me of lakes.", 20)
			drivertest.Said(t, ses, r)
			got := drivertest.Said(t, ses, r)
			if got.Counts.Cached.Known() != c.cached || got.Counts.Output.N != 20 || len(got.Events) != 20 {
				t.Errorf("counts %+v, %d events", got.Counts, len(got.Events))
			}
			if c.cached && (got.Counts.Cached.N == 0) != c.cold {
				t.Errorf("cold %v, but %d tokens were cached", c.cold, got.Counts.Cached.N)
			}
		})
	}
}

// TestTextTokenizer is a server whose /tokenize takes text only: the chat route is used, and prompts are counted all the same.
func TestTextTokenizer(t *testing.T) {
	f := &fake{noMessages: true, textOnly: true}
	ses, _ := f.open(t)
	tok := drivers.CapsOf(ses).Tokenizer
	if tok == nil || ses.Info().Template != len("<s>[user]<nil>[assistant]") {
		t.Fatalf("%+v", ses.Info())
	}
	got := drivertest.Said(t, ses, ask("How long is this?", 3))
	if ids, err := tok.Tokenize(t.Context(), user("How long is this?")); err != nil || len(ids) != got.Counts.Prompt.N {
		t.Errorf("%v: %d ids, the server counts %d", err, len(ids), got.Counts.Prompt.N)
	}
	_, tools := probes()
	if _, err := tok.Tokenize(t.Context(), tools); !errors.Is(err, drivers.ErrUnsupported) {
		t.Errorf("tools: %v", err)
	}
}

// TestToolsNotRendered is a server whose /tokenize leaves tools out: such prompts go by the chat route.
func TestToolsNotRendered(t *testing.T) {
	f := &fake{noTools: true}
	ses, _ := f.open(t)
	_, tools := probes()
	r := drivers.Request{Prompt: tools, OutputTokens: 3, Slot: drivers.AnySlot}
	rec, err := ses.Stream(t.Context(), r)
	if err != nil || rec.Protocol == protocol || rec.PromptIDs != 0 {
		t.Errorf("%v, protocol %s", err, rec.Protocol)
	}
	if f.last()["messages"] == nil || f.last()["cache_salt"] == nil {
		t.Errorf("sent %v", f.last())
	}
	if _, err := drivers.CapsOf(ses).Tokenizer.Tokenize(t.Context(), tools); !errors.Is(err, drivers.ErrUnsupported) {
		t.Errorf("tokenize: %v", err)
	}
	if rec, err = ses.Stream(t.Context(), ask("plain", 3)); err != nil || rec.Protocol != protocol {
		t.Errorf("%v, protocol %s", err, rec.Protocol)
	}
}

func TestEndpointOption(t *testing.T) {
	set := func(v string) func(*drivers.Config) { return func(c *drivers.Config) { c.Options[optEndpoint] = v } }
	ses, _ := (&fake{}).open(t, set(endpointChat))
	if ses.Info().Metadata["endpoint"] != "/v1/chat/completions" {
		t.Errorf("%v", ses.Info().Metadata)
	}
	if _, err := drivertest.Open(t, Spec(), (&fake{noMessages: true}).start(t).URL, set(endpointGenerate)); !errors.Is(err, drivers.ErrUnsupported) {
		t.Errorf("generate, where it can't be: %v", err)
	}
	if _, err := drivertest.Open(t, Spec(), "127.0.0.1:1", set("pigeon")); err == nil || !strings.Contains(err.Error(), "pigeon") {
		t.Errorf("a word that means nothing: %v", err)
	}
}

func TestFlush(t *testing.T) {
	for _, c := range []struct {
		name string
		fake *fake
		want error
	}{
		{"idle", &fake{}, nil},
		{"busy twice", &fake{busyFlushes: 2}, nil},
		{"busy for long", &fake{busyFlushes: 1000}, drivers.ErrOverloaded},
		{"says so and does not", &fake{lyingFlush: true}, drivers.ErrOverloaded},
		{"wants the other key", &fake{flushStatus: 401}, drivers.ErrAuth},
		{"not there", &fake{flushStatus: 404}, drivers.ErrNotFound},
		{"no cache", &fake{noCache: true}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			ses, _ := c.fake.open(t)
			ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
			defer cancel()
			if err := drivers.CapsOf(ses).CacheFlusher.FlushCache(ctx); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestModelChanges(t *testing.T) {
	f := &fake{}
	ses, srv := f.open(t)
	f.mu.Lock()
	f.model = "/home/u/models/other"
	f.mu.Unlock()
	rec, err := ses.Stream(t.Context(), ask("hi", 4))
	if !errors.Is(err, drivers.ErrModelNotFound) || strings.Contains(err.Error(), "/home") || !strings.Contains(err.Error(), "other") {
		t.Errorf("another model: %v", err)
	}
	if _, err := ses.Decode(rec); err == nil {
		t.Error("a stream that was never sent decodes")
	}
	f.mu.Lock()
	f.model, f.weightsAfter = "/home/u/models/Qwen3-8B", "v2"
	f.mu.Unlock()
	if rec, err = ses.Stream(t.Context(), ask("hi", 4)); err != nil {
		t.Fatal(err)
	}
	if got, err := ses.Decode(rec); !errors.Is(err, drivers.ErrModelNotFound) || got.Counts.Output.N != 4 {
		t.Errorf("other weights: %v, %+v", err, got.Counts)
	}
	srv.Close()
	if _, err = ses.Stream(t.Context(), ask("hi", 4)); !errors.Is(err, drivers.ErrUnreachable) {
		t.Errorf("a server that is gone: %v", err)
	}
}

func TestModelIsNotThere(t *testing.T) {
	srv := (&fake{}).start(t)
	_, err := drivertest.Open(t, Spec(), srv.URL+"/v1", func(c *drivers.Config) { c.Model = "Qwen3-8" })
	if !errors.Is(err, drivers.ErrModelNotFound) || !strings.Contains(err.Error(), "did you mean Qwen3-8B?") {
		t.Errorf("%v", err)
	}
	for _, ref := range []string{"", "Qwen3-8B", "/home/u/models/Qwen3-8B"} {
		ses, err := drivertest.Open(t, Spec(), srv.URL, func(c *drivers.Config) { c.Model = ref })
		if err != nil || ses.Info().Model.Ref != "Qwen3-8B" {
			t.Errorf("%q: %v", ref, err)
		}
	}
}

// TestOthers are servers on a shared port, which are no SGLang.
func TestOthers(t *testing.T) {
	answer := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	for _, c := range []struct {
		name   string
		server http.Handler
		want   error
	}{
		{"vLLM", answer(200, `{"data":[{"id":"m","owned_by":"vllm"}]}`), errOther},
		{"TensorRT-LLM", answer(200, `{"data":[{"id":"m","owned_by":"tensorrt_llm"}]}`), errOther},
		{"llama.cpp", answer(200, `{"data":[{"id":"m","owned_by":"llamacpp"}]}`), errOther},
		{"a page", answer(200, `<html>hello</html>`), errOther},
		{"an array", answer(200, `[1]`), errOther},
		{"empty", answer(200, ``), errOther},
		{"nothing there", answer(404, `not found`), errOther},
		{"elsewhere", http.RedirectHandler("http://127.0.0.1:1/x", http.StatusFound), drivers.ErrUnreachable},
		{"a key", answer(401, `{"error":"Unauthorized"}`), drivers.ErrAuth},
		{"not ready", answer(503, ``), drivers.ErrOverloaded},
		{"broken", answer(500, `{"error":"boom"}`), drivers.ErrServer},
		{"embeddings", answer(200, `{"data":[{"id":"m","owned_by":"sglang"}],"model_path":"m","is_generation":false}`), drivers.ErrNoModel},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(c.server)
			defer srv.Close()
			_, err := drivertest.Open(t, Spec(), srv.URL)
			if !errors.Is(err, c.want) {
				t.Errorf("open: %v, want %v", err, c.want)
			}
			found, err := Spec().Detect(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New()})
			if err != nil || len(found) > 0 && found[0].Usable {
				t.Errorf("detect: %v, %+v", err, found)
			}
		})
	}
}

func TestDetect(t *testing.T) {
	f := &fake{key: "secret-key"}
	srv := f.start(t)
	found, err := Spec().Detect(t.Context(), drivers.Config{URL: srv.URL, APIKey: drivers.NewSecret("secret-key"), Clock: clock.New()})
	if err != nil || len(found) != 1 || !found[0].Usable || found[0].Version != "0.5.6" || len(found[0].Models) != 1 || found[0].Models[0].Ref != "Qwen3-8B" {
		t.Errorf("%v, %+v", err, found)
	}
	// A port that takes connections and says nothing.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	began := time.Now()
	found, err = Spec().Detect(t.Context(), drivers.Config{URL: "http://" + l.Addr().String(), Clock: clock.New()})
	if took := time.Since(began); err != nil || len(found) != 0 || took > 5*time.Second {
		t.Errorf("%v, %+v after %v", err, found, took)
	}
}

// TestLocalWeights is a server on this machine whose model folder can be read.
func TestLocalWeights(t *testing.T) {
	f := &fake{}
	srv := f.start(t)
	dir := filepath.Join(t.TempDir(), "Qwen3-8B")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	header := `{"w":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}`
	file := append([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}, header+"12345678"...)
	for name, b := range map[string][]byte{"model.safetensors": file, "config.json": []byte(`{"model_type":"qwen3","max_position_embeddings":40960}`)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.model = dir
	ses, err := drivertest.Open(t, Spec(), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if m := ses.Info().Model; m.Path != dir || m.SizeBytes != int64(len(file)) || m.Quant == "" || ses.Info().WhyNot["model.digest"] != "" {
		t.Errorf("%+v", m)
	}
}

func TestLoad(t *testing.T) {
	for _, c := range []struct {
		raw  string
		want drivers.Activity
		ok   bool
	}{
		{`[{"num_reqs":3,"num_waiting_reqs":1}]`, drivers.Activity{Running: 2, Waiting: 1}, true},
		{`[{"num_reqs":3,"num_waiting_reqs":1},{"num_reqs":1,"num_waiting_reqs":0}]`, drivers.Activity{Running: 3, Waiting: 1}, true},
		{`{"loads":[{"num_running_reqs":2,"num_waiting_reqs":4}]}`, drivers.Activity{Running: 2, Waiting: 4}, true},
		{`[{"num_reqs":1,"num_waiting_reqs":4}]`, drivers.Activity{Running: 0, Waiting: 4}, true},
		{`[{"num_reqs":"3"}]`, drivers.Activity{}, false},
		{`[]`, drivers.Activity{}, false},
		{`{}`, drivers.Activity{}, false},
		{`7`, drivers.Activity{}, false},
	} {
		if got, ok := load(rawJSON(c.raw)); got != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %v", c.raw, got, ok)
		}
	}
}
