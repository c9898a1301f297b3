package openaicompat

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
)

// A feature is a field of a request that not every server takes.
type feature struct {
	name  string
	words []string // one of which a refusal names it by
	on    bool
}

// The features, in the order in which they are given up when a refusal names none.
const (
	ignoreEOS   = iota
	llamaFields // cache_prompt and others of llama.cpp's; off for other servers
	eachUsage
	includeUsage
	seed
	temperature
)

// dialect is how requests to one server are written.
type dialect struct {
	kind     string // of server
	chat     bool
	maxKey   string
	features [6]feature
}

func newDialect(kind string, chat bool) dialect {
	return dialect{kind: kind, chat: chat, maxKey: "max_tokens", features: [6]feature{
		ignoreEOS:    {"ignore_eos", []string{"ignore_eos"}, true},
		llamaFields:  {"cache_prompt", []string{"cache_prompt", "timings_per_token", "id_slot"}, kind == llamaCpp || kind == simSrv},
		eachUsage:    {"continuous_usage_stats", []string{"continuous_usage_stats"}, kind == vLLM || kind == sgLang || kind == simSrv},
		includeUsage: {"include_usage", []string{"stream_options", "include_usage"}, true},
		seed:         {"seed", []string{"seed"}, true},
		temperature:  {"temperature", []string{"temperature"}, true},
	}}
}

// adapt changes the dialect after a refusal. It gives the index of a feature that it gave up without being told which, -1
// otherwise; ok is false where there is nothing left to change.
func (d *dialect) adapt(err error, chatOnly bool) (blind int, ok bool) {
	var api *drivers.APIError
	if !errors.As(err, &api) {
		return -1, false
	}
	said := strings.ToLower(api.Message)
	noChat := errors.Is(err, drivers.ErrNotFound) || api.Status == 405 || api.Status == 501 ||
		strings.Contains(said, "chat template") || strings.Contains(said, "chat_template")
	if d.chat && !chatOnly && noChat {
		d.chat = false
		return -1, true
	}
	if !errors.Is(err, drivers.ErrBadRequest) {
		return -1, false
	}
	if d.maxKey == "max_tokens" && strings.Contains(said, "max_completion_tokens") {
		d.maxKey = "max_completion_tokens"
		return -1, true
	}
	for i := range d.features {
		f := &d.features[i]
		if f.on && slices.ContainsFunc(f.words, func(w string) bool { return strings.Contains(said, w) }) {
			f.on = false
			return -1, true
		}
	}
	for i := range d.features {
		if d.features[i].on {
			d.features[i].on = false
			return i, true
		}
	}
	if d.maxKey == "max_tokens" {
		d.maxKey = "max_completion_tokens"
		return -1, true
	}
	return -1, false
}

// encode writes a request; path is below the API's prefix.
func (d *dialect) encode(model string, slots int, r drivers.Request) (body []byte, path, protocol string, err error) {
	call := openai.Call{Model: model, MaxTokens: r.OutputTokens, MaxTokensKey: d.maxKey, Seed: r.Seed,
		NoSeed: !d.features[seed].on, NoSampling: !d.features[temperature].on,
		IncludeUsage: d.features[includeUsage].on, EachUsage: d.features[includeUsage].on && d.features[eachUsage].on,
		Extra: d.extra(slots, r)}
	if d.chat {
		body, err = openai.Chat{Call: call, Prompt: r.Prompt}.Encode()
		return body, "/chat/completions", openai.ProtocolChat, err
	}
	text, err := plainText(r.Prompt)
	if err != nil {
		return nil, "", "", err
	}
	body, err = openai.Completion{Call: call, Prompt: text}.Encode()
	return body, "/completions", openai.ProtocolCompletions, err
}

// extra gives the fields that only some servers know.
func (d *dialect) extra(slots int, r drivers.Request) map[string]any {
	extra := map[string]any{}
	if d.features[ignoreEOS].on {
		extra["ignore_eos"] = true
	}
	switch {
	case d.features[llamaFields].on:
		extra["cache_prompt"] = r.Reuse
		extra["timings_per_token"] = true // running counts: how many tokens each event holds
		if r.Slot >= 0 && slots > 0 {
			extra["id_slot"] = r.Slot % slots
		}
	case d.kind == vLLM, d.kind == sgLang:
		extra["top_p"] = 1 // else the model's generation_config.json decides
	}
	if d.chat && d.kind != "" && (r.Reasoning == "on" || r.Reasoning == "off") {
		extra["chat_template_kwargs"] = map[string]bool{"enable_thinking": r.Reasoning == "on"}
	}
	return extra
}

// plainText writes a conversation for a server that has no chat template: one message is its text, more are labelled.
func plainText(p drivers.Prompt) (string, error) {
	if len(p.Messages) == 1 && len(p.Tools) == 0 {
		return p.Messages[0].Content, nil
	}
	var b strings.Builder
	if len(p.Tools) > 0 {
		tools, err := json.Marshal(p.Tools)
		if err != nil {
			return "", fmt.Errorf("encode tools: %w", err)
		}
		fmt.Fprintf(&b, "tools: %s\n\n", tools)
	}
	for _, m := range p.Messages {
		fmt.Fprintf(&b, "%s: %s", m.Role, m.Content)
		for _, c := range m.ToolCalls {
			fmt.Fprintf(&b, "%s(%s)", c.Name, c.Arguments)
		}
		b.WriteString("\n\n")
	}
	b.WriteString("assistant:")
	return b.String(), nil
}
