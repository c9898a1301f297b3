//go:build !unix

package sim

import (
	"net"
	"syscall"
)

// tryWrite writes b. Here it may wait for a slow reader, and other streams with it.
func tryWrite(c net.Conn, _ syscall.RawConn, b []byte) (n int, err error) { return c.Write(b) }
