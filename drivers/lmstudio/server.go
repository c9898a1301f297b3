package lmstudio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
)

// server is what LM Studio says of itself without generating.
type server struct {
	v1     bool    // /api/v1 is there: 0.4 and newer
	models []model //
}

// model is a model that LM Studio has, loaded or not.
type model struct {
	key        string
	title      string
	kind       string // llm, vlm, embedding or embeddings
	arch       string
	quant      string
	format     string // gguf or mlx
	publisher  string
	sizeBytes  int64 // 0 where not told
	contextMax int
	loaded     []instance
}

// instance is a loaded copy of a model.
type instance struct {
	id       string
	context  int // tokens; 0 where not told
	parallel int // predictions at once; 0 where not told
	config   loose.Object
}

// errOther means that something answers, but no LM Studio.
var errOther = errors.New("another kind of server")

// identify asks a server who it is and which models it has. The error wraps errOther where it is no LM Studio; ErrAuth,
// ErrUnreachable. LM Studio answers questions that it does not understand with status 200 and an error.
func identify(ctx context.Context, c *httpx.Client) (*server, error) {
	for _, v1 := range []bool{true, false} {
		path, list := "/api/v0/models", "data"
		if v1 {
			path, list = "/api/v1/models", "models"
		}
		var o loose.Object
		_, err := c.JSON(ctx, http.MethodGet, path, nil, &o)
		var api *drivers.APIError
		switch {
		case errors.Is(err, drivers.ErrAuth), err != nil && !errors.As(err, &api) && !errors.Is(err, drivers.ErrProtocol):
			return nil, err
		case err != nil || !o.Has(list):
			continue
		}
		s := &server{v1: v1}
		own := true
		for _, m := range o.Objects(list) {
			if v1 {
				s.models = append(s.models, newModel(m))
				own = own && m.Text("key") != "" && m.Text("type") != ""
			} else {
				s.models = append(s.models, oldModel(m))
				own = own && m.Text("id") != "" && m.Text("state") != ""
			}
		}
		if own {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: neither /api/v1/models nor /api/v0/models lists models as LM Studio does", errOther)
}

// newModel is an entry of /api/v1/models.
func newModel(o loose.Object) model {
	m := model{
		key: o.Text("key"), title: o.Text("display_name"), kind: o.Text("type"), arch: o.Text("architecture"), quant: o.Object("quantization").Text("name"),
		format: o.Text("format"), publisher: o.Text("publisher"), sizeBytes: int64(o.Count("size_bytes")), contextMax: o.Count("max_context_length"),
	}
	for _, i := range o.Objects("loaded_instances") {
		config := i.Object("config")
		m.loaded = append(m.loaded, instance{id: i.Text("id"), context: config.Count("context_length"), parallel: config.Count("parallel"), config: config})
	}
	return m
}

// oldModel is an entry of /api/v0/models.
func oldModel(o loose.Object) model {
	m := model{
		key: o.Text("id"), kind: o.Text("type"), arch: o.Text("arch"), quant: o.Text("quantization"),
		format: o.Text("compatibility_type"), publisher: o.Text("publisher"), contextMax: o.Count("max_context_length"),
	}
	if o.Text("state") == "loaded" {
		m.loaded = []instance{{id: m.key, context: o.Count("loaded_context_length")}}
	}
	return m
}

// generates reports whether it is a language model.
func (m *model) generates() bool {
	if m.kind == "" {
		return pick.GeneratesText(m.key)
	}
	return !strings.HasPrefix(m.kind, "embedding")
}

// choose finds the model that was asked for: by its key, its title or the name of a loaded copy; else the first that is
// loaded, else the first.
func (s *server) choose(ref string) (*model, error) {
	var offered []pick.Offered
	var at []int
	for _, wantLoaded := range []bool{true, false} {
		for i := range s.models {
			m := &s.models[i]
			if !m.generates() || (len(m.loaded) > 0) != wantLoaded {
				continue
			}
			names := []string{m.title}
			for _, l := range m.loaded {
				names = append(names, l.id)
			}
			offered, at = append(offered, pick.Offered{ID: m.key, Aliases: slices.DeleteFunc(names, func(n string) bool { return n == "" })}), append(at, i)
		}
	}
	if len(offered) == 0 {
		return nil, fmt.Errorf("%w: LM Studio has no language model; get one in its window, or with lms get", drivers.ErrNoModel)
	}
	i, err := pick.Index(ref, offered)
	if err != nil {
		return nil, err
	}
	return &s.models[at[i]], nil
}

// describe is a model for people.
func (m *model) describe() drivers.Model {
	d := drivers.Model{Ref: m.key, Name: m.key, Quant: m.quant, SizeBytes: m.sizeBytes, ContextMax: m.contextMax, Loaded: len(m.loaded) > 0}
	if d.Quant == "" {
		if _, tag, ok := strings.Cut(m.key, "@"); ok { // a model of several files: name@q4_k_m
			d.Quant = strings.ToUpper(tag)
		}
	}
	return d
}

// metadata keeps what is told of a model and its loaded copy.
func (m *model) metadata(l instance, meta map[string]string) {
	for k, v := range map[string]string{"architecture": m.arch, "format": m.format, "publisher": m.publisher, "instance": l.id} {
		if v != "" {
			meta[k] = v
		}
	}
	for _, k := range []string{"context_length", "parallel", "eval_batch_size", "num_experts"} {
		if n, ok := l.config.Int(k); ok {
			meta["load_"+k] = strconv.Itoa(n)
		}
	}
	for _, k := range []string{"flash_attention", "offload_kv_cache_to_gpu"} {
		if v, ok := l.config.Flag(k); ok {
			meta["load_"+k] = strconv.FormatBool(v)
		}
	}
}
