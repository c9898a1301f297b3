//go:build !linux

package proc

import "syscall"

// dieWithParent does nothing here: only Linux ties a child's life to its parent's. The guard does the work.
func dieWithParent(a *syscall.SysProcAttr) *syscall.SysProcAttr { return a }
