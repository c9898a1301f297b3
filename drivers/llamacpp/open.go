package llamacpp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// ports are llama-server's defaults: 8080 until 2026, 9931 since.
func ports() []int { return []int{9931, 8080} }

// How long a probe of a port and the loading of a model may take.
const (
	probeTime = 800 * time.Millisecond
	loadTime  = 20 * time.Minute
)

// open attaches to a server or starts one.
func open(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	how := option(c, optStart)
	switch {
	case how != "auto" && how != "always" && how != "never":
		return nil, fmt.Errorf("option %s is %q; want auto, always or never", optStart, how)
	case c.URL != "":
		s, err := attach(ctx, c, c.URL)
		if err == nil && c.Model != "" && !s.serves(c.Model) {
			s.http.Close()
			return nil, fmt.Errorf("%w: the llama-server at %s serves %q, not %q", drivers.ErrModelNotFound, s.http.Base(), s.name(), c.Model)
		}
		if err != nil {
			return nil, err
		}
		return s.session(ctx, c)
	case how != "always":
		for _, f := range probe(ctx, c) {
			if f.err == nil && f.server.serves(c.Model) && f.server.props.Role != "router" {
				s, err := attach(ctx, c, f.url)
				if err != nil {
					return nil, err
				}
				return s.session(ctx, c)
			}
		}
		if how == "never" {
			return nil, fmt.Errorf("%w: no llama-server on ports 9931 and 8080 serves %s; start one, or give --url", drivers.ErrUnreachable, orAny(c.Model))
		}
	}
	return start(ctx, c, n)
}

func orAny(model string) string {
	if model == "" {
		return "a model"
	}
	return strconv.Quote(model)
}

// opened is a llama-server that answers.
type opened struct {
	server
	http *httpx.Client
	proc *proc.Process
	path string            // model file, where it is ours to read
	meta map[string]string // what is known from starting it

	oomed int64 // see session
}

// attach connects to a running server, and waits while it loads its model.
func attach(ctx context.Context, c drivers.Config, url string) (*opened, error) {
	h, err := connect(c, url)
	if err != nil {
		return nil, err
	}
	s, err := identify(ctx, h)
	if errors.Is(err, errLoading) {
		c.Log("llama-server at %s is loading its model", h.Base())
		wait, cancel := context.WithTimeout(ctx, loadTime)
		defer cancel()
		if err = ready(wait, h, nil); err == nil {
			s, err = identify(ctx, h)
		}
	}
	switch {
	case errors.Is(err, errOther):
		h.Close()
		return nil, h.Redact(fmt.Errorf("%w: %s is no llama-server: %w", drivers.ErrProtocol, h.Base(), err))
	case errors.Is(err, drivers.ErrTimeout):
		h.Close()
		return nil, h.Redact(fmt.Errorf("llama-server at %s: %w; it takes connections and does not answer: restart it, or give another --url", h.Base(), err))
	case err != nil:
		h.Close()
		return nil, h.Redact(fmt.Errorf("llama-server at %s: %w", h.Base(), err))
	case s.props.Role == "router" || s.props.Default.Context == 0 && s.props.ModelPath == "":
		h.Close()
		return nil, fmt.Errorf("%w: the llama-server at %s is a router without a model of its own; start one with -m MODEL.gguf", drivers.ErrUnsupported, h.Base())
	}
	o := &opened{server: s, http: h}
	if h.URLKind() == "loopback" && filepath.IsAbs(s.props.ModelPath) {
		o.path = s.props.ModelPath
	}
	return o, nil
}

// key is the API key: the user's, or the one that llama-server itself takes from the environment.
func key(c drivers.Config) drivers.Secret {
	if c.APIKey.IsSet() {
		return c.APIKey
	}
	return drivers.NewSecret(c.Getenv("LLAMA_API_KEY"))
}

// session learns the rest about a server and makes the session of it.
func (o *opened) session(ctx context.Context, c drivers.Config) (drivers.Session, error) {
	s := &session{http: o.http, proc: o.proc, alias: o.aliasName(), render: renderer{http: o.http}, oomed: o.oomed}
	s.secrets = o.secrets(c)
	fail := func(err error) (drivers.Session, error) {
		err = s.explain(err, newRecording())
		_ = s.Close()
		return nil, o.http.Redact(fmt.Errorf("open llama-server at %s: %w", o.http.Base(), err))
	}
	found, err := s.render.settle(ctx)
	if err != nil {
		return fail(err)
	}
	before, err := s.render.before(ctx)
	if err != nil {
		return fail(err)
	}
	tools := s.render.tools(ctx)
	m, err := readMetrics(ctx, o.http)
	if err != nil && !refused(err) {
		return fail(err)
	}
	s.metrics = err == nil
	_, cacheErr := m.cache()

	s.noThinking = o.props.Template != "" && !thinks.MatchString(o.props.Template)
	s.info = drivers.Info{
		Backend: name, Version: o.props.BuildInfo, URL: o.http.Base(), URLKind: o.http.URLKind(), Attached: o.proc == nil,
		Model: o.model(c), ContextMax: o.props.Default.Context, Parallel: o.props.TotalSlots, Template: before,
		CacheBlock: 1, IgnoresEOS: true, ColdAsked: true, Simulated: o.http.Simulated(),
		Metadata: map[string]string{
			"endpoint":  "/completion, prompt as token ids",
			"rendering": found,
			"tools":     tools,
			"build":     o.props.BuildInfo,
			"sampling":  "greedy: temperature 0, sampler chain: temperature",
		},
	}
	for k, v := range o.meta {
		switch k {
		case metaVersion:
			s.info.Version = v
		case metaBuild:
			s.info.Build = v
		default:
			s.info.Metadata[k] = v
		}
	}
	if s.info.Parallel > 0 && !s.metrics {
		s.info.Metadata["metrics"] = "off"
	}
	return s.shaped(s.metrics && cacheErr == nil), nil
}

// secrets lists credentials and folders; see drivers.SecretLister.
func (o *opened) secrets(c drivers.Config) []string {
	said := []string{c.Model, o.path, o.props.ModelPath, o.props.ModelAlias}
	for _, m := range o.models.Data {
		said = append(said, m.ID)
	}
	return paths.LongestFirst(append(o.http.Secrets(), paths.Folders(said...)...))
}

// connect makes the client of a server, which hides the key in the environment also where another one is used: a server
// that was started has it too.
func connect(c drivers.Config, url string) (*httpx.Client, error) {
	h, err := httpx.New(url, key(c), nil, c.Clock, httpx.Beside("/v1"))
	if err == nil {
		h.Hide(c.Getenv("LLAMA_API_KEY"))
	}
	return h, err
}

// thinks is what the template of a model that thinks mentions.
var thinks = regexp.MustCompile(`(?i)think|reason|thought|<\|channel`)

// aliasName is the served model's name as the final event of a stream has it.
func (o *opened) aliasName() string {
	if len(o.models.Data) == 1 && o.props.ModelAlias == "" && o.models.Data[0].ID != "" {
		return baseName(o.models.Data[0].ID)
	}
	return o.name()
}

// model describes the served model: by its file where that can be read and is the one, else by the server's words.
func (o *opened) model(c drivers.Config) drivers.Model {
	file := o.name()
	if o.props.ModelPath != "" {
		file = baseName(o.props.ModelPath)
	}
	m := drivers.Model{Ref: c.Model, Name: weights.NameOf(file), Quant: quant(o.props.ModelType), Loaded: true}
	if m.Ref == "" || isPath(m.Ref) {
		m.Ref = m.Name
	}
	var stated int64
	if len(o.models.Data) > 0 {
		meta := o.models.Data[0].Meta
		stated, m.ContextMax = meta.Parameters, meta.ContextTrained
	}
	if o.path == "" {
		return m
	}
	info, err := weights.ReadGGUF(o.path)
	if err != nil || stated != 0 && info.Parameters != stated && o.proc == nil {
		return m // another file under that path: a server in a container
	}
	m.Path, m.SizeBytes = o.path, info.SizeBytes
	if info.Quant != "" {
		m.Quant = info.Quant
	}
	if info.Context > 0 {
		m.ContextMax = info.Context
	}
	return m
}

// probed is what a default port gave.
type probed struct {
	url    string
	server server
	err    error
}

// probe asks the default ports, at once, and lists where a llama-server answers, loading ones included.
func probe(ctx context.Context, c drivers.Config) []probed {
	urls := make([]string, 0, 2)
	for _, p := range ports() {
		urls = append(urls, "http://127.0.0.1:"+strconv.Itoa(p))
	}
	return ask(ctx, c, urls)
}

func ask(ctx context.Context, c drivers.Config, urls []string) []probed {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	answers := make([]probed, len(urls))
	done := make(chan struct{})
	for i, u := range urls {
		go func() {
			defer func() { done <- struct{}{} }()
			h, err := connect(c, u)
			if err != nil {
				answers[i] = probed{url: u, err: err}
				return
			}
			defer h.Close()
			s, err := identify(ctx, h)
			answers[i] = probed{url: h.Base(), server: s, err: err}
		}()
	}
	for range urls {
		<-done
	}
	var found []probed
	for _, a := range answers {
		var api *drivers.APIError
		if a.err == nil || errors.Is(a.err, errLoading) || !errors.Is(a.err, errOther) && asAPI(a.err, &api) && api.Status == http.StatusUnauthorized {
			found = append(found, a)
		}
	}
	return found
}
