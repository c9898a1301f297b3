//go:build linux || darwin || freebsd

package httpx

import (
	"syscall"
	"time"
)

// cpu is the time that all threads of this process have spent on a CPU, in the program and in the kernel for it; false
// where the system does not tell.
func cpu() (time.Duration, bool) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
