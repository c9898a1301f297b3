//go:build !windows

package store

import (
	"errors"

	"golang.org/x/sys/unix"
)

// isDiskFull tells a full disk, or a used-up quota, from other errors of writing.
func isDiskFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
