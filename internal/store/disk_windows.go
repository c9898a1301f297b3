package store

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isDiskFull tells a full disk, or a used-up quota, from other errors of writing.
func isDiskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
