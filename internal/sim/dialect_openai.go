package sim

import (
	"fmt"
	"strings"
)

// openAIService speaks as OpenAI's chat completions.
func openAIService(s *Server) *dialect {
	read := func(c *completion, body []byte) error {
		var q openAIRequest
		if err := parse(body, &q); err != nil {
			return err
		}
		if err := refuseUnknown(body, "Unrecognized request argument supplied: %s", "store", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "verbosity", "modalities", "prediction"); err != nil {
			return err
		}
		return readHosted(c, &q)
	}
	d := hosted("/v1", chatAt(read, func(c *completion) voice {
		return newWire(c, style{
			each:    `"service_tier":"default","system_fingerprint":"fp_sim","obfuscation":"` + strings.Repeat("x", int(c.served.ID%7)) + `",`,
			opening: `{"role":"assistant","content":"","refusal":null}`, choice: `,"logprobs":null`, nullUsage: true, counts: openAIUsage,
		})
	}))
	d.block, d.least = 128, 1024
	d.answers = []plainRoute{{"GET /models", listModels(s, "system", nil)}}
	d.headers = func(id int64) string {
		return rateLimits(id) + "openai-processing-ms: 12\r\nopenai-version: 2020-10-01\r\nopenai-organization: sim\r\n"
	}
	return d
}

func openAIUsage(w *wire, s *Served) string {
	b := fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d`, w.prompt, s.OutputTokens, w.prompt+s.OutputTokens)
	if !w.traps.noCachedField {
		b += fmt.Sprintf(`,"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0}`, s.CachedTokens)
	}
	return b + fmt.Sprintf(`,"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`, s.Reasoning)
}
