package hw

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// rocmSMIState is the question to AMD's older tool about what its GPUs do.
var rocmSMIState = []string{"--showuse", "--showtemp", "--showpower", "--showclocks", "--showenergycounter", "--showmeminfo", "vram", "--json"}

// amdState gives the state of AMD's GPUs: what the kernel shows, and what AMD's tools add to it. The tools are asked only
// where the kernel leaves something open, since each call takes up to a second of processor time; a Sampler never asks them.
func (s source) amdState(ctx context.Context) ([]GPUState, error) {
	shown := drmState(s.files)
	complete := func(g GPUState) bool {
		return g.UsePercent != nil && g.Power != nil && g.Temperature != nil && g.MemoryUsed != nil && (g.Reasons != nil || g.Cycles != nil)
	}
	isAMD := func(g GPU) bool { return g.Vendor == "amd" }
	cards := drmGPUs(s.files)
	if len(shown) > 0 && !slices.ContainsFunc(shown, func(g GPUState) bool { return !complete(g) }) || len(cards) > 0 && !slices.ContainsFunc(cards, isAMD) {
		return shown, nil
	}
	told, err := s.askAMD(ctx)
	switch {
	case len(shown) == 0 && onlyMissing(err):
		return told, nil
	case len(shown) == 0:
		return told, err
	case len(shown) == 1 && len(told) == 1: // of several nobody can tell which is which
		fill(&shown[0], told[0])
		if shown[0].Reasons == nil {
			shown[0].Reasons = told[0].Reasons
		}
	}
	for i := range shown {
		for _, field := range append(nulls(shown[i]), "clock_reasons") {
			if err != nil {
				shown[i].why[field] = oneLine(err.Error())
			}
		}
	}
	return shown, nil
}

// askAMD asks amd-smi, and rocm-smi where that is not there or says nothing.
func (s source) askAMD(ctx context.Context) ([]GPUState, error) {
	out, err := s.run(ctx, "amd-smi", "metric", "--json")
	list, parseErr := parseAMDMetric(out)
	if parseErr == nil && len(list) > 0 {
		return list, nil
	}
	if err == nil {
		err = parseErr
	}
	newer := fmt.Errorf("amd-smi: %w", err)
	if ctx.Err() != nil { // no time is left
		return nil, newer
	}
	out, err = s.run(ctx, "rocm-smi", rocmSMIState...)
	list, parseErr = parseROCmState(out)
	if parseErr == nil && len(list) > 0 {
		return list, nil
	}
	if err == nil {
		err = parseErr
	}
	return nil, errors.Join(newer, fmt.Errorf("rocm-smi: %w", err))
}

// parseAMDMetric understands `amd-smi metric --json`: a list before version 26, gpu_data since, and "N/A" in the place of any
// value and of whole groups.
func parseAMDMetric(text string) ([]GPUState, error) {
	groups, err := amdSMIGroups(text)
	if err != nil {
		return nil, err
	}
	var list []GPUState
	for _, l := range groups {
		g := GPUState{Vendor: "amd", why: map[string]string{}}
		if n := l.number("%", "usage", "gfx_activity"); n != nil && *n <= 100 {
			g.UsePercent = n
		}
		if mb := l.number("MB", "mem_usage", "used_vram"); mb != nil && *mb < 1<<40 {
			used := int64(*mb) << 20 // they are MiB
			g.MemoryUsed = &used
		}
		g.Clock = l.firstOf("MHz", []string{"clock", "gfx_0", "clk"}, []string{"clock", "gfx", "clk"}, []string{"clock", "gfx", "cur_clk"})
		g.MemoryClock = l.firstOf("MHz", []string{"clock", "mem_0", "clk"}, []string{"clock", "mem", "clk"}, []string{"clock", "mem", "cur_clk"})
		g.Temperature = l.firstOf("C", []string{"temperature", "hotspot"}, []string{"temperature", "edge"})
		g.Power = l.firstOf("W", []string{"power", "socket_power"}, []string{"power", "current_socket_power"}, []string{"power", "average_socket_power"}, []string{"power", "current_power"})
		if j := l.firstOf("J", []string{"energy", "total_energy_consumption"}); j != nil && *j < 1<<40 {
			g.Energy = some(int64(*j * 1e6))
		}
		if why := l.text("power", "throttle_status"); why == "" {
			g.why["clock_reasons"] = "amd-smi does not tell"
		} else if strings.EqualFold(why, "UNTHROTTLED") {
			g.Reasons = []string{}
		} else if strings.EqualFold(why, "THROTTLED") {
			g.Reasons = []string{"throttled"} // it does not say by what; a power cap is one of the causes
		}
		l.violations(&g)
		list = append(list, g)
	}
	return list, nil
}

// violations reads the counters and states of the limits that Instinct cards have been held back by.
func (l leaf) violations(g *GPUState) {
	count := func(name string) *int64 {
		n := l.number("", "throttle", name+"_accumulated")
		if n == nil {
			n = l.number("", "throttle", name+"_violation_accumulated")
		}
		if n == nil {
			return nil
		}
		return some(int64(*n) + 1) // 0 is a count here
	}
	if all := l.number("", "throttle", "accumulation_counter"); all != nil && *all > 0 {
		var heat int64
		told := true
		for _, name := range []string{"prochot", "socket_thermal", "vr_thermal", "hbm_thermal"} {
			if n := count(name); n != nil {
				heat += *n - 1
			} else {
				told = false
			}
		}
		if told {
			g.Cycles, g.HeatCycles = some(int64(*all)), &heat
		}
	}
	var names []string
	told := false
	for _, x := range []struct{ name, reason string }{{"ppt", "power"}, {"prochot", "prochot"}, {"socket_thermal", "heat"}, {"vr_thermal", "heat"}, {"hbm_thermal", "heat"}} {
		switch l.text("throttle", x.name+"_violation_status") {
		case "ACTIVE":
			told = true
			if !slices.Contains(names, x.reason) {
				names = append(names, x.reason)
			}
		case "NOT ACTIVE":
			told = true
		}
	}
	if told && (g.Reasons == nil || len(names) > 0) {
		if g.Reasons = names; names == nil {
			g.Reasons = []string{}
		}
		delete(g.why, "clock_reasons")
	}
}

// parseROCmState understands `rocm-smi --json`, whose keys change between versions in words and case.
func parseROCmState(text string) ([]GPUState, error) {
	cards, _, err := rocmCards(text)
	if err != nil {
		return nil, err
	}
	var list []GPUState
	for _, c := range cards {
		g := GPUState{Vendor: "amd", why: map[string]string{"clock_reasons": "rocm-smi does not tell"}}
		if n := c.number("gpu use"); n != nil && *n <= 100 {
			g.UsePercent = n
		}
		if b := c.number("vram total used memory"); b != nil && *b < 1<<50 {
			used := int64(*b)
			g.MemoryUsed = &used
		}
		if g.Temperature = c.number("temperature", "junction"); g.Temperature == nil {
			g.Temperature = c.number("temperature", "edge")
		}
		if g.Power = c.number("graphics package power (w)"); g.Power != nil && *g.Power == 0 {
			g.Power = nil
		}
		g.Clock, g.MemoryClock = c.number("sclk clock speed"), c.number("mclk clock speed")
		if uj := c.number("accumulated energy"); uj != nil && *uj > 0 && *uj < 1<<60 {
			g.Energy = some(int64(*uj))
		}
		list = append(list, g)
	}
	return list, nil
}
