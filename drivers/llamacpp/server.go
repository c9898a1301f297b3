package llamacpp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
)

// props is what of GET /props is used.
type props struct {
	ModelPath  string `json:"model_path"`
	ModelAlias string `json:"model_alias"`
	ModelType  string `json:"model_ftype"`
	BuildInfo  string `json:"build_info"`
	TotalSlots int    `json:"total_slots"`
	Role       string `json:"role"` // "router" where it has no model of its own
	Default    struct {
		Context int `json:"n_ctx"` // of one slot
	} `json:"default_generation_settings"`
	Template        string `json:"chat_template"`
	EndpointMetrics bool   `json:"endpoint_metrics"`
	Simulated       bool   `json:"simulated"` // llm-speed's own simulator, whose numbers shall never pass for a server's
}

// listed is what of GET /v1/models is used.
type listed struct {
	Data []struct {
		ID      string `json:"id"`
		OwnedBy string `json:"owned_by"`
		Meta    struct {
			ContextTrained int   `json:"n_ctx_train"`
			Parameters     int64 `json:"n_params"`
			SizeBytes      int64 `json:"size"`
		} `json:"meta"`
	} `json:"data"`
}

// server is what a running llama-server says of itself.
type server struct {
	props  props
	models listed
}

// errOther means that something answers, but no llama-server.
var errOther = errors.New("another kind of server")

// errLoading means that it is a llama-server whose model is not loaded yet.
var errLoading = errors.New("the model is loading")

// identify asks a server who it is. The error wraps errOther where it is no llama-server, errLoading, ErrAuth,
// ErrUnreachable.
func identify(ctx context.Context, c *httpx.Client) (server, error) {
	var s server
	head, err := c.JSON(ctx, http.MethodGet, "/props", nil, &s.props)
	own := strings.Contains(strings.ToLower(head.Get("Server")), "llama.cpp")
	if err != nil {
		var api *drivers.APIError
		switch {
		case !errors.As(err, &api):
			if own || errors.Is(err, drivers.ErrUnreachable) || errors.Is(err, drivers.ErrTimeout) {
				return s, err
			}
			return s, fmt.Errorf("%w: %w", errOther, err)
		case api.Status == http.StatusServiceUnavailable && (own || strings.Contains(strings.ToLower(api.Message), "loading")):
			return s, fmt.Errorf("%w: %w", errLoading, err)
		case own:
			return s, err
		}
		return s, fmt.Errorf("%w: %w", errOther, err)
	}
	_, listErr := c.JSON(ctx, http.MethodGet, "/v1/models", nil, &s.models)
	for _, m := range s.models.Data {
		own = own || m.OwnedBy == "llamacpp"
	}
	if s.props.Simulated || !own && (s.props.BuildInfo == "" || s.props.TotalSlots == 0) {
		return s, errOther
	}
	if errors.Is(listErr, drivers.ErrAuth) { // older servers show /props without the key
		return s, listErr
	}
	return s, nil
}

// ready waits until the model is loaded: /health says so. loading is called now and then meanwhile.
func ready(ctx context.Context, c *httpx.Client, loading func(time.Duration)) error {
	start, pause, late := time.Now(), 10*time.Millisecond, 0
	for {
		_, err := c.JSON(ctx, http.MethodGet, "/health", nil, nil)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, drivers.ErrTimeout) && late < 3: // a machine that is short of memory stalls while it loads
			late++
		case !errors.Is(err, drivers.ErrOverloaded) && !errors.Is(err, drivers.ErrUnreachable) && !errors.Is(err, drivers.ErrReset):
			return fmt.Errorf("ask /health: %w", err)
		}
		if loading != nil {
			loading(time.Since(start))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, 250*time.Millisecond)
	}
}

// name is the served model's name: the alias where there is one, else the file's.
func (s *server) name() string {
	for _, n := range []string{s.props.ModelAlias, s.props.ModelPath} {
		if n != "" {
			return baseName(n)
		}
	}
	if len(s.models.Data) > 0 {
		return baseName(s.models.Data[0].ID)
	}
	return ""
}

// serves reports whether a model reference means the served model.
func (s *server) serves(ref string) bool {
	if ref == "" || ref == s.props.ModelAlias || ref == s.props.ModelPath {
		return true
	}
	for _, m := range s.models.Data {
		if m.ID == ref {
			return true
		}
	}
	low := strings.ToLower(baseName(ref))
	low = strings.TrimSuffix(low, ".gguf")
	for _, n := range []string{s.props.ModelAlias, s.props.ModelPath} {
		have := strings.TrimSuffix(strings.ToLower(baseName(n)), ".gguf")
		if n != "" && have == low || !isPath(ref) && low != "" && strings.Contains(have, low) {
			return true
		}
	}
	return false
}

// quant is the usual name of what the server calls the file's type: "Q4_K - Medium" is Q4_K_M, "all F32" is F32.
func quant(said string) string {
	base, size, has := strings.Cut(said, " - ")
	base = strings.TrimPrefix(strings.TrimPrefix(base, "all "), "mostly ")
	base, _, _ = strings.Cut(base, " ") // "IQ3_XS bpw …", "(guessed)"
	if !has {
		return base
	}
	switch {
	case strings.HasPrefix(size, "Small"):
		return base + "_S"
	case strings.HasPrefix(size, "Medium"):
		return base + "_M"
	case strings.HasPrefix(size, "Large"):
		return base + "_L"
	}
	return base // "IQ4_NL - 4.5 bpw"
}

// slots is GET /slots.
type slots []struct {
	Processing json.RawMessage `json:"is_processing"`
}
