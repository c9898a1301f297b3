package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// message is a message of a chat request as it comes over the wire.
type message struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"`
	Reasoning  string          `json:"reasoning_content"`
	Name       string          `json:"name"`
	ToolCallID string          `json:"tool_call_id"`
	ToolCalls  []toolCall      `json:"tool_calls"`
}

// toolCall is a call that an assistant made; its arguments are an object, or text that is one.
type toolCall struct {
	Function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// text is a content that is null, a string, or a list of text parts.
func (m message) text() (string, error) {
	if len(m.Content) == 0 || string(m.Content) == "null" {
		return "", nil
	}
	var s string
	if json.Unmarshal(m.Content, &s) == nil {
		return s, nil
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(m.Content, &parts); err != nil {
		return "", fmt.Errorf("content of a %s message is neither text nor a list of parts", m.Role)
	}
	var b strings.Builder
	for _, p := range parts {
		if p.Type != "text" {
			return "", fmt.Errorf("content part of type %q is not supported", p.Type)
		}
		b.WriteString(p.Text)
	}
	return b.String(), nil
}

// segment is a part of a rendered prompt: text, or a special token, which text can never produce.
type segment struct {
	text    string
	special bool
}

const (
	markStart = "<|im_start|>"
	markEnd   = "<|im_end|>"
)

// TemplateTokens is the number of tokens that the chat template puts before the first message's text.
const TemplateTokens = 3

// render applies the chat template. A conversation that is another one plus messages renders to what the other one
// renders to before its generation prompt, plus more.
func render(messages []message, tools []json.RawMessage) ([]segment, error) {
	var out []segment
	open := func(role string) {
		out = append(out, segment{markStart, true}, segment{role, false}, segment{"\n", false})
	}
	shut := func() { out = append(out, segment{markEnd, true}, segment{"\n", false}) }
	toolText := renderTools(tools)
	if toolText != "" && (len(messages) == 0 || messages[0].Role != "system") {
		open("system")
		out = append(out, segment{toolText, false})
		shut()
		toolText = ""
	}
	for i, m := range messages {
		switch m.Role {
		case "system", "developer", "user", "assistant", "tool":
		default:
			return nil, fmt.Errorf("unknown role %q", m.Role)
		}
		body, err := m.text()
		if err != nil {
			return nil, err
		}
		open(m.Role)
		out = append(out, segment{body, false})
		if i == 0 && toolText != "" {
			out = append(out, segment{toolText, false})
		}
		for _, c := range m.ToolCalls {
			args := string(c.Function.Arguments)
			var inner string
			if json.Unmarshal(c.Function.Arguments, &inner) == nil {
				args = inner
			}
			out = append(out, segment{"\n<tool_call>\n{\"name\": \"" + c.Function.Name + "\", \"arguments\": " + args + "}\n</tool_call>", false})
		}
		shut()
	}
	open("assistant")
	return out, nil
}

func renderTools(tools []json.RawMessage) string {
	if len(tools) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n\n# Tools\n\n<tools>\n")
	for _, t := range tools {
		b.Write(t)
		b.WriteByte('\n')
	}
	b.WriteString("</tools>")
	return b.String()
}

func tokens(segs []segment) []int32 {
	n := 0
	for _, s := range segs {
		n += len(s.text)/4 + 2
	}
	ids := make([]int32, 0, n)
	for _, s := range segs {
		if s.special {
			ids = append(ids, tokenID("\x00"+s.text))
		} else {
			ids = appendTokens(ids, s.text)
		}
	}
	return ids
}

func plain(segs []segment) string {
	var b strings.Builder
	for _, s := range segs {
		b.WriteString(s.text)
	}
	return b.String()
}

// parsed tokenises text in which the template's marks are special tokens, as servers do with a prompt that was rendered.
func parsed(text string) []int32 {
	ids := make([]int32, 0, len(text)/4+8)
	for text != "" {
		at, mark := len(text), ""
		for _, m := range []string{markStart, markEnd} {
			if i := strings.Index(text[:at], m); i >= 0 {
				at, mark = i, m
			}
		}
		ids = appendTokens(ids, text[:at])
		if mark != "" {
			ids = append(ids, tokenID("\x00"+mark))
		}
		text = text[at+len(mark):]
	}
	return ids
}

// conversation renders a conversation and tokenises the text as a whole.
func conversation(messages []message, tools []json.RawMessage) ([]int32, error) {
	text, err := rendered(messages, tools)
	return parsed(text), err
}

func rendered(messages []message, tools []json.RawMessage) (string, error) {
	if len(messages) == 0 {
		return "", errors.New("messages is empty")
	}
	segs, err := render(messages, tools)
	return plain(segs), err
}
