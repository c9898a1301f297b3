package tabbyapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
)

// server is what a running TabbyAPI says of itself without generating.
type server struct {
	loaded loose.Object // GET /v1/model; without fields where none is loaded
	listed []string     // all that it names
}

// errOther means that something answers, but no TabbyAPI.
var errOther = errors.New("another kind of server")

// identify asks a server who it is. The error wraps errOther where it is no TabbyAPI; ErrAuth, ErrUnreachable.
func identify(ctx context.Context, c *httpx.Client) (*server, error) {
	var list loose.Object
	_, err := c.JSON(ctx, http.MethodGet, "/v1/models", nil, &list)
	var api *drivers.APIError
	switch {
	case errors.Is(err, drivers.ErrAuth):
		if wantsKey(ctx, c, err) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errOther, err)
	case errors.Is(err, drivers.ErrProtocol), errors.As(err, &api) && (api.Status == http.StatusNotFound || api.Status == http.StatusMethodNotAllowed):
		return nil, fmt.Errorf("%w: %w", errOther, err)
	case err != nil:
		return nil, err
	}
	s := &server{}
	own := false
	for _, m := range list.Objects("data") {
		own = own || m.Text("owned_by") == owner
		if id := m.Text("id"); id != "" {
			s.listed = append(s.listed, id)
		}
	}
	_, err = c.JSON(ctx, http.MethodGet, "/v1/model", nil, &s.loaded)
	own = own || s.loaded.Text("owned_by") == owner
	if err != nil {
		s.loaded = nil
		// "No models are currently loaded." is all that one without a model says.
		own = own || refused(err) && strings.Contains(strings.ToLower(err.Error()), "no models are currently loaded")
	}
	if !own {
		return nil, fmt.Errorf("%w: neither /v1/models nor /v1/model says owned_by %q", errOther, owner)
	}
	if err != nil && !refused(err) {
		return nil, err
	}
	return s, nil
}

// wantsKey reports whether a refusal is TabbyAPI's: its words, and a /health that says what its own says.
func wantsKey(ctx context.Context, c *httpx.Client, err error) bool {
	var health loose.Object
	_, herr := c.JSON(ctx, http.MethodGet, "/health", nil, &health)
	return herr == nil && strings.EqualFold(health.Text("status"), "healthy") && strings.Contains(strings.ToLower(err.Error()), "api key")
}

// params are the loaded model's settings.
func (s *server) params() loose.Object { return s.loaded.Object("parameters") }

// id is the loaded model's.
func (s *server) id() string { return s.loaded.Text("id") }

// choose holds a reference against the loaded model: another one has to be loaded first, which is for its owner to do.
func (s *server) choose(ref string) error {
	if s.id() == "" {
		return fmt.Errorf("%w: TabbyAPI has no model loaded; load one (model_name in config.yml, or POST /v1/model/load with the admin key)", drivers.ErrNoModel)
	}
	if ref == "" {
		return nil
	}
	if _, err := pick.Index(ref, []pick.Offered{{ID: s.id()}}); err == nil {
		return nil
	}
	if slices.Contains(s.listed, ref) {
		return fmt.Errorf("%w: %q is there but not loaded, %q is; load it in TabbyAPI first", drivers.ErrModelNotFound, ref, paths.Shown(s.id()))
	}
	names := []string{paths.Shown(s.id())}
	for _, id := range s.listed {
		names = append(names, paths.Shown(id))
	}
	slices.Sort(names)
	return fmt.Errorf("%w: %q is not served; %s", drivers.ErrModelNotFound, ref, pick.Suggest(ref, slices.Compact(names)))
}

// context is how many tokens one stream may use: the model's length, or the whole cache where that is smaller.
func (s *server) context() int {
	n, cache := s.params().Count("max_seq_len"), s.params().Count("cache_size")
	if n == 0 || cache > 0 && cache < n {
		n = cache
	}
	return n
}

// metadata keeps the settings that speed depends on.
func (s *server) metadata() map[string]string {
	m := map[string]string{"endpoint": "/v1/chat/completions"}
	p := s.params()
	for _, k := range []string{"max_seq_len", "cache_size", "cache_mode", "chunk_size", "max_batch_size", "rope_scale", "rope_alpha", "prompt_template", "num_experts_per_token", "tensor_parallel"} {
		v := p.Text(k)
		if v == "" && p.Has(k) && len(p[k]) < 40 {
			v = string(p[k])
		}
		if v != "" && len(v) < 100 && !paths.IsAbs(v) {
			m[k] = v
		}
	}
	if d := p.Object("draft").Text("id"); d != "" {
		m["draft"] = paths.Shown(d)
	}
	return m
}

// overrides names the sampling parameters that the server's own settings change; "" where none is, or where it does not say.
func overrides(ctx context.Context, c *httpx.Client) string {
	var o loose.Object
	if _, err := c.JSON(ctx, http.MethodGet, "/v1/sampling/overrides", nil, &o); err != nil {
		return ""
	}
	return strings.Join(slices.Sorted(maps.Keys(o.Object("overrides"))), ", ")
}

// probeTime bounds a look at one port.
const probeTime = 1200 * time.Millisecond

func defaultURL() string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// detect looks at the URL that was given, or at the default port.
func detect(ctx context.Context, c drivers.Config) ([]drivers.Found, error) {
	url := c.URL
	if url == "" {
		url = defaultURL()
	}
	client, err := httpx.New(url, c.APIKey, nil, c.Clock, httpx.Beside("/v1"))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	f := drivers.Found{Backend: name, URL: client.Base(), Models: []drivers.Model{}}
	s, err := identify(ctx, client)
	switch {
	case errors.Is(err, drivers.ErrAuth) && !errors.Is(err, errOther):
		f.Note = "needs the key of its api_tokens.yml: --api-key"
		return []drivers.Found{f}, nil
	case err != nil:
		return nil, nil // nothing here, or another kind of server
	}
	for _, id := range s.listed {
		shown := paths.Shown(id)
		m := drivers.Model{Ref: shown, Name: shown, Loaded: id == s.id()}
		if m.Loaded {
			m.ContextMax = s.context()
		}
		f.Models = append(f.Models, m)
	}
	if f.Usable = s.id() != ""; !f.Usable {
		f.Note = "no model is loaded"
	}
	return []drivers.Found{f}, nil
}

// refused reports whether an error is the server's answer to this one request, and not trouble with the server.
func refused(err error) bool {
	var api *drivers.APIError
	return errors.As(err, &api) && api.Status != http.StatusUnauthorized && api.Status != http.StatusForbidden && api.Status != http.StatusServiceUnavailable
}
