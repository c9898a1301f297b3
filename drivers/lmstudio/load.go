package lmstudio

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
)

// slow makes a plain call that may take as long as a model takes to load.
func slow(ctx context.Context, h *httpx.Client, path string, in any, wait time.Duration) (loose.Object, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	rec, err := h.Stream(ctx, httpx.Post{Path: path, Body: body, Protocol: "json", Request: drivers.Request{FirstByteWithin: wait, IdleWithin: wait}})
	if err != nil {
		return nil, err
	}
	if rec.Status >= 400 {
		return nil, h.Redact(httpx.StatusError(rec.Status, rec.Data, rec.Header["retry-after"]))
	}
	var o loose.Object
	if json.Unmarshal(rec.Data, &o) != nil || len(o) == 0 {
		return nil, fmt.Errorf("%w: POST %s: the answer is no JSON object", drivers.ErrProtocol, path)
	}
	if o.Has("error") { // with status 200
		m := httpx.ErrorText(rec.Data)
		return nil, h.Redact(&drivers.APIError{Kind: drivers.KindOfStatus(500, m), Status: rec.Status, Message: m})
	}
	return o, nil
}

// rounded is a context in whole blocks of 256 tokens, and no longer than the model's own.
func rounded(need, most int) int {
	n := (need + 255) / 256 * 256
	if most > 0 {
		n = min(n, most)
	}
	return n
}

// slack is the share of a context that is added when a model is loaded: prompts can't be counted before they are sent, and come
// out a few percent longer or shorter than they were meant to be.
const slack = 20

// defaultContext is asked for where the rows do not say, tokens.
const defaultContext = 4096

// ensure sees to it that a copy of the model with room for so many tokens is loaded, and gives it. Only /api/v1 can load with a
// chosen context; an older LM Studio loads on the first request, with its own.
func (s *session) ensure(ctx context.Context, m *model, need int) (instance, error) {
	if need <= 0 {
		need = defaultContext
	}
	need = rounded(need, m.contextMax)
	best := instance{}
	for _, l := range m.loaded {
		if best.id == "" || l.context > best.context {
			best = l
		}
	}
	if !s.v1 {
		if best.id == "" {
			best.id = m.key
		}
		return best, nil
	}
	if best.id != "" && (best.context >= need || best.context == 0 || !s.reload) {
		if best.context > 0 && best.context < need {
			s.log("%s is loaded with a context of %d tokens, and the rows need %d; with --opt reload=yes it is loaded anew", m.key, best.context, need)
		}
		return best, nil
	}
	for _, l := range m.loaded { // two copies may not fit into memory
		if err := s.unload(ctx, l.id); err != nil {
			return instance{}, err
		}
	}
	return s.load(ctx, m.key, rounded(need+need/slack, m.contextMax))
}

// load loads a model with a context of so many tokens.
func (s *session) load(ctx context.Context, key string, need int) (instance, error) {
	s.log("LM Studio is loading %s with a context of %d tokens", key, need)
	o, err := slow(ctx, s.http, "/api/v1/models/load", map[string]any{"model": key, "context_length": need, "echo_load_config": true}, s.wait)
	if err != nil {
		if errors.Is(err, drivers.ErrTimeout) {
			err = fmt.Errorf("%w (option %s)", err, optWait)
		}
		return instance{}, fmt.Errorf("load %s: %w", key, err)
	}
	l := instance{id: o.Text("instance_id", "model_instance_id"), config: o.Object("load_config")}
	if len(l.config) == 0 {
		l.config = o.Object("config")
	}
	if l.id == "" {
		return instance{}, fmt.Errorf("%w: load %s: the answer names no instance", drivers.ErrProtocol, key)
	}
	l.context, l.parallel = l.config.Count("context_length"), l.config.Count("parallel")
	s.mu.Lock()
	s.ours = l.id
	if n, ok := o.Number("load_time_seconds"); ok {
		s.loadSeconds = fmt.Sprintf("%.3f", n)
	}
	s.mu.Unlock()
	return l, nil
}

func (s *session) unload(ctx context.Context, id string) error {
	if _, err := slow(ctx, s.http, "/api/v1/models/unload", map[string]any{"instance_id": id}, time.Minute); err != nil {
		return fmt.Errorf("put %s away: %w", id, err)
	}
	return nil
}

// present looks whether the model is still loaded, and has it loaded again where LM Studio has put it away meanwhile: a load
// inside a stream would be taken for the time to the first token.
func (s *session) present(ctx context.Context) error {
	s.loading.Lock() // streams that start together load it once
	defer s.loading.Unlock()
	now, err := identify(ctx, s.http)
	if err != nil {
		return explain(s.http.Base(), err)
	}
	at := slices.IndexFunc(now.models, func(m model) bool { return m.key == s.key })
	if at < 0 {
		return fmt.Errorf("%w: LM Studio no longer has %s", drivers.ErrModelNotFound, s.key)
	}
	m := &now.models[at]
	if slices.ContainsFunc(m.loaded, func(l instance) bool { return l.id == s.instance.id }) {
		return nil
	}
	s.log("LM Studio has put %s away; loading it again", m.key)
	if !s.v1 {
		s.engine(ctx) // an older one loads on the first request
		return nil
	}
	l, err := s.load(ctx, m.key, cmp.Or(s.instance.context, rounded(defaultContext, m.contextMax)))
	if err != nil {
		return err
	}
	if l.id != s.instance.id || l.context > 0 && s.instance.context > 0 && l.context != s.instance.context {
		return fmt.Errorf("%w: LM Studio loaded %s again as %q with a context of %d tokens; the session began with %q and %d", drivers.ErrModelNotFound, m.key, l.id, l.context, s.instance.id, s.instance.context)
	}
	return nil
}
