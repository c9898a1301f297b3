package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
)

// block is a part of a message on the wire.
type block struct {
	Type      string          `json:"type"`
	Text      string          `json:"text,omitempty"`
	ID        string          `json:"id,omitempty"`          // tool_use
	Name      string          `json:"name,omitempty"`        // tool_use
	Input     json.RawMessage `json:"input,omitempty"`       // tool_use
	ToolUseID string          `json:"tool_use_id,omitempty"` // tool_result
	Content   string          `json:"content,omitempty"`     // tool_result
	Cache     *cacheControl   `json:"cache_control,omitempty"`
}

// cacheControl marks where a prefix ends that the service is to keep.
type cacheControl struct {
	Type string `json:"type"` // ephemeral: five minutes from its last use
}

// message is a turn on the wire.
type message struct {
	Role    string  `json:"role"`
	Content []block `json:"content"`
}

// tool is a tool definition on the wire.
type tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema"`
}

// conversation writes a prompt: the system's words apart, turns that alternate, results of tools in the user's turn. With
// reuse its end is marked, so that the service keeps it all and the next turn finds it.
func conversation(p drivers.Prompt, reuse bool) map[string]any {
	var system, empty []block
	var turns []message
	add := func(role string, bs ...block) {
		if len(bs) == 0 {
			return
		}
		if n := len(turns); n > 0 && turns[n-1].Role == role {
			turns[n-1].Content = append(turns[n-1].Content, bs...)
			return
		}
		turns = append(turns, message{role, bs})
	}
	words := func(text string) []block {
		if strings.TrimSpace(text) == "" { // the service refuses empty text
			return empty
		}
		return []block{{Type: "text", Text: text}}
	}
	for _, m := range p.Messages {
		switch m.Role {
		case "system", "developer":
			system = append(system, words(m.Content)...)
		case "tool":
			add("user", block{Type: "tool_result", ToolUseID: m.ToolCallID, Content: m.Content})
		case "assistant":
			add("assistant", append(words(m.Content), calls(m.ToolCalls)...)...)
		default:
			add("user", words(m.Content)...)
		}
	}
	if n := len(turns); reuse && n > 0 {
		last := turns[n-1].Content
		last[len(last)-1].Cache = &cacheControl{"ephemeral"}
	}
	body := map[string]any{"messages": turns}
	if len(system) > 0 {
		body["system"] = system
	}
	if len(p.Tools) > 0 {
		body["tools"] = tools(p.Tools)
	}
	return body
}

func calls(cs []chat.ToolCall) []block {
	var bs []block
	for _, c := range cs {
		input := c.Arguments
		if len(bytes.TrimSpace(input)) == 0 {
			input = json.RawMessage("{}")
		}
		bs = append(bs, block{Type: "tool_use", ID: c.ID, Name: c.Name, Input: input})
	}
	return bs
}

func tools(ts []chat.Tool) []tool {
	out := make([]tool, len(ts))
	for i, t := range ts {
		out[i] = tool{t.Name, t.Description, t.Parameters}
		if len(t.Parameters) == 0 {
			out[i].InputSchema = json.RawMessage(`{"type":"object","properties":{}}`)
		}
	}
	return out
}

// leastThinking is the smallest budget that the service takes, in tokens; the answer comes beside it.
const leastThinking = 1024

// encode writes a request.
func (s *session) encode(r drivers.Request) ([]byte, error) {
	s.mu.Lock()
	dropped := maps.Clone(s.dropped)
	s.mu.Unlock()
	body := conversation(r.Prompt, r.Reuse)
	body["model"], body["max_tokens"], body["stream"], body["temperature"] = s.model, r.OutputTokens, true, 0
	switch r.Reasoning {
	case "off":
		body["thinking"] = map[string]any{"type": "disabled"}
	case "on":
		if r.OutputTokens <= leastThinking {
			return nil, fmt.Errorf("%w: thinking takes at least %d tokens, and %d are asked for in all", drivers.ErrUnsupported, leastThinking, r.OutputTokens)
		}
		body["thinking"] = map[string]any{"type": "enabled", "budget_tokens": max(leastThinking, r.OutputTokens/2)}
		delete(body, "temperature") // it refuses both together
	}
	maps.DeleteFunc(body, func(name string, _ any) bool { return dropped[name] })
	return encoded(body)
}

// encoded gives the JSON of a body. The same body always gives the same bytes.
func encoded(body map[string]any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // code in a prompt should not grow sixfold
	if err := enc.Encode(body); err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// Adapt leaves out from now on what the model has refused by its name: some take no temperature, some no word on thinking.
// Nothing was generated then, and nothing is charged.
func (s *session) Adapt(err error) (string, bool) {
	var api *drivers.APIError
	if !errors.As(err, &api) || api.Status != http.StatusBadRequest {
		return "", false
	}
	said := strings.ToLower(api.Message)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range []string{"temperature", "thinking"} {
		if !s.dropped[name] && strings.Contains(said, name) {
			s.dropped[name] = true
			return "no " + name, true
		}
	}
	return "", false
}
