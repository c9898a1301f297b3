package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/llm-speed/llm-speed/builtins"
)

// remote is the Host as the worker has it: the other end of the pipe.
type remote struct {
	in    io.Reader
	out   io.Writer
	alarm *time.Timer // ends a worker that computes on without a parent
}

// ask makes one call and waits for its answer.
func (h *remote) ask(call string, args, result any) error {
	b, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("encode the arguments: %w", err)
	}
	if err := writeFrame(h.out, fromWorker{Call: call, Args: b}); err != nil {
		return err
	}
	h.alarm.Stop()
	var a toWorker
	if err := readFrame(h.in, &a); err != nil {
		return fmt.Errorf("wait for the answer: %w", err)
	}
	h.alarm.Reset(orphanThink)
	if a.Failed {
		return errors.New(a.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(a.Result, result); err != nil {
		return fmt.Errorf("understand the answer: %w", err)
	}
	return nil
}

// Prompt asks the parent for a prompt.
func (h *remote) Prompt(_ context.Context, spec builtins.PromptSpec) (p builtins.Prompt, err error) {
	return p, h.ask(callPrompt, spec, &p)
}

// Stream asks the parent to run prompts.
func (h *remote) Stream(_ context.Context, spec builtins.StreamSpec) (b builtins.Batch, err error) {
	return b, h.ask(callStream, spec, &b)
}

// CacheStats asks the parent for the cache's counters.
func (h *remote) CacheStats(context.Context) (c *builtins.CacheStats, err error) {
	return c, h.ask(callCacheStats, nil, &c)
}

// Fingerprint asks the parent for the machine's description.
func (h *remote) Fingerprint(context.Context) (f json.RawMessage, err error) {
	return f, h.ask(callFingerprint, nil, &f)
}

// Elapsed asks the parent's clock. Should the pipe be broken, the process is about to end.
func (h *remote) Elapsed() (d time.Duration) {
	_ = h.ask(callElapsed, nil, &d)
	return d
}

// Record gives the parent a value.
func (h *remote) Record(metric string, value float64) error {
	if math.IsNaN(value) || math.IsInf(value, 0) { // JSON has no such number; builtins lets none through
		return fmt.Errorf("%v is no finite number", value)
	}
	return h.ask(callRecord, recorded{metric, value}, nil)
}

// Log gives the parent a line.
func (h *remote) Log(line string) {
	if b, err := json.Marshal(line); err == nil {
		_ = writeFrame(h.out, fromWorker{Call: callLog, Args: b})
	}
}
