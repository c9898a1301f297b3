package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// bound lowers the limits of this process for good: memory that can be written, processor time, files. The heap's own
// reservation is not counted by RLIMIT_DATA (it is by RLIMIT_AS, which Starlark's 4 GiB reservation would not fit into).
func bound() error {
	for _, l := range []struct {
		name  string
		which int
		most  uint64
	}{
		{"data", unix.RLIMIT_DATA, maxMemory}, {"cpu", unix.RLIMIT_CPU, maxCPU}, {"file size", unix.RLIMIT_FSIZE, 0},
		{"files", unix.RLIMIT_NOFILE, maxOpen}, {"core", unix.RLIMIT_CORE, 0},
	} {
		if err := unix.Setrlimit(l.which, &unix.Rlimit{Cur: l.most, Max: l.most}); err != nil {
			return fmt.Errorf("limit %s: %w", l.name, err)
		}
	}
	return nil
}

// selfBounded says that the worker's memory is bounded by the system; elsewhere the parent watches it.
const selfBounded = true
