package cli

import (
	"os"
	"syscall"
)

// endings are the signals that ask the process to end: Ctrl-C, and a console that is closed.
func endings() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }
