// Package proc starts child processes and ends them: servers that a driver starts, and short look-ups such as --version.
//
// A child never outlives this process, however that ends: see Guard. Packages proc and sandbox are the only ones that start
// processes. Nothing here interprets what a child prints, restarts it, or passes it secrets.
package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say what to start.
type Options struct {
	Path  string   // executable, absolute or as exec.LookPath takes it
	Args  []string // without the program's name
	Env   []string // KEY=VALUE; nil is this process's environment
	Add   []string // KEY=VALUE that is added to Env
	Dir   string   // working directory; empty is this process's
	Guard []string // command prefix whose body is proc.Guard; empty starts the program directly

	TailLines int  // output lines kept for Tail; 0 is 200
	Pipes     bool // Process.Stdin and Process.Stdout are pipes to the child, and only its stderr is kept for Tail
}

// How long a child may take to end by itself when the context of Start ends, and a guard to say that it started.
const (
	defaultGrace = 3 * time.Second
	guardStarts  = 20 * time.Second
)

// Process is a started child. Its methods may be called from several goroutines.
type Process struct {
	PID    int            // of the real program, also behind a guard
	Stdin  io.WriteCloser // only with Options.Pipes
	Stdout io.ReadCloser  // only with Options.Pipes; read it to its end

	cmd     *exec.Cmd
	guarded bool
	hold    io.Closer // the pipe whose end tells the guard that we are gone
	out     *tail
	done    chan struct{}
	err     error // valid once done is closed
	stop    sync.Once
}

// Start starts a program. When ctx ends, so does the program. The error says what was tried.
func Start(ctx context.Context, o Options) (*Process, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	path, err := exec.LookPath(o.Path)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Path, errors.Unwrap(err))
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	p := &Process{guarded: len(o.Guard) > 0, out: newTail(o.TailLines), done: make(chan struct{})}
	if p.guarded {
		args := append([]string{}, o.Guard[1:]...)
		if o.Pipes {
			args = append(args, relayStdin)
		}
		p.cmd = exec.Command(o.Guard[0], append(append(args, path), o.Args...)...)
		p.cmd.SysProcAttr = ownGroup()
	} else {
		p.cmd = exec.Command(path, o.Args...)
		p.cmd.SysProcAttr = dieWithParent(ownGroup())
	}
	p.cmd.Env, p.cmd.Dir = o.Env, o.Dir
	if len(o.Add) > 0 {
		p.cmd.Env = append(p.cmd.Environ(), o.Add...) // of two of one name the last counts
	}
	p.cmd.WaitDelay = 2 * time.Second // a grandchild that holds the pipes does not hold us
	var ours, theirs *os.File
	if err := p.connect(o, &ours, &theirs); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Path, err)
	}
	started := make(chan error)
	go p.run(started, theirs)
	if err := <-started; err != nil {
		closeAll(p.Stdin, p.hold, ours, theirs)
		return nil, fmt.Errorf("start %s: %w", o.Path, err)
	}
	p.PID = p.cmd.Process.Pid
	if p.guarded {
		if err := p.awaitGuard(ctx); err != nil {
			p.Stop(0)
			return nil, fmt.Errorf("start %s: %w", o.Path, err)
		}
	}
	go func() {
		select {
		case <-ctx.Done():
			p.Stop(defaultGrace)
		case <-p.done:
		}
	}()
	return p, nil
}

// connect lays the pipes: output to the tail, and, where asked for, stdin and stdout to the caller.
func (p *Process) connect(o Options, ours, theirs **os.File) error {
	p.cmd.Stderr = p.out.stream()
	if p.guarded || o.Pipes {
		in, err := p.cmd.StdinPipe()
		if err != nil {
			return err
		}
		p.hold = in
		if o.Pipes {
			p.Stdin = in
		}
	}
	if !o.Pipes {
		p.cmd.Stdout = p.out.stream()
		return nil
	}
	// Not StdoutPipe: Wait would close it under a reader that has not finished.
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	p.cmd.Stdout, p.Stdout, *ours, *theirs = w, r, r, w
	return nil
}

func closeAll(cs ...io.Closer) {
	for _, c := range cs {
		switch f := c.(type) {
		case nil:
		case *os.File:
			if f != nil {
				_ = f.Close()
			}
		default:
			_ = c.Close()
		}
	}
}

// run starts the child and waits for it, on one thread: Linux ends a child with the thread that started it.
func (p *Process) run(started chan<- error, theirs *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	if theirs != nil {
		_ = theirs.Close()
	}
	started <- err
	if err != nil {
		return
	}
	err = p.cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	p.out.flush()
	if said, ok := p.out.control("exit"); ok { // the guard knows better than its own status
		err = nil
		if said != "" {
			err = errors.New(said)
		}
	}
	p.err = err
	close(p.done)
}

// awaitGuard waits until the guard has started the program or says why it could not.
func (p *Process) awaitGuard(ctx context.Context) error {
	timeout := time.NewTimer(guardStarts)
	defer timeout.Stop()
	for {
		changed := p.out.changed()
		if pid, ok := p.out.control("pid"); ok {
			n, err := strconv.Atoi(pid)
			if err != nil || n <= 0 {
				return fmt.Errorf("the guard names the process %q", pid)
			}
			p.PID = n
			return nil
		}
		if why, ok := p.out.control("error"); ok {
			return errors.New(why)
		}
		select {
		case <-changed:
		case <-p.done:
			return fmt.Errorf("the guard process ended at once (%w): %s", orNormal(p.err), strings.Join(p.Tail(), " / "))
		case <-timeout.C:
			return fmt.Errorf("the guard process did not start it within %s", guardStarts)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Tail is the last lines that the child printed, stdout and stderr together, oldest first.
func (p *Process) Tail() []string { return p.out.lines() }

// FirstLine waits for a line that matches, among those still kept and those to come, and gives it. It fails when the child
// ends first, or ctx does.
func (p *Process) FirstLine(ctx context.Context, match func(string) bool) (string, error) {
	next := 0
	for {
		changed := p.out.changed()
		ended := p.ended() // before the lines are looked at: what was printed before the end counts
		var line string
		var found bool
		if line, next, found = p.out.find(next, match); found {
			return line, nil
		}
		if ended {
			return "", fmt.Errorf("the process ended (%w) before the line came", orNormal(p.err))
		}
		select {
		case <-changed:
		case <-p.done:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

var errNormal = errors.New("exit status 0")

func orNormal(err error) error {
	if err == nil {
		return errNormal
	}
	return err
}

func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Done is closed when the child has ended and its output is read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the child ended: nil for exit status 0, and while it runs.
func (p *Process) Err() error {
	if !p.ended() {
		return nil
	}
	return p.err
}

// Stop asks the child and what it started to end, waits up to grace, then kills them, and returns when the child is gone.
// Stopping twice is allowed. On Windows nobody is asked.
func (p *Process) Stop(grace time.Duration) {
	p.stop.Do(func() { p.end(grace) })
	<-p.done
}

func (p *Process) end(grace time.Duration) {
	if grace > 0 && canAsk && !p.ended() {
		terminate(p.cmd.Process.Pid, p.cmd.Process) // a guard passes it on
		if p.within(grace) {
			return
		}
	}
	if p.guarded {
		if p.PID != p.cmd.Process.Pid && !p.ended() {
			killGroup(p.PID, nil)
		}
		_ = p.hold.Close()
		if p.within(guardGrace + time.Second) {
			return
		}
	}
	if !p.ended() {
		killGroup(p.cmd.Process.Pid, p.cmd.Process)
	}
}

func (p *Process) within(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-t.C:
		return false
	}
}
