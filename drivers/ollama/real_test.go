package ollama

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
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
	if os.Getenv(holdEnv) != "" {
		holdServer()
	}
	os.Exit(m.Run())
}

// holdEnv makes the test binary open a session on a server of its own, and wait to be killed.
const holdEnv = "LLM_SPEED_OLLAMA_TEST_HOLD"

func holdServer() {
	c := drivers.Config{
		Model: "chatml", Clock: clock.New(), Log: func(string, ...any) {}, Guard: []string{os.Args[0], "internal-guard"},
		Env: os.Getenv, Options: map[string]string{optPath: os.Args[1], optStart: "always"},
	}
	s, err := open(context.Background(), c, drivers.Need{Context: 512})
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	fmt.Println("server", s.(started).proc.PID)
	time.Sleep(time.Minute)
}

// The models of the tests' store, by name: what they say and how they are asked.
func testModels() map[string]struct {
	weights  weightstest.Options
	template string
} {
	type m = struct {
		weights  weightstest.Options
		template string
	}
	return map[string]m{
		"chatml":  {weightstest.Options{}, weightstest.OllamaTemplate},
		"thinker": {weightstest.Options{}, weightstest.OllamaThinking},
		"bare":    {weightstest.Options{}, "{{ .Prompt }}"}, // knows neither system messages nor tools
		"bytes":   {weightstest.Options{AddBOS: true, AllBytes: true}, weightstest.OllamaTemplate},
		"ends":    {weightstest.Options{Ends: true}, weightstest.OllamaTemplate},
		"stuck":   {weightstest.Options{Stuck: true}, weightstest.OllamaTemplate},
	}
}

// serve starts `ollama serve` as a user would, with a store of its own below dir, and gives its URL.
func serve(t *testing.T, dir string, env ...string) (string, *proc.Process) {
	t.Helper()
	bin := weightstest.Ollama(t)
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	url := "http://127.0.0.1:" + strconv.Itoa(port)
	p, err := proc.Start(context.WithoutCancel(t.Context()), proc.Options{Path: bin, Args: []string{"serve"}, TailLines: 2000,
		Add: append([]string{"HOME=" + dir, "OLLAMA_MODELS=" + filepath.Join(dir, "models"), "OLLAMA_HOST=" + strings.TrimPrefix(url, "http://"), "OLLAMA_NOPRUNE=1"}, env...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(5 * time.Second) })
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get(url + "/api/version"); err == nil {
			_ = res.Body.Close()
			return url, p
		}
		if time.Now().After(end) {
			t.Fatalf("ollama does not answer: %s", strings.Join(p.Tail(), "\n"))
		}
	}
}

// realHome is the home of the tests' own Ollama, with all test models in its store, made by a server that ends again.
func realHome(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	url, p := serve(t, dir)
	for name, m := range testModels() {
		weightstest.OllamaCreate(t, url, name, m.template, m.weights.Bytes())
	}
	p.Stop(5 * time.Second)
	t.Setenv("LLM_SPEED_OLLAMA", weightstest.Ollama(t)) // found by way of the real HOME
	t.Setenv("HOME", dir)
	t.Setenv("OLLAMA_MODELS", filepath.Join(dir, "models"))
	return dir
}

// realConfig starts servers behind a guard, and looks at no running one.
func realConfig(t *testing.T, model string) drivers.Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return drivers.Config{
		Model: model, Clock: clock.New(), Log: t.Logf, Guard: []string{self, "internal-guard"},
		Env: func(k string) string { return map[string]string{"OLLAMA_MODELS": os.Getenv("OLLAMA_MODELS")}[k] },
		// Greedy choice makes a model of random weights repeat itself sooner or later.
		Options: map[string]string{optPath: weightstest.Ollama(t), optStart: "always", optTemperature: "0.8"},
	}
}

func openReal(t *testing.T, model string, n drivers.Need) started {
	t.Helper()
	s, err := open(t.Context(), realConfig(t, model), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.(started)
}

func user(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

func words(salt string, n int) drivers.Prompt { return user(salt + strings.Repeat(" the", n)) }

func TestRealStreams(t *testing.T) {
	dir := realHome(t)
	s := openReal(t, "chatml", drivers.Need{Context: 4000, Parallel: 4})
	info := s.Info()
	sum := sha256.Sum256(weightstest.Options{}.Bytes())
	if info.ContextMax != 4096 || info.Parallel != 4 || info.Attached || !info.Sized || info.URLKind != "loopback" || info.IgnoresEOS || info.ColdAsked || info.Simulated {
		t.Errorf("info %+v", info)
	}
	if m := info.Model; m.Quant != "F16" || m.ContextMax != weightstest.Context || m.Name != "chatml" || m.SizeBytes != int64(len(weightstest.Options{}.Bytes())) || m.Digest != "sha256:"+hex.EncodeToString(sum[:]) {
		t.Errorf("model %+v", m)
	}
	if info.Version != "0.17.4" || info.Build != onCPU || info.Template != 6 { // <|im_start|> u s e r \n
		t.Errorf("version %q, build %q, template %d", info.Version, info.Build, info.Template)
	}
	for k, v := range info.Metadata {
		if strings.Contains(v, dir) {
			t.Errorf("metadata %s has a path: %s", k, v)
		}
	}
	if got := info.Metadata["rendering"]; got != "the model's template" {
		t.Errorf("rendering %q", got)
	}
	if info.Metadata["on_gpu"] != "0 %" || len(info.Flags) != 0 {
		t.Errorf("no GPU is here, and none is missed: %v, %v", info.Metadata, info.Flags)
	}
	if got := drivers.CapsOf(s).Names(); !slices.Equal(got, []string{"server_log"}) {
		t.Errorf("abilities %v", got)
	}
	if log := strings.Join(s.ServerLog(), "\n"); log == "" || strings.Contains(log, "OLLAMA_MODELS") {
		t.Errorf("the server's log: %s", log)
	}

	t.Run("lengths and counts", func(t *testing.T) {
		p := words("cold", 122-len("cold"))
		_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: p, OutputTokens: 200})
		if tr.Counts.Output != (stream.Count{N: 200, From: "B"}) || tr.Counts.Cached.Known() || tr.Counts.Reasoning.Known() || tr.Finish != stream.FinishLength || tr.Truncated {
			t.Errorf("counts %+v, finish %s, truncated %v", tr.Counts, tr.Finish, tr.Truncated)
		}
		// What the template puts around the text, and a token a word.
		if want := 6 + 4 + 118 + 1 + 1 + 11; tr.Counts.Prompt.N != want {
			t.Errorf("%d prompt tokens, want %d", tr.Counts.Prompt.N, want)
		}
		if len(tr.Events) != 200 {
			t.Errorf("%d events", len(tr.Events))
		}
		if text := drivertest.Text(tr); strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("text is not printable: %q", text)
		}
		if tr.Server.DecodeTokens != 199 || tr.Server.Decode <= 0 || tr.Server.Prefill <= 0 || tr.Server.PromptTokens.Known() {
			t.Errorf("server timing %+v", tr.Server)
		}
	})

	t.Run("eval_duration holds one token less than eval_count", func(t *testing.T) {
		// The client's rate over (t_1, t_L] against the server's by our rule: over few tokens n/(n-1) shows.
		var best float64
		for i := range 12 { // the machine may be busy: the best try counts
			_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: words(fmt.Sprintf("rate %d", i), 32), OutputTokens: 400, Seed: uint64(i)})
			ev := tr.Events
			client := float64(len(ev)-1) / (ev[len(ev)-1].At - ev[0].At).Seconds()
			server := float64(tr.Server.DecodeTokens) / tr.Server.Decode.Seconds()
			if best = max(best, 1-math.Abs(client-server)/server); best > 0.95 {
				break
			}
		}
		// A token takes this model some 100 µs, and the server leaves out what sampling takes.
		t.Logf("the rates agree to %.1f %%", 100*best)
		if best < 0.5 {
			t.Errorf("the rates agree to %.0f %%", 100*best)
		}
	})

	t.Run("a cached prompt is counted whole and costs next to nothing", func(t *testing.T) {
		p := words("warm", 1500)
		_, first := drivertest.Streamed(t, s, drivers.Request{Prompt: p, OutputTokens: 2, Reuse: true})
		var least time.Duration
		for range 5 {
			_, again := drivertest.Streamed(t, s, drivers.Request{Prompt: p, OutputTokens: 2, Reuse: true})
			if again.Counts.Prompt != first.Counts.Prompt || again.Counts.Cached.Known() || again.Server.PromptTokens.Known() {
				t.Fatalf("counts %+v, at first %+v", again.Counts, first.Counts)
			}
			if least == 0 || again.Server.Prefill < least {
				least = again.Server.Prefill
			}
		}
		if least*3 > first.Server.Prefill {
			t.Errorf("prefill takes %s, and %s for the same prompt again", first.Server.Prefill, least)
		}
	})

	t.Run("one token", func(t *testing.T) {
		for _, asked := range []int{1, 0} {
			_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: words("one", 20), OutputTokens: asked})
			if tr.Counts.Output.N != 1 || tr.Server.Decode != 0 || tr.Server.DecodeTokens != 0 {
				t.Errorf("%d asked for: %+v %+v", asked, tr.Counts, tr.Server)
			}
		}
	})

	t.Run("four at once", func(t *testing.T) {
		var all, here sync.WaitGroup
		here.Add(4)
		got := make([]stream.Transcript, 4)
		for i := range got {
			all.Go(func() {
				rec, err := s.Stream(t.Context(), drivers.Request{Prompt: words(string(rune('a'+i)), 64), OutputTokens: 300, Hold: func(context.Context) (time.Duration, error) {
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
			if tr.Counts.Output.N != 300 || len(tr.Events) == 0 {
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
		rec, err := s.Stream(t.Context(), drivers.Request{Prompt: words("over", 4200), OutputTokens: 16})
		if err != nil || rec.Status != 400 {
			t.Fatalf("status %d, %v", rec.Status, err)
		}
		if _, err := s.Decode(rec); !errors.Is(err, drivers.ErrContextLength) {
			t.Errorf("got %v", err)
		}
		_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: words("cut", 4060), OutputTokens: 64})
		if !tr.Truncated || tr.Counts.Output.N >= 64 || tr.Finish != stream.FinishLength {
			t.Errorf("truncated %v, counts %+v, finish %s", tr.Truncated, tr.Counts, tr.Finish)
		}
	})

	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		rec, err := s.Stream(ctx, drivers.Request{Prompt: words("cancel", 64), OutputTokens: 3000, Hold: func(context.Context) (time.Duration, error) {
			time.AfterFunc(20*time.Millisecond, cancel)
			return 0, nil
		}})
		if !errors.Is(err, context.Canceled) || rec.Outcome != stream.Canceled {
			t.Errorf("outcome %s, %v", rec.Outcome, err)
		}
	})

	t.Run("a conversation with tools", func(t *testing.T) {
		p := probePrompt()
		_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: p, OutputTokens: 32})
		if tr.Counts.Output.N != 32 || tr.Counts.Prompt.N < 100 {
			t.Errorf("counts %+v", tr.Counts)
		}
	})

	t.Run("attached, and left as it was", func(t *testing.T) {
		c := realConfig(t, "CHATML")
		c.URL = info.URL
		a, err := open(t.Context(), c, drivers.Need{Context: 2000, Parallel: 1})
		if err != nil {
			t.Fatal(err)
		}
		// The model is loaded with room enough: it is taken as it is.
		if ai := a.Info(); !ai.Attached || ai.ContextMax != 4096 || ai.Parallel != 0 || ai.Model.Digest != info.Model.Digest || ai.Build != "" || ai.Metadata["parallel"] == "" {
			t.Errorf("info %+v", ai)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		m, err := s.look(t.Context())
		if err != nil || m == nil || m.Context != 4096 {
			t.Errorf("closing an attached session unloaded the model: %+v, %v", m, err)
		}
	})

	t.Run("another client interferes", func(t *testing.T) {
		o := s.options(1, 0)
		o.Context, o.Predict = 2048, 0
		if err := s.api.generate(t.Context(), loading{Model: "chatml", KeepAlive: "30m", Options: &o}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stream(t.Context(), drivers.Request{Prompt: words("inter", 20), OutputTokens: 4}); !errors.Is(err, drivers.ErrServer) || !strings.Contains(err.Error(), "context of 2048") {
			t.Errorf("loaded otherwise: %v", err)
		}
		if err := s.api.generate(t.Context(), loading{Model: "chatml", KeepAlive: 0}, nil); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if m, err := s.look(t.Context()); err == nil && m == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatal("the model is not unloaded")
			}
		}
		if _, err := s.Stream(t.Context(), drivers.Request{Prompt: words("gone", 20), OutputTokens: 4, Reuse: true}); !errors.Is(err, drivers.ErrServer) {
			t.Errorf("unloaded, and its cache counted on: %v", err)
		}
		// A cold prompt needs no cache: the model is loaded again, before the clock starts.
		_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: words("back", 20), OutputTokens: 4})
		if !strings.Contains(string(tr.Extra), `"reloaded":true`) {
			t.Errorf("extra %s", tr.Extra)
		}
	})

	t.Run("close leaves no process", func(t *testing.T) {
		pid := s.proc.PID
		if signalTo(pid, 0) != nil {
			t.Fatal("no process before")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if signalTo(pid, 0) == nil {
			t.Errorf("process %d is still there", pid)
		}
		if left := runners(t, dir); left != "" {
			t.Errorf("a runner is still there: %s", left)
		}
		if _, err := s.Stream(t.Context(), drivers.Request{Prompt: user("x"), OutputTokens: 4}); !errors.Is(err, drivers.ErrServerDied) {
			t.Errorf("a stream after the end gives %v", err)
		}
	})
}

// runners lists the processes of Ollama that serve a store, on Linux; it waits a moment for them to go.
func runners(t *testing.T, dir string) string {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left := ""
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range lines {
			if b, err := os.ReadFile(file); err == nil && bytes.Contains(b, []byte(dir)) && bytes.Contains(b, []byte("runner")) {
				left += string(bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
			}
		}
		if left == "" || time.Now().After(end) {
			return left
		}
	}
}

// signalTo sends a signal to one process; 0 only asks whether it is there.
func signalTo(pid int, sig syscall.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Signal(sig)
}

// TestRealModels is about models that do not do what is asked.
func TestRealModels(t *testing.T) {
	dir := realHome(t)
	url, p := serve(t, dir, "OLLAMA_NUM_PARALLEL=2")
	opened := func(t *testing.T, model string) drivers.Session {
		t.Helper()
		c := realConfig(t, model)
		c.URL = url
		s, err := open(t.Context(), c, drivers.Need{Context: 2048, Parallel: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}

	t.Run("ends at once", func(t *testing.T) {
		s := opened(t, "ends").(*session)
		s.chosen.temperature = 0
		_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: words("end", 30), OutputTokens: 64})
		if tr.Finish != stream.FinishStop || tr.Counts.Output.N != 1 || len(tr.Events) != 0 || tr.Server.Decode != 0 {
			t.Errorf("%s, %+v, %d events, %+v", tr.Finish, tr.Counts, len(tr.Events), tr.Server)
		}
	})

	t.Run("repeats itself", func(t *testing.T) {
		s := opened(t, "stuck").(*session)
		s.chosen.temperature = 0
		rec, err := s.Stream(t.Context(), drivers.Request{Prompt: words("again", 30), OutputTokens: 200})
		if err != nil || rec.Outcome != stream.Complete {
			t.Fatalf("%v, %s", err, rec.Outcome)
		}
		tr, err := s.Decode(rec)
		if !errors.Is(err, drivers.ErrTruncated) || !errors.Is(err, errRepeats) || tr.Counts.Output.Known() || len(tr.Events) < repeats {
			t.Errorf("%v, %+v, %d events", err, tr.Counts, len(tr.Events))
		}
		t.Log(err)
	})

	t.Run("thinks", func(t *testing.T) {
		s := opened(t, "thinker")
		for reasoning, want := range map[string]stream.Kind{"": stream.Reasoning, "on": stream.Reasoning, "off": stream.Content} {
			_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: words("think", 30), OutputTokens: 24, Reasoning: reasoning})
			if tr.Counts.Output.N != 24 || len(tr.Events) == 0 || tr.Events[0].Kind != want {
				t.Errorf("reasoning %q: %+v, %+v", reasoning, tr.Counts, tr.Events)
			}
		}
		if got := s.Info().Metadata["rendering"]; !strings.Contains(got, "tools as part of") {
			t.Errorf("rendering %q", got)
		}
	})

	t.Run("has no words for system and tools", func(t *testing.T) {
		s := opened(t, "bare")
		if got := s.Info().Metadata["rendering"]; got != "the model's template, with system messages and tools as part of the messages' text: it knows none" {
			t.Errorf("rendering %q", got)
		}
		_, tr := drivertest.Streamed(t, s, drivers.Request{Prompt: probePrompt(), OutputTokens: 8})
		if tr.Counts.Prompt.N < 60 {
			t.Errorf("%d prompt tokens: parts of the conversation are missing", tr.Counts.Prompt.N)
		}
	})

	t.Run("holds bytes back", func(t *testing.T) {
		s := opened(t, "bytes")
		fewer := false
		for _, salt := range []string{"a", "b", "c"} {
			rec, err := s.Stream(t.Context(), drivers.Request{Prompt: words(salt, 40), OutputTokens: 200})
			if err != nil {
				t.Fatal(err)
			}
			tr, err := s.Decode(rec)
			if errors.Is(err, errRepeats) {
				continue
			}
			if err != nil || tr.Counts.Output.N != 200 {
				t.Errorf("%v, %+v", err, tr.Counts)
			}
			fewer = fewer || len(tr.Events) < 200
		}
		if !fewer {
			t.Error("no event had several tokens: this test proves nothing")
		}
	})

	t.Run("is not there", func(t *testing.T) {
		c := realConfig(t, "chat-ml")
		c.URL = url
		_, err := open(t.Context(), c, drivers.Need{})
		if !errors.Is(err, drivers.ErrModelNotFound) || !strings.Contains(err.Error(), "did you mean chatml") {
			t.Errorf("got %v", err)
		}
	})

	t.Run("loaded by us, gone after us", func(t *testing.T) {
		s := opened(t, "chatml").(*session)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			if m, err := s.look(t.Context()); err == nil && m == nil {
				return
			}
			if time.Now().After(end) {
				t.Fatal("the model is still loaded")
			}
		}
	})

	t.Run("detect", func(t *testing.T) {
		c := realConfig(t, "")
		c.Env = func(k string) string { return map[string]string{"OLLAMA_HOST": strings.TrimPrefix(url, "http://")}[k] }
		began := time.Now()
		found, err := detect(t.Context(), c)
		if err != nil || len(found) != 1 {
			t.Fatalf("%v, %+v", err, found)
		}
		f := found[0]
		i := slices.IndexFunc(f.Models, func(m drivers.Model) bool { return m.Ref == "chatml:latest" })
		if f.URL != url || f.Version != "0.17.4" || !f.Usable || i < 0 {
			t.Fatalf("found %+v", f)
		}
		if m := f.Models[i]; m.Quant != "F16" || m.ContextMax != weightstest.Context || m.Path == "" || !strings.HasPrefix(m.Digest, "sha256:") {
			t.Errorf("model %+v", m)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("detect took %s", took)
		}
	})

	t.Run("is replaced in the middle", func(t *testing.T) {
		weightstest.OllamaCreate(t, url, "changing", weightstest.OllamaTemplate, weightstest.Options{}.Bytes())
		s := opened(t, "changing")
		drivertest.Streamed(t, s, drivers.Request{Prompt: words("one", 30), OutputTokens: 4})
		weightstest.OllamaCreate(t, url, "changing", weightstest.OllamaThinking, weightstest.Options{Ends: true}.Bytes())
		var err error
		for range 2 { // the loaded one may serve once more
			if _, err = s.Stream(t.Context(), drivers.Request{Prompt: words("two", 30), OutputTokens: 4}); err != nil {
				break
			}
		}
		if !errors.Is(err, drivers.ErrModelNotFound) {
			t.Errorf("got %v", err)
		}
	})

	// The same store, without a server.
	p.Stop(5 * time.Second)
	t.Run("detect the program", func(t *testing.T) {
		c := realConfig(t, "")
		c.Env = func(k string) string {
			return map[string]string{"OLLAMA_HOST": strings.TrimPrefix(url, "http://"), "OLLAMA_MODELS": filepath.Join(dir, "models")}[k]
		}
		found, err := detect(t.Context(), c)
		if err != nil || len(found) != 1 {
			t.Fatalf("%v, %+v", err, found)
		}
		f := found[0]
		if f.Binary == "" || f.URL != "" || f.Version != "0.17.4" || !f.Usable || len(f.Models) != len(testModels())+1 {
			t.Errorf("found %+v", f)
		}
		for _, m := range f.Models {
			if m.Quant != "F16" || m.ContextMax != weightstest.Context || m.Digest == "" || m.SizeBytes == 0 {
				t.Errorf("model %+v", m)
			}
		}
	})
}

func TestRealServerKilled(t *testing.T) {
	realHome(t)
	s := openReal(t, "chatml", drivers.Need{Context: 20_000, Parallel: 1})
	rec, err := s.Stream(t.Context(), drivers.Request{Prompt: words("kill", 18_000), OutputTokens: 2000, Hold: func(context.Context) (time.Duration, error) {
		time.AfterFunc(200*time.Millisecond, func() { _ = signalTo(s.proc.PID, syscall.SIGKILL) })
		return 0, nil
	}})
	if !errors.Is(err, drivers.ErrServerDied) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Decode(rec); !errors.Is(err, drivers.ErrReset) {
		t.Errorf("decode: %v", err)
	}
}

// TestRealWeAreKilled is for the worst end: nothing of ours runs any more, and the server ends all the same.
func TestRealWeAreKilled(t *testing.T) {
	dir := realHome(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := proc.Start(t.Context(), proc.Options{Path: self, Args: []string{weightstest.Ollama(t)}, Add: []string{holdEnv + "=1"}})
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
	if left := runners(t, dir); left != "" {
		t.Errorf("a runner is still there: %s", left)
	}
}

func TestRealNoRoomForAServer(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("LLM_SPEED_OLLAMA", weightstest.Ollama(t))
	t.Setenv("HOME", dir)
	t.Setenv("OLLAMA_MODELS", filepath.Join(dir, "models"))
	if _, err := open(t.Context(), realConfig(t, ""), drivers.Need{}); !errors.Is(err, drivers.ErrNoModel) || !strings.Contains(err.Error(), "ollama pull") {
		t.Errorf("a store without models: %v", err)
	}
	// A file where the store's folder should be.
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OLLAMA_MODELS", filepath.Join(dir, "file", "models"))
	if _, err := open(t.Context(), realConfig(t, ""), drivers.Need{}); !errors.Is(err, drivers.ErrServerDied) {
		t.Errorf("a store that can't be: %v", err)
	}
}
