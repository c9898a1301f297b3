package lmstudio

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
)

// The ways of streaming, as option endpoint names them.
const (
	routeV0     = "v0"
	routeChat   = "chat"
	routeNative = "native"
)

// path is the endpoint of a way.
func path(route string) string {
	switch route {
	case routeV0:
		return "/api/v0/chat/completions"
	case routeNative:
		return "/api/v1/chat"
	}
	return "/v1/chat/completions"
}

// A feature is a part of a request that not every version takes.
type feature struct {
	name  string
	words []string // one of which a refusal names it by
	on    bool
}

// The features, in the order in which they are given up when a refusal names none.
const (
	penalties    = iota // repeat_penalty and top_p: else the model's preset decides, whose repeat_penalty is 1.1
	includeUsage        //
	seed                //
	features
)

// dialect is how requests to one server are written.
type dialect struct {
	route    string
	model    string // the loaded copy
	features [features]feature
}

func newDialect(route, model string) dialect {
	return dialect{route: route, model: model, features: [features]feature{
		penalties:    {"repeat_penalty", []string{"repeat_penalty", "top_p"}, true},
		includeUsage: {"include_usage", []string{"stream_options", "include_usage"}, true},
		seed:         {"seed", []string{"seed"}, true},
	}}
}

// adapt changes the dialect after a refusal; false where there is nothing left to change.
func (d *dialect) adapt(err error) bool {
	var api *drivers.APIError
	if !errors.Is(err, drivers.ErrBadRequest) || !errors.As(err, &api) {
		return false
	}
	said := strings.ToLower(api.Message)
	for i := range d.features {
		f := &d.features[i]
		if f.on && slices.ContainsFunc(f.words, func(w string) bool { return strings.Contains(said, w) }) {
			f.on = false
			return true
		}
	}
	for i := range d.features {
		if d.features[i].on {
			d.features[i].on = false
			return true
		}
	}
	return false
}

// refused lists the features that are off, for the metadata.
func (d *dialect) refused() []string {
	var names []string
	for _, f := range d.features {
		if !f.on {
			names = append(names, f.name)
		}
	}
	return names
}

// encode writes a request.
func (d *dialect) encode(r drivers.Request) (body []byte, protocol string, err error) {
	if d.route == routeNative {
		body, err = d.native(r)
		return body, protocolNative, err
	}
	extra := map[string]any{}
	if d.features[penalties].on {
		extra["repeat_penalty"], extra["top_p"] = 1, 1
	}
	body, err = openai.Chat{Prompt: r.Prompt, Call: openai.Call{Model: d.model, MaxTokens: r.OutputTokens, Seed: r.Seed, NoSeed: !d.features[seed].on,
		IncludeUsage: d.features[includeUsage].on, Extra: extra}}.Encode()
	return body, openai.ProtocolChat, err
}

// native writes a request of /api/v1/chat, which takes a system prompt and one message, and keeps conversations itself.
func (d *dialect) native(r drivers.Request) ([]byte, error) {
	m := r.Prompt.Messages
	body := map[string]any{"model": d.model, "max_output_tokens": r.OutputTokens, "temperature": 0, "store": false, "stream": true}
	if len(m) > 0 && m[0].Role == "system" {
		body["system_prompt"], m = m[0].Content, m[1:]
	}
	if len(m) != 1 || m[0].Role != "user" || len(r.Prompt.Tools) > 0 {
		return nil, fmt.Errorf("%w: /api/v1/chat takes one message and no tools; use --opt endpoint=auto", drivers.ErrUnsupported)
	}
	body["input"] = m[0].Content
	if d.features[penalties].on {
		body["repeat_penalty"], body["top_p"] = 1, 1
	}
	if r.Reasoning == "on" || r.Reasoning == "off" {
		body["reasoning"] = r.Reasoning
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return b, nil
}
