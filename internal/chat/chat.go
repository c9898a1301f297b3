// Package chat holds the words of a conversation as every backend understands them: messages, tool calls and tool
// definitions. Types only; it knows neither prompts nor wire formats.
package chat

import "encoding/json"

// Message is one turn of a conversation. The JSON form is the one of suite data, not of any backend.
type Message struct {
	Role       string     `json:"role"` // system, user, assistant or tool
	Content    string     `json:"content"`
	ToolCalls  []ToolCall `json:"tool_calls,omitempty"`   // assistant only
	ToolCallID string     `json:"tool_call_id,omitempty"` // tool only: the call that this is the result of
	Name       string     `json:"name,omitempty"`         // tool only: the tool's name
}

// ToolCall is a call that the assistant made. Arguments is a JSON object; drivers turn it into the string that
// OpenAI-like servers want or leave it an object.
type ToolCall struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

// Tool is a function that the model may call. Parameters is a JSON Schema object.
type Tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
}
