package hw

import (
	"fmt"
	"slices"
	"time"
)

// Span is a stretch of time on the Sampler's clock.
type Span struct{ From, To time.Duration }

// Finding is something about the machine that a row has to say.
type Finding struct {
	Name     string // thermal, on_battery, gpu_busy, cpu_busy, cpu_fallback
	Evidence string
}

// What is taken for a sign of something.
const (
	busyBefore  = 15.0 // percent of a GPU in use before anything was opened; desktops draw with less
	idleGPU     = 5.0  // percent of a GPU that no model of this run uses
	leastIdle   = 3    // readings that have to agree on that
	workingCPUs = 0.9  // CPUs' worth of time that a model takes at least
)

// Findings says what the samples show about a machine while streams ran. What no sample shows is not found. own are all
// stretches in which this run used the machine, in their order: requests of every kind, and the opening of a server.
func (w *Sampler) Findings(streams, own []Span) []Finding {
	system, gpus, base, _ := w.seen()
	var list []Finding
	add := func(name, evidence string) {
		if evidence != "" {
			list = append(list, Finding{name, evidence})
		}
	}
	add("thermal", thermal(system, gpus, streams))
	add("on_battery", battery(system, streams))
	add("gpu_busy", w.busyGPU(gpus, base, streams, own))
	add("cpu_busy", busyCPU(system, streams))
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
	for _, s := range during(told, systemAt, streams) {
		if all++; *s.OnBattery {
			on++
		}
	}
	if on == 0 {
		return ""
	}
	return fmt.Sprintf("on battery in %d of %d readings while streams ran", on, all)
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
