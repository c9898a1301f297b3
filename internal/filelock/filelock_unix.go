//go:build !windows

// Package filelock takes exclusive locks on open files. It never waits for one.
package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Take takes an exclusive lock that the kernel gives back when the file is closed or the process ends, however it ends.
// busy is true where another holds it.
func Take(f *os.File) (busy bool, err error) {
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	return errors.Is(err, unix.EWOULDBLOCK), err
}
