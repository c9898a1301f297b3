package pyhelper

import (
	"bytes"
	"fmt"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// readSize is the most that one read takes: what a pipe holds.
const readSize = 64 << 10

// maxStream bounds what is kept of one stream, in bytes: a million tokens take about 40 MiB.
const maxStream = 64 << 20

// receive reads the helper's pipe to its end: read, stamp, cut into lines, hand each to whom it is for.
func (h *Helper) receive() {
	defer close(h.read)
	buf := make([]byte, readSize)
	var rest []byte // of a line that has not ended
	first := true
	var before time.Duration
	for seq := 0; ; seq++ {
		if before > 0 {
			h.lag(h.clock.Now() - before)
		}
		n, err := h.proc.Stdout.Read(buf)
		at := h.clock.Now()
		before = at
		for p := buf[:n]; len(p) > 0; {
			i := bytes.IndexByte(p, '\n')
			if i < 0 {
				rest = append(rest, p...)
				break
			}
			line := p[:i]
			if len(rest) > 0 {
				rest = append(rest, line...)
				line = rest
			}
			if first {
				if !h.hello(line) {
					return
				}
				first = false
			} else if !h.take(line, at, seq) {
				return
			}
			rest, p = rest[:0], p[i+1:]
		}
		if len(rest) > maxLine {
			h.end(fmt.Errorf("%w: the helper wrote a line of more than %d MiB", drivers.ErrProtocol, maxLine>>20))
			return
		}
		if err != nil {
			h.mu.Lock()
			closing := h.closing
			h.mu.Unlock()
			if !closing {
				h.fail(h.died())
			}
			return
		}
	}
}

func (h *Helper) hello(line []byte) bool {
	first, err := parseHello(bytes.TrimSuffix(line, []byte{'\r'}), h.backend)
	if err != nil {
		h.end(err)
		return false
	}
	h.greeted <- first
	return true
}

// lag notes the time that the client spent between two reads, for the streams that were in flight.
func (h *Helper) lag(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.streams {
		f.lag = max(f.lag, d)
	}
}

// take hands one line on; false means that the helper is of no more use. The line is the reader's own memory.
func (h *Helper) take(line []byte, at time.Duration, seq int) bool {
	if id, ok := tokenLine(line); ok {
		if !h.tokens(id, line, at, seq) {
			h.end(fmt.Errorf("%w: the helper wrote more than %d MiB for one stream", drivers.ErrProtocol, maxStream>>20))
			return false
		}
		return true
	}
	m, err := parse(line)
	if err != nil {
		h.end(err)
		return false
	}
	if m.Progress != nil {
		h.log("%s: %s", h.backend, *m.Progress)
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.streams[m.ID]; f != nil {
		f.add(line, at, seq)
		f.text = f.text || m.At != nil
		if m.End != nil || m.Error != nil {
			delete(h.streams, m.ID)
			close(f.done)
			if f.left {
				close(h.freed)
				h.freed = make(chan struct{})
			}
		}
		return true
	}
	if c := h.calls[m.ID]; c != nil {
		delete(h.calls, m.ID)
		c <- answer{m, at}
	}
	return true
}

// tokens keeps a line of tokens; false means that its stream is longer than any can be.
func (h *Helper) tokens(id int64, line []byte, at time.Duration, seq int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.streams[id]
	if f == nil {
		return true
	}
	f.add(line, at, seq)
	f.text = true
	return len(f.data) <= maxStream
}

// inflight is a stream being read.
type inflight struct {
	data  []byte
	reads []stream.Read
	seq   int           // number of the pipe's read that reads ends with
	at    time.Duration // of the last read
	lag   time.Duration
	text  bool // tokens have come
	left  bool // nobody waits for it any more
	tap   *stream.Tap
	done  chan struct{} // closed at its last line
}

// add keeps one line.
func (f *inflight) add(line []byte, at time.Duration, seq int) {
	if f.left {
		return
	}
	f.data = append(append(f.data, line...), '\n')
	f.tap.Add(len(line) + 1)
	if n := len(f.reads); n > 0 && f.seq == seq {
		f.reads[n-1].End = len(f.data)
		return
	}
	f.seq, f.at = seq, at
	f.reads = append(f.reads, stream.Read{End: len(f.data), At: at})
}
