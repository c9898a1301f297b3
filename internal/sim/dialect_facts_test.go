package sim_test

import (
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/sim"
)

// document is a prompt of some hundred tokens that two requests share.
var document = strings.Repeat("The committee has now published its first report on the lakes of the north. ", 100)

// TestDialectCaches sends the same prompt twice, then in the way in which the backend can be told to reuse nothing: what was
// cached is what the dialect says was cached.
func TestDialectCaches(t *testing.T) {
	chat := func(more string) string {
		return `{"model":"sim-fast","messages":[{"role":"user","content":"` + document + `"}],"max_tokens":8` + more + `}`
	}
	usage := func(m map[string]any) int { return number(at(m, "usage", "prompt_tokens_details", "cached_tokens")) }
	for _, tt := range []struct {
		dialect, path, body string
		cold                string // the same without reuse; %d is a number of its own
		block, least        int
		stated              func(m map[string]any) int // -1: not stated
		unstatedZero        bool                       // nothing is said where nothing was cached
	}{
		{"llamacpp", "/completion", `{"prompt":"` + document + `","n_predict":8}`, `{"prompt":"` + document + `","n_predict":8,"cache_prompt":false}`, 1, 0,
			func(m map[string]any) int { return number(at(m, "timings", "cache_n")) }, false},
		{"vllm", "/v1/chat/completions", chat(""), chat(`,"cache_salt":"%d"`), 16, 0, usage, false},
		{"sglang", "/generate", `{"text":"` + document + `"}`, `{"text":"` + document + `","extra_key":"%d"}`, 1, 0,
			func(m map[string]any) int { return number(at(m, "meta_info", "cached_tokens")) }, false},
		{"sglang", "/v1/chat/completions", chat(""), chat(`,"cache_salt":"%d"`), 1, 0, usage, true},
		{"trtllm", "/v1/chat/completions", chat(""), chat(`,"cache_salt":"%d"`), 32, 0, usage, false},
		{"fireworks", "/inference/v1/chat/completions", chat(""), chat(`,"prompt_cache_isolation_key":"%d"`), 1, 0, usage, false},
		{"openai", "/v1/chat/completions", chat(""), "", 128, 1024, usage, false},
		{"deepseek", "/chat/completions", chat(""), "", 64, 0, func(m map[string]any) int { return number(at(m, "usage", "prompt_cache_hit_tokens")) }, false},
		{"anthropic", "/v1/messages", chat(`,"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}]`), chat(`,"system":"Be brief."`), 1, 0,
			func(m map[string]any) int { return number(at(m, "usage", "cache_read_input_tokens")) }, false},
		{"ollama", "/api/chat", `{"model":"sim-fast","stream":false,"messages":[{"role":"user","content":"` + document + `"}],"options":{"num_predict":8}}`, "", 1, 0,
			func(map[string]any) int { return -1 }, false},
		{"lmstudio", "/v1/chat/completions", chat(""), "", 1, 0, usage, true},
		{"together", "/v1/chat/completions", chat(""), "", 1, 0, usage, true},
	} {
		t.Run(tt.dialect+tt.path, func(t *testing.T) {
			s := speaker(t, tt.dialect, "")
			ask := func(body string) (stated int, truth sim.Served) {
				m := mustSend(t, s, http.MethodPost, tt.path, body)
				return tt.stated(m), last(t, s)
			}
			for i, body := range []string{tt.body, tt.body, tt.cold, tt.cold} {
				if body == "" {
					continue
				}
				if i > 1 && strings.Contains(body, "%d") {
					body = fmt.Sprintf(body, i)
				}
				stated, truth := ask(body)
				want := 0
				if i == 1 {
					want = truth.PromptTokens - 1
					if want -= want % tt.block; want < tt.least {
						t.Fatalf("a prompt of %d tokens is too short for this test", truth.PromptTokens)
					}
				}
				if truth.CachedTokens != want {
					t.Errorf("request %d: %d of %d tokens cached in truth, want %d", i, truth.CachedTokens, truth.PromptTokens, want)
				}
				if stated != want && stated != -1 || stated == -1 && tt.stated(map[string]any{"usage": nil}) != -1 {
					t.Errorf("request %d: %d cached tokens stated, want %d", i, stated, want)
				}
			}
		})
	}
}

// TestCachedWhileStreaming looks at what is written before the end: the cached tokens of events that are made before it is known.
func TestCachedWhileStreaming(t *testing.T) {
	for _, tt := range []struct{ dialect, path, body, first string }{
		{"sglang", "/generate", `{"text":"` + document + `","stream":true,"sampling_params":{"max_new_tokens":4}}`, `"cached_tokens":\s*(\d+)`},
		{"anthropic", "/v1/messages", `{"model":"sim-fast","stream":true,"max_tokens":4,"messages":[{"role":"user","content":[{"type":"text","text":"` + document + `","cache_control":{"type":"ephemeral"}}]}]}`,
			`message_start.*"cache_read_input_tokens":\s*(\d+)`},
	} {
		s := speaker(t, tt.dialect, "")
		for i := range 2 {
			_, body, err := send(t, s, http.MethodPost, tt.path, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			truth := last(t, s)
			m := regexp.MustCompile(tt.first).FindStringSubmatch(body)
			if m == nil || m[1] != strconv.Itoa(truth.CachedTokens) || (i == 1) != (truth.CachedTokens > 0) {
				t.Errorf("%s request %d: %v first, %d in truth", tt.dialect, i, m, truth.CachedTokens)
			}
			if list, odd := objects(t, body); len(odd) > 0 || len(list) == 0 {
				t.Errorf("not JSON: %q", odd)
			}
		}
	}
}

func TestOllamaLoads(t *testing.T) {
	s := speaker(t, "ollama", "")
	ask := func(options, more string) (map[string]any, sim.Served) {
		m := mustSend(t, s, http.MethodPost, "/api/generate", `{"model":"sim-fast","raw":true,"stream":false,"prompt":"`+document+`","options":{`+options+`}`+more+`}`)
		return m, last(t, s)
	}
	running := func() any { return at(mustSend(t, s, http.MethodGet, "/api/ps", ""), "models", 0, "context_length") }
	if running() != nil {
		t.Errorf("runs before it was asked: %v", running())
	}
	load := 300 * time.Millisecond / 20
	m, truth := ask(`"num_predict":4,"num_ctx":8192`, "")
	if truth.Load != load || number(m["load_duration"]) != int(load) || truth.PrefillStart < load || running() != 8192. {
		t.Errorf("loaded in %v, stated %v, prefill from %v, context %v", truth.Load, m["load_duration"], truth.PrefillStart, running())
	}
	if n := number(m["prompt_eval_count"]); n != truth.PromptTokens || number(m["eval_count"]) != 4 || m["done_reason"] != "length" {
		t.Errorf("answer %v", m)
	}
	for _, f := range []struct {
		name string
		want time.Duration
	}{
		{"prompt_eval_duration", truth.PrefillEnd - truth.PrefillStart}, {"eval_duration", truth.LastToken - truth.FirstToken}, {"total_duration", truth.LastToken},
	} {
		if got, ok := m[f.name].(float64); !ok || math.Abs(got-float64(f.want)) > 1 {
			t.Errorf("%s is %v, want %d", f.name, m[f.name], f.want)
		}
	}
	whole := truth.PromptTokens
	if m, truth := ask(`"num_predict":4,"num_ctx":8192`, ""); truth.Load != 0 || number(m["prompt_eval_count"]) != whole || number(m["prompt_eval_duration"]) > int(truth.PrefillEnd) {
		t.Errorf("again: %v, load %v", m, truth.Load)
	}
	if _, truth := ask(`"num_predict":4,"num_ctx":4096`, ""); truth.Load != load || running() != 4096. {
		t.Errorf("another context: load %v, context %v", truth.Load, running())
	}
	if m, _ := ask(`"num_predict":4,"num_ctx":512`, ""); number(m["prompt_eval_count"]) >= 512 {
		t.Errorf("not truncated: %v", m)
	}
	resp, body, _ := send(t, s, http.MethodPost, "/api/generate", `{"model":"sim-fast","raw":true,"prompt":"`+document+`","options":{"num_ctx":512},"truncate":false}`)
	if resp.StatusCode != http.StatusBadRequest || body != `{"error":"the input length exceeds the context length"}` {
		t.Errorf("truncate false: %d %s", resp.StatusCode, body)
	}
	if m := mustSend(t, s, http.MethodPost, "/api/generate", `{"model":"sim-fast","stream":false,"keep_alive":0}`); m["done_reason"] != "unload" || running() != nil {
		t.Errorf("unload: %v, runs %v", m, running())
	}
	if m := mustSend(t, s, http.MethodPost, "/api/chat", `{"model":"sim-fast","messages":[],"keep_alive":-1,"options":{"num_ctx":2048}}`); m["done_reason"] != "load" || running() != 2048. {
		t.Errorf("load: %v, runs %v", m, running())
	}
	for body, want := range map[string]int{
		`{"model":"sim-fast","prompt":[1,2,3]}`: 400, `{"model":"nosuch","prompt":"x"}`: 404,
		`{"model":"sim-fast","messages":[{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]}`: 400,
	} {
		path := "/api/generate"
		if strings.Contains(body, "messages") {
			path = "/api/chat"
		}
		if resp, text, _ := send(t, s, http.MethodPost, path, body); resp.StatusCode != want {
			t.Errorf("%s: %d %s", body, resp.StatusCode, text)
		}
	}
	if m := mustSend(t, s, http.MethodPost, "/api/show", `{"model":"sim-fast"}`); !strings.Contains(str(m["modelfile"]), "\nFROM /") || number(at(m, "model_info", "llama.context_length")) < 1 {
		t.Errorf("show: %v", m)
	}
}

// TestModelEndsByItself asks each dialect for more than the model says, as the servers can and can't be told not to end.
func TestModelEndsByItself(t *testing.T) {
	for _, w := range ways() {
		if strings.Contains(w.path, "/api/v1/") && w.dialect == "openrouter" {
			continue
		}
		s := speaker(t, w.dialect, "")
		body := w.ask(500, false)
		told := false
		for _, words := range []string{`,"ignore_eos":true`, `,"ban_eos_token":true`, `,"min_tokens":500`, `,"min_tokens":-1`} {
			if strings.Contains(body, words) {
				body, told = strings.Replace(body, words, "", 1), true
			}
		}
		mustSend(t, s, http.MethodPost, w.path, body)
		truth := last(t, s)
		if told != (truth.OutputTokens == 48 && truth.Finish == "stop") || !told && truth.OutputTokens != 500 {
			t.Errorf("%s%s: %d tokens, %s; can be told not to end: %v", w.dialect, w.path, truth.OutputTokens, truth.Finish, told)
		}
	}
}

// metric reads a value of an exposition.
func metric(t *testing.T, text, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `(?:\{[^}]*\})? (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in\n%s", name, text)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDialectMetrics(t *testing.T) {
	for _, tt := range []struct {
		dialect, path, ask, body      string
		requests, prompt, output      string
		ttft, decode, cached, queries string
	}{
		{"vllm", "/metrics", "/v1/completions", `{"prompt":"` + document + `","max_tokens":9}`, "vllm:e2e_request_latency_seconds_count", "vllm:prompt_tokens_total", "vllm:generation_tokens_total",
			"vllm:time_to_first_token_seconds_sum", "vllm:request_decode_time_seconds_sum", "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"},
		{"sglang", "/metrics", "/generate", `{"text":"` + document + `","sampling_params":{"max_new_tokens":9}}`, "sglang:num_requests_total", "sglang:prompt_tokens_total", "sglang:generation_tokens_total",
			"sglang:time_to_first_token_seconds_sum", "sglang:inter_token_latency_seconds_sum", "sglang:cached_tokens_total", ""},
		{"trtllm", "/prometheus/metrics", "/v1/completions", `{"prompt":"` + document + `","max_tokens":9}`, "trtllm_e2e_request_latency_seconds_count", "", "",
			"trtllm_time_to_first_token_seconds_sum", "trtllm_time_per_output_token_seconds_sum", "", ""},
		{"llamacpp", "/metrics", "/completion", `{"prompt":"` + document + `","n_predict":9}`, "", "", "llamacpp:tokens_predicted_total",
			"", "llamacpp:tokens_predicted_seconds_total", "llamacpp:prompt_tokens_cached_total", ""},
	} {
		t.Run(tt.dialect, func(t *testing.T) {
			s := speaker(t, tt.dialect, "")
			var truth []sim.Served
			for range 3 {
				mustSend(t, s, http.MethodPost, tt.ask, tt.body)
				truth = append(truth, last(t, s))
			}
			s.ClearLog() // the counters go on
			text := str(mustSend(t, s, http.MethodGet, tt.path, "")[""])
			var prompt, cached, output, ttft, decode float64
			for _, l := range truth {
				prompt, cached, output = prompt+float64(l.PromptTokens), cached+float64(l.CachedTokens), output+float64(l.OutputTokens)
				ttft, decode = ttft+l.FirstToken.Seconds(), decode+(l.LastToken-l.FirstToken).Seconds()
			}
			for name, want := range map[string]float64{tt.requests: 3, tt.prompt: prompt, tt.output: output, tt.ttft: ttft, tt.decode: decode, tt.cached: cached, tt.queries: prompt} {
				if name == "" {
					continue
				}
				if got := metric(t, text, name); math.Abs(got-want) > 1e-5*want {
					t.Errorf("%s is %v, want %v", name, got, want)
				}
			}
		})
	}
}

func TestStrictDialects(t *testing.T) {
	for _, tt := range []struct{ dialect, path, word string }{
		{"trtllm", "/v1/chat/completions", "extra_forbidden"}, {"openai", "/v1/chat/completions", "Unrecognized request argument"}, {"groq", "/openai/v1/chat/completions", "is unsupported"},
	} {
		s := speaker(t, tt.dialect, "")
		resp, body, _ := send(t, s, http.MethodPost, tt.path, `{"model":"sim-fast","messages":`+hello+`,"max_tokens":4,"return_token_ids":true}`)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, tt.word) || !strings.Contains(body, "return_token_ids") {
			t.Errorf("%s: %d %s", tt.dialect, resp.StatusCode, body)
		}
	}
}

// TestServersOwnTimes compares what each server says of its own times with the truth, by its own definition.
func TestServersOwnTimes(t *testing.T) {
	secs := func(d time.Duration) float64 { return d.Seconds() }
	for _, tt := range []struct {
		dialect, path, more string
		where               []any
		want                map[string]func(s sim.Served) float64
	}{
		{"llamacpp", "/v1/chat/completions", "", []any{"timings"}, map[string]func(s sim.Served) float64{
			"prompt_ms":            func(s sim.Served) float64 { return 1e3 * secs(s.PrefillEnd-s.PrefillStart) },
			"predicted_ms":         func(s sim.Served) float64 { return 1e3 * secs(s.LastToken-s.FirstToken) },
			"predicted_per_second": func(s sim.Served) float64 { return float64(s.OutputTokens-1) / secs(s.LastToken-s.FirstToken) },
		}},
		{"vllm", "/v1/chat/completions", `,"ignore_eos":true`, []any{"metrics"}, map[string]func(s sim.Served) float64{
			"time_to_first_token_ms": func(s sim.Served) float64 { return 1e3 * secs(s.FirstToken-s.PrefillStart) },
			"generation_time_ms":     func(s sim.Served) float64 { return 1e3 * secs(s.LastToken-s.FirstToken) },
			"tokens_per_second":      func(s sim.Served) float64 { return float64(s.OutputTokens) / secs(s.LastToken-s.PrefillStart) },
		}},
		{"groq", "/openai/v1/chat/completions", "", []any{"usage"}, map[string]func(s sim.Served) float64{
			"queue_time":      func(s sim.Served) float64 { return secs(s.PrefillStart) },
			"prompt_time":     func(s sim.Served) float64 { return secs(s.PrefillEnd - s.PrefillStart) },
			"completion_time": func(s sim.Served) float64 { return secs(s.LastToken - s.PrefillEnd) },
		}},
		{"cerebras", "/v1/chat/completions", "", []any{"time_info"}, map[string]func(s sim.Served) float64{
			"prompt_time": func(s sim.Served) float64 { return secs(s.PrefillEnd - s.PrefillStart) }, "total_time": func(s sim.Served) float64 { return secs(s.LastToken) },
		}},
		{"lmstudio", "/api/v0/chat/completions", "", []any{"stats"}, map[string]func(s sim.Served) float64{
			"tokens_per_second":   func(s sim.Served) float64 { return float64(s.OutputTokens) / secs(s.LastToken-s.FirstToken) },
			"time_to_first_token": func(s sim.Served) float64 { return secs(s.FirstToken) },
		}},
		{"tabbyapi", "/v1/chat/completions", "", []any{"usage"}, map[string]func(s sim.Served) float64{
			"completion_time": func(s sim.Served) float64 { return math.Round(100*secs(s.LastToken-s.PrefillEnd)) / 100 },
			"completion_tokens_per_sec": func(s sim.Served) float64 {
				return math.Round(100*float64(s.OutputTokens)/(math.Round(100*secs(s.LastToken-s.PrefillEnd))/100)) / 100
			},
		}},
	} {
		s := speaker(t, tt.dialect, "")
		m := mustSend(t, s, http.MethodPost, tt.path, `{"model":"sim-fast","messages":`+hello+`,"max_tokens":40`+tt.more+`}`)
		truth := last(t, s)
		for name, want := range tt.want {
			got, ok := at(at(m, tt.where...), name).(float64)
			if w := want(truth); !ok || math.Abs(got-w) > 1e-5*math.Abs(w)+1e-9 {
				t.Errorf("%s: %s is %v, want %v", tt.dialect, name, got, w)
			}
		}
	}
	s := speaker(t, "trtllm", "")
	for range 2 {
		mustSend(t, s, http.MethodPost, "/v1/chat/completions", `{"model":"sim-fast","messages":`+hello+`,"max_tokens":20}`)
	}
	_, first, _ := send(t, s, http.MethodGet, "/perf_metrics", "")
	_, second, _ := send(t, s, http.MethodGet, "/perf_metrics", "")
	if strings.Count(first, "last_token_time") != 2 || second != "[]" {
		t.Errorf("perf metrics %s, then %s", first, second)
	}
}

func TestSGLangFlush(t *testing.T) {
	s := speaker(t, "sglang", "")
	ask := `{"text":"` + document + `","sampling_params":{"max_new_tokens":4}}`
	mustSend(t, s, http.MethodPost, "/generate", ask)
	mustSend(t, s, http.MethodPost, "/flush_cache", "")
	if mustSend(t, s, http.MethodPost, "/generate", ask); last(t, s).CachedTokens != 0 {
		t.Errorf("%d tokens cached after a flush", last(t, s).CachedTokens)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		mustSend(t, s, http.MethodPost, "/generate", `{"text":"x","sampling_params":{"max_new_tokens":2000,"ignore_eos":true}}`)
	})
	for s.Activity().Running == 0 {
		time.Sleep(time.Millisecond)
	}
	if resp, body, _ := send(t, s, http.MethodGet, "/flush_cache", ""); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "failed") {
		t.Errorf("flush of a busy server: %d %s", resp.StatusCode, body)
	}
	if resp, body, _ := send(t, s, http.MethodPost, "/flush_cache?timeout=10", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("flush that waits: %d %s", resp.StatusCode, body)
	}
	wg.Wait()
}

// TestTokenizersAgree compares the tokens of each server's tokenizer with the prompt tokens of its own chat.
func TestTokenizersAgree(t *testing.T) {
	messages := `[{"role":"system","content":"Be brief.\n"},{"role":"user","content":"\n\nWhat is 12345 <b>?"},{"role":"assistant","content":"  A number."},{"role":"user","content":"Why?"}]`
	for _, tt := range []struct {
		dialect, path, body, member, chat string
		less                              int // tokens of the beginning of an answer, which are not counted
	}{
		{"vllm", "/tokenize", `{"messages":` + messages + `}`, "count", "/v1/chat/completions", 0},
		{"llamacpp", "/v1/chat/completions/input_tokens", `{"messages":` + messages + `}`, "input_tokens", "/v1/chat/completions", 0},
		{"tabbyapi", "/v1/token/encode", `{"text":` + messages + `}`, "length", "/v1/chat/completions", 4},
		{"anthropic", "/v1/messages/count_tokens", `{"model":"sim-fast","system":"Be brief.\n","messages":` + strings.Replace(messages, `{"role":"system","content":"Be brief.\n"},`, "", 1) + `}`, "input_tokens", "", 0},
	} {
		s := speaker(t, tt.dialect, "")
		n := number(mustSend(t, s, http.MethodPost, tt.path, tt.body)[tt.member])
		ask := `{"model":"sim-fast","max_tokens":1,"messages":` + messages + `}`
		if tt.chat == "" {
			tt.chat, ask = "/v1/messages", strings.Replace(tt.body, `{"model"`, `{"max_tokens":1,"model"`, 1)
		}
		mustSend(t, s, http.MethodPost, tt.chat, ask)
		if truth := last(t, s); n < 10 || n+tt.less != truth.PromptTokens {
			t.Errorf("%s: %d tokens by %s, %d of the prompt", tt.dialect, n, tt.path, truth.PromptTokens)
		}
	}
	s := speaker(t, "llamacpp", "")
	text := str(mustSend(t, s, http.MethodPost, "/apply-template", `{"messages":`+messages+`}`)["prompt"])
	ids, _ := mustSend(t, s, http.MethodPost, "/tokenize", `{"content":`+strconv.Quote(text)+`,"parse_special":true}`)["tokens"].([]any)
	mustSend(t, s, http.MethodPost, "/v1/chat/completions", `{"max_tokens":1,"messages":`+messages+`}`)
	if truth := last(t, s); len(ids) != truth.PromptTokens {
		t.Errorf("%d tokens of the rendered text, %d of the chat", len(ids), truth.PromptTokens)
	}
}

// TestRouterPins asks OpenRouter for providers that it has and has not, and for what it tells of a generation.
func TestRouterPins(t *testing.T) {
	s := speaker(t, "openrouter", "")
	ask := func(provider string) (int, string, string) {
		resp, body, _ := send(t, s, http.MethodPost, "/api/v1/chat/completions", `{"model":"simulated/sim-fast","messages":`+hello+`,"max_tokens":6,"stream":true,"provider":`+provider+`}`)
		return resp.StatusCode, body, resp.Header.Get("X-Generation-Id")
	}
	code, body, id := ask(`{"only":["simulated"],"allow_fallbacks":false,"quantizations":["fp8"]}`)
	if code != 200 || !strings.HasPrefix(body, ": OPENROUTER PROCESSING") || !strings.Contains(body, `"provider":"Simulated"`) || !strings.Contains(body, `"cost":`) {
		t.Errorf("%d %s", code, body)
	}
	if g := mustSend(t, s, http.MethodGet, "/api/v1/generation?id="+id, ""); number(at(g, "data", "native_tokens_completion")) != 6 || at(g, "data", "provider_name") != "Simulated" {
		t.Errorf("generation %s: %v", id, g)
	}
	for _, p := range []string{`{"only":["another"]}`, `{"order":["another"],"allow_fallbacks":false}`, `{"quantizations":["int4"]}`} {
		if code, body, _ := ask(p); code != 404 {
			t.Errorf("%s: %d %s", p, code, body)
		}
	}
}
