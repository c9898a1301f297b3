package trtllm

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
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// fake is a stand-in for trtllm-serve with the documented shapes: it refuses fields that it does not know.
type fake struct {
	unknown   []string // fields that this version does not know
	eosWorks  bool     // ignore_eos is honoured
	minWorks  bool     // min_tokens is
	noSalt    bool     // cache_salt is taken and not honoured
	noReuse   bool
	noDetails bool
	kwargsOdd bool // template arguments that the template does not use are refused
	metrics   string
	tokenizer bool // /_internal/tokenize is there
	model     string

	mu     sync.Mutex
	cache  map[string]bool
	bodies []map[string]any
}

func (f *fake) start(t *testing.T) *httptest.Server {
	t.Helper()
	f.cache = map[string]bool{}
	if f.model == "" {
		f.model = "Qwen3-8B"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"object":"list","data":[{"id":%q,"object":"model","created":1,"owned_by":"tensorrt_llm"}]}`, f.model)
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"version":"1.2.0"}`) })
	mux.HandleFunc("POST /v1/chat/completions", f.chat)
	if f.tokenizer {
		mux.HandleFunc("POST /_internal/tokenize", func(w http.ResponseWriter, r *http.Request) {
			var in map[string]string
			if json.NewDecoder(r.Body).Decode(&in) != nil || len(in) != 1 {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			text, _ := json.Marshal(in["prompt"])
			_ = json.NewEncoder(w).Encode(map[string]any{"count": len(text), "tokens": make([]int, len(text))})
		})
	}
	if f.metrics != "" {
		mux.HandleFunc("GET /prometheus/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, f.metrics) })
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (f *fake) chat(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	_ = json.NewDecoder(r.Body).Decode(&in)
	refuse := func(loc string) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"object":"error","message":"[{'type': 'extra_forbidden', 'loc': ('body', %s), 'msg': 'Extra inputs are not permitted'}]","type":"BadRequestError","param":null,"code":400}`, loc)
	}
	known := strings.Fields("model messages tools max_tokens temperature seed stream stream_options ignore_eos min_tokens skip_special_tokens cache_salt chat_template_kwargs")
	for k := range in {
		if !slices.Contains(known, k) || slices.Contains(f.unknown, k) {
			refuse("'" + k + "'")
			return
		}
	}
	options, _ := in["stream_options"].(map[string]any)
	if slices.Contains(f.unknown, "continuous_usage_stats") && options["continuous_usage_stats"] != nil {
		refuse("'stream_options', 'continuous_usage_stats'")
		return
	}
	if f.kwargsOdd && in["chat_template_kwargs"] != nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"object":"error","message":"the template does not use chat_template_kwargs enable_thinking","code":400}`)
		return
	}
	f.mu.Lock()
	f.bodies = append(f.bodies, in)
	prompt, _ := json.Marshal(in["messages"])
	key := string(prompt)
	if s, ok := in["cache_salt"]; ok && !f.noSalt {
		key = fmt.Sprint(s) + key
	}
	cached := 0
	if f.cache[key] && !f.noReuse {
		cached = (len(prompt) - 1) / 32 * 32
	}
	f.cache[key] = true
	f.mu.Unlock()
	n := 2
	asked, _ := in["max_tokens"].(float64)
	if f.eosWorks && in["ignore_eos"] == true || f.minWorks && in["min_tokens"] != nil || int(asked) < n {
		n = int(asked)
	}
	usage := func(done int) string {
		details := fmt.Sprintf(`,"prompt_tokens_details":{"cached_tokens":%d}`, cached)
		if f.noDetails {
			details = ""
		}
		return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d%s}`, len(prompt), done, details)
	}
	for i := 1; i <= n; i++ {
		fmt.Fprintf(w, "data: {\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"w \"},\"finish_reason\":null}],\"usage\":%s} \n\n", in["model"], usage(i))
	}
	why := "length"
	if n < int(asked) {
		why = "stop"
	}
	fmt.Fprintf(w, "data: {\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":%q}]} \n\n", in["model"], why)
	fmt.Fprintf(w, "data: {\"model\":%q,\"choices\":[],\"usage\":%s} \n\ndata: [DONE]\n\n", in["model"], usage(n))
}

func (f *fake) last() map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bodies[len(f.bodies)-1]
}

func TestOpenVariants(t *testing.T) {
	for _, c := range []struct {
		name        string
		fake        *fake
		exact, cold bool
		sent        []string // fields of a cold request, beside model, messages, max_tokens, temperature and stream
		word        string   // in metadata[cold]
	}{
		{"as it should be", &fake{eosWorks: true}, true, true, []string{"cache_salt", "ignore_eos", "seed", "skip_special_tokens", "stream_options"}, "by cache_salt"},
		{"ignore_eos does not work, min_tokens does", &fake{minWorks: true}, true, true, []string{"cache_salt", "ignore_eos", "min_tokens", "seed", "skip_special_tokens", "stream_options"}, "by cache_salt"},
		{"neither works", &fake{}, false, true, []string{"cache_salt", "ignore_eos", "seed", "skip_special_tokens", "stream_options"}, "by cache_salt"},
		{"an old version", &fake{eosWorks: true, unknown: []string{"cache_salt", "skip_special_tokens", "continuous_usage_stats"}}, true, false, []string{"ignore_eos", "seed", "stream_options"}, "refuses"},
		{"the salt does nothing", &fake{eosWorks: true, noSalt: true}, true, false, []string{"ignore_eos", "seed", "skip_special_tokens", "stream_options"}, "in spite of"},
		{"no reuse", &fake{eosWorks: true, noReuse: true}, true, false, []string{"ignore_eos", "seed", "skip_special_tokens", "stream_options"}, "only 0 tokens"},
		{"no count of cached tokens", &fake{eosWorks: true, noDetails: true}, true, false, []string{"ignore_eos", "seed", "skip_special_tokens", "stream_options"}, "does not say"},
		{"template arguments refused", &fake{eosWorks: true, kwargsOdd: true}, true, true, []string{"cache_salt", "ignore_eos", "seed", "skip_special_tokens", "stream_options"}, "by cache_salt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ses, err := drivertest.Open(t, Spec(), c.fake.start(t).URL)
			if err != nil {
				t.Fatal(err)
			}
			i := ses.Info()
			if i.IgnoresEOS != c.exact || i.ColdAsked != c.cold || !strings.Contains(i.Metadata["cold"], c.word) || i.Version != "1.2.0" || i.WhyNot["model.digest"] == "" || i.WhyNot["model.quant"] == "" {
				t.Errorf("info: %+v", i)
			}
			r := drivers.Request{Prompt: user("Tell me of lakes."), OutputTokens: 20, Slot: drivers.AnySlot, Reasoning: "on"}
			drivertest.Said(t, ses, r)
			first := c.fake.last()["cache_salt"]
			got := drivertest.Said(t, ses, r)
			var sent []string
			for k := range c.fake.last() {
				if !slices.Contains([]string{"model", "messages", "max_tokens", "temperature", "stream", "chat_template_kwargs"}, k) {
					sent = append(sent, k)
				}
			}
			slices.Sort(sent)
			if diff := cmp.Diff(c.sent, sent); diff != "" {
				t.Error(diff)
			}
			if has := c.fake.last()["chat_template_kwargs"] != nil; has == c.fake.kwargsOdd {
				t.Errorf("template arguments sent: %v", has)
			}
			if c.cold && (got.Counts.Cached != stream.Count{N: 0, From: stream.Usage} || first == nil || first == c.fake.last()["cache_salt"]) {
				t.Errorf("cold: %+v, salts %v and %v", got.Counts.Cached, first, c.fake.last()["cache_salt"])
			}
			if c.exact != (got.Finish == stream.FinishLength) || c.exact != (got.Counts.Output.N == 20) {
				t.Errorf("finish %s after %d tokens", got.Finish, got.Counts.Output.N)
			}
			if r.Reuse = true; c.cold {
				drivertest.Said(t, ses, r)
				if again := drivertest.Said(t, ses, r); again.Counts.Cached.N == 0 || c.fake.last()["cache_salt"] != nil {
					t.Errorf("reused: %+v", again.Counts)
				}
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	ses, err := drivertest.Open(t, Spec(), (&fake{metrics: metricsAnswer}).start(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	caps := drivers.CapsOf(ses)
	if diff := cmp.Diff([]string{"cache_stats", "activity"}, caps.Names()); diff != "" {
		t.Fatal(diff)
	}
	if i := ses.Info(); i.CacheBlock != 32 || i.Parallel != 64 || i.Metadata["quantization"] != "FP8" || i.Metadata["dtype"] != "bfloat16" {
		t.Errorf("%+v", i)
	}
	if s, err := caps.CacheStatser.CacheStats(t.Context()); err != nil || s != (drivers.CacheStats{QueriedTokens: 900, HitTokens: 64}) {
		t.Errorf("%v, %+v", err, s)
	}
	if a, err := caps.Activity.Activity(t.Context()); err != nil || a != (drivers.Activity{}) {
		t.Errorf("%v, %+v", err, a)
	}
	// Gauges that name a running request while none of ours runs are stale, or somebody else's: they are not used.
	stuck := strings.Replace(metricsAnswer, `num_requests_running{model_name="m",engine_type="trtllm"} 0.0`, `num_requests_running{model_name="m",engine_type="trtllm"} 1.0`, 1)
	for metrics, want := range map[string][]string{stuck: {"cache_stats", "activity"}, "trtllm_request_success_total 4\n": {"activity"}, "vllm:num_requests_running 1\n": {"activity"}, "<html>": {"activity"}} {
		ses, err := drivertest.Open(t, Spec(), (&fake{metrics: metrics}).start(t).URL)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, drivers.CapsOf(ses).Names()); diff != "" {
			t.Errorf("%.60s: %s", metrics, diff)
		}
		if a, err := drivers.CapsOf(ses).Activity.Activity(t.Context()); err != nil || a != (drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}) {
			t.Errorf("%.60s: %v, %+v", metrics, err, a)
		}
	}
}

func TestTokenizer(t *testing.T) {
	f := &fake{eosWorks: true, tokenizer: true}
	ses, err := drivertest.Open(t, Spec(), f.start(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	tok := drivers.CapsOf(ses).Tokenizer
	if tok == nil {
		t.Fatalf("no tokenizer: %v", ses.Info().Metadata)
	}
	p := user(`Say "hello" twice.`)
	ids, err := tok.Tokenize(t.Context(), p)
	if got := drivertest.Said(t, ses, drivers.Request{Prompt: p, OutputTokens: 2, Slot: drivers.AnySlot}); err != nil || len(ids) != got.Counts.Prompt.N {
		t.Errorf("%v: %d ids, the server counts %d", err, len(ids), got.Counts.Prompt.N)
	}
}

func TestModel(t *testing.T) {
	srv := (&fake{model: "/home/u/models/Qwen3-8B"}).start(t)
	_, err := drivertest.Open(t, Spec(), srv.URL+"/v1/", func(c *drivers.Config) { c.Model = "Qwen3-9B" })
	if !errors.Is(err, drivers.ErrModelNotFound) || !strings.Contains(err.Error(), "did you mean Qwen3-8B?") || strings.Contains(err.Error(), "/home") {
		t.Errorf("%v", err)
	}
	for _, ref := range []string{"", "Qwen3-8B", "/home/u/models/Qwen3-8B"} {
		ses, err := drivertest.Open(t, Spec(), srv.URL, func(c *drivers.Config) { c.Model = ref })
		if err != nil {
			t.Fatal(err)
		}
		if ses.Info().Model.Ref != "Qwen3-8B" || !slices.Contains(drivers.CapsOf(ses).Secrets.Secrets(), "/home/u/models/") {
			t.Errorf("%q: %+v", ref, ses.Info().Model)
		}
		if got := drivertest.Said(t, ses, drivers.Request{Prompt: user("a"), OutputTokens: 2, Slot: drivers.AnySlot}); got.Model != "Qwen3-8B" {
			t.Errorf("%q answered", got.Model)
		}
	}
}

func TestOptions(t *testing.T) {
	srv := (&fake{eosWorks: true}).start(t)
	set := func(k, v string) func(*drivers.Config) { return func(c *drivers.Config) { c.Options[k] = v } }
	for _, v := range []string{"0", "-1", "many"} {
		if _, err := drivertest.Open(t, Spec(), srv.URL, set(optContext, v)); err == nil || !strings.Contains(err.Error(), optContext) {
			t.Errorf("%s: %v", v, err)
		}
	}
	ses, err := drivertest.Open(t, Spec(), srv.URL, set(optContext, "8192"))
	if err != nil || ses.Info().ContextMax != 8192 {
		t.Errorf("%v", err)
	}
	dir := filepath.Join(t.TempDir(), "Qwen3-8B")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := drivertest.Open(t, Spec(), srv.URL, set(optWeights, dir)); err == nil {
		t.Error("a folder without weights is taken")
	}
	header := `{"w":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}`
	file := append([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}, header+"12345678"...)
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	if ses, err = drivertest.Open(t, Spec(), srv.URL, set(optWeights, dir)); err != nil || ses.Info().Model.Path != dir || ses.Info().Model.Quant == "" {
		t.Errorf("%v", err)
	}
	other := (&fake{model: "Llama"}).start(t)
	if _, err := drivertest.Open(t, Spec(), other.URL, set(optWeights, dir)); !errors.Is(err, drivers.ErrModelNotFound) {
		t.Errorf("another model's folder: %v", err)
	}
}

// TestOthers are servers on a shared port, which are no TensorRT-LLM.
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
		{"SGLang", answer(200, `{"data":[{"id":"m","owned_by":"sglang"}]}`), errOther},
		{"no owner", answer(200, `{"data":[{"id":"m"}]}`), errOther},
		{"a page", answer(200, `<html>hello</html>`), errOther},
		{"an array", answer(200, `[1]`), errOther},
		{"empty", answer(200, ``), errOther},
		{"nothing there", answer(404, `not found`), errOther},
		{"a key", answer(401, `{"error":"Unauthorized"}`), drivers.ErrAuth},
		{"not ready", answer(503, ``), drivers.ErrOverloaded},
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

func TestDetect(t *testing.T) {
	srv := (&fake{}).start(t)
	found, err := Spec().Detect(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New()})
	if err != nil || len(found) != 1 || !found[0].Usable || found[0].Version != "1.2.0" || found[0].Models[0].Ref != "Qwen3-8B" {
		t.Errorf("%v, %+v", err, found)
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
