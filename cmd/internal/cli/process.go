package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"

	"golang.org/x/term"

	"github.com/llm-speed/llm-speed/internal/hw"
)

// Process is all that the commands touch of the process they run in. Tests make one in memory; nothing else in this
// package uses package os.
type Process struct {
	Args           []string // without the program's name
	Env            func(string) string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	OutTTY, ErrTTY bool          // whether the streams are terminals
	Width          func() int    // columns of the terminal; 0 where there is none
	Home           func() string // the user's home folder; empty where it can't be told
	Executable     func() (string, error)
	Build          func() (*debug.BuildInfo, bool)
	Signals        func(chan<- os.Signal) (stop func()) // subscribes to interrupt, termination and hang-up
	Exit           func(int)                            // ends the process at once
	LimitMemory    func(bytes int64)
	Machine        hw.Machine // this one, where it is the zero value
}

// OS is the real process.
func OS() *Process {
	return &Process{
		Args: os.Args[1:], Env: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		OutTTY: term.IsTerminal(int(os.Stdout.Fd())), ErrTTY: term.IsTerminal(int(os.Stderr.Fd())),
		Width: func() int {
			for _, f := range []*os.File{os.Stdout, os.Stderr} {
				if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
					return w
				}
			}
			return 0
		},
		Home: func() string {
			home, _ := os.UserHomeDir() // empty where there is none, which is what Home says
			return home
		},
		Executable: os.Executable, Build: debug.ReadBuildInfo, Exit: os.Exit,
		Signals: func(c chan<- os.Signal) func() {
			signal.Notify(c, endings()...)
			return func() { signal.Stop(c) }
		},
		LimitMemory: func(n int64) { debug.SetMemoryLimit(n) },
	}
}

// errInterrupted is the cause of a context that a signal has ended.
var errInterrupted = errors.New("interrupted")

// interruptible gives a context that the first signal ends; told is called then. The second signal ends the process.
func (p *Process) interruptible(ctx context.Context, told func()) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 4)
	stop := p.Signals(signals)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-signals:
				if n > 0 {
					p.Exit(exitInterrupted)
				}
				told()
				cancel(errInterrupted)
			}
		}
	}()
	return ctx, func() {
		stop()
		close(done)
		cancel(nil)
	}
}

// outFile is a file that a result will be written to. It was opened before the run, so that a path that can't be written
// is found out before and not after.
type outFile struct {
	path  string
	fresh bool // it did not exist
}

// prepareFile checks that path can be written; an existing file is left as it is.
func prepareFile(path string) (*outFile, error) {
	_, err := os.Stat(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return &outFile{path, fresh}, f.Close()
}

// write replaces what is in the file: the old content or the new is there at any moment, also with a full disk. A pipe or a
// device is written to as it is, and so is a file in a folder where no other can be made.
func (o *outFile) write(text []byte) error {
	if info, err := os.Stat(o.path); err == nil && info.Mode().IsRegular() {
		path, err := filepath.EvalSymlinks(o.path)
		if err == nil {
			_, err = writeWhole(path, func(w io.Writer) error {
				_, err := w.Write(text)
				return err
			})
		}
		if !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return os.WriteFile(o.path, text, 0o644)
}

// drop removes the file if it was made by prepareFile and nothing was written to it.
func (o *outFile) drop() {
	if info, err := os.Stat(o.path); err == nil && o.fresh && info.Size() == 0 {
		_ = os.Remove(o.path)
	}
}

// createFile makes a file to write to from the start.
func createFile(path string) (io.WriteCloser, error) { return os.Create(path) }

// isDir reports whether path is a folder.
func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// exists reports whether there is anything at path.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// dirFS gives the files of a folder.
func dirFS(path string) fs.FS { return os.DirFS(path) }

// absolute is path from the root; itself where that can't be told.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// ownDigest is the sha256 of the running executable in hex; empty where it can't be read.
func (p *Process) ownDigest() string {
	path, err := p.Executable()
	if err != nil {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// outf and errf write a formatted text; a stream that is closed is nobody's loss but the reader's.
func (p *Process) outf(format string, args ...any) { _, _ = fmt.Fprintf(p.Stdout, format, args...) }
func (p *Process) errf(format string, args ...any) { _, _ = fmt.Fprintf(p.Stderr, format, args...) }
