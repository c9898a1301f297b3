package builtins

import (
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"github.com/llm-speed/llm-speed/internal/chat"
)

// messagesOf converts a list of messages; path is how errors name it.
func messagesOf(path string, v starlark.Value) ([]chat.Message, error) {
	list, err := items(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: empty, want at least one message", path)
	}
	out := make([]chat.Message, len(list))
	for i, item := range list {
		if out[i], err = messageOf(fmt.Sprintf("%s[%d]", path, i), item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// messageOf converts and checks one message.
func messageOf(path string, v starlark.Value) (chat.Message, error) {
	var m chat.Message
	f, err := fields(path, v, "role", "content", "tool_calls", "tool_call_id", "name")
	if err != nil {
		return m, err
	}
	if m.Role, err = f.text("role", true); err != nil {
		return m, err
	}
	roles := []string{"system", "user", "assistant", "tool"}
	if !slices.Contains(roles, m.Role) {
		return m, fmt.Errorf("%s.role: got %q, want one of %s", path, m.Role, listed(roles))
	}
	calls := f.list("tool_calls")
	// An assistant that only calls tools says nothing.
	if m.Content, err = f.text("content", calls == nil); err != nil {
		return m, err
	}
	if calls != nil && m.Role != "assistant" {
		return m, fmt.Errorf("%s.tool_calls: only an assistant message has them, this is %s", path, m.Role)
	}
	if m.ToolCallID, err = f.text("tool_call_id", m.Role == "tool"); err != nil {
		return m, err
	}
	if m.Name, err = f.text("name", false); err != nil {
		return m, err
	}
	if m.Role != "tool" && (m.ToolCallID != "" || m.Name != "") {
		return m, fmt.Errorf("%s: tool_call_id and name belong to a tool message, this is %s", path, m.Role)
	}
	if calls != nil {
		m.ToolCalls, err = callsOf(path+".tool_calls", calls)
	}
	return m, err
}

// callsOf converts the tool calls of an assistant message.
func callsOf(path string, v starlark.Value) ([]chat.ToolCall, error) {
	list, err := items(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out := make([]chat.ToolCall, len(list))
	for i, item := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		f, err := fields(at, item, "id", "name", "arguments")
		if err != nil {
			return nil, err
		}
		if out[i].ID, err = f.text("id", true); err != nil {
			return nil, err
		}
		if out[i].Name, err = f.text("name", true); err != nil {
			return nil, err
		}
		args, ok := f.values["arguments"]
		if !ok {
			return nil, fmt.Errorf("%s: no arguments, want an object, may be empty", at)
		}
		if out[i].Arguments, err = toJSON(args); err != nil {
			return nil, fmt.Errorf("%s.arguments: %w", at, err)
		}
	}
	return out, nil
}

// toolsOf converts tool definitions.
func toolsOf(path string, v starlark.Value) ([]chat.Tool, error) {
	list, err := items(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out := make([]chat.Tool, len(list))
	for i, item := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		f, err := fields(at, item, "name", "description", "parameters")
		if err != nil {
			return nil, err
		}
		if out[i].Name, err = f.text("name", true); err != nil {
			return nil, err
		}
		if out[i].Description, err = f.text("description", false); err != nil {
			return nil, err
		}
		schema, ok := f.values["parameters"]
		if !ok {
			return nil, fmt.Errorf("%s: no parameters, want a JSON Schema object", at)
		}
		if out[i].Parameters, err = toJSON(schema); err != nil {
			return nil, fmt.Errorf("%s.parameters: %w", at, err)
		}
	}
	return out, nil
}

// fieldSet is a dict or object under conversion.
type fieldSet struct {
	path   string
	values map[string]starlark.Value
}

// fields takes a value apart and refuses names that it does not know.
func fields(path string, v starlark.Value, known ...string) (fieldSet, error) {
	values, err := fieldsOf(v)
	if err != nil {
		return fieldSet{}, fmt.Errorf("%s: %w", path, err)
	}
	var odd []string
	for name := range values {
		if !slices.Contains(known, name) {
			odd = append(odd, name)
		}
	}
	if len(odd) > 0 {
		slices.Sort(odd)
		return fieldSet{}, fmt.Errorf("%s: unknown %s; known: %s", path, strings.Join(odd, ", "), listed(known))
	}
	return fieldSet{path, values}, nil
}

// text gives a string; None counts as absent.
func (f fieldSet) text(name string, required bool) (string, error) {
	v, ok := f.values[name]
	if !ok || v == starlark.None {
		if required {
			return "", fmt.Errorf("%s: no %s", f.path, name)
		}
		return "", nil
	}
	s, ok := starlark.AsString(v)
	if !ok {
		return "", fmt.Errorf("%s.%s: got %s, want string", f.path, name, v.Type())
	}
	return s, nil
}

// list gives a value unless it is absent, None or an empty list.
func (f fieldSet) list(name string) starlark.Value {
	v, ok := f.values[name]
	if !ok || v == starlark.None || starlark.Len(v) == 0 {
		return nil
	}
	return v
}
