package hw

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// nvidiaSampled are the fields of a GPU's state, and their other names.
var nvidiaSampled = []string{
	"utilization.gpu", "memory.used", "clocks.sm", "clocks.mem", "temperature.gpu", "temperature.gpu.tlimit", "power.draw", "pstate",
	"pcie.link.gen.current|pcie.link.gen.gpucurrent", "pcie.link.width.current", "clocks_event_reasons.active|clocks_throttle_reasons.active",
	"clocks_event_reasons_counters.sw_power_cap", "clocks_event_reasons_counters.hw_power_brake_slowdown",
	"clocks_event_reasons_counters.sw_thermal_slowdown", "clocks_event_reasons_counters.hw_thermal_slowdown",
}

// clockReasons are the bits of NVIDIA's mask, lowest first.
var clockReasons = []string{
	"gpu_idle", "applications_clocks_setting", "sw_power_cap", "hw_slowdown", "sync_boost", "sw_thermal_slowdown",
	"hw_thermal_slowdown", "hw_power_brake_slowdown", "display_clock_setting",
}

// reasonsOf names the bits of a mask like 0x0000000000000004; an unknown one goes by its number.
func reasonsOf(mask string) ([]string, error) {
	bits, err := strconv.ParseUint(strings.TrimSpace(mask), 0, 64)
	if err != nil {
		return nil, errors.New("nvidia-smi says " + quote(mask))
	}
	names := []string{}
	for i := range 64 {
		switch {
		case bits&(1<<i) == 0:
		case i < len(clockReasons):
			names = append(names, clockReasons[i])
		default:
			names = append(names, "0x"+strconv.FormatUint(1<<i, 16))
		}
	}
	return names, nil
}

// state reads a row of nvidiaSampled.
func (r nvidiaRow) sampled() GPUState {
	why := map[string]string{}
	s := GPUState{Vendor: "nvidia", why: why}
	const other = "only AMD's and Intel's drivers show it"
	why["slowed_by_heat_cycles"], why["firmware_cycles"], why["energy_uj"] = other, other, "nvidia-smi does not tell"
	s.UsePercent = r.float("utilization.gpu", why, "use_percent")
	s.MemoryUsed = r.bytes("memory.used", why, "memory_used_bytes")
	s.Clock = r.float("clocks.sm", why, "clock_mhz")
	s.MemoryClock = r.float("clocks.mem", why, "memory_clock_mhz")
	s.Temperature = r.float("temperature.gpu", why, "temperature_c")
	s.Margin = r.float("temperature.gpu.tlimit", why, "temperature_margin_c")
	s.Power = r.float("power.draw", why, "power_w")
	s.Level = r.text("pstate", why, "performance_state")
	s.PCIeGen = r.count("pcie.link.gen.current", why, "pcie_gen")
	s.PCIeWidth = r.count("pcie.link.width.current", why, "pcie_width")
	if mask, no := r.value("clocks_event_reasons.active"); no != "" {
		why["clock_reasons"] = no
	} else if names, err := reasonsOf(mask); err != nil {
		why["clock_reasons"] = err.Error()
	} else {
		s.Reasons = names
	}
	sum := func(key string, fields ...string) *int64 {
		var total int64
		for _, f := range fields {
			n := r.float("clocks_event_reasons_counters."+f, why, key)
			if n == nil {
				return nil
			}
			total += int64(*n)
		}
		return &total
	}
	s.SlowedPower = sum("slowed_by_power_us", "sw_power_cap", "hw_power_brake_slowdown")
	s.SlowedBrake = sum("slowed_by_brake_us", "hw_power_brake_slowdown")
	s.SlowedHeat = sum("slowed_by_heat_us", "sw_thermal_slowdown", "hw_thermal_slowdown")
	return s
}

// nvidiaState asks once. No nvidia-smi is no GPU of this maker.
func (s source) nvidiaState(ctx context.Context) ([]GPUState, error) {
	rows, err := s.queryNvidia(ctx, nvidiaSampled)
	if errors.Is(err, errNoTool) || errors.Is(err, errNoDevices) {
		return nil, nil
	}
	var list []GPUState
	for _, row := range rows {
		list = append(list, row.sampled())
	}
	return list, err
}

// errNoList is the reason where nobody lists the processes on GPUs.
const errNoList = notHereError("only NVIDIA's tool and ROCm's driver tell")

// nvidiaProcesses counts the processes that compute on NVIDIA's GPUs. Their names are not asked for: they tell what else the
// user does. Containers see none but their own.
func (s source) nvidiaProcesses(ctx context.Context) (func(*Condition, map[string]string), error) {
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	out, err := s.run(ctx, "nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")
	switch {
	case errors.Is(err, errNoTool) || strings.Contains(out, "No devices were found"):
		return nil, errNoList
	case err != nil:
		return nil, err
	}
	n, memory, err := parseProcesses(out)
	switch {
	case err != nil:
		return nil, err
	case n == 0 && container(s.files) != "":
		return nil, notHereError("nvidia-smi names none inside a container, whoever computes")
	case n > 0 && strings.Count(out, "[N/A]") == strings.Count(strings.TrimSpace(out), "\n")+1:
		return nil, notHereError("nvidia-smi tells the memory of none of them: under Windows' display driver it lists all that draws")
	}
	return func(c *Condition, reasons map[string]string) {
		if c.GPUProcesses, c.GPUProcessRAM = &n, memory; memory == nil {
			reasons["gpu_processes_bytes"] = "nvidia-smi does not tell it of all of them"
		}
	}, nil
}

// parseProcesses understands that answer: a line a process and GPU, and none at all where there are none. Windows' driver
// says [N/A] for the memory.
func parseProcesses(text string) (n int, memory *int64, err error) {
	memory = new(int64)
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		pid, used, ok := strings.Cut(line, ",")
		if _, err := strconv.ParseUint(pid, 10, 32); err != nil || !ok {
			return 0, nil, errors.New("nvidia-smi: answer not understood: " + quote(line))
		}
		seen[pid] = true
		if mib, ok := amount(used); !ok || mib > 1<<40 {
			memory = nil
		} else if memory != nil {
			*memory += int64(mib) << 20
		}
	}
	return len(seen), memory, nil
}
