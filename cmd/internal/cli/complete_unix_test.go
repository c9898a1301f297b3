//go:build unix

package cli

import "golang.org/x/sys/unix"

// blockingFile makes a file whose reader waits for a writer.
func blockingFile(path string) error { return unix.Mkfifo(path, 0o600) }
