package vllm

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
)

// A feature is a part of a request that not every version takes.
type feature struct {
	name  string
	words []string // one of which a refusal names it by
	on    bool
}

// The features, in the order in which they are given up when a refusal names none.
const (
	sampling     = iota // top_k, min_p, repetition_penalty: else the model's generation_config.json decides
	ownMetrics          // include_metrics
	tokenIDs            // return_token_ids
	minTokens           //
	salted              // cache_salt
	eachUsage           // continuous_usage_stats
	includeUsage        //
	seed                //
	ignoreEOS           //
	features
)

// dialect is how requests to one server are written.
type dialect struct {
	chat       bool
	model      string // as it is served
	toolChoice string // of a chat with tools; "" leaves it out
	features   [features]feature
}

func newDialect(model string, chat bool) dialect {
	return dialect{chat: chat, model: model, toolChoice: "none", features: [features]feature{
		sampling:     {"sampling defaults", []string{"top_k", "min_p", "repetition_penalty", "top_p"}, true},
		ownMetrics:   {"include_metrics", []string{"include_metrics"}, true},
		tokenIDs:     {"return_token_ids", []string{"return_token_ids"}, false},
		minTokens:    {"min_tokens", []string{"min_tokens"}, true},
		salted:       {"cache_salt", []string{"cache_salt"}, true},
		eachUsage:    {"continuous_usage_stats", []string{"continuous_usage_stats"}, true},
		includeUsage: {"include_usage", []string{"stream_options", "include_usage"}, true},
		seed:         {"seed", []string{"seed"}, true},
		ignoreEOS:    {"ignore_eos", []string{"ignore_eos"}, true},
	}}
}

// adapt changes the dialect after a refusal: it gives up the feature that is named, else the next one, and says which, and
// whether it was named. ok is false where there is nothing left to change.
func (d *dialect) adapt(err error) (gave int, named, ok bool) {
	var api *drivers.APIError
	if !errors.Is(err, drivers.ErrBadRequest) || !errors.As(err, &api) {
		return -1, false, false
	}
	said := strings.ToLower(api.Message)
	for i := range d.features {
		f := &d.features[i]
		if f.on && slices.ContainsFunc(f.words, func(w string) bool { return strings.Contains(said, w) }) {
			f.on = false
			return i, true, true
		}
	}
	for i := range d.features {
		if d.features[i].on {
			d.features[i].on = false
			return i, false, true
		}
	}
	return -1, false, false
}

// refused lists the features that are off, for the metadata.
func (d *dialect) refused() []string {
	var names []string
	for i, f := range d.features {
		if !f.on && i != tokenIDs && i != ownMetrics {
			names = append(names, f.name)
		}
	}
	return names
}

// encode writes a request of so many output tokens. ids is the rendered prompt of a completion; a chat is rendered by the
// server.
func (d *dialect) encode(r drivers.Request, ids []int32, salt string) (body []byte, path, protocol string, err error) {
	on := func(i int) bool { return d.features[i].on }
	extra := map[string]any{}
	for i, field := range map[int]string{ignoreEOS: "ignore_eos", tokenIDs: "return_token_ids", ownMetrics: "include_metrics"} {
		if on(i) {
			extra[field] = true
		}
	}
	if on(minTokens) {
		extra["min_tokens"] = r.OutputTokens
	}
	if on(sampling) {
		extra["top_p"], extra["top_k"], extra["min_p"], extra["repetition_penalty"] = 1, -1, 0, 1
	}
	if on(salted) && salt != "" {
		extra["cache_salt"] = salt
	}
	call := openai.Call{Model: d.model, MaxTokens: r.OutputTokens, Seed: r.Seed, NoSeed: !on(seed),
		IncludeUsage: on(includeUsage), EachUsage: on(includeUsage) && on(eachUsage), Extra: extra}
	if !d.chat {
		extra["prompt"] = ids
		body, err = openai.Completion{Call: call}.Encode()
		return body, "/v1/completions", openai.ProtocolCompletions, err
	}
	if len(r.Prompt.Tools) > 0 && d.toolChoice != "" {
		extra["tool_choice"] = d.toolChoice
	}
	if k := templateArgs(r.Reasoning); k != nil {
		extra["chat_template_kwargs"] = k
	}
	body, err = openai.Chat{Call: call, Prompt: r.Prompt}.Encode()
	return body, "/v1/chat/completions", openai.ProtocolChat, err
}

// templateArgs are the arguments for the chat template that turn thinking on or off; nil leaves it to the model.
func templateArgs(reasoning string) map[string]bool {
	if reasoning != "on" && reasoning != "off" {
		return nil
	}
	return map[string]bool{"enable_thinking": reasoning == "on"}
}

// hasMetrics reports whether a stream's extras hold vLLM's own figures of the request.
func hasMetrics(extra json.RawMessage) bool {
	var e struct {
		Metrics json.RawMessage `json:"metrics"`
	}
	return json.Unmarshal(extra, &e) == nil && len(e.Metrics) > 0
}
