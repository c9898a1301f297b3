package proc

import "syscall"

// dieWithParent makes the kernel end the child when the thread that started it does.
func dieWithParent(a *syscall.SysProcAttr) *syscall.SysProcAttr {
	a.Pdeathsig = syscall.SIGKILL
	return a
}
