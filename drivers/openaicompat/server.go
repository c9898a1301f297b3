package openaicompat

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
)

// What a server may turn out to be. An unknown one is "".
const (
	llamaCpp = "llama.cpp"
	vLLM     = "vllm"
	sgLang   = "sglang"
	simSrv   = "llm-speed-sim"
)

// server is what a server tells about itself without generating.
type server struct {
	client  *httpx.Client
	prefix  string // of the API's paths: /v1, or nothing
	header  string // its Server header
	models  []listed
	kind    string
	version string
	context int // tokens a stream; 0 where not told
	slots   int
	quant   string
	path    string // of the weights, on this machine
	weights string // the same as the server says it, wherever that is
}

// listed is an entry of /v1/models, with the fields that servers add.
type listed struct {
	ID            string   `json:"id"`
	Aliases       []string `json:"aliases"`
	OwnedBy       string   `json:"owned_by"`
	Root          string   `json:"root"`
	MaxModelLen   int      `json:"max_model_len"`
	ContextLength int      `json:"context_length"`
	ContextWindow int      `json:"context_window"`
	MaxContext    int      `json:"max_context_length"`
	NCtx          int      `json:"n_ctx"`
	Meta          *struct {
		NCtx      int   `json:"n_ctx"`
		NCtxTrain int   `json:"n_ctx_train"`
		Size      int64 `json:"size"`
	} `json:"meta"`
}

func (m listed) context() int {
	n := cmp.Or(m.MaxModelLen, m.ContextLength, m.ContextWindow, m.MaxContext, m.NCtx)
	if n == 0 && m.Meta != nil {
		n = m.Meta.NCtx
	}
	return max(n, 0)
}

func (m listed) model() drivers.Model {
	shown := paths.Shown(m.ID) // choose takes it too
	d := drivers.Model{Ref: shown, Name: shown, ContextMax: m.context()}
	if m.Meta != nil {
		d.SizeBytes = max(m.Meta.Size, 0)
		d.ContextMax = max(cmp.Or(m.Meta.NCtxTrain, d.ContextMax), 0) // the model's own; what a stream may use is the session's
	}
	return d
}

// get makes a short call.
func (s *server) get(ctx context.Context, path string, out any) (http.Header, error) {
	return s.client.JSON(ctx, http.MethodGet, path, nil, out)
}

// list reads the models. A server without such a list is tolerated; one that can't be reached or wants a key is not.
func (s *server) list(ctx context.Context) error {
	s.prefix = "/v1"
	for _, prefix := range []string{"/v1", ""} {
		var raw struct {
			Data []json.RawMessage `json:"data"`
		}
		h, err := s.get(ctx, prefix+"/models", &raw)
		if v := h.Get("Server"); v != "" {
			s.header = v
		}
		switch {
		case err == nil && len(raw.Data) > 0:
			s.prefix = prefix
			for _, r := range raw.Data {
				var m listed
				var odd *json.UnmarshalTypeError
				if err := json.Unmarshal(r, &m); (err == nil || errors.As(err, &odd)) && m.ID != "" {
					s.models = append(s.models, m)
				}
			}
			return nil
		case errors.Is(err, drivers.ErrUnreachable), errors.Is(err, drivers.ErrAuth), errors.Is(err, drivers.ErrOverloaded),
			errors.Is(err, drivers.ErrTimeout), errors.Is(err, context.Canceled), errors.Is(err, drivers.ErrReset):
			return err
		}
	}
	return nil
}

// identify finds out which server it is, from what it says by itself.
func (s *server) identify(ctx context.Context) {
	owner := ""
	if len(s.models) > 0 {
		owner = strings.ToLower(s.models[0].OwnedBy)
	}
	header := strings.ToLower(s.header)
	switch {
	case strings.HasPrefix(header, simSrv):
		s.kind = simSrv
	case strings.HasPrefix(header, llamaCpp), owner == "llamacpp":
		s.kind = llamaCpp
	case owner == vLLM, owner == sgLang:
		s.kind = owner
	}
	var v struct {
		Version string `json:"version"`
	}
	if _, err := s.get(ctx, "/version", &v); err == nil {
		s.version = v.Version
	}
	if s.kind == llamaCpp || s.kind == simSrv {
		s.props(ctx)
	}
}

// props reads llama.cpp's description of itself.
func (s *server) props(ctx context.Context) {
	var p struct {
		BuildInfo string `json:"build_info"`
		Path      string `json:"model_path"`
		Ftype     string `json:"model_ftype"`
		Slots     int    `json:"total_slots"`
		Default   struct {
			NCtx int `json:"n_ctx"`
		} `json:"default_generation_settings"`
	}
	if _, err := s.get(ctx, "/props", &p); err != nil {
		return
	}
	s.version = cmp.Or(s.version, p.BuildInfo)
	s.context, s.slots, s.quant = max(p.Default.NCtx, 0), max(p.Slots, 0), p.Ftype
	s.weights = p.Path
	// A path that is not absolute is relative to the server's folder, which is not ours: another file may lie there.
	if s.client.URLKind() == "loopback" && filepath.IsAbs(p.Path) {
		s.path = p.Path
	}
}

// choose finds the model that was asked for, or the first that generates text. A server without a list of models is asked
// for what was asked for, or for nothing.
func (s *server) choose(ref string) (listed, error) {
	if len(s.models) == 0 {
		return listed{ID: ref}, nil
	}
	offered := make([]pick.Offered, len(s.models))
	for i, m := range s.models {
		offered[i] = pick.Offered{ID: m.ID, Aliases: m.Aliases}
	}
	i, err := pick.Index(ref, offered)
	if err != nil {
		return listed{}, err
	}
	return s.models[i], nil
}
