package trtllm

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// open connects to a running server and learns its ways.
func open(ctx context.Context, c drivers.Config, _ drivers.Need) (drivers.Session, error) {
	contextMax, err := contextOption(c)
	if err != nil {
		return nil, err
	}
	url := c.URL
	if url == "" {
		url = defaultURL()
	}
	client, err := httpx.New(url, c.APIKey, nil, c.Clock, httpx.Beside("/v1"))
	if err != nil {
		return nil, err
	}
	s, err := attach(ctx, c, client, contextMax)
	if err != nil {
		client.Close()
		return nil, client.Redact(explain(client.Base(), err))
	}
	return s, nil
}

func attach(ctx context.Context, c drivers.Config, client *httpx.Client, contextMax int) (drivers.Session, error) {
	srv, err := identify(ctx, client)
	if err != nil {
		return nil, err
	}
	id, err := srv.choose(c.Model)
	if err != nil {
		return nil, err
	}
	s := &session{server: *srv, http: client, id: id, fields: newFields()}
	model, why, err := about(id, option(c, optWeights))
	if err != nil {
		return nil, err
	}
	s.secrets = paths.LongestFirst(append(client.Secrets(), paths.Folders(append(srv.ids, c.Model, model.Path)...)...))
	s.info = drivers.Info{
		Backend: name, Version: srv.version, URL: client.Base(), URLKind: client.URLKind(), Attached: true,
		Model: model, ContextMax: contextMax, CacheBlock: 1, WhyNot: why,
		Metadata: map[string]string{"endpoint": "/v1/chat/completions"},
	}
	if err := s.learn(ctx); err != nil {
		return nil, err
	}
	s.describe(ctx)
	s.watched = s.meters && s.watches(ctx)
	_, statsErr := cacheStats(s.metrics)
	s.info.Simulated = client.Simulated()
	return s.shaped(s.meters && statsErr == nil), nil
}

// about describes the model, by its folder where one was given. why says what of it is not known.
func about(id, folder string) (m drivers.Model, why map[string]string, err error) {
	shown := paths.Shown(id)
	m = drivers.Model{Ref: shown, Name: shown, Loaded: true}
	if folder == "" {
		none := "trtllm-serve names its model, not the folder that it lies in; give that with --opt " + optWeights + "=FOLDER"
		return m, map[string]string{"model.digest": none, "model.quant": none}, nil
	}
	info, err := weights.Read(folder)
	if err != nil {
		return m, nil, fmt.Errorf("option %s: %w", optWeights, err)
	}
	if m.Path, err = filepath.Abs(folder); err != nil {
		return m, nil, fmt.Errorf("option %s: %w", optWeights, err)
	}
	if have := paths.Base(m.Path); !strings.EqualFold(have, paths.Base(id)) && !strings.Contains(filepath.ToSlash(m.Path), "/models--"+strings.ReplaceAll(id, "/", "--")+"/") {
		return m, nil, fmt.Errorf("%w: option %s is the folder %q, and the server serves %q", drivers.ErrModelNotFound, optWeights, have, shown)
	}
	m.Quant, m.SizeBytes, m.ContextMax = info.Quant, info.SizeBytes, info.Context
	why = map[string]string{}
	if m.Quant == "" {
		why["model.quant"] = "the headers of the weights do not say"
	}
	return m, why, nil
}

// explain says what to do about an error of Open.
func explain(base string, err error) error {
	switch {
	case errors.Is(err, errOther):
		return fmt.Errorf("%w: %s is no TensorRT-LLM server: %w", drivers.ErrProtocol, base, err)
	case errors.Is(err, drivers.ErrUnreachable):
		return fmt.Errorf("%s: %w; is trtllm-serve running there? Start it, or give another --url", base, err)
	case errors.Is(err, drivers.ErrAuth):
		return fmt.Errorf("%s: %w; give the server's key with --api-key", base, err)
	case errors.Is(err, drivers.ErrOverloaded):
		return fmt.Errorf("%s: %w; wait until the model is loaded and try again", base, err)
	}
	return fmt.Errorf("trtllm-serve at %s: %w", base, err)
}
