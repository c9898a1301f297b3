package sim

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// hosted is what the paid services have in common: their paths lie under a base, of which any part may be left out; a key is
// wanted; the model ends by itself only later than any workload asks for.
func hosted(base string, generates ...endpoint) *dialect {
	bases := []string{base}
	if base != "/v1" {
		bases = append(bases, "/v1")
	}
	return &dialect{
		bases: append(bases, ""), natural: longAnswer, generates: generates, refusal: nestedError, headers: rateLimits,
		authorise: func(r *request) *refusal {
			if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
				return refuse(http.StatusUnauthorized, "You didn't provide an API key.", "invalid_request_error", "invalid_api_key")
			}
			return nil
		},
		missing: func(m string) *refusal {
			return refuse(http.StatusNotFound, fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", m), "invalid_request_error", "model_not_found")
		},
		overflow: func(c *completion, asked, limit int) *refusal {
			return refuse(http.StatusBadRequest, fmt.Sprintf("This model's maximum context length is %d tokens. However, your messages resulted in %d tokens and %d were asked for. Please reduce the length of the messages.",
				limit, len(c.prompt), asked), "invalid_request_error", "context_length_exceeded")
		},
	}
}

// rateLimits are headers as several services have them.
func rateLimits(id int64) string {
	return fmt.Sprintf("x-request-id: req_sim%d\r\nx-ratelimit-limit-requests: 14400\r\nx-ratelimit-remaining-requests: 14370\r\nx-ratelimit-reset-requests: 2m59.56s\r\n"+
		"x-ratelimit-limit-tokens: 18000000\r\nx-ratelimit-remaining-tokens: 17997000\r\nx-ratelimit-reset-tokens: 7.66s\r\n", id)
}

// chatAt is the one endpoint that all of them have.
func chatAt(read func(c *completion, body []byte) error, speak func(c *completion) voice) endpoint {
	return endpoint{path: "/chat/completions", read: read, speak: speak}
}

// readHosted understands a chat as OpenAI's API has it.
func readHosted(c *completion, q *openAIRequest) (err error) {
	q.common(c)
	if c.model == "" {
		return refuse(http.StatusBadRequest, "you must provide a model parameter", "invalid_request_error", nil)
	}
	if c.chat {
		c.prompt, err = conversation(q.Messages, q.Tools)
	} else {
		c.prompt, err = textOrIDs(q.Prompt, parsed)
	}
	return err
}

// listModels is a list of the one model in OpenAI's shape, with further members.
func listModels(s *Server, owner string, more map[string]any) func(*request) any {
	return func(*request) any {
		m := map[string]any{"id": s.dialect.modelID(s.o.Profile), "object": "model", "created": s.origin.Unix(), "owned_by": owner}
		maps.Copy(m, more)
		return map[string]any{"object": "list", "data": []any{m}}
	}
}

// refuseUnknown refuses members that a service does not know, in its words, which have the member's name in them.
func refuseUnknown(body []byte, words string, known ...string) error {
	if odd := unknownMember(body, append(openAIMembers(), known...)); odd != "" {
		return refuse(http.StatusBadRequest, fmt.Sprintf(words, odd), "invalid_request_error", nil)
	}
	return nil
}

func openAIMembers() []string {
	return strings.Fields(`model messages stream stream_options max_tokens max_completion_tokens temperature top_p seed stop n user tools tool_choice
		parallel_tool_calls response_format frequency_penalty presence_penalty logit_bias logprobs top_logprobs reasoning_effort service_tier metadata`)
}
