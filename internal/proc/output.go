package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// maxOutput bounds what Output keeps, in bytes.
const maxOutput = 1 << 20

// Output runs a short command and gives what it printed, stdout and stderr together, at most 1 MiB. With an error the text
// is what had come. The command, and what it started, ends with ctx.
func Output(ctx context.Context, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { killGroup(cmd.Process.Pid, cmd.Process); return nil }
	cmd.WaitDelay = 250 * time.Millisecond // a child that the command leaves behind may hold the pipe for ever
	var out bounded
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = lateError{filepath.Base(path)}
	case ctx.Err() != nil:
		err = fmt.Errorf("run %s: %w", filepath.Base(path), context.Cause(ctx))
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil
	case err != nil:
		err = fmt.Errorf("run %s: %w", filepath.Base(path), err)
	}
	return out.String(), err
}

// lateError is a context.DeadlineExceeded in plain words.
type lateError struct{ tool string }

func (e lateError) Error() string { return e.tool + " gave no answer in time" }
func (lateError) Unwrap() error   { return context.DeadlineExceeded }

// bounded keeps the first maxOutput bytes. Two copiers may write to it.
type bounded struct {
	mu sync.Mutex
	b  strings.Builder
}

func (w *bounded) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b.Write(p[:min(len(p), maxOutput-w.b.Len())])
	return len(p), nil
}

func (w *bounded) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// Find looks for an executable in the folders of a PATH list, as the value is given; "" where there is none.
func Find(name, pathList string) string {
	for _, dir := range filepath.SplitList(pathList) {
		if dir == "" || !filepath.IsAbs(dir) {
			continue // the current folder is no place to run things from
		}
		if p := filepath.Join(dir, name); Executable(p) {
			return p
		}
		if runtime.GOOS == "windows" {
			if p := filepath.Join(dir, name+".exe"); Executable(p) {
				return p
			}
		}
	}
	return ""
}

// Executable reports whether path is a file that can be run.
func Executable(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	return runtime.GOOS == "windows" || info.Mode()&0o111 != 0
}
