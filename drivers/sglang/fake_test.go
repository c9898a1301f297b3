package sglang

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
)

// fake is a stand-in for SGLang with the documented shapes: a tokenizer of one id a byte, and a prefix cache.
type fake struct {
	oldNames     bool // /get_model_info and the like only
	noMessages   bool // /tokenize takes text only
	textOnly     bool // with noMessages: it does take text
	noTools      bool // /tokenize leaves tools out
	ignoresSalt  bool
	refusesSalt  bool
	noCache      bool
	incremental  bool // events hold what is new
	noDetails    bool // the chat route tells no cached tokens
	report       bool // with noDetails: --enable-cache-report, which leaves a 0 out
	busyFlushes  int  // so many flushes are refused
	lyingFlush   bool // 200, and the cache stays
	flushStatus  int  // instead of all that
	noGenerate   bool
	key          string
	listAnswer   string
	maxModelLen  int
	weightsAfter string // weight_version in streams, where it differs

	mu     sync.Mutex
	model  string
	cache  map[string]bool // salt and prompt
	bodies []map[string]any
}

func (f *fake) start(t *testing.T) *httptest.Server {
	t.Helper()
	f.cache, f.model = map[string]bool{}, "/home/u/models/Qwen3-8B"
	mux := http.NewServeMux()
	info := func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		fmt.Fprintf(w, `{"model_path":%q,"is_generation":true,"weight_version":"default"}`, f.model)
	}
	args := func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"api_key":"sk-server","version":"0.5.6","quantization":"awq","dtype":"half","disable_radix_cache":%v,"page_size":1,"max_running_requests":7,"max_total_num_tokens":9000,"device":"cuda"}`, f.noCache)
	}
	prefix := "/"
	if f.oldNames {
		prefix = "/get_"
	}
	mux.HandleFunc("GET "+prefix+"model_info", info)
	mux.HandleFunc("GET "+prefix+"server_info", args)
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		if f.listAnswer != "" {
			fmt.Fprint(w, f.listAnswer)
			return
		}
		fmt.Fprintf(w, `{"data":[{"id":"Qwen3-8B","owned_by":"sglang","root":"Qwen3-8B","max_model_len":%d}]}`, max(f.maxModelLen, 1))
	})
	mux.HandleFunc("POST /tokenize", f.tokenize)
	mux.HandleFunc("POST /detokenize", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Tokens []int `json:"tokens"`
		}
		_ = json.NewDecoder(r.Body).Decode(&in)
		var b strings.Builder
		for _, id := range in.Tokens {
			b.WriteByte(byte(id))
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"text": b.String()})
	})
	mux.HandleFunc("POST /v1/chat/completions", f.chat)
	if !f.noGenerate {
		mux.HandleFunc("POST /generate", f.generate)
	}
	mux.HandleFunc("POST /flush_cache", f.flush)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.key != "" && r.Header.Get("Authorization") != "Bearer "+f.key {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"Unauthorized"}`)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// rendered is the stand-in's chat template.
func rendered(body map[string]any) string {
	var b strings.Builder
	b.WriteString("<s>")
	if tools, ok := body["tools"]; ok {
		j, _ := json.Marshal(tools)
		b.Write(j)
	}
	list, _ := body["messages"].([]any)
	for _, m := range list {
		o, _ := m.(map[string]any)
		fmt.Fprintf(&b, "[%v]%v%v", o["role"], o["content"], o["tool_calls"])
	}
	b.WriteString("[assistant]")
	if k, _ := body["chat_template_kwargs"].(map[string]any); k["enable_thinking"] == true {
		b.WriteString("<think>\n")
	}
	return b.String()
}

func (f *fake) tokenize(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	_ = json.NewDecoder(r.Body).Decode(&in)
	if prompt, ok := in["prompt"].(string); ok && f.textOnly {
		ids := make([]int, len(prompt))
		_ = json.NewEncoder(w).Encode(map[string]any{"tokens": ids, "count": len(ids)})
		return
	}
	if f.noMessages {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"object":"error","message":"prompt: Field required","type":"BadRequest","code":400}`)
		return
	}
	if f.noTools {
		delete(in, "tools")
	}
	var ids []int
	for _, b := range []byte(rendered(in)) {
		ids = append(ids, int(b))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"tokens": ids, "count": len(ids)})
}

// cached looks a prompt up and keeps it.
func (f *fake) cached(salt any, prompt string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.noCache {
		return 0
	}
	key := fmt.Sprint(salt)
	if f.ignoresSalt {
		key = ""
	}
	best := 0
	for old := range f.cache {
		s, p, _ := strings.Cut(old, "\x00")
		n := 0
		for s == key && n < min(len(p), len(prompt)-1) && p[n] == prompt[n] {
			n++
		}
		best = max(best, n)
	}
	f.cache[key+"\x00"+prompt] = true
	return best
}

func (f *fake) keep(body map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bodies = append(f.bodies, body)
}

// last is the body of the last stream.
func (f *fake) last() map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bodies[len(f.bodies)-1]
}

func (f *fake) generate(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	_ = json.NewDecoder(r.Body).Decode(&in)
	f.keep(in)
	if f.refusesSalt && in["cache_salt"] != nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":{"message":"unexpected field cache_salt"}}`)
		return
	}
	list, _ := in["input_ids"].([]any)
	var prompt strings.Builder
	for _, id := range list {
		n, _ := id.(float64)
		prompt.WriteByte(byte(n))
	}
	params, _ := in["sampling_params"].(map[string]any)
	n, _ := params["max_new_tokens"].(float64)
	cached := f.cached(in["cache_salt"], prompt.String())
	version := "default"
	if f.weightsAfter != "" {
		version = f.weightsAfter
	}
	text := ""
	for i := 1; i <= int(n); i++ {
		piece := string(rune('a'+i%26)) + " "
		if f.incremental {
			text = piece
		} else {
			text += piece
		}
		why := "null"
		if i == int(n) {
			why = fmt.Sprintf(`{"type":"length","length":%d}`, i)
		}
		fmt.Fprintf(w, "data: {\"text\":%q,\"meta_info\":{\"finish_reason\":%s,\"prompt_tokens\":%d,\"completion_tokens\":%d,\"cached_tokens\":%d,\"weight_version\":%q}}\n\n",
			text, why, len(list), i, cached, version)
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func (f *fake) chat(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	_ = json.NewDecoder(r.Body).Decode(&in)
	f.keep(in)
	prompt := rendered(in)
	cached := f.cached(in["cache_salt"], prompt)
	n, _ := in["max_tokens"].(float64)
	for i := 1; i <= int(n); i++ {
		fmt.Fprintf(w, "data: {\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"w \"},\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d}}\n\n", in["model"], len(prompt), i)
	}
	details := fmt.Sprintf(`,"sglext":{"cached_tokens_details":{"device":%d,"host":0}}`, cached)
	if f.noDetails {
		details = ""
	}
	extra := ""
	if f.report && cached > 0 {
		extra = fmt.Sprintf(`,"prompt_tokens_details":{"cached_tokens":%d}`, cached)
	}
	fmt.Fprintf(w, "data: {\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n", in["model"])
	fmt.Fprintf(w, "data: {\"model\":%q,\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d%s}%s}\n\ndata: [DONE]\n\n", in["model"], len(prompt), int(n), extra, details)
}

func (f *fake) flush(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.flushStatus != 0:
		w.WriteHeader(f.flushStatus)
	case f.busyFlushes > 0:
		f.busyFlushes--
		w.WriteHeader(http.StatusBadRequest)
	case !f.lyingFlush:
		f.cache = map[string]bool{}
	}
	fmt.Fprint(w, "Cache flushed.\nPlease check backend logs for more details.\n")
}

func (f *fake) open(t *testing.T, change ...func(*drivers.Config)) (drivers.Session, *httptest.Server) {
	t.Helper()
	srv := f.start(t)
	ses, err := drivertest.Open(t, Spec(), srv.URL, change...)
	if err != nil {
		t.Fatal(err)
	}
	return ses, srv
}

func ask(text string, tokens int) drivers.Request {
	return drivers.Request{Prompt: user(text), OutputTokens: tokens, Slot: drivers.AnySlot, FirstByteWithin: 5 * time.Second}
}
