package builtins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the calls and error parts of testdata/run")

// scriptedHost answers every call with known values and writes down what it was asked.
type scriptedHost struct {
	calls   bytes.Buffer
	prompts int
	elapsed time.Duration
	stream  func(ctx context.Context, spec StreamSpec) (Batch, error) // nil: known figures
	stats   *CacheStats
	print   json.RawMessage // fingerprint
}

func (h *scriptedHost) note(what string, arg any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(arg); err != nil {
		panic(err)
	}
	fmt.Fprintf(&h.calls, "%s %s", what, b.String())
}

func (h *scriptedHost) Prompt(_ context.Context, spec PromptSpec) (Prompt, error) {
	h.note("prompt", spec)
	h.prompts++
	p := Prompt{ID: h.prompts}
	if spec.Tokens > 0 {
		p.Tokens = &spec.Tokens
	}
	return p, nil
}

func (h *scriptedHost) Stream(ctx context.Context, spec StreamSpec) (Batch, error) {
	h.note("stream", spec)
	if h.stream != nil {
		return h.stream(ctx, spec)
	}
	n := func(f float64) *float64 { return &f }
	i := func(i int) *int { return &i }
	b := Batch{AggregateTPS: n(400), OverlapMs: n(900), WallMs: n(1000)}
	for k := range spec.Prompts {
		b.Streams = append(b.Streams, Stream{
			TTFTms: n(100 + float64(k)), DecodeTPS: n(50.5), WallMs: n(1000),
			Prompt: i(512), Output: i(spec.OutputTokens), Flags: []string{"early_stop"},
		})
	}
	return b, nil
}

func (h *scriptedHost) CacheStats(context.Context) (*CacheStats, error) { return h.stats, nil }

func (h *scriptedHost) Fingerprint(context.Context) (json.RawMessage, error) { return h.print, nil }

func (h *scriptedHost) Elapsed() time.Duration {
	h.elapsed += 1500 * time.Microsecond
	return h.elapsed
}

func (h *scriptedHost) Record(metric string, value float64) error {
	h.note("record "+metric, value)
	return nil
}

func (h *scriptedHost) Log(line string) { h.note("log", line) }

// reader gives the files of an archive.
func reader(ar *txtar.Archive) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		for _, f := range ar.Files {
			if f.Name == path {
				return f.Data, nil
			}
		}
		return nil, fs.ErrNotExist
	}
}

// TestRun runs every archive of testdata/run: main.star with the point of point.json, against the host calls and the error
// that the archive expects.
func TestRun(t *testing.T) {
	files, err := filepath.Glob("testdata/run/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			read := reader(ar)
			var point Point
			if raw, err := read("point.json"); err == nil {
				if err := json.Unmarshal(raw, &point); err != nil {
					t.Fatal(err)
				}
			}
			src, err := read("main.star")
			if err != nil {
				t.Fatal("no main.star")
			}
			host := &scriptedHost{stats: &CacheStats{QueriedTokens: 1000, HitTokens: 750}, print: json.RawMessage(`{"cpu":{"cores":8},"gpus":[],"ram_total_bytes":68719476736,"load_1m":0.5,"digest":null}`)}
			got := map[string]string{}
			p, err := Compile("main.star", src, read)
			if err == nil {
				err = p.Run(t.Context(), host, point)
			}
			if err != nil {
				got["error"] = fmt.Sprintf("%s\nmistake: %v\n", err, IsMistake(err))
				var script *ScriptError
				if errors.As(err, &script) && script.Backtrace != "" {
					got["backtrace"] = script.Backtrace + "\n"
				}
			}
			got["calls"] = host.calls.String()

			if *update {
				var kept []txtar.File
				for _, f := range ar.Files {
					if f.Name != "calls" && f.Name != "error" && f.Name != "backtrace" {
						kept = append(kept, f)
					}
				}
				for _, name := range []string{"calls", "error", "backtrace"} {
					if got[name] != "" {
						kept = append(kept, txtar.File{Name: name, Data: []byte(got[name])})
					}
				}
				ar.Files = kept
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, name := range []string{"calls", "error", "backtrace"} {
				want, _ := read(name)
				if diff := cmp.Diff(string(want), got[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

// compile is Compile of a single file that must be right.
func compile(t *testing.T, src string) *Program {
	t.Helper()
	p, err := Compile("main.star", []byte(src), func(string) ([]byte, error) { return nil, fs.ErrNotExist })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestErrorsKeepTheirCause(t *testing.T) {
	const src = "def run(w):\n    helper()\n\ndef helper():\n    stream(prompt(tokens = 8), output_tokens = 4)\n"
	broken := errors.New("connection refused")
	host := &scriptedHost{stream: func(context.Context, StreamSpec) (Batch, error) { return Batch{}, broken }}
	err := compile(t, src).Run(t.Context(), host, Point{})
	if !errors.Is(err, broken) {
		t.Errorf("%v does not wrap the host's error", err)
	}
	var hostErr *HostError
	if !errors.As(err, &hostErr) || hostErr.Builtin != "stream" {
		t.Errorf("%v is no HostError of stream", err)
	}
	if IsMistake(err) {
		t.Error("a host's error is taken for the program's mistake")
	}
	var script *ScriptError
	if !errors.As(err, &script) || script.Line != 5 || !strings.Contains(script.Backtrace, "main.star:2:11: in run") {
		t.Errorf("no place in the program: %+v", script)
	}
}

func TestPanicOfTheHostIsABug(t *testing.T) {
	host := &scriptedHost{stream: func(context.Context, StreamSpec) (Batch, error) { panic("out of cheese") }}
	err := compile(t, "def run(w):\n    stream(prompt(tokens = 8), output_tokens = 4)\n").Run(t.Context(), host, Point{})
	var bug *BugError
	if !errors.As(err, &bug) || IsMistake(err) || !strings.Contains(err.Error(), "main.star:2:") || !strings.Contains(err.Error(), "out of cheese") {
		t.Errorf("got %v", err)
	}
}

func TestPanicOfStarlarkIsABug(t *testing.T) {
	err := compile(t, "def run(w):\n    list(range(1 << 62))\n").Run(t.Context(), &scriptedHost{}, Point{})
	var bug *BugError
	if !errors.As(err, &bug) {
		t.Errorf("got %v, want a *BugError", err)
	}
}

func TestWrongNumberOfStreamsIsTheHostsError(t *testing.T) {
	host := &scriptedHost{stream: func(context.Context, StreamSpec) (Batch, error) { return Batch{Streams: make([]Stream, 1)}, nil }}
	err := compile(t, "def run(w):\n    p = prompt(tokens = 8)\n    stream([p, p], output_tokens = 4)\n").Run(t.Context(), host, Point{})
	var hostErr *HostError
	if !errors.As(err, &hostErr) {
		t.Errorf("got %v, want a *HostError", err)
	}
}

func TestCancelWhileStarlarkRuns(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	quit := errors.New("user pressed Ctrl-C")
	// print reaches the host, which cancels: the loop behind it must not go on to the limit of steps.
	host := &cancellingHost{cancel: func() { cancel(quit) }}
	err := compile(t, "def run(w):\n    print('x')\n    for i in range(1 << 40):\n        pass\n").Run(ctx, host, Point{})
	if !errors.Is(err, quit) || !errors.Is(err, context.Canceled) || IsMistake(err) {
		t.Errorf("got %v", err)
	}
}

type cancellingHost struct {
	scriptedHost
	cancel func()
}

func (h *cancellingHost) Log(string) { h.cancel() }

func TestDeadlineInsideStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		host := &scriptedHost{stream: func(ctx context.Context, _ StreamSpec) (Batch, error) {
			<-ctx.Done()
			return Batch{}, ctx.Err()
		}}
		p := compile(t, "def run(w):\n    stream(prompt(tokens = 8), output_tokens = 4)\n")
		if err := p.Run(ctx, host, Point{}); !errors.Is(err, context.DeadlineExceeded) || IsMistake(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestEndedContextRunsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	host := &scriptedHost{}
	err := compile(t, "def run(w):\n    prompt(tokens = 8)\n").Run(ctx, host, Point{})
	if !errors.Is(err, context.Canceled) || host.calls.Len() > 0 {
		t.Errorf("got %v after %q", err, host.calls.String())
	}
}

func TestStepsAreShared(t *testing.T) {
	// Neither half alone is over the limit, loading and running together are.
	half := fmt.Sprintf("[None for _ in range(%d)]", MaxSteps/12)
	src := "x = " + half + "\ndef run(w):\n    " + half + "\n"
	err := compile(t, src).Run(t.Context(), &scriptedHost{}, Point{})
	if err == nil || !strings.Contains(err.Error(), "steps") || !IsMistake(err) {
		t.Fatalf("got %v, want the limit of steps", err)
	}
	var script *ScriptError
	if !errors.As(err, &script) || script.Line != 3 {
		t.Errorf("the limit was met at %+v, want line 3", script)
	}
}

func TestPrintIsCapped(t *testing.T) {
	host := &scriptedHost{}
	err := compile(t, "def run(w):\n    for i in range(2000):\n        print('x' * 99)\n").Run(t.Context(), host, Point{})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(host.calls.String()), "\n")
	if want := MaxPrint/100 + 1; len(lines) != want {
		t.Errorf("%d lines, want %d", len(lines), want)
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, "left out") {
		t.Errorf("the last line is %s", last)
	}
}

func TestRunsShareNothing(t *testing.T) {
	p := compile(t, "def run(w):\n    print(w.point.batch)\n")
	for _, batch := range []int{1, 4} {
		host := &scriptedHost{}
		if err := p.Run(t.Context(), host, Point{Point: map[string]any{"batch": batch}}); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("log \"%d\"\n", batch); host.calls.String() != want {
			t.Errorf("got %q, want %q", host.calls.String(), want)
		}
	}
}

func TestUnusableParams(t *testing.T) {
	err := compile(t, "def run(w):\n    pass\n").Run(t.Context(), &scriptedHost{}, Point{Params: map[string]any{"f": func() {}}})
	if err == nil || !strings.Contains(err.Error(), "w.params") {
		t.Errorf("got %v", err)
	}
}
