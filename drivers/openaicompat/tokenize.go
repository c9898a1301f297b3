package openaicompat

import (
	"context"
	"fmt"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// tokenizing is a session whose server's tokenizer was seen to count as the server itself does.
type tokenizing struct {
	*session
	tok *tokenizer
}

// Tokenize gives the token ids of a prompt as Stream would render it.
func (t *tokenizing) Tokenize(ctx context.Context, p drivers.Prompt) ([]int32, error) {
	return t.tok.count(ctx, p)
}

// tokenizer calls a server's tokenizer in the one way that was found to work.
type tokenizer struct {
	s     *session
	form  string // "messages" (vLLM, SGLang) or "content" (llama.cpp)
	addTo bool   // "content" only: special tokens are added to a rendered prompt
}

// tokenizer finds the form whose count of the check text equals the server's own; nil where none does.
func (s *session) tokenizer(ctx context.Context, first stream.Transcript) *tokenizer {
	want := first.Counts.Prompt
	if !want.Known() {
		return nil
	}
	for _, t := range []*tokenizer{{s, "messages", false}, {s, "content", true}, {s, "content", false}} {
		if ids, err := t.count(ctx, user(checkText)); err == nil && len(ids) == want.N {
			return t
		}
	}
	return nil
}

func (t *tokenizer) count(ctx context.Context, p drivers.Prompt) ([]int32, error) {
	in := map[string]any{}
	var err error
	if t.form == "messages" {
		err = t.messages(in, p)
	} else {
		err = t.content(ctx, in, p)
	}
	if err != nil {
		return nil, err
	}
	var out struct {
		Tokens []int32 `json:"tokens"`
	}
	if err := t.s.post(ctx, "/tokenize", in, &out); err != nil {
		return nil, fmt.Errorf("tokenize: %w", err)
	}
	if len(out.Tokens) == 0 {
		return nil, fmt.Errorf("tokenize: %w: no tokens in the answer", drivers.ErrProtocol)
	}
	return out.Tokens, nil
}

// messages fills in vLLM's form: the server renders the conversation itself.
func (t *tokenizer) messages(in map[string]any, p drivers.Prompt) error {
	if t.s.model != "" {
		in["model"] = t.s.model
	}
	if !t.s.dialect.chat {
		text, err := plainText(p)
		in["prompt"] = text
		return err
	}
	in["messages"], in["add_generation_prompt"] = openai.Messages(p), true
	if len(p.Tools) == 0 {
		return nil
	}
	tools, err := openai.Tools(p)
	in["tools"] = tools
	return err
}

// content fills in llama.cpp's form: the conversation is rendered by a call of its own first.
func (t *tokenizer) content(ctx context.Context, in map[string]any, p drivers.Prompt) error {
	in["add_special"], in["parse_special"] = t.addTo, true
	if !t.s.dialect.chat {
		text, err := plainText(p)
		in["content"] = text
		return err
	}
	ask := map[string]any{"messages": openai.Messages(p)}
	if len(p.Tools) > 0 {
		tools, err := openai.Tools(p)
		if err != nil {
			return err
		}
		ask["tools"] = tools
	}
	var out struct {
		Prompt string `json:"prompt"`
	}
	if err := t.s.post(ctx, "/apply-template", ask, &out); err != nil {
		return fmt.Errorf("apply template: %w", err)
	}
	in["content"] = out.Prompt
	return nil
}
