//go:build unix

package hw

import (
	"bufio"
	"context"
	"errors"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A real process is followed line by line as it prints, and is gone when the watch has ended.
func TestFollowARealProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, err := Machine{}.source().follow(ctx, "env", "sh", "-c", "echo $$; echo two; exec sleep 100")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	scan := bufio.NewScanner(out)
	if !scan.Scan() {
		t.Fatal("no line")
	}
	pid, err := strconv.Atoi(scan.Text())
	if err != nil {
		t.Fatal(err)
	}
	if !scan.Scan() || scan.Text() != "two" {
		t.Fatalf("got %q", scan.Text())
	}
	began := time.Now()
	cancel()
	if scan.Scan() {
		t.Errorf("got %q", scan.Text())
	}
	for end := time.Now().Add(5 * time.Second); !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the process still runs")
		}
	}
	t.Logf("gone after %s", time.Since(began))
	if _, err := (Machine{}).source().follow(t.Context(), "no-such-tool-here"); !errors.Is(err, errNoTool) {
		t.Errorf("a tool that is not there: %v", err)
	}
}
