package sim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/sim"
)

// way is one way to ask a dialect for n tokens.
type way struct {
	dialect, path string
	body          string // %d is the number of tokens, %t whether to stream
	onlyText      bool   // no reasoning and no tool calls here
	noSilent      bool   // tokens without text have no event
	mark          string // what the end mark contains
}

const hello = `[{"role":"user","content":"Say something about lakes and rivers of the north, and then some more."}]`

func ways() []way {
	chat := func(more string) string {
		return `{"model":"sim-fast","messages":` + hello + `,"max_tokens":%d,"stream":%t` + more + `}`
	}
	const usage, done = `,"stream_options":{"include_usage":true}`, "data: [DONE]"
	text := func(more string) string {
		return `{"model":"sim-fast","prompt":"Say something about lakes and rivers of the north.","max_tokens":%d,"stream":%t` + more + `}`
	}
	return []way{
		{dialect: "llamacpp", path: "/completion", body: `{"prompt":[1,2,3,4,5,6,7],"n_predict":%d,"stream":%t,"return_tokens":true,"ignore_eos":true}`, onlyText: true, mark: `"stop":true`},
		{dialect: "llamacpp", path: "/v1/chat/completions", body: chat(usage + `,"ignore_eos":true`), mark: done},
		{dialect: "ollama", path: "/api/chat", body: `{"model":"sim-fast","messages":` + hello + `,"options":{"num_predict":%d},"stream":%t}`, noSilent: true, mark: `"done":true`},
		{dialect: "ollama", path: "/api/generate", body: `{"model":"sim-fast:latest","raw":true,"prompt":"Say something about lakes.","options":{"num_predict":%d},"stream":%t}`, onlyText: true, noSilent: true, mark: `"done":true`},
		{dialect: "ollama", path: "/v1/chat/completions", body: chat(usage), noSilent: true, mark: done},
		{dialect: "vllm", path: "/v1/chat/completions", body: chat(usage + `,"ignore_eos":true`), mark: done},
		{dialect: "vllm", path: "/v1/completions", body: text(usage + `,"min_tokens":4096`), onlyText: true, mark: done},
		{dialect: "sglang", path: "/generate", body: `{"text":"Say something about lakes.","sampling_params":{"max_new_tokens":%d,"ignore_eos":true},"stream":%t}`, onlyText: true, mark: done},
		{dialect: "sglang", path: "/v1/chat/completions", body: chat(usage + `,"ignore_eos":true`), mark: done},
		{dialect: "trtllm", path: "/v1/chat/completions", body: chat(usage + `,"ignore_eos":true`), mark: done},
		{dialect: "tabbyapi", path: "/v1/chat/completions", body: chat(usage + `,"ban_eos_token":true`), mark: done},
		{dialect: "lmstudio", path: "/api/v0/chat/completions", body: chat(usage), mark: done},
		{dialect: "lmstudio", path: "/api/v1/chat", body: `{"model":"sim-fast","input":"Say something about lakes.","max_output_tokens":%d,"stream":%t}`, onlyText: true, mark: "event: chat.end"},
		{dialect: "mlx", path: "/v1/chat/completions", body: chat(usage), noSilent: true, mark: done},
		{dialect: "anthropic", path: "/v1/messages", body: chat(""), mark: "event: message_stop"},
		{dialect: "openai", path: "/v1/chat/completions", body: chat(usage), mark: done},
		{dialect: "openrouter", path: "/api/v1/chat/completions", body: chat(""), mark: done},
		{dialect: "together", path: "/v1/chat/completions", body: chat(usage), mark: done},
		{dialect: "fireworks", path: "/inference/v1/chat/completions", body: chat(usage + `,"ignore_eos":true,"perf_metrics_in_response":true`), mark: done},
		{dialect: "groq", path: "/openai/v1/chat/completions", body: chat(usage), mark: done},
		{dialect: "cerebras", path: "/v1/chat/completions", body: chat(`,"min_tokens":-1`), mark: done},
		{dialect: "deepseek", path: "/chat/completions", body: chat(usage), mark: done},
	}
}

func (w way) ask(n int, stream bool) string {
	body := strings.Replace(w.body, "%d", fmt.Sprint(n), 1)
	body = strings.Replace(body, "%t", fmt.Sprint(stream), 1)
	if w.path == "/v1/completions" { // its least number is more than what it may have
		body = strings.Replace(body, `"min_tokens":4096`, fmt.Sprintf(`"min_tokens":%d`, n), 1)
	}
	return body
}

// speaker starts a simulator of a dialect.
func speaker(t testing.TB, dialect, traps string) *sim.Server {
	t.Helper()
	return start(t, "fast", traps, func(o *sim.Options) { o.Dialect = dialect })
}

// send makes a request as a careful client does, with every header that any service wants.
func send(t testing.TB, s *sim.Server, method, path, body string) (*http.Response, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"Authorization": "Bearer k", "X-Api-Key": "k", "Anthropic-Version": "2023-06-01", "Accept-Encoding": "identity"} {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

// mustSend is send of what must succeed.
func mustSend(t testing.TB, s *sim.Server, method, path, body string) map[string]any {
	t.Helper()
	resp, text, err := send(t, s, method, path, body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %v, %d %s", method, path, err, resp.StatusCode, text)
	}
	var m map[string]any
	if json.Unmarshal([]byte(text), &m) != nil {
		return map[string]any{"": text}
	}
	return m
}

// objects are the JSON objects of a stream or of a whole answer. What is none, and no comment, end mark or event name, is odd.
func objects(t testing.TB, body string) (list []map[string]any, odd []string) {
	t.Helper()
	for line := range strings.SplitSeq(body, "\n") {
		line = strings.TrimRight(line, "\r")
		data, isData := strings.CutPrefix(line, "data:")
		data = strings.TrimSpace(data)
		switch {
		case line == "", line[0] == ':', strings.HasPrefix(line, "event: "), isData && data == "[DONE]":
			continue
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			odd = append(odd, line)
			continue
		}
		list = append(list, m)
	}
	return list, odd
}

// at walks into JSON: names of members, and numbers of elements.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

// said is the text of a stream in whatever dialect: content, reasoning and calls one after another.
func said(list []map[string]any) string {
	var b strings.Builder
	whole := ""
	for _, m := range list {
		if m["object"] == "response" || at(m, "result") != nil {
			continue
		}
		delta := at(m, "choices", 0, "delta")
		if delta == nil {
			delta = at(m, "choices", 0, "message")
		}
		if delta == nil {
			delta = m["message"]
		}
		for _, v := range []any{
			at(delta, "reasoning_content"), at(delta, "reasoning"), at(delta, "thinking"), at(delta, "content"), at(m, "choices", 0, "text"), m["response"], m["thinking"],
			at(delta, "tool_calls", 0, "function", "name"), at(delta, "tool_calls", 0, "function", "arguments"),
			at(m, "delta", "text"), at(m, "delta", "thinking"), at(m, "content_block", "name"), at(m, "delta", "partial_json"),
		} {
			b.WriteString(str(v))
		}
		if args, ok := at(delta, "tool_calls", 0, "function", "arguments").(map[string]any); ok { // Ollama's are an object
			fmt.Fprintf(&b, `{"path":%q,"text":%q}`, args["path"], args["text"])
		}
		if s, ok := m["content"].(string); ok { // llama-server, LM Studio
			b.WriteString(s)
		}
		if s, ok := m["text"].(string); ok && m["meta_info"] != nil { // SGLang: all so far
			whole = s
		}
	}
	return b.String() + whole
}

// trueText is what was written, and trueTokens how many tokens were in the events.
func trueText(s sim.Served) (text string, tokens int) {
	var b strings.Builder
	for _, e := range s.Events {
		b.WriteString(e.Text)
		tokens += e.Tokens
	}
	return b.String(), tokens
}

// TestDialectsSpeak asks every dialect in all its ways, streaming and not: what is said is what the log says, in valid JSON, by
// a server that does not deny what it is.
func TestDialectsSpeak(t *testing.T) {
	const n = 60 // more than the model says by itself, where it can be told not to end
	asked := map[string]bool{}
	for _, w := range ways() {
		asked[w.dialect] = true
		t.Run(w.dialect+w.path, func(t *testing.T) {
			s := speaker(t, w.dialect, "")
			for _, stream := range []bool{true, false} {
				resp, body, err := send(t, s, http.MethodPost, w.path, w.ask(n, stream))
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Fatalf("%v, %d: %s", err, resp.StatusCode, body)
				}
				if !strings.HasPrefix(resp.Header.Get("Server"), "llm-speed-sim") {
					t.Errorf("Server header %q", resp.Header.Get("Server"))
				}
				truth := last(t, s)
				if truth.OutputTokens != n || truth.Finish != "length" || truth.Ended != "complete" || truth.Stream != stream {
					t.Errorf("served %+v", truth)
				}
				list, odd := objects(t, body)
				if len(odd) > 0 {
					t.Errorf("not JSON: %q", odd)
				}
				if !stream {
					if len(list) != 1 {
						t.Errorf("%d objects in a whole answer: %s", len(list), body)
					}
					continue
				}
				if !strings.Contains(body, w.mark) {
					t.Errorf("no %q in\n%s", w.mark, body)
				}
				want, tokens := trueText(truth)
				if got := said(list); got != want || tokens != n {
					t.Errorf("said %q, %d tokens in events\nwant %q, %d", got, tokens, want, n)
				}
			}
		})
	}
	for _, d := range sim.Dialects() {
		if !asked[d.Name] && d.Name != sim.Own {
			t.Errorf("the dialect %s is not asked", d.Name)
		}
	}
}

// TestDialectTraps sets traps of the wire in all dialects.
func TestDialectTraps(t *testing.T) {
	const n = 24
	for _, tt := range []struct {
		trap, ended string
		broken      bool // what comes is cut off
		odd         int  // lines that are not JSON
		skip        func(w way) bool
		check       func(t *testing.T, w way, body string, truth sim.Served)
	}{
		{trap: "tokens-per-event=5", check: func(t *testing.T, _ way, _ string, truth sim.Served) {
			if got := len(bearing(truth)); got != 6 { // 1 + 4 x 5 + 3
				t.Errorf("%d events with text", got)
			}
		}},
		{trap: "coalesce=4,jitter=0.2"},
		{trap: "buffer=3,stall=2@5"},
		{trap: "split-json,crlf,trailing-space"},
		{trap: "split-utf8"},
		{trap: "role-first=1,comments"},
		{trap: "long-line=100000"},
		{trap: "silent-first=2,silent-tokens=2", check: func(t *testing.T, w way, _ string, truth sim.Served) {
			silent, hidden := 4, 0
			if w.noSilent {
				silent, hidden = 0, 4
			}
			if truth.Silent != silent || truth.Hidden != hidden {
				t.Errorf("%d silent, %d hidden", truth.Silent, truth.Hidden)
			}
		}},
		{trap: "reasoning=6", skip: func(w way) bool { return w.onlyText && w.path != "/api/v1/chat" && w.path != "/api/generate" }, check: func(t *testing.T, w way, body string, truth sim.Served) {
			if truth.Reasoning != 6 || !strings.Contains(body, "reasoning") && !strings.Contains(body, "thinking") {
				t.Errorf("%d reasoning tokens: %s", truth.Reasoning, body)
			}
		}},
		{trap: "tool-hold=4", skip: func(w way) bool { return w.onlyText }, check: func(t *testing.T, _ way, body string, truth sim.Served) {
			if truth.Finish != "tool_calls" || !strings.Contains(body, "write_file") {
				t.Errorf("finish %s: %s", truth.Finish, body)
			}
		}},
		{trap: "early-stop=9", ended: "early stop", check: func(t *testing.T, _ way, body string, truth sim.Served) {
			if truth.OutputTokens != 9 || strings.Contains(body, `"length"`) || strings.Contains(body, "max_tokens\"") || strings.Contains(body, `"limit"`) {
				t.Errorf("%d tokens: %s", truth.OutputTokens, body)
			}
		}},
		{trap: "error-in-stream=5", ended: "error", check: func(t *testing.T, _ way, body string, _ sim.Served) {
			if !strings.Contains(body, "simulated failure of the backend") {
				t.Error(body)
			}
		}},
		{trap: "no-done", check: func(t *testing.T, w way, body string, _ sim.Served) {
			if strings.Contains(body, w.mark) {
				t.Errorf("%q in %s", w.mark, body)
			}
		}},
		{trap: "garbage", odd: 1},
		{trap: "truncate=7", ended: "truncated", broken: true},
		{trap: "reset=7", ended: "reset", broken: true},
		{trap: "no-usage,no-timings,no-cached-field,no-token-ids"},
	} {
		t.Run(tt.trap, func(t *testing.T) {
			for _, w := range ways() {
				if tt.skip != nil && tt.skip(w) {
					continue
				}
				t.Run(w.dialect+w.path, func(t *testing.T) {
					s := speaker(t, w.dialect, tt.trap)
					resp, body, err := send(t, s, http.MethodPost, w.path, w.ask(n, true))
					if resp.StatusCode != http.StatusOK || (err != nil) != tt.broken {
						t.Fatalf("%v, %d: %s", err, resp.StatusCode, body)
					}
					truth := last(t, s)
					if want := tt.ended; truth.Ended != want && (want != "" || truth.Ended != "complete") {
						t.Errorf("ended %q, want %q", truth.Ended, want)
					}
					if tt.check != nil {
						tt.check(t, w, body, truth)
					}
					if tt.broken {
						return
					}
					list, odd := objects(t, body)
					if len(odd) != tt.odd {
						t.Errorf("not JSON: %q", odd)
					}
					if want, _ := trueText(truth); said(list) != want {
						t.Errorf("said %q\nwant %q", said(list), want)
					}
				})
			}
		})
	}
}

// TestDialectRefusals sets the trap status in all dialects, and asks for what is not there.
func TestDialectRefusals(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.dialect+w.path, func(t *testing.T) {
			s := speaker(t, w.dialect, "status=429,retry-after=7")
			resp, body, _ := send(t, s, http.MethodPost, w.path, w.ask(5, true))
			if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "7" || !strings.Contains(body, "simulated refusal") || !json.Valid([]byte(body)) {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			s.SetTraps(sim.Traps{})
			for _, bad := range []string{"", "{", "[]", `{"model":7}`, `{"messages":"x","prompt":{},"text":7,"input":7,"model":"sim-fast","max_tokens":5}`} {
				resp, body, _ := send(t, s, http.MethodPost, w.path, bad)
				if resp.StatusCode < 400 || !json.Valid([]byte(body)) {
					t.Errorf("%q: %d %s", bad, resp.StatusCode, body)
				}
			}
			if strings.Contains(w.body, `"model"`) && !slices.Contains([]string{"llamacpp", "trtllm", "tabbyapi"}, w.dialect) {
				resp, body, _ := send(t, s, http.MethodPost, w.path, strings.Replace(w.ask(5, true), "sim-fast", "nosuch", 1))
				if resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "nosuch") {
					t.Errorf("another model: %d %s", resp.StatusCode, body)
				}
			}
			if resp, body, _ := send(t, s, http.MethodGet, "/no/such/path", ""); resp.StatusCode != http.StatusNotFound || !json.Valid([]byte(body)) {
				t.Errorf("no such path: %d %s", resp.StatusCode, body)
			}
		})
	}
}

// TestKeys asks the dialects that want a key without one.
func TestKeys(t *testing.T) {
	for _, d := range sim.Dialects() {
		s := speaker(t, d.Name, "")
		for _, path := range []string{"/v1/models", d.Base + "/models"} {
			if d.Base == "" && path == "/models" {
				continue
			}
			resp, err := http.Get(s.URL() + path)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if refused := resp.StatusCode == http.StatusUnauthorized; refused != d.Key && (d.Key || resp.StatusCode != http.StatusNotFound) {
				t.Errorf("%s %s: %d without a key, which it wants: %v", d.Name, path, resp.StatusCode, d.Key)
			}
		}
		if resp, body, err := send(t, s, http.MethodGet, "/no/such/path", ""); err != nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %v %d %s where there is nothing", d.Name, err, resp.StatusCode, body)
		}
		if d.Base != "" {
			if m := mustSend(t, s, http.MethodGet, d.Base+"/models", ""); m[""] == "" {
				t.Errorf("%s: %v", d.Name, m)
			}
		}
	}
	if err := sim.KnowsDialect("nosuch"); err == nil || !strings.Contains(err.Error(), "ollama, vllm") {
		t.Errorf("error %v", err)
	}
	if _, err := sim.Start(t.Context(), sim.Options{Dialect: "nosuch"}); err == nil {
		t.Error("started with a dialect that there is not")
	}
}

// number is a JSON number as an int; -1 where there is none.
func number(v any) int {
	f, ok := v.(float64)
	if !ok {
		return -1
	}
	return int(f)
}
