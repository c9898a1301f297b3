package anthropic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/apikey"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/limits"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
)

// open checks key and model, which costs nothing, and generates nothing.
func open(ctx context.Context, c drivers.Config, _ drivers.Need) (drivers.Session, error) {
	most, err := contextMax(c)
	if err != nil {
		return nil, err
	}
	if c.URL == "" && !apikey.Of(c, keyName).IsSet() {
		return nil, fmt.Errorf("%w: Anthropic wants a key; set %s in the environment", drivers.ErrAuth, keyName)
	}
	client, err := connect(c)
	if err != nil {
		return nil, err
	}
	s := &session{client: client, meter: limits.New(c.Clock), dropped: map[string]bool{}}
	if err := s.prepare(ctx, c, most); err != nil {
		client.Close()
		return nil, client.Redact(explain(client.Base(), err))
	}
	return s, nil
}

func (s *session) prepare(ctx context.Context, c drivers.Config, most int) error {
	ids, err := list(ctx, s.client)
	if err != nil && !tolerable(err) {
		return err
	}
	switch {
	case c.Model == "" && len(ids) == 0:
		return fmt.Errorf("%w: name one with --model; the service lists none", drivers.ErrNoModel)
	case c.Model == "":
		return fmt.Errorf("%w: name one with --model, for it costs money; there are %s", drivers.ErrNoModel, strings.Join(ids, ", "))
	case len(ids) > 0 && !slices.Contains(ids, c.Model) && !s.alias(ctx, c.Model):
		return fmt.Errorf("%w: there is no %q; %s", drivers.ErrModelNotFound, c.Model, pick.Suggest(c.Model, ids))
	}
	s.model = c.Model
	s.info = drivers.Info{
		Backend: Name, Version: version, URL: s.client.Base(), URLKind: s.client.URLKind(), Attached: true,
		Model: drivers.Model{Ref: c.Model, Name: c.Model, ContextMax: most, Loaded: true}, ContextMax: most,
		Template: drivers.NotKnown, CacheBlock: 1, ColdAsked: true, Simulated: s.client.Simulated(),
		Metadata: map[string]string{"endpoint": "messages"},
		WhyNot:   map[string]string{"model.digest": "a hosted service shows no weights", "model.quant": "the service does not say"},
	}
	if s.client.Proxied() {
		s.info.Metadata["proxy"] = "yes: latencies hold its part, and rtt_ms is the way to it"
	}
	return nil
}

// alias reports whether a name that the list does not have means a model all the same (claude-…-latest).
func (s *session) alias(ctx context.Context, name string) bool {
	var m struct {
		ID string `json:"id"`
	}
	if strings.ContainsAny(name, "/?#% ") {
		return false
	}
	_, err := s.client.JSON(ctx, http.MethodGet, "/v1/models/"+name, nil, &m)
	return err == nil && m.ID != ""
}

// list reads the models' names. It costs nothing.
func list(ctx context.Context, client *httpx.Client) ([]string, error) {
	var out struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if _, err := client.JSON(ctx, http.MethodGet, "/v1/models?limit=1000", nil, &out); err != nil {
		return nil, err
	}
	var ids []string
	for _, m := range out.Data {
		if m.ID != "" {
			ids = append(ids, m.ID)
		}
	}
	return ids, nil
}

// tolerable reports whether the service may be used although its list of models can't be read: gateways have none.
func tolerable(err error) bool {
	return !slices.ContainsFunc([]error{drivers.ErrUnreachable, drivers.ErrAuth, drivers.ErrOverloaded, drivers.ErrNoCredit, drivers.ErrRateLimited, drivers.ErrTimeout, drivers.ErrReset, context.Canceled},
		func(kind error) bool { return errors.Is(err, kind) })
}
