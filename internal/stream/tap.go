package stream

import "sync/atomic"

// Tap lets the live view look on while a stream is read. The reader only adds to it; what is shown from it is an
// estimate by name and never a result.
type Tap struct {
	reads atomic.Int64
	bytes atomic.Int64
}

// Add counts one read of n bytes.
func (t *Tap) Add(n int) {
	if t != nil {
		t.reads.Add(1)
		t.bytes.Add(int64(n))
	}
}

// Seen is the number of reads and bytes so far.
func (t *Tap) Seen() (reads, bytes int64) { return t.reads.Load(), t.bytes.Load() }
