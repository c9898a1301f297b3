package trtllm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
	"github.com/llm-speed/llm-speed/drivers/internal/prometheus"
)

// server is what a running trtllm-serve says of itself without generating.
type server struct {
	ids     []string
	version string
	metrics prometheus.Metrics // as they were at Open
	meters  bool               // /prometheus/metrics is there
}

// errOther means that something answers, but no TensorRT-LLM.
var errOther = errors.New("another kind of server")

// identify asks a server who it is. The error wraps errOther where it is no TensorRT-LLM; ErrAuth, ErrUnreachable,
// ErrOverloaded.
func identify(ctx context.Context, c *httpx.Client) (*server, error) {
	var list loose.Object
	if _, err := c.JSON(ctx, http.MethodGet, "/v1/models", nil, &list); err != nil {
		var api *drivers.APIError
		if errors.Is(err, drivers.ErrProtocol) || errors.As(err, &api) && (api.Status == http.StatusNotFound || api.Status == http.StatusMethodNotAllowed) {
			return nil, fmt.Errorf("%w: %w", errOther, err)
		}
		return nil, err
	}
	s := &server{}
	for _, m := range list.Objects("data") {
		if m.Text("owned_by") != owner {
			return nil, fmt.Errorf("%w: /v1/models says owned_by %q, not %q", errOther, m.Text("owned_by"), owner)
		}
		if id := m.Text("id"); id != "" {
			s.ids = append(s.ids, id)
		}
	}
	if len(s.ids) == 0 {
		return nil, fmt.Errorf("%w: /v1/models names none of TensorRT-LLM's models", errOther)
	}
	var v loose.Object
	if _, err := c.JSON(ctx, http.MethodGet, "/version", nil, &v); err == nil {
		s.version = v.Text("version")
	}
	return s, nil
}

// choose gives the id of the model that a reference means.
func (s *server) choose(ref string) (string, error) {
	offered := make([]pick.Offered, len(s.ids))
	for i, id := range s.ids {
		offered[i] = pick.Offered{ID: id, Aliases: []string{paths.Base(id)}}
	}
	i, err := pick.Index(ref, offered)
	if err != nil {
		return "", err
	}
	return s.ids[i], nil
}

// probeTime bounds a look at one port.
const probeTime = 1200 * time.Millisecond

func defaultURL() string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// detect looks at the URL that was given, or at the default port, which other servers use too.
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
	s, err := identify(ctx, client)
	if err != nil {
		return nil, nil // nothing here, another kind of server, or one that says nothing of itself
	}
	f := drivers.Found{Backend: name, URL: client.Base(), Version: s.version, Models: []drivers.Model{}, Usable: true}
	for _, id := range s.ids {
		shown := paths.Shown(id)
		f.Models = append(f.Models, drivers.Model{Ref: shown, Name: shown, Loaded: true})
	}
	return []drivers.Found{f}, nil
}
