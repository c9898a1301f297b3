package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
)

// details is what Ollama says about the kind of a model.
type details struct {
	Format    string `json:"format"` // gguf or safetensors
	Family    string `json:"family"`
	Parameter string `json:"parameter_size"`
	Quant     string `json:"quantization_level"`
}

// listed is a model of GET /api/tags.
type listed struct {
	Name        string  `json:"name"`
	Model       string  `json:"model"`
	Size        int64   `json:"size"`
	Digest      string  `json:"digest"` // of the manifest
	Details     details `json:"details"`
	RemoteModel string  `json:"remote_model"`
	RemoteHost  string  `json:"remote_host"`
}

// id is the name that the server knows the model by.
func (l *listed) id() string {
	if l.Name != "" {
		return l.Name
	}
	return l.Model
}

// cloud reports whether the model runs elsewhere.
func (l *listed) cloud() bool {
	return l.RemoteHost != "" || l.RemoteModel != "" || cloudName(l.id())
}

// cloudName knows Ollama's cloud models by their tag: "gpt-oss:120b-cloud", "glm-5:cloud".
func cloudName(name string) bool {
	_, tag, ok := strings.Cut(name, ":")
	return ok && (tag == "cloud" || strings.HasSuffix(tag, "-cloud"))
}

// loaded is a model of GET /api/ps.
type loaded struct {
	Name    string `json:"name"`
	Model   string `json:"model"`
	Size    int64  `json:"size"`      // bytes, of the model with its context
	VRAM    int64  `json:"size_vram"` // of which on a GPU
	Digest  string `json:"digest"`    // of the manifest
	Context int    `json:"context_length"`
	Expires string `json:"expires_at"`
}

// shown is what of POST /api/show is used.
type shown struct {
	Modelfile    string                     `json:"modelfile"`
	Details      details                    `json:"details"`
	Info         map[string]json.RawMessage `json:"model_info"`
	Projector    map[string]json.RawMessage `json:"projector_info"` // of a vision model in two files
	Capabilities []string                   `json:"capabilities"`   // absent in old versions
	RemoteModel  string                     `json:"remote_model"`
	RemoteHost   string                     `json:"remote_host"`
}

// can reports whether the model has a capability; told is false where the server lists none.
func (s *shown) can(what string) (can, told bool) {
	return slices.Contains(s.Capabilities, what), len(s.Capabilities) > 0
}

// context is the context that the model was trained with, tokens; 0 where not told.
func (s *shown) context() int {
	var arch string
	if json.Unmarshal(s.Info["general.architecture"], &arch) != nil {
		return 0
	}
	return number(s.Info[arch+".context_length"])
}

// from matches the line of a Modelfile that names the weights: the file's name is its SHA-256.
var from = regexp.MustCompile(`(?m)^FROM +(\S.*?[/\\]sha256[-:]([0-9a-f]{64}))\s*$`)

// blob gives the path of the weights on the server and their SHA-256; empty where the Modelfile names no single blob. A vision
// model's Modelfile names the projector too, by a second FROM after that of the weights.
func (s *shown) blob() (path, hex string) {
	all := from.FindAllStringSubmatch(s.Modelfile, -1)
	if projector := len(all) == 2 && len(s.Projector) > 0; len(all) != 1 && !projector {
		return "", ""
	}
	return all[0][1], all[0][2]
}

// number reads a JSON number of tokens; 0 for anything else.
func number(raw json.RawMessage) int {
	var f float64
	if json.Unmarshal(raw, &f) != nil || !(f > 0 && f < 1e12) {
		return 0
	}
	return int(f)
}

// api is the plain calls to a server.
type api struct{ *httpx.Client }

// errOther means that something answers, but no Ollama.
var errOther = errors.New("another kind of server")

// version asks GET /api/version. The error wraps errOther where it is no Ollama, ErrAuth, ErrUnreachable, ErrTimeout.
func (a api) version(ctx context.Context) (string, error) {
	var v struct {
		Version *string `json:"version"`
	}
	_, err := a.JSON(ctx, http.MethodGet, "/api/version", nil, &v)
	switch {
	case errors.Is(err, drivers.ErrUnreachable), errors.Is(err, drivers.ErrTimeout), errors.Is(err, drivers.ErrAuth):
		return "", err
	case err != nil:
		return "", fmt.Errorf("%w: %w", errOther, err)
	case v.Version == nil || len(*v.Version) > 100:
		return "", fmt.Errorf("%w: /api/version names no version", errOther)
	}
	return *v.Version, nil
}

// tags lists the models that the server has.
func (a api) tags(ctx context.Context) ([]listed, error) {
	var t struct {
		Models *[]listed `json:"models"`
	}
	if _, err := a.JSON(ctx, http.MethodGet, "/api/tags", nil, &t); err != nil {
		return nil, fmt.Errorf("list models: %w", err)
	}
	if t.Models == nil { // LM Studio and others have an /api/version, too
		return nil, fmt.Errorf("list models: %w: /api/tags has no models field", drivers.ErrProtocol)
	}
	return slices.DeleteFunc(*t.Models, func(l listed) bool { return l.id() == "" }), nil
}

// ps lists the models that are loaded.
func (a api) ps(ctx context.Context) ([]loaded, error) {
	var t struct {
		Models []loaded `json:"models"`
	}
	if _, err := a.JSON(ctx, http.MethodGet, "/api/ps", nil, &t); err != nil {
		return nil, fmt.Errorf("ask /api/ps: %w", err)
	}
	return t.Models, nil
}

// show describes a model.
func (a api) show(ctx context.Context, model string) (shown, error) {
	var s shown
	if _, err := a.JSON(ctx, http.MethodPost, "/api/show", map[string]string{"model": model}, &s); err != nil {
		return s, fmt.Errorf("ask /api/show about %s: %w", model, err)
	}
	return s, nil
}

// sameModel reports whether two names mean one model: "m" is "m:latest", and case does not count.
func sameModel(a, b string) bool { return strings.EqualFold(withTag(a), withTag(b)) }

// withTag adds the tag that Ollama adds to a name without one.
func withTag(name string) string {
	if strings.Contains(name[strings.LastIndexByte(name, '/')+1:], ":") {
		return name
	}
	return name + ":latest"
}

// find is the loaded form of a model by its name; nil where none is listed under it.
func find(models []loaded, name string) *loaded {
	for i := range models {
		if m := &models[i]; sameModel(m.Name, name) || m.Name == "" && sameModel(m.Model, name) {
			return m
		}
	}
	return nil
}

// runs is the loaded form of a model; nil where it is not loaded. Models of one file of weights share a runner, which is
// listed under the name of the first of them: such a one is known by its blob.
func (a api) runs(ctx context.Context, name, hex string) (*loaded, error) {
	running, err := a.ps(ctx)
	if err != nil {
		return nil, err
	}
	if m := find(running, name); m != nil || hex == "" {
		return m, nil
	}
	for i := range running[:min(len(running), askedAtOnce)] {
		other, err := a.show(ctx, running[i].Name)
		if err != nil {
			if errors.Is(err, drivers.ErrTimeout) || errors.Is(err, drivers.ErrUnreachable) || ctx.Err() != nil {
				return nil, err
			}
			continue // removed while it is loaded
		}
		if _, its := other.blob(); its == hex {
			return &running[i], nil
		}
	}
	return nil, nil
}
