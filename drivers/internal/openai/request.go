package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/llm-speed/llm-speed/drivers"
)

// Call is a request for a stream, without what differs between the two endpoints.
type Call struct {
	Model        string // left out where empty
	MaxTokens    int    // left out where 0
	MaxTokensKey string // "max_tokens" where empty; newer servers want "max_completion_tokens"
	Seed         uint64
	NoSeed       bool           // the server refuses a seed
	NoSampling   bool           // the server refuses temperature
	NoStream     bool           // answer in one piece, for probes outside timed intervals
	IncludeUsage bool           // stream_options.include_usage
	EachUsage    bool           // stream_options.continuous_usage_stats too
	Extra        map[string]any // further fields; they win over those above
}

// Chat is a call of /v1/chat/completions.
type Chat struct {
	Call
	Prompt drivers.Prompt
}

// Completion is a call of /v1/completions.
type Completion struct {
	Call
	Prompt string
}

// Message is a chat message on the wire.
type Message struct {
	Role       string     `json:"role"`
	Content    *string    `json:"content"` // null for an assistant turn that only calls tools
	ToolCalls  []ToolCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
	Name       string     `json:"name,omitempty"`
}

// ToolCall is a call on the wire: its arguments are a JSON text inside a string.
type ToolCall struct {
	ID       string   `json:"id"`
	Type     string   `json:"type"` // function
	Function Function `json:"function"`
}

// Function is the function of a ToolCall.
type Function struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// Tool is a tool definition on the wire.
type Tool struct {
	Type     string          `json:"type"` // function
	Function json.RawMessage `json:"function"`
}

// Messages turns a prompt's messages into those on the wire.
func Messages(p drivers.Prompt) []Message {
	out := make([]Message, 0, len(p.Messages))
	for _, m := range p.Messages {
		w := Message{Role: m.Role, Content: &m.Content, ToolCallID: m.ToolCallID, Name: m.Name}
		for _, c := range m.ToolCalls {
			args := string(c.Arguments)
			if args == "" {
				args = "{}"
			}
			w.ToolCalls = append(w.ToolCalls, ToolCall{ID: c.ID, Type: "function", Function: Function{Name: c.Name, Arguments: args}})
		}
		if m.Content == "" && len(m.ToolCalls) > 0 {
			w.Content = nil
		}
		out = append(out, w)
	}
	return out
}

// Tools turns a prompt's tool definitions into those on the wire.
func Tools(p drivers.Prompt) ([]Tool, error) {
	out := make([]Tool, 0, len(p.Tools))
	for _, t := range p.Tools {
		if len(t.Parameters) == 0 {
			t.Parameters = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		f, err := json.Marshal(t)
		if err != nil {
			return nil, fmt.Errorf("encode tool %q: %w", t.Name, err)
		}
		out = append(out, Tool{Type: "function", Function: f})
	}
	return out, nil
}

// Encode gives the JSON of a chat call. The same call always gives the same bytes.
func (c Chat) Encode() ([]byte, error) {
	body := c.fields()
	body["messages"] = Messages(c.Prompt)
	if len(c.Prompt.Tools) > 0 {
		tools, err := Tools(c.Prompt)
		if err != nil {
			return nil, err
		}
		body["tools"] = tools
	}
	return encode(body, c.Extra)
}

// Encode gives the JSON of a completion call. The same call always gives the same bytes.
func (c Completion) Encode() ([]byte, error) {
	body := c.fields()
	body["prompt"] = c.Prompt
	return encode(body, c.Extra)
}

func (c *Call) fields() map[string]any {
	body := map[string]any{"stream": !c.NoStream}
	if c.Model != "" {
		body["model"] = c.Model
	}
	if c.MaxTokens > 0 {
		key := c.MaxTokensKey
		if key == "" {
			key = "max_tokens"
		}
		body[key] = c.MaxTokens
	}
	if !c.NoSampling {
		body["temperature"] = 0
	}
	if !c.NoSeed {
		body["seed"] = c.Seed & 0x7fffffff // some servers take 32 bits, signed
	}
	if !c.NoStream && (c.IncludeUsage || c.EachUsage) {
		o := map[string]bool{"include_usage": true}
		if c.EachUsage {
			o["continuous_usage_stats"] = true
		}
		body["stream_options"] = o
	}
	return body
}

func encode(body, extra map[string]any) ([]byte, error) {
	maps.Copy(body, extra)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // code in a prompt should not grow sixfold
	if err := enc.Encode(body); err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}
