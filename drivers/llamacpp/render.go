package llamacpp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/plain"
	"github.com/llm-speed/llm-speed/drivers/internal/thinking"
	"github.com/llm-speed/llm-speed/internal/chat"
)

// renderer turns a conversation into token ids with the server's own template and tokenizer.
type renderer struct {
	http     *httpx.Client
	noBOS    bool // the server's own chat endpoint adds no begin-of-text token where /tokenize would
	template bool // /apply-template is there
}

// rendered is a prompt as it is sent.
type rendered struct {
	ids      []int32
	plain    bool // the template refused the messages, and the driver rendered them
	thinking bool // the text ends inside a thinking block
}

// render gives the token ids of a conversation.
func (r *renderer) render(ctx context.Context, p drivers.Prompt, reasoning string) (rendered, error) {
	text, isPlain, err := r.text(ctx, p, reasoning)
	if err != nil {
		return rendered{}, err
	}
	ids, err := r.tokenize(ctx, text)
	if err != nil {
		return rendered{}, err
	}
	return rendered{ids: ids, plain: isPlain, thinking: thinking.Open(text)}, nil
}

func (r *renderer) tokenize(ctx context.Context, text string) ([]int32, error) {
	in := map[string]any{"content": text, "add_special": !r.noBOS, "parse_special": true}
	var out struct {
		Tokens []int32 `json:"tokens"`
	}
	if _, err := r.http.JSON(ctx, http.MethodPost, "/tokenize", in, &out); err != nil {
		return nil, fmt.Errorf("tokenize the prompt: %w", err)
	}
	if len(out.Tokens) == 0 {
		return nil, fmt.Errorf("%w: /tokenize gives no tokens for %d bytes", drivers.ErrProtocol, len(text))
	}
	return out.Tokens, nil
}

// text renders by the template; a template that knows no system message gets it as part of the first user message, and
// one that refuses all the same is replaced by plain text.
func (r *renderer) text(ctx context.Context, p drivers.Prompt, reasoning string) (text string, isPlain bool, err error) {
	if !r.template {
		return plain.Text(p), true, nil
	}
	tries := []drivers.Prompt{p}
	if m, ok := plain.WithoutSystem(p); ok {
		tries = append(tries, m)
	}
	for _, q := range tries {
		body, err := chatBody(q, reasoning)
		if err != nil {
			return "", false, err
		}
		var out struct {
			Prompt string `json:"prompt"`
		}
		_, err = r.http.JSON(ctx, http.MethodPost, "/apply-template", body, &out)
		if err == nil && out.Prompt != "" {
			return out.Prompt, false, nil
		}
		if !refused(err) {
			return "", false, fmt.Errorf("render the prompt: %w", err)
		}
	}
	return plain.Text(p), true, nil
}

// refused reports whether an error, or the lack of one, means that the template is the trouble and not the server.
func refused(err error) bool {
	if err == nil {
		return true
	}
	var api *drivers.APIError
	return asAPI(err, &api) && api.Status != http.StatusUnauthorized && api.Status != http.StatusServiceUnavailable
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
		body["chat_template_kwargs"] = map[string]any{"enable_thinking": reasoning == "on"}
	}
	return body, nil
}

// settle finds out how the server tokenises a rendered chat, so that our prompt is the one that its own chat endpoint would
// have used. It returns what was found, in words.
func (r *renderer) settle(ctx context.Context) (string, error) {
	probe := drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: "How many words has this sentence?"}}}
	body, err := chatBody(probe, "")
	if err != nil {
		return "", err
	}
	var out struct {
		Prompt string `json:"prompt"`
	}
	_, err = r.http.JSON(ctx, http.MethodPost, "/apply-template", body, &out)
	r.template = err == nil && out.Prompt != ""
	if !r.template {
		if !refused(err) {
			return "", fmt.Errorf("render a probe: %w", err)
		}
		return "plain: the server renders no chat template", nil
	}
	own, how, err := r.serverCount(ctx, body)
	if err != nil || own == 0 {
		return "template; the token count was not checked", err
	}
	for _, noBOS := range []bool{false, true} {
		r.noBOS = noBOS
		ids, err := r.tokenize(ctx, out.Prompt)
		if err != nil {
			return "", err
		}
		if len(ids) == own {
			return "template; the token count equals that of " + how, nil
		}
	}
	r.noBOS = false
	return fmt.Sprintf("template; the token count differs from the %d of %s", own, how), nil
}

// serverCount asks how many tokens the server itself makes of a chat; 0 where it does not say.
func (r *renderer) serverCount(ctx context.Context, body map[string]any) (int, string, error) {
	var counted struct {
		InputTokens int `json:"input_tokens"`
	}
	_, err := r.http.JSON(ctx, http.MethodPost, "/v1/chat/completions/input_tokens", body, &counted)
	if err == nil && counted.InputTokens > 0 {
		return counted.InputTokens, "/v1/chat/completions/input_tokens", nil
	}
	if !refused(err) {
		return 0, "", fmt.Errorf("count a probe: %w", err)
	}
	ask := map[string]any{"messages": body["messages"], "max_tokens": 1}
	var answer struct {
		Usage struct {
			PromptTokens int `json:"prompt_tokens"`
		} `json:"usage"`
	}
	_, err = r.http.JSON(ctx, http.MethodPost, "/v1/chat/completions", ask, &answer)
	if err != nil && !refused(err) {
		return 0, "", fmt.Errorf("count a probe: %w", err)
	}
	return answer.Usage.PromptTokens, "/v1/chat/completions", nil
}

// before counts the tokens that stand before the text of a first user message: what two different texts share.
func (r *renderer) before(ctx context.Context) (int, error) {
	var ids [2][]int32
	for i, text := range []string{"Apples", "zebra crossing 7"} {
		got, err := r.render(ctx, drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}, "")
		if err != nil {
			return drivers.NotKnown, err
		}
		ids[i] = got.ids
	}
	n := 0
	for n < len(ids[0]) && n < len(ids[1]) && ids[0][n] == ids[1][n] {
		n++
	}
	return n, nil
}

// tools tries a conversation with tools, a call and its result, and says in words what the template makes of it.
func (r *renderer) tools(ctx context.Context) string {
	p := drivers.Prompt{
		Messages: []chat.Message{
			{Role: "user", Content: "Read the file."},
			{Role: "assistant", ToolCalls: []chat.ToolCall{{ID: "call00001", Name: "read_file", Arguments: json.RawMessage(`{"path":"a.txt"}`)}}},
			{Role: "tool", ToolCallID: "call00001", Name: "read_file", Content: "contents"},
		},
		Tools: []chat.Tool{{Name: "read_file", Description: "Reads a file.", Parameters: json.RawMessage(`{"type":"object","properties":{"path":{"type":"string"}}}`)}},
	}
	text, isPlain, err := r.text(ctx, p, "")
	switch {
	case err != nil:
		return "not known: " + err.Error()
	case isPlain:
		return "rendered as plain text: the template refuses them"
	case !strings.Contains(text, "read_file") || !strings.Contains(text, "contents"):
		return "template, which leaves parts of them out"
	}
	return "template"
}
