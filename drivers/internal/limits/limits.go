// Package limits keeps what a hosted service's answers state about its rate limits, and says from that how long the next
// requests should wait.
//
// It reads headers alone, makes no request, and never waits.
package limits

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/internal/clock"
)

// Meter gathers the limits of one service. It is safe for use by several goroutines.
type Meter struct {
	clock *clock.Clock

	mu      sync.Mutex
	buckets map[string]bucket
	until   time.Duration // nothing may be sent before, by the run's clock
	why     string
}

// bucket is one limit as last stated.
type bucket struct {
	limit     int // 0 where not stated
	remaining int
	has       bool          // remaining was stated
	reset     time.Duration // on the run's clock; 0 where not stated
}

// New makes a meter that knows nothing yet.
func New(c *clock.Clock) *Meter { return &Meter{clock: c, buckets: map[string]bucket{}} }

// Wait bounds: a reset that is further away than a day is no reset that a run can wait for and is taken as it is; without
// a word from the service a refusal waits refused, and an overloaded one overloaded.
const (
	refused    = 10 * time.Second
	overloaded = 5 * time.Second
	mostWait   = 48 * time.Hour
)

// Note takes in an answer's status and headers, their names in lower case. at is when it came, by the run's clock.
func (m *Meter) Note(status int, header map[string]string, at time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Wall(at)
	if d := header["date"]; d != "" { // absolute times are by the service's clock, not ours
		if t, err := http.ParseTime(d); err == nil && t.Sub(now).Abs() > 2*time.Second {
			now = t
		}
	}
	for name, value := range header {
		what, dimension, ok := split(name)
		if !ok {
			continue
		}
		b := m.buckets[dimension]
		switch what {
		case "limit":
			if n, ok := whole(value); ok {
				b.limit = n
			}
		case "remaining":
			n, ok := whole(value)
			b.remaining, b.has = n, ok
		case "reset":
			b.reset = 0
			if d, ok := Until(value, now); ok {
				b.reset = at + d
			}
		}
		m.buckets[dimension] = b
	}
	var wait time.Duration
	switch status {
	case http.StatusTooManyRequests:
		wait = refused
	case http.StatusServiceUnavailable, 529:
		wait = overloaded
	default:
		return
	}
	why := fmt.Sprintf("it answered HTTP %d", status)
	if d, ok := retryAfter(header, now); ok {
		wait = d
	} else if d, ok := m.soonest(at); ok && status == http.StatusTooManyRequests {
		wait = d
	} else {
		why += " and named no time"
	}
	if at+wait > m.until {
		m.until, m.why = at+wait, why
	}
}

// soonest is when the first exhausted limit opens again; of none that is, the first that opens at all.
func (m *Meter) soonest(at time.Duration) (time.Duration, bool) {
	var best time.Duration
	found, bestEmpty := false, false
	for _, b := range m.buckets {
		if b.reset <= at {
			continue
		}
		empty := b.has && b.remaining == 0
		if !found || empty && !bestEmpty || empty == bestEmpty && b.reset < best {
			best, found, bestEmpty = b.reset, true, empty
		}
	}
	return best - at, found
}

// Pace is drivers.Pacer's.
func (m *Meter) Pace(requests, prompt, output int) (time.Duration, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	wait, why := m.until-now, m.why
	for dimension, b := range m.buckets {
		need := requests
		switch {
		case strings.Contains(dimension, "input"):
			need = prompt
		case strings.Contains(dimension, "output"):
			need = output
		case strings.Contains(dimension, "token"):
			need = prompt + output
		}
		if b.limit > 0 {
			need = min(need, b.limit) // what can never fit goes when all there is, is there
		}
		if b.has && b.remaining < need && b.reset-now > wait {
			wait, why = b.reset-now, fmt.Sprintf("%d left of %s, and %d are needed", b.remaining, spell(dimension, b.limit), need)
		}
	}
	if wait <= 0 {
		return 0, ""
	}
	return min(wait, mostWait), why
}

func spell(dimension string, limit int) string {
	if limit > 0 {
		return fmt.Sprintf("%d %s", limit, strings.ReplaceAll(dimension, "-", " "))
	}
	return strings.ReplaceAll(dimension, "-", " ")
}

// split takes a header's name apart: which of limit, remaining and reset it is, and of what. The forms are
// x-ratelimit-remaining-tokens, anthropic-ratelimit-tokens-remaining, x-ratelimit-remaining and x-tokenlimit-remaining.
func split(name string) (what, dimension string, ok bool) {
	base := "requests"
	rest, found := strings.CutPrefix(name, "x-ratelimit-")
	if !found {
		if rest, found = strings.CutPrefix(name, "anthropic-ratelimit-"); !found {
			if rest, found = strings.CutPrefix(name, "x-tokenlimit-"); !found {
				return "", "", false
			}
			base = "tokens"
		}
	}
	for _, w := range []string{"limit", "remaining", "reset"} {
		if rest == w {
			return w, base, true
		}
		if d, found := strings.CutPrefix(rest, w+"-"); found {
			return w, d, true
		}
		if d, found := strings.CutSuffix(rest, "-"+w); found {
			return w, d, true
		}
	}
	return "", "", false
}

// whole reads a count; services write some of them as 12.0 or with a window behind a comma.
func whole(value string) (int, bool) {
	value, _, _ = strings.Cut(value, ",")
	f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > 1e12 {
		return 0, false
	}
	return int(f), true
}

// Until reads when a limit opens, as a time from now: seconds ("59.7"), a duration ("2m59.56s", "120ms"), a Unix time in
// seconds or milliseconds, or an RFC 3339 time. What has passed is 0.
func Until(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if f, err := strconv.ParseFloat(value, 64); err == nil {
		switch {
		case math.IsNaN(f) || f < 0 || f > 1e14:
			return 0, false
		case f > 1e11: // milliseconds since 1970
			return max(time.UnixMilli(int64(f)).Sub(now), 0), true
		case f > 1e8: // seconds since 1970: over three years is no wait
			return max(time.Unix(int64(f), 0).Sub(now), 0), true
		}
		return time.Duration(f * float64(time.Second)), true
	}
	if d, err := time.ParseDuration(value); err == nil && d >= 0 {
		return d, true
	}
	if t, err := time.Parse(time.RFC3339, value); err == nil {
		return max(t.Sub(now), 0), true
	}
	return 0, false
}

// retryAfter reads retry-after-ms, or else retry-after as seconds or a date.
func retryAfter(header map[string]string, now time.Time) (time.Duration, bool) {
	if ms, err := strconv.ParseFloat(header["retry-after-ms"], 64); err == nil && ms >= 0 && ms < 1e9 {
		return time.Duration(ms * float64(time.Millisecond)), true
	}
	v := strings.TrimSpace(header["retry-after"])
	if s, err := strconv.ParseFloat(v, 64); err == nil && s >= 0 && s < 1e6 {
		return time.Duration(s * float64(time.Second)), true
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(t.Sub(now), 0), true
	}
	return 0, false
}
