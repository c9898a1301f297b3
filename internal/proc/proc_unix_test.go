//go:build unix

package proc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleEnv makes the test binary play one of the parts below instead of running tests.
const roleEnv = "LLM_SPEED_PROC_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "":
		os.Exit(m.Run())
	case "talk": // prints, and ends with the status of its first argument
		fmt.Println("out one")
		fmt.Fprintln(os.Stderr, "err one")
		fmt.Print("half")
		code, _ := strconv.Atoi(os.Args[1])
		os.Exit(code)
	case "serve": // runs until it is asked to end
		s := make(chan os.Signal, 1)
		signal.Notify(s, syscall.SIGTERM)
		fmt.Println("serving", os.Getpid())
		<-s
		fmt.Println("asked to end")
		os.Exit(0)
	case "stubborn": // does not end when asked
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("serving", os.Getpid())
		time.Sleep(time.Minute)
	case "echo": // answers each line, ends with stdin
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			fmt.Println("echo", in.Text())
		}
		fmt.Fprintln(os.Stderr, "stdin ended")
	case "flood":
		for i := range 100_000 {
			fmt.Println("line", i)
		}
		fmt.Println(strings.Repeat("x", 1<<20))
	case "parent": // starts a stubborn child and waits to be killed
		var guard []string
		if os.Args[1] == "guarded" {
			guard = guardCommand()
		}
		_ = os.Setenv(roleEnv, "stubborn")
		p, err := Start(context.Background(), Options{Path: os.Args[0], Guard: guard})
		if err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		fmt.Println("child", p.PID)
		time.Sleep(time.Minute)
	}
	if len(os.Args) > 1 && os.Args[1] == "internal-guard" {
		os.Exit(Guard(os.Stdin, os.Args[2:]))
	}
}

// guardCommand is this binary as a guard. The child inherits the role, the guard must not play it.
func guardCommand() []string {
	return []string{"/usr/bin/env", roleEnv + "=guard", os.Args[0], "internal-guard"}
}

// as gives the options of this binary in a part, behind a guard or not.
func as(t *testing.T, role string, guarded bool, args ...string) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Path: self, Args: args, Env: append(os.Environ(), roleEnv+"="+role)}
	if guarded {
		// The guard runs under its own role and gives the child the other one.
		o.Guard = []string{self, "internal-guard"}
		o.Env = append(os.Environ(), roleEnv+"=guard")
		o.Path, o.Args = "/usr/bin/env", append([]string{roleEnv + "=" + role, self}, args...)
	}
	return o
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // a zombie that its init has not collected yet is dead
	return err != nil || !strings.Contains(string(b), ") Z ")
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d is still there", pid)
		}
	}
}

func eachWay(t *testing.T, f func(t *testing.T, guarded bool)) {
	t.Helper()
	t.Run("direct", func(t *testing.T) { f(t, false) })
	t.Run("guarded", func(t *testing.T) { f(t, true) })
}

func TestEndAndTail(t *testing.T) {
	eachWay(t, func(t *testing.T, guarded bool) {
		for code, want := range map[string]string{"0": "<nil>", "3": "exit status 3"} {
			p, err := Start(t.Context(), as(t, "talk", guarded, code))
			if err != nil {
				t.Fatal(err)
			}
			<-p.Done()
			if got := fmt.Sprint(p.Err()); got != want {
				t.Errorf("ended with %q, want %q", got, want)
			}
			got := strings.Join(p.Tail(), "|")
			for _, line := range []string{"out one", "err one", "half"} {
				if !strings.Contains("|"+got+"|", "|"+line+"|") {
					t.Errorf("tail %q lacks %q", got, line)
				}
			}
			if strings.Contains(got, "guard") {
				t.Errorf("a guard's note is in the tail: %q", got)
			}
		}
	})
}

// TestAdd adds to the environment that a child would have had anyway, behind a guard too.
func TestAdd(t *testing.T) {
	for _, guard := range [][]string{nil, guardCommand()} {
		p, err := Start(t.Context(), Options{Path: "/usr/bin/env", Guard: guard, Add: []string{"LLM_SPEED_ADDED=1", roleEnv + "=none"}})
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		if out := strings.Join(p.Tail(), "\n"); !strings.Contains(out, "LLM_SPEED_ADDED=1") || !strings.Contains(out, "PATH=") {
			t.Errorf("guard %q: the child's environment is %s", guard, out)
		}
	}
}

func TestStop(t *testing.T) {
	for _, c := range []struct {
		role, said string
	}{{"serve", "asked to end"}, {"stubborn", ""}} {
		t.Run(c.role, func(t *testing.T) {
			eachWay(t, func(t *testing.T, guarded bool) {
				p, err := Start(t.Context(), as(t, c.role, guarded))
				if err != nil {
					t.Fatal(err)
				}
				line, err := p.FirstLine(t.Context(), func(s string) bool { return strings.HasPrefix(s, "serving") })
				if err != nil {
					t.Fatal(err)
				}
				if line != fmt.Sprint("serving ", p.PID) {
					t.Errorf("PID is %d, and the child says %q", p.PID, line)
				}
				p.Stop(500 * time.Millisecond)
				if alive(p.PID) {
					t.Errorf("process %d is still there", p.PID)
				}
				if tail := strings.Join(p.Tail(), "|"); !strings.Contains(tail, c.said) {
					t.Errorf("tail %q lacks %q", tail, c.said)
				}
				p.Stop(time.Second) // twice is allowed
			})
		})
	}
}

func TestContextEndsChild(t *testing.T) {
	eachWay(t, func(t *testing.T, guarded bool) {
		ctx, cancel := context.WithCancel(t.Context())
		p, err := Start(ctx, as(t, "serve", guarded))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-p.Done()
		waitGone(t, p.PID)
	})
}

// TestParentKilled is the point of this package: a killed parent leaves no child.
func TestParentKilled(t *testing.T) {
	for _, way := range []string{"direct", "guarded"} {
		t.Run(way, func(t *testing.T) {
			if way == "direct" && runtime.GOOS != "linux" {
				t.Skip("without a guard only Linux ends the child")
			}
			parent, err := Start(t.Context(), as(t, "parent", false, way))
			if err != nil {
				t.Fatal(err)
			}
			line, err := parent.FirstLine(t.Context(), func(s string) bool { return strings.HasPrefix(s, "child ") })
			if err != nil {
				t.Fatal(err, parent.Tail())
			}
			child, err := strconv.Atoi(strings.TrimPrefix(line, "child "))
			if err != nil || !alive(child) {
				t.Fatalf("no child: %q", line)
			}
			// Only the parent itself, not its group.
			if err := syscall.Kill(parent.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			<-parent.Done()
			waitGone(t, child)
		})
	}
}

func TestPipes(t *testing.T) {
	eachWay(t, func(t *testing.T, guarded bool) {
		o := as(t, "echo", guarded)
		o.Pipes = true
		p, err := Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintln(p.Stdin, "hello")
		_ = p.Stdin.Close()
		b, err := io.ReadAll(p.Stdout)
		if err != nil || string(b) != "echo hello\n" {
			t.Errorf("read %q, %v", b, err)
		}
		<-p.Done()
		if tail := strings.Join(p.Tail(), "|"); tail != "stdin ended" || p.Err() != nil {
			t.Errorf("tail %q, end %v", tail, p.Err())
		}
	})
}

func TestTailIsBounded(t *testing.T) {
	o := as(t, "flood", false)
	o.TailLines = 10
	p, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	tail := p.Tail()
	if len(tail) != 10 || tail[8] != "line 99999" || len(tail[9]) != maxLine {
		t.Errorf("%d lines, then %q and %d bytes", len(tail), tail[max(0, len(tail)-2)], len(tail[len(tail)-1]))
	}
}

func TestFirstLineFails(t *testing.T) {
	p, err := Start(t.Context(), as(t, "talk", false, "3"))
	if err != nil {
		t.Fatal(err)
	}
	never := func(string) bool { return false }
	if _, err := p.FirstLine(t.Context(), never); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
	q, err := Start(t.Context(), as(t, "serve", false))
	if err != nil {
		t.Fatal(err)
	}
	defer q.Stop(time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := q.FirstLine(ctx, never); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestStartFails(t *testing.T) {
	eachWay(t, func(t *testing.T, guarded bool) {
		plain := filepath.Join(t.TempDir(), "plain")
		if err := os.WriteFile(plain, []byte("not a program"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{plain, plain + "-missing"} {
			o := as(t, "talk", guarded)
			o.Path = path
			p, err := Start(t.Context(), o)
			if err == nil {
				p.Stop(0)
				t.Errorf("%s started", path)
			} else if !strings.Contains(err.Error(), path) {
				t.Errorf("%v does not say what was tried", err)
			}
		}
	})
}

func TestOutput(t *testing.T) {
	for _, c := range []struct {
		script, want, fails string
	}{
		{"echo out; echo err >&2", "out\nerr\n", ""},
		{"echo some; exit 2", "some\n", "exit status 2"},
		{"echo early; sleep 30", "early\n", "sh gave no answer in time"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		got, err := Output(ctx, "/bin/sh", "-c", c.script)
		cancel()
		if got != c.want || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%q gives %q, %v", c.script, got, err)
		}
		if late := strings.Contains(c.script, "sleep"); errors.Is(err, context.DeadlineExceeded) != late {
			t.Errorf("%q: %v is late: %t", c.script, err, !late)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"runs": 0o755, "data": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	list := "relative" + string(os.PathListSeparator) + dir
	if got := Find("runs", list); got != filepath.Join(dir, "runs") {
		t.Errorf("found %q", got)
	}
	if got := Find("data", list); got != "" {
		t.Errorf("found %q, which can't be run", got)
	}
}
