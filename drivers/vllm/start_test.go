//go:build unix

package vllm

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/proc"
)

// roleEnv makes the test binary play a stand-in for the program vllm instead of running tests. The real one is never started
// here.
const roleEnv = "LLM_SPEED_VLLM_STAND_IN"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "internal-guard" {
		os.Exit(proc.Guard(os.Stdin, os.Args[2:]))
	}
	role := os.Getenv(roleEnv)
	if role == "" {
		flag.Parse()
		os.Exit(m.Run())
	}
	os.Exit(standIn(role, os.Args[1:]))
}

// standIn is the program: it takes vllm serve's arguments and serves the synthetic answers.
func standIn(role string, args []string) int {
	after := func(flag string) string {
		if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
			return args[i+1]
		}
		return ""
	}
	context, _ := strconv.Atoi(after("--max-model-len"))
	if file := os.Getenv(roleEnv + "_SEEN"); file != "" {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintln(f, os.Getpid(), "HF_HUB_OFFLINE="+os.Getenv("HF_HUB_OFFLINE"), strings.Join(args, " "))
			_ = f.Close()
		}
	}
	fmt.Println("INFO 11-24 02:00:00 [api_server.py:1] vLLM API server (stand-in)")
	switch role {
	case "dies":
		fmt.Println("(EngineCore_DP0 pid=7) ERROR 11-24 02:00:00 [core.py:780] Traceback (most recent call last):")
		fmt.Println("(EngineCore_DP0 pid=7) ERROR 11-24 02:00:00 [core.py:780]   File \"/x/core.py\", line 1, in run")
		fmt.Println("(EngineCore_DP0 pid=7) ERROR 11-24 02:00:00 [core.py:780] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
		fmt.Println("RuntimeError: Engine core initialization failed. See root cause above.")
		return 1
	case "rubbish":
		for i := range 500 {
			fmt.Printf("\x00\xff rubbish %d\n", i)
		}
		return 0
	case "blocks":
		time.Sleep(time.Minute)
		return 0
	case "old":
		if slices.Contains(args, "--enable-prompt-tokens-details") {
			fmt.Println("usage: vllm serve [model_tag] [options]")
			fmt.Println("vllm: error: unrecognized arguments: --enable-prompt-tokens-details")
			return 2
		}
	case "crowded":
		if after("--max-num-seqs") != "2" {
			fmt.Println("RuntimeError: CUDA out of memory occurred when warming up sampler with 256 dummy requests. Please try lowering `max_num_seqs` or `gpu_memory_utilization` when initializing the engine.")
			return 1
		}
	case "short":
		if context > 3000 {
			fmt.Println("ValueError: To serve at least one request with the model's max seq len (8192), (1.00 GiB KV cache is needed). Based on the available memory, the estimated maximum model length is 3000.")
			return 1
		}
	case "other":
		l, err := net.Listen("tcp", "127.0.0.1:"+after("--port"))
		if err != nil {
			return 1
		}
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":[]}`) }))
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+after("--port"))
	if err != nil {
		fmt.Println("OSError: [Errno 98] Address already in use")
		return 1
	}
	f := &fake{model: after("--served-model-name"), root: args[1], details: slices.Contains(args, "--enable-prompt-tokens-details")}
	if f.model == "" {
		f.model = args[1]
	}
	h := http.Handler(f)
	if role == "dies later" {
		h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if len(f.requests) > 5 && strings.HasPrefix(r.URL.Path, "/v1/c") {
				fmt.Println("ERROR 11-24 02:00:00 [async_llm.py:1] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue")
				os.Exit(3)
			}
			f.ServeHTTP(w, r)
		})
	}
	_ = http.Serve(l, h)
	return 0
}

// program puts a stand-in in a folder of its own, as vllm, and gives the configuration that finds it, and the file in which
// it notes how it was started.
func standInConfig(t *testing.T, role string) (drivers.Config, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, model := t.TempDir(), filepath.Join(t.TempDir(), "tiny-model")
	seen := filepath.Join(dir, "seen")
	script := fmt.Sprintf("#!/bin/sh\n%s='%s' %s_SEEN='%s' exec '%s' \"$@\"\n", roleEnv, role, roleEnv, seen, self)
	if err := os.WriteFile(filepath.Join(dir, "vllm"), []byte(script), 0o700); err != nil { //nolint:gosec // it has to be run
		t.Fatal(err)
	}
	if err := os.Mkdir(model, 0o700); err != nil {
		t.Fatal(err)
	}
	return drivers.Config{
		Model: model, Clock: clock.New(), Log: t.Logf, Guard: []string{self, "internal-guard"},
		Env:     func(k string) string { return map[string]string{"PATH": dir}[k] },
		Options: map[string]string{optStart: "always"},
	}, seen
}

// starts reads how the stand-in was started: process ids and command lines.
func starts(t *testing.T, seen string) (pids []int, lines []string) {
	t.Helper()
	b, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		pid, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		pids, lines = append(pids, n), append(lines, rest)
	}
	return pids, lines
}

// gone fails where one of the processes still runs.
func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		for end := time.Now().Add(5 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(b), ") Z ") {
				break
			}
			if time.Now().After(end) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				t.Errorf("process %d is still there", pid)
			}
		}
	}
}

func TestStart(t *testing.T) {
	c, seen := standInConfig(t, "serves")
	c.Options[optArgs] = "--dtype 'float16' --api-key sk-of-the-server"
	s, err := Spec().Open(t.Context(), c, drivers.Need{Context: 8192, Parallel: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	i := s.Info()
	if i.Attached || i.Parallel != 256 || !i.AnyParallel || i.Model.Ref != "tiny-model" || i.Metadata["cached_tokens"] != "stated" {
		t.Errorf("info %+v", i)
	}
	want := "--max-model-len 8192 --max-num-seqs 256 --enable-prompt-tokens-details --served-model-name tiny-model --dtype float16 --api-key ***"
	if i.Metadata["args"] != want {
		t.Errorf("args %q, want %q", i.Metadata["args"], want)
	}
	pids, lines := starts(t, seen)
	if len(pids) != 1 || !strings.HasPrefix(lines[0], "HF_HUB_OFFLINE=1 serve "+c.Model+" --host 127.0.0.1 --port ") {
		t.Errorf("started %d times: %q", len(pids), lines)
	}
	if tr := drivertest.Said(t, s, drivertest.Ask()); tr.Counts.Output != stated(64) {
		t.Errorf("counts %+v", tr.Counts)
	}
	caps := drivers.CapsOf(s)
	if got := caps.Names(); !slices.Equal(got, []string{"tokenizer", "cache_stats", "activity", "preemptions", "server_log"}) {
		t.Errorf("abilities %q", got)
	}
	if log := strings.Join(caps.ServerLogger.ServerLog(), "\n"); !strings.Contains(log, "(stand-in)") {
		t.Errorf("log %q", log)
	}
	if dirs := caps.Secrets.Secrets(); !slices.Contains(dirs, filepath.Dir(c.Model)+"/") {
		t.Errorf("secrets %q", dirs)
	}
	_ = s.Close()
	gone(t, pids)
}

// TestStartsTheNewestModel is a start for which no model was named, and one that is named as on Hugging Face.
func TestStartsTheNewestModel(t *testing.T) {
	for _, model := range []string{"", "Org/Name"} {
		c, seen := standInConfig(t, "serves")
		home := t.TempDir()
		dir := filepath.Join(home, "hub", "models--Org--Name", "snapshots", "0123abc")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		head := `{"w":{"dtype":"BF16","shape":[4,2],"data_offsets":[0,16]}}`
		tensors := string(binary.LittleEndian.AppendUint64(nil, uint64(len(head)))) + head + strings.Repeat("\x00", 16)
		for file, body := range map[string]string{"config.json": `{"model_type":"llama","max_position_embeddings":3000}`, "model.safetensors": tensors} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		path := c.Env("PATH")
		c.Env = func(k string) string { return map[string]string{"PATH": path, "HF_HOME": home}[k] }
		c.Model = model
		s, err := Spec().Open(t.Context(), c, drivers.Need{Context: 8192})
		if err != nil {
			t.Fatal(err)
		}
		if i := s.Info(); i.Model.Ref != "Org/Name" || i.Model.Path != dir || !strings.HasPrefix(i.Metadata["args"], "--max-model-len 3000 ") || i.Metadata["context_reduced"] == "" {
			t.Errorf("%q: %+v", model, i)
		}
		_ = s.Close()
		pids, lines := starts(t, seen)
		if !strings.Contains(lines[0], " serve Org/Name ") {
			t.Errorf("%q: started as %q", model, lines)
		}
		gone(t, pids)
	}
}

func TestStartAdapts(t *testing.T) {
	for role, want := range map[string]string{"old": "--max-model-len 8192 --max-num-seqs 256 --served-model-name", "short": "--max-model-len 3000 --max-num-seqs 256 --enable-prompt-tokens-details", "crowded": "--max-model-len 8192 --max-num-seqs 2 --enable-prompt-tokens-details"} {
		c, seen := standInConfig(t, role)
		s, err := Spec().Open(t.Context(), c, drivers.Need{Context: 8192, Parallel: 2})
		if err != nil {
			t.Errorf("%s: %v", role, err)
			continue
		}
		if got := s.Info().Metadata["args"]; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", role, got)
		}
		if (s.Info().Metadata["context_reduced"] != "") != (role == "short") || s.Info().AnyParallel != (role != "crowded") {
			t.Errorf("%s: metadata %v", role, s.Info().Metadata)
		}
		_ = s.Close()
		pids, _ := starts(t, seen)
		if len(pids) != 2 {
			t.Errorf("%s: started %d times", role, len(pids))
		}
		gone(t, pids)
	}
}

// TestUsersArguments win over the driver's.
func TestUsersArguments(t *testing.T) {
	c, _ := standInConfig(t, "serves")
	c.Options[optArgs] = "--max-num-seqs=8 --max-model-len 2000 --served-model-name mine"
	s, err := Spec().Open(t.Context(), c, drivers.Need{Context: 8192, Parallel: 2})
	if err != nil {
		t.Fatal(err)
	}
	i := s.Info()
	if i.Parallel != 8 || i.AnyParallel || i.Model.Ref != "mine" || i.Metadata["args"] != "--enable-prompt-tokens-details --max-num-seqs=8 --max-model-len 2000 --served-model-name mine" {
		t.Errorf("%+v", i)
	}
	_ = s.Close()
	for args, says := range map[string]string{"--max-num-seqs many": "want a number", `--x "y`: "is not closed"} {
		c.Options[optArgs] = args
		if _, err := Spec().Open(t.Context(), c, drivers.Need{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestStartFails(t *testing.T) {
	for role, c := range map[string]struct {
		want  error
		says  string
		times int
	}{
		"dies":    {drivers.ErrServerDied, "exit status 1); its log: torch.OutOfMemoryError: CUDA out of memory", 1},
		"rubbish": {drivers.ErrServerDied, "exit status 0", 1},
		"blocks":  {drivers.ErrTimeout, "not ready within 700ms (option wait); its log: vLLM API server (stand-in)", 1},
		"other":   {errOther, "start vLLM: another kind of server", 1},
	} {
		cfg, seen := standInConfig(t, role)
		cfg.Options[optWait] = "700ms"
		if role != "blocks" {
			cfg.Options[optWait] = "20s"
		}
		began := time.Now()
		s, err := Spec().Open(t.Context(), cfg, drivers.Need{Context: 4096})
		if err == nil {
			_ = s.Close()
		}
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) || strings.Contains(fmt.Sprint(err), "Traceback") {
			t.Errorf("%s: %v; want %v, %q", role, err, c.want, c.says)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("%s took %v", role, took)
		}
		pids, _ := starts(t, seen)
		if len(pids) != c.times {
			t.Errorf("%s: started %d times", role, len(pids))
		}
		gone(t, pids)
	}
}

// TestServerDiesLater is a server that ends in the middle of the session.
func TestServerDiesLater(t *testing.T) {
	c, seen := standInConfig(t, "dies later")
	s, err := Spec().Open(t.Context(), c, drivers.Need{Context: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 10 {
		if _, err = s.Stream(t.Context(), drivertest.Ask()); err != nil {
			break
		}
	}
	if !errors.Is(err, drivers.ErrServerDied) || !strings.Contains(err.Error(), "EngineDeadError") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
	_ = s.Close()
	pids, _ := starts(t, seen)
	gone(t, pids)
}

func TestNothingToStart(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, "hub", "models--Qwen--Qwen3-8B"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, _ := standInConfig(t, "serves")
	path := c.Env("PATH")
	env := map[string]string{"PATH": path, "HF_HOME": home}
	c.Env = func(k string) string { return env[k] }
	for _, x := range []struct {
		model, path, opt string
		want             error
		says             string
	}{
		{"", path, "", drivers.ErrNoModel, "--model ORG/NAME"},
		{"/no/such/folder", path, "", drivers.ErrModelNotFound, "there is no folder"},
		{"Qwen/Qwen3-9B", path, "", drivers.ErrModelNotFound, "did you mean Qwen/Qwen3-8B? (with --opt download=yes"},
		{"Qwen/Qwen3-9B", home, "", drivers.ErrNotFound, "pip install vllm"},
		{"Qwen/Qwen3-9B", path, home, drivers.ErrNotFound, "no program vllm"},
	} {
		env["PATH"], c.Model, c.Options[optPath] = x.path, x.model, x.opt
		if _, err := Spec().Open(t.Context(), c, drivers.Need{}); !errors.Is(err, x.want) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%+v: %v", x, err)
		}
	}
}

func TestInstalled(t *testing.T) {
	c, _ := standInConfig(t, "serves")
	f := installed(t.Context(), c)
	if f == nil || f.Binary == "" || !f.Usable {
		t.Fatalf("found %+v", f)
	}
	c.Model = ""
	if f := installed(t.Context(), c); f == nil || f.Usable || !strings.Contains(f.Note, "--model") {
		t.Errorf("without a model: %+v", f)
	}
	// A script of a Python that knows its version.
	dir := t.TempDir()
	python := filepath.Join(dir, "python3")
	if err := os.WriteFile(python, []byte("#!/bin/sh\necho vllm 0.12.3\n"), 0o700); err != nil { //nolint:gosec // it has to be run
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vllm"), []byte("#!"+python+"\nimport sys\n"), 0o700); err != nil { //nolint:gosec // it has to be run
		t.Fatal(err)
	}
	c.Env = func(k string) string { return map[string]string{"PATH": dir}[k] }
	if f := installed(t.Context(), c); f == nil || f.Version != "0.12.3" || f.Binary != filepath.Join(dir, "vllm") {
		t.Errorf("found %+v", f)
	}
	// A package without its script.
	if err := os.Remove(filepath.Join(dir, "vllm")); err != nil {
		t.Fatal(err)
	}
	p, err := find(t.Context(), c)
	if err != nil || !p.module || p.version != "0.12.3" || p.args("m")[1] != "vllm.entrypoints.openai.api_server" {
		t.Errorf("found %+v, %v", p, err)
	}
	// A Python that hangs is given up.
	if err := os.WriteFile(python, []byte("#!/bin/sh\nsleep 30\n"), 0o700); err != nil { //nolint:gosec // it has to be run
		t.Fatal(err)
	}
	began := time.Now()
	if f := installed(t.Context(), c); f != nil || time.Since(began) > 3*time.Second {
		t.Errorf("found %+v after %v", f, time.Since(began))
	}
}

func TestLastLines(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{nil, "nothing"},
		{[]string{"", "  "}, "nothing"},
		{[]string{"INFO 01-01 00:00:00 [x.py:1] loading", "still loading"}, "loading | still loading"},
		{[]string{"ValueError: bad model", "RuntimeError: Engine core initialization failed. See root cause above."}, "ValueError: bad model"},
		{[]string{"(APIServer pid=1) ERROR 01-01 00:00:00 [a.py:2] huggingface_hub.errors.OfflineModeIsEnabled: no", "ValueError: x", "ValueError: x"}, "ValueError: x"},
		{[]string{strings.Repeat("é", 400)}, strings.Repeat("é", 150) + "…"},
	} {
		if got := lastLines(c.lines, 3); got != c.want {
			t.Errorf("%q: %q, want %q", c.lines, got, c.want)
		}
	}
}
