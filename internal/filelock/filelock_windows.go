// Package filelock takes exclusive locks on open files. It never waits for one.
package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// Take takes an exclusive lock that the kernel gives back when the file is closed or the process ends, however it ends.
// busy is true where another holds it.
func Take(f *os.File) (busy bool, err error) {
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	return errors.Is(err, windows.ERROR_LOCK_VIOLATION), err
}
