package sandbox

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// LimitError says which limit of a worker a program came up against.
type LimitError struct {
	Limit  string // "memory", "stack", "time", "processor time", "calls" or "message size"
	Detail string
}

// Error names the limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("stopped at the %s limit of the sandbox: %s", e.Limit, e.Detail)
}

// verdict says why a worker died: from how it ended and from what it wrote in the end. It never repeats a Go stack.
func (w *worker) verdict(ended, broken error) error {
	said := w.stderr.String()
	has := func(words ...string) bool {
		for _, word := range words {
			if strings.Contains(said, word) {
				return true
			}
		}
		return false
	}
	switch {
	case w.over.seen(), has("out of memory", "cannot allocate memory", "failed to reserve", "failed to allocate", "newosproc", "pthread_create failed"):
		return &LimitError{"memory", fmt.Sprintf("it wanted more than %d MiB", maxMemory>>20)}
	case strings.HasPrefix(strings.TrimSpace(said), "SIGSEGV: "), has("unexpected signal during runtime execution"):
		// Programs have no pointers: it is the runtime that got no memory where it can't say so.
		return &LimitError{"memory", fmt.Sprintf("its worker could get no more within %d MiB", maxMemory>>20)}
	case has("stack overflow", "stack exceeds"):
		return &LimitError{"stack", "something in it nests too deeply"}
	case killedForCPU(ended):
		return &LimitError{"processor time", fmt.Sprintf("it computed for more than %d s in one pass", maxCPU)}
	}
	how := "ended without a result"
	if mostMemory(ended) > maxMemory/2 { // the runtime does not always find the words any more
		return &LimitError{"memory", fmt.Sprintf("it wanted more than %d MiB", maxMemory>>20)}
	}
	var exit *exec.ExitError
	if errors.As(ended, &exit) {
		how = exit.String()
	}
	if line, _, _ := strings.Cut(strings.TrimSpace(said), "\n"); line != "" {
		how += ": " + line
	}
	return fmt.Errorf("the worker that it ran in died (%s; %w)", how, broken)
}
