package sim

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// waiter sleeps until a moment or until it is woken. Go's own timers wake up to a millisecond late on Linux, so this one
// waits in ppoll, on a thread of its own whose timer slack is a nanosecond.
type waiter struct{ fd int }

func newWaiter() (*waiter, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("simulator: eventfd: %w", err)
	}
	return &waiter{fd}, nil
}

// own binds the calling goroutine to its thread, for good: the thread ends with it and the slack with the thread.
func (w *waiter) own() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // 50 µs late instead where this is refused
}

// wake ends the wait in progress, or the next one.
func (w *waiter) wake() {
	_, _ = unix.Write(w.fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// wait sleeps for d, or for ever where d is negative.
func (w *waiter) wait(d time.Duration) {
	var ts *unix.Timespec
	if d >= 0 {
		t := unix.NsecToTimespec(int64(d))
		ts = &t
	}
	fds := [1]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
	if n, _ := unix.Ppoll(fds[:], ts, nil); n > 0 {
		var b [8]byte
		_, _ = unix.Read(w.fd, b[:])
	}
}

func (w *waiter) close() { _ = unix.Close(w.fd) }
