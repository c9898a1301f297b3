package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
)

// wireMessage is a message as /api/chat takes it. A call's arguments are an object, not a text.
type wireMessage struct {
	Role       string     `json:"role"`
	Content    string     `json:"content"`
	ToolCalls  []wireCall `json:"tool_calls,omitempty"`
	ToolName   string     `json:"tool_name,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type wireCall struct {
	ID       string   `json:"id,omitempty"`
	Function wireFunc `json:"function"`
}

type wireFunc struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

type wireTool struct {
	Type     string    `json:"type"` // function
	Function chat.Tool `json:"function"`
}

// shape says what of a conversation the model's template renders. What it does not is written into the messages' text: it
// would be dropped without a word, or refused.
type shape struct {
	system bool // system messages
	tools  bool // tool definitions, calls and results
}

// messages puts a prompt into the shape.
func (s shape) messages(p drivers.Prompt) ([]wireMessage, []wireTool) {
	out := make([]wireMessage, 0, len(p.Messages))
	var tools []wireTool
	head := "" // for the next user message
	if s.tools {
		for _, t := range p.Tools {
			if len(t.Parameters) == 0 {
				t.Parameters = json.RawMessage(`{"type":"object","properties":{}}`)
			}
			tools = append(tools, wireTool{Type: "function", Function: t})
		}
	} else if len(p.Tools) > 0 {
		head = toolText(p.Tools)
	}
	for _, m := range p.Messages {
		w := wireMessage{Role: m.Role, Content: m.Content}
		switch {
		case m.Role == "system" && !s.system:
			head = join(head, m.Content)
			continue
		case m.Role == "system" && head != "":
			w.Content, head = join(m.Content, head), ""
		case m.Role == "user" && head != "":
			w.Content, head = join(head, m.Content), ""
		case m.Role == "tool" && s.tools:
			w.ToolName, w.ToolCallID = m.Name, m.ToolCallID
		case m.Role == "tool":
			w.Role, w.Content = "user", join(head, fmt.Sprintf("Result of %s:\n%s", m.Name, m.Content))
			head = ""
		}
		for _, c := range m.ToolCalls {
			arguments := c.Arguments
			if len(arguments) == 0 {
				arguments = json.RawMessage(`{}`)
			}
			if s.tools {
				w.ToolCalls = append(w.ToolCalls, wireCall{ID: c.ID, Function: wireFunc{Name: c.Name, Arguments: arguments}})
			} else {
				w.Content = join(w.Content, fmt.Sprintf("Call %s %s", c.Name, arguments))
			}
		}
		out = append(out, w)
	}
	if head != "" {
		out = append(out, wireMessage{Role: "user", Content: head})
	}
	return out, tools
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "\n\n" + b
}

// toolText writes tool definitions as text.
func toolText(tools []chat.Tool) string {
	var b strings.Builder
	b.WriteString("Tools:")
	for _, t := range tools {
		b.WriteByte('\n')
		j, _ := json.Marshal(t)
		b.Write(j)
	}
	return b.String()
}

// words of a probe, each in one part of a conversation.
const (
	markSystem = "sysmarkword"
	markUser   = "usermarkword"
	markTool   = "toolmarkword"
	markCall   = "callmarkword"
	markResult = "resultmarkword"
)

// probePrompt is a conversation in which each part has its own mark.
func probePrompt() drivers.Prompt {
	return drivers.Prompt{
		Messages: []chat.Message{
			{Role: "system", Content: markSystem},
			{Role: "user", Content: markUser},
			{Role: "assistant", ToolCalls: []chat.ToolCall{{ID: "call_1", Name: markTool, Arguments: json.RawMessage(`{"path":"` + markCall + `"}`)}}},
			{Role: "tool", ToolCallID: "call_1", Name: markTool, Content: markResult},
		},
		Tools: []chat.Tool{{Name: markTool, Description: "Reads a file.", Parameters: json.RawMessage(`{"type":"object","properties":{"path":{"type":"string"}}}`)}},
	}
}

// rendered is what a server without the means to show a rendered prompt gives.
var errNotShown = errors.New("the server shows no rendered prompt")

// render asks the server for a conversation as its template renders it, which costs no generation: _debug_render_only.
// Servers that do not know the field generate one token instead, and the error is errNotShown.
func (a api) render(ctx context.Context, q chatRequest) (string, error) {
	q.Stream, q.RenderOnly, q.Options.Predict = false, true, 1
	var out struct {
		Debug *struct {
			Rendered string `json:"rendered_template"`
		} `json:"_debug_info"`
	}
	if err := a.post(ctx, "/api/chat", q, &out); err != nil {
		if errors.Is(err, drivers.ErrProtocol) {
			return "", fmt.Errorf("%w: %w", errNotShown, err)
		}
		return "", err
	}
	if out.Debug == nil {
		return "", errNotShown
	}
	return out.Debug.Rendered, nil
}

// settle finds the shape that the model's template needs, and says in words what was found. before is the text that the
// template puts before that of a first user message; known tells whether that could be seen.
func (s *session) settle(ctx context.Context, about *shown) (how string, before string, known bool, err error) {
	can, told := about.can("tools")
	s.shape = shape{system: true, tools: can || !told}
	text, err := s.api.render(ctx, s.request(probePrompt(), drivers.Request{OutputTokens: 1}))
	if refusedBadly(err) && s.shape.tools { // an old server that lists no abilities, and has a model without tools
		s.shape.tools = false
		text, err = s.api.render(ctx, s.request(probePrompt(), drivers.Request{OutputTokens: 1}))
	}
	switch {
	case errors.Is(err, errNotShown):
		return "not checked: " + errNotShown.Error(), "", false, nil
	case err != nil:
		return "", "", false, fmt.Errorf("render a probe: %w", err)
	}
	has := func(marks ...string) bool {
		for _, m := range marks {
			if !strings.Contains(text, m) {
				return false
			}
		}
		return true
	}
	s.shape.system = has(markSystem)
	s.shape.tools = s.shape.tools && has(markTool, markCall, markResult)
	var left []string
	if !s.shape.system {
		left = append(left, "system messages")
	}
	if !s.shape.tools {
		left = append(left, "tools")
	}
	how = "the model's template"
	if len(left) > 0 {
		how += ", with " + strings.Join(left, " and ") + " as part of the messages' text: it knows none"
		if text, err = s.api.render(ctx, s.request(probePrompt(), drivers.Request{OutputTokens: 1})); err != nil {
			return "", "", false, fmt.Errorf("render a probe: %w", err)
		}
	}
	if !has(markSystem, markUser, markTool, markCall, markResult) {
		how += "; it leaves parts of a conversation with tools out all the same"
	}
	one := drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: markUser}}}
	if text, err = s.api.render(ctx, s.request(one, drivers.Request{OutputTokens: 1})); err != nil {
		return "", "", false, fmt.Errorf("render a probe: %w", err)
	}
	before, _, known = strings.Cut(text, markUser)
	return how, before, known, nil
}

// refusedBadly reports whether the server refused a request for what is in it.
func refusedBadly(err error) bool {
	var api *drivers.APIError
	return errors.As(err, &api) && api.Status == http.StatusBadRequest && !errors.Is(err, drivers.ErrContextLength)
}

// templateTokens counts the tokens that stand before the text of a first user message, by the server's own count of them
// alone; drivers.NotKnown where that can't be had. It matters only where the server states cached tokens.
func (s *session) templateTokens(ctx context.Context, before string, known bool) (int, error) {
	if !known {
		return drivers.NotKnown, nil
	}
	if before == "" {
		return 1, nil // a begin-of-text token, which not every tokenizer adds: one at most
	}
	var out struct {
		PromptCount num `json:"prompt_eval_count"`
	}
	o := s.options(1, 0)
	err := s.api.generate(ctx, struct {
		loading
		Prompt   string `json:"prompt"`
		Raw      bool   `json:"raw"`
		Truncate bool   `json:"truncate"`
	}{loading{Model: s.model, KeepAlive: s.keep, Options: &o}, before, true, false}, &out)
	if err != nil {
		return drivers.NotKnown, fmt.Errorf("count the template's tokens: %w", err)
	}
	if !out.PromptCount.ok || out.PromptCount.n <= 0 || out.PromptCount.n > 1<<20 {
		return drivers.NotKnown, nil
	}
	return int(out.PromptCount.n), nil
}
