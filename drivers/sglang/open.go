package sglang

import (
	"context"
	"errors"
	"fmt"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
)

// open connects to a running server and learns its ways.
func open(ctx context.Context, c drivers.Config, _ drivers.Need) (drivers.Session, error) {
	how, err := endpoint(c)
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
	s, err := attach(ctx, c, client, how)
	if err != nil {
		client.Close()
		return nil, client.Redact(explain(client.Base(), err))
	}
	return s, nil
}

func attach(ctx context.Context, c drivers.Config, client *httpx.Client, how string) (drivers.Session, error) {
	srv, err := identify(ctx, client)
	if err != nil {
		return nil, err
	}
	srv.describe(ctx, client)
	if !srv.generates() {
		return nil, fmt.Errorf("%w: SGLang serves %s, which generates no text", drivers.ErrNoModel, paths.Shown(srv.weightsPath()))
	}
	id, err := srv.choose(c.Model)
	if err != nil {
		return nil, err
	}
	s := &session{server: *srv, http: client, id: id, render: renderer{http: client, model: id}, checks: srv.infoPath != ""}
	model, why := srv.about(client, id)
	if c.Model != "" && !paths.IsAbs(c.Model) {
		model.Ref = c.Model
	}
	s.info = drivers.Info{
		Backend: name, Version: srv.args.Text("version"), Build: srv.build(), URL: client.Base(), URLKind: client.URLKind(), Attached: true,
		Model: model, ContextMax: srv.context(id), Parallel: srv.parallel(), Template: drivers.NotKnown,
		CacheBlock: max(srv.args.Count("page_size"), 1), IgnoresEOS: true,
		Metadata: srv.metadata(), WhyNot: why,
	}
	cacheCounts, err := s.learn(ctx, how)
	if err != nil {
		return nil, err
	}
	s.info.Simulated = client.Simulated()
	return s.shaped(cacheCounts), nil
}

// explain says what to do about an error of Open.
func explain(base string, err error) error {
	switch {
	case errors.Is(err, errOther):
		return fmt.Errorf("%w: %s is no SGLang server: %w", drivers.ErrProtocol, base, err)
	case errors.Is(err, drivers.ErrUnreachable):
		return fmt.Errorf("%s: %w; is SGLang running there? Start it, or give another --url", base, err)
	case errors.Is(err, drivers.ErrAuth):
		return fmt.Errorf("%s: %w; give the server's key with --api-key", base, err)
	case errors.Is(err, drivers.ErrOverloaded):
		return fmt.Errorf("%s: %w; wait until the model is loaded and try again", base, err)
	}
	return fmt.Errorf("SGLang at %s: %w", base, err)
}
