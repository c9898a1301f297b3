package sim_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	simdriver "github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// TestMain lets the test binary stand in for llm-speed, so that the driver can start a simulator as another process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sim" {
		os.Exit(serve(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// serve does what `llm-speed sim` does, with the arguments that the driver gives.
func serve(args []string) int {
	flags := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		flags[args[i]] = args[i+1]
	}
	p, err := sim.Lookup(flags["--profile"])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	t, err := sim.ParseTraps(flags["--traps"])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	s, err := sim.Start(context.Background(), sim.Options{Addr: flags["--listen"], Profile: p, Traps: t})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("listening on %s\n", s.URL())
	select {}
}

func server(t *testing.T, traps string) *sim.Server {
	t.Helper()
	p, err := sim.Lookup("fast")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := sim.ParseTraps(traps)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sim.Start(context.Background(), sim.Options{Profile: p, Traps: tr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func config(url string, options map[string]string) drivers.Config {
	return drivers.Config{URL: url, Options: options, Env: func(string) string { return "" }, Clock: clock.New(), Log: func(string, ...any) {}}
}

func open(t *testing.T, c drivers.Config) drivers.Session {
	t.Helper()
	s, err := simdriver.Spec().Open(context.Background(), c, drivers.Need{Context: 1000, Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func request(words, out int) drivers.Request {
	return drivers.Request{
		Prompt: drivers.Prompt{
			Messages: []chat.Message{{Role: "system", Content: "be brief"}, {Role: "user", Content: strings.Repeat("word ", words)}},
			Tools:    []chat.Tool{{Name: "read", Description: "reads a file"}},
		},
		OutputTokens: out, Slot: drivers.AnySlot, FirstByteWithin: 10 * time.Second, IdleWithin: 10 * time.Second,
	}
}

func TestAttach(t *testing.T) {
	srv := server(t, "")
	s := open(t, config(srv.URL(), nil))
	want := drivers.Info{
		Backend: "sim", Version: "llm-speed-sim timetable/1", URL: srv.URL(), URLKind: "loopback", Attached: true,
		Model:      drivers.Model{Ref: "sim-fast", Name: srv.Profile().Title, ContextMax: 132096, Loaded: true},
		ContextMax: 132096, Parallel: 16, Template: 3, CacheBlock: 1, Simulated: true, IgnoresEOS: true, ColdAsked: true,
		Metadata: map[string]string{"profile": "fast"},
	}
	if d := cmp.Diff(want, s.Info()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"tokenizer", "cache_stats", "cache_flush", "activity", "server_log"}, drivers.CapsOf(s).Names()); d != "" {
		t.Error(d)
	}
	r := request(100, 40)
	ids, err := drivers.CapsOf(s).Tokenizer.Tokenize(context.Background(), r.Prompt)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := s.Stream(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := s.Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	counts := stream.Counts{
		Prompt: stream.Count{N: len(ids), From: stream.Usage}, Cached: stream.Count{N: 0, From: stream.Usage},
		Output: stream.Count{N: 40, From: stream.Usage}, Reasoning: stream.Count{N: 0, From: stream.Usage},
	}
	if d := cmp.Diff(counts, tr.Counts); d != "" {
		t.Error(d)
	}
	if len(tr.Events) != 40 || tr.Finish != stream.FinishLength || tr.Model != "sim-fast" {
		t.Errorf("%d events, finish %q, model %q", len(tr.Events), tr.Finish, tr.Model)
	}
	l := srv.Log()[0]
	if l.PromptTokens != len(ids) || l.MayCache || l.Finish != "length" {
		t.Errorf("served %+v", l)
	}
	for _, e := range tr.Events {
		if e.Tokens != 1 || e.Kind != stream.Content {
			t.Fatalf("event %+v", e)
		}
	}
	if near := tr.Server.Prefill - (l.PrefillEnd - l.PrefillStart); near > 1000 || near < -1000 || tr.Server.DecodeTokens != 39 {
		t.Errorf("server timing %+v, truth %v", tr.Server, l.PrefillEnd-l.PrefillStart)
	}
}

func TestReuseAndFlush(t *testing.T) {
	srv := server(t, "")
	s := open(t, config(srv.URL(), nil))
	caps := drivers.CapsOf(s)
	ctx := context.Background()
	cached := func(reuse bool) int {
		r := request(100, 4)
		r.Reuse = reuse
		rec, err := s.Stream(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := s.Decode(rec)
		if err != nil {
			t.Fatal(err)
		}
		if !tr.Counts.Cached.Known() {
			t.Fatal("cached tokens unknown")
		}
		return tr.Counts.Cached.N
	}
	if a, b, c, d := cached(false), cached(true), cached(true), cached(false); a != 0 || b != 0 || c < 100 || d != 0 {
		t.Errorf("cached tokens %d cold, %d, %d warm, %d cold", a, b, c, d)
	}
	stats, err := caps.CacheStatser.CacheStats(ctx)
	if err != nil || stats.HitTokens < 100 || stats.QueriedTokens <= stats.HitTokens {
		t.Errorf("stats %+v, %v", stats, err)
	}
	if err := caps.CacheFlusher.FlushCache(ctx); err != nil {
		t.Fatal(err)
	}
	if n := cached(true); n != 0 {
		t.Errorf("%d cached after the flush", n)
	}
	if a, err := caps.Activity.Activity(ctx); err != nil || a != (drivers.Activity{}) {
		t.Errorf("activity %+v, %v", a, err)
	}
}

func TestTraps(t *testing.T) {
	for _, tt := range []struct {
		traps  string
		err    error // of Stream or Decode
		events int
		output int // stated; -1 unknown
	}{
		{"refuse-usage", nil, 24, 24}, // by the timing block
		{"no-usage,no-timings", nil, 24, -1},
		{"tokens-per-event=4", nil, 7, 24},
		{"reset=5", drivers.ErrReset, 5, -1},
		{"truncate=5", drivers.ErrTruncated, 5, -1},
		{"error-in-stream=5", drivers.ErrServer, 5, -1},
		{"status=503", drivers.ErrOverloaded, 0, -1},
		{"status=401", drivers.ErrAuth, 0, -1},
		{"no-done", nil, 24, 24},
		{"hang=5", drivers.ErrTimeout, 5, -1},
		{"gzip", drivers.ErrProtocol, 0, -1},
		{"long-line=100000,crlf,no-space", nil, 24, 24},
	} {
		t.Run(tt.traps, func(t *testing.T) {
			t.Parallel()
			s := open(t, config(server(t, tt.traps).URL(), nil))
			r := request(10, 24)
			if strings.HasPrefix(tt.traps, "hang") {
				r.IdleWithin = 300 * time.Millisecond
			}
			rec, err := s.Stream(context.Background(), r)
			tr, derr := s.Decode(rec)
			if err = errors.Join(err, derr); !errors.Is(err, tt.err) || (tt.err == nil) != (err == nil) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			bearing := 0
			for _, e := range tr.Events {
				if e.Kind != stream.Silent {
					bearing++
				}
			}
			if bearing != tt.events {
				t.Errorf("%d events, want %d", bearing, tt.events)
			}
			if n := tr.Counts.Output; tt.output < 0 && n.Known() || tt.output >= 0 && n.N != tt.output {
				t.Errorf("output %+v, want %d", n, tt.output)
			}
		})
	}
}

func TestNoTokenizer(t *testing.T) {
	s := open(t, config(server(t, "no-tokenize").URL(), nil))
	if drivers.CapsOf(s).Tokenizer != nil {
		t.Error("a simulator without /tokenize has a tokenizer")
	}
}

func TestStartsAnotherProcess(t *testing.T) {
	c := config("", map[string]string{"profile": "fast"})
	c.Env = func(k string) string { return map[string]string{"LLM_SPEED_SIM_TRAPS": "no-tokenize"}[k] }
	s := open(t, c)
	i := s.Info()
	if i.Attached || i.Metadata["profile"] != "fast" || i.Metadata["traps"] != "no-tokenize" || i.URLKind != "loopback" {
		t.Errorf("%+v", i)
	}
	rec, err := s.Stream(context.Background(), request(10, 5))
	if err != nil {
		t.Fatal(err)
	}
	if tr, err := s.Decode(rec); err != nil || len(tr.Events) != 5 {
		t.Errorf("%d events, %v", len(tr.Events), err)
	}
	if log := drivers.CapsOf(s).ServerLogger.ServerLog(); len(log) != 1 || !strings.HasPrefix(log[0], "listening on") {
		t.Errorf("log %q", log)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := http.Get(i.URL + "/health"); err == nil {
		t.Error("the simulator outlives its session")
	}
}

func TestOpenFails(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"n_ctx":1}`)) }))
	defer other.Close()
	srv := server(t, "")
	for _, tt := range []struct {
		name string
		c    drivers.Config
		need int
		err  error
		text string
	}{
		{"no simulator", config(other.URL, nil), 10, drivers.ErrUnsupported, "no simulator"},
		{"nothing there", config("http://127.0.0.1:1", nil), 10, drivers.ErrUnreachable, "127.0.0.1:1"},
		{"too long", config(srv.URL(), nil), 1 << 20, drivers.ErrContextLength, "1048576"},
		{"bad traps", config("", map[string]string{"traps": "nope"}), 10, drivers.ErrServerDied, `unknown trap "nope"`},
		{"no such program", config("", map[string]string{"exe": "/nonexistent/llm-speed"}), 10, os.ErrNotExist, "/nonexistent/llm-speed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := simdriver.Spec().Open(context.Background(), tt.c, drivers.Need{Context: tt.need, Parallel: 1})
			if !errors.Is(err, tt.err) || !strings.Contains(fmt.Sprint(err), tt.text) {
				t.Errorf("error %v, want %v with %q", err, tt.err, tt.text)
			}
		})
	}
	c := config(srv.URL(), nil)
	c.Model = "other"
	if _, err := simdriver.Spec().Open(context.Background(), c, drivers.Need{}); !errors.Is(err, drivers.ErrModelNotFound) {
		t.Errorf("wrong model: %v", err)
	}
}

func TestNeverFound(t *testing.T) {
	server(t, "")
	found, err := simdriver.Spec().Detect(context.Background(), config("", nil))
	if err != nil || found == nil || len(found) != 0 {
		t.Errorf("found %v, %v", found, err)
	}
	if simdriver.Spec().Kind != drivers.Simulated {
		t.Error("not of kind simulated")
	}
}
