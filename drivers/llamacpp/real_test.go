package llamacpp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/stream"
	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

// TestMain lets the test binary be the guard of the servers that the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "internal-guard" { // before all else: the guard inherits the environment
		os.Exit(proc.Guard(os.Stdin, os.Args[2:]))
	}
	if model := os.Getenv(holdEnv); model != "" {
		holdServer(model)
	}
	os.Exit(m.Run())
}

// holdEnv makes the test binary open a server for the model that it names, and wait to be killed.
const holdEnv = "LLM_SPEED_LLAMACPP_TEST_HOLD"

func holdServer(model string) {
	c := drivers.Config{
		Model: model, Clock: clock.New(), Log: func(string, ...any) {}, Guard: []string{os.Args[0], "internal-guard"},
		Env: func(string) string { return "" }, Options: map[string]string{optPath: os.Args[1], optStart: "always"},
	}
	s, err := open(context.Background(), c, drivers.Need{Context: 512})
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	fmt.Println("server", s.(startedMetered).session.proc.PID)
	time.Sleep(time.Minute)
}

// TestRealWeAreKilled is for the worst end: nothing of ours runs any more, and the server ends all the same.
func TestRealWeAreKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := proc.Start(t.Context(), proc.Options{Path: self, Args: []string{realServer(t)}, Env: append(os.Environ(), holdEnv+"="+testModel(t, weightstest.Options{}))})
	if err != nil {
		t.Fatal(err)
	}
	line, err := p.FirstLine(t.Context(), func(s string) bool { return strings.HasPrefix(s, "server ") || strings.HasPrefix(s, "failed ") })
	if err != nil {
		t.Fatal(err, p.Tail())
	}
	server, err := strconv.Atoi(strings.TrimPrefix(line, "server "))
	if err != nil || signalTo(server, 0) != nil {
		t.Fatalf("no server: %s", line)
	}
	if err := signalTo(p.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	for end := time.Now().Add(10 * time.Second); signalTo(server, 0) == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			_ = signalTo(server, syscall.SIGKILL)
			t.Fatalf("the server, process %d, is still there", server)
		}
	}
}

// realServer finds a real llama-server. In CI there must be one.
func realServer(t *testing.T) string {
	t.Helper()
	return weightstest.Server(t)
}

// realConfig starts servers for a model, behind a guard, and looks at no running one.
func realConfig(t *testing.T, model string) drivers.Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return drivers.Config{
		Model: model, Clock: clock.New(), Log: t.Logf, Guard: []string{self, "internal-guard"},
		Env:     func(string) string { return "" },
		Options: map[string]string{optPath: realServer(t), optStart: "always"},
	}
}

func testModel(t *testing.T, o weightstest.Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tiny-F16.gguf")
	if err := o.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func openReal(t *testing.T, o weightstest.Options, n drivers.Need) drivers.Session {
	t.Helper()
	s, err := open(t.Context(), realConfig(t, testModel(t, o)), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// inner is the session behind the shapes.
func inner(t *testing.T, s drivers.Session) *session {
	t.Helper()
	switch s := s.(type) {
	case startedMetered:
		return s.session
	case started:
		return s.session
	case metered:
		return s.session
	case *session:
		return s
	}
	t.Fatalf("session of type %T", s)
	return nil
}

// promptOf makes a conversation of exactly n tokens: each "word" is one token.
func promptOf(t *testing.T, s drivers.Session, n int, salt string) drivers.Prompt {
	t.Helper()
	tok := s.(drivers.Tokenizer)
	of := func(words int) (drivers.Prompt, int) {
		p := drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: salt + strings.Repeat(" the", words)}}}
		ids, err := tok.Tokenize(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return p, len(ids)
	}
	_, least := of(1)
	p, got := of(n - least + 1)
	if got != n {
		t.Fatalf("made %d tokens, want %d", got, n)
	}
	return p
}

func TestRealStreams(t *testing.T) {
	s := openReal(t, weightstest.Options{}, drivers.Need{Context: 4000, Parallel: 4})
	info := s.Info()
	if info.ContextMax != 4096 || info.Parallel != 4 || info.Attached || info.URLKind != "loopback" || !info.IgnoresEOS || !info.ColdAsked {
		t.Errorf("info %+v", info)
	}
	if info.Model.Quant != "F16" || info.Model.ContextMax != weightstest.Context || info.Model.Name != "tiny-F16" || info.Model.SizeBytes == 0 {
		t.Errorf("model %+v", info.Model)
	}
	folder := filepath.Dir(info.Model.Path) + "/"
	if rec, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: promptOf(t, s, 64, "alias"), OutputTokens: 4, Slot: 0}); bytes.Contains(rec.Data, []byte(folder)) || tr.Model != "tiny-F16.gguf" {
		t.Errorf("the server repeats its model's path %s, or answers with %q: %s", folder, tr.Model, rec.Data)
	}
	if got := drivers.CapsOf(s).Secrets.Secrets(); !slices.Contains(got, folder) {
		t.Errorf("secrets %q lack %q", got, folder)
	}
	if info.Version == "" || info.Build == "" || info.Template != 6 { // <|im_start|> u s e r \n
		t.Errorf("version %q, build %q, template %d", info.Version, info.Build, info.Template)
	}
	for k, v := range info.Metadata {
		if strings.Contains(v, "/tmp") || strings.Contains(v, filepath.Dir(info.Model.Path)) {
			t.Errorf("metadata %s has a path: %s", k, v)
		}
	}
	if got := info.Metadata["rendering"]; got != "template; the token count equals that of /v1/chat/completions/input_tokens" {
		t.Errorf("rendering %q", got)
	}
	if got := info.Metadata["tools"]; got != "template" {
		t.Errorf("tools %q", got)
	}
	if got := drivers.CapsOf(s).Names(); !slices.Equal(got, []string{"tokenizer", "cache_stats", "activity", "server_log"}) {
		t.Errorf("abilities %v", got)
	}

	t.Run("exact lengths, cold twice", func(t *testing.T) {
		p := promptOf(t, s, 128, "cold")
		for range 2 {
			rec, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: p, OutputTokens: 256, Slot: 0})
			want := stream.Counts{
				Prompt: stream.Count{N: 128, From: "B"}, Cached: stream.Count{N: 0, From: "B"},
				Output: stream.Count{N: 256, From: "B"}, Reasoning: stream.Count{N: 0, From: "B"},
			}
			if tr.Counts != want || tr.Finish != stream.FinishLength || tr.Truncated || rec.PromptIDs != 128 {
				t.Errorf("counts %+v, finish %s, truncated %v, ids %d", tr.Counts, tr.Finish, tr.Truncated, rec.PromptIDs)
			}
			sum := 0
			for _, e := range tr.Events {
				sum += e.Tokens
			}
			if sum != 256 || len(tr.Events) != 256 {
				t.Errorf("%d events with %d tokens", len(tr.Events), sum)
			}
			if text := drivertest.Text(tr); strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("text is not printable: %q", text)
			}
			if tr.Server.DecodeTokens != 255 || tr.Server.Decode <= 0 || tr.Server.Prefill <= 0 || tr.Server.PromptTokens.N != 128 {
				t.Errorf("server timing %+v", tr.Server)
			}
			own := float64(tr.Server.DecodeTokens) / tr.Server.Decode.Seconds()
			if math.Abs(own-tr.Server.StatedDecode) > 0.01*own {
				t.Errorf("decode %.1f tok/s, and the server states %.1f", own, tr.Server.StatedDecode)
			}
		}
	})

	t.Run("the client's rate is near the server's", func(t *testing.T) {
		p := promptOf(t, s, 64, "rate")
		var best float64
		for range 5 { // the machine may be busy: the best try counts
			_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: p, OutputTokens: 1024, Slot: 0})
			ev := tr.Events
			client := float64(len(ev)-1) / (ev[len(ev)-1].At - ev[0].At).Seconds()
			server := float64(tr.Server.DecodeTokens) / tr.Server.Decode.Seconds()
			if best = max(best, 1-math.Abs(client-server)/server); best > 0.95 {
				break
			}
		}
		// A token takes this model some 100 µs, so that stamps count more than they ever do with a real one.
		t.Logf("the rates agree to %.1f %%", 100*best)
		if best < 0.8 {
			t.Errorf("the rates agree to %.0f %%", 100*best)
		}
	})

	t.Run("warm reuse", func(t *testing.T) {
		before, err := s.(drivers.CacheStatser).CacheStats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p := promptOf(t, s, 512, "warm")
		drivertest.Streamed(t, s, drivers.Request{Prompt: p, OutputTokens: 16, Reuse: true, Slot: 1})
		p.Messages = append(slices.Clone(p.Messages), chat.Message{Role: "assistant", Content: "so"}, chat.Message{Role: "user", Content: "more"})
		_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: p, OutputTokens: 16, Reuse: true, Slot: 1})
		if c := tr.Counts.Cached.N; c < 500 || c > 512 {
			t.Errorf("%d of %d cached", c, tr.Counts.Prompt.N)
		}
		if got := tr.Server.PromptTokens.N + tr.Counts.Cached.N; got != tr.Counts.Prompt.N {
			t.Errorf("worked on and cached are %d, the prompt is %d", got, tr.Counts.Prompt.N)
		}
		after, err := s.(drivers.CacheStatser).CacheStats(t.Context())
		if err != nil || after.HitTokens-before.HitTokens != int64(tr.Counts.Cached.N) || after.QueriedTokens-before.QueriedTokens != int64(512+tr.Counts.Prompt.N) {
			t.Errorf("cache counters %+v, before %+v, %v", after, before, err)
		}
		// Asked for nothing, the server reuses nothing, although it could.
		if _, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: p, OutputTokens: 16, Slot: 1}); tr.Counts.Cached.N != 0 {
			t.Errorf("cold, yet %d cached", tr.Counts.Cached.N)
		}
	})

	t.Run("one token", func(t *testing.T) {
		_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: promptOf(t, s, 32, "one"), OutputTokens: 1, Slot: drivers.AnySlot})
		if tr.Counts.Output.N != 1 || tr.Server.Decode != 0 || tr.Server.DecodeTokens != 0 || tr.Server.StatedDecode != 0 {
			t.Errorf("%+v %+v", tr.Counts, tr.Server)
		}
	})

	t.Run("four at once", func(t *testing.T) {
		var all sync.WaitGroup
		prompts := make([]drivers.Prompt, 4)
		for i := range prompts {
			prompts[i] = promptOf(t, s, 256, string(rune('a'+i)))
		}
		// All at the gate before one goes through it.
		var here sync.WaitGroup
		here.Add(len(prompts))
		got := make([]stream.Transcript, len(prompts))
		for i, p := range prompts {
			all.Go(func() {
				rec, err := s.Stream(t.Context(), drivers.Request{Prompt: p, OutputTokens: 512, Slot: drivers.AnySlot, Hold: func(context.Context) (time.Duration, error) {
					here.Done()
					here.Wait()
					return 0, nil
				}})
				if err != nil {
					t.Error(err)
				}
				if got[i], err = s.Decode(rec); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		var start, end time.Duration
		for i, tr := range got {
			if tr.Counts.Output.N != 512 || tr.Counts.Prompt.N != 256 || tr.Counts.Cached.N != 0 {
				t.Fatalf("stream %d: %+v", i, tr.Counts)
			}
			first, last := tr.Events[0].At, tr.Events[len(tr.Events)-1].At
			if start = max(start, first); end == 0 || last < end {
				end = last
			}
		}
		if start >= end {
			t.Errorf("the streams do not overlap: the last begins at %s, the first ends at %s", start, end)
		}
	})

	t.Run("context overflow", func(t *testing.T) {
		rec, err := s.Stream(t.Context(), drivers.Request{Prompt: promptOf(t, s, 4200, "over"), OutputTokens: 16, Slot: drivers.AnySlot})
		if err != nil || rec.Status != 400 {
			t.Fatalf("status %d, %v", rec.Status, err)
		}
		if _, err := s.Decode(rec); !errors.Is(err, drivers.ErrContextLength) {
			t.Errorf("got %v", err)
		}
		// Output that does not fit is cut by the server, which says so.
		_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: promptOf(t, s, 4090, "cut"), OutputTokens: 64, Slot: drivers.AnySlot})
		if !tr.Truncated || tr.Counts.Output.N >= 64 || tr.Finish != stream.FinishLength {
			t.Errorf("truncated %v, counts %+v, finish %s", tr.Truncated, tr.Counts, tr.Finish)
		}
	})

	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := promptOf(t, s, 64, "cancel")
		rec, err := s.Stream(ctx, drivers.Request{Prompt: p, OutputTokens: 4000, Slot: drivers.AnySlot, Hold: func(context.Context) (time.Duration, error) {
			time.AfterFunc(20*time.Millisecond, cancel)
			return 0, nil
		}})
		if !errors.Is(err, context.Canceled) || rec.Outcome != stream.Canceled {
			t.Errorf("outcome %s, %v", rec.Outcome, err)
		}
		if _, err := s.Decode(rec); !errors.Is(err, context.Canceled) {
			t.Errorf("decode: %v", err)
		}
	})

	t.Run("attach", func(t *testing.T) {
		c := realConfig(t, "TINY")
		c.URL = info.URL
		a, err := open(t.Context(), c, drivers.Need{Context: 999999, Parallel: 1})
		if err != nil {
			t.Fatal(err)
		}
		ai := a.Info()
		if !ai.Attached || ai.ContextMax != 4096 || ai.Model.Quant != "F16" || ai.Model.Path == "" || ai.Version != info.Metadata["build"] {
			t.Errorf("info %+v", ai)
		}
		if names := drivers.CapsOf(a).Names(); slices.Contains(names, "server_log") {
			t.Errorf("abilities %v", names)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if _, err := s.(drivers.ActivityReporter).Activity(t.Context()); err != nil {
			t.Errorf("closing an attached session ended the server: %v", err)
		}
		c.Model = "other-model"
		if _, err := open(t.Context(), c, drivers.Need{}); !errors.Is(err, drivers.ErrModelNotFound) {
			t.Errorf("got %v", err)
		}
	})

	t.Run("close leaves no process", func(t *testing.T) {
		pid := inner(t, s).proc.PID
		if signalTo(pid, 0) != nil {
			t.Fatal("no process before")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if signalTo(pid, 0) == nil {
			t.Errorf("process %d is still there", pid)
		}
		if _, err := s.Stream(t.Context(), drivers.Request{Prompt: drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: "x"}}}, OutputTokens: 4}); !errors.Is(err, drivers.ErrServerDied) {
			t.Errorf("a stream after the end gives %v", err)
		}
	})
}

// signalTo sends a signal to one process; 0 only asks whether it is there.
func signalTo(pid int, sig syscall.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Signal(sig)
}

func TestRealHeldBytes(t *testing.T) {
	s := openReal(t, weightstest.Options{AddBOS: true, AllBytes: true}, drivers.Need{Context: 2048, Parallel: 1})
	if got := s.Info().Metadata["rendering"]; got != "template; the token count equals that of /v1/chat/completions/input_tokens" {
		t.Errorf("rendering with a begin-of-text token: %q", got)
	}
	if s.Info().Template != 7 {
		t.Errorf("template %d tokens", s.Info().Template)
	}
	several := false
	for _, salt := range []string{"a", "b", "c", "d"} {
		_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: promptOf(t, s, 64, salt), OutputTokens: 400, Slot: 0})
		sum := 0
		for _, e := range tr.Events {
			sum += e.Tokens
			several = several || e.Tokens > 1
		}
		if tr.Counts.Output.N != 400 || sum != 400 {
			t.Errorf("%d tokens stated, %d in the events", tr.Counts.Output.N, sum)
		}
	}
	if !several {
		t.Error("no event had several tokens: this test proves nothing")
	}
}

func TestRealServerKilled(t *testing.T) {
	s := openReal(t, weightstest.Options{}, drivers.Need{Context: 100_000, Parallel: 1})
	p := promptOf(t, s, 64, "kill")
	rec, err := s.Stream(t.Context(), drivers.Request{Prompt: p, OutputTokens: 90_000, Hold: func(context.Context) (time.Duration, error) {
		time.AfterFunc(300*time.Millisecond, func() { _ = signalTo(inner(t, s).proc.PID, syscall.SIGKILL) })
		return 0, nil
	}})
	if !errors.Is(err, drivers.ErrServerDied) || !strings.Contains(err.Error(), "killed") || strings.Contains(err.Error(), "memory") {
		t.Errorf("got %v", err)
	}
	tr, err := s.Decode(rec)
	if !errors.Is(err, drivers.ErrTruncated) || !errors.Is(err, drivers.ErrReset) {
		t.Errorf("decode: %v", err)
	}
	if len(tr.Events) == 0 || tr.Counts.Output.Known() {
		t.Errorf("%d events, output %+v", len(tr.Events), tr.Counts.Output)
	}
}

func TestRealBadFiles(t *testing.T) {
	dir := t.TempDir()
	good := weightstest.Options{}.Bytes()
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(i * 7)
	}
	lying := slices.Clone(good) // our reader finds nothing wrong with it, the server does
	i := strings.Index(string(lying), "blk.1.ffn_up.weight")
	lying[i+len("blk.1.")] = 'x'
	for _, c := range []struct {
		name string
		data []byte
		want error
		text string
	}{
		{"noise.gguf", noise, nil, "not a GGUF file"},
		{"half.gguf", good[:len(good)/2], nil, "cut off"},
		{"lying.gguf", lying, drivers.ErrServerDied, "xfn_up"},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := open(t.Context(), realConfig(t, path), drivers.Need{})
		if err == nil {
			_ = s.Close()
			t.Errorf("%s was opened", c.name)
			continue
		}
		if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) && c.want == nil {
			t.Errorf("%s: %v", c.name, err)
		}
		t.Log(err)
	}
}

func TestRealBadArguments(t *testing.T) {
	c := realConfig(t, testModel(t, weightstest.Options{}))
	c.Options[optArgs] = "--no-such-flag 'a b'"
	if _, err := open(t.Context(), c, drivers.Need{}); !errors.Is(err, drivers.ErrServerDied) || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("got %v", err)
	}
}

func TestRealDetect(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, "models"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := weightstest.Write(filepath.Join(home, "models", "tiny-F16.gguf")); err != nil {
		t.Fatal(err)
	}
	c := realConfig(t, "")
	c.Env = func(k string) string { return map[string]string{"HOME": home, "USERPROFILE": home}[k] }
	start := time.Now()
	found, err := detect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	f := found[len(found)-1]
	if f.Binary == "" || f.Version == "" || !f.Usable || len(f.Models) != 1 || f.Models[0].Ref != "tiny-F16" || f.Models[0].Quant != "F16" {
		t.Errorf("found %+v", found)
	}
	t.Logf("detect took %s", time.Since(start))
	s, err := open(t.Context(), c, drivers.Need{Context: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Info().Model.Name != "tiny-F16" || s.Info().ContextMax != 512 {
		t.Errorf("info %+v", s.Info())
	}
}
