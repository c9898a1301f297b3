package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"
)

// tabbyAPI speaks as TabbyAPI with exllamav2 behind it: completion_time begins before the forward pass of the first token, so
// that all n tokens fall into it; prompt_time ends there; both are rounded to hundredths of a second.
func tabbyAPI(s *Server) *dialect {
	st := style{opening: `{"role":"assistant","content":""}`, counts: tabbyUsage}
	card := func() map[string]any {
		p := s.o.Profile
		return map[string]any{"id": p.Model(), "object": "model", "created": s.origin.Unix(), "owned_by": "tabbyAPI", "parameters": map[string]any{
			"max_seq_len": p.Context, "cache_size": p.Context * p.Slots, "cache_mode": "FP16", "rope_scale": 1.0, "rope_alpha": 1.0, "max_batch_size": p.Slots,
			"chunk_size": 2048, "prompt_template": "chatml", "use_vision": false,
		}}
	}
	list := func(*request) any { return map[string]any{"object": "list", "data": []any{card()}} }
	return &dialect{
		server: "uvicorn", natural: shortAnswer, block: 256, anyModel: true,
		authorise: func(r *request) *refusal {
			if r.Header.Get("X-Api-Key") == "" && r.Header.Get("Authorization") == "" && r.URL.Path != "/health" {
				return refuse(http.StatusUnauthorized, "Please provide an API key", "", 401)
			}
			return nil
		},
		generates: []endpoint{
			{path: "/v1/chat/completions", read: readTabby, speak: openAI(st)},
			{path: "/v1/completions", read: readTabby, speak: openAI(st), fit: onlyText},
		},
		refusal: func(r *refusal) []byte {
			b, err := json.Marshal(map[string]any{"detail": r.message})
			if err != nil {
				return nil
			}
			return b
		},
		overflow: func(c *completion, asked, limit int) *refusal {
			return refuse(http.StatusBadRequest, fmt.Sprintf("Prompt length %d and max_tokens %d exceed the context length: max_seq_len is %d", len(c.prompt), asked, limit), "", 400)
		},
		answers: []plainRoute{
			{"GET /health", func(*request) any { return map[string]any{"status": "healthy", "issues": []any{}} }},
			{"GET /v1/model", func(*request) any { return card() }},
			{"GET /v1/models", list}, {"GET /v1/model/list", list},
			{"GET /props", func(*request) any {
				return map[string]any{"total_slots": s.slots(), "chat_template": chatTemplate, "default_generation_settings": map[string]any{"n_ctx": s.o.Profile.Context}}
			}},
			{"POST /v1/token/encode", s.tabbyEncode},
		},
	}
}

func readTabby(c *completion, body []byte) (err error) {
	var q openAIRequest
	var own struct {
		Ban    bool `json:"ban_eos_token"`
		Length int  `json:"min_length"`
	}
	if err := errors.Join(parse(body, &q), parse(body, &own)); err != nil {
		return err
	}
	q.common(c)
	c.ignoreEOS, c.least = q.IgnoreEOS || own.Ban, max(q.MinTokens, own.Length)
	if c.chat {
		c.prompt, err = conversation(q.Messages, q.Tools)
		return err
	}
	var text string
	var texts []string
	switch {
	case json.Unmarshal(q.Prompt, &text) == nil:
	case json.Unmarshal(q.Prompt, &texts) == nil && len(texts) == 1:
		text = texts[0]
	default:
		return refuse(http.StatusUnprocessableEntity, "prompt: Input should be a valid string", "", 422)
	}
	c.prompt = parsed(text)
	return nil
}

// hundredths rounds a time as the server does.
func hundredths(d time.Duration) float64 { return math.Round(d.Seconds()*100) / 100 }

// tabbyRate is a rate of rounded times, or the server's word for none.
func tabbyRate(n int, secs float64) any {
	if secs == 0 {
		return "Indeterminate"
	}
	return math.Round(float64(n)/secs*100) / 100
}

func tabbyUsage(w *wire, s *Served) string {
	u := map[string]any{"prompt_tokens": w.prompt, "completion_tokens": s.OutputTokens, "total_tokens": w.prompt + s.OutputTokens}
	if !w.traps.noTimings {
		prompt, gen := hundredths(s.PrefillEnd-s.PrefillStart), hundredths(s.LastToken-s.PrefillEnd)
		u["prompt_time"], u["prompt_tokens_per_sec"] = prompt, tabbyRate(s.PromptTokens-s.CachedTokens, prompt)
		u["completion_time"], u["completion_tokens_per_sec"] = gen, tabbyRate(s.OutputTokens, gen)
		u["total_time"] = hundredths(s.LastToken)
	}
	b, err := json.Marshal(u)
	if err != nil {
		return "null"
	}
	return string(b)
}

// tabbyEncode tokenises text, or messages without the beginning of an answer.
func (s *Server) tabbyEncode(r *request) any {
	if no := s.tokenizes("/v1/token/encode"); no != nil {
		return no
	}
	var in struct {
		Text json.RawMessage `json:"text"`
	}
	if err := parse(r.body, &in); err != nil {
		return refused(err)
	}
	var text string
	if json.Unmarshal(in.Text, &text) != nil {
		var messages []message
		if err := parse(in.Text, &messages); err != nil {
			return refused(err)
		}
		segs, err := render(messages, nil)
		if err != nil {
			return refused(err)
		}
		text = plain(segs[:len(segs)-3])
	}
	ids := s.drifted(parsed(text))
	return map[string]any{"tokens": ids, "length": len(ids)}
}
