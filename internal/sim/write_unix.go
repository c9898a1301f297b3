//go:build unix

package sim

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// tryWrite writes what the socket takes without waiting, so that one slow reader never holds up the other streams.
func tryWrite(_ net.Conn, raw syscall.RawConn, b []byte) (n int, err error) {
	rawErr := raw.Write(func(fd uintptr) bool {
		for {
			n, err = unix.Write(int(fd), b)
			if err != unix.EINTR {
				return true
			}
		}
	})
	switch {
	case rawErr != nil:
		return 0, rawErr
	case err == unix.EAGAIN:
		return 0, nil
	case err != nil:
		return 0, err
	}
	return n, nil
}
