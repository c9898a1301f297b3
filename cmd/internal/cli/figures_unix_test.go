//go:build !windows

package cli

import (
	"os"
	"runtime"
	"syscall"
)

// peakBytes is the peak resident memory of a process that has ended.
func peakBytes(p *os.ProcessState) int64 {
	u, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(u.Maxrss) //nolint:unconvert // 32 bits on some systems; bytes there, kilobytes elsewhere
	}
	return int64(u.Maxrss) << 10 //nolint:unconvert // 32 bits on some systems
}
