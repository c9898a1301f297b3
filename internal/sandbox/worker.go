package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// Serve is the worker: it bounds its own process, reads one task from in, does it, and writes how it ended to out. It
// gives the exit status. A worker whose parent is gone ends when it next looks at the pipe, or, in the middle of a long
// computation, by its own clock.
func Serve(in io.Reader, out io.Writer) int { return serve(in, out, bound) }

func serve(in io.Reader, out io.Writer, bound func() error) int {
	debug.SetMaxStack(maxStack)
	debug.SetMemoryLimit(softMemory)
	if err := bound(); err != nil {
		_ = writeFrame(out, fromWorker{Done: &outcome{Error: "the worker could not bound itself: " + err.Error()}})
		return 1
	}
	in = bufio.NewReader(in)
	var t task
	if err := readFrame(in, &t); err != nil {
		return 1
	}
	alarm := time.AfterFunc(orphanThink, func() { os.Exit(1) }) //nolint:forbidigo // the parent would have ended this: it is gone
	h := &remote{in: in, out: out, alarm: alarm}
	done := t.do(h)
	if err := writeFrame(out, fromWorker{Done: &done}); err != nil {
		if !errors.Is(err, errFrame) {
			return 1
		}
		_ = writeFrame(out, fromWorker{Done: &outcome{Error: t.Main + ": the result is larger than 16 MiB"}})
	}
	return 0
}

// read gives a file that a program loads.
func (t *task) read(path string) ([]byte, error) {
	if src, ok := t.Files[path]; ok {
		return src, nil
	}
	return nil, errors.New("no such file in the suite")
}

func (t *task) do(h *remote) outcome {
	switch t.Kind {
	case evaluate:
		text, err := suite.Evaluate(t.Files, t.Main)
		if err != nil {
			return outcome{Error: err.Error()}
		}
		return outcome{JSON: text}
	case test:
		var doc map[string]any
		if err := json.Unmarshal(t.Point, &doc); err != nil {
			return outcome{Error: "the result document: " + err.Error()}
		}
		tests, err := builtins.RunTests(context.Background(), t.Main, t.Files[t.Main], doc)
		o := outcomeOf(err)
		o.Tests = tests
		return o
	case checkLibrary:
		return outcomeOf(builtins.CheckLibrary(t.Main, t.Files[t.Main], t.read))
	case checkTests:
		return outcomeOf(builtins.CheckTests(t.Main, t.Files[t.Main]))
	case check, run:
		p, err := builtins.Compile(t.Main, t.Files[t.Main], t.read)
		if err != nil || t.Kind == check {
			return outcomeOf(err)
		}
		var point builtins.Point
		d := json.NewDecoder(bytes.NewReader(t.Point))
		d.UseNumber() // whole numbers stay whole
		if err := d.Decode(&point); err != nil {
			return outcome{Error: "the point of a pass: " + err.Error()}
		}
		return outcomeOf(p.Run(context.Background(), h, point))
	}
	return outcome{Error: fmt.Sprintf("the worker knows no task %q", t.Kind)}
}

// outcomeOf puts an error on the wire.
func outcomeOf(err error) outcome {
	var o outcome
	if err == nil {
		return o
	}
	var host *builtins.HostError
	var bug *builtins.BugError
	switch {
	case errors.As(err, &o.Skip):
		return o
	case !errors.As(err, &o.Script):
		o.Error = err.Error()
	case errors.As(err, &bug):
		o.Bug = fmt.Sprint(bug.Value)
	case errors.As(err, &host):
		o.Host = host.Builtin
	}
	return o
}
