package lmstudio

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// fake is a stand-in for LM Studio's server, written from its documentation: models that are loaded and put away, endpoints of
// three kinds, status 200 for what it does not understand.
type fake struct {
	old      bool     // before 0.4: no /api/v1
	noV0     bool     // /api/v0 is gone
	v0Stats  bool     // /api/v0 tells its figures in streams
	refuses  []string // fields that are refused, by name
	token    string
	loadTime time.Duration
	loadFail string // that loading says
	nested   bool   // the answer of load in the form of the first 0.4
	answers  string // the model that answers, whichever was asked for
	streams  int

	mu       sync.Mutex
	loaded   map[string]int // context by model
	loads    []map[string]any
	unloads  []string
	requests []string // method and path
	last     map[string]any
}

var models = []struct {
	key  string
	size int
	kind string
}{{"text-embedding-nomic", 100, "embedding"}, {"qwen/qwen3-4b", 2000, "llm"}, {"gemma-3-4b", 1000, "llm"}}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	route := r.Method + " " + r.URL.Path
	f.requests = append(f.requests, route)
	if f.token != "" && r.Header.Get("Authorization") != "Bearer "+f.token {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":{"message":"An LM Studio API token is required to make requests to this server","type":"invalid_request","code":"invalid_api_key"}}`)
		return
	}
	var in map[string]any
	_ = json.NewDecoder(r.Body).Decode(&in)
	switch {
	case route == "GET /api/v1/models" && !f.old:
		var list []any
		for _, m := range models {
			entry := map[string]any{"type": m.kind, "key": m.key, "display_name": strings.ToUpper(m.key), "quantization": map[string]any{"name": "Q4_K_M"}, "size_bytes": m.size, "max_context_length": 32768, "format": "gguf", "loaded_instances": []any{}}
			if n, ok := f.loaded[m.key]; ok {
				entry["loaded_instances"] = []any{map[string]any{"id": m.key, "config": map[string]any{"context_length": n, "parallel": 4}}}
			}
			list = append(list, entry)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"models": list})
	case route == "GET /api/v0/models" && !f.noV0:
		var list []any
		for _, m := range models {
			entry := map[string]any{"id": m.key, "type": strings.Replace(m.kind, "embedding", "embeddings", 1), "quantization": "Q4_K_M", "compatibility_type": "gguf", "state": "not-loaded", "max_context_length": 32768}
			if n, ok := f.loaded[m.key]; ok {
				entry["state"], entry["loaded_context_length"] = "loaded", n
			}
			list = append(list, entry)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"object": "list", "data": list})
	case route == "POST /api/v1/models/load" && !f.old:
		f.loads = append(f.loads, in)
		time.Sleep(f.loadTime)
		if f.loadFail != "" {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, `{"error":{"type":"internal_error","message":%q}}`, f.loadFail)
			return
		}
		key, n := in["model"].(string), int(in["context_length"].(float64))
		f.load(key, n)
		if f.nested {
			fmt.Fprintf(w, `{"model_instance_id":%q,"config":{"context_length":%d},"load_time_seconds":9.099}`, key, n)
		} else {
			fmt.Fprintf(w, `{"type":"llm","instance_id":%q,"load_time_seconds":9.099,"status":"loaded","load_config":{"context_length":%d,"parallel":4}}`, key, n)
		}
	case route == "POST /api/v1/models/unload" && !f.old:
		id := in["instance_id"].(string)
		f.unloads = append(f.unloads, id)
		delete(f.loaded, id)
		fmt.Fprintf(w, `{"instance_id":%q}`, id)
	case route == "POST /api/v0/chat/completions" && !f.noV0, route == "POST /v1/chat/completions":
		f.chat(w, in, strings.Contains(route, "v0"))
	case route == "POST /api/v1/chat" && !f.old:
		f.native(w, in)
	default:
		fmt.Fprintf(w, `{"error":"Unexpected endpoint or method. (%s)"}`, route)
	}
}

func (f *fake) load(key string, context int) {
	if f.loaded == nil {
		f.loaded = map[string]int{}
	}
	f.loaded[key] = context
}

// model is the model that answers, loaded where it was not.
func (f *fake) model(in map[string]any) string {
	key, _ := in["model"].(string)
	if f.answers != "" {
		return f.answers
	}
	if _, ok := f.loaded[key]; !ok {
		f.load(key, 4096)
	}
	return key
}

func (f *fake) chat(w http.ResponseWriter, in map[string]any, v0 bool) {
	f.last = in
	for _, field := range f.refuses {
		if _, ok := in[field]; ok {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":{"message":"'%s' is not a known field","type":"invalid_request"}}`, field)
			return
		}
	}
	model, n := f.model(in), int(in["max_tokens"].(float64))
	extra := ""
	if v0 && (f.v0Stats || in["stream"] != true) {
		extra = `,"stats":{"tokens_per_second":50.5,"time_to_first_token":0.1,"generation_time":0.2,"stop_reason":"maxPredictedTokensReached"},"model_info":{"arch":"x","context_length":4096},"runtime":{"name":"llama.cpp-linux-cuda","version":"2.5.0"}`
	}
	usage := fmt.Sprintf(`"usage":{"prompt_tokens":11,"completion_tokens":%d,"total_tokens":%d}`, n, n+11)
	if in["stream"] != true {
		fmt.Fprintf(w, `{"id":"c","model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"length"}],%s%s}`, model, usage, extra)
		return
	}
	f.streams++
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range n {
		finish := "null"
		if i == n-1 {
			finish = `"length"`
		}
		fmt.Fprintf(w, "data: {\"id\":\"c\",\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"w%d \"},\"finish_reason\":%s}]}\n\n", model, i, finish)
	}
	if _, ok := in["stream_options"]; ok {
		fmt.Fprintf(w, "data: {\"id\":\"c\",\"model\":%q,\"choices\":[],%s%s}\n\n", model, usage, extra)
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func (f *fake) native(w http.ResponseWriter, in map[string]any) {
	f.last = in
	f.streams++
	model, n := f.model(in), int(in["max_output_tokens"].(float64))
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, named("chat.start", fmt.Sprintf(`{"type":"chat.start","model_instance_id":%q}`, model)))
	for i := range n {
		fmt.Fprint(w, named("message.delta", fmt.Sprintf(`{"type":"message.delta","content":"w%d "}`, i)))
	}
	fmt.Fprint(w, named("chat.end", fmt.Sprintf(`{"type":"chat.end","result":{"model_instance_id":%q,"stats":{"input_tokens":11,"total_output_tokens":%d,"reasoning_output_tokens":0,"tokens_per_second":40}}}`, model, n)))
}

// evict puts a model away, as LM Studio does by itself.
func (f *fake) evict(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.loaded, key)
}
