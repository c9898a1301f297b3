package sim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/sim"
)

// kept is a connection that is used for several requests.
type kept struct{ net.Conn }

func dial(t *testing.T, s *sim.Server) kept {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return kept{c}
}

func (c kept) send(t *testing.T, body []byte) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		t.Fatal(err)
	}
}

func (c kept) readAnswer(t *testing.T) {
	t.Helper()
	var all []byte
	buf := make([]byte, 4096)
	for !bytes.HasSuffix(all, []byte("\r\n0\r\n\r\n")) {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, all)
		}
		all = append(all, buf[:n]...)
	}
}

func call(t *testing.T, s *sim.Server, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, s.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestPrefixCache(t *testing.T) {
	for _, tt := range []struct {
		name  string
		block int
		traps string
		cold  bool
		want  func(first, second sim.Served, total int) int
	}{
		{"shared prefix", 0, "", false, func(a, b sim.Served, _ int) int { return a.PromptTokens - 6 }}, // all but <|im_end|> \n <|im_start|> assist ant \n
		{"whole blocks", 16, "", false, func(a, b sim.Served, _ int) int { return (a.PromptTokens - 6) / 16 * 16 }},
		{"told not to", 0, "", true, func(_, _ sim.Served, _ int) int { return 0 }},
		{"told not to but does", 0, "keep-cache", true, func(a, b sim.Served, _ int) int { return a.PromptTokens - 6 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, "fast", tt.traps, func(o *sim.Options) { o.CacheBlock = tt.block })
			more := map[string]any{"cache_prompt": !tt.cold}
			g1 := post(t, s, "/v1/chat/completions", ask{words: 300, max: 4, stream: true, more: more}.body(t))
			first := last(t, s)
			g2 := post(t, s, "/v1/chat/completions", ask{words: 400, max: 4, stream: true, more: more}.body(t))
			second := last(t, s)
			want := tt.want(first, second, second.PromptTokens)
			if first.CachedTokens != 0 || second.CachedTokens != want {
				t.Errorf("cached %d, then %d of %d, want %d", first.CachedTokens, second.CachedTokens, second.PromptTokens, want)
			}
			list, _ := events(g2.body())
			if u := usageOf(list); *u.Usage.Details.Cached != want || *u.Timings.CacheN != want || u.Timings.PromptN != second.PromptTokens-want {
				t.Errorf("states %d cached, timings %+v", *u.Usage.Details.Cached, u.Timings)
			}
			if ttft := s.Profile().TTFT(second.PromptTokens, want); !near(second.FirstToken, ttft, 2) {
				t.Errorf("first token after %v, want %v", second.FirstToken, ttft)
			}
			c := s.CacheStats()
			if queried := int64(first.PromptTokens + second.PromptTokens); tt.cold && tt.traps == "" {
				if c.QueriedTokens != 0 || c.Entries != 0 {
					t.Errorf("a cache that was not to be used: %+v", c)
				}
			} else if c.QueriedTokens != queried || c.HitTokens != int64(want) {
				t.Errorf("counters %+v, want %d queried, %d hit", c, queried, want)
			}
			_ = g1
		})
	}
}

func TestCacheKeepsAConversation(t *testing.T) {
	s := start(t, "fast", "")
	one := []any{map[string]any{"role": "system", "content": "be brief"}, map[string]any{"role": "user", "content": "hello there" + strings.Repeat(" again", 50)}}
	tools := []any{map[string]any{"type": "function", "function": map[string]any{"name": "read"}}}
	g := post(t, s, "/v1/chat/completions", ask{max: 30, stream: true, more: map[string]any{"messages": one, "tools": tools}}.body(t))
	list, _ := events(g.body())
	reply, _, _ := text(list)
	first := last(t, s)
	two := append(one, map[string]any{"role": "assistant", "content": reply}, map[string]any{"role": "user", "content": "and then"})
	post(t, s, "/v1/chat/completions", ask{max: 3, stream: true, more: map[string]any{"messages": two, "tools": tools}}.body(t))
	if l := last(t, s); l.CachedTokens != first.PromptTokens+30 {
		t.Errorf("%d of %d tokens cached, want the first prompt and its whole reply, %d", l.CachedTokens, l.PromptTokens, first.PromptTokens+30)
	}
	// The very same prompt: at least one token is evaluated again.
	post(t, s, "/v1/chat/completions", ask{max: 3, stream: true, more: map[string]any{"messages": two, "tools": tools}}.body(t))
	if l := last(t, s); l.CachedTokens != l.PromptTokens-1 {
		t.Errorf("%d of %d cached for the same prompt", l.CachedTokens, l.PromptTokens)
	}
	s.FlushCache()
	post(t, s, "/v1/chat/completions", ask{max: 3, stream: true, more: map[string]any{"messages": two, "tools": tools}}.body(t))
	if l := last(t, s); l.CachedTokens != 0 {
		t.Errorf("%d cached after the flush", l.CachedTokens)
	}
}

func TestSlotsQueue(t *testing.T) {
	s := start(t, "fast", "slots=1")
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			post(t, s, "/v1/chat/completions", ask{words: 5, salt: fmt.Sprint(i), max: 60, stream: true}.body(t))
		})
	}
	wg.Wait()
	log := s.Log()
	for i := 1; i < len(log); i++ {
		before, now := log[i-1], log[i]
		free := before.Received + before.LastToken
		if start := now.Received + now.PrefillStart; !near(start, free, 2) {
			t.Errorf("request %d starts at %v, the slot is free at %v", i, start, free)
		}
		if now.Batch > 1 {
			t.Errorf("batch of %d in one slot", now.Batch)
		}
	}
}

func TestPrefillsGoOneAfterAnother(t *testing.T) {
	s := start(t, "fast", "")
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			post(t, s, "/v1/chat/completions", ask{words: 4000, salt: fmt.Sprint("s", i), max: 5, stream: true}.body(t))
		})
	}
	wg.Wait()
	free := time.Duration(0)
	for _, l := range s.Log() {
		start, end := l.Received+l.PrefillStart, l.Received+l.PrefillEnd
		if want := max(l.Received, free); !near(start, want, 2) {
			t.Errorf("prefill of %d starts at %v, want %v", l.ID, start, want)
		}
		if !near(end-start, s.Profile().Prefill(l.PromptTokens, l.CachedTokens), 2) {
			t.Errorf("prefill of %d takes %v", l.ID, end-start)
		}
		free = end
	}
}

func TestClientGoneFreesTheSlot(t *testing.T) {
	s := start(t, "rtx4090-8b-q4", "slots=1")
	c := dial(t, s)
	c.send(t, ask{words: 5, max: 2000, stream: true}.body(t))
	if _, err := c.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if a := s.Activity(); a.Running != 1 || a.Waiting != 0 {
		t.Errorf("activity %+v", a)
	}
	_ = c.Close()
	l := last(t, s)
	if l.Ended != "client gone" {
		t.Errorf("ended %q", l.Ended)
	}
	post(t, s, "/v1/chat/completions", ask{words: 5, max: 2, stream: true}.body(t))
	if l := last(t, s); l.PrefillStart > 2 {
		t.Errorf("waited %v for a slot that was free", l.PrefillStart)
	}
}

func TestErrorsAndEndpoints(t *testing.T) {
	s := start(t, "fast", "", func(o *sim.Options) { o.Context = 500 })
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/health", "", 200, `"ok"`},
		{"GET", "/v1/models", "", 200, `"sim-fast"`},
		{"GET", "/props", "", 200, `"simulated":true`},
		{"GET", "/sim/activity", "", 200, `{"running":0,"waiting":0}`},
		{"GET", "/metrics", "", 200, "sim:prefix_cache_queries_total{model_name=\"sim-fast\"} 0\n"},
		{"GET", "/nothing", "", 404, "no such endpoint"},
		{"POST", "/tokenize", `{"content":"hello there, extraordinary world"}`, 200, `"count":7`}, // hello| there|,| extrao|rdinar|y| world
		{"POST", "/tokenize", `{"messages":[{"role":"user","content":"hi"}]}`, 200, `"count":10`},
		{"POST", "/tokenize", `{`, 400, "unexpected end"},
		{"POST", "/apply-template", `{"messages":[{"role":"user","content":"hi"}]}`, 200, `"\u003c|im_start|\u003euser\nhi\u003c|im_end|\u003e\n\u003c|im_start|\u003eassistant\n"`},
		{"POST", "/v1/chat/completions", `{`, 400, "invalid_request_error"},
		{"POST", "/v1/chat/completions", `{"messages":[]}`, 400, "messages is empty"},
		{"POST", "/v1/chat/completions", `{"messages":[{"role":"boss","content":"x"}]}`, 400, "unknown role"},
		{"POST", "/v1/chat/completions", `{"model":"gpt","messages":[{"role":"user","content":"x"}]}`, 404, `"model_not_found"`},
		{"POST", "/v1/chat/completions", `{"max_tokens":495,"messages":[{"role":"user","content":"x"}]}`, 400, "exceed_context_size_error"},
		{"POST", "/v1/chat/completions", `{"model":"sim-fast","max_tokens":3,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`, 200, `"completion_tokens":3`},
		{"POST", "/v1/completions", `{"prompt":"once upon","max_tokens":3}`, 200, `"prompt_tokens":2`},
		{"POST", "/v1/completions", `{"prompt":[1,2,3,4],"max_tokens":3}`, 200, `"prompt_tokens":4`},
		{"POST", "/v1/completions", `{"prompt":[1,2],"max_tokens":2,"stream":true}`, 200, `"text":"`},
		{"POST", "/v1/completions", `{"prompt":{},"max_tokens":2}`, 400, "neither text nor a list"},
	} {
		status, body := call(t, s, tt.method, tt.path, tt.body)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s %s: %d %s", tt.method, tt.path, tt.body, status, body)
		}
	}
	n := len(s.Log())
	var log []sim.Served
	if _, body := call(t, s, "GET", "/sim/log", ""); json.Unmarshal([]byte(body), &log) != nil || len(log) != n || n != 10 {
		t.Errorf("%d requests in the log over HTTP, %d in process", len(log), n)
	}
	call(t, s, "DELETE", "/sim/log", "")
	if len(s.Log()) != 0 {
		t.Error("log not cleared")
	}
	if status, body := call(t, s, "PUT", "/sim/traps", "no-tokenize,nope"); status != 400 || !strings.Contains(body, "known:") {
		t.Errorf("%d %s", status, body)
	}
	call(t, s, "PUT", "/sim/traps", "no-tokenize")
	if status, _ := call(t, s, "POST", "/tokenize", `{"content":"x"}`); status != 404 {
		t.Errorf("no-tokenize: %d", status)
	}
	call(t, s, "PUT", "/sim/traps", "tokenize-drift=10")
	if _, body := call(t, s, "POST", "/tokenize", `{"content":"`+strings.Repeat(" word", 100)+`"}`); !strings.Contains(body, `"count":90`) {
		t.Errorf("tokenize-drift: %s", body)
	}
}

func TestCountCached(t *testing.T) {
	s := start(t, "fast", "count-cached")
	post(t, s, "/v1/chat/completions", ask{words: 300, max: 4, stream: true}.body(t))
	g := post(t, s, "/v1/chat/completions", ask{words: 300, max: 4, stream: true}.body(t))
	list, _ := events(g.body())
	if u, l := usageOf(list), last(t, s); u.Timings.PromptN != l.PromptTokens || l.CachedTokens != l.PromptTokens-1 || u.Timings.PromptMS > 0.5 {
		t.Errorf("timings %+v of %+v", u.Timings, l)
	}
}

func TestOnlyLoopback(t *testing.T) {
	if s, err := sim.Start(context.Background(), sim.Options{Addr: "0.0.0.0:0"}); err == nil {
		_ = s.Close()
		t.Error("listens everywhere")
	}
}

func TestContextEndsTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s, err := sim.Start(ctx, sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s)
	c.send(t, ask{words: 5, max: 5000, stream: true}.body(t))
	if _, err := c.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error("the stream went on")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if l := s.Log(); len(l) != 1 || l[0].Ended != "server closed" {
		t.Errorf("log %+v", l)
	}
}

func TestLogLines(t *testing.T) {
	var b syncBuffer
	s := start(t, "fast", "", func(o *sim.Options) { o.Log = &b })
	for range 2 {
		post(t, s, "/v1/chat/completions", ask{words: 5, max: 3, stream: true}.body(t))
	}
	_ = s.Close()
	d := json.NewDecoder(strings.NewReader(b.String()))
	for i := range 2 {
		var l sim.Served
		if err := d.Decode(&l); err != nil || l.OutputTokens != 3 || len(l.Events) != 7 {
			t.Errorf("line %d: %+v, %v", i, l, err)
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
