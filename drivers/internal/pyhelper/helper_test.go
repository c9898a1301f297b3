package pyhelper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// roleEnv makes the test binary play a part instead of running tests: "guard", or "parent", which opens a helper behind a
// guard and waits to be killed.
const roleEnv = "LLM_SPEED_PYHELPER_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "guard":
		os.Exit(proc.Guard(os.Stdin, os.Args[1:]))
	case "parent":
		_ = os.Setenv(roleEnv, "guard")
		h, err := Start(context.Background(), Options{Python: os.Args[1], Script: Script{"toy", toy}, Guard: []string{os.Args[0]}, Clock: clock.New()})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(h.proc.PID)
		time.Sleep(time.Minute)
	}
	os.Exit(m.Run())
}

// toy is the smallest backend: it says one letter a token.
const toy = `
import time
from llm_speed_helper import Backend, Refused, serve

class Toy(Backend):
    name = "toy"
    def __init__(self):
        self.runs = {}
        self.on = []
    def open(self, args, progress):
        progress("working")
        if args.get("refuse"):
            raise Refused(args["refuse"], "because it was asked to")
        if args.get("sleep"):
            time.sleep(args["sleep"])
        return {"answer": 42}
    def tokenize(self, args):
        return {"ids": list(args["messages"][0]["content"].encode()), "rendering": "plain"}
    def prepare(self, stream):
        self.runs[stream.ident] = stream
        return {"prompt": len(stream.args["messages"][0]["content"]), "rendering": "plain", "thinking": "none"}
    def begin(self, stream):
        print("a library prints to stdout")
        stream.start(self.runs.pop(stream.ident) and 7, 0)
        self.on.append(stream)
    def drop(self, stream):
        self.runs.pop(stream.ident)
    def step(self):
        for s in list(self.on):
            time.sleep(0.001)
            if s.cancelled or s.tokens == s.args["tokens"]:
                self.on.remove(s)
                s.end("cancelled" if s.cancelled else "length", ["x"] * s.tokens, {})
            else:
                s.token()
        return bool(self.on)
    def flush(self):
        pass

serve(Toy())
`

func python(t *testing.T) string {
	t.Helper()
	p, err := Interpreter("", os.Getenv)
	if err != nil || p == "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI has no python3: %v", err)
		}
		t.Skip("no python3")
	}
	return p
}

func begin(t *testing.T, source string) (*Helper, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	h, err := Start(ctx, Options{Python: python(t), Script: Script{"toy", source}, Clock: clock.New()})
	if err == nil {
		t.Cleanup(func() { _ = h.Close() })
	}
	return h, err
}

func ask(n int) drivers.Request {
	return drivers.Request{Prompt: drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: "hello"}}}, OutputTokens: n, Slot: drivers.AnySlot}
}

func TestHelperCallsAndStreams(t *testing.T) {
	h, err := begin(t, toy)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Answer int }
	if err := h.Call(t.Context(), "open", map[string]any{}, &got, time.Minute); err != nil || got.Answer != 42 {
		t.Errorf("open: %v, %+v", err, got)
	}
	for kind, want := range map[string]error{
		"model": drivers.ErrModelNotFound, "request": drivers.ErrBadRequest, "context": drivers.ErrContextLength, "install": drivers.ErrNotFound,
		"unsupported": drivers.ErrUnsupported, "memory": errMemory, "what": drivers.ErrServer,
	} {
		err := h.Call(t.Context(), "open", map[string]any{"refuse": kind}, nil, time.Minute)
		if !errors.Is(err, want) || !strings.Contains(err.Error(), "because it was asked to") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if err := h.Call(t.Context(), "nonsense", nil, nil, time.Minute); !errors.Is(err, drivers.ErrBadRequest) {
		t.Errorf("an unknown request: %v", err)
	}
	ids, err := h.Tokenize(t.Context(), ask(1).Prompt)
	if err != nil || len(ids) != 5 {
		t.Errorf("tokenize: %v, %v", ids, err)
	}
	rec, err := h.Stream(t.Context(), ask(30), "toy")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := Decode(rec)
	if err != nil || len(tr.Events) != 30 || tr.Finish != stream.FinishLength || tr.Server.Definition != "toy" || tr.Server.DecodeTokens != 29 {
		t.Errorf("%v, %d events, finish %q, server %+v", err, len(tr.Events), tr.Finish, tr.Server)
	}
	if b := h.Offset().Bound; b <= 0 || b > 100*time.Millisecond {
		t.Errorf("clock bound %v", b)
	}
	if h.Python() == "" || !strings.Contains(strings.Join(h.Log(), "\n"), "a library prints to stdout") {
		t.Errorf("python %q, log %q", h.Python(), h.Log())
	}
}

func TestHelperThatCannotBeSpokenTo(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		want   error
		says   string
	}{
		"another version": {`import os; os.write(1, b'{"llm_speed_helper":99,"backend":"toy"}\n'); import time; time.sleep(60)`, drivers.ErrProtocol, "version 99"},
		"another backend": {`import os; os.write(1, b'{"llm_speed_helper":1,"backend":"other"}\n'); import time; time.sleep(60)`, drivers.ErrProtocol, `"other"`},
		"rubbish first":   {`print("Welcome to my shell!", flush=True); import time; time.sleep(60)`, drivers.ErrProtocol, "Welcome to my shell"},
		"dies at once":    {`import sys; sys.stderr.write("no such module: spam\n"); sys.exit(3)`, drivers.ErrServerDied, "no such module: spam"},
		"no Python":       {`this is no Python`, drivers.ErrServerDied, "SyntaxError"},
		"closes its pipe": {`import os, time; os.close(1); time.sleep(60)`, drivers.ErrServerDied, "closed its pipe"},
		"an endless line": {`import os
while True: os.write(1, b"x" * 65536)`, drivers.ErrProtocol, "4 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := begin(t, c.source)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %v with %q", err, c.want, c.says)
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestHelperThatSaysNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Start(ctx, Options{Python: python(t), Script: Script{"toy", "import time; time.sleep(60)"}, Clock: clock.New()})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if _, err := Start(t.Context(), Options{Python: filepath.Join(t.TempDir(), "python"), Script: Script{"toy", toy}, Clock: clock.New()}); err == nil || !strings.Contains(err.Error(), "python") {
		t.Errorf("no interpreter: %v", err)
	}
}

// TestHelperThatGoesWrongMidway keeps what had come, says what happened, and is of no more use.
func TestHelperThatGoesWrongMidway(t *testing.T) {
	wrong := func(then string) string {
		return strings.Replace(toy, "                s.token()\n", "                s.token()\n                if s.tokens == 5: "+then+"\n", 1)
	}
	for name, c := range map[string]struct {
		then string
		want error
		says string
	}{
		"rubbish":        {`s._pipe.line(b"Segmentation fault\n")`, drivers.ErrProtocol, "Segmentation fault"},
		"a wrong type":   {`s._pipe.line(b'{"id":"seven","t":1}\n')`, drivers.ErrProtocol, "seven"},
		"a wrong number": {`s._pipe.line(b'{"id":%d,"t":9e99,"k":1}\n' % s.ident)`, drivers.ErrProtocol, "9e99"},
		"an exit":        {`import os; os._exit(7)`, drivers.ErrServerDied, "exit status 7"},
		"a kill":         {`import os, signal; os.kill(os.getpid(), signal.SIGKILL)`, drivers.ErrServerDied, "killed"},
		"an endless line": {`
                    while True: s._pipe.line(b"y" * 65536)`, drivers.ErrProtocol, "4 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && name == "a kill" {
				t.Skip("Windows has no SIGKILL")
			}
			h, err := begin(t, wrong(c.then))
			if err != nil {
				t.Fatal(err)
			}
			rec, err := h.Stream(t.Context(), ask(50), "toy")
			tr, derr := Decode(rec)
			if err == nil { // a line that only decoding can see is wrong
				err = derr
			}
			if !errors.Is(err, c.want) || !errors.Is(derr, c.want) || !strings.Contains(err.Error(), c.says) || len(tr.Events) != 5 {
				t.Errorf("stream: %v\ndecode: %v, %d events", err, derr, len(tr.Events))
			}
		})
	}
}

func TestHelperIsBlocked(t *testing.T) {
	h, err := begin(t, toy)
	if err != nil {
		t.Fatal(err)
	}
	err = h.Call(t.Context(), "open", map[string]any{"sleep": 30}, nil, 200*time.Millisecond)
	if !errors.Is(err, drivers.ErrTimeout) || !strings.Contains(err.Error(), "it was ended") {
		t.Errorf("%v", err)
	}
	if _, err := h.Stream(t.Context(), ask(3), "toy"); !errors.Is(err, drivers.ErrTimeout) {
		t.Errorf("the next stream: %v", err)
	}
	select {
	case <-h.proc.Done():
	case <-time.After(10 * time.Second):
		t.Error("the blocked helper runs on")
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	h, err := begin(t, toy)
	if err != nil {
		t.Fatal(err)
	}
	stuck, err := begin(t, strings.Replace(toy, "                s.token()\n", "                s.token(); time.sleep(60)\n", 1))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = stuck.Stream(t.Context(), ask(5), "toy") }()
	time.Sleep(200 * time.Millisecond)
	for _, h := range []*Helper{h, stuck} {
		for range 2 {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
		if !gone(h.proc.PID) {
			t.Errorf("process %d is still there", h.proc.PID)
		}
		if _, err := h.Stream(t.Context(), ask(5), "toy"); !errors.Is(err, errClosed) {
			t.Errorf("a stream on a closed helper: %v", err)
		}
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	count := func() int { runtime.GC(); return runtime.NumGoroutine() }
	before := count()
	h, err := begin(t, toy)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := h.Stream(ctx, ask(1000), "toy"); !errors.Is(err, drivers.ErrTimeout) {
		t.Errorf("a stream that is cut: %v", err)
	}
	if _, err := h.Stream(t.Context(), ask(5), "toy"); err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	for range 200 {
		if count() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after Close", before, count())
}

// TestStreamsAtOnce runs several streams over the one pipe: each recording holds its own lines only.
func TestStreamsAtOnce(t *testing.T) {
	h, err := begin(t, toy)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			rec, err := h.Stream(t.Context(), ask(20+n), "toy")
			if err != nil {
				t.Error(err)
				return
			}
			tr, err := Decode(rec)
			if err != nil || len(tr.Events) != 20+n || len(tr.Disagree) > 0 {
				t.Errorf("%v, %d events, want %d, disagree %v", err, len(tr.Events), 20+n, tr.Disagree)
			}
			last := rec.Send
			for _, r := range rec.Reads {
				if r.At < last {
					t.Errorf("stamps go back: %v after %v", r.At, last)
				}
				last = r.At
			}
		})
	}
	all.Wait()
}

// gone waits until a process has ended.
func gone(pid int) bool {
	for range 200 {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

func TestNoOrphanWhenTheParentIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks for the process in /proc")
	}
	cmd := exec.Command(os.Args[0], python(t))
	cmd.Env = append(os.Environ(), roleEnv+"=parent")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatalf("the parent says no number: %v", err)
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); err != nil {
		t.Fatalf("the helper never was: %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if !gone(pid) {
		t.Errorf("the helper %d outlives its parent", pid)
	}
}

// TestScripts compiles what is embedded, by the grammar of the oldest Python that it is for.
func TestScripts(t *testing.T) {
	py := python(t)
	files := []string{"bootstrap.py", "llm_speed_helper.py", "../../mlx/llm_speed_mlx.py", "../../exllama/llm_speed_exllama.py"}
	for _, f := range files {
		out, err := exec.Command(py, "-c", "import ast, sys; s = open(sys.argv[1]).read(); ast.parse(s, feature_version=(3, 9)); compile(s, sys.argv[1], 'exec')", f).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", f, err, out)
		}
	}
	cache := t.TempDir()
	cmd := exec.Command(py, append([]string{"-m", "py_compile"}, files...)...)
	cmd.Env = append(os.Environ(), "PYTHONPYCACHEPREFIX="+cache)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("py_compile: %v\n%s", err, out)
	}
}

func TestConversation(t *testing.T) {
	c, err := converse(drivers.Prompt{
		Messages: []chat.Message{{Role: "assistant", ToolCalls: []chat.ToolCall{{ID: "c1", Name: "read", Arguments: json.RawMessage(`{"path":"a"}`)}, {Name: "none"}}}},
		Tools:    []chat.Tool{{Name: "read"}},
	}, "off")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	// Templates want arguments as objects, and a content that is a text.
	const want = `{"messages":[{"role":"assistant","content":"","tool_calls":[{"id":"c1","type":"function","function":{"name":"read","arguments":{"path":"a"}}},` +
		`{"id":"","type":"function","function":{"name":"none","arguments":{}}}]}],"tools":[{"type":"function","function":{"name":"read","description":"","parameters":{"type":"object","properties":{}}}}],"reasoning":"off"}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}
