package sandbox

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/builtins"
)

// Runner starts workers.
type Runner struct {
	Command []string // what starts one: an executable and arguments whose process calls Serve on its stdin and stdout

	watched bool          // for tests: the parent watches the memory, also where the system bounds it
	thought time.Duration // for tests: in the place of maxThought
}

// Evaluate evaluates the jsonnet file main of a suite in a worker, and gives its JSON.
func (r Runner) Evaluate(ctx context.Context, files map[string][]byte, main string) (string, error) {
	o, err := r.do(ctx, task{Kind: evaluate, Files: files, Main: main}, nil)
	switch {
	case ctx.Err() != nil:
		return "", builtins.Stopped(ctx, main)
	case err != nil:
		return "", fmt.Errorf("%s: %w", main, err)
	case o.Error != "":
		return "", errors.New(o.Error)
	}
	return o.JSON, nil
}

// Compile checks a program and all that it loads in a worker, as builtins.Compile does, and gives what runs it.
func (r Runner) Compile(ctx context.Context, main string, files map[string][]byte) (*Program, error) {
	p := &Program{r, main, files}
	if err := p.do(ctx, task{Kind: check, Files: files, Main: main}, nil); err != nil {
		return nil, err
	}
	return p, nil
}

// CheckLibrary checks a file that programs load, in a worker, as builtins.CheckLibrary does.
func (r Runner) CheckLibrary(ctx context.Context, main string, files map[string][]byte) error {
	return (&Program{r, main, files}).do(ctx, task{Kind: checkLibrary, Files: files, Main: main}, nil)
}

// CheckTests checks a file of tests, in a worker, as builtins.CheckTests does.
func (r Runner) CheckTests(ctx context.Context, name string, src []byte) error {
	p := &Program{r, name, map[string][]byte{name: src}}
	return p.do(ctx, task{Kind: checkTests, Files: p.files, Main: name}, nil)
}

// Test runs a suite's tests on a result document, in JSON, in a worker, as builtins.RunTests does.
func (r Runner) Test(ctx context.Context, name string, src, result []byte) ([]builtins.Tested, error) {
	p := &Program{r, name, map[string][]byte{name: src}}
	var tests []builtins.Tested
	err := p.doing(ctx, task{Kind: test, Files: p.files, Main: name, Point: result}, nil, &tests)
	return tests, err
}

// Program is a checked program that runs in workers, a new one for each pass.
type Program struct {
	runner Runner
	main   string
	files  map[string][]byte
}

// Run runs one pass. It returns what builtins.Program.Run does, and a *builtins.ScriptError with a *LimitError inside where
// the worker came up against one of its limits.
func (p *Program) Run(ctx context.Context, host builtins.Host, point builtins.Point) error {
	b, err := json.Marshal(point)
	if err != nil {
		return fmt.Errorf("%s: encode the point: %w", p.main, err)
	}
	return p.do(ctx, task{Kind: run, Files: p.files, Main: p.main, Point: b}, host)
}

func (p *Program) do(ctx context.Context, t task, host builtins.Host) error {
	return p.doing(ctx, t, host, nil)
}

// doing does a task of a program; tests gets what a test came to.
func (p *Program) doing(ctx context.Context, t task, host builtins.Host, tests *[]builtins.Tested) error {
	calls := &calls{ctx: ctx, host: host}
	o, err := p.runner.do(ctx, t, calls)
	if tests != nil {
		*tests = o.Tests
	}
	switch {
	case o.Skip != nil:
		return o.Skip
	case ctx.Err() != nil:
		return builtins.Stopped(ctx, p.main)
	case err != nil:
		return &builtins.ScriptError{File: p.main, Msg: err.Error(), Err: err}
	case o.Script == nil && o.Error != "":
		return &builtins.ScriptError{File: p.main, Msg: o.Error}
	case o.Script == nil:
		return nil
	case o.Bug != "":
		o.Script.Err = &builtins.BugError{Value: o.Bug}
	case o.Host != "":
		o.Script.Err = &builtins.HostError{Builtin: o.Host, Err: calls.failed}
	}
	return o.Script
}

// worker is a started worker.
type worker struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	stderr *capped
	over   *overgrown // nil where the system bounds the memory

	thought time.Duration
}

// do starts a worker, gives it a task, answers its calls and waits for its end.
func (r Runner) do(ctx context.Context, t task, host *calls) (outcome, error) {
	if err := ctx.Err(); err != nil {
		return outcome{}, err
	}
	w, err := r.start()
	if err != nil {
		return outcome{}, err
	}
	stop := context.AfterFunc(ctx, w.kill)
	o, why, err := w.attend(t, host)
	stop()
	_ = w.in.Close() // ends a worker that still runs
	w.kill()
	ended := w.cmd.Wait()
	switch {
	case err == nil, ctx.Err() != nil:
		return o, nil //nolint:nilerr // the caller looks at the context itself
	case why != nil:
		return o, why
	}
	return o, w.verdict(ended, err)
}

func (r Runner) start() (*worker, error) {
	cmd := exec.Command(r.Command[0], r.Command[1:]...) //nolint:gosec,noctx // this program itself; do kills it when the context ends
	// Nothing of ours is inherited: no keys, no paths. Two threads, so that the pipe is seen closing beside a computation.
	cmd.Env = []string{"GOMAXPROCS=" + strconv.Itoa(min(2, runtime.NumCPU())), "GOTRACEBACK=none"}
	w := &worker{cmd: cmd, stderr: &capped{}, thought: r.thought}
	cmd.Stderr = w.stderr
	var err error
	if w.in, err = cmd.StdinPipe(); err == nil {
		w.out, err = cmd.StdoutPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start the worker that programs run in: %w; --no-sandbox runs them in this process", err)
	}
	if !selfBounded || r.watched {
		w.over = watch(cmd.Process)
	}
	return w, nil
}

func (w *worker) kill() { _ = w.cmd.Process.Kill() }

// attend sends the task and answers calls until the worker says how it ended. why is set where the worker was given up on;
// another error only says that the pipe broke.
func (w *worker) attend(t task, host *calls) (o outcome, why *LimitError, err error) {
	if err := writeFrame(w.in, t); err != nil { // a worker that has died breaks the pipe
		return o, nil, err
	}
	in := bufio.NewReader(w.out)
	most := cmp.Or(w.thought, maxThought)
	left := most
	for n := 0; ; n++ {
		// The clock stands still while the host answers: what it takes is not the program's time.
		began := time.Now()
		slow := time.AfterFunc(min(maxThink, left), w.kill)
		var m fromWorker
		err := readFrame(in, &m)
		timely := slow.Stop()
		left -= time.Since(began)
		switch {
		case !timely && left <= 0:
			return o, &LimitError{Limit: "time", Detail: fmt.Sprintf("it computed for more than %s in one pass", most)}, errTime
		case !timely:
			return o, &LimitError{Limit: "time", Detail: fmt.Sprintf("it computed for more than %s without calling a builtin", maxThink)}, errTime
		case errors.Is(err, errFrame):
			return o, &LimitError{Limit: "message size", Detail: "one message was larger than 16 MiB"}, err
		case err != nil:
			return o, nil, err
		case m.Done != nil:
			return *m.Done, nil, nil
		case n >= maxCalls:
			return o, &LimitError{Limit: "calls", Detail: fmt.Sprintf("it called builtins more than %d times in one pass", maxCalls)}, errCalls
		}
		if err := host.answer(w.in, m); err != nil {
			return o, nil, err
		}
	}
}

var (
	errTime  = errors.New("took too long")
	errCalls = errors.New("called too often")
)

// calls answers a worker's calls with a host.
type calls struct {
	ctx    context.Context //nolint:containedctx // of the one run that it lives for
	host   builtins.Host
	failed error // what the host returned last
}

// answer does one call. An error means that the pipe is broken or the worker does not keep to the protocol.
func (c *calls) answer(to io.Writer, m fromWorker) error {
	if c == nil || c.host == nil {
		return fmt.Errorf("a call of %q outside of a run", m.Call)
	}
	var result any
	var err error
	switch m.Call {
	case callLog:
		var line string
		if err := json.Unmarshal(m.Args, &line); err != nil {
			return err
		}
		c.host.Log(line)
		return nil
	case callPrompt:
		var spec builtins.PromptSpec
		if err = json.Unmarshal(m.Args, &spec); err == nil {
			result, err = c.host.Prompt(c.ctx, spec)
		}
	case callStream:
		var spec builtins.StreamSpec
		if err = json.Unmarshal(m.Args, &spec); err == nil {
			result, err = c.host.Stream(c.ctx, spec)
		}
	case callCacheStats:
		result, err = c.host.CacheStats(c.ctx)
	case callFingerprint:
		result, err = c.host.Fingerprint(c.ctx)
	case callElapsed:
		result = c.host.Elapsed()
	case callRecord:
		var v recorded
		if err = json.Unmarshal(m.Args, &v); err == nil {
			err = c.host.Record(v.Metric, v.Value)
		}
	default:
		return fmt.Errorf("a call of %q, which is none", m.Call)
	}
	a := toWorker{}
	if err == nil && result != nil {
		a.Result, err = json.Marshal(result)
	}
	if err != nil {
		c.failed = err
		a = toWorker{Failed: true, Error: err.Error()}
	}
	return writeFrame(to, a)
}

// capped keeps the beginning of what is written to it.
type capped struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write keeps p as far as there is room.
func (c *capped) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.b.Write(p[:min(len(p), max(maxStderr-c.b.Len(), 0))])
	return len(p), nil
}

// String is what was kept.
func (c *capped) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}
