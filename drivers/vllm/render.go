package vllm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/plain"
	"github.com/llm-speed/llm-speed/drivers/internal/thinking"
	"github.com/llm-speed/llm-speed/internal/chat"
)

// renderer turns a conversation into token ids with the server's own template and tokenizer.
type renderer struct {
	http  *httpx.Client
	model string

	mu    sync.Mutex
	tails map[string]bool // ends of prompts, as ids, and whether they are inside a thinking block
}

// rendered is a prompt as it is sent.
type rendered struct {
	ids      []int32
	plain    bool // the template refused the messages, and the driver rendered them
	thinking bool // the prompt ends inside a thinking block
}

// render gives the token ids of a conversation. A template that knows no system message gets it as part of the first user
// message, and one that refuses all the same is replaced by plain text.
func (r *renderer) render(ctx context.Context, p drivers.Prompt, reasoning string) (rendered, error) {
	tries := []drivers.Prompt{p}
	if m, ok := plain.WithoutSystem(p); ok {
		tries = append(tries, m)
	}
	for _, q := range tries {
		in := map[string]any{"messages": openai.Messages(q), "add_generation_prompt": true}
		if len(q.Tools) > 0 {
			tools, err := openai.Tools(q)
			if err != nil {
				return rendered{}, err
			}
			in["tools"] = tools
		}
		if k := templateArgs(reasoning); k != nil {
			in["chat_template_kwargs"] = k
		}
		ids, err := r.tokenize(ctx, in)
		if err == nil {
			open, err := r.endsThinking(ctx, ids)
			return rendered{ids: ids, thinking: open}, err
		}
		if !errors.Is(err, drivers.ErrBadRequest) && !errors.Is(err, drivers.ErrServer) {
			return rendered{}, err
		}
	}
	ids, err := r.tokenize(ctx, map[string]any{"prompt": plain.Text(p), "add_special_tokens": true})
	return rendered{ids: ids, plain: true}, err
}

func (r *renderer) tokenize(ctx context.Context, in map[string]any) ([]int32, error) {
	in["model"] = r.model
	var out struct {
		Tokens []int32 `json:"tokens"`
	}
	if _, err := r.http.JSON(ctx, http.MethodPost, "/tokenize", in, &out); err != nil {
		return nil, fmt.Errorf("tokenize the prompt: %w", err)
	}
	if len(out.Tokens) == 0 {
		return nil, fmt.Errorf("%w: /tokenize gives no tokens", drivers.ErrProtocol)
	}
	return out.Tokens, nil
}

// tailTokens is how much of a prompt's end is looked at for the mark of a thinking block.
const tailTokens = 8

// endsThinking reports whether a prompt ends inside a thinking block. Prompts of one kind end alike, so that the server is
// seldom asked.
func (r *renderer) endsThinking(ctx context.Context, ids []int32) (bool, error) {
	tail := ids[max(0, len(ids)-tailTokens):]
	key := fmt.Sprint(tail)
	r.mu.Lock()
	open, known := r.tails[key]
	r.mu.Unlock()
	if known {
		return open, nil
	}
	var out struct {
		Prompt string `json:"prompt"`
	}
	_, err := r.http.JSON(ctx, http.MethodPost, "/detokenize", map[string]any{"model": r.model, "tokens": tail}, &out)
	var api *drivers.APIError
	if err != nil && !errors.As(err, &api) {
		return false, fmt.Errorf("look at the prompt's end: %w", err)
	}
	open = err == nil && thinking.Open(out.Prompt)
	r.mu.Lock()
	r.tails[key] = open
	r.mu.Unlock()
	return open, nil
}

// settle finds out whether the server renders conversations, and says how in words. can is false where there is no /tokenize.
func (r *renderer) settle(ctx context.Context) (found string, can bool, err error) {
	got, err := r.render(ctx, user("How many words has this sentence?"), "")
	switch {
	case isStatus(err, http.StatusNotFound) && !errors.Is(err, drivers.ErrModelNotFound), isStatus(err, http.StatusMethodNotAllowed), errors.Is(err, drivers.ErrProtocol):
		return "", false, nil
	case err != nil:
		return "", false, err
	case got.plain:
		return "plain: the model has no chat template", true, nil
	}
	return "template, by /tokenize", true, nil
}

// before counts the tokens that stand before the text of a first user message: what two different texts share.
func (r *renderer) before(ctx context.Context) (int, error) {
	a, err := r.render(ctx, user("Apples"), "")
	if err != nil {
		return drivers.NotKnown, err
	}
	b, err := r.render(ctx, user("zebra crossing 7"), "")
	if err != nil {
		return drivers.NotKnown, err
	}
	n := 0
	for n < len(a.ids) && n < len(b.ids) && a.ids[n] == b.ids[n] {
		n++
	}
	return n, nil
}

// tools tries a conversation with tools, a call and its result, and says in words what becomes of it. vLLM's /tokenize knows
// tools since 0.9.
func (r *renderer) tools(ctx context.Context) string {
	p := toolPrompt()
	with, err := r.render(ctx, p, "")
	without, err2 := r.render(ctx, drivers.Prompt{Messages: p.Messages}, "")
	switch {
	case err != nil || err2 != nil:
		return "not known: " + errors.Join(err, err2).Error()
	case with.plain:
		return "rendered as plain text: the template refuses them"
	case slices.Equal(with.ids, without.ids):
		return "left out of the prompt: by the template, or by /tokenize of a vLLM before 0.9"
	}
	return "template"
}

// toolPrompt is a conversation with a tool, a call and its result.
func toolPrompt() drivers.Prompt {
	const tool = "read_file"
	return drivers.Prompt{
		Messages: []chat.Message{
			{Role: "user", Content: "Read it."},
			{Role: "assistant", ToolCalls: []chat.ToolCall{{ID: "call00001", Name: tool, Arguments: json.RawMessage(`{"path":"a.txt"}`)}}},
			{Role: "tool", ToolCallID: "call00001", Name: tool, Content: "contents"},
		},
		Tools: []chat.Tool{{Name: tool, Description: "Reads a file.", Parameters: json.RawMessage(`{"type":"object","properties":{"path":{"type":"string"}}}`)}},
	}
}

// user is a prompt of one message.
func user(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

// filler is a prompt of n tokens at least, for trying the prompt cache.
func filler(n int) drivers.Prompt { return user(strings.Repeat("one two three four five six ", n/6+1)) }
