package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// trtLLM speaks as trtllm-serve, started with return_perf_metrics: a member that it does not know is an error, usage stands in
// every chunk where it is asked for at all, and every data line ends in a space.
func trtLLM(s *Server) *dialect {
	p := &perfMetrics{s: s}
	ok := func(*request) any { return reply{kind: "text/plain"} }
	return &dialect{
		server: "uvicorn", natural: shortAnswer, block: 32,
		always: func(t *Traps) { t.trailingSpace = true },
		generates: []endpoint{
			{path: "/v1/chat/completions", read: readTRT, speak: speakTRT},
			{path: "/v1/completions", read: readTRT, speak: speakTRT, fit: onlyText},
		},
		refusal:  func(r *refusal) []byte { return flatError(r.message, r.status) },
		anyModel: true,
		overflow: func(c *completion, asked, limit int) *refusal {
			return refuse(http.StatusBadRequest, fmt.Sprintf("The sum of prompt length (%d) and query length max_tokens (%d) exceeds the maximum sequence length %d of the context length", len(c.prompt), asked, limit), "", 400)
		},
		answers: []plainRoute{
			{"GET /health", ok}, {"GET /health_generate", ok},
			{"GET /version", func(*request) any { return map[string]string{"version": "1.3.0rc1"} }},
			{"GET /v1/models", func(*request) any {
				return map[string]any{"object": "list", "data": []any{map[string]any{"id": s.o.Profile.Model(), "object": "model", "created": s.origin.Unix(), "owned_by": "tensorrt_llm"}}}
			}},
			{"GET /perf_metrics", func(*request) any { return p.drain() }},
			{"GET /metrics", func(*request) any { return []any{} }},
			{"GET /prometheus/metrics", func(*request) any { return s.trtMetrics() }},
		},
	}
}

// trtMembers are what a request may have; more is an error. Both endpoints', then those of one of them.
func trtMembers(chat bool) []string {
	members := strings.Fields(`model max_tokens n stream stream_options temperature top_p top_k min_p top_p_min seed stop stop_token_ids user logit_bias
		frequency_penalty presence_penalty repetition_penalty length_penalty early_stopping use_beam_search best_of min_tokens ignore_eos
		include_stop_str_in_output skip_special_tokens spaces_between_special_tokens truncate_prompt_tokens prompt_ignore_length
		add_special_tokens response_format lora_request disaggregated_params return_context_logits logprobs`)
	if chat {
		return append(members, strings.Fields(`messages max_completion_tokens top_logprobs tools tool_choice reasoning_effort echo add_generation_prompt
			documents chat_template chat_template_kwargs mm_processor_kwargs prompt_token_ids cache_salt store parallel_tool_calls`)...)
	}
	return append(members, "prompt", "suffix", "echo", "detokenize")
}

// unknownMember is the first member of a body that a list does not have; empty where there is none.
func unknownMember(body []byte, known []string) string {
	var m map[string]json.RawMessage
	if json.Unmarshal(body, &m) != nil {
		return ""
	}
	var odd []string
	for k := range m {
		if !slices.Contains(known, k) {
			odd = append(odd, k)
		}
	}
	if len(odd) == 0 {
		return ""
	}
	slices.Sort(odd)
	return odd[0]
}

func readTRT(c *completion, body []byte) (err error) {
	var q openAIRequest
	var own struct {
		IDs []int32 `json:"prompt_token_ids"`
	}
	if err := parse(body, &q); err != nil {
		return err
	}
	if err := parse(body, &own); err != nil {
		return err
	}
	q.common(c)
	if odd := unknownMember(body, trtMembers(c.chat)); odd != "" {
		return refuse(http.StatusBadRequest, fmt.Sprintf("[{'type': 'extra_forbidden', 'loc': ('body', '%s'), 'msg': 'Extra inputs are not permitted'}]", odd), "", 400)
	}
	c.running = c.usage && (q.StreamOptions.EachUsage == nil || *q.StreamOptions.EachUsage)
	c.ignoreEOS, c.salt = q.IgnoreEOS, q.CacheSalt // min_tokens is ignored, as it was in several versions
	switch {
	case c.chat && own.IDs != nil:
		c.prompt = own.IDs
	case c.chat:
		c.prompt, err = conversation(q.Messages, q.Tools)
	default:
		if c.tokens == nil {
			n := 16
			c.tokens = &n
		}
		c.prompt, err = textOrIDs(q.Prompt, parsed)
	}
	return err
}

func speakTRT(c *completion) voice {
	return newWire(c, style{
		opening: `{"role":"assistant","content":"","reasoning_content":null}`, choice: `,"logprobs":null,"stop_reason":null`,
		counts: func(w *wire, s *Served) string {
			b := fmt.Sprintf(`{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d`, w.prompt, w.prompt+s.OutputTokens, s.OutputTokens)
			if !w.traps.noCachedField {
				b += fmt.Sprintf(`,"prompt_tokens_details":{"cached_tokens":%d}`, s.CachedTokens)
			}
			return b + "}"
		},
		fault: func(_ *wire, m string) string { return string(flatError(m, http.StatusInternalServerError)) },
	})
}

// perfMetrics gives each request's times once.
type perfMetrics struct {
	s *Server

	mu   sync.Mutex
	upTo int64
}

func (p *perfMetrics) drain() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := []any{}
	last := p.upTo
	for _, s := range p.s.Log() {
		if s.ID <= p.upTo || s.Ended == "refused" {
			continue
		}
		last = max(last, s.ID)
		block := p.s.table.cache.block
		reused := s.CachedTokens / block
		all := (s.PromptTokens + s.OutputTokens + block - 1) / block
		at := func(d int64) float64 { return float64(d) / 1e9 }
		came := int64(s.Received)
		list = append(list, map[string]any{"request_id": s.ID, "perf_metrics": map[string]any{
			"timing_metrics": map[string]any{
				"arrival_time": at(came), "first_scheduled_time": at(came + int64(s.PrefillStart)), "first_token_time": at(came + int64(s.FirstToken)),
				"last_token_time": at(came + int64(s.LastToken)), "server_arrival_time": at(came), "server_first_token_time": at(came + int64(s.FirstToken)),
			},
			"kv_cache_metrics": map[string]any{"num_total_allocated_blocks": all, "num_new_allocated_blocks": all - reused, "num_reused_blocks": reused, "num_missed_blocks": all - reused},
		}})
	}
	p.upTo = last
	return list
}

func (s *Server) trtMetrics() any {
	t := s.journal.totals()
	x := exposition{prefix: "trtllm_", labels: `engine_type="trtllm",model_name="` + s.o.Profile.Model() + `"`}
	x.counter("request_success_total", t.lengths, `finished_reason="length"`)
	x.counter("request_success_total", t.requests-t.lengths, `finished_reason="stop"`)
	x.histogram("time_to_first_token_seconds", t.first, t.requests)
	x.histogram("time_per_output_token_seconds", t.decode, t.gaps)
	x.histogram("e2e_request_latency_seconds", t.wall, t.requests)
	x.histogram("request_queue_time_seconds", t.queue, t.requests)
	return x.reply()
}
