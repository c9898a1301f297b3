package hosted

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
)

// listed is an entry of a service's list of models, with the fields that services add. Numbers that one of them writes as a
// text are raw.
type listed struct {
	ID            string          `json:"id"`
	Type          string          `json:"type"`           // Together: chat, language, code, image, embedding, …
	ContextLength json.RawMessage `json:"context_length"` // OpenRouter, Together, Fireworks
	ContextWindow json.RawMessage `json:"context_window"` // Groq
	SupportsChat  *bool           `json:"supports_chat"`  // Fireworks
	Pricing       struct {
		Prompt     json.RawMessage `json:"prompt"`     // OpenRouter: US dollars a token, as texts
		Completion json.RawMessage `json:"completion"` // the same
		Request    json.RawMessage `json:"request"`    // the same, a request
		Input      json.RawMessage `json:"input"`      // Together: US dollars a million tokens
		Output     json.RawMessage `json:"output"`     // the same
	} `json:"pricing"`
}

// number reads a number, or a text that is one; below 0 where it is neither.
func number(raw json.RawMessage) float64 {
	f, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
	if err != nil || !(f >= 0 && f < 1e12) {
		return -1
	}
	return f
}

func (m listed) context() int {
	return int(max(cmp.Or(max(number(m.ContextLength), 0), max(number(m.ContextWindow), 0)), 0))
}

func (m listed) model() drivers.Model {
	return drivers.Model{Ref: m.ID, Name: m.ID, ContextMax: m.context()}
}

// speaks reports whether a model generates text, as far as the list tells.
func (m listed) speaks() bool {
	if m.SupportsChat != nil {
		return *m.SupportsChat
	}
	switch m.Type {
	case "", "model", "chat", "language", "code":
		return pick.GeneratesText(m.ID)
	}
	return false
}

// perToken and perMillion are how services write their prices.
const (
	perToken   = "a token"
	perMillion = "a million tokens"
)

// price is what the service asks for the model; nil where its list does not say.
func (m listed) price(unit, from string) *drivers.Price {
	prompt, output, share := number(m.Pricing.Prompt), number(m.Pricing.Completion), 1.0
	if unit == perMillion {
		prompt, output, share = number(m.Pricing.Input), number(m.Pricing.Output), 1e-6
	}
	if prompt < 0 || output < 0 {
		return nil
	}
	return &drivers.Price{Prompt: share * prompt, Output: share * output, Request: max(number(m.Pricing.Request), 0), From: from}
}

// list reads the models that generate text. It costs nothing at any service.
func list(ctx context.Context, client *httpx.Client, prefix string) ([]listed, error) {
	var raw json.RawMessage
	if _, err := client.JSON(ctx, http.MethodGet, prefix+"/models", nil, &raw); err != nil {
		return nil, err
	}
	var wrapped struct {
		Data []json.RawMessage `json:"data"`
	}
	entries := wrapped.Data
	if json.Unmarshal(raw, &wrapped) == nil {
		entries = wrapped.Data
	} else if json.Unmarshal(raw, &entries) != nil { // Together gives the bare list
		return nil, fmt.Errorf("%w: GET %s/models: neither a list nor an object with one", drivers.ErrProtocol, prefix)
	}
	var models []listed
	for _, e := range entries {
		var m listed
		var odd *json.UnmarshalTypeError
		if err := json.Unmarshal(e, &m); (err == nil || errors.As(err, &odd)) && m.ID != "" && m.speaks() {
			models = append(models, m)
		}
	}
	return models, nil
}

// choose finds the model that was asked for. A list that does not have it is believed, one that is empty is not.
func choose(v service, ref string, models []listed) (listed, error) {
	ids := make([]string, len(models))
	for i, m := range models {
		if m.ID == ref && ref != "" {
			return m, nil
		}
		ids[i] = m.ID
	}
	switch {
	case ref == "" && len(models) == 0:
		return listed{}, fmt.Errorf("%w: name one with --model; %s lists none", drivers.ErrNoModel, v.title)
	case ref == "":
		return listed{}, fmt.Errorf("%w: name one with --model, for it costs money; %s", drivers.ErrNoModel, offers(v.name, ids))
	case len(models) == 0:
		return listed{ID: ref}, nil
	}
	return listed{}, fmt.Errorf("%w: %s has no %q; %s", drivers.ErrModelNotFound, v.title, ref, pick.Suggest(ref, ids))
}

// offers names models, some of them where they are many.
func offers(backend string, ids []string) string {
	const most = 20
	if len(ids) > most {
		return fmt.Sprintf("there are %s and %d more: llm-speed list-models --backend %s", strings.Join(ids[:most], ", "), len(ids)-most, backend)
	}
	return "there are " + strings.Join(ids, ", ")
}
