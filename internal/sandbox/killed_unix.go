//go:build unix

package sandbox

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
)

// mostMemory is the most memory that an ended worker had resident, in bytes; 0 where not known.
func mostMemory(ended error) int64 {
	var exit *exec.ExitError
	if !errors.As(ended, &exit) {
		return 0
	}
	u, ok := exit.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return u.Maxrss // in bytes there
	}
	return u.Maxrss << 10
}

// killedForCPU reports whether the system ended a worker for its processor time. At a hard limit that equals the soft one,
// Linux sends SIGKILL.
func killedForCPU(ended error) bool {
	var exit *exec.ExitError
	if !errors.As(ended, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return false
	}
	return status.Signal() == syscall.SIGXCPU || status.Signal() == syscall.SIGKILL && exit.SystemTime()+exit.UserTime() >= (maxCPU-1)*1e9
}
