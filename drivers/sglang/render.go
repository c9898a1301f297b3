package sglang

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/thinking"
	"github.com/llm-speed/llm-speed/internal/chat"
)

// renderer has the server turn a conversation into token ids. Newer servers' /tokenize takes messages and applies the chat
// template as their chat route does; which kinds of conversation it renders to the same length as that route was checked at
// Open, and only these are sent as ids.
type renderer struct {
	http  *httpx.Client
	model string

	messages  bool // plain conversations
	tools     bool // such with tools and calls
	reasoning bool // such with thinking switched on or off
}

// exact reports whether a conversation is one whose rendering is known to be that of the chat route.
func (r *renderer) exact(p drivers.Prompt, reasoning string) bool {
	return r.messages && (r.tools || !usesTools(p)) && (r.reasoning || reasoning == "")
}

func usesTools(p drivers.Prompt) bool {
	if len(p.Tools) > 0 {
		return true
	}
	for _, m := range p.Messages {
		if len(m.ToolCalls) > 0 || m.Role == "tool" {
			return true
		}
	}
	return false
}

// render gives the token ids of a conversation.
func (r *renderer) render(ctx context.Context, p drivers.Prompt, reasoning string) ([]int32, error) {
	in, err := chatBody(p, reasoning)
	if err != nil {
		return nil, err
	}
	in["model"], in["add_generation_prompt"] = r.model, true
	return r.tokenize(ctx, in)
}

func (r *renderer) tokenize(ctx context.Context, in map[string]any) ([]int32, error) {
	var out struct {
		Tokens []int32 `json:"tokens"`
	}
	if _, err := r.http.JSON(ctx, http.MethodPost, "/tokenize", in, &out); err != nil {
		return nil, fmt.Errorf("render the prompt: %w", err)
	}
	if len(out.Tokens) == 0 {
		return nil, fmt.Errorf("%w: /tokenize gives no tokens", drivers.ErrProtocol)
	}
	return out.Tokens, nil
}

// encode gives the token ids of a text by itself.
func (r *renderer) encode(ctx context.Context, text string) ([]int32, error) {
	return r.tokenize(ctx, map[string]any{"model": r.model, "prompt": text, "add_special_tokens": false})
}

// chatBody is the part of a chat request that the template sees.
func chatBody(p drivers.Prompt, reasoning string) (map[string]any, error) {
	body := map[string]any{"messages": openai.Messages(p)}
	if len(p.Tools) > 0 {
		tools, err := openai.Tools(p)
		if err != nil {
			return nil, err
		}
		body["tools"] = tools
	}
	if reasoning != "" {
		body["chat_template_kwargs"] = thinkingKwargs(reasoning)
	}
	return body, nil
}

// thinkingKwargs switches a template's thinking. Templates know it by one of the two names and ignore the other.
func thinkingKwargs(reasoning string) map[string]bool {
	return map[string]bool{"enable_thinking": reasoning == "on", "thinking": reasoning == "on"}
}

// opensThinking reports whether a rendered prompt ends inside a thinking block. Its last tokens are turned back into text
// for that; where the server can't, it is taken for no.
func (r *renderer) opensThinking(ctx context.Context, ids []int32) bool {
	const last = 8
	var out struct {
		Text json.RawMessage `json:"text"`
	}
	in := map[string]any{"model": r.model, "tokens": ids[max(0, len(ids)-last):], "skip_special_tokens": false}
	if _, err := r.http.JSON(ctx, http.MethodPost, "/detokenize", in, &out); err != nil {
		return false
	}
	var text string
	return json.Unmarshal(out.Text, &text) == nil && thinking.Open(text)
}

// before counts the tokens that stand before the text of a first user message: what two different texts share.
func (r *renderer) before(ctx context.Context) (int, error) {
	var ids [2][]int32
	for i, text := range []string{"Apples", "zebra crossing 7"} {
		var err error
		if ids[i], err = r.render(ctx, user(text), ""); err != nil {
			return drivers.NotKnown, err
		}
	}
	n := 0
	for n < len(ids[0]) && n < len(ids[1]) && ids[0][n] == ids[1][n] {
		n++
	}
	return n, nil
}

// probes are the conversations on which renderings are compared, one of each kind.
func probes() (plain, tools drivers.Prompt) {
	plain = user(checkText)
	tools = drivers.Prompt{
		Messages: []chat.Message{
			{Role: "user", Content: "Read the file."},
			{Role: "assistant", ToolCalls: []chat.ToolCall{{ID: "call00001", Name: "read_file", Arguments: json.RawMessage(`{"path":"a.txt"}`)}}},
			{Role: "tool", ToolCallID: "call00001", Name: "read_file", Content: "contents"},
		},
		Tools: []chat.Tool{{Name: "read_file", Description: "Reads a file.", Parameters: json.RawMessage(`{"type":"object","properties":{"path":{"type":"string"}}}`)}},
	}
	return plain, tools
}

// checkText meets words, digits, markup and text outside of ASCII.
const checkText = "Say hello. Dites bonjour; 東京 2,048 <b>x_1</b>"

func user(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

// settle compares /tokenize with the server's own chat route, and says in words what was found.
func (r *renderer) settle(ctx context.Context, count func(context.Context, drivers.Prompt, string) (int, error)) (string, error) {
	plain, tools := probes()
	same := func(p drivers.Prompt, reasoning string) (bool, string, error) {
		ids, err := r.render(ctx, p, reasoning)
		if err != nil {
			if refused(err) {
				return false, "refused", nil
			}
			return false, "", err
		}
		n, err := count(ctx, p, reasoning)
		switch {
		case err == nil && n == len(ids):
			return true, "", nil
		case err == nil:
			return false, fmt.Sprintf("%d tokens, and %d by the chat route", len(ids), n), nil
		case refused(err):
			return false, "the chat route refuses the same: " + err.Error(), nil
		}
		return false, "", err
	}
	var err error
	var why string
	if r.messages, why, err = same(plain, ""); err != nil {
		return "", err
	}
	if !r.messages {
		return "/tokenize does not render conversations (" + why + ")", nil
	}
	found := "/tokenize; its count equals that of the chat route"
	if r.tools, why, err = same(tools, ""); err != nil {
		return "", err
	}
	if !r.tools {
		found += "; conversations with tools go by the chat route (" + why + ")"
	}
	if r.reasoning, why, err = same(plain, "off"); err != nil {
		return "", err
	}
	if !r.reasoning {
		found += "; so do such with thinking switched (" + why + ")"
	}
	return found, nil
}
