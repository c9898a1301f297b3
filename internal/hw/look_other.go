//go:build !linux

package hw

import (
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
)

// gopsutilLook reads what other systems than Linux show without a process. The CPU's use is that since the look before.
func gopsutilLook() func(*SystemSample) {
	first := true
	return func(s *SystemSample) {
		if l, err := load.Avg(); err == nil && l.Load1 > 0 {
			s.Load1m = &l.Load1
		}
		if m, err := mem.VirtualMemory(); err == nil && m.Available > 0 {
			s.RAMAvailable = some(int64(m.Available))
		}
		if p, err := cpu.Percent(0, false); err == nil && len(p) == 1 && !first {
			s.CPUPercent = &p[0]
		}
		first = false
	}
}
