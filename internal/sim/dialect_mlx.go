package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// mlxServer speaks as mlx_lm.server: headers and a comment come at once, chunks have text or are not there, each repeats the
// role, and errors are 404.
func mlxServer(s *Server) *dialect {
	st := style{
		opening: "none", roleEach: true, reasoning: "reasoning", usageLike: "chat.completion", finish: `"delta":{"role":"assistant","content":""}`,
		each: `"system_fingerprint":"0.32.0-0.31.1-macOS-26.1-arm64-arm-64bit-applegpu_g16s",`,
		counts: func(w *wire, s *Served) string {
			b := fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d`, w.prompt, s.OutputTokens, w.prompt+s.OutputTokens)
			if !w.traps.noCachedField {
				b += fmt.Sprintf(`,"prompt_tokens_details":{"cached_tokens":%d}`, s.CachedTokens)
			}
			return b + "}"
		},
		fault: func(_ *wire, m string) string { return `{"error":"` + m + `"}` },
	}
	text := st
	text.finish = ""
	return &dialect{
		server: "BaseHTTP/0.6 Python/3.13.1", natural: longAnswer, comment: "keepalive 512/2048",
		always: func(t *Traps) { t.commentFirst, t.silentHidden = true, true },
		generates: []endpoint{
			{path: "/v1/chat/completions", read: readMLX, speak: openAI(st)},
			{path: "/v1/completions", read: readMLX, speak: openAI(text), fit: onlyText},
		},
		refusal: func(r *refusal) []byte {
			b, err := json.Marshal(map[string]string{"error": r.message})
			if err != nil {
				return nil
			}
			return b
		},
		missing: func(m string) *refusal {
			return refuse(http.StatusNotFound, fmt.Sprintf("404 Client Error. Repository Not Found for url: https://huggingface.co/api/models/%s/revision/main: no such model.", m), "", nil)
		},
		answers: []plainRoute{
			{"GET /health", func(*request) any { return map[string]string{"status": "ok"} }},
			{"GET /v1/models", func(*request) any {
				return map[string]any{"object": "list", "data": []any{map[string]any{"id": s.o.Profile.Model(), "object": "model", "created": s.origin.Unix()}}}
			}},
		},
	}
}

func readMLX(c *completion, body []byte) (err error) {
	var q openAIRequest
	if err := parse(body, &q); err != nil {
		return err
	}
	q.common(c)
	if q.Model != "" {
		c.served.Model = q.Model // what was asked for is what is said to have answered
	}
	if q.Model == "default_model" { // that of the command line
		c.model = ""
	}
	if c.optioned && q.StreamOptions.IncludeUsage == nil {
		return refuse(http.StatusNotFound, "'include_usage'", "", nil)
	}
	if c.tokens == nil {
		n := 512
		c.tokens = &n
	}
	if c.chat {
		c.prompt, err = conversation(q.Messages, q.Tools)
		return err
	}
	var text string
	if json.Unmarshal(q.Prompt, &text) != nil {
		return refuse(http.StatusNotFound, "prompt must be a string", "", nil)
	}
	if c.prompt = parsed(text); len(c.prompt) == 0 {
		return errors.New("the prompt is empty")
	}
	return nil
}
