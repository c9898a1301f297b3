package proc

import (
	"fmt"
	"net"
)

// FreePort asks the system for a port of 127.0.0.1 that is free now. Another program may take it before a child does.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
