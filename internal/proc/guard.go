package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// noteMark begins a note of the guard to its parent; no line of text has it.
const noteMark = "\x1ellm-speed-guard "

// relayStdin as a guard's first argument makes it pass its stdin on to the child.
const relayStdin = "--relay-stdin"

// guardGrace is how long a guard lets its child end by itself.
const guardGrace = 2 * time.Second

// Guard is the body of the hidden command that Options.Guard names: it runs args in a process group of its own until the
// child ends or stdin does, and gives the exit status. A killed parent can end nothing, but the system closes its pipes:
// the end of stdin is how the guard learns of it. stdout and stderr are inherited, so that no relay delays them.
func Guard(stdin io.Reader, args []string) int {
	relay := len(args) > 0 && args[0] == relayStdin
	if relay {
		args = args[1:]
	}
	if len(args) == 0 {
		note("error", "no command to guard")
		return 127
	}
	// The parent's Ctrl-C is the parent's to answer: it sends TERM, or goes, and stdin ends.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)

	runtime.LockOSThread() // the child dies with the thread that started it
	defer runtime.UnlockOSThread()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr //nolint:forbidigo // the guard process is nothing but its child's shell
	cmd.SysProcAttr = dieWithParent(ownGroup())
	var childIn io.WriteCloser
	if relay {
		in, err := cmd.StdinPipe()
		if err != nil {
			note("error", err.Error())
			return 127
		}
		childIn = in
	}
	if err := cmd.Start(); err != nil {
		note("error", err.Error())
		return 127
	}
	note("pid", fmt.Sprint(cmd.Process.Pid))

	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if relay {
			_, err := io.Copy(childIn, stdin)
			_ = childIn.Close()
			if err == nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, stdin)
	}()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			killGroup(cmd.Process.Pid, nil) // what the child left behind
			return report(err)
		case <-signals:
			terminate(cmd.Process.Pid, cmd.Process)
		case <-gone:
			if relay { // the child has seen the end of its stdin too, and may be about to finish
				select {
				case err := <-ended:
					killGroup(cmd.Process.Pid, nil)
					return report(err)
				case <-time.After(guardGrace):
				}
			}
			terminate(cmd.Process.Pid, cmd.Process)
			select {
			case err := <-ended:
				killGroup(cmd.Process.Pid, nil)
				return report(err)
			case <-time.After(guardGrace):
			}
			killGroup(cmd.Process.Pid, cmd.Process)
			return report(<-ended)
		}
	}
}

// report tells the parent how the child ended; an empty text is exit status 0.
func report(err error) int {
	if err == nil {
		note("exit", "")
		return 0
	}
	note("exit", err.Error())
	var e *exec.ExitError
	if errors.As(err, &e) && e.ExitCode() > 0 {
		return e.ExitCode()
	}
	return 1
}

// note writes a line to the parent; when the parent is gone it is lost, and that is fine.
func note(name, text string) {
	_, _ = fmt.Fprintf(os.Stderr, "%s%s %s\n", noteMark, name, text) //nolint:forbidigo // the line to its parent
}
