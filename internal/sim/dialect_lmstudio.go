package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// lmStudio speaks as LM Studio's server: OpenAI's API, the same under /api/v0 with stats, and /api/v1 with events of its own.
// tokens_per_second has all tokens above the time from the first to the last; what the real one means by it is not documented.
func lmStudio(s *Server) *dialect {
	l := &lmState{s: s, context: s.o.Profile.Context}
	plainStyle := style{opening: `{"role":"assistant","content":""}`, each: `"system_fingerprint":"` + s.o.Profile.Model() + `",`, counts: lmUsage}
	v0 := plainStyle
	v0.last = l.stats
	models := func(*request) any { return map[string]any{"object": "list", "data": []any{l.v0Model()}} }
	return &dialect{
		natural: longAnswer, server: "Express",
		generates: []endpoint{
			{path: "/v1/chat/completions", read: l.readOpenAI, speak: openAI(plainStyle)},
			{path: "/v1/completions", read: l.readOpenAI, speak: openAI(plainStyle), fit: onlyText},
			{path: "/api/v0/chat/completions", read: l.readOpenAI, speak: openAI(v0)},
			{path: "/api/v0/completions", read: l.readOpenAI, speak: openAI(v0), fit: onlyText},
			{path: "/api/v1/chat", read: l.readV1, speak: func(c *completion) voice { return &lmVoice{sse: newSSE(c.traps), c: c} }},
		},
		refusal: func(r *refusal) []byte {
			return nestedError(&refusal{message: r.message, kind: r.kind, code: r.code, more: map[string]any{"param": nil}})
		},
		missing: func(m string) *refusal {
			return refuse(http.StatusNotFound, fmt.Sprintf("Model %q not found. Please specify a valid model identifier.", m), "invalid_request_error", "model_not_found")
		},
		overflow: func(c *completion, asked, limit int) *refusal {
			return refuse(http.StatusBadRequest, fmt.Sprintf("Trying to keep the first %d tokens when context the overflows. However, the model is loaded with context length of only %d tokens, which is not enough.", len(c.prompt), limit), "invalid_request_error", nil)
		},
		answers: []plainRoute{
			{"GET /v1/models", func(*request) any {
				return map[string]any{"object": "list", "data": []any{map[string]any{"id": s.o.Profile.Model(), "object": "model", "owned_by": "organization_owner"}}}
			}},
			{"GET /api/v0/models", models},
			{"GET /api/v0/models/" + s.o.Profile.Model(), func(*request) any { return l.v0Model() }},
			{"GET /api/v1/models", func(*request) any { return map[string]any{"models": []any{l.v1Model()}} }},
			{"POST /api/v1/models/load", l.load},
			{"POST /api/v1/models/unload", l.unload},
		},
	}
}

// lmState is what is loaded.
type lmState struct {
	s *Server

	mu      sync.Mutex
	context int // 0: nothing is
}

// ready is the loaded context, and the time to load the model where it is not.
func (l *lmState) ready(want int) (context int, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.context == 0 || want > 0 && want != l.context {
		took = time.Duration(float64(ollamaLoad) / l.s.o.Profile.Speed)
		l.context = l.s.o.Profile.Context
		if want > 0 {
			l.context = min(want, l.context)
		}
	}
	return l.context, took
}

func (l *lmState) readOpenAI(c *completion, body []byte) (err error) {
	var q openAIRequest
	if err := parse(body, &q); err != nil {
		return err
	}
	q.common(c)
	if c.tokens != nil && *c.tokens < 0 {
		c.tokens = nil
	}
	c.context, c.load = l.ready(0)
	c.clips = true
	if c.chat {
		c.prompt, err = conversation(q.Messages, q.Tools)
		return err
	}
	var text string
	if json.Unmarshal(q.Prompt, &text) != nil {
		return refuse(http.StatusBadRequest, "'prompt' field must be a string", "invalid_request_error", nil)
	}
	c.prompt = parsed(text)
	return nil
}

func (l *lmState) readV1(c *completion, body []byte) error {
	var q struct {
		Model   string          `json:"model"`
		Input   json.RawMessage `json:"input"`
		System  string          `json:"system_prompt"`
		Max     *int            `json:"max_output_tokens"`
		Context int             `json:"context_length"`
		Stream  bool            `json:"stream"`
	}
	if err := parse(body, &q); err != nil {
		return err
	}
	c.model, c.stream, c.tokens, c.chat, c.reuse, c.usage, c.clips = q.Model, q.Stream, q.Max, true, true, true, true
	if q.Model == "" || !c.dialect.knows(q.Model, c.profile) {
		return c.dialect.refuseModel(q.Model)
	}
	c.context, c.load = l.ready(q.Context)
	var text string
	if json.Unmarshal(q.Input, &text) != nil {
		var parts []struct {
			Type    string `json:"type"`
			Content string `json:"content"`
		}
		if err := parse(q.Input, &parts); err != nil {
			return err
		}
		for _, p := range parts {
			text += p.Content
		}
	}
	var m []message
	if q.System != "" {
		m = append(m, message{Role: "system", Content: jsonText(q.System)})
	}
	var err error
	c.prompt, err = conversation(append(m, message{Role: "user", Content: jsonText(text)}), nil)
	return err
}

// lmUsage never says what was cached.
func lmUsage(w *wire, s *Served) string {
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"completion_tokens_details":{"reasoning_tokens":%d}}`,
		w.prompt, s.OutputTokens, w.prompt+s.OutputTokens, s.Reasoning)
}

// stats are what the REST API's last chunk has besides.
func (l *lmState) stats(w *wire, s *Served) string {
	if w.traps.noTimings {
		return ""
	}
	stop := "maxPredictedTokensReached"
	if s.Finish != "length" {
		stop = "eosFound"
	}
	return fmt.Sprintf(`,"stats":{"tokens_per_second":%g,"time_to_first_token":%s,"generation_time":%s,"stop_reason":%q},`+
		`"model_info":{"arch":"llama","quant":"Q4_K_M","format":"gguf","context_length":%d},"runtime":{"name":"llama.cpp-linux-x86_64-avx2","version":"2.8.0","supported_formats":["gguf"]}`,
		perSecond(s.OutputTokens, s.LastToken-s.FirstToken), secs(s.FirstToken), secs(s.LastToken-s.FirstToken), stop, w.c.context)
}

// lmVoice writes the named events of /api/v1/chat.
type lmVoice struct {
	sse
	c    *completion
	kind string // of what is being said: "", reasoning or message
}

func (v *lmVoice) send(b []byte, name, members string) []byte {
	return v.named(b, name, []byte(`{"type":"`+name+`"`+members+`}`))
}

func (v *lmVoice) mark(*Served) []byte { return nil } // chat.end is the end mark
func (v *lmVoice) torn() string        { return "event: message.delta\ndata: {\"type\":\"mess" }
func (v *lmVoice) garbage() []byte {
	return v.named(nil, "message.delta", []byte(`{"type":"message.delta","cont`))
}
func (v *lmVoice) said(e event) string { return e.text }

func (v *lmVoice) failure(message string) []byte {
	return v.send(nil, "error", `,"error":{"type":"internal_error","message":"`+message+`"}`)
}

func (v *lmVoice) opening() []byte {
	b := v.send(nil, "chat.start", `,"model_instance_id":"`+v.c.served.Model+`"`)
	b = v.send(b, "prompt_processing.start", "")
	b = v.send(b, "prompt_processing.progress", `,"progress":0`)
	return b
}

func (v *lmVoice) event(b []byte, e event, pad int) []byte {
	kind := "message"
	if e.kind == kindReasoning {
		kind = "reasoning"
	}
	if v.kind == "" {
		b = v.send(v.send(b, "prompt_processing.progress", `,"progress":1`), "prompt_processing.end", "")
	}
	if kind != v.kind {
		b = v.send(v.shutPart(b), kind+".start", "")
		v.kind = kind
	}
	b = append(v.begin(b, kind+".delta"), '{')
	b = append(padding(b, pad), `"type":"`+kind+`.delta","content":`...)
	return v.shut(append(appendString(b, e.text), '}'))
}

func (v *lmVoice) shutPart(b []byte) []byte {
	if v.kind == "" {
		return b
	}
	return v.send(b, v.kind+".end", "")
}

func (v *lmVoice) ending(s *Served, _ *event) [][]byte {
	list := [][]byte{v.shutPart(nil)}
	if !v.c.traps.noDone {
		list = append(list, v.send(nil, "chat.end", `,"result":`+string(v.body(s, nil))))
	}
	return list
}

func (v *lmVoice) body(s *Served, events []event) []byte {
	var text, thought strings.Builder
	for _, e := range events {
		if e.kind == kindReasoning {
			thought.WriteString(e.text)
		} else {
			text.WriteString(e.text)
		}
	}
	var output []string
	if thought.Len() > 0 {
		output = append(output, `{"type":"reasoning","content":`+string(appendString(nil, thought.String()))+`}`)
	}
	output = append(output, `{"type":"message","content":`+string(appendString(nil, text.String()))+`}`)
	stats := ""
	if !v.c.traps.noUsage {
		stats += fmt.Sprintf(`"input_tokens":%d,"total_output_tokens":%d,"reasoning_output_tokens":%d`, s.PromptTokens+v.c.traps.wrongPromptCount, s.OutputTokens, s.Reasoning)
	}
	if !v.c.traps.noTimings {
		if stats != "" {
			stats += ","
		}
		stats += `"tokens_per_second":` + strconv.FormatFloat(perSecond(s.OutputTokens, s.LastToken-s.FirstToken), 'g', -1, 64) + `,"time_to_first_token_seconds":` + secs(s.FirstToken)
		if s.Load > 0 {
			stats += `,"model_load_time_seconds":` + secs(s.Load)
		}
	}
	return []byte(`{"model_instance_id":"` + s.Model + `","output":[` + strings.Join(output, ",") + `],"stats":{` + stats + `}}`)
}

func (l *lmState) v0Model() any {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.s.o.Profile
	m := map[string]any{"id": p.Model(), "object": "model", "type": "llm", "publisher": "simulated", "arch": "llama", "compatibility_type": "gguf",
		"quantization": "Q4_K_M", "state": "not-loaded", "max_context_length": p.Context}
	if l.context > 0 {
		m["state"], m["loaded_context_length"] = "loaded", l.context
	}
	return m
}

func (l *lmState) v1Model() any {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.s.o.Profile
	instances := []any{}
	if l.context > 0 {
		instances = append(instances, map[string]any{"id": p.Model(), "config": l.config()})
	}
	return map[string]any{"type": "llm", "publisher": "simulated", "key": p.Model(), "display_name": p.Title, "architecture": "llama", "format": "gguf",
		"quantization": map[string]any{"name": "Q4_K_M", "bits_per_weight": 4}, "size_bytes": int64(4912898304), "params_string": "8B", "max_context_length": p.Context,
		"loaded_instances": instances, "capabilities": map[string]bool{"vision": false, "trained_for_tool_use": true}}
}

func (l *lmState) config() any {
	return map[string]any{"context_length": l.context, "eval_batch_size": 512, "parallel": l.s.slots(), "flash_attention": true, "offload_kv_cache_to_gpu": true}
}

func (l *lmState) load(r *request) any {
	var q struct {
		Model   string `json:"model"`
		Context int    `json:"context_length"`
		Echo    bool   `json:"echo_load_config"`
	}
	if err := parse(r.body, &q); err != nil {
		return refused(err)
	}
	if d := l.s.dialect; q.Model == "" || !d.knows(q.Model, l.s.o.Profile) {
		return d.refuseModel(q.Model)
	}
	_, took := l.ready(q.Context)
	time.Sleep(took)
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]any{"type": "llm", "instance_id": l.s.o.Profile.Model(), "load_time_seconds": took.Seconds(), "status": "loaded"}
	if q.Echo {
		out["load_config"] = l.config()
	}
	return out
}

func (l *lmState) unload(r *request) any {
	var q struct {
		Instance string `json:"instance_id"`
	}
	if err := parse(r.body, &q); err != nil {
		return refused(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.context = 0
	return map[string]string{"instance_id": q.Instance}
}
