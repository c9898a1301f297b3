package sandbox

import (
	"io"
	"time"
)

// ServeUnbounded is a worker as it is where the system does not bound it.
func ServeUnbounded(in io.Reader, out io.Writer) int {
	return serve(in, out, func() error { return nil })
}

// Watched is a runner as it is there.
func (r Runner) Watched() Runner {
	r.watched = true
	return r
}

// Hasty is a runner whose programs may compute for less.
func (r Runner) Hasty(d time.Duration) Runner {
	r.thought = d
	return r
}
