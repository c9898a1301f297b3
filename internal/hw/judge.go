package hw

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Span is a stretch of time on the Sampler's clock.
type Span struct{ From, To time.Duration }

// Finding is something about the machine that a row has to say.
type Finding struct {
	Name     string // thermal, on_battery, gpu_busy, cpu_fallback
	Evidence string
}

// What is taken for a sign of something.
const (
	busyBefore  = 15.0 // percent of a GPU in use before anything was opened; desktops draw with less
	idleGPU     = 5.0  // percent of a GPU that no model of this run uses
	leastIdle   = 3    // readings that have to agree on that
	workingCPUs = 0.9  // CPUs' worth of time that a model takes at least
)

// Findings says what the samples show about a machine while streams ran. What no sample shows is not found.
func (w *Sampler) Findings(streams []Span) []Finding {
	system, gpus, base, _ := w.seen()
	var list []Finding
	add := func(name, evidence string) {
		if evidence != "" {
			list = append(list, Finding{name, evidence})
		}
	}
	add("thermal", thermal(system, gpus, streams))
	add("on_battery", battery(system, streams))
	add("gpu_busy", busyGPU(gpus, base))
	add("cpu_fallback", fallback(system, gpus, streams, w.cpus))
	return list
}

func within(at time.Duration, spans []Span) bool {
	return slices.ContainsFunc(spans, func(s Span) bool { return at >= s.From && at <= s.To })
}

// during gives the samples within spans, and for each span the last one before it: what holds until the next.
func during[T any](list []T, at func(*T) time.Duration, spans []Span) []*T {
	var found []*T
	last := make([]*T, len(spans))
	for i := range list {
		s := &list[i]
		for n, span := range spans {
			if at(s) < span.From {
				last[n] = s
			}
		}
		if within(at(s), spans) {
			found = append(found, s)
		}
	}
	for _, s := range last {
		if s != nil && !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	return found
}

// battery: readings of a system without a battery say nothing.
func battery(system []SystemSample, streams []Span) string {
	var told []SystemSample
	for _, s := range system {
		if s.OnBattery != nil {
			told = append(told, s)
		}
	}
	on, all := 0, 0
	for _, s := range during(told, func(s *SystemSample) time.Duration { return s.At }, streams) {
		if all++; *s.OnBattery {
			on++
		}
	}
	if on == 0 {
		return ""
	}
	return fmt.Sprintf("on battery in %d of %d readings while streams ran", on, all)
}

// around gives the last sample at or before the spans, and the first at or after them or the last there is.
func around[T any](list []T, at func(*T) time.Duration, spans []Span) (before, after *T) {
	if len(spans) == 0 {
		return nil, nil
	}
	from, to := spans[0].From, spans[0].To
	for _, s := range spans {
		from, to = min(from, s.From), max(to, s.To)
	}
	for i := range list {
		s := &list[i]
		if at(s) <= from {
			before = s
		}
		if at(s) > from && (after == nil || at(after) < to) {
			after = s
		}
	}
	return before, after
}

func thermal(system []SystemSample, gpus []GPUSample, streams []Span) string {
	var signs []string
	for _, index := range indices(gpus) {
		own := slices.DeleteFunc(slices.Clone(gpus), func(g GPUSample) bool { return g.Vendor != index.Vendor || g.Index != index.Index })
		if text := hotGPU(own, streams); text != "" {
			signs = append(signs, fmt.Sprintf("%s GPU %d: %s", index.Vendor, index.Index, text))
		}
	}
	counted := slices.DeleteFunc(slices.Clone(system), func(s SystemSample) bool { return s.CPUThrottles == nil })
	before, after := around(counted, func(s *SystemSample) time.Duration { return s.At }, streams)
	if before != nil && after != nil && *after.CPUThrottles > *before.CPUThrottles {
		signs = append(signs, fmt.Sprintf("the processor slowed down for its heat %d times, by the kernel's count", *after.CPUThrottles-*before.CPUThrottles))
	}
	limited := slices.DeleteFunc(slices.Clone(system), func(s SystemSample) bool { return s.CPUSpeedLimit == nil })
	lowest := 100.0
	for _, s := range during(limited, func(s *SystemSample) time.Duration { return s.At }, streams) {
		lowest = min(lowest, *s.CPUSpeedLimit)
	}
	if lowest < 100 {
		signs = append(signs, fmt.Sprintf("macOS limited the processor to %.0f %% of its speed", lowest))
	}
	return strings.Join(signs, "; ")
}

// hotGPU looks at the samples of one GPU.
func hotGPU(own []GPUSample, streams []Span) string {
	named, all := 0, 0
	var margin, top *float64
	for i := range own {
		s := &own[i]
		if !within(s.At, streams) {
			continue
		}
		all++
		if slices.Contains(s.Reasons, "sw_thermal_slowdown") || slices.Contains(s.Reasons, "hw_thermal_slowdown") {
			named++
		}
		if s.Margin != nil && (margin == nil || *s.Margin < *margin) {
			margin = s.Margin
		}
		if s.Temperature != nil && (top == nil || *s.Temperature > *top) {
			top = s.Temperature
		}
	}
	heat := ""
	if top != nil {
		heat = fmt.Sprintf(", at most %.0f °C", *top)
	}
	counted := slices.DeleteFunc(slices.Clone(own), func(g GPUSample) bool { return g.SlowedHeat == nil })
	before, after := around(counted, func(s *GPUSample) time.Duration { return s.At }, streams)
	switch {
	case before != nil && after != nil && *after.SlowedHeat > *before.SlowedHeat:
		return fmt.Sprintf("slowed down for its heat for %.0f ms, by the driver's count%s", float64(*after.SlowedHeat-*before.SlowedHeat)/1000, heat)
	case named > 0:
		return fmt.Sprintf("slowed down for its heat in %d of %d readings%s", named, all, heat)
	case margin != nil && *margin <= 0:
		return fmt.Sprintf("no margin left to where it slows down%s", heat)
	}
	return ""
}

// indices lists the GPUs that samples are of, each once.
func indices(gpus []GPUSample) []GPUSample {
	var list []GPUSample
	for _, g := range gpus {
		if !slices.ContainsFunc(list, func(h GPUSample) bool { return h.Vendor == g.Vendor && h.Index == g.Index }) {
			list = append(list, g)
		}
	}
	return list
}

// busyGPU looks at the samples before anything was opened.
func busyGPU(gpus []GPUSample, base time.Duration) string {
	var signs []string
	for _, g := range gpus {
		if base > 0 && g.At <= base && g.UsePercent != nil && *g.UsePercent > busyBefore {
			signs = append(signs, fmt.Sprintf("%s GPU %d was %.0f %% in use before anything was opened", g.Vendor, g.Index, *g.UsePercent))
		}
	}
	return strings.Join(slices.Compact(signs), "; ")
}

// fallback needs GPUs that all tell their use, several readings, and CPUs that work.
func fallback(system []SystemSample, gpus []GPUSample, streams []Span, cpus int) string {
	type gpu struct {
		vendor string
		index  int
	}
	most, readings := 0.0, map[gpu]int{}
	for _, g := range gpus {
		if !within(g.At, streams) {
			continue
		}
		if g.UsePercent == nil {
			return ""
		}
		most = max(most, *g.UsePercent)
		readings[gpu{g.Vendor, g.Index}]++
	}
	least := 0
	for _, n := range readings {
		if least == 0 || n < least {
			least = n
		}
	}
	if least < leastIdle || most > idleGPU {
		return ""
	}
	var use float64
	n := 0
	for _, s := range system {
		if within(s.At, streams) && s.CPUPercent != nil {
			use, n = use+*s.CPUPercent, n+1
		}
	}
	if n == 0 || use/float64(n)/100*float64(cpus) < workingCPUs {
		return ""
	}
	return fmt.Sprintf("no GPU was over %.0f %% in use in %d readings while streams ran, and the CPUs were %.0f %% in use", most, least, use/float64(n))
}
