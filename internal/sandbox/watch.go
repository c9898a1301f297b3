package sandbox

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// overgrown tells whether a worker was killed for its memory.
type overgrown struct{ yes atomic.Bool }

func (o *overgrown) seen() bool { return o != nil && o.yes.Load() }

// watch kills a process whose resident memory grows over the limit, where the system can't be told to. It ends with the
// process.
func watch(p *os.Process) *overgrown {
	o := &overgrown{}
	it, err := process.NewProcess(int32(p.Pid)) //nolint:gosec // process ids fit
	if err != nil {
		return o
	}
	go func() {
		for range time.Tick(watchEvery) {
			m, err := it.MemoryInfo()
			if err != nil {
				return // it has ended
			}
			if m.RSS > maxMemory {
				o.yes.Store(true)
				_ = p.Kill()
				return
			}
		}
	}()
	return o
}
