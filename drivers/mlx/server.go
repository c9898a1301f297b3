package mlx

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
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
	"github.com/llm-speed/llm-speed/drivers/internal/pyhelper"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// defaultURL is where mlx_lm.server listens unless told otherwise.
const defaultURL = "http://127.0.0.1:8080"

// probeTime bounds the look at the default port.
const probeTime = 800 * time.Millisecond

// defaultModel is mlx_lm.server's word for the model that it was started with.
const defaultModel = "default_model"

// errOther is a server that is not mlx_lm.server.
var errOther = errors.New("another server answers there")

// listed is an entry of /v1/models. mlx_lm.server names no owner; the servers that it could be taken for do.
type listed struct {
	ID      string `json:"id"`
	OwnedBy string `json:"owned_by"`
}

// identify asks a server what it is, by what mlx_lm/server.py answers: /health is {"status":"ok"}, /v1/models lists Hugging
// Face's cache, and the Server header is that of Python's http.server.
func identify(ctx context.Context, h *httpx.Client, strict bool) ([]listed, error) {
	var health struct {
		Status string `json:"status"`
	}
	head, err := h.JSON(ctx, http.MethodGet, "/health", nil, &health)
	var api *drivers.APIError
	if err != nil && !errors.As(err, &api) && !errors.Is(err, drivers.ErrProtocol) {
		return nil, err
	}
	python := strings.Contains(head.Get("Server"), "BaseHTTP/") // the simulator puts its own name before it
	known := python || head.Get("Server") == "" && !strict      // a proxy may have taken it out
	if err != nil || health.Status != "ok" || !known {
		return nil, fmt.Errorf("%w: Server header %q, /health %q", errOther, head.Get("Server"), health.Status)
	}
	var list struct {
		Data []listed `json:"data"`
	}
	if _, err := h.JSON(ctx, http.MethodGet, "/v1/models", nil, &list); err != nil {
		return nil, fmt.Errorf("%w: /v1/models: %w", errOther, err)
	}
	for _, m := range list.Data {
		if m.OwnedBy != "" {
			return nil, fmt.Errorf("%w: its models are owned by %q", errOther, m.OwnedBy)
		}
	}
	return list.Data, nil
}

// detectServer looks at the URL, or the default port; nil where no mlx_lm.server is there.
func detectServer(ctx context.Context, c drivers.Config) *drivers.Found {
	url := c.URL
	if url == "" {
		url = defaultURL
	}
	h, err := httpx.New(url, c.APIKey, nil, c.Clock, httpx.Beside("/v1"))
	if err != nil {
		return nil
	}
	defer h.Close()
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	models, err := identify(ctx, h, c.URL == "")
	if err != nil {
		return nil
	}
	f := &drivers.Found{Backend: name, URL: h.Base(), Models: []drivers.Model{}, Usable: true, Note: "mlx_lm.server; it loads the model that is asked for"}
	for _, m := range models {
		f.Models = append(f.Models, drivers.Model{Ref: paths.Shown(m.ID), Name: paths.Shown(m.ID)})
	}
	return f
}

// server is an attached mlx_lm.server.
type server struct {
	http     *httpx.Client
	model    string
	answered string         // the model that the server said had answered at Open, as it may be shown
	ids      []string       // of all listed models
	bias     map[string]int // on the ids of the end of text; nil where they are not known
	info     drivers.Info
}

// attach connects to a running mlx_lm.server and learns its ways by short requests.
func attach(ctx context.Context, c drivers.Config, url string) (drivers.Session, error) {
	h, err := httpx.New(url, c.APIKey, nil, c.Clock, httpx.Beside("/v1"))
	if err != nil {
		return nil, err
	}
	s := &server{http: h}
	if err := s.open(ctx, c); err != nil {
		h.Close()
		return nil, h.Redact(fmt.Errorf("mlx_lm.server at %s: %w", h.Base(), explain(err)))
	}
	return s, nil
}

// explain says what to do about an error.
func explain(err error) error {
	switch {
	case errors.Is(err, errOther):
		return fmt.Errorf("%w: %w; give mlx_lm.server's own address with --url", drivers.ErrProtocol, err)
	case errors.Is(err, drivers.ErrUnreachable):
		return fmt.Errorf("%w; start one with: mlx_lm.server --model MODEL", err)
	}
	return err
}

func (s *server) open(ctx context.Context, c drivers.Config) error {
	models, err := identify(ctx, s.http, false)
	if err != nil {
		return err
	}
	offered := []pick.Offered{{ID: defaultModel}}
	for _, m := range models {
		if m.ID != "" {
			offered, s.ids = append(offered, pick.Offered{ID: m.ID, Aliases: []string{paths.Base(m.ID)}}), append(s.ids, m.ID)
		}
	}
	i, err := pick.Index(c.Model, offered)
	if err != nil {
		return err // the server would fetch it from the network
	}
	s.model = offered[i].ID
	s.info = drivers.Info{
		Backend: name, URL: s.http.Base(), URLKind: s.http.URLKind(), Attached: true, CacheBlock: 1, Template: drivers.NotKnown,
		Model:    drivers.Model{Ref: paths.Shown(s.model), Name: paths.Shown(s.model), Loaded: true},
		Metadata: map[string]string{"endpoint": "/v1/chat/completions", "server_kind": "mlx_lm.server"},
		WhyNot:   map[string]string{},
	}
	s.folder(c)
	first, err := s.ask(ctx, "Say hello.", 4)
	if err != nil {
		if s.model == defaultModel {
			err = fmt.Errorf("%w (asked for its default model; name one of its models with --model)", err)
		}
		return err
	}
	s.answered = first.Model
	s.fingerprint(first.Extra)
	s.ignoresEOS(ctx)
	if t, err := s.ask(ctx, "a", 1); err == nil && t.Counts.Prompt.Known() && t.Counts.Prompt.N > 0 {
		s.info.Template = t.Counts.Prompt.N - 1
	}
	s.info.Simulated = s.http.Simulated()
	return nil
}

// folder looks for the model's own folder on this machine, which names its quantisation and the ids of its end of text.
func (s *server) folder(c drivers.Config) {
	unknown := "mlx_lm.server does not say where its model lies"
	if s.model == defaultModel {
		unknown = "mlx_lm.server does not say which its default model is; name one with --model"
	}
	s.info.WhyNot["model.digest"], s.info.WhyNot["model.quant"] = unknown, unknown
	if s.http.URLKind() != "loopback" || s.model == defaultModel {
		return
	}
	f, err := pyhelper.Choose(s.model, pyhelper.Find(pyhelper.Places(c.Env), func(pyhelper.Folder) bool { return true }), "model")
	if err != nil || !paths.IsAbs(s.model) && !strings.EqualFold(f.Name, s.model) {
		return
	}
	shown := s.info.Model
	s.info.Model = f.Model(true)
	s.info.Model.Ref, s.info.Model.Name, s.info.Model.Loaded = shown.Ref, shown.Name, true
	s.info.ContextMax = s.info.Model.ContextMax
	clear(s.info.WhyNot)
	if s.info.Model.Quant == "" {
		s.info.WhyNot["model.quant"] = "the model's configuration names no quantisation"
	}
	for _, id := range pyhelper.EOSIDs(f.Path, f.Config) {
		if s.bias == nil {
			s.bias = map[string]int{}
		}
		s.bias[fmt.Sprint(id)] = -100
	}
}

// ignoresEOS finds out whether the ban of the end-of-text ids works: a one-word answer that ends by itself without it and
// runs on with it.
func (s *server) ignoresEOS(ctx context.Context) {
	const tokens, question = 24, "Answer with the single word: yes"
	bias := s.bias
	if bias == nil {
		s.info.Metadata["ignore_eos"] = "no: the ids of the end of text are not known"
		return
	}
	with, err := s.ask(ctx, question, tokens)
	if err != nil || with.Finish != stream.FinishLength {
		s.bias = nil
		s.info.Metadata["ignore_eos"] = "no: a logit_bias on the ids of the end of text does not hold them back"
		return
	}
	s.bias = nil
	without, err := s.ask(ctx, question, tokens)
	s.bias = bias
	s.info.Metadata["ignore_eos"] = "logit_bias on the ids of the end of text, effect not seen"
	if err == nil && without.Finish == stream.FinishStop {
		s.info.IgnoresEOS = true
		s.info.Metadata["ignore_eos"] = "logit_bias on the ids of the end of text, seen to work"
	}
}

// fingerprint reads the versions: "<mlx_lm>-<mlx>-<platform>-<gpu architecture>".
func (s *server) fingerprint(extra json.RawMessage) {
	var e struct {
		Fingerprint string `json:"system_fingerprint"`
	}
	if json.Unmarshal(extra, &e) != nil || e.Fingerprint == "" {
		return
	}
	s.info.Metadata["system_fingerprint"] = e.Fingerprint
	parts := strings.Split(e.Fingerprint, "-")
	if len(parts) < 3 || strings.Count(parts[0], ".") < 1 {
		return
	}
	s.info.Version, s.info.Metadata["mlx"] = parts[0], parts[1]
	if last := parts[len(parts)-1]; strings.HasPrefix(last, "applegpu") {
		s.info.Build = last
	}
}

// ask runs a short request that is not measured. The first one may have to wait for the model to load.
func (s *server) ask(ctx context.Context, text string, tokens int) (stream.Transcript, error) {
	rec, err := s.Stream(ctx, drivers.Request{Prompt: drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}},
		OutputTokens: tokens, Slot: drivers.AnySlot, FirstByteWithin: 10 * time.Minute, IdleWithin: 2 * time.Minute})
	if err != nil {
		return stream.Transcript{}, err
	}
	return s.Decode(rec)
}

// Info says what was opened.
func (s *server) Info() drivers.Info { return s.info }

// Stream sends one request and returns what was read. No seed is sent: with one the server runs its requests one by one, and
// greedy choice has no use for it.
func (s *server) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	call := openai.Call{Model: s.model, MaxTokens: r.OutputTokens, NoSeed: true, IncludeUsage: true, Extra: map[string]any{}}
	if s.bias != nil {
		call.Extra["logit_bias"] = s.bias
	}
	if r.Reasoning == "on" || r.Reasoning == "off" {
		call.Extra["chat_template_kwargs"] = map[string]bool{"enable_thinking": r.Reasoning == "on"}
	}
	body, err := openai.Chat{Call: call, Prompt: r.Prompt}.Encode()
	if err != nil {
		return stream.Recording{Protocol: openai.ProtocolChat, Outcome: stream.Cut, Fault: err.Error()}, err
	}
	sent := map[string]string{}
	if s.answered != "" {
		sent[sentModel] = s.answered
	}
	return s.http.Stream(ctx, httpx.Post{Path: "/v1/chat/completions", Body: body, Protocol: openai.ProtocolChat, Sent: sent, Request: r, Began: openai.Began})
}

// sentModel is the key of Recording.Sent under which server.answered stands.
const sentModel = "model"

// Decode understands a recording. A key that the server repeats in an error is taken out.
func (s *server) Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := openai.Decode(rec)
	t.Model = paths.Shown(t.Model)
	if was := rec.Sent[sentModel]; err == nil && was != "" && t.Model != "" && t.Model != was {
		err = fmt.Errorf("%w: the server answered with model %q, the session began with %q", drivers.ErrModelNotFound, t.Model, was)
	}
	return t, s.http.Redact(err)
}

// Secrets lists credentials, and the folders in which models lie.
func (s *server) Secrets() []string {
	return paths.LongestFirst(append(s.http.Secrets(), paths.Folders(append(s.ids, s.model, s.info.Model.Path)...)...))
}

// Close closes the connections; the server runs on.
func (s *server) Close() error {
	s.http.Close()
	return nil
}
