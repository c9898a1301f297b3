package upload

import (
	"encoding/json"

	"github.com/llm-speed/llm-speed/internal/hw"
)

// machine enters what is known of the machine and its state.
func (p *preparing) machine(b *Body) {
	r := p.Result
	var fp hw.Fingerprint
	if len(r.Fingerprint) > 0 && json.Unmarshal(r.Fingerprint, &fp) == nil {
		b.Hardware = p.hardware(&fp)
	}
	b.Before, b.After = p.condition(r.Environment.Before), p.condition(r.Environment.After)
	var c struct {
		Streams, Requests *int
		TTFTErrorP50      *float64 `json:"ttft_error_p50_ms"`
		TTFTErrorP99      *float64 `json:"ttft_error_p99_ms"`
		ITLErrorP99       *float64 `json:"itl_error_p99_ms"`
		DecodeError       *float64 `json:"decode_error_ratio"`
		EventsPerS        *float64 `json:"events_per_s"`
		Limit             *float64 `json:"limit_ms"`
		Passed            bool     `json:"passed"`
	}
	if len(r.Calibration) > 0 && json.Unmarshal(r.Calibration, &c) == nil {
		b.Calibration = &Calibration{
			Streams: whole(c.Streams), Requests: whole(c.Requests), TTFTErrorP50: p.ms(c.TTFTErrorP50), TTFTErrorP99: p.ms(c.TTFTErrorP99), ITLErrorP99: p.ms(c.ITLErrorP99),
			DecodeError: p.rounded(scaled(c.DecodeError, 1e6)), EventsPerS: p.rounded(scaled(c.EventsPerS, 1)), Limit: p.ms(c.Limit), Passed: c.Passed,
		}
	}
}

// hardware is the machine; in an anonymous document what a board needs to name its kind, and no more.
func (p *preparing) hardware(fp *hw.Fingerprint) *Hardware {
	c := fp.CPU
	h := &Hardware{
		Machine: p.machineText("hardware.machine", fp.Machine),
		CPU: CPU{
			Model: p.machineText("hardware.cpu.model", c.Model), Sockets: whole(c.Sockets), Cores: whole(c.Cores), Threads: whole(c.Threads), Usable: whole(c.Usable),
			PerformanceCores: whole(c.PerformanceCores), EfficiencyCores: whole(c.EfficiencyCores), ClockMax: scaled(c.ClockMax, 1e3), NUMANodes: whole(c.NUMANodes),
			LimitCPUs: scaled(c.Limit, 1e3), Governor: p.text("hardware.cpu.governor", c.Governor), SMT: c.SMT, Turbo: c.Turbo, Translated: c.Translated,
		},
		RAMGiB: per(fp.RAMTotal, 30), RAMLimitGiB: per(fp.RAMLimit, 30), RAMModules: whole(fp.RAM.Modules), RAMChannels: whole(fp.RAM.Channels), RAMSpeed: whole(fp.RAM.Speed),
		OS: p.own("hardware.os", fp.OS.Name), Arch: p.own("hardware.arch", fp.OS.Arch), Distribution: p.text("hardware.distribution", fp.OS.Distribution),
		Version: p.text("hardware.os_version", fp.OS.Version), Kernel: p.machineText("hardware.kernel", fp.OS.Kernel), WSL: p.text("hardware.wsl", fp.OS.WSL),
		Virtualization: p.text("hardware.virtualization", fp.Virtualization), GPUs: []GPU{}, GPUsKnown: fp.GPUs != nil && fp.Reasons["gpus"] == "",
		CUDA: p.text("hardware.cuda", fp.Runtimes.CUDA), ROCm: p.text("hardware.rocm", fp.Runtimes.ROCm), Metal: p.text("hardware.metal", fp.Runtimes.Metal),
	}
	for i := range fp.GPUs {
		h.GPUs = append(h.GPUs, p.gpu(&fp.GPUs[i]))
	}
	if p.Anonymous {
		h.Machine, h.Distribution, h.Version, h.Kernel = "", "", "", ""
		h.RAMModules, h.RAMChannels, h.RAMSpeed = nil, nil, nil
		c := &h.CPU
		c.Usable, c.ClockMax, c.NUMANodes, c.Governor, c.SMT, c.Turbo = nil, nil, nil, "", nil, nil
	}
	return h
}

func (p *preparing) gpu(g *hw.GPU) GPU {
	out := GPU{
		Vendor: p.own("hardware.gpus.vendor", g.Vendor), Name: p.name("hardware.gpus.name", g.Name), VRAMMiB: per(g.VRAMTotal, 20), SharedMiB: per(g.SharedTotal, 20),
		Driver: p.text("hardware.gpus.driver", g.Driver), DriverModel: p.text("hardware.gpus.driver_model", g.DriverModel), VBIOS: p.text("hardware.gpus.vbios", g.VBIOS),
		Architecture: p.text("hardware.gpus.architecture", g.Architecture), Cores: whole(g.Cores),
		PowerLimit: scaled(g.PowerLimit, 1e3), PowerEnforced: scaled(g.PowerEnforced, 1e3), PowerDefault: scaled(g.PowerDefault, 1e3), PowerMax: scaled(g.PowerMax, 1e3),
		ClockMax: scaled(g.ClockMax, 1e3), ClockApp: scaled(g.ClockApp, 1e3), MemoryClock: scaled(g.MemoryClock, 1e3), PCIeGen: whole(g.PCIeGen), PCIeWidth: whole(g.PCIeWidth),
		MIG: g.MIG, ECC: g.ECC, Persistence: g.Persistence,
	}
	if p.Anonymous {
		out.VBIOS, out.SharedMiB, out.PowerMax, out.ClockMax, out.ClockApp, out.MemoryClock, out.Persistence = "", nil, nil, nil, nil, nil, nil
		for _, w := range []**int64{&out.PowerLimit, &out.PowerEnforced, &out.PowerDefault} {
			*w = toNearest(*w, 10_000) // ten watts
		}
	}
	return out
}

// condition is the machine's state; in an anonymous document whether it ran on battery, and how hot and busy it was in steps.
func (p *preparing) condition(raw json.RawMessage) *Condition {
	var s hw.Condition
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil {
		return nil
	}
	c := &Condition{
		Load: scaled(s.Load1m, 1e3), CPU: scaled(s.CPUPercent, 1e3), CPUClock: scaled(s.CPUClock, 1e3), CPUTemp: scaled(s.CPUTemperature, 1e3), SpeedLimit: scaled(s.CPUSpeedLimit, 1e3),
		Pressure: p.text("environment.thermal_pressure", s.Pressure), Governor: p.text("environment.governor", s.Governor), PowerMode: p.text("environment.power_mode", s.PowerMode),
		RAMAvailable: per(s.RAMAvailable, 20), OnBattery: s.OnBattery, GPUProcesses: whole(s.GPUProcesses), GPUs: []GPUState{},
	}
	for _, g := range s.GPUs {
		state := GPUState{
			Use: scaled(g.UsePercent, 1e3), MemoryUsed: per(g.MemoryUsed, 20), Clock: scaled(g.Clock, 1e3), MemoryClock: scaled(g.MemoryClock, 1e3), Temperature: scaled(g.Temperature, 1e3),
			Power: scaled(g.Power, 1e3), Level: p.text("environment.gpus.performance_state", g.Level), PCIeGen: whole(g.PCIeGen), PCIeWidth: whole(g.PCIeWidth), Reasons: []string{},
		}
		for _, why := range g.Reasons {
			state.Reasons = append(state.Reasons, p.own("environment.gpus.clock_reasons", why))
		}
		if p.Anonymous {
			state.MemoryUsed, state.Clock, state.MemoryClock = nil, nil, nil
			state.Use, state.Temperature, state.Power = toNearest(state.Use, 10_000), toNearest(state.Temperature, 5_000), toNearest(state.Power, 10_000)
		}
		c.GPUs = append(c.GPUs, state)
	}
	if p.Anonymous {
		c.CPUClock, c.SpeedLimit, c.Governor, c.RAMAvailable, c.GPUProcesses = nil, nil, "", nil, nil
		c.Load, c.CPU, c.CPUTemp = toNearest(c.Load, 1_000), toNearest(c.CPU, 10_000), toNearest(c.CPUTemp, 5_000)
	}
	return c
}

// text is a word of the system's own, in which no user's name is looked for: a distribution may be called as its user.
func (p *preparing) text(field string, text *string) string {
	if text == nil {
		return ""
	}
	return p.own(field, *text)
}

// machineText is a text that a user may have written into the system.
func (p *preparing) machineText(field string, text *string) string {
	if text == nil {
		return ""
	}
	return p.name(field, *text)
}

// per is a number of bytes in units of 2^bits, rounded.
func per(bytes *int64, bits int) *int64 {
	if bytes == nil || *bytes < 0 {
		return nil
	}
	n := (*bytes + 1<<(bits-1)) >> bits
	return whole(&n)
}

// toNearest rounds to a step.
func toNearest(n *int64, step int64) *int64 {
	if n == nil {
		return nil
	}
	v := *n
	if v < 0 {
		step = -step
	}
	v = (v + step/2) / max(step, -step) * max(step, -step)
	return &v
}
