package builtins

import (
	"fmt"

	"go.starlark.net/starlark"
)

// Bounds of one prompt, far above any context.
const (
	maxPromptTokens = 16 << 20
	maxParts        = 1024
)

func promptSpec() Spec {
	return Spec{
		Name: "prompt", Live: true, call: callPrompt,
		Doc: "Makes an immutable prompt out of exactly one of `tokens`, `text`, `messages` and `parts`. Generated text has that many tokens on " +
			"this backend, chat template included.",
		Params: []Param{
			{Name: "tokens", Type: "int", Default: "None", Doc: "generated text of so many tokens"},
			{Name: "text", Type: "string", Default: "None", Doc: "one user message"},
			{Name: "messages", Type: "list", Default: "None", Doc: "a conversation: dicts with `role`, `content`, `tool_calls` (`id`, `name`, `arguments`), `tool_call_id`, `name`"},
			{Name: "tools", Type: "list", Default: "None", Doc: "with `messages`: dicts with `name`, `description`, `parameters`"},
			{Name: "parts", Type: "list", Default: "None", Doc: "one user message out of `shared(...)` and `fresh(...)`"},
			{Name: "cold", Type: "bool", Default: "True", Doc: "salted, so that no earlier prompt shares its prefix; left out, it is False where a part is shared"},
		},
		Gives: []Attr{
			{"tokens", "int or None", "prompt tokens as counted before the send; None where the backend can't count"},
			{"extend", "method", "see `prompt.extend`"},
		},
	}
}

func callPrompt(c *call) (starlark.Value, error) {
	var tokens intArg
	var text *starlark.String
	var messages, tools, parts, cold starlark.Value
	var textValue starlark.Value
	if err := c.unpack(&tokens, &textValue, &messages, &tools, &parts, &cold); err != nil {
		return nil, err
	}
	if textValue != nil {
		s, ok := textValue.(starlark.String)
		if !ok {
			return nil, c.errorf("text: got %s, want string", textValue.Type())
		}
		text = &s
	}
	given := 0
	for _, is := range []bool{tokens.given, text != nil, messages != nil, parts != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, c.errorf("got %d of tokens, text, messages and parts, want exactly one", given)
	}
	spec := PromptSpec{Cold: true}
	var err error
	switch {
	case tokens.given:
		if err := checkTokens(tokens.n); err != nil {
			return nil, c.errorf("%w", err)
		}
		spec.Tokens = tokens.n
	case text != nil:
		if *text == "" {
			return nil, c.errorf("text is empty")
		}
		spec.Text = string(*text)
	case messages != nil:
		if spec.Messages, err = messagesOf("messages", messages); err != nil {
			return nil, c.errorf("%w", err)
		}
	default:
		if spec.Parts, err = partsOf(parts); err != nil {
			return nil, c.errorf("%w", err)
		}
		for _, p := range spec.Parts {
			// Salt ahead of a shared part would keep it from ever being reused.
			spec.Cold = spec.Cold && p.Shared == ""
		}
	}
	if tools != nil {
		if messages == nil {
			return nil, c.errorf("tools go with messages only")
		}
		if spec.Tools, err = toolsOf("tools", tools); err != nil {
			return nil, c.errorf("%w", err)
		}
	}
	if cold != nil {
		is, ok := cold.(starlark.Bool)
		if !ok {
			return nil, c.errorf("cold: got %s, want bool", cold.Type())
		}
		spec.Cold = bool(is)
	}
	return c.realise(spec)
}

// realise asks the host for a prompt.
func (c *call) realise(spec PromptSpec) (starlark.Value, error) {
	p, err := c.host.Prompt(c.ctx, spec)
	if err != nil {
		return nil, c.hostError(err)
	}
	if p.ID < 1 {
		return nil, c.hostError(fmt.Errorf("prompt ID %d, want 1 or more", p.ID))
	}
	return &promptValue{opaque: "prompt", session: c.session, id: p.ID, tokens: p.Tokens}, nil
}

func extendSpec() Spec {
	return Spec{
		Name: "prompt.extend", Live: true, call: callExtend,
		Doc:    "Gives a longer prompt that shares this one's prefix. The prompt itself stays as it is.",
		Params: []Param{{Name: "messages", Type: "list", Required: true, Positional: true, Doc: "added behind the conversation, as in `prompt`"}},
		Gives:  promptSpec().Gives,
	}
}

func callExtend(c *call) (starlark.Value, error) {
	var messages starlark.Value
	if err := c.unpack(&messages); err != nil {
		return nil, err
	}
	list, err := messagesOf("messages", messages)
	if err != nil {
		return nil, c.errorf("%w", err)
	}
	return c.realise(PromptSpec{Extends: c.recv.(*promptValue).id, Messages: list})
}

func sharedSpec() Spec {
	return Spec{
		Name: "shared", call: callShared,
		Doc: "A generated part of a prompt that has the same text wherever its name is used in a pass.",
		Params: []Param{
			{Name: "name", Type: "string", Required: true, Positional: true, Doc: "which text"},
			{Name: "tokens", Type: "int", Required: true, Doc: "its length"},
		},
	}
}

func callShared(c *call) (starlark.Value, error) {
	var name string
	var tokens intArg
	if err := c.unpack(&name, &tokens); err != nil {
		return nil, err
	}
	if name == "" {
		return nil, c.errorf("name is empty")
	}
	if err := checkTokens(tokens.n); err != nil {
		return nil, c.errorf("%w", err)
	}
	return partValue{"part", Part{Shared: name, Tokens: tokens.n}}, nil
}

func freshSpec() Spec {
	return Spec{
		Name: "fresh", call: callFresh,
		Doc:    "A generated part of a prompt whose text is used nowhere else.",
		Params: []Param{{Name: "tokens", Type: "int", Required: true, Doc: "its length"}},
	}
}

func callFresh(c *call) (starlark.Value, error) {
	var tokens intArg
	if err := c.unpack(&tokens); err != nil {
		return nil, err
	}
	if err := checkTokens(tokens.n); err != nil {
		return nil, c.errorf("%w", err)
	}
	return partValue{"part", Part{Tokens: tokens.n}}, nil
}

func checkTokens(n int) error {
	if n < 1 || n > maxPromptTokens {
		return fmt.Errorf("tokens: got %d, want 1 to %d", n, maxPromptTokens)
	}
	return nil
}

// partsOf converts a list of parts.
func partsOf(v starlark.Value) ([]Part, error) {
	list, err := items(v)
	if err != nil {
		return nil, fmt.Errorf("parts: %w", err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("parts: empty, want at least one")
	}
	if len(list) > maxParts {
		return nil, fmt.Errorf("parts: got %d, want at most %d", len(list), maxParts)
	}
	out := make([]Part, len(list))
	total := 0
	for i, item := range list {
		p, ok := item.(partValue)
		if !ok {
			return nil, fmt.Errorf("parts[%d]: got %s, want shared(...) or fresh(...)", i, item.Type())
		}
		out[i] = p.Part
		if total += p.Tokens; total > maxPromptTokens {
			return nil, fmt.Errorf("parts: more than %d tokens together", maxPromptTokens)
		}
	}
	return out, nil
}

// promptValue is a prompt as programs hold it.
type promptValue struct {
	opaque
	session *session
	id      int
	tokens  *int
}

// String shows the tokens.
func (p *promptValue) String() string { return fmt.Sprintf("prompt(tokens = %s)", optInt(p.tokens)) }

// AttrNames lists the attributes.
func (p *promptValue) AttrNames() []string { return []string{"extend", "tokens"} }

// Attr finds an attribute.
func (p *promptValue) Attr(name string) (starlark.Value, error) {
	switch name {
	case "extend":
		return p.session.method("prompt.extend", p), nil
	case "tokens":
		return optInt(p.tokens), nil
	}
	return nil, noAttr("prompt", name, p.AttrNames())
}

// partValue is a part as programs hold it.
type partValue struct {
	opaque
	Part
}

// String shows the call that makes the part.
func (p partValue) String() string {
	if p.Shared != "" {
		return fmt.Sprintf("shared(%q, tokens = %d)", p.Shared, p.Tokens)
	}
	return fmt.Sprintf("fresh(tokens = %d)", p.Tokens)
}
