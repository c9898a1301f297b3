package hw

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// cgroupLimits gives the tightest CPU and memory limit of the control groups that this process is in, versions 1 and 2; nil
// is no limit. Inside a container the own path may not be visible: then the mount's top is the container's group.
func cgroupLimits(files fs.FS) (cpus *float64, bytes *int64) {
	paths := map[string]string{} // by version 1 controller; "" is version 2
	for line := range strings.Lines(read(files, "proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, controller := range strings.Split(parts[1], ",") {
			paths[controller] = path.Clean("/" + parts[2])
		}
	}
	walk := func(mount, below string, look func(dir string)) {
		for ; ; below = path.Dir(below) {
			look(path.Join(mount, below))
			if below == "/" {
				return
			}
		}
	}
	tightCPU := func(quota, period float64) {
		if quota > 0 && period > 0 && (cpus == nil || quota/period < *cpus) {
			limit := quota / period
			cpus = &limit
		}
	}
	tightRAM := func(text string) {
		// Version 1 says "no limit" with a number close to 2^63.
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 && n < 1<<60 && (bytes == nil || n < *bytes) {
			bytes = &n
		}
	}
	if below, ok := paths[""]; ok {
		walk("sys/fs/cgroup", below, func(dir string) {
			if quota, period, ok := strings.Cut(read(files, dir+"/cpu.max"), " "); ok {
				tightCPU(number(quota), number(period))
			}
			tightRAM(read(files, dir+"/memory.max"))
		})
	}
	if below, ok := paths["cpu"]; ok {
		walk("sys/fs/cgroup/cpu", below, func(dir string) {
			tightCPU(number(read(files, dir+"/cpu.cfs_quota_us")), number(read(files, dir+"/cpu.cfs_period_us")))
		})
	}
	if below, ok := paths["memory"]; ok {
		walk("sys/fs/cgroup/memory", below, func(dir string) { tightRAM(read(files, dir+"/memory.limit_in_bytes")) })
	}
	return cpus, bytes
}

// number is a plain decimal number; 0 for "max", "-1" and all that is none.
func number(text string) float64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return float64(n)
}
