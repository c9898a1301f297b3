package pyhelper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
)

// request is one line to a helper.
type request struct {
	Op   string `json:"op"`
	ID   int64  `json:"id"`
	Args any    `json:"args,omitempty"`
}

// answer is a message with the stamp of the read that brought it.
type answer struct {
	message
	at time.Duration
}

// Call asks the helper something outside a timed interval and decodes its answer into out, unless that is nil. within bounds
// it; a helper that does not answer by then is blocked, is ended, and every later call fails.
func (h *Helper) Call(ctx context.Context, op string, args, out any, within time.Duration) error {
	m, err := h.call(ctx, h.number(), op, args, within)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(m.OK, out); err != nil {
		return fmt.Errorf("%w: the helper's answer to %s: %w", drivers.ErrProtocol, op, err)
	}
	return nil
}

// number gives the next request its id.
func (h *Helper) number() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	return h.next
}

func (h *Helper) call(ctx context.Context, id int64, op string, args any, within time.Duration) (message, error) {
	if err := h.Alive(); err != nil {
		return message{}, err
	}
	line, err := json.Marshal(request{op, id, args})
	if err != nil {
		return message{}, fmt.Errorf("encode request: %w", err)
	}
	got := make(chan answer, 1)
	h.mu.Lock()
	h.calls[id] = got
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.calls, id)
		h.mu.Unlock()
	}()
	blocked := fmt.Errorf("%w: the Python helper did not answer %s within %s; it was ended; its log: ", drivers.ErrTimeout, op, within)
	wait, cancel := context.WithTimeoutCause(ctx, within, blocked)
	defer cancel()
	if err = h.send(wait, append(line, '\n')); err == nil {
		select {
		case a := <-got:
			if a.Error != nil {
				return a.message, a.Error.err()
			}
			return a.message, nil
		case <-h.gone:
			return message{}, h.why
		case <-wait.Done():
			err = context.Cause(wait)
		}
	}
	if errors.Is(err, blocked) && ctx.Err() == nil {
		err = fmt.Errorf("%w%s", err, lastLines(h.proc.Tail(), 2))
		h.end(err)
	}
	return message{}, err
}

// send writes to the helper, outside a timed interval. A helper that takes nothing in holds nobody up past ctx.
func (h *Helper) send(ctx context.Context, line []byte) error {
	done := make(chan error, 1)
	go func() {
		_, err := h.write(line)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-h.gone:
		return h.why
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write writes to the helper at once, and gives the moment before.
func (h *Helper) write(line []byte) (at time.Duration, err error) {
	h.writes.Lock()
	defer h.writes.Unlock()
	at = h.clock.Now()
	if _, err := h.proc.Stdin.Write(line); err != nil {
		if gone := h.Alive(); gone != nil {
			return at, gone
		}
		// The reader will see that the pipe's other end is gone too, and says more about why.
		select {
		case <-h.gone:
			return at, h.why
		case <-time.After(3 * time.Second):
			return at, fmt.Errorf("%w: write to the Python helper: %w", drivers.ErrReset, err)
		}
	}
	return at, nil
}
