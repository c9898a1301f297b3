package anthropic

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
)

func config(url string) drivers.Config {
	return drivers.Config{URL: url, Model: "m", APIKey: drivers.NewSecret("sk-ant-secret"), Clock: clock.New(), Env: func(string) string { return "" }, Log: func(string, ...any) {}}
}

// sent gives the fields of a request as it would be written.
func sent(t *testing.T, s *session, r drivers.Request) map[string]any {
	t.Helper()
	b, err := s.encode(r)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

func talk() drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{
		{Role: "system", Content: "Be brief."}, {Role: "user", Content: "One"}, {Role: "user", Content: " "}, {Role: "user", Content: "Two"},
		{Role: "assistant", Content: "I look.", ToolCalls: []chat.ToolCall{{ID: "a", Name: "read", Arguments: json.RawMessage(`{"x":1}`)}, {ID: "b", Name: "list"}}},
		{Role: "tool", ToolCallID: "a", Content: "A"}, {Role: "tool", ToolCallID: "b", Content: "B"}, {Role: "user", Content: "Three"},
	}, Tools: []chat.Tool{{Name: "list"}}}
}

// TestTurns: roles alternate, results of tools come in one user turn right after their calls, and empty text is left out.
func TestTurns(t *testing.T) {
	s := &session{model: "m", dropped: map[string]bool{}}
	got := sent(t, s, drivers.Request{Prompt: talk(), OutputTokens: 10})
	want := []any{
		map[string]any{"role": "user", "content": []any{map[string]any{"type": "text", "text": "One"}, map[string]any{"type": "text", "text": "Two"}}},
		map[string]any{"role": "assistant", "content": []any{map[string]any{"type": "text", "text": "I look."},
			map[string]any{"type": "tool_use", "id": "a", "name": "read", "input": map[string]any{"x": 1.0}}, map[string]any{"type": "tool_use", "id": "b", "name": "list", "input": map[string]any{}}}},
		map[string]any{"role": "user", "content": []any{map[string]any{"type": "tool_result", "tool_use_id": "a", "content": "A"}, map[string]any{"type": "tool_result", "tool_use_id": "b", "content": "B"}, map[string]any{"type": "text", "text": "Three"}}},
	}
	if diff := cmp.Diff(want, got["messages"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{map[string]any{"name": "list", "input_schema": map[string]any{"type": "object", "properties": map[string]any{}}}}, got["tools"]); diff != "" {
		t.Error(diff)
	}
}

// TestCacheMarks: one mark at the end of a prompt that is to be reused, none anywhere in a cold one.
func TestCacheMarks(t *testing.T) {
	s := &session{model: "m", dropped: map[string]bool{}}
	for _, reuse := range []bool{true, false} {
		b, err := s.encode(drivers.Request{Prompt: talk(), OutputTokens: 10, Reuse: reuse})
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), "cache_control"); reuse && (n != 1 || !strings.Contains(string(b), `"text":"Three","cache_control":{"type":"ephemeral"}`)) || !reuse && n != 0 {
			t.Errorf("reuse %v: %d marks in %s", reuse, n, b)
		}
	}
}

func TestThinking(t *testing.T) {
	s := &session{model: "m", dropped: map[string]bool{}}
	on := sent(t, s, drivers.Request{Prompt: talk(), OutputTokens: 4000, Reasoning: "on"})
	if _, has := on["temperature"]; has || on["thinking"].(map[string]any)["budget_tokens"] != 2000.0 {
		t.Errorf("on: %v, %v", on["thinking"], on["temperature"])
	}
	if off := sent(t, s, drivers.Request{Prompt: talk(), OutputTokens: 100, Reasoning: "off"}); off["thinking"].(map[string]any)["type"] != "disabled" {
		t.Errorf("off: %v", off["thinking"])
	}
	if _, has := sent(t, s, drivers.Request{Prompt: talk(), OutputTokens: 100})["thinking"]; has {
		t.Error("thinking is said something about though nobody asked")
	}
	if _, err := s.encode(drivers.Request{Prompt: talk(), OutputTokens: 1024, Reasoning: "on"}); !errors.Is(err, drivers.ErrUnsupported) {
		t.Errorf("no room for an answer: %v", err)
	}
}

func TestAdapt(t *testing.T) {
	s := &session{model: "m", dropped: map[string]bool{}}
	refusal := &drivers.APIError{Kind: drivers.ErrBadRequest, Status: 400, Message: "`temperature` is deprecated for this model."}
	if changed, ok := s.Adapt(refusal); !ok || changed != "no temperature" {
		t.Errorf("%q, %v", changed, ok)
	}
	if _, has := sent(t, s, drivers.Request{Prompt: talk(), OutputTokens: 100})["temperature"]; has {
		t.Error("temperature is still sent")
	}
	if _, ok := s.Adapt(refusal); ok {
		t.Error("the same refusal changes something twice")
	}
	if _, ok := s.Adapt(&drivers.APIError{Kind: drivers.ErrBadRequest, Status: 400, Message: "max_tokens: required"}); ok {
		t.Error("what is needed was left out")
	}
}

func TestOpen(t *testing.T) {
	models := drivertest.JSON(`{"data":[{"id":"claude-x-5"},{"id":"claude-y-4"}]}`)
	for _, c := range []struct {
		name, model string
		want        error
		says        string
	}{
		{"listed", "claude-x-5", nil, ""}, {"an alias", "claude-y-latest", nil, ""},
		{"no model", "", drivers.ErrNoModel, "claude-x-5, claude-y-4"}, {"a wrong one", "claude-x-6", drivers.ErrModelNotFound, "did you mean claude-x-5"},
		{"a path", "../keys", drivers.ErrModelNotFound, ""},
	} {
		srv := drivertest.NewServer(t, map[string]drivertest.Script{"GET /v1/models": models, "GET /v1/models/claude-y-latest": drivertest.JSON(`{"id":"claude-y-4"}`)})
		cfg := config(srv.URL + "/v1")
		cfg.Model = c.model
		s, err := Spec().Open(t.Context(), cfg, drivers.Need{})
		if c.want == nil && err != nil || c.want != nil && (!errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			continue
		}
		r := srv.Requests("GET /v1/models")[0]
		if r.Header.Get("X-Api-Key") != "sk-ant-secret" || r.Header.Get("Anthropic-Version") != version || r.Header.Get("Authorization") != "" {
			t.Errorf("%s: headers %v", c.name, r.Header)
		}
		if i := s.Info(); i.Price != nil || i.IgnoresEOS || !i.ColdAsked || i.ContextMax != 200000 {
			t.Errorf("%s: %+v", c.name, i)
		}
		_ = s.Close()
	}
	cfg := config("")
	cfg.APIKey = drivers.Secret{}
	if _, err := Spec().Open(t.Context(), cfg, drivers.Need{}); !errors.Is(err, drivers.ErrAuth) || !strings.Contains(err.Error(), keyName) {
		t.Errorf("no key: %v", err)
	}
}

func TestDetect(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // any call would fail
	for _, c := range []struct {
		name, url, key string
		found, usable  bool
	}{
		{"no key", "", "", false, false}, {"a key", "", "k", true, true}, {"another's URL", "http://127.0.0.1:1", "k", false, false},
		{"its URL, no key", "https://api.anthropic.com/v1", "", true, false}, {"its URL, not reached", "https://api.anthropic.com", "k", true, false},
	} {
		cfg := config(c.url)
		cfg.APIKey = drivers.Secret{}
		cfg.Env = func(n string) string { return map[string]string{keyName: c.key}[n] }
		found, err := Spec().Detect(ctx, cfg)
		if err != nil || (len(found) == 1) != c.found || c.found && found[0].Usable != c.usable {
			t.Errorf("%s: %+v, %v", c.name, found, err)
		}
	}
}

func TestCountTokens(t *testing.T) {
	srv := drivertest.NewServer(t, map[string]drivertest.Script{
		"GET /v1/models": drivertest.JSON(`{"data":[{"id":"m"}]}`), "POST /v1/messages/count_tokens": drivertest.JSON(`{"input_tokens":403}`),
	})
	s, err := Spec().Open(t.Context(), config(srv.URL), drivers.Need{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	count := drivers.CapsOf(s).Counter
	if n, err := count.CountTokens(t.Context(), talk()); err != nil || n != 403 {
		t.Errorf("%d, %v", n, err)
	}
	body := string(srv.Requests("POST /v1/messages/count_tokens")[0].Body)
	if !strings.Contains(body, `"model":"m"`) || strings.Contains(body, "max_tokens") || strings.Contains(body, "stream") {
		t.Errorf("asked with %s", body)
	}
	srv.Play("POST /v1/messages/count_tokens", drivertest.JSON(`{}`))
	if n, err := count.CountTokens(t.Context(), talk()); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("no count: %d, %v", n, err)
	}
}

func TestPace(t *testing.T) {
	srv := drivertest.NewServer(t, map[string]drivertest.Script{
		"GET /v1/models": drivertest.JSON(`{"data":[{"id":"m"}]}`),
		"POST /v1/messages": {Status: 529, Header: map[string]string{"Content-Type": "application/json", "Retry-After": "21"},
			Writes: []string{`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`}},
	})
	s, err := Spec().Open(t.Context(), config(srv.URL), drivers.Need{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rec, err := s.Stream(t.Context(), drivers.Request{Prompt: talk(), OutputTokens: 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Decode(rec); !errors.Is(err, drivers.ErrOverloaded) {
		t.Error(err)
	}
	if wait, why := drivers.CapsOf(s).Pacer.Pace(1, 1, 1); wait < 15*time.Second || wait > 21*time.Second || !strings.Contains(why, "529") {
		t.Errorf("%v, %s", wait, why)
	}
}
