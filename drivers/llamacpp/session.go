package llamacpp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// session is an open llama-server.
type session struct {
	http    *httpx.Client
	info    drivers.Info
	render  renderer
	alias   string        // sent as the model, which a single-model server ignores
	proc    *proc.Process // nil where the server was there before us
	metrics bool          // /metrics is there
	close   sync.Once
	secrets []string // Secrets
	oomed   int64    // the system's count of out-of-memory kills before the server started

	noThinking bool // the model's template knows no thinking
}

// metered is a session whose server counts its prompt cache.
type metered struct{ *session }

// started is a session whose server we started.
type started struct{ *session }

// startedMetered is both.
type startedMetered struct {
	started
	metered
	*session
}

// shaped gives the session with the abilities that its server has.
func (s *session) shaped(cacheCounts bool) drivers.Session {
	switch {
	case s.proc != nil && cacheCounts:
		return startedMetered{started{s}, metered{s}, s}
	case s.proc != nil:
		return started{s}
	case cacheCounts:
		return metered{s}
	}
	return s
}

// Info says what was opened.
func (s *session) Info() drivers.Info { return s.info }

// Decode is pure; see the function of that name. A key that the server repeats in an error is taken out.
func (s *session) Decode(rec stream.Recording) (stream.Transcript, error) {
	t, err := Decode(rec)
	return t, s.http.Redact(err)
}

// Close ends the session, and the server where we started it.
func (s *session) Close() error {
	s.close.Do(func() {
		s.http.Close()
		if s.proc != nil {
			s.proc.Stop(stopGrace)
		}
	})
	return nil
}

// stopGrace is how long a server may take to end by itself.
const stopGrace = 5 * time.Second

// samplers leaves out of the chain what greedy choice has no use for.
func samplers() []string { return []string{"temperature"} }

// completion is the body of a native request.
type completion struct {
	Model        string   `json:"model,omitempty"`
	Prompt       []int32  `json:"prompt"`
	Predict      int      `json:"n_predict"`
	IgnoreEOS    bool     `json:"ignore_eos"`
	Temperature  float64  `json:"temperature"`
	Samplers     []string `json:"samplers"`
	Seed         uint32   `json:"seed"`
	Stream       bool     `json:"stream"`
	CachePrompt  bool     `json:"cache_prompt"`
	Slot         *int     `json:"id_slot,omitempty"`
	ReturnTokens bool     `json:"return_tokens"`
}

// Stream renders the prompt, sends it as token ids and reads the answer.
func (s *session) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	p, err := s.render.render(ctx, r.Prompt, r.Reasoning)
	if err != nil {
		err = s.http.Redact(err)
		rec := stream.Recording{Protocol: protocol, Outcome: stream.Cut, Fault: err.Error()}
		return rec, s.explain(err, &rec)
	}
	body := completion{
		Model: s.alias, Prompt: p.ids, Predict: r.OutputTokens, IgnoreEOS: true, Samplers: samplers(),
		Seed: uint32(r.Seed), Stream: true, CachePrompt: r.Reuse, ReturnTokens: true,
	}
	if r.Slot >= 0 {
		n := r.Slot
		if s.info.Parallel > 0 {
			n %= s.info.Parallel
		}
		body.Slot = &n
	}
	b, err := json.Marshal(body)
	if err != nil {
		return stream.Recording{Protocol: protocol, Outcome: stream.Cut}, fmt.Errorf("encode request: %w", err)
	}
	sent := map[string]string{sentModel: s.alias}
	if p.plain {
		sent[sentRendering] = "plain"
	}
	switch {
	case p.thinking:
		sent[sentThinking] = thinkingOpen
	case s.noThinking:
		sent[sentThinking] = thinkingNone
	}
	rec, err := s.http.Stream(ctx, httpx.Post{Path: "/completion", Body: b, Protocol: protocol, Sent: sent, Request: r, Began: began})
	rec.PromptIDs = len(p.ids)
	return rec, s.explain(err, &rec)
}

// explain tells a server that died from a connection that was lost.
func (s *session) explain(err error, rec *stream.Recording) error {
	if err == nil || s.proc == nil || !errors.Is(err, drivers.ErrReset) && !errors.Is(err, drivers.ErrUnreachable) {
		return err
	}
	select {
	case <-s.proc.Done():
	case <-time.After(2 * time.Second): // its end is seen a little after that of its connections
		return err
	}
	err = fmt.Errorf("%w: %w", died(s.proc, s.oomed), err)
	rec.Fault = err.Error()
	return err
}

// Secrets lists what must be in no text and no recording: credentials, and the folders that hold the model.
func (s *session) Secrets() []string { return s.secrets }

// died says how a server process ended and what it showed last. oomed is the count of out-of-memory kills before it
// started.
func died(p *proc.Process, oomed int64) error {
	how := "exit status 0"
	if err := p.Err(); err != nil {
		how = err.Error()
	}
	tail := p.Tail()
	err := fmt.Errorf("%w: llama-server (%s); its log: %s", drivers.ErrServerDied, how, lastLines(tail, 4))
	if shortOfMemory(how, tail, oomed, oomKills()) {
		return fmt.Errorf("%w: %w", errMemory, err)
	}
	return err
}

// noise is how llama-server's log lines begin: a time, a level, and the part of the program.
var noise = regexp.MustCompile(`^[0-9.]+ [A-Z] (srv|cmn|slot)? *`)

// lastLines joins the last n lines that say what went wrong, or, where none does, the last that say anything, each cut to a
// sensible length.
func lastLines(lines []string, n int) string {
	var any, bad []string
	for _, l := range lines {
		isBad := trouble.MatchString(l)
		l = strings.TrimSpace(noise.ReplaceAllString(strings.TrimSpace(l), ""))
		if l == "" {
			continue
		}
		if len(l) > 200 {
			l = strings.ToValidUTF8(l[:200], "") + "…"
		}
		any = append(any, l)
		if isBad {
			bad = append(bad, l)
		}
	}
	if len(bad) > 0 {
		any = bad[:min(n, len(bad))] // the first trouble is the cause, the rest follows from it
	}
	if len(any) == 0 {
		return "nothing"
	}
	return strings.Join(any[max(0, len(any)-n):], " | ")
}

// trouble is what a line about an error has.
var trouble = regexp.MustCompile(`(?i)^[0-9.]+ E |error|failed|out of memory|unable to|couldn't|cannot|invalid|abort|assert`)

// Tokenize gives the ids that Stream would send.
func (s *session) Tokenize(ctx context.Context, p drivers.Prompt) ([]int32, error) {
	r, err := s.render.render(ctx, p, "")
	return r.ids, err
}

// lookTime bounds the calls that only look at a server: not to know is better than to wait.
const lookTime = 2 * time.Second

// Activity counts the busy slots, and the requests that wait where the server has metrics.
func (s *session) Activity(ctx context.Context) (drivers.Activity, error) {
	a := drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if s.metrics {
		m, err := readMetrics(ctx, s.http)
		if err != nil {
			return a, err
		}
		a.Running, a.Waiting = m.number("requests_processing"), m.number("requests_deferred")
		return a, nil
	}
	var list slots
	if _, err := s.http.JSON(ctx, http.MethodGet, "/slots", nil, &list); err != nil {
		if refused(err) {
			return a, nil
		}
		return a, fmt.Errorf("ask /slots: %w", err)
	}
	a.Running = 0
	for _, slot := range list {
		if string(slot.Processing) == "true" {
			a.Running++
		}
	}
	return a, nil
}

// CacheStats reads the counters of the prompt cache.
func (s metered) CacheStats(ctx context.Context) (drivers.CacheStats, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	m, err := readMetrics(ctx, s.http)
	if err != nil {
		return drivers.CacheStats{}, err
	}
	return m.cache()
}

// ServerLog is the last lines that the server printed.
func (s started) ServerLog() []string { return s.proc.Tail() }

// counters are the values of GET /metrics, by name without its prefix.
type counters map[string]float64

func (m counters) number(name string) int {
	if v, ok := m[name]; ok && v >= 0 && v < 1e9 {
		return int(v)
	}
	return drivers.NotKnown
}

// The prompt counters: tokens worked on, and tokens taken from the cache.
const (
	countWorked = "prompt_tokens_total"
	countCached = "prompt_tokens_cached_total"
)

func (m counters) cache() (drivers.CacheStats, error) {
	worked, ok1 := m[countWorked]
	cached, ok2 := m[countCached]
	if !ok1 || !ok2 {
		return drivers.CacheStats{}, fmt.Errorf("%w: /metrics has no prompt cache counters", drivers.ErrProtocol)
	}
	return drivers.CacheStats{QueriedTokens: int64(worked + cached), HitTokens: int64(cached)}, nil
}

func readMetrics(ctx context.Context, c *httpx.Client) (counters, error) {
	var text string
	if _, err := c.JSON(ctx, http.MethodGet, "/metrics", nil, &text); err != nil {
		return nil, fmt.Errorf("ask /metrics: %w", err)
	}
	return parseMetrics(text), nil
}

// parseMetrics reads the Prometheus text of llama-server: "llamacpp:name value".
func parseMetrics(text string) counters {
	m := counters{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		name, own := strings.CutPrefix(name, "llamacpp:")
		if !ok || !own {
			continue
		}
		if v, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
			m[name] = v
		}
	}
	return m
}

func asAPI(err error, api **drivers.APIError) bool { return errors.As(err, api) }
