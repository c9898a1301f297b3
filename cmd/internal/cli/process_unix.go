//go:build !windows

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// endings are the signals that ask the process to end. A hang-up that whoever started it has ignored, as nohup does, stays
// ignored.
func endings() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}
