package vllm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
	"github.com/llm-speed/llm-speed/drivers/internal/prometheus"
)

// server is what a running vLLM says of itself without generating.
type server struct {
	listed  []loose.Object // entries of GET /v1/models: id, root, parent, max_model_len, owned_by
	version string         // GET /version
	config  loose.Object   // GET /server_info, which is there in development mode only
	metrics prometheus.Metrics
	metered bool // /metrics has vLLM's own metrics
}

// errOther means that something answers, but no vLLM.
var errOther = errors.New("another kind of server")

// identify asks a server who it is. The error wraps errOther where it is no vLLM; ErrAuth, ErrUnreachable, ErrOverloaded.
func identify(ctx context.Context, c *httpx.Client) (*server, error) {
	s := &server{}
	var list loose.Object
	_, err := c.JSON(ctx, http.MethodGet, "/v1/models", nil, &list)
	if errors.Is(err, drivers.ErrProtocol) || isStatus(err, http.StatusNotFound) {
		return nil, fmt.Errorf("%w: GET /v1/models: %w", errOther, err)
	}
	if err != nil && !errors.Is(err, drivers.ErrAuth) {
		return nil, err
	}
	refused := err
	owner, own := "", false
	for _, m := range list.Objects("data") {
		if m.Text("id") == "" {
			continue
		}
		s.listed = append(s.listed, m)
		owner = m.Text("owned_by")
		own = own || strings.EqualFold(owner, name)
	}
	// A gateway may write another owner, or want the key; the names of the metrics, which need none, are vLLM's alone.
	if s.metrics, err = readMetrics(ctx, c); err == nil {
		s.metered = s.metrics.HasPrefix(prefix)
		own = own || s.metered
	}
	switch {
	case !own && refused == nil:
		return nil, fmt.Errorf("%w: /v1/models names the owner %q, and /metrics has nothing of vLLM's", errOther, owner)
	case !own:
		return nil, fmt.Errorf("%w: %w", errOther, refused)
	}
	var v loose.Object
	if _, err := c.JSON(ctx, http.MethodGet, "/version", nil, &v); err == nil {
		s.version = v.Text("version")
	}
	if refused != nil {
		return s, refused
	}
	return s, nil
}

// describe asks what only some servers tell.
func (s *server) describe(ctx context.Context, c *httpx.Client) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var info loose.Object
	if _, err := c.JSON(ctx, http.MethodGet, "/server_info?config_format=json", nil, &info); err == nil {
		s.config = info.Object("vllm_config")
	}
}

// isStatus reports whether a server answered with a status.
func isStatus(err error, status int) bool {
	var api *drivers.APIError
	return errors.As(err, &api) && api.Status == status
}

// choose finds the model that was asked for, or the first that generates text.
func (s *server) choose(ref string) (loose.Object, error) {
	offered := make([]pick.Offered, len(s.listed))
	for i, m := range s.listed {
		offered[i] = pick.Offered{ID: m.Text("id")}
		if root := m.Text("root"); root != "" && m.Text("parent") == "" {
			offered[i].Aliases = []string{root, paths.Shown(root)} // the weights' name, where it is served under another
		}
	}
	i, err := pick.Index(ref, offered)
	if err != nil {
		return nil, err
	}
	return s.listed[i], nil
}

// build is the part of the version after the plus: the compute back end of a wheel, as cpu, cu126 or rocm633.
func (s *server) build() string {
	_, local, _ := strings.Cut(s.version, "+")
	for _, part := range strings.FieldsFunc(local, func(r rune) bool { return r == '.' || r == '-' || r == '_' }) {
		for _, known := range []string{"cpu", "cu1", "rocm", "tpu", "xpu", "neuron", "gaudi"} {
			if strings.HasPrefix(part, known) {
				return part
			}
		}
	}
	return ""
}
