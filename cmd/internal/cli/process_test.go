package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
)

// The first signal ends the context and lets the run save what it has; the second ends the process.
func TestInterruptible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var to chan<- os.Signal
		var exit []int
		told, stopped := 0, false
		p := &Process{
			Signals: func(c chan<- os.Signal) func() {
				to = c
				return func() { stopped = true }
			},
			Exit: func(code int) { exit = append(exit, code) },
		}
		ctx, stop := p.interruptible(context.Background(), func() { told++ })
		synctest.Wait()
		if ctx.Err() != nil {
			t.Fatal("the context ended without a signal")
		}
		to <- os.Interrupt
		synctest.Wait()
		if !errors.Is(context.Cause(ctx), errInterrupted) || told != 1 || len(exit) != 0 {
			t.Errorf("after one signal: cause %v, told %d times, exits %v", context.Cause(ctx), told, exit)
		}
		to <- os.Interrupt
		synctest.Wait()
		if len(exit) != 1 || exit[0] != exitInterrupted {
			t.Errorf("after two signals: exits %v, want one with %d", exit, exitInterrupted)
		}
		stop()
		if !stopped {
			t.Error("signals are still asked for after the end")
		}
	})
}

// The whole command line runs in memory: nothing of it touches the real process.
func TestMainInMemory(t *testing.T) {
	var out, errs bytes.Buffer
	p := OS()
	p.Args, p.Stdout, p.Stderr = []string{"frob"}, &out, &errs
	p.Env = func(string) string { return "" }
	if code := Main(p); code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	if out.Len() != 0 || !bytes.HasPrefix(errs.Bytes(), []byte(`llm-speed: unknown command "frob"`)) {
		t.Errorf("stdout %q, stderr %q", out.String(), errs.String())
	}
}
