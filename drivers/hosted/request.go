package hosted

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
)

// encode writes a request.
func (s *session) encode(r drivers.Request) ([]byte, error) {
	s.mu.Lock()
	dropped, maxKey := maps.Clone(s.dropped), s.maxKey
	s.mu.Unlock()
	v := &s.service
	if maxKey == "" {
		maxKey = v.maxKey
	}
	extra := maps.Clone(v.fields)
	if extra == nil {
		extra = map[string]any{}
	}
	switch r.Reasoning {
	case "off":
		maps.Copy(extra, v.off)
	case "on":
		maps.Copy(extra, v.on)
	}
	switch v.exact {
	case "ignore_eos":
		extra["ignore_eos"] = true
	case "min_tokens":
		extra["min_tokens"] = r.OutputTokens
	}
	if v.cold != "" && !r.Reuse {
		extra[v.cold] = isolation(r)
	}
	if v.pins {
		extra["provider"] = s.routing()
	}
	maps.DeleteFunc(extra, func(name string, _ any) bool { return dropped[name] })
	return openai.Chat{Prompt: r.Prompt, Call: openai.Call{
		Model: s.model, MaxTokens: r.OutputTokens, MaxTokensKey: maxKey, Seed: r.Seed,
		NoSeed: v.noSeed || dropped["seed"], NoSampling: dropped["temperature"], IncludeUsage: !dropped["stream_options"],
		Extra: extra,
	}}.Encode()
}

// isolation is a cache of its own for a prompt: named by its text, so that the same request has the same bytes.
func isolation(r drivers.Request) string {
	h := sha256.New()
	for _, m := range r.Prompt.Messages {
		_, _ = h.Write([]byte(m.Role + "\x00" + m.Content + "\x00"))
	}
	return "llm-speed-" + hex.EncodeToString(h.Sum(nil)[:12])
}

// The fields of a request's length, one of which every service wants.
var lengthFields = []string{"max_completion_tokens", "max_tokens"}

// optional lists the fields that a request may go without, the longer of two names of which one begins the other first.
func (s *session) optional() []string {
	names := []string{"temperature", "stream_options", "seed"}
	for _, m := range []map[string]any{s.service.fields, s.service.off, s.service.on} {
		names = append(names, slices.Collect(maps.Keys(m))...)
	}
	names = append(names, s.service.exact, s.service.cold)
	slices.SortFunc(names, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == "" })
}

// Adapt leaves a field out from now on that the service has refused by its name, or takes the other name of the length.
// Nothing was generated then, and nothing is charged.
func (s *session) Adapt(err error) (string, bool) {
	var api *drivers.APIError
	if !errors.As(err, &api) || api.Status != http.StatusBadRequest && api.Status != http.StatusUnprocessableEntity {
		return "", false
	}
	said := strings.ToLower(api.Message)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, name := range lengthFields {
		other := lengthFields[1-i]
		if s.maxKey == "" && s.service.maxKey == other && strings.Contains(said, name) {
			s.maxKey = name
			return name + " instead of " + other, true
		}
	}
	for _, name := range s.optional() {
		if !s.dropped[name] && strings.Contains(said, name) {
			s.dropped[name] = true
			return "no " + name, true
		}
	}
	return "", false
}
