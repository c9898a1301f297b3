package llamacpp

import (
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// errMemory marks the end of a server that probably had not enough memory.
var errMemory = errors.New("probably not enough memory")

// memoryPattern is how llama.cpp, its compute back ends and the system say that the memory does not do.
var memoryPattern = regexp.MustCompile(`(?i)out of memory|OutOfDeviceMemory|failed to allocate|unable to allocate|cannot allocate memory|bad_alloc`)

// shortOfMemory reports whether a server ended for want of memory: its log says so, or it was killed while the system's
// count of out-of-memory kills went up. A kill alone may be anybody's.
func shortOfMemory(how string, tail []string, before, now int64) bool {
	for _, l := range tail {
		// Pinned memory is a wish: llama.cpp does without.
		if memoryPattern.MatchString(l) && !strings.Contains(l, "pinned") {
			return true
		}
	}
	return strings.Contains(how, "signal: killed") && before >= 0 && now > before
}

// oomKills is Linux's count of processes that it has killed for want of memory since it started; -1 where it does not tell.
func oomKills() int64 {
	b, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return -1
	}
	return parseOOMKills(string(b))
}

func parseOOMKills(vmstat string) int64 {
	for l := range strings.Lines(vmstat) {
		if v, ok := strings.CutPrefix(l, "oom_kill "); ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil && n >= 0 {
				return n
			}
		}
	}
	return -1
}
