package sglang

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/prometheus"
)

// lookTime bounds the calls that only look at a server: not to know is better than to wait.
const lookTime = 2 * time.Second

// flushTime bounds the wait for a server to become idle enough to empty its cache.
const flushTime = 10 * time.Second

// FlushCache empties the prompt cache. The server does it only while it is idle, and some versions answer 200 all the same,
// so that it is held to the proof: a prompt that was cached before is not cached after.
func (s *session) FlushCache(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	pause := 50 * time.Millisecond
	for {
		err := s.flush(ctx)
		if err == nil || !errors.Is(err, errBusy) {
			return s.http.Redact(err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("empty the cache: %w (tried for %s)", err, flushTime)
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Second)
	}
}

// errBusy means that the server kept its cache because it was at work.
var errBusy = fmt.Errorf("%w: SGLang empties its cache only while no request runs", drivers.ErrOverloaded)

func (s *session) flush(ctx context.Context) error {
	cached := func() (int, bool) {
		if s.cacheOff() {
			return 0, false
		}
		t, err := s.ask(ctx, user(flushText), 1, "")
		return t.Counts.Cached.N, err == nil && t.Counts.Cached.Known()
	}
	cached() // so that there is something to lose
	var api *drivers.APIError
	_, err := s.http.JSON(ctx, http.MethodPost, "/flush_cache", nil, nil)
	switch {
	case errors.As(err, &api) && api.Status == http.StatusBadRequest:
		return errBusy
	case errors.Is(err, drivers.ErrAuth):
		return fmt.Errorf("empty the cache: %w; a server with --admin-api-key wants that one", err)
	case err != nil:
		return fmt.Errorf("empty the cache: %w", err)
	}
	if n, known := cached(); known && n > max(s.info.Template, 0)+s.info.CacheBlock {
		return fmt.Errorf("%w (it said that it had, and still knew %d tokens)", errBusy, n)
	}
	return nil
}

// flushText is longer than the pages of any cache.
var flushText = filler("Is this still known")

// Activity counts the requests at work: by /get_load, which is of this moment, else by the gauges of /metrics, which a
// server that has become idle leaves as they were for a while.
func (s *session) Activity(ctx context.Context) (drivers.Activity, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	a := drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}
	for _, p := range []string{"/v1/loads", "/get_load"} {
		var raw rawJSON
		_, err := s.http.JSON(ctx, http.MethodGet, p, nil, &raw)
		switch {
		case err == nil:
			if a, ok := load(raw); ok {
				return a, nil
			}
		case !refused(err):
			return a, s.http.Redact(fmt.Errorf("ask %s: %w", p, err))
		}
	}
	m, err := readMetrics(ctx, s.http)
	if err != nil {
		if refused(err) {
			return a, nil
		}
		return a, s.http.Redact(err)
	}
	if n, ok := m.Tokens(nil, "sglang:num_running_reqs"); ok {
		a.Running = int(n)
	}
	if n, ok := m.Tokens(nil, "sglang:num_queue_reqs"); ok {
		a.Waiting = int(n)
	}
	return a, nil
}

// rawJSON keeps an answer whose shape differs between versions.
type rawJSON []byte

// UnmarshalJSON keeps the bytes.
func (r *rawJSON) UnmarshalJSON(b []byte) error {
	*r = append((*r)[:0], b...)
	return nil
}

// load reads the answer of /get_load, an array with an object for each scheduler, or of /v1/loads, an object with that array
// in it. num_reqs counts the waiting ones too, num_running_reqs does not.
func load(raw rawJSON) (drivers.Activity, bool) {
	list := loose.Objects([]byte(raw))
	if list == nil {
		var o loose.Object
		_ = o.UnmarshalJSON(raw)
		list = o.Objects("loads")
	}
	var a drivers.Activity
	for _, l := range list {
		waiting, ok1 := l.Int("num_waiting_reqs")
		running, ok2 := l.Int("num_running_reqs")
		if !ok2 {
			if running, ok2 = l.Int("num_reqs"); ok2 && ok1 {
				running = max(running-waiting, 0)
			}
		}
		if !ok1 || !ok2 {
			return drivers.Activity{}, false
		}
		a.Running, a.Waiting = a.Running+running, a.Waiting+waiting
	}
	return a, len(list) > 0
}

// CacheStats reads the counters of the prompt cache.
func (s metered) CacheStats(ctx context.Context) (drivers.CacheStats, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	m, err := readMetrics(ctx, s.http)
	if err != nil {
		return drivers.CacheStats{}, s.http.Redact(err)
	}
	return cacheStats(m)
}

// cacheStats reads sglang:prompt_tokens_total, which counts whole prompts, and sglang:cached_tokens_total, which has a
// series for each place that a prefix came from.
func cacheStats(m prometheus.Metrics) (drivers.CacheStats, error) {
	queried, ok1 := m.Tokens(nil, "sglang:prompt_tokens_total")
	hit, ok2 := m.Tokens(nil, "sglang:cached_tokens_total")
	if !ok1 || !ok2 {
		return drivers.CacheStats{}, fmt.Errorf("%w: /metrics has no prompt cache counters", drivers.ErrProtocol)
	}
	return drivers.CacheStats{QueriedTokens: queried, HitTokens: hit}, nil
}

func readMetrics(ctx context.Context, c *httpx.Client) (prometheus.Metrics, error) {
	var text string
	if _, err := c.JSON(ctx, http.MethodGet, "/metrics", nil, &text); err != nil {
		return prometheus.Metrics{}, fmt.Errorf("ask /metrics: %w", err)
	}
	return prometheus.Parse(text), nil
}

// refused reports whether an error is the server's answer to this one request, and not trouble with the server.
func refused(err error) bool {
	var api *drivers.APIError
	return errors.As(err, &api) && api.Status != http.StatusUnauthorized && api.Status != http.StatusForbidden && api.Status != http.StatusServiceUnavailable
}
