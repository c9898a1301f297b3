package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// sgLang speaks as SGLang's server, started with --enable-metrics and --enable-cache-report.
func sgLang(s *Server) *dialect {
	st := style{opening: `{"role":"assistant","content":""}`, choice: `,"logprobs":null,"matched_stop":null`, counts: sglangUsage}
	model := func(*request) any {
		return map[string]any{"model_path": s.o.Profile.Model(), "tokenizer_path": s.o.Profile.Model(), "is_generation": true, "weight_version": "default",
			"model_type": "llama", "architectures": []string{"LlamaForCausalLM"}}
	}
	ok := func(*request) any { return reply{kind: "text/plain"} }
	flush := func(r *request) any { return s.sglangFlush(r) }
	server := func(*request) any { return s.sglangServer() }
	return &dialect{
		server: "uvicorn", natural: shortAnswer,
		generates: []endpoint{
			{path: "/generate", read: readSGLang, speak: speakSGLang, fit: onlyText},
			{path: "/v1/chat/completions", read: readSGLangOpenAI, speak: openAI(st)},
			{path: "/v1/completions", read: readSGLangOpenAI, speak: openAI(st), fit: onlyText},
		},
		refusal: func(r *refusal) []byte {
			return flatError(r.message, r.status)
		},
		missing: func(m string) *refusal {
			return refuse(http.StatusNotFound, fmt.Sprintf("The model `%s` does not exist.", m), "NotFoundError", 404)
		},
		overflow: func(c *completion, asked, limit int) *refusal {
			if asked > 0 && len(c.prompt) < limit {
				return refuse(http.StatusBadRequest, fmt.Sprintf("Requested token count exceeds the model's maximum context length of %d tokens. You requested a total of %d tokens: %d tokens from the input messages and %d tokens for the completion.",
					limit, len(c.prompt)+asked, len(c.prompt), asked), "", 400)
			}
			return refuse(http.StatusBadRequest, fmt.Sprintf("The input (%d tokens) is longer than the model's context length (%d tokens).", len(c.prompt), limit), "", 400)
		},
		answers: []plainRoute{
			{"GET /health", ok}, {"GET /health_generate", ok},
			{"GET /model_info", model}, {"GET /get_model_info", model}, {"GET /server_info", server}, {"GET /get_server_info", server},
			{"GET /flush_cache", flush}, {"POST /flush_cache", flush},
			{"GET /v1/models", func(*request) any {
				p := s.o.Profile
				return map[string]any{"object": "list", "data": []any{map[string]any{
					"id": p.Model(), "object": "model", "created": s.origin.Unix(), "owned_by": "sglang", "root": p.Model(), "parent": nil, "max_model_len": p.Context,
				}}}
			}},
			{"POST /tokenize", func(r *request) any { return s.hfTokenize(r) }},
			{"POST /v1/tokenize", func(r *request) any { return s.hfTokenize(r) }},
			{"GET /metrics", func(*request) any { return s.sglangMetrics() }},
		},
	}
}

// flatError is an error body that is itself the error object.
func flatError(message string, status int) []byte {
	b, err := json.Marshal(map[string]any{"object": "error", "message": message, "type": typeOf(status), "param": nil, "code": status})
	if err != nil {
		return nil
	}
	return b
}

func readSGLang(c *completion, body []byte) error {
	var q struct {
		Text     *string `json:"text"`
		IDs      []int32 `json:"input_ids"`
		Sampling struct {
			Max       *int    `json:"max_new_tokens"`
			Min       int     `json:"min_new_tokens"`
			IgnoreEOS bool    `json:"ignore_eos"`
			Seed      *uint64 `json:"sampling_seed"`
		} `json:"sampling_params"`
		Stream bool   `json:"stream"`
		Key    string `json:"extra_key"`
		Salt   string `json:"cache_salt"`
	}
	if err := parse(body, &q); err != nil {
		return err
	}
	c.stream, c.reuse, c.ignoreEOS, c.least, c.seed, c.salt = q.Stream, true, q.Sampling.IgnoreEOS, q.Sampling.Min, q.Sampling.Seed, q.Key+q.Salt
	c.tokens = q.Sampling.Max
	if c.tokens == nil {
		n := 128
		c.tokens = &n
	}
	switch {
	case q.Text != nil && q.IDs == nil:
		c.prompt = parsed(*q.Text)
	case q.Text == nil && q.IDs != nil:
		c.prompt = q.IDs
	default:
		return errors.New("Either text, input_ids or input_embeds should be provided.") //nolint:staticcheck // the server's own words
	}
	return nil
}

func readSGLangOpenAI(c *completion, body []byte) error {
	var q openAIRequest
	if err := parse(body, &q); err != nil {
		return err
	}
	q.common(c)
	c.salt = q.CacheSalt
	q.ReturnTokenIDs = false
	return readHF(c, &q)
}

// sglangUsage states cached tokens where there are any.
func sglangUsage(w *wire, s *Served) string {
	n := strconv.Itoa
	details := "null"
	if s.CachedTokens > 0 && !w.traps.noCachedField {
		details = `{"cached_tokens":` + n(s.CachedTokens) + `}`
	}
	return `{"prompt_tokens":` + n(w.prompt) + `,"total_tokens":` + n(w.prompt+s.OutputTokens) + `,"completion_tokens":` + n(s.OutputTokens) +
		`,"prompt_tokens_details":` + details + `,"reasoning_tokens":` + n(s.Reasoning) + `}`
}

// sglangVoice is the native stream: text and ids are those of the whole output so far, and the last event says why it ended.
type sglangVoice struct {
	sse
	c    *completion
	text []byte // JSON of the text so far, without its closing quote
	ids  []byte // likewise, without the bracket
	n    int    // tokens in ids
}

func speakSGLang(c *completion) voice {
	return &sglangVoice{sse: newSSE(c.traps), c: c, text: []byte{'"'}, ids: []byte{'['}}
}

func (v *sglangVoice) opening() []byte     { return nil }
func (v *sglangVoice) said(e event) string { return e.text }
func (v *sglangVoice) joins() bool         { return true }
func (v *sglangVoice) holes() []hole       { return cachedHole() }
func (v *sglangVoice) garbage() []byte     { return v.frame([]byte(`{"text":"x","output_i`)) }
func (v *sglangVoice) torn() string        { return `data: {"text":"x` }

func (v *sglangVoice) failure(message string) []byte {
	return v.frame(errorBody(message, "InternalServerError", 500))
}

func (v *sglangVoice) take(e event) {
	v.text = append(v.text, appendString(nil, e.text)[1:]...)
	v.text = v.text[:len(v.text)-1]
	for _, id := range e.ids {
		if v.n++; v.n > 1 {
			v.ids = append(v.ids, ',')
		}
		v.ids = strconv.AppendInt(v.ids, int64(id), 10)
	}
}

func (v *sglangVoice) event(b []byte, e event, pad int) []byte {
	v.take(e)
	b = v.open(append(v.begin(b, ""), '{'), pad)
	b = append(b, `"finish_reason":null,`...)
	b = v.counts(b, e.last)
	return v.shut(append(b, "}}"...))
}

// open appends the members in front of why it ended.
func (v *sglangVoice) open(b []byte, pad int) []byte {
	b = append(padding(b, pad), `"text":`...)
	b = append(append(b, v.text...), `","output_ids":`...)
	b = append(append(b, v.ids...), `],"meta_info":{"id":"sim-`...)
	b = strconv.AppendInt(b, v.c.served.ID, 10)
	return append(b, `",`...)
}

func (v *sglangVoice) counts(b []byte, n int) []byte {
	b = append(b, `"weight_version":"default","prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(len(v.c.prompt)+v.c.traps.wrongPromptCount), 10)
	b = append(b, `,"completion_tokens":`...)
	b = strconv.AppendInt(b, int64(n), 10)
	if !v.c.traps.noCachedField && !v.c.traps.gzip {
		b = append(b, `,"cached_tokens":`+holeBlanks...)
	}
	return b
}

func (v *sglangVoice) ending(s *Served, last *event) [][]byte {
	if last != nil {
		v.take(*last)
	}
	return [][]byte{v.frame(v.final(s))}
}

func (v *sglangVoice) body(s *Served, events []event) []byte {
	for _, e := range events {
		v.take(e)
	}
	return v.final(s)
}

func (v *sglangVoice) final(s *Served) []byte {
	why := `{"type":"length","length":` + strconv.Itoa(s.OutputTokens) + `}`
	if s.Finish == "stop" {
		why = `{"type":"stop","matched":128009}`
	}
	b := v.open([]byte{'{'}, 0)
	b = append(b, `"finish_reason":`+why+`,`...)
	b = v.counts(b, s.OutputTokens)
	if !v.c.traps.noCachedField {
		b = append(bytes.TrimSuffix(b, []byte(`,"cached_tokens":`+holeBlanks)), `,"cached_tokens":`+strconv.Itoa(s.CachedTokens)...)
	}
	return append(b, `,"e2e_latency":`+secs(s.LastToken)+`}}`...)
}

// sglangFlush empties the cache of an idle server; a busy one it leaves as it is, after the time that may be waited.
func (s *Server) sglangFlush(r *request) any {
	wait, _ := strconv.ParseFloat(r.URL.Query().Get("timeout"), 64)
	for end := time.Now().Add(time.Duration(min(max(wait, 0), 60) * float64(time.Second))); ; time.Sleep(time.Millisecond) {
		if a := s.Activity(); a.Running+a.Waiting == 0 {
			s.FlushCache()
			return reply{kind: "text/plain; charset=utf-8", text: "Cache flushed.\nPlease check backend logs for more details. (When there are running or waiting requests, the operation will not be performed.)\n"}
		}
		if !time.Now().Before(end) {
			return reply{status: http.StatusBadRequest, kind: "text/plain; charset=utf-8", text: "Flush cache failed.\n"}
		}
	}
}

func (s *Server) sglangServer() any {
	p := s.o.Profile
	return map[string]any{
		"model_path": p.Model(), "served_model_name": p.Model(), "tokenizer_path": p.Model(), "version": "0.5.12", "quantization": "awq", "dtype": "auto",
		"kv_cache_dtype": "auto", "tp_size": 1, "dp_size": 1, "attention_backend": "flashinfer", "chunked_prefill_size": 8192, "disable_radix_cache": false,
		"page_size": s.table.cache.block, "context_length": p.Context, "max_total_num_tokens": p.Context * p.Slots, "max_running_requests": p.Slots,
		"mem_fraction_static": 0.88, "stream_interval": 1, "stream_output": false, "enable_metrics": true, "enable_cache_report": true,
		"speculative_algorithm": nil, "internal_states": []any{map[string]any{"last_gen_throughput": 0.0, "effective_max_running_requests_per_dp": p.Slots}},
	}
}

func (s *Server) sglangMetrics() any {
	a, t := s.Activity(), s.journal.totals()
	x := exposition{prefix: "sglang:", labels: strings.Join([]string{`engine_type="unified"`, `model_name="` + s.o.Profile.Model() + `"`, `tp_rank="0"`}, ",")}
	x.gauge("num_running_reqs", a.Running)
	x.gauge("num_queue_reqs", a.Waiting)
	x.gauge("token_usage", 0)
	x.gauge("gen_throughput", 0)
	x.gauge("cache_hit_rate", 0)
	x.counter("prompt_tokens_total", t.prompt)
	x.counter("generation_tokens_total", t.output)
	x.counter("cached_tokens_total", t.cached, `cache_source="device"`)
	x.counter("num_requests_total", t.requests)
	x.histogram("time_to_first_token_seconds", t.first, t.requests)
	x.histogram("inter_token_latency_seconds", t.decode, t.gaps)
	x.histogram("e2e_request_latency_seconds", t.wall, t.requests)
	x.histogram("queue_time_seconds", t.queue, t.requests)
	return x.reply()
}
