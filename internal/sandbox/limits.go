package sandbox

import "time"

// The limits of a worker.
const (
	maxMemory   = 256 << 20 * swollen      // bytes of memory that can be written
	softMemory  = 160 << 20 * swollen      // from here on the garbage collector works harder
	maxStack    = 64 << 20                 // bytes of one goroutine's stack
	maxCPU      = 30                       // seconds of processor time, for a whole pass
	maxOpen     = 32                       // file descriptors, the runtime's own included
	maxStderr   = 64 << 10                 // bytes kept of what the worker says about its end
	maxThink    = 10 * time.Second         // between two messages of a worker; the time that the host takes to answer is not in it
	maxThought  = 60 * time.Second         // between all messages of one worker together: elsewhere than on Linux nothing bounds processor time
	orphanThink = maxThink + 5*time.Second // after which a worker that nobody has ended ends itself
	maxCalls    = 100_000                  // of the host, in one pass
	watchEvery  = 20 * time.Millisecond
)
