package sim_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/sim"
)

// start runs a simulator of the profile for one test.
func start(t testing.TB, profile, traps string, change ...func(*sim.Options)) *sim.Server {
	t.Helper()
	p, err := sim.Lookup(profile)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := sim.ParseTraps(traps)
	if err != nil {
		t.Fatal(err)
	}
	o := sim.Options{Profile: p, Traps: tr}
	for _, c := range change {
		c(&o)
	}
	s, err := sim.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// ask is a chat request of about that many words.
type ask struct {
	words  int
	salt   string
	max    int
	more   map[string]any
	stream bool
}

func (a ask) body(t testing.TB) []byte {
	t.Helper()
	m := map[string]any{
		"messages":   []any{map[string]any{"role": "user", "content": a.salt + strings.Repeat(" word", a.words)}},
		"max_tokens": a.max, "stream": a.stream, "ignore_eos": true, "return_token_ids": true,
	}
	if a.stream {
		m["stream_options"] = map[string]any{"include_usage": true}
	}
	for k, v := range a.more {
		if v == nil {
			delete(m, k)
			continue
		}
		m[k] = v
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// got is an answer read over a raw connection: one part for each socket read.
type got struct {
	head  string
	raw   []byte   // all after the headers, as it came over the wire
	parts []string // of that, by read
	at    []time.Duration
	err   error // what ended the reading, if not the body's end
}

// post sends a body over a new connection and reads until the answer ends, or the connection does.
func post(t testing.TB, s *sim.Server, path string, body []byte) got {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	req := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\nAccept-Encoding: identity\r\nContent-Length: %d\r\n\r\n", path, len(body))
	sent := time.Now()
	if _, err := c.Write(append([]byte(req), body...)); err != nil {
		t.Fatal(err)
	}
	var g got
	buf := make([]byte, 64<<10)
	var all []byte
	for {
		n, err := c.Read(buf)
		if n > 0 {
			all = append(all, buf[:n]...)
			g.at = append(g.at, time.Since(sent))
			g.parts = append(g.parts, string(buf[:n]))
		}
		head, rest, found := bytes.Cut(all, []byte("\r\n\r\n"))
		if found {
			g.head, g.raw = string(head), rest
		}
		if err != nil {
			g.err = err
			return g
		}
		if found && (strings.Contains(g.head, "chunked") && bytes.HasSuffix(rest, []byte("\r\n0\r\n\r\n")) || strings.Contains(g.head, "Content-Length") && length(g.head) == len(rest)) {
			return g
		}
	}
}

func length(head string) int {
	n := -1
	for l := range strings.SplitSeq(head, "\r\n") {
		_, _ = fmt.Sscanf(l, "Content-Length: %d", &n)
	}
	return n
}

// body takes the chunks off, as far as they go.
func (g got) body() string {
	r := bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + string(g.raw)))
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return ""
	}
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// last is the one entry of the log.
func last(t testing.TB, s *sim.Server) sim.Served {
	t.Helper()
	for range 200 {
		if l := s.Log(); len(l) > 0 {
			return l[len(l)-1]
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("nothing in the log")
	return sim.Served{}
}

func near(a, b, tolerance time.Duration) bool { return a-b <= tolerance && b-a <= tolerance }

func TestTimetableFollowsTheCurve(t *testing.T) {
	for _, profile := range []string{"rtx4090-8b-q4", "fast"} {
		t.Run(profile, func(t *testing.T) {
			s := start(t, profile, "")
			p := s.Profile()
			g := post(t, s, "/v1/chat/completions", ask{words: 900, max: 24, stream: true}.body(t))
			l := last(t, s)
			if l.Ended != "complete" || l.Status != 200 || l.OutputTokens != 24 || l.Finish != "length" || l.PromptTokens < 900 || l.CachedTokens != 0 {
				t.Fatalf("served %+v", l)
			}
			// By hand, from the definition of the profile, not through its methods.
			c := float64(l.PromptTokens)
			speed := map[string]float64{"rtx4090-8b-q4": 1, "fast": 20}[profile]
			first := time.Duration((c/(8421.1/(1+c/105000)) + 0.018) / speed * 1e9)
			if !near(l.FirstToken, first, 2) || !near(p.TTFT(l.PromptTokens, 0), first, 2) {
				t.Errorf("first token due after %v, profile says %v, want %v", l.FirstToken, p.TTFT(l.PromptTokens, 0), first)
			}
			i, due := 0, first
			for _, e := range l.Events {
				if !e.TextBearing() {
					continue
				}
				if i++; i > 1 {
					due += time.Duration((1 + (c+float64(i)-1)/140000) / 187.4 / speed * 1e9)
				}
				if !near(e.Due, due, 50) {
					t.Errorf("token %d due after %v, want %v", i, e.Due, due)
				}
				if e.Begin < e.Due || e.End < e.Begin {
					t.Errorf("token %d due %v, written from %v to %v", i, e.Due, e.Begin, e.End)
				}
			}
			if i != 24 {
				t.Errorf("%d text-bearing events", i)
			}
			if n := strings.Count(g.body(), "data: "); n != 24+1+3 {
				t.Errorf("%d events on the wire, want role, 24 tokens, finish, usage, [DONE]:\n%s", n, g.body())
			}
		})
	}
}

func TestStreamsTogetherShareTheRate(t *testing.T) {
	s := start(t, "rtx4090-8b-q4", "")
	const streams = 4
	var wg sync.WaitGroup
	for i := range streams {
		wg.Go(func() {
			post(t, s, "/v1/chat/completions", ask{words: 10, salt: fmt.Sprint("salt", i), max: 60, stream: true}.body(t))
		})
	}
	wg.Wait()
	log := s.Log()
	if len(log) != streams {
		t.Fatalf("%d requests served", len(log))
	}
	var w0, w1 time.Duration = 0, 1 << 62
	for _, l := range log {
		if l.Batch != streams {
			t.Errorf("request %d decoded in a batch of %d", l.ID, l.Batch)
		}
		w0, w1 = max(w0, l.Received+l.FirstToken), min(w1, l.Received+l.LastToken)
	}
	if w1 <= w0 {
		t.Fatalf("no overlap: %v to %v", w0, w1)
	}
	gaps := 0
	for _, l := range log {
		var before time.Duration
		token := 0
		for _, e := range l.Events {
			if !e.TextBearing() {
				continue
			}
			token++
			if before > 0 && l.Received+before >= w0 && l.Received+e.Due <= w1 {
				want := (1 + float64(l.PromptTokens+token-1)/140000) / 187.4 * 1.41421356237 // 4^0.25
				if got := e.Due - before; !near(got, time.Duration(want*1e9), 3) {
					t.Fatalf("request %d, token %d: %v after the one before, want %.0f ns", l.ID, token, got, want*1e9)
				}
				gaps++
			}
			before = e.Due
		}
	}
	if gaps < 50 {
		t.Errorf("only %d gaps with all streams decoding", gaps)
	}
}

// BenchmarkLateness reports how late writes are against the timetable, in microseconds.
func BenchmarkLateness(b *testing.B) {
	for _, streams := range []int{1, 16} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			s := start(b, "rtx4090-8b-q4", "")
			for b.Loop() {
				var wg sync.WaitGroup
				for i := range streams {
					wg.Go(func() {
						post(b, s, "/v1/chat/completions", ask{words: 10, salt: fmt.Sprint("salt", i), max: 200, stream: true}.body(b))
					})
				}
				wg.Wait()
			}
			l := sim.LatenessOf(s.Log())
			b.ReportMetric(float64(l.P50.Nanoseconds())/1e3, "p50-µs")
			b.ReportMetric(float64(l.P99.Nanoseconds())/1e3, "p99-µs")
			b.ReportMetric(float64(l.Max.Nanoseconds())/1e3, "max-µs")
			b.ReportMetric(float64(l.WriteP99.Nanoseconds())/1e3, "write-p99-µs")
		})
	}
}
