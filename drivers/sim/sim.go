// Package sim is the driver of llm-speed's own simulator, a server with a known timetable that the program starts as
// another process of itself, or that is attached to.
//
// It is there to test and to try out llm-speed. The simulator is never found by looking and never chosen unasked, and
// what comes from it carries the flag `simulated`. The driver knows the simulator only by its HTTP interface.
package sim

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/stream"
)

const name = "sim"

// Spec describes the simulator.
func Spec() drivers.Spec {
	return drivers.Spec{
		Name: name, Title: "simulator", Kind: drivers.Simulated,
		Doc: "llm-speed's own simulated server, whose timetable is known; for tests and for trying things out, never ranked.",
		Options: []drivers.Option{
			{Name: "profile", Env: "LLM_SPEED_SIM_PROFILE", Default: "rtx4090-8b-q4", Help: "timetable of the simulated machine"},
			{Name: "traps", Env: "LLM_SPEED_SIM_TRAPS", Help: "misbehaviour, as name=value,name; see llm-speed sim --help"},
			{Name: "exe", Env: "LLM_SPEED_SIM_EXE", Help: "llm-speed executable to start (default: this one)"},
		},
		Looked: "nowhere: the simulator is only used when asked for",
		Start:  "llm-speed sim --listen 127.0.0.1:8099",
		Able: drivers.Able{
			ExactLength: drivers.Yes("ignore_eos"), TokenPrompts: drivers.No(""), Tokenizer: drivers.Partly("a profile's choice"), Cached: drivers.Yes("usage"), Cold: drivers.Yes("cache_prompt: false"),
			PerEvent: drivers.Yes("token_ids"), Timing: drivers.Yes("timings"), CacheStats: drivers.Yes("/sim/cache"), Activity: drivers.Yes("/sim/activity"), Starts: drivers.Yes(""),
		},
		Limits: []string{"Its numbers are simulated: they say nothing about any machine, and are never ranked."},
		Live:   drivers.Live{Date: "2026-11-24", Version: "this program's", How: "in CI"},
		Detect: func(context.Context, drivers.Config) ([]drivers.Found, error) { return []drivers.Found{}, nil },
		Open:   open,
	}
}

// option is a setting: as given, from the environment, or its default.
func option(c drivers.Config, o drivers.Option) string {
	if v := c.Options[o.Name]; v != "" {
		return v
	}
	if c.Env != nil && o.Env != "" {
		if v := c.Env(o.Env); v != "" {
			return v
		}
	}
	return o.Default
}

// startWithin is how long a simulator may take to say where it listens.
const startWithin = 20 * time.Second

func open(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
	s := &session{attached: c.URL != ""}
	base := c.URL
	if !s.attached {
		var err error
		if s.process, base, err = start(ctx, c); err != nil {
			return nil, err
		}
	}
	if err := s.connect(ctx, c, base, n); err != nil {
		_ = s.Close()
		return nil, err
	}
	if s.props.Tokenizes {
		return tokenizing{s}, nil
	}
	return s, nil
}

// start starts a simulator and gives its base URL.
func start(ctx context.Context, c drivers.Config) (*proc.Process, string, error) {
	set := map[string]string{}
	for _, o := range Spec().Options {
		set[o.Name] = option(c, o)
	}
	exe := set["exe"]
	if exe == "" {
		var err error
		if exe, err = os.Executable(); err != nil {
			return nil, "", fmt.Errorf("simulator: this program's own path can't be told: %w; set --opt exe=PATH", err)
		}
	}
	args := []string{"sim", "--listen", "127.0.0.1:0", "--profile", set["profile"]}
	if set["traps"] != "" {
		args = append(args, "--traps", set["traps"])
	}
	// The process lives until Close, not until the context of Open ends.
	p, err := proc.Start(context.WithoutCancel(ctx), proc.Options{Path: exe, Args: args, Guard: c.Guard})
	if err != nil {
		return nil, "", fmt.Errorf("simulator: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	const listening = "listening on "
	line, err := p.FirstLine(wait, func(l string) bool { return strings.HasPrefix(l, listening+"http://") })
	if err != nil {
		p.Stop(0)
		return nil, "", fmt.Errorf("%w: started %s %s, which did not say where it listens (%w): %s",
			drivers.ErrServerDied, exe, strings.Join(args, " "), err, strings.Join(p.Tail(), " / "))
	}
	return p, strings.TrimSpace(strings.TrimPrefix(line, listening)), nil
}

// props is what GET /props tells.
type props struct {
	Simulated  bool   `json:"simulated"`
	BuildInfo  string `json:"build_info"`
	Profile    string `json:"profile"`
	Title      string `json:"title"`
	Model      string `json:"model"`
	Traps      string `json:"traps"`
	Slots      int    `json:"total_slots"`
	Context    int    `json:"n_ctx"`
	CacheBlock int    `json:"cache_block"`
	Template   int    `json:"template_tokens"`
	Usage      bool   `json:"accepts_usage"`
	Tokenizes  bool   `json:"tokenize_endpoint"`
}

// session is an open simulator.
type session struct {
	client   *httpx.Client
	process  *proc.Process // nil when attached
	attached bool
	props    props
	info     drivers.Info
}

func (s *session) connect(ctx context.Context, c drivers.Config, base string, n drivers.Need) error {
	var err error
	if s.client, err = httpx.New(base, c.APIKey, nil, c.Clock); err != nil {
		return fmt.Errorf("simulator: --url: %w", err)
	}
	if _, err := s.client.JSON(ctx, http.MethodGet, "/props", nil, &s.props); err != nil {
		return fmt.Errorf("simulator at %s: %w", s.client.Base(), err)
	}
	if !s.props.Simulated {
		return fmt.Errorf("%w: %s answers, but it is no simulator; leave --backend out, or start one with `llm-speed sim`", drivers.ErrUnsupported, s.client.Base())
	}
	if c.Model != "" && c.Model != s.props.Model {
		return fmt.Errorf("%w: the simulator has %s, not %s", drivers.ErrModelNotFound, s.props.Model, c.Model)
	}
	if n.Context > s.props.Context {
		return fmt.Errorf("%w: %d tokens asked for, the simulator has %d", drivers.ErrContextLength, n.Context, s.props.Context)
	}
	meta := map[string]string{"profile": s.props.Profile}
	if s.props.Traps != "" {
		meta["traps"] = s.props.Traps
	}
	s.info = drivers.Info{
		Backend: name, Version: s.props.BuildInfo, URL: s.client.Base(), URLKind: s.client.URLKind(), Attached: s.attached,
		Model:      drivers.Model{Ref: s.props.Model, Name: s.props.Title, ContextMax: s.props.Context, Loaded: true},
		ContextMax: s.props.Context, Parallel: s.props.Slots, Template: s.props.Template, CacheBlock: s.props.CacheBlock,
		Simulated: true, IgnoresEOS: true, ColdAsked: true, Metadata: meta,
	}
	return nil
}

// Info says what was opened.
func (s *session) Info() drivers.Info { return s.info }

// Stream sends one request. Usage is not asked for where the simulator is told to refuse that.
func (s *session) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	body, err := openai.Chat{Prompt: r.Prompt, Call: openai.Call{
		Model: s.props.Model, MaxTokens: r.OutputTokens, Seed: r.Seed, IncludeUsage: s.props.Usage,
		Extra: map[string]any{"ignore_eos": true, "cache_prompt": r.Reuse, "return_token_ids": true},
	}}.Encode()
	if err != nil {
		return stream.Recording{Protocol: openai.ProtocolChat, Outcome: stream.Cut, Fault: err.Error()}, err
	}
	return s.client.Stream(ctx, httpx.Post{
		Path: "/v1/chat/completions", Body: body, Protocol: openai.ProtocolChat,
		Sent: map[string]string{"output_tokens": strconv.Itoa(r.OutputTokens)}, Request: r, Began: openai.Began,
	})
}

// Decode understands a recording of Stream.
func (s *session) Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := openai.Decode(rec)
	return t, s.client.Redact(err)
}

// Secrets lists the URL's credentials, should there be any.
func (s *session) Secrets() []string { return s.client.Secrets() }

// CacheStats reads the prefix cache's counters.
func (s *session) CacheStats(ctx context.Context) (drivers.CacheStats, error) {
	var c drivers.CacheStats
	_, err := s.client.JSON(ctx, http.MethodGet, "/sim/cache", nil, &c)
	return c, err
}

// FlushCache empties the prefix cache.
func (s *session) FlushCache(ctx context.Context) error {
	_, err := s.client.JSON(ctx, http.MethodDelete, "/sim/cache", nil, nil)
	return err
}

// Activity tells what the simulator does now.
func (s *session) Activity(ctx context.Context) (drivers.Activity, error) {
	var a struct{ Running, Waiting int }
	if _, err := s.client.JSON(ctx, http.MethodGet, "/sim/activity", nil, &a); err != nil {
		return drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}, err
	}
	return drivers.Activity{Running: a.Running, Waiting: a.Waiting}, nil
}

// ServerLog gives the last lines of a simulator that the driver started.
func (s *session) ServerLog() []string {
	if s.process == nil {
		return nil
	}
	return s.process.Tail()
}

// Close ends the session, and the simulator where the driver started it.
func (s *session) Close() error {
	if s.client != nil {
		s.client.Close()
	}
	if s.process != nil {
		s.process.Stop(2 * time.Second)
	}
	return nil
}

// tokenizing is a session of a simulator that has its tokenizer's endpoint.
type tokenizing struct{ *session }

// Tokenize renders a prompt and gives its token ids.
func (s tokenizing) Tokenize(ctx context.Context, p drivers.Prompt) ([]int32, error) {
	tools, err := openai.Tools(p)
	if err != nil {
		return nil, err
	}
	in := map[string]any{"messages": openai.Messages(p)}
	if len(tools) > 0 {
		in["tools"] = tools
	}
	var out struct {
		Tokens []int32 `json:"tokens"`
	}
	if _, err := s.client.JSON(ctx, http.MethodPost, "/tokenize", in, &out); err != nil {
		return nil, fmt.Errorf("tokenize: %w", err)
	}
	if out.Tokens == nil {
		return nil, fmt.Errorf("%w: /tokenize gives no tokens", drivers.ErrProtocol)
	}
	return out.Tokens, nil
}
