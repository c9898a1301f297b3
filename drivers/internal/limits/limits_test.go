package limits

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/llm-speed/llm-speed/internal/clock"
)

type header = map[string]string

func TestPace(t *testing.T) {
	for _, c := range []struct {
		name                     string
		status                   int
		header                   header
		requests, prompt, output int
		want                     time.Duration
		why                      string // part of it
	}{
		{"nothing stated", 200, nil, 16, 1e6, 1e6, 0, ""},
		// OpenAI and Groq: x-ratelimit-…-{requests,tokens}, durations.
		{"openai, room", 200, header{"x-ratelimit-limit-tokens": "30000", "x-ratelimit-remaining-tokens": "2000", "x-ratelimit-reset-tokens": "6.5s"}, 1, 1000, 1000, 0, ""},
		{"openai, tokens", 200, header{"x-ratelimit-limit-tokens": "30000", "x-ratelimit-remaining-tokens": "1999", "x-ratelimit-reset-tokens": "6.5s"}, 1, 1000, 1000, 6500 * time.Millisecond, "1999 left of 30000 tokens, and 2000 are needed"},
		{"groq, requests", 200, header{"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "2m59.56s"}, 4, 1, 1, 179560 * time.Millisecond, "3 left of requests"},
		{"more than the limit", 200, header{"x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "1000", "x-ratelimit-reset-tokens": "1m"}, 1, 5000, 1, 0, ""},
		{"more than the limit, and some of it gone", 200, header{"x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "999", "x-ratelimit-reset-tokens": "1m"}, 1, 5000, 1, time.Minute, "tokens"},
		// Anthropic: the other order of words, RFC 3339 times (the fake clock of the test stands at 2000-01-01).
		{"anthropic", 200, header{"anthropic-ratelimit-input-tokens-remaining": "500", "anthropic-ratelimit-input-tokens-limit": "20000", "anthropic-ratelimit-input-tokens-reset": "2000-01-01T00:00:12Z",
			"anthropic-ratelimit-output-tokens-remaining": "8000", "anthropic-ratelimit-output-tokens-reset": "2000-01-01T00:00:50Z"}, 1, 600, 256, 12 * time.Second, "500 left of 20000 input tokens"},
		{"anthropic, output", 200, header{"anthropic-ratelimit-output-tokens-remaining": "100", "anthropic-ratelimit-output-tokens-reset": "2000-01-01T00:00:50Z"}, 1, 600, 256, 50 * time.Second, "output tokens"},
		{"by the service's clock", 200, header{"date": "Sat, 01 Jan 2000 01:00:00 GMT", "anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2000-01-01T01:00:09Z"}, 1, 1, 1, 9 * time.Second, "tokens"},
		// Together: no dimension in the name, and x-tokenlimit.
		{"together", 200, header{"x-ratelimit-limit": "10", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "2", "x-tokenlimit-limit": "3000", "x-tokenlimit-remaining": "2000", "x-tokenlimit-reset": "1"}, 1, 100, 100, 2 * time.Second, "10 requests"},
		{"together, tokens", 200, header{"x-tokenlimit-remaining": "20", "x-tokenlimit-reset": "3"}, 1, 100, 100, 3 * time.Second, "tokens"},
		// Cerebras: the window in the name, seconds with fractions.
		{"cerebras", 200, header{"x-ratelimit-remaining-requests-day": "14399", "x-ratelimit-reset-requests-day": "33011.38", "x-ratelimit-limit-tokens-minute": "60000", "x-ratelimit-remaining-tokens-minute": "100", "x-ratelimit-reset-tokens-minute": "11.38"}, 1, 500, 10, 11380 * time.Millisecond, "60000 tokens minute"},
		// OpenRouter: milliseconds since 1970.
		{"openrouter", 200, header{"x-ratelimit-remaining": "0", "x-ratelimit-limit": "20", "x-ratelimit-reset": "946684830000"}, 1, 1, 1, 30 * time.Second, "20 requests"},
		{"seconds since 1970", 200, header{"x-ratelimit-remaining": "0", "x-ratelimit-reset": "946684805"}, 1, 1, 1, 5 * time.Second, ""},
		{"past", 200, header{"x-ratelimit-remaining": "0", "x-ratelimit-reset": "946684700"}, 1, 1, 1, 0, ""},
		// Refusals.
		{"retry-after", 429, header{"retry-after": "17"}, 1, 1, 1, 17 * time.Second, "HTTP 429"},
		{"retry-after-ms wins", 429, header{"retry-after": "17", "retry-after-ms": "1500"}, 1, 1, 1, 1500 * time.Millisecond, "HTTP 429"},
		{"retry-after, a date", 529, header{"retry-after": "Sat, 01 Jan 2000 00:00:21 GMT"}, 1, 1, 1, 21 * time.Second, "HTTP 529"},
		{"429 alone", 429, nil, 1, 1, 1, refused, "HTTP 429"},
		{"429 with a reset", 429, header{"x-ratelimit-remaining-requests": "40", "x-ratelimit-reset-requests": "1h", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "8s"}, 1, 1, 1, 8 * time.Second, "429"},
		{"overloaded", 529, nil, 1, 1, 1, overloaded, "HTTP 529"},
		{"unavailable", 503, nil, 1, 1, 1, overloaded, "HTTP 503"},
		{"another error is no limit", 500, header{"retry-after": "17"}, 1, 1, 1, 0, ""},
		// Rubbish.
		{"rubbish", 200, header{"x-ratelimit-remaining-tokens": "soon", "x-ratelimit-reset-tokens": "never", "x-ratelimit-limit-tokens": "-5", "x-ratelimit-": "1", "x-ratelimit-remaining": "NaN", "x-ratelimit-reset": "1e300"}, 1, 1, 1, 0, ""},
		{"a reset in years", 200, header{"x-ratelimit-remaining": "0", "x-ratelimit-reset": "99999999"}, 1, 1, 1, mostWait, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clk := clock.New()
				m := New(clk)
				m.Note(c.status, c.header, clk.Now())
				got, why := m.Pace(c.requests, c.prompt, c.output)
				if got != c.want || !strings.Contains(why, c.why) || (got == 0) != (why == "") {
					t.Errorf("got %v (%s), want %v (%s)", got, why, c.want, c.why)
				}
				time.Sleep(got)
				if again, why := m.Pace(c.requests, c.prompt, c.output); again != 0 && got < mostWait {
					t.Errorf("after that wait: %v (%s)", again, why)
				}
			})
		})
	}
}

// TestNewest: what an answer states takes the place of what the one before stated, each by itself.
func TestNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := clock.New()
		m := New(clk)
		m.Note(200, header{"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "60s", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "30s"}, clk.Now())
		time.Sleep(10 * time.Second)
		m.Note(200, header{"x-ratelimit-remaining-tokens": "5000", "x-ratelimit-reset-tokens": "1s"}, clk.Now())
		if wait, why := m.Pace(1, 10, 10); wait != 20*time.Second {
			t.Errorf("%v: %s", wait, why)
		}
		m.Note(429, header{"retry-after": "40"}, clk.Now())
		m.Note(200, nil, clk.Now()) // one that was let through meanwhile takes no refusal back
		if wait, why := m.Pace(1, 10, 10); wait != 40*time.Second {
			t.Errorf("%v: %s", wait, why)
		}
	})
}

func FuzzUntil(f *testing.F) {
	for _, s := range []string{"59.7", "2m59.56s", "120ms", "946684830000", "2000-01-01T00:00:12Z", "", "-1", "1e400", "NaN", "9223372036854775807"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := Until(s, now); ok && d < 0 {
			t.Errorf("%q: %v", s, d)
		}
		for _, name := range []string{"x-ratelimit-reset", "x-ratelimit-remaining", "x-ratelimit-limit", "retry-after", "retry-after-ms", "date", "x-ratelimit-" + s} {
			clk := clock.New()
			m := New(clk)
			m.Note(429, header{name: s, "x-ratelimit-remaining-tokens": "0"}, clk.Now())
			if wait, why := m.Pace(1, 1, 1); wait < 0 || wait > mostWait || wait > 0 && why == "" {
				t.Errorf("%s %q: %v %s", name, s, wait, fmt.Sprint(why))
			}
		}
	})
}
