package engine

import (
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/internal/stream"
)

// Live is what the run is doing now, for a view that polls it from another goroutine. Its rates are estimates by name: an
// event is taken for a token.
type Live struct {
	mu       sync.Mutex
	row      string
	name     string
	pass, of int
	doing    string
	rowsDone int
	rows     int
	began    time.Time
	deadline time.Duration // predicted end, since began; 0 where not known
	taps     []*stream.Tap
}

// Snapshot is one look at a Live.
type Snapshot struct {
	Row, Name string
	Pass, Of  int
	Doing     string // "starting server", "fitting prompts", "streaming", ...
	RowsDone  int
	Rows      int
	Elapsed   time.Duration
	Left      time.Duration // predicted; 0 where not known
	Streams   int           // streams open now
	Events    int64         // socket reads of the open streams so far: about their tokens
	Bytes     int64
}

// Snapshot gives the present state.
func (l *Live) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Snapshot{Row: l.row, Name: l.name, Pass: l.pass, Of: l.of, Doing: l.doing, RowsDone: l.rowsDone, Rows: l.rows, Streams: len(l.taps)}
	if !l.began.IsZero() {
		s.Elapsed = time.Since(l.began)
	}
	if l.deadline > s.Elapsed {
		s.Left = l.deadline - s.Elapsed
	}
	for _, t := range l.taps {
		reads, bytes := t.Seen()
		s.Events += reads
		s.Bytes += bytes
	}
	return s
}

// set changes the state under the lock. A nil Live takes no notice.
func (l *Live) set(change func(*Live)) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// Say sets what the run is doing, for work that is done outside the engine.
func (l *Live) Say(doing string) { l.set(func(l *Live) { l.doing = doing }) }
