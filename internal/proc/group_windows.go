package proc

import (
	"os"
	"syscall"
)

// ownGroup puts a child into a process group of its own, so that a Ctrl-C of the console does not reach it.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// canAsk means that a process can be asked to end. Here it can not, and a killed guard could not end its child any more.
const canAsk = false

// terminate ends the process: Windows has no polite way for programs without a window.
func terminate(_ int, p *os.Process) { killGroup(0, p) }

// killGroup ends the process; its own children are left to it.
func killGroup(_ int, p *os.Process) {
	if p != nil {
		_ = p.Kill()
	}
}
