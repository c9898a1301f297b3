package pyhelper

import (
	"bytes"
	"context"
	_ "embed" // the protocol's Python half
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/proc"
)

//go:embed bootstrap.py
var bootstrap string

//go:embed llm_speed_helper.py
var protocolSource string

// How long a helper may take to say hello, and to end when its session closes.
const (
	helloTime = 30 * time.Second
	stopGrace = 2 * time.Second
)

// Script is a backend's Python half: a module that imports llm_speed_helper and serves at once.
type Script struct {
	Backend string // its name in the hello line; also the script's last argument
	Source  string
}

// Options say how to start a helper.
type Options struct {
	Python string // interpreter
	Script Script
	Guard  []string // drivers.Config.Guard
	Clock  *clock.Clock
	Log    func(format string, args ...any)
}

// Helper is a running helper process. Its methods may be called from several goroutines.
type Helper struct {
	python  string // version of the interpreter
	backend string
	clock   *clock.Clock
	log     func(format string, args ...any)
	proc    *proc.Process
	offset  Offset

	writes sync.Mutex // one line at a time

	mu      sync.Mutex
	next    int64
	calls   map[int64]chan answer
	streams map[int64]*inflight
	freed   chan struct{} // closed when a stream that was given up has ended
	why     error         // why the helper is of no more use
	gone    chan struct{} // closed with why
	greeted chan hello
	closing bool
	read    chan struct{} // closed when the reader has ended
}

// Start starts a helper and waits for its hello. Errors: ErrServerDied with what the helper printed, ErrTimeout, ErrProtocol.
func Start(ctx context.Context, o Options) (*Helper, error) {
	sources := []struct{ name, text string }{{"llm_speed_helper", protocolSource}, {"llm_speed_driver", o.Script.Source}}
	args := []string{"-u", "-c", bootstrap}
	var source bytes.Buffer
	for _, s := range sources {
		args = append(args, s.name+":"+strconv.Itoa(len(s.text)))
		source.WriteString(s.text)
	}
	args = append(args, o.Script.Backend)
	// The helper lives as long as the session, not as long as the context of Open.
	p, err := proc.Start(context.WithoutCancel(ctx), proc.Options{Path: o.Python, Args: args, Guard: o.Guard, Pipes: true})
	if err != nil {
		return nil, err
	}
	log := o.Log
	if log == nil {
		log = func(string, ...any) {}
	}
	h := &Helper{backend: o.Script.Backend, clock: o.Clock, log: log, proc: p, calls: map[int64]chan answer{}, streams: map[int64]*inflight{},
		freed: make(chan struct{}), gone: make(chan struct{}), greeted: make(chan hello, 1), read: make(chan struct{})}
	go h.receive()
	if err := h.greet(ctx, source.Bytes()); err != nil {
		_ = h.Close()
		return nil, err
	}
	return h, nil
}

// greet hands the sources over, waits for the hello line and compares the clocks.
func (h *Helper) greet(ctx context.Context, source []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, helloTime, fmt.Errorf("%w: the Python helper did not say hello within %s", drivers.ErrTimeout, helloTime))
	defer cancel()
	if err := h.send(ctx, source); err != nil {
		return err
	}
	select {
	case first := <-h.greeted:
		h.python = first.Python
	case <-h.gone:
		return h.why
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var err error
	h.offset, err = h.compare(ctx)
	return err
}

// Python is the interpreter's version.
func (h *Helper) Python() string { return h.python }

// Offset is how the helper's clock stands to the run's.
func (h *Helper) Offset() Offset { return h.offset }

// Log is the last lines that the helper printed.
func (h *Helper) Log() []string { return h.proc.Tail() }

// Alive reports whether the helper still serves; the error says why not.
func (h *Helper) Alive() error {
	select {
	case <-h.gone:
		return h.why
	default:
		return nil
	}
}

// errClosed is the state of a helper whose session was closed.
var errClosed = errors.New("the session is closed")

// Close ends the helper. Closing twice is allowed.
func (h *Helper) Close() error {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	h.fail(errClosed)
	_ = h.proc.Stdin.Close() // a helper that is idle ends by itself
	select {
	case <-h.proc.Done():
	case <-time.After(stopGrace):
	}
	h.proc.Stop(stopGrace)
	_ = h.proc.Stdout.Close() // wakes the reader, should a child of the helper hold the other end
	<-h.read
	return nil
}

// fail marks the helper as of no more use; the first reason stays. What waits for it wakes.
func (h *Helper) fail(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.why == nil {
		h.why = why
		close(h.gone)
	}
}

// end fails the helper and kills it: it is blocked, or writes what can't be understood.
func (h *Helper) end(why error) {
	h.fail(why)
	go h.proc.Stop(0)
}

// died says how a helper ended and what it printed last.
func (h *Helper) died() error {
	select {
	case <-h.proc.Done():
	case <-time.After(2 * time.Second): // it closed its pipe and lives on
		return fmt.Errorf("%w: the Python helper for %s closed its pipe; its log: %s", drivers.ErrServerDied, h.backend, lastLines(h.proc.Tail(), 3))
	}
	how := "exit status 0"
	if err := h.proc.Err(); err != nil {
		how = err.Error()
	}
	return fmt.Errorf("%w: the Python helper for %s (%s); its log: %s", drivers.ErrServerDied, h.backend, how, lastLines(h.proc.Tail(), 3))
}

// lastLines joins the last n lines that say anything, each cut to a sensible length.
func lastLines(lines []string, n int) string {
	var kept []string
	for _, l := range lines {
		if l = strings.TrimSpace(l); l == "" {
			continue
		}
		if len(l) > 200 {
			l = strings.ToValidUTF8(l[:200], "") + "…"
		}
		kept = append(kept, l)
	}
	if len(kept) == 0 {
		return "nothing"
	}
	return strings.Join(kept[max(0, len(kept)-n):], " | ")
}
