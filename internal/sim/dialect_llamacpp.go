package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// chatTemplate is what the simulated model's template looks like in Jinja.
const chatTemplate = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}" +
	"{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

// llamaBuild is the build that the dialect follows: 0.7.0, whose predicted_per_second leaves the first token out.
const llamaBuild = "b11669-sim"

// llamaCpp speaks as llama.cpp's llama-server 0.7.0.
func llamaCpp(s *Server) *dialect {
	st := style{each: `"system_fingerprint":"` + llamaBuild + `",`, last: func(w *wire, s *Served) string {
		if w.traps.noTimings {
			return ""
		}
		return `,"timings":` + fullTimings(s, w.traps)
	}}
	return &dialect{
		server: "llama.cpp", anyModel: true, natural: shortAnswer,
		generates: []endpoint{
			{path: "/completion", read: readLlama, speak: speakLlama, fit: onlyText},
			{path: "/v1/chat/completions", read: readLlamaChat, speak: openAI(st)},
			{path: "/v1/completions", read: readLlamaChat, speak: openAI(st)},
		},
		refusal: nestedError,
		overflow: func(c *completion, asked, limit int) *refusal {
			r := refuse(http.StatusBadRequest, fmt.Sprintf("request (%d tokens) exceeds the available context size (%d tokens), try increasing it",
				len(c.prompt), limit), "exceed_context_size_error", 400)
			r.more = map[string]any{"n_prompt_tokens": len(c.prompt), "n_ctx": limit}
			return r
		},
		answers: []plainRoute{
			{"GET /health", func(*request) any { return map[string]string{"status": "ok"} }},
			{"GET /v1/health", func(*request) any { return map[string]string{"status": "ok"} }},
			{"GET /v1/models", func(*request) any { return s.llamaModels() }},
			{"GET /models", func(*request) any { return s.llamaModels() }},
			{"GET /props", func(*request) any { return s.llamaProps() }},
			{"GET /slots", func(r *request) any { return s.llamaSlots(r) }},
			{"GET /metrics", func(*request) any { return s.llamaMetrics() }},
			{"POST /tokenize", s.llamaTokenize},
			{"POST /apply-template", func(r *request) any {
				return s.llamaChat(r, func(text string) any { return map[string]any{"prompt": text} })
			}},
			{"POST /v1/chat/completions/input_tokens", func(r *request) any {
				return s.llamaChat(r, func(text string) any {
					return map[string]any{"input_tokens": len(parsed(text)), "object": "response.input_tokens"}
				})
			}},
		},
	}
}

// shortAnswer is where the model ends by itself in the dialects of servers that can be told not to let it: sooner than any
// workload asks for, so that a client that forgets to say so is found out.
const shortAnswer = 48

// longAnswer is where it ends in the others: later than any workload asks for.
const longAnswer = 4096

// onlyText takes away the traps of what text completion does not have: reasoning and tool calls are part of its text.
func onlyText(t *Traps) {
	t.reasoning, t.reasoningHidden, t.toolHold = 0, 0, opt[int]{}
}

// llamaRequest is what of the native request is understood.
type llamaRequest struct {
	Prompt      json.RawMessage `json:"prompt"`
	Predict     *int            `json:"n_predict"`
	IgnoreEOS   bool            `json:"ignore_eos"`
	Stream      bool            `json:"stream"`
	CachePrompt *bool           `json:"cache_prompt"`
	Tokens      bool            `json:"return_tokens"`
	Seed        *int64          `json:"seed"`
}

func (q *llamaRequest) common(c *completion) {
	c.stream, c.ignoreEOS, c.ids, c.clips = q.Stream, q.IgnoreEOS, q.Tokens, true
	c.reuse = q.CachePrompt == nil || *q.CachePrompt
	if q.Seed != nil && *q.Seed >= 0 {
		n := uint64(*q.Seed)
		c.seed = &n
	}
	if n := q.Predict; n != nil && *n >= 0 {
		least := max(*n, 1)
		c.tokens = &least
	}
}

func readLlama(c *completion, body []byte) error {
	var q llamaRequest
	err := parse(body, &q)
	if err != nil {
		return err
	}
	q.common(c)
	if c.traps.splitUTF8 {
		c.traps.silentHidden = true // bytes of an unfinished character are held back without an event
	}
	c.prompt, err = mixedPrompt(q.Prompt)
	return err
}

// mixedPrompt reads a prompt that is text, token ids, or a list of both.
func mixedPrompt(prompt json.RawMessage) ([]int32, error) {
	if ids, err := textOrIDs(prompt, parsed); err == nil {
		return ids, nil
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(prompt, &parts); err != nil {
		return nil, fmt.Errorf("\"prompt\" is neither text, nor token ids, nor a list of both")
	}
	var ids []int32
	for _, p := range parts {
		var text string
		var id int32
		switch {
		case json.Unmarshal(p, &text) == nil:
			ids = append(ids, parsed(text)...)
		case json.Unmarshal(p, &id) == nil:
			ids = append(ids, id)
		default:
			return nil, fmt.Errorf("a part of \"prompt\" is neither text nor a token id")
		}
	}
	return ids, nil
}

func readLlamaChat(c *completion, body []byte) error {
	var q openAIRequest
	var own llamaRequest
	if err := parse(body, &q); err != nil {
		return err
	}
	if err := parse(body, &own); err != nil {
		return err
	}
	own.common(c)
	n := c.tokens
	q.common(c)
	if c.tokens == nil {
		c.tokens = n
	}
	c.reuse, c.ids = own.CachePrompt == nil || *own.CachePrompt, false
	var err error
	if c.chat {
		c.prompt, err = conversation(q.Messages, q.Tools)
	} else {
		c.prompt, err = mixedPrompt(q.Prompt)
	}
	return err
}

// llamaVoice is the native stream.
type llamaVoice struct {
	sse
	c      *completion
	prompt int
}

func speakLlama(c *completion) voice {
	return &llamaVoice{newSSE(c.traps), c, len(c.prompt) + c.traps.wrongPromptCount}
}

func (v *llamaVoice) opening() []byte       { return nil }
func (v *llamaVoice) said(e event) string   { return e.text }
func (v *llamaVoice) mark(*Served) []byte   { return nil } // the final event is the end mark
func (v *llamaVoice) comment(string) []byte { return v.sse.comment("") }
func (v *llamaVoice) garbage() []byte       { return v.frame([]byte(`{"index":0,"content":"x","tok`)) }
func (v *llamaVoice) torn() string          { return `data: {"index":0,"conte` }

func (v *llamaVoice) event(b []byte, e event, pad int) []byte {
	b = append(v.begin(b, ""), '{')
	b = append(padding(b, pad), `"index":0,"content":`...)
	b = appendString(b, e.text)
	b = append(b, `,"tokens":`...)
	if v.c.ids && !v.c.traps.noIDs {
		b = appendIDs(b, e.ids)
	} else {
		b = append(b, "[]"...)
	}
	b = append(b, `,"stop":false,"id_slot":0,"tokens_predicted":`...)
	b = strconv.AppendInt(b, int64(e.last), 10)
	b = append(b, `,"tokens_evaluated":`...)
	b = strconv.AppendInt(b, int64(v.prompt), 10)
	return v.shut(append(b, '}'))
}

func (v *llamaVoice) ending(s *Served, _ *event) [][]byte {
	if v.c.traps.noDone {
		return nil
	}
	return [][]byte{v.frame(v.final(s, "", nil))}
}

func (v *llamaVoice) body(s *Served, events []event) []byte {
	var text strings.Builder
	var ids []int32
	for _, e := range events {
		text.WriteString(e.text)
		ids = append(ids, e.ids...)
	}
	if !v.c.ids || v.c.traps.noIDs {
		ids = nil
	}
	return v.final(s, text.String(), ids)
}

func (v *llamaVoice) final(s *Served, text string, ids []int32) []byte {
	stop := "limit"
	if s.Finish == "stop" {
		stop = "eos"
	}
	b := append([]byte(nil), `{"index":0,"content":`...)
	b = appendString(b, text)
	b = append(b, `,"tokens":`...)
	b = appendIDs(b, ids)
	b = fmt.Appendf(b, `,"id_slot":0,"stop":true,"model":%q,"tokens_predicted":%d,"tokens_evaluated":%d,"generation_settings":{"samplers":["temperature"],"temperature":0.0,"n_predict":%d},`+
		`"prompt":"","has_new_line":false,"truncated":%t,"stop_type":%q,"stopping_word":"","tokens_cached":%d`,
		s.Model, s.OutputTokens, v.prompt, s.Asked, v.c.tokens != nil && *v.c.tokens > s.Asked, stop, s.PromptTokens+s.OutputTokens-1)
	if !v.c.traps.noTimings {
		b = append(append(b, `,"timings":`...), fullTimings(s, v.c.traps)...)
	}
	return append(b, '}')
}

// fullTimings are all members of llama-server's timings. predicted_ms runs from the first token to the last;
// predicted_per_second has one token less than predicted_n above it, and is 0 where there is one.
func fullTimings(s *Served, t Traps) string {
	promptN := s.PromptTokens - s.CachedTokens
	if t.countCached {
		promptN = s.PromptTokens
	}
	prompt, decode := s.PrefillEnd-s.PrefillStart, s.LastToken-s.FirstToken
	b := "{"
	if !t.noCachedField {
		b += `"cache_n":` + strconv.Itoa(s.CachedTokens) + `,`
	}
	b += fmt.Sprintf(`"prompt_n":%d,"prompt_ms":%s,"prompt_per_token_ms":%g,"prompt_per_second":%g,"predicted_n":%d`,
		promptN, ms(prompt), prompt.Seconds()*1e3/float64(max(promptN, 1)), perSecond(promptN, prompt), s.OutputTokens)
	if s.OutputTokens < 2 {
		return b + `,"predicted_ms":0.001,"predicted_per_token_ms":0.001,"predicted_per_second":0.0}`
	}
	return b + fmt.Sprintf(`,"predicted_ms":%s,"predicted_per_token_ms":%g,"predicted_per_second":%g}`,
		ms(decode), decode.Seconds()*1e3/float64(s.OutputTokens-1), perSecond(s.OutputTokens-1, decode))
}

func (s *Server) llamaModels() any {
	p := s.o.Profile
	return map[string]any{"object": "list", "data": []any{map[string]any{
		"id": p.Model(), "aliases": []string{}, "object": "model", "created": s.origin.Unix(), "owned_by": "llamacpp", "architecture": "llama",
		"meta": map[string]any{
			"vocab_type": 2, "n_vocab": 128256, "n_ctx": p.Context, "n_ctx_train": p.Context, "n_embd": 4096, "n_params": int64(8030261312), "size": int64(4912898304),
			"ftype": "Q4_K - Medium",
		},
	}}}
}

func (s *Server) llamaProps() any {
	p := s.o.Profile
	return map[string]any{
		"default_generation_settings": map[string]any{"id": 0, "n_ctx": p.Context, "speculative": false, "is_processing": false,
			"params": map[string]any{"temperature": 0.8, "n_predict": -1}},
		"total_slots": s.slots(), "model_alias": p.Model(), "model_path": "/models/" + p.Model() + ".gguf", "model_ftype": "Q4_K - Medium",
		"chat_template": chatTemplate, "chat_template_caps": map[string]bool{"supports_tools": true, "supports_system_role": true},
		"bos_token": markStart, "eos_token": markEnd, "modalities": map[string]bool{"vision": false, "audio": false}, "build_info": llamaBuild,
		"is_sleeping": false, "endpoint_slots": true, "endpoint_props": false, "endpoint_metrics": true,
	}
}

func (s *Server) llamaSlots(r *request) any {
	a := s.Activity()
	if r.URL.Query().Get("fail_on_no_slot") != "" && a.Running >= s.slots() {
		return refuse(http.StatusServiceUnavailable, "no slot available", "unavailable_error", 503)
	}
	var slots []any
	for i := range s.slots() {
		slots = append(slots, map[string]any{"id": i, "n_ctx": s.o.Profile.Context, "speculative": false, "is_processing": i < a.Running, "id_task": -1})
	}
	return slots
}

func (s *Server) llamaMetrics() any {
	a, t := s.Activity(), s.journal.totals()
	x := exposition{prefix: "llamacpp:"}
	x.counter("prompt_tokens_total", t.prompt-t.cached)
	x.counter("prompt_tokens_cached_total", t.cached)
	x.counter("prompt_seconds_total", t.promptWork.Seconds())
	x.counter("tokens_predicted_total", t.output)
	x.counter("tokens_predicted_seconds_total", t.decode.Seconds())
	x.counter("n_decode_total", t.output)
	x.gauge("n_busy_slots_per_decode", 1)
	x.gauge("requests_processing", a.Running)
	x.gauge("requests_deferred", a.Waiting)
	return x.reply()
}

func (s *Server) llamaTokenize(r *request) any {
	if no := s.tokenizes("/tokenize"); no != nil {
		return no
	}
	in := struct {
		Content string `json:"content"`
		Special *bool  `json:"parse_special"`
	}{}
	if err := parse(r.body, &in); err != nil {
		return refused(err)
	}
	if in.Special == nil || *in.Special {
		return map[string]any{"tokens": s.drifted(parsed(in.Content))}
	}
	return map[string]any{"tokens": s.drifted(Tokenize(in.Content))}
}

// llamaChat answers with what a conversation renders to.
func (s *Server) llamaChat(r *request, answer func(text string) any) any {
	if no := s.tokenizes(r.URL.Path); no != nil {
		return no
	}
	var in struct {
		Messages []message         `json:"messages"`
		Tools    []json.RawMessage `json:"tools"`
	}
	if err := parse(r.body, &in); err != nil {
		return refused(err)
	}
	text, err := rendered(in.Messages, in.Tools)
	if err != nil {
		return refused(err)
	}
	return answer(text)
}
