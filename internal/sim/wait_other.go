//go:build !linux

package sim

import "time"

// waiter sleeps until a moment or until it is woken.
type waiter struct{ woken chan struct{} }

func newWaiter() (*waiter, error) { return &waiter{make(chan struct{}, 1)}, nil }

func (w *waiter) own() {}

// wake ends the wait in progress, or the next one.
func (w *waiter) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// wait sleeps for d, or for ever where d is negative.
func (w *waiter) wait(d time.Duration) {
	if d < 0 {
		<-w.woken
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.woken:
	case <-t.C:
	}
}

func (w *waiter) close() {}
