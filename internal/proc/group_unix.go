//go:build unix

package proc

import (
	"os"
	"syscall"
)

// ownGroup puts a child into a process group of its own: a Ctrl-C of the terminal does not reach it, and the group can be
// ended as one.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// canAsk means that a process can be asked to end.
const canAsk = true

// terminate asks the group of pid to end.
func terminate(pid int, _ *os.Process) { _ = syscall.Kill(-pid, syscall.SIGTERM) }

// killGroup ends the group of pid.
func killGroup(pid int, _ *os.Process) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
