package vllm

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// fake is a stand-in for vLLM's server, written from its documented API: a prefix cache in blocks of 16 tokens under salts,
// running usage, a tokenizer of words. Its fields say in which ways a version or a model differs.
type fake struct {
	model        string   // served name
	root         string   //
	refuses      []string // fields that are refused, by name
	mute         bool     // refusals do not name the field
	details      bool     // started with --enable-prompt-tokens-details
	omitZero     bool     // leaves cached_tokens out where it is 0
	noSalt       bool     // does not know cache_salt
	noContinuous bool     // heeds include_usage only
	says         string   // the words of refusals
	noTokenize   bool
	noMetrics    bool
	noTools      bool // /tokenize leaves tools out
	noTemplate   bool // no chat template
	noSystem     bool // the template refuses system messages
	thinks       bool // the prompt ends in <think>
	timings      bool // started with --enable-per-request-metrics
	key          string

	mu              sync.Mutex
	cache           map[string]bool // salt and prefix
	queried, hit    int
	preempted       int
	requests        []map[string]any
	tokenized, tail int
}

const thinkToken = 7

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var in map[string]any
	_ = json.NewDecoder(r.Body).Decode(&in)
	if f.key != "" && strings.HasPrefix(r.URL.Path, "/v1") && r.Header.Get("Authorization") != "Bearer "+f.key {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"Unauthorized"}`)
		return
	}
	switch route := r.Method + " " + r.URL.Path; {
	case route == "GET /health":
	case route == "GET /version":
		fmt.Fprint(w, `{"version":"0.11.0"}`)
	case route == "GET /v1/models":
		fmt.Fprintf(w, `{"object":"list","data":[{"id":%q,"owned_by":"vllm","root":%q,"parent":null,"max_model_len":4096}]}`, f.model, f.root)
	case route == "GET /metrics" && !f.noMetrics:
		fmt.Fprintf(w, "vllm:num_requests_running{engine=\"0\"} 0.0\nvllm:num_requests_waiting{engine=\"0\"} 0.0\nvllm:num_preemptions_total{engine=\"0\"} %d\n", f.preempted)
		fmt.Fprintf(w, "vllm:prefix_cache_queries_total{engine=\"0\"} %d\nvllm:prefix_cache_hits_total{engine=\"0\"} %d\n", f.queried, f.hit)
		fmt.Fprint(w, "vllm:cache_config_info{block_size=\"16\"} 1.0\n")
	case route == "POST /tokenize" && !f.noTokenize:
		f.tokenized++
		ids, status, why := f.render(in, !f.noTools)
		if status != 0 {
			f.refuse(w, status, why)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"count": len(ids), "max_model_len": 4096, "tokens": ids})
	case route == "POST /detokenize" && !f.noTokenize:
		f.tail++
		ids := in["tokens"].([]any)
		text := "assistant\n"
		if ids[len(ids)-1].(float64) == thinkToken {
			text += "<think>\n"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"prompt": text})
	case route == "POST /v1/completions", route == "POST /v1/chat/completions":
		f.complete(w, in, strings.Contains(route, "chat"))
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"detail":"Not Found"}`)
	}
}

func (f *fake) refuse(w http.ResponseWriter, status int, why string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"message":%q,"type":"BadRequestError","param":null,"code":%d}}`, why, status)
}

func ids(text string) []int {
	var out []int
	for _, word := range strings.Fields(text) {
		h := fnv.New32a()
		h.Write([]byte(word))
		out = append(out, int(h.Sum32()%50000)+100)
	}
	return out
}

// render gives the ids of a prompt, text or messages; status is 0 where all is well.
func (f *fake) render(in map[string]any, tools bool) (out []int, status int, why string) {
	if in["model"] != f.model {
		return nil, http.StatusNotFound, fmt.Sprintf("The model `%v` does not exist.", in["model"])
	}
	if text, ok := in["prompt"].(string); ok {
		return append([]int{1}, ids(text)...), 0, ""
	}
	if f.noTemplate {
		return nil, http.StatusBadRequest, "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template"
	}
	out = []int{1, 2, 3}
	if list, ok := in["tools"].([]any); ok && tools {
		b, _ := json.Marshal(list)
		out = append(append(out, 4), ids(strings.ReplaceAll(string(b), `"`, " "))...)
	}
	for _, m := range in["messages"].([]any) {
		m := m.(map[string]any)
		if m["role"] == "system" && f.noSystem {
			return nil, http.StatusBadRequest, "System role not supported"
		}
		b, _ := json.Marshal(m["tool_calls"])
		out = append(out, ids(fmt.Sprint(m["role"], " ", m["content"], " ", string(b)))...)
	}
	out = append(out, 5)
	kwargs, _ := in["chat_template_kwargs"].(map[string]any)
	if on, set := kwargs["enable_thinking"].(bool); f.thinks && (on || !set) {
		out = append(out, thinkToken)
	}
	return out, 0, ""
}

// cached looks a prompt up and keeps it.
func (f *fake) cached(salt string, prompt []int) int {
	if f.cache == nil {
		f.cache = map[string]bool{}
	}
	hit, missed := 0, false
	for end := 16; end < len(prompt); end += 16 {
		key := fmt.Sprint(salt, prompt[:end])
		if f.cache[key] && !missed {
			hit = end
		} else {
			missed = true
		}
		f.cache[key] = true
	}
	f.queried, f.hit = f.queried+len(prompt), f.hit+hit
	return hit
}

func (f *fake) complete(w http.ResponseWriter, in map[string]any, chat bool) {
	f.requests = append(f.requests, in)
	for _, field := range f.refuses {
		options, _ := in["stream_options"].(map[string]any)
		if _, ok := in[field]; ok || options[field] != nil {
			if f.mute {
				field = "something"
			}
			says := fmt.Sprintf("Parameter '%s' is not supported", field)
			if f.says != "" {
				says = f.says
			}
			f.refuse(w, http.StatusBadRequest, says)
			return
		}
	}
	var prompt []int
	if list, ok := in["prompt"].([]any); ok {
		for _, v := range list {
			prompt = append(prompt, int(v.(float64)))
		}
	} else {
		var status int
		var why string
		if prompt, status, why = f.render(in, in["tool_choice"] != "none" || !f.noTools); status != 0 {
			f.refuse(w, status, why)
			return
		}
	}
	if in["model"] != f.model {
		f.refuse(w, http.StatusNotFound, fmt.Sprintf("The model `%v` does not exist.", in["model"]))
		return
	}
	max := int(in["max_tokens"].(float64))
	if len(prompt)+max > 4096 {
		f.refuse(w, http.StatusBadRequest, fmt.Sprintf("This model's maximum context length is 4096 tokens. However, you requested %d tokens", len(prompt)+max))
		return
	}
	salt, _ := in["cache_salt"].(string)
	if f.noSalt {
		salt = ""
	}
	hit := f.cached(salt, prompt)
	options, _ := in["stream_options"].(map[string]any)
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range max {
		text, finish := fmt.Sprintf("w%d ", i), "null"
		if f.thinks && i == max/2 {
			text = "</think>"
		}
		if i == max-1 {
			finish = `"length"`
		}
		body := fmt.Sprintf(`"text":%q`, text)
		if chat {
			body = fmt.Sprintf(`"delta":{"content":%q}`, text)
		}
		if in["return_token_ids"] == true {
			body += fmt.Sprintf(`,"token_ids":[%d]`, i)
		}
		usage := ""
		if options["continuous_usage_stats"] == true && !f.noContinuous {
			usage = fmt.Sprintf(`,"usage":{"prompt_tokens":%d,"completion_tokens":%d}`, len(prompt), i+1)
		}
		fmt.Fprintf(w, "data: {\"id\":\"c\",\"model\":%q,\"choices\":[{\"index\":0,%s,\"finish_reason\":%s}]%s}\n\n", f.model, body, finish, usage)
	}
	if options["include_usage"] == true {
		details, metrics := "", ""
		if f.details && (hit > 0 || !f.omitZero) {
			details = fmt.Sprintf(`,"prompt_tokens_details":{"cached_tokens":%d}`, hit)
		}
		if f.timings {
			metrics = `,"metrics":{"time_to_first_token_ms":20.5,"generation_time_ms":30,"queue_time_ms":1.5,"mean_itl_ms":10,"tokens_per_second":79}`
		}
		fmt.Fprintf(w, "data: {\"id\":\"c\",\"model\":%q,\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d%s}%s}\n\n", f.model, len(prompt), max, details, metrics)
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// last is the last request for a stream.
func (f *fake) last() map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[len(f.requests)-1]
}

// fields lists the fields of the last request.
func (f *fake) fields() []string {
	var names []string
	for k := range f.last() {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}
