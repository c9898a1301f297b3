package sglang

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// server is what a running SGLang says of itself without generating.
type server struct {
	listed []loose.Object // GET /v1/models
	model  loose.Object   // GET /model_info
	args   loose.Object   // GET /server_info: server arguments, scheduler facts and version in one object

	infoPath string // the path under which model was found
}

// errOther means that something answers, but no SGLang.
var errOther = errors.New("another kind of server")

// The two generations of names; newer ones first.
func infoPaths() []string { return []string{"/model_info", "/get_model_info"} }
func argsPaths() []string { return []string{"/server_info", "/get_server_info"} }

// identify asks a server who it is. The error wraps errOther where it is no SGLang; ErrAuth, ErrUnreachable, ErrOverloaded.
func identify(ctx context.Context, c *httpx.Client) (*server, error) {
	var list loose.Object
	s := &server{}
	_, err := c.JSON(ctx, http.MethodGet, "/v1/models", nil, &list)
	if err != nil && !absent(err) {
		return nil, other(err)
	}
	own := false
	for _, m := range list.Objects("data") {
		if m.Text("id") == "" {
			continue
		}
		s.listed = append(s.listed, m)
		own = own || strings.EqualFold(m.Text("owned_by"), "sglang")
	}
	if len(s.listed) > 0 && !own && s.listed[0].Text("owned_by") != "" {
		return nil, fmt.Errorf("%w: /v1/models says owned_by %q", errOther, s.listed[0].Text("owned_by"))
	}
	for _, p := range infoPaths() {
		if _, err = c.JSON(ctx, http.MethodGet, p, nil, &s.model); err == nil {
			s.infoPath = p
			break
		}
		if !absent(err) {
			return nil, other(err)
		}
	}
	if !own && (s.model.Text("model_path") == "" || !s.model.Has("is_generation")) {
		return nil, fmt.Errorf("%w: neither /v1/models nor /model_info speaks of SGLang", errOther)
	}
	return s, nil
}

// other tells errors of an SGLang from those of something else: what can't be read as the JSON that was asked for comes from
// another kind of server.
func other(err error) error {
	if errors.Is(err, drivers.ErrProtocol) {
		return fmt.Errorf("%w: %w", errOther, err)
	}
	return err
}

// absent reports whether a route is not there.
func absent(err error) bool {
	var api *drivers.APIError
	return errors.As(err, &api) && (api.Status == http.StatusNotFound || api.Status == http.StatusMethodNotAllowed)
}

// describe reads the server's arguments; a server that does not show them is tolerated.
func (s *server) describe(ctx context.Context, c *httpx.Client) {
	for _, p := range argsPaths() {
		if _, err := c.JSON(ctx, http.MethodGet, p, nil, &s.args); err == nil && len(s.args) > 0 {
			return
		}
	}
	s.args = nil
}

// choose gives the id of the model that a reference means.
func (s *server) choose(ref string) (string, error) {
	weights := s.weightsPath()
	var offered []pick.Offered
	for _, m := range s.listed {
		o := pick.Offered{ID: m.Text("id")}
		if m.Text("parent") == "" && weights != "" {
			o.Aliases = []string{weights, paths.Shown(weights), paths.Base(weights)}
		}
		offered = append(offered, o)
	}
	if len(offered) == 0 && weights != "" {
		offered = []pick.Offered{{ID: weights, Aliases: []string{paths.Base(weights)}}}
	}
	i, err := pick.Index(ref, offered)
	if err != nil {
		return "", err
	}
	return offered[i].ID, nil
}

// weightsPath is the folder or the Hugging Face name that the server loaded its weights from.
func (s *server) weightsPath() string {
	return cmp.Or(s.model.Text("model_path"), s.args.Text("model_path"))
}

// context is how many tokens one stream may use: the model's length, or the whole KV cache where that is smaller.
func (s *server) context(id string) int {
	n := s.listedContext(id)
	if n == 0 {
		n = s.args.Count("context_length", "max_context_len")
	}
	if pool := s.args.Count("max_total_num_tokens"); pool > 0 && (n == 0 || pool < n) {
		n = pool
	}
	return n
}

func (s *server) listedContext(id string) int {
	for _, m := range s.listed {
		if m.Text("id") == id {
			return m.Count("max_model_len")
		}
	}
	return 0
}

// parallel is how many streams the scheduler runs at once; 0 where it does not say.
func (s *server) parallel() int {
	total := 0
	for _, st := range s.states() {
		total += st.Count("effective_max_running_requests_per_dp")
	}
	if total > 0 {
		return total
	}
	return s.args.Count("max_running_requests")
}

// states is the internal state of each scheduler.
func (s *server) states() []loose.Object { return s.args.Objects("internal_states") }

// about describes the model. why says what of it is not known.
func (s *server) about(c *httpx.Client, id string) (m drivers.Model, why map[string]string) {
	why = map[string]string{}
	shown := paths.Shown(id)
	m = drivers.Model{Ref: shown, Name: shown, ContextMax: s.listedContext(id), Loaded: true}
	m.Quant = strings.ToLower(s.args.Text("quantization"))
	where := s.weightsPath()
	if c.URLKind() == "loopback" && filepath.IsAbs(where) {
		if info, err := weights.Read(where); err == nil {
			m.Path, m.SizeBytes = where, info.SizeBytes
			m.Quant = cmp.Or(info.Quant, m.Quant)
			m.ContextMax = cmp.Or(m.ContextMax, info.Context)
		}
	}
	switch {
	case m.Path != "":
	case paths.IsAbs(where):
		why["model.digest"] = "the folder that SGLang names can't be read from here"
	default:
		why["model.digest"] = "SGLang names its weights by their repository, not by a folder that can be read"
	}
	if m.Quant == "" {
		why["model.quant"] = "SGLang was started without --quantization, and what the weights themselves hold can't be read from here"
	}
	return m, why
}

// build is the compute back end in words; empty where the server does not say.
func (s *server) build() string {
	var parts []string
	if d := s.args.Text("device"); d != "" {
		parts = append(parts, d)
	}
	for _, k := range []string{"attention_backend", "sampling_backend"} {
		if v := s.args.Text(k); v != "" {
			parts = append(parts, strings.TrimSuffix(k, "_backend")+" "+v)
		}
	}
	for _, k := range []string{"tp_size", "dp_size", "pp_size", "ep_size"} {
		if n := s.args.Count(k); n > 1 {
			parts = append(parts, fmt.Sprintf("%s %d", strings.TrimSuffix(k, "_size"), n))
		}
	}
	return strings.Join(parts, ", ")
}

// metadata keeps the arguments that speed depends on. /server_info holds keys and paths beside them, so that only the
// arguments named here are taken.
func (s *server) metadata() map[string]string {
	m := map[string]string{}
	for _, k := range []string{
		"dtype", "quantization", "kv_cache_dtype", "chunked_prefill_size", "max_prefill_tokens", "page_size", "mem_fraction_static",
		"max_running_requests", "max_total_num_tokens", "disable_radix_cache", "radix_eviction_policy", "disable_cuda_graph", "schedule_policy",
		"stream_interval", "stream_output", "incremental_streaming_output", "attention_backend", "speculative_algorithm", "speculative_num_steps",
		"speculative_num_draft_tokens", "enable_hierarchical_cache", "enable_torch_compile", "reasoning_parser", "tool_call_parser",
		"allow_auto_truncate", "tp_size", "dp_size", "pp_size",
	} {
		if !s.args.Has(k) {
			continue
		}
		v := s.args.Text(k)
		if v == "" {
			v = string(s.args[k])
		}
		if len(v) <= longestSetting && json.Valid(s.args[k]) && !paths.IsAbs(v) {
			m[k] = v
		}
	}
	return m
}

// longestSetting is in bytes; what is longer is no setting that a person reads.
const longestSetting = 100

// cacheOff reports whether the server keeps no prefixes at all.
func (s *server) cacheOff() bool {
	off, _ := s.args.Flag("disable_radix_cache")
	return off
}
