package tabbyapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
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

// fake is a stand-in for TabbyAPI with the documented shapes. Its tokenizer has a token for each byte, and its template puts
// tail more before the answer.
type fake struct {
	key        string
	model      string
	unloaded   bool
	endsEarly  bool // ban_eos_token is not honoured
	refusesBan bool
	short      int  // tokens that answers end before max_tokens
	counts     bool // usage has cached_tokens, and means it
	zero       bool // usage has cached_tokens, always 0
	noEncode   bool
	drift      int // tokens that the tokenizer is off by, more for longer texts
	maxSeqLen  int

	mu     sync.Mutex
	cache  map[string]bool
	bodies []map[string]any
}

const tail = 11

func (f *fake) start(t *testing.T) *httptest.Server {
	t.Helper()
	f.cache = map[string]bool{}
	if f.model == "" {
		f.model = "Qwen3-8B-exl3-4.0bpw"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"healthy","issues":[]}`) })
	card := func() string {
		return fmt.Sprintf(`{"id":%q,"object":"model","owned_by":"tabbyAPI","parameters":{"max_seq_len":%d,"cache_size":4096,"cache_mode":"Q8","max_batch_size":4,"draft":{"id":"small"}}}`, f.model, max(f.maxSeqLen, 2048))
	}
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"object":"list","data":[%s,{"id":"Llama-exl2","object":"model","owned_by":"tabbyAPI"}]}`, card())
	})
	mux.HandleFunc("GET /v1/model", func(w http.ResponseWriter, _ *http.Request) {
		if f.unloaded {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"detail":"No models are currently loaded."}`)
			return
		}
		fmt.Fprint(w, card())
	})
	mux.HandleFunc("GET /v1/sampling/overrides", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"presets":[],"selected_preset":"mine","overrides":{"temperature":{"override":1.5,"force":true},"dry_range":{}}}`)
	})
	if !f.noEncode {
		mux.HandleFunc("POST /v1/token/encode", func(w http.ResponseWriter, r *http.Request) {
			var in struct {
				Text []struct {
					Role, Content string
				} `json:"text"`
			}
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				w.WriteHeader(http.StatusUnprocessableEntity)
				return
			}
			text := "<s>"
			for _, m := range in.Text {
				text += m.Role + ":" + m.Content
			}
			ids := make([]int, 0, len(text))
			for _, b := range []byte(text) {
				ids = append(ids, int(b))
			}
			if f.drift > 0 && len(text) > 20 {
				ids = ids[:len(ids)-f.drift]
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"tokens": ids, "length": len(ids)})
		})
	}
	mux.HandleFunc("POST /v1/chat/completions", f.chat)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.key != "" && r.URL.Path != "/health" && r.Header.Get("Authorization") != "Bearer "+f.key {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"detail":"Please provide an API key"}`)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (f *fake) chat(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	_ = json.NewDecoder(r.Body).Decode(&in)
	if f.refusesBan && in["ban_eos_token"] != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"detail":[{"loc":["body","ban_eos_token"],"msg":"not permitted"}]}`)
		return
	}
	text := "<s>"
	list, _ := in["messages"].([]any)
	for _, m := range list {
		o, _ := m.(map[string]any)
		text += fmt.Sprintf("%v:%v", o["role"], o["content"])
	}
	prompt := len(text) + tail
	f.mu.Lock()
	f.bodies = append(f.bodies, in)
	cached := 0
	if f.cache[text] {
		cached = (prompt - 1) / page * page
	}
	f.cache[text] = true
	f.mu.Unlock()
	n, _ := in["max_tokens"].(float64)
	why := "length"
	if n > 1 {
		n -= float64(f.short)
	}
	if n > 2 && (f.endsEarly || in["ban_eos_token"] != true) {
		n, why = 2, "stop"
	}
	for range int(n) {
		fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"w \"},\"finish_reason\":null}],\"model\":%q}\r\n\r\n", f.model)
	}
	extra := ""
	switch {
	case f.counts:
		extra = fmt.Sprintf(`,"cached_tokens":%d`, cached)
	case f.zero:
		extra = `,"cached_tokens":0`
	}
	fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":%q}],\"model\":%q,\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"prompt_time\":0.5123,\"completion_time\":0.2511%s}}\r\n\r\ndata: [DONE]\r\n\r\n", why, f.model, prompt, int(n), extra)
}

func (f *fake) last() map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bodies[len(f.bodies)-1]
}

func TestOpenVariants(t *testing.T) {
	for _, c := range []struct {
		name              string
		fake              *fake
		exact, tok, cache bool
		ban               bool
	}{
		{"plain", &fake{}, true, true, false, true},
		{"cached tokens counted", &fake{counts: true}, true, true, true, true},
		{"cached tokens always 0", &fake{zero: true}, true, true, false, true},
		{"ends early all the same", &fake{endsEarly: true}, false, true, false, true},
		{"ends one token short", &fake{short: 1}, true, true, false, true},
		{"refuses to be told", &fake{refusesBan: true}, false, true, false, false},
		{"no tokenizer", &fake{noEncode: true}, true, false, false, true},
		{"a tokenizer that is off", &fake{drift: 3}, true, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ses, err := drivertest.Open(t, Spec(), c.fake.start(t).URL)
			if err != nil {
				t.Fatal(err)
			}
			i, tok := ses.Info(), drivers.CapsOf(ses).Tokenizer
			if i.IgnoresEOS != c.exact || i.ColdAsked || i.ContextMax != 2048 || i.Parallel != 4 || i.CacheBlock != page || (tok != nil) != c.tok ||
				i.Metadata["sampler_overrides"] != "dry_range, temperature" || i.Metadata["draft"] != "small" || i.WhyNot["model.quant"] == "" {
				t.Errorf("info: %+v", i)
			}
			if c.tok && i.Template != len("<s>user:") || !c.tok && i.Template != len("<s>user:")+tail {
				t.Errorf("template: %d", i.Template)
			}
			r := drivers.Request{Prompt: user(strings.Repeat("Tell me of lakes. ", 20)), OutputTokens: 20, Slot: drivers.AnySlot, Reasoning: "off"}
			first := drivertest.Said(t, ses, r)
			if known := first.Counts.Cached.Known(); known != c.cache || first.Counts.Cached.N != 0 {
				t.Errorf("the first time: %+v", first.Counts.Cached)
			}
			got := drivertest.Said(t, ses, r)
			if got.Counts.Cached.Known() != c.cache || c.cache && got.Counts.Cached.N != page {
				t.Errorf("the second time: %+v", got.Counts.Cached)
			}
			if ban := c.fake.last()["ban_eos_token"] == true; ban != c.ban || c.fake.last()["tool_choice"] != nil || c.fake.last()["template_vars"] == nil {
				t.Errorf("sent %v", c.fake.last())
			}
			if c.exact && got.Counts.Output.N != r.OutputTokens {
				t.Errorf("%d tokens, %d wanted", got.Counts.Output.N, r.OutputTokens)
			}
			if (got.Finish == stream.FinishLength) != c.exact || got.Server.Decode != 251100*time.Microsecond || got.Server.DecodeTokens != got.Counts.Output.N || (got.Server.Prefill > 0) != c.cache {
				t.Errorf("finish %s, %+v", got.Finish, got.Server)
			}
			if !c.tok {
				return
			}
			ids, err := tok.Tokenize(t.Context(), r.Prompt)
			if err != nil || len(ids) != got.Counts.Prompt.N {
				t.Errorf("%v: %d ids, the server counts %d", err, len(ids), got.Counts.Prompt.N)
			}
			tools := drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: "x"}, {Role: "tool", Content: "y"}}}
			if _, err := tok.Tokenize(t.Context(), tools); !errors.Is(err, drivers.ErrUnsupported) {
				t.Errorf("tools: %v", err)
			}
		})
	}
}

func TestModel(t *testing.T) {
	f := &fake{}
	srv := f.start(t)
	for ref, want := range map[string]string{"Qwen3-8B-exl3-4.0bp": "did you mean Qwen3-8B-exl3-4.0bpw", "Llama-exl2": "not loaded", "zzz": "it serves Llama-exl2"} {
		if _, err := drivertest.Open(t, Spec(), srv.URL, func(c *drivers.Config) { c.Model = ref }); !errors.Is(err, drivers.ErrModelNotFound) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	ses, err := drivertest.Open(t, Spec(), srv.URL+"/v1", func(c *drivers.Config) { c.Model = "Qwen3-8B-exl3-4.0bpw" })
	if err != nil {
		t.Fatal(err)
	}
	f.model = "Llama-exl2" // it was loaded in the place of the other
	rec, err := ses.Stream(t.Context(), drivers.Request{Prompt: user("a"), OutputTokens: 2, Slot: drivers.AnySlot})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = ses.Decode(rec); !errors.Is(err, drivers.ErrModelNotFound) {
		t.Errorf("another model: %v", err)
	}
	if _, err := drivertest.Open(t, Spec(), (&fake{unloaded: true}).start(t).URL); !errors.Is(err, drivers.ErrNoModel) {
		t.Errorf("nothing loaded: %v", err)
	}
}

func TestWeightsOption(t *testing.T) {
	srv := (&fake{}).start(t)
	dir := filepath.Join(t.TempDir(), "Qwen3-8B-exl3-4.0bpw")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	header := `{"w":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}`
	file := append([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}, header+"12345678"...)
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(c *drivers.Config) { c.Options[optWeights] = dir }
	ses, err := drivertest.Open(t, Spec(), srv.URL, set)
	if err != nil || ses.Info().Model.Path != dir || ses.Info().Model.SizeBytes != int64(len(file)) || !slices.Contains(drivers.CapsOf(ses).Secrets.Secrets(), filepath.Dir(dir)+"/") {
		t.Errorf("%v", err)
	}
	if _, err := drivertest.Open(t, Spec(), (&fake{model: "Llama"}).start(t).URL, set); !errors.Is(err, drivers.ErrModelNotFound) {
		t.Errorf("another model's folder: %v", err)
	}
	if _, err := drivertest.Open(t, Spec(), srv.URL, func(c *drivers.Config) { c.Options[optWeights] = t.TempDir() }); err == nil {
		t.Error("an empty folder is taken")
	}
}

// TestOthers are servers on a shared port, which are no TabbyAPI.
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
		{"AirPlay", answer(403, ``), errOther},
		{"vLLM with a key", answer(401, `{"error":"Unauthorized"}`), errOther},
		{"a page", answer(200, `<html>hello</html>`), errOther},
		{"an array", answer(200, `[1]`), errOther},
		{"empty", answer(200, ``), errOther},
		{"nothing there", answer(404, `not found`), errOther},
		{"broken", answer(500, `boom`), drivers.ErrServer},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(c.server)
			defer srv.Close()
			if _, err := drivertest.Open(t, Spec(), srv.URL); !errors.Is(err, c.want) {
				t.Errorf("open: %v, want %v", err, c.want)
			}
			if found, err := Spec().Detect(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New()}); err != nil || len(found) > 0 {
				t.Errorf("detect: %v, %+v", err, found)
			}
		})
	}
}

func TestDetectAndKeys(t *testing.T) {
	srv := (&fake{key: "0123456789abcdef"}).start(t)
	found, err := Spec().Detect(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New()})
	if err != nil || len(found) != 1 || found[0].Usable || !strings.Contains(found[0].Note, "--api-key") {
		t.Errorf("without a key: %v, %+v", err, found)
	}
	if _, err := drivertest.Open(t, Spec(), srv.URL); !errors.Is(err, drivers.ErrAuth) || !strings.Contains(err.Error(), "api_tokens.yml") {
		t.Errorf("without a key: %v", err)
	}
	key := drivers.NewSecret("0123456789abcdef")
	found, err = Spec().Detect(t.Context(), drivers.Config{URL: srv.URL, APIKey: key, Clock: clock.New()})
	if err != nil || len(found) != 1 || !found[0].Usable {
		t.Fatalf("%v, %+v", err, found)
	}
	want := []drivers.Model{{Ref: "Qwen3-8B-exl3-4.0bpw", Name: "Qwen3-8B-exl3-4.0bpw", ContextMax: 2048, Loaded: true}, {Ref: "Llama-exl2", Name: "Llama-exl2"}}
	if diff := cmp.Diff(want, found[0].Models); diff != "" {
		t.Error(diff)
	}
	if found, err = Spec().Detect(t.Context(), drivers.Config{URL: (&fake{unloaded: true}).start(t).URL, Clock: clock.New()}); err != nil || len(found) != 1 || found[0].Usable {
		t.Errorf("nothing loaded: %v, %+v", err, found)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
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
