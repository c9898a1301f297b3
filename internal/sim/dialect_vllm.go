package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// vLLM speaks as vLLM's API server, started with --enable-prompt-tokens-details and --enable-per-request-metrics.
func vLLM(s *Server) *dialect {
	return &dialect{
		server: "uvicorn", natural: shortAnswer, block: 16,
		generates: []endpoint{
			{path: "/v1/chat/completions", read: readVLLM, speak: speakVLLM},
			{path: "/v1/completions", read: readVLLM, speak: speakVLLM, fit: onlyText},
		},
		refusal: pydanticError,
		missing: func(m string) *refusal {
			return refuse(http.StatusNotFound, fmt.Sprintf("The model `%s` does not exist.", m), "NotFoundError", 404)
		},
		overflow: tooLong,
		answers: []plainRoute{
			{"GET /health", func(*request) any { return reply{kind: "text/plain"} }},
			{"GET /ping", func(*request) any { return reply{kind: "text/plain"} }},
			{"GET /version", func(*request) any { return map[string]string{"version": "0.21.0"} }},
			{"GET /v1/models", func(*request) any {
				p := s.o.Profile
				return map[string]any{"object": "list", "data": []any{map[string]any{
					"id": p.Model(), "object": "model", "created": s.origin.Unix(), "owned_by": "vllm", "root": p.Model(), "parent": nil, "max_model_len": p.Context,
				}}}
			}},
			{"POST /tokenize", func(r *request) any { return s.hfTokenize(r) }},
			{"GET /metrics", func(*request) any { return s.vllmMetrics() }},
		},
	}
}

// typeOf is the class of a status in the error bodies of the Python servers.
func typeOf(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "BadRequestError"
	case http.StatusUnauthorized:
		return "AuthenticationError"
	case http.StatusNotFound:
		return "NotFoundError"
	case http.StatusTooManyRequests:
		return "RateLimitError"
	}
	return "InternalServerError"
}

// pydanticError is vLLM's error body.
func pydanticError(r *refusal) []byte {
	return nestedError(&refusal{message: r.message, kind: typeOf(r.status), code: r.status, more: map[string]any{"param": nil}})
}

// tooLong words an overflow as vLLM does.
func tooLong(c *completion, asked, limit int) *refusal {
	return refuse(http.StatusBadRequest, fmt.Sprintf("This model's maximum context length is %d tokens. However, you requested %d tokens (%d in the messages, %d in the completion).",
		limit, len(c.prompt)+asked, len(c.prompt), asked), "BadRequestError", 400)
}

func readVLLM(c *completion, body []byte) error {
	var q openAIRequest
	var own struct {
		Salt *string `json:"cache_salt"`
	}
	if err := errors.Join(parse(body, &q), parse(body, &own)); err != nil {
		return err
	}
	q.common(c)
	if own.Salt != nil && *own.Salt == "" {
		return errors.New("parameter 'cache_salt' must be a non-empty string if provided")
	}
	c.salt = q.CacheSalt
	return readHF(c, &q)
}

// readHF is what vLLM and its like have in common.
func readHF(c *completion, q *openAIRequest) (err error) {
	c.running, c.ids, c.ignoreEOS, c.least = q.each(), q.ReturnTokenIDs, q.IgnoreEOS, q.MinTokens
	if c.chat {
		c.prompt, err = conversation(q.Messages, q.Tools)
	} else {
		if c.tokens == nil {
			n := 16
			c.tokens = &n
		}
		c.prompt, err = textOrIDs(q.Prompt, parsed)
	}
	if err == nil && c.tokens != nil && c.least > *c.tokens {
		err = fmt.Errorf("min_tokens must be less than or equal to max_tokens=%d, got %d", *c.tokens, c.least)
	}
	return err
}

func speakVLLM(c *completion) voice {
	st := style{
		reasoning: "reasoning", opening: `{"role":"assistant","content":""}`, openUsage: true,
		choice: `,"logprobs":null`, finish: `"delta":{"content":""},"logprobs":null,"stop_reason":null`, counts: vllmUsage,
		last: func(w *wire, s *Served) string {
			if c.stream && !w.usage { // they stand on the usage chunk alone
				return ""
			}
			return vllmTimes(w, s)
		},
	}
	if !c.chat {
		st.finish = `"text":"","logprobs":null,"stop_reason":null`
	}
	if c.ids && !c.traps.noIDs {
		prompt := `"prompt_token_ids":` + string(appendIDs(nil, c.prompt))
		if c.chat {
			st.first = prompt + ","
		} else {
			st.firstChoice = "," + prompt
		}
	}
	return newWire(c, st)
}

// vllmUsage is the usage of a server that was told to state prompt token details.
func vllmUsage(w *wire, s *Served) string {
	n := strconv.Itoa
	details := `{"cached_tokens":` + n(s.CachedTokens) + `}`
	if w.traps.noCachedField {
		details = "null"
	}
	return `{"prompt_tokens":` + n(w.prompt) + `,"total_tokens":` + n(w.prompt+s.OutputTokens) + `,"completion_tokens":` + n(s.OutputTokens) + `,"prompt_tokens_details":` + details + `}`
}

// vllmTimes are a request's own times: that of the first token from when the request was scheduled, that of the generation from
// the first token to the last, and a rate of all tokens over both together.
func vllmTimes(w *wire, s *Served) string {
	if w.traps.noTimings {
		return ""
	}
	first, decode, gap := s.FirstToken-s.PrefillStart, s.LastToken-s.FirstToken, "null"
	if s.OutputTokens > 1 {
		gap = ms(decode / time.Duration(s.OutputTokens-1))
	}
	return fmt.Sprintf(`,"metrics":{"time_to_first_token_ms":%s,"generation_time_ms":%s,"queue_time_ms":%s,"mean_itl_ms":%s,"tokens_per_second":%g}`,
		ms(first), ms(decode), ms(s.PrefillStart), gap, perSecond(s.OutputTokens, first+decode))
}

// hfTokenize is POST /tokenize of vLLM and SGLang.
func (s *Server) hfTokenize(r *request) any {
	if no := s.tokenizes("/tokenize"); no != nil {
		return no
	}
	var in struct {
		Prompt   *string           `json:"prompt"`
		Messages []message         `json:"messages"`
		Tools    []json.RawMessage `json:"tools"`
	}
	if err := parse(r.body, &in); err != nil {
		return refused(err)
	}
	var ids []int32
	switch {
	case in.Prompt != nil:
		ids = parsed(*in.Prompt)
	case len(in.Messages) > 0:
		var err error
		if ids, err = conversation(in.Messages, in.Tools); err != nil {
			return refused(err)
		}
	default:
		return refuse(http.StatusBadRequest, "[{'type': 'missing', 'loc': ('body', 'prompt'), 'msg': 'Field required'}]", "BadRequestError", 400)
	}
	ids = s.drifted(ids)
	return map[string]any{"count": len(ids), "max_model_len": s.o.Profile.Context, "tokens": ids, "token_strs": nil}
}

func (s *Server) vllmMetrics() any {
	c, a, t := s.CacheStats(), s.Activity(), s.journal.totals()
	x := exposition{prefix: "vllm:", labels: `engine="0",model_name="` + s.o.Profile.Model() + `"`}
	x.gauge("cache_config_info", 1, `block_size="`+strconv.Itoa(c.Block)+`"`, `cache_dtype="auto"`, `enable_prefix_caching="True"`, `num_gpu_blocks="27000"`)
	x.gauge("num_requests_running", a.Running)
	x.gauge("num_requests_waiting", a.Waiting)
	x.gauge("kv_cache_usage_perc", 0)
	x.counter("num_preemptions_total", 0)
	x.counter("prefix_cache_queries_total", c.QueriedTokens)
	x.counter("prefix_cache_hits_total", c.HitTokens)
	x.counter("prompt_tokens_total", t.prompt)
	x.counter("prompt_tokens_cached_total", t.cached)
	x.counter("generation_tokens_total", t.output)
	x.counter("request_success_total", t.lengths, `finished_reason="length"`)
	x.counter("request_success_total", t.requests-t.lengths, `finished_reason="stop"`)
	x.histogram("time_to_first_token_seconds", t.first, t.requests)
	x.histogram("inter_token_latency_seconds", t.decode, t.gaps)
	x.histogram("e2e_request_latency_seconds", t.wall, t.requests)
	x.histogram("request_queue_time_seconds", t.queue, t.requests)
	x.histogram("request_prefill_time_seconds", t.prefill, t.requests)
	x.histogram("request_decode_time_seconds", t.decode, t.requests)
	x.histogram("request_inference_time_seconds", t.prefill+t.decode, t.requests)
	return x.reply()
}
