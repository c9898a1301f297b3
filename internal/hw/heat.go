package hw

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// slowdowns are the reasons for which a GPU runs below its clocks against its will, in words. All raise the flag thermal: a
// power cap (sw_power_cap, ppt) is how a GPU is meant to run under load, and is none of them.
var slowdowns = map[string]string{
	"sw_thermal_slowdown": "for its heat", "hw_thermal_slowdown": "for its heat",
	"hw_power_brake_slowdown": "by a power brake, the signal of its power supply",
	"hw_slowdown":             "by its hardware, for heat or for want of power",
	"heat":                    "for its heat",
	"prochot":                 "by the signal that a processor is too hot",
}

// thermal says what slowed the machine down while streams ran; "" where nothing is seen.
func thermal(system []SystemSample, gpus []GPUSample, streams []Span) string {
	var signs []string
	for _, g := range indices(gpus) {
		own := slices.DeleteFunc(slices.Clone(gpus), func(s GPUSample) bool { return s.Vendor != g.Vendor || s.Index != g.Index })
		if text := hotGPU(own, streams); text != "" {
			signs = append(signs, fmt.Sprintf("%s GPU %d: %s", g.Vendor, g.Index, text))
		}
	}
	if n, _ := grown(system, streams, systemAt, func(s *SystemSample) *int64 { return s.CPUThrottles }); n > 0 {
		signs = append(signs, fmt.Sprintf("the processor slowed down for its heat %d times, by the kernel's count", n))
	}
	limited := slices.DeleteFunc(slices.Clone(system), func(s SystemSample) bool { return s.CPUSpeedLimit == nil })
	lowest := 100.0
	for _, s := range during(limited, systemAt, streams) {
		lowest = min(lowest, *s.CPUSpeedLimit)
	}
	if lowest < 100 {
		signs = append(signs, fmt.Sprintf("macOS limited the processor to %.0f %% of its speed", lowest))
	}
	if text := pressure(system, streams); text != "" {
		signs = append(signs, text)
	}
	return strings.Join(signs, "; ")
}

// pressure looks at macOS's own word for its heat. Anything but nominal means that it has begun to act against it.
func pressure(system []SystemSample, streams []Span) string {
	told := slices.DeleteFunc(slices.Clone(system), func(s SystemSample) bool { return s.ThermalPressure == nil })
	list := during(told, systemAt, streams)
	hot, word := 0, ""
	for _, s := range list {
		if *s.ThermalPressure != nominal {
			hot, word = hot+1, *s.ThermalPressure
		}
	}
	if hot == 0 {
		return ""
	}
	return fmt.Sprintf("macOS said that its thermal pressure was %s in %d of %d readings", word, hot, len(list))
}

func systemAt(s *SystemSample) time.Duration { return s.At }
func gpuAt(s *GPUSample) time.Duration       { return s.At }

// grown sums up how much a counter grew over the steps between readings that touch a span. A stream that is shorter than a
// step is inside one, so that a counter needs no reading within it. told is false where no step is known.
func grown[T any](list []T, spans []Span, at func(*T) time.Duration, counter func(*T) *int64) (sum int64, told bool) {
	var last *T
	for i := range list {
		s := &list[i]
		if counter(s) == nil {
			continue
		}
		if last != nil && slices.ContainsFunc(spans, func(x Span) bool { return at(s) >= x.From && at(last) <= x.To }) {
			told = true
			sum += max(0, *counter(s)-*counter(last)) // a counter that goes back has begun anew
		}
		last = s
	}
	return sum, told
}

// hotGPU looks at the samples of one GPU: at counters first, since they miss nothing, then at what was so at the moment of a
// reading. Of a stream without a reading inside, those before and after it count, unless a counter denies them.
func hotGPU(own []GPUSample, streams []Span) string {
	inside := slices.DeleteFunc(slices.Clone(own), func(g GPUSample) bool { return !within(g.At, streams) })
	heat := hottest(inside)
	var signs []string
	slowed, counted := grown(own, streams, gpuAt, func(g *GPUSample) *int64 { return g.SlowedHeat })
	if slowed > 0 {
		signs = append(signs, fmt.Sprintf("slowed down for its heat for %.0f ms, by the driver's count%s", float64(slowed)/1000, heat))
	}
	if brake, _ := grown(own, streams, gpuAt, func(g *GPUSample) *int64 { return g.SlowedBrake }); brake > 0 {
		signs = append(signs, fmt.Sprintf("slowed down by a power brake, the signal of its power supply, for %.0f ms, by the driver's count", float64(brake)/1000))
	}
	cycles, ticks := grown(own, streams, gpuAt, func(g *GPUSample) *int64 { return g.HeatCycles })
	all, _ := grown(own, streams, gpuAt, func(g *GPUSample) *int64 { return g.Cycles })
	if counted = counted || ticks && all > 0; cycles > 0 && all > 0 {
		signs = append(signs, fmt.Sprintf("slowed down for its heat in %.1f %% of the time between the readings around the streams, by the firmware's counters%s", min(100, float64(cycles)/float64(all)*100), heat))
	}
	switch {
	case len(signs) > 0:
		return strings.Join(signs, ", and ")
	case len(inside) > 0:
		if text := slowedIn(inside); text != "" {
			return text + heat
		}
		if noMargin(inside) {
			return "no margin left to where it slows down" + heat
		}
	case !counted:
		around := bracket(own, streams)
		if text := slowedIn(around); text != "" {
			return text + hottest(around) + "; these readings are from before and after the streams: none fell inside"
		}
	}
	return ""
}

// slowedIn says for what reasons a GPU was slowed down in samples, and in how many of them.
func slowedIn(list []GPUSample) string {
	named := 0
	var words []string
	for _, s := range list {
		hit := false
		for _, reason := range s.Reasons {
			word, slow := slowdowns[reason]
			// hw_slowdown is set beside what has caused it: alone it says less.
			if !slow || reason == "hw_slowdown" && (slices.Contains(s.Reasons, "hw_thermal_slowdown") || slices.Contains(s.Reasons, "hw_power_brake_slowdown")) {
				continue
			}
			if hit = true; !slices.Contains(words, word) {
				words = append(words, word)
			}
		}
		if hit {
			named++
		}
	}
	if named == 0 {
		return ""
	}
	slices.Sort(words)
	return fmt.Sprintf("slowed down %s in %d of %d readings", strings.Join(words, ", "), named, len(list))
}

func noMargin(list []GPUSample) bool {
	return slices.ContainsFunc(list, func(s GPUSample) bool { return s.Margin != nil && *s.Margin <= 0 })
}

// hottest is ", at most 83 °C", or nothing.
func hottest(list []GPUSample) string {
	var top *float64
	for _, s := range list {
		if s.Temperature != nil && (top == nil || *s.Temperature > *top) {
			top = s.Temperature
		}
	}
	if top == nil {
		return ""
	}
	return fmt.Sprintf(", at most %.0f °C", *top)
}

// bracketWithin is how far a reading may be from a stream to say something about it.
const bracketWithin = 2 * time.Second

// bracket gives the last sample before each span and the first after it, each sample once.
func bracket(own []GPUSample, spans []Span) []GPUSample {
	var found []GPUSample
	put := func(s *GPUSample) {
		if s != nil && !slices.ContainsFunc(found, func(f GPUSample) bool { return f.At == s.At }) {
			found = append(found, *s)
		}
	}
	for _, span := range spans {
		var before, after *GPUSample
		for i := range own {
			s := &own[i]
			if s.At < span.From && s.At >= span.From-bracketWithin {
				before = s
			}
			if s.At > span.To && s.At <= span.To+bracketWithin && after == nil {
				after = s
			}
		}
		put(before)
		put(after)
	}
	return found
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
