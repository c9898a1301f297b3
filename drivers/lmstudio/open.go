package lmstudio

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/stream"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// open connects to a running server and has the model loaded.
func open(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	if err := check(c); err != nil {
		return nil, err
	}
	wait, err := time.ParseDuration(option(c, optWait))
	if err != nil {
		return nil, fmt.Errorf("option %s: %w", optWait, err)
	}
	h, err := connect(c, cmp.Or(c.URL, usualURL))
	if err != nil {
		return nil, err
	}
	s := &session{http: h, log: c.Log, wait: wait, reload: option(c, optReload) == "yes"}
	if err := s.open(ctx, c, n); err != nil {
		_ = s.Close()
		return nil, h.Redact(explain(h.Base(), err))
	}
	return s, nil
}

func (s *session) open(ctx context.Context, c drivers.Config, n drivers.Need) error {
	srv, err := identify(ctx, s.http)
	if err != nil {
		return err
	}
	s.v1 = srv.v1
	m, err := srv.choose(c.Model)
	if err != nil {
		return err
	}
	s.key = m.key
	if s.instance, err = s.ensure(ctx, m, n.Context); err != nil {
		return err
	}
	meta := map[string]string{"api": "/api/v0", "cached_tokens": "never stated", "sampling": "greedy: temperature 0, no penalty"}
	if s.v1 {
		meta["api"] = "/api/v1"
	}
	runtimeName, context := s.engine(ctx)
	s.instance.context = cmp.Or(s.instance.context, context)
	first, err := s.route(ctx, option(c, optEndpoint))
	if err != nil {
		return err
	}
	if err := srv.another(m, first.Model); err != nil {
		return err
	}
	s.answered = first.Model
	s.describe(c, m, first, runtimeName, meta)
	return nil
}

// engine asks for one token by /api/v0, whose answers in one piece tell the engine and the context. It also loads the model of
// a server that loads on the first request only.
func (s *session) engine(ctx context.Context) (name string, context int) {
	in := map[string]any{"model": s.instance.id, "max_tokens": 1, "temperature": 0, "messages": []map[string]string{{"role": "user", "content": "Say yes."}}}
	o, err := slow(ctx, s.http, path(routeV0), in, s.wait)
	if err != nil {
		return "", 0 // told nowhere else, and not needed
	}
	r := o.Object("runtime")
	return strings.TrimSpace(r.Text("name") + " " + r.Text("version")), o.Object("model_info").Count("context_length")
}

// ask runs a short request that is not measured.
func (s *session) ask(ctx context.Context, d dialect, text string, tokens int) (stream.Transcript, error) {
	rec, err := s.send(ctx, d, drivers.Request{Prompt: drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}, OutputTokens: tokens,
		Slot: drivers.AnySlot, FirstByteWithin: s.wait, IdleWithin: 2 * time.Minute})
	if err != nil {
		return stream.Transcript{}, err
	}
	return s.Decode(rec)
}

// route finds a way of streaming that the server takes, and gives the answer.
func (s *session) route(ctx context.Context, endpoint string) (stream.Transcript, error) {
	routes := []string{endpoint}
	if endpoint == "auto" {
		routes = []string{routeV0, routeChat}
	}
	var last error
	for i, r := range routes {
		d := newDialect(r, s.instance.id)
		t, err := s.learn(ctx, &d)
		if err != nil {
			if last = err; !unknownRoute(err) && i < len(routes)-1 && !errors.Is(err, drivers.ErrBadRequest) {
				return t, err
			}
			continue
		}
		if r == routeV0 && endpoint == "auto" && !hasStats(t.Extra) {
			continue // no more than /v1 gives, from an endpoint that is going away
		}
		s.dialect = d
		return t, nil
	}
	return stream.Transcript{}, last
}

// unknownRoute reports whether an endpoint is not there. LM Studio says so with status 200.
func unknownRoute(err error) bool {
	return errors.Is(err, drivers.ErrNotFound) && !errors.Is(err, drivers.ErrModelNotFound) || err != nil && strings.Contains(err.Error(), "Unexpected endpoint")
}

// learn finds which fields the server takes.
func (s *session) learn(ctx context.Context, d *dialect) (stream.Transcript, error) {
	var refusal error
	for {
		t, err := s.ask(ctx, *d, "Say hello. Dites bonjour; 東京 2,048 <b>x_1</b>", 4)
		if err == nil {
			return t, nil
		}
		refusal = cmp.Or(refusal, err)
		if !d.adapt(err) {
			if errors.Is(err, drivers.ErrBadRequest) {
				err = refusal // the first one is about the whole request
			}
			return t, err
		}
	}
}

// hasStats reports whether a stream's extras hold LM Studio's own figures.
func hasStats(extra json.RawMessage) bool {
	var e struct {
		Stats loose.Object `json:"stats"`
	}
	return json.Unmarshal(extra, &e) == nil && len(e.Stats) > 0
}

// another fails where a model answered that is not the one that was asked for: LM Studio takes any name where only one model
// is loaded.
func (s *server) another(want *model, answered string) error {
	same := func(m *model) bool {
		if plainKey(m.key) == plainKey(answered) {
			return true
		}
		for _, l := range m.loaded {
			if l.id == answered {
				return true
			}
		}
		return false
	}
	if answered == "" || same(want) {
		return nil
	}
	for i := range s.models {
		if same(&s.models[i]) {
			return fmt.Errorf("%w: %s was asked for, and %s answers", drivers.ErrModelNotFound, want.key, answered)
		}
	}
	return nil // a name of its own making
}

// plainKey is a key without what tells its file (@q4_k_m) or its copy (:2), and without its publisher.
func plainKey(key string) string {
	key, _, _ = strings.Cut(key, "@")
	key, _, _ = strings.Cut(key, ":")
	return strings.ToLower(key[strings.LastIndex(key, "/")+1:])
}

// describe fills in the session's Info.
func (s *session) describe(c drivers.Config, m *model, first stream.Transcript, engine string, meta map[string]string) {
	m.metadata(s.instance, meta)
	meta["endpoint"], meta["usage"] = path(s.dialect.route), "in the stream"
	if !first.Counts.Output.Known() {
		meta["usage"] = "none"
	}
	if refused := s.dialect.refused(); len(refused) > 0 {
		meta["refused"] = strings.Join(refused, ", ")
	}
	s.mu.Lock()
	if s.loadSeconds != "" {
		meta["load_seconds"] = s.loadSeconds
	}
	sized := s.ours != "" && (m.contextMax == 0 || s.instance.context < m.contextMax) // else it can't be loaded any larger
	s.mu.Unlock()
	s.info = drivers.Info{
		Backend: name, Build: engine, URL: s.http.Base(), URLKind: s.http.URLKind(), Attached: true, Sized: sized, AnyParallel: true, Model: m.describe(),
		ContextMax: s.instance.context, Parallel: s.instance.parallel, Template: drivers.NotKnown, CacheBlock: 1, Simulated: s.http.Simulated(),
		Metadata: meta, WhyNot: map[string]string{},
	}
	s.info.Model.Loaded = true
	if s.info.ContextMax == 0 && !s.v1 {
		meta["context"] = "not told; the model's own may be longer than what it was loaded with"
	}
	s.info.Model.Path = m.file(local(c, s.http))
	if s.info.Model.Path == "" {
		s.info.WhyNot["model.digest"] = "LM Studio does not tell where the model's file lies"
	}
	if s.info.Model.Quant == "" {
		s.info.WhyNot["model.quant"] = "LM Studio does not state it for this model"
	}
	s.secrets = secretsOf(s.http, s.info.Model.Path)
}

// local lists the GGUF files of the usual places, for a server that runs here.
func local(c drivers.Config, h *httpx.Client) []weights.File {
	if h.URLKind() != "loopback" || h.Simulated() {
		return nil
	}
	home := c.Getenv("HOME")
	if runtime.GOOS == "windows" {
		home = c.Getenv("USERPROFILE")
	}
	return weights.Find(weights.Places(home, func(k string) string { return c.Getenv(k) }, runtime.GOOS))
}

// file finds the file of a model: the only one that is as large as LM Studio says, to the byte.
func (m *model) file(files []weights.File) string {
	if m.format != "gguf" || m.sizeBytes == 0 {
		return ""
	}
	found := ""
	for _, f := range files {
		if f.SizeBytes != m.sizeBytes {
			continue
		}
		if found != "" {
			return ""
		}
		found = f.Path
	}
	return found
}
