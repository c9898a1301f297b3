package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ollama speaks as Ollama 0.33, in which a llama-server does the work: eval_duration runs from the first token to the last
// and eval_count counts both; prompt_eval_count is the whole prompt and prompt_eval_duration that of its uncached part; how
// much was cached is not told. A model has to be loaded, and is loaded anew for another num_ctx.
func ollama(s *Server) *dialect {
	o := &ollamaState{s: s}
	v1 := style{each: `"system_fingerprint":"fp_ollama",`, roleEach: true, opening: "none", reasoning: "reasoning", counts: func(w *wire, s *Served) string {
		return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, w.prompt, s.OutputTokens, w.prompt+s.OutputTokens)
	}}
	return &dialect{
		natural: longAnswer,
		always:  func(t *Traps) { t.silentHidden = true }, // what yields no text has no line
		model:   func(p Profile) string { return p.Model() + ":latest" },
		missing: func(m string) *refusal {
			return refuse(http.StatusNotFound, fmt.Sprintf("model '%s' not found", m), "", nil)
		},
		overflow: func(*completion, int, int) *refusal {
			return refuse(http.StatusBadRequest, "the input length exceeds the context length", "", nil)
		},
		generates: []endpoint{
			{path: "/api/generate", read: o.readGenerate, speak: speakOllama},
			{path: "/api/chat", read: o.readChat, speak: speakOllama},
			{path: "/v1/chat/completions", read: o.readV1, speak: openAI(v1)},
			{path: "/v1/completions", read: o.readV1, speak: openAI(v1), fit: onlyText},
		},
		refusal: func(r *refusal) []byte {
			b, err := json.Marshal(map[string]string{"error": r.message})
			if err != nil {
				return nil
			}
			return b
		},
		answers: []plainRoute{
			{"GET ", func(*request) any { return reply{kind: "text/plain; charset=utf-8", text: "Ollama is running"} }},
			{"HEAD ", func(*request) any { return reply{kind: "text/plain; charset=utf-8"} }},
			{"GET /api/version", func(*request) any { return map[string]string{"version": "0.33.2"} }},
			{"GET /api/tags", func(*request) any { return map[string]any{"models": []any{o.listed()}} }},
			{"POST /api/show", o.show},
			{"GET /api/ps", func(*request) any { return o.running() }},
			{"GET /v1/models", func(*request) any {
				return map[string]any{"object": "list", "data": []any{map[string]any{
					"id": s.dialect.modelID(s.o.Profile), "object": "model", "created": s.origin.Unix(), "owned_by": "library"}}}
			}},
		},
	}
}

// ollamaState is what is loaded.
type ollamaState struct {
	s *Server

	mu      sync.Mutex
	context int // of the loaded model; 0: none is
	options string
	until   time.Time
	calls   int
}

// The figures of the simulated model: a file of blobs that exists nowhere.
const (
	ollamaBlob     = "5113e5113e5113e5113e5113e5113e5113e5113e5113e5113e5113e5113e5113"
	ollamaManifest = "51d351d351d351d351d351d351d351d351d351d351d351d351d351d351d351d3"
	ollamaContext  = 4096 // num_ctx where nothing says otherwise
	ollamaLoad     = 300 * time.Millisecond
	ollamaReady    = 1500 * time.Microsecond // load_duration of a model that is loaded
)

// ollamaRequest is what of the two native requests is understood.
type ollamaRequest struct {
	Model     string            `json:"model"`
	Prompt    json.RawMessage   `json:"prompt"`
	System    string            `json:"system"`
	Raw       bool              `json:"raw"`
	Messages  []message         `json:"messages"`
	Tools     []json.RawMessage `json:"tools"`
	Stream    *bool             `json:"stream"`   // absent is true
	Truncate  *bool             `json:"truncate"` // likewise
	Shift     *bool             `json:"shift"`    // likewise
	KeepAlive json.RawMessage   `json:"keep_alive"`
	Debug     bool              `json:"_debug_render_only"`
	Options   struct {
		Predict *int            `json:"num_predict"`
		Context int             `json:"num_ctx"`
		Seed    *int64          `json:"seed"`
		Batch   json.RawMessage `json:"num_batch"`
		GPU     json.RawMessage `json:"num_gpu"`
		Main    json.RawMessage `json:"main_gpu"`
		Threads json.RawMessage `json:"num_thread"`
		Map     json.RawMessage `json:"use_mmap"`
	} `json:"options"`
}

// load makes the model ready as a request wants it and says how long that takes: no time where it is already.
func (o *ollamaState) load(q *ollamaRequest) (context int, took time.Duration) {
	most := o.s.o.Profile.Context
	context = q.Options.Context
	if context <= 0 {
		context = ollamaContext
	}
	context = min(context, most)
	options := fmt.Sprintf("%d %s %s %s %s %s", context, q.Options.Batch, q.Options.GPU, q.Options.Main, q.Options.Threads, q.Options.Map)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls++
	if o.context == 0 || o.options != options || time.Now().After(o.until) {
		took = time.Duration(float64(ollamaLoad) / o.s.o.Profile.Speed)
	}
	o.context, o.options = context, options
	o.keep(q.KeepAlive)
	return context, took
}

// keep takes keep_alive: seconds, or a duration as Go writes it; below 0 is for ever, 0 unloads.
func (o *ollamaState) keep(raw json.RawMessage) {
	d := 5 * time.Minute
	var secs float64
	var text string
	switch {
	case len(raw) == 0 || string(raw) == "null":
	case json.Unmarshal(raw, &secs) == nil:
		d = time.Duration(secs * float64(time.Second))
	case json.Unmarshal(raw, &text) == nil:
		if p, err := time.ParseDuration(text); err == nil {
			d = p
		}
	}
	switch {
	case d < 0:
		d = 1e6 * time.Hour
	case d == 0:
		o.context = 0
	}
	o.until = time.Now().Add(d)
}

func (o *ollamaState) readGenerate(c *completion, body []byte) error {
	q, err := o.read(c, body)
	if err != nil {
		return err
	}
	var text string
	if len(q.Prompt) > 0 {
		if err := json.Unmarshal(q.Prompt, &text); err != nil {
			return refuse(http.StatusBadRequest, "json: cannot unmarshal into Go struct field GenerateRequest.prompt of type string", "", nil)
		}
	}
	if text == "" && q.System == "" {
		return o.onlyLoad(c, q)
	}
	c.raw = q.Raw
	if q.Raw {
		c.prompt = parsed(text)
	} else {
		var m []message
		if q.System != "" {
			m = append(m, message{Role: "system", Content: jsonText(q.System)})
		}
		if c.prompt, err = conversation(append(m, message{Role: "user", Content: jsonText(text)}), nil); err != nil {
			return err
		}
	}
	return o.fit(c, q)
}

func jsonText(s string) json.RawMessage { return json.RawMessage(appendString(nil, s)) }

func (o *ollamaState) readChat(c *completion, body []byte) error {
	q, err := o.read(c, body)
	if err != nil {
		return err
	}
	c.chat = true
	if len(q.Messages) == 0 {
		return o.onlyLoad(c, q)
	}
	if q.Debug {
		text, err := rendered(q.Messages, q.Tools)
		if err != nil {
			return err
		}
		return c.answer(map[string]any{"model": q.Model, "created_at": stamp(c), "_debug_info": map[string]any{"rendered_template": text}})
	}
	if c.prompt, err = conversation(q.Messages, q.Tools); err != nil {
		return err
	}
	return o.fit(c, q)
}

func (o *ollamaState) read(c *completion, body []byte) (*ollamaRequest, error) {
	var q ollamaRequest
	if err := parse(body, &q); err != nil {
		return nil, err
	}
	c.model, c.reuse, c.stream = q.Model, true, q.Stream == nil || *q.Stream
	if q.Model == "" || !c.dialect.knows(q.Model, c.profile) {
		return nil, c.dialect.refuseModel(q.Model)
	}
	c.served.Model = q.Model
	for _, m := range q.Messages {
		for _, call := range m.ToolCalls {
			if a := call.Function.Arguments; len(a) > 0 && a[0] != '{' {
				return nil, refuse(http.StatusBadRequest, "json: cannot unmarshal string into Go struct field .messages.tool_calls.function.arguments of type api.ToolCallFunctionArguments", "", nil)
			}
		}
	}
	if n := q.Options.Predict; n != nil && *n > 0 {
		c.tokens = n
	}
	if n := q.Options.Seed; n != nil {
		u := uint64(*n)
		c.seed = &u
	}
	return &q, nil
}

// fit loads the model, and takes away what of the prompt has no room, where that may be.
func (o *ollamaState) fit(c *completion, q *ollamaRequest) error {
	c.context, c.load = o.load(q)
	c.clips = true
	if len(c.prompt) >= c.context && (q.Truncate == nil || *q.Truncate) {
		keep := max(c.context/2, 1)
		first := min(4, keep-1)
		c.prompt = append(slices.Clone(c.prompt[:first]), c.prompt[len(c.prompt)-keep+first:]...)
	}
	return nil
}

// onlyLoad answers a request without a prompt, which loads or unloads.
func (o *ollamaState) onlyLoad(c *completion, q *ollamaRequest) error {
	why := "load"
	if _, took := o.load(q); string(q.KeepAlive) == "0" || string(q.KeepAlive) == `"0"` || string(q.KeepAlive) == `"0s"` {
		why = "unload"
	} else {
		time.Sleep(took)
	}
	m := map[string]any{"model": q.Model, "created_at": stamp(c), "done": true, "done_reason": why}
	if c.chat {
		m["message"] = map[string]string{"role": "assistant", "content": ""}
	} else {
		m["response"] = ""
	}
	return c.answer(m)
}

func (o *ollamaState) readV1(c *completion, body []byte) error {
	var q openAIRequest
	if err := parse(body, &q); err != nil {
		return err
	}
	q.common(c)
	var err error
	if c.chat {
		c.prompt, err = conversation(q.Messages, q.Tools)
	} else {
		var text string
		if json.Unmarshal(q.Prompt, &text) != nil {
			return errors.New("json: cannot unmarshal array into Go struct field CompletionRequest.prompt of type string")
		}
		c.prompt, err = conversation([]message{{Role: "user", Content: jsonText(text)}}, nil) // it applies the template
	}
	if err != nil {
		return err
	}
	return o.fit(c, &ollamaRequest{})
}

// stamp is the time of a line.
func stamp(c *completion) string { return time.Unix(c.created, 0).UTC().Format(time.RFC3339Nano) }

// ollamaVoice writes both native streams.
type ollamaVoice struct {
	lines
	c    *completion
	open string
}

func speakOllama(c *completion) voice {
	return &ollamaVoice{lines: newLines(c.traps), c: c, open: `{"model":"` + c.served.Model + `","created_at":"` + stamp(c) + `",`}
}

func (v *ollamaVoice) opening() []byte                 { return nil }
func (v *ollamaVoice) ending(*Served, *event) [][]byte { return nil }
func (v *ollamaVoice) mark(s *Served) []byte           { return append(v.done(s, ""), v.eol...) }
func (v *ollamaVoice) failure(message string) []byte {
	return []byte(`{"error":"` + message + `"}` + v.eol)
}

func (v *ollamaVoice) said(e event) string {
	if v.c.chat && e.kind == kindTool {
		return toolName + toolArguments(e.text)
	}
	return e.text
}

func (v *ollamaVoice) event(b []byte, e event, pad int) []byte {
	b = padding(append(b, v.open...), pad)
	b = v.say(b, e)
	return append(append(b, `,"done":false}`...), v.eol...)
}

// say appends the members that hold an event's text.
func (v *ollamaVoice) say(b []byte, e event) []byte {
	if !v.c.chat {
		if e.kind == kindReasoning {
			return appendString(append(b, `"response":"","thinking":`...), e.text)
		}
		return appendString(append(b, `"response":`...), e.text)
	}
	b = append(b, `"message":{"role":"assistant","content":`...)
	switch e.kind {
	case kindReasoning:
		b = appendString(append(b, `"","thinking":`...), e.text)
	case kindTool:
		b = append(b, `"","tool_calls":[{"id":"call_1","function":{"index":0,"name":"`+toolName+`","arguments":`+toolArguments(e.text)+`}}]`...)
	default:
		b = appendString(b, e.text)
	}
	return append(b, '}')
}

// done is the last record; what is zero is left out.
func (v *ollamaVoice) done(s *Served, text string) []byte {
	b := []byte(v.open)
	b = v.say(b, event{kind: kindContent, text: text})
	why := s.Finish
	if why == "tool_calls" {
		why = "stop"
	}
	b = append(b, `,"done":true,"done_reason":"`+why+`"`...)
	if !v.c.chat && !v.c.raw {
		ids := slices.Clone(v.c.prompt)
		for _, t := range v.c.out {
			ids = append(ids, t.id)
		}
		b = appendIDs(append(b, `,"context":`...), ids)
	}
	load := max(s.Load, time.Duration(float64(ollamaReady)/v.c.profile.Speed))
	for _, f := range []struct {
		name string
		v    int64
		trap bool
	}{
		{"total_duration", int64(s.LastToken), v.c.traps.noTimings}, {"load_duration", int64(load), v.c.traps.noTimings},
		{"prompt_eval_count", int64(s.PromptTokens + v.c.traps.wrongPromptCount), v.c.traps.noUsage},
		{"prompt_eval_duration", int64(s.PrefillEnd - s.PrefillStart), v.c.traps.noTimings},
		{"eval_count", int64(s.OutputTokens), v.c.traps.noUsage}, {"eval_duration", int64(s.LastToken - s.FirstToken), v.c.traps.noTimings},
	} {
		if f.v != 0 && !f.trap {
			b = strconv.AppendInt(append(b, `,"`+f.name+`":`...), f.v, 10)
		}
	}
	return append(b, '}')
}

func (v *ollamaVoice) body(s *Served, events []event) []byte {
	var text strings.Builder
	for _, e := range events {
		text.WriteString(e.text)
	}
	return v.done(s, text.String())
}

// details are the model's, as tags, show and ps have them.
func ollamaDetails() map[string]any {
	return map[string]any{"parent_model": "", "format": "gguf", "family": "llama", "families": []string{"llama"}, "parameter_size": "8.0B", "quantization_level": "Q4_K_M"}
}

func (o *ollamaState) listed() map[string]any {
	name := o.s.dialect.modelID(o.s.o.Profile)
	return map[string]any{"name": name, "model": name, "modified_at": o.s.origin.UTC().Format(time.RFC3339Nano), "size": int64(4912898304),
		"digest": ollamaManifest, "details": ollamaDetails()}
}

func (o *ollamaState) running() any {
	o.mu.Lock()
	defer o.mu.Unlock()
	models := []any{}
	if o.context > 0 && time.Now().Before(o.until) {
		m := o.listed()
		delete(m, "modified_at")
		m["size_vram"], m["context_length"], m["expires_at"] = m["size"], o.context, o.until.UTC().Format(time.RFC3339Nano)
		models = append(models, m)
	}
	return map[string]any{"models": models}
}

func (o *ollamaState) show(r *request) any {
	var in struct {
		Model string `json:"model"`
		Name  string `json:"name"`
	}
	if err := parse(r.body, &in); err != nil {
		return refused(err)
	}
	if in.Model == "" {
		in.Model = in.Name
	}
	d, p := o.s.dialect, o.s.o.Profile
	if in.Model == "" || !d.knows(in.Model, p) {
		return d.refuseModel(in.Model)
	}
	return map[string]any{
		"modelfile": "# Modelfile generated by \"ollama show\"\n# To build a new Modelfile based on this, replace FROM with:\n# FROM " + d.modelID(p) +
			"\n\nFROM /usr/share/ollama/.ollama/models/blobs/sha256-" + ollamaBlob + "\nTEMPLATE \"\"\"{{ .Prompt }}\"\"\"\n",
		"parameters": "stop                           \"" + markEnd + "\"", "template": "{{ .Prompt }}", "details": ollamaDetails(),
		"model_info": map[string]any{"general.architecture": "llama", "general.file_type": 15, "general.parameter_count": int64(8030261312),
			"general.quantization_version": 2, "llama.context_length": p.Context, "llama.block_count": 32, "llama.embedding_length": 4096},
		"capabilities": []string{"completion", "tools"}, "modified_at": o.s.origin.UTC().Format(time.RFC3339Nano),
	}
}
