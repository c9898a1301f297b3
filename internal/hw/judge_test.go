package hw

import (
	"math"
	"strings"
	"testing"
	"time"
)

func is[T any](v T) *T { return &v }

// told is a Sampler that has seen this, base after the samples of second 0.
func told(system []SystemSample, gpus []GPUSample) *Sampler {
	return &Sampler{cpus: 8, base: time.Second / 2, series: Series{System: system, GPUs: gpus, Reasons: map[string]string{}}}
}

// seconds makes a sample of each value, one a second from 0 on.
func seconds[V, S any](values []V, of func(time.Duration, V) S) []S {
	var list []S
	for i, v := range values {
		list = append(list, of(time.Duration(i)*time.Second, v))
	}
	return list
}

// streams run from 3.2 s to 6.8 s: readings 4, 5 and 6 are within.
var streams = []Span{{3200 * time.Millisecond, 5 * time.Second}, {4 * time.Second, 6800 * time.Millisecond}}

// Each flag is provoked, and its absence shown by readings that come close.
func TestFindings(t *testing.T) {
	battery := func(values ...bool) []SystemSample {
		return seconds(values, func(at time.Duration, v bool) SystemSample { return SystemSample{At: at, OnBattery: &v} })
	}
	throttles := func(values ...int64) []SystemSample {
		return seconds(values, func(at time.Duration, v int64) SystemSample { return SystemSample{At: at, CPUThrottles: &v} })
	}
	limits := func(values ...float64) []SystemSample {
		return seconds(values, func(at time.Duration, v float64) SystemSample { return SystemSample{At: at, CPUSpeedLimit: &v} })
	}
	cpu := func(values ...float64) []SystemSample {
		return seconds(values, func(at time.Duration, v float64) SystemSample { return SystemSample{At: at, CPUPercent: &v} })
	}
	use := func(values ...float64) []GPUSample {
		return seconds(values, func(at time.Duration, v float64) GPUSample {
			return GPUSample{At: at, Vendor: "nvidia", UsePercent: &v}
		})
	}
	heat := func(values ...int64) []GPUSample {
		return seconds(values, func(at time.Duration, v int64) GPUSample {
			return GPUSample{At: at, Vendor: "nvidia", Index: 1, SlowedHeat: &v, Temperature: is(87.0)}
		})
	}
	reasons := func(values ...string) []GPUSample {
		return seconds(values, func(at time.Duration, v string) GPUSample {
			return GPUSample{At: at, Vendor: "nvidia", Reasons: strings.Fields(v), Temperature: is(83.0)}
		})
	}
	margins := func(values ...float64) []GPUSample {
		return seconds(values, func(at time.Duration, v float64) GPUSample { return GPUSample{At: at, Vendor: "nvidia", Margin: &v} })
	}
	brakes := func(values ...int64) []GPUSample {
		return seconds(values, func(at time.Duration, v int64) GPUSample {
			return GPUSample{At: at, Vendor: "nvidia", SlowedBrake: &v, SlowedHeat: is(int64(7))}
		})
	}
	residency := func(values ...int64) []GPUSample {
		return seconds(values, func(at time.Duration, v int64) GPUSample {
			return GPUSample{At: at, Vendor: "amd", HeatCycles: &v, Cycles: is(int64(at / time.Millisecond))}
		})
	}
	pressures := func(values ...string) []SystemSample {
		return seconds(values, func(at time.Duration, v string) SystemSample { return SystemSample{At: at, ThermalPressure: &v} })
	}
	many := func(n int, v float64) []float64 {
		list := make([]float64, n)
		for i := range list {
			list[i] = v
		}
		return list
	}
	for _, c := range []struct {
		name   string
		system []SystemSample
		gpus   []GPUSample
		want   map[string]string
	}{
		{name: "nothing is known"},
		{name: "all is well", system: append(battery(false, false, false, false, false, false, false, false), cpu(many(8, 5)...)...), gpus: use(0, 0, 0, 90, 95, 99, 97, 0)},

		{name: "on battery", system: battery(false, false, false, false, true, true, false, false), want: map[string]string{"on_battery": "on battery in 2 of 4 readings while streams ran"}},
		{name: "on battery before and after only", system: battery(true, true, false, false, false, false, false, true)},
		{name: "on battery, told when it changed", system: []SystemSample{{At: 1, OnBattery: is(true)}}, want: map[string]string{"on_battery": "in 1 of 1 readings"}},
		{name: "plugged in, told when it changed", system: []SystemSample{{At: 1, OnBattery: is(true)}, {At: 2, OnBattery: is(false)}}},

		{name: "GPU hot by its counter", gpus: heat(5, 5, 5, 5, 5, 1505, 1505, 1505), want: map[string]string{"thermal": "nvidia GPU 1: slowed down for its heat for 2 ms, by the driver's count, at most 87 °C"}},
		{name: "GPU hot before and after", gpus: heat(0, 900, 1000, 1000, 1000, 1000, 1000, 1000, 9999)},
		{name: "GPU hot by its reasons", gpus: reasons("", "", "", "", "sw_power_cap", "sw_thermal_slowdown sw_power_cap", "hw_thermal_slowdown", ""), want: map[string]string{"thermal": "slowed down for its heat in 2 of 3 readings, at most 83 °C"}},
		{name: "GPU capped, not hot", gpus: reasons("sw_thermal_slowdown", "", "", "", "sw_power_cap", "applications_clocks_setting", "gpu_idle", "hw_thermal_slowdown")},
		{name: "no margin left", gpus: margins(20, 20, 20, 4, 2, 0, 1, 20), want: map[string]string{"thermal": "no margin left"}},
		{name: "a margin left", gpus: margins(0, 20, 20, 4, 2, 1, 1, 0)},
		{name: "the hardware slows down, alone", gpus: reasons("", "", "", "", "hw_slowdown", "", "", ""), want: map[string]string{"thermal": "slowed down by its hardware, for heat or for want of power in 1 of 3 readings, at most 83 °C"}},
		{name: "the hardware slows down, with its cause", gpus: reasons("", "", "", "", "hw_slowdown hw_thermal_slowdown", "", "", ""), want: map[string]string{"thermal": "slowed down for its heat in 1 of 3 readings"}},
		{name: "power brake", gpus: reasons("", "", "", "", "hw_slowdown hw_power_brake_slowdown", "hw_power_brake_slowdown", "", ""), want: map[string]string{"thermal": "slowed down by a power brake, the signal of its power supply in 2 of 3 readings"}},
		{name: "power brake by its counter", gpus: brakes(0, 0, 0, 0, 9000, 9000, 9000), want: map[string]string{"thermal": "slowed down by a power brake, the signal of its power supply, for 9 ms, by the driver's count"}},
		{name: "AMD's reasons", gpus: reasons("", "", "", "", "power heat", "power", "current prochot", ""), want: map[string]string{"thermal": "slowed down by the signal that a processor is too hot, for its heat in 2 of 3 readings"}},
		{name: "AMD is capped", gpus: reasons("heat", "", "", "", "power", "power current", "throttled", "")},
		{name: "AMD's counters", gpus: residency(0, 0, 0, 0, 100, 300, 500, 900), want: map[string]string{"thermal": "slowed down for its heat in 22.5 % of the time between the readings around the streams, by the firmware's counters"}},
		{name: "AMD was hot before", gpus: residency(0, 100, 200, 300, 300, 300, 300, 300, 900)},
		{name: "macOS is under pressure", system: pressures("nominal", "nominal", "nominal", "nominal", "moderate", "heavy", "nominal"), want: map[string]string{"thermal": "macOS said that its thermal pressure was heavy in 2 of 4 readings"}},
		{name: "macOS was under pressure", system: pressures("heavy", "heavy", "nominal", "nominal", "nominal", "nominal", "nominal", "heavy")},
		{name: "CPU hot", system: throttles(7, 7, 7, 7, 7, 9, 12, 12), want: map[string]string{"thermal": "the processor slowed down for its heat 5 times"}},
		{name: "CPU was hot before", system: throttles(0, 3, 7, 7, 7, 7, 7, 7)},
		{name: "macOS limits", system: limits(100, 100, 100, 100, 100, 72, 100), want: map[string]string{"thermal": "macOS limited the processor to 72 % of its speed"}},
		{name: "macOS does not limit", system: limits(50, 100, 100, 100, 100, 100, 100)},

		{name: "GPU busy before", gpus: use(40, 0, 0, 0, 90, 90, 90), want: map[string]string{"gpu_busy": "nvidia GPU 0 was 40 % in use before anything was opened"}},
		{name: "a desktop draws", gpus: use(14, 90, 90, 90, 90, 90, 90)},
		{name: "GPU busy later: that is us", gpus: use(0, 90, 90, 90, 90, 90, 90)},

		{name: "on the CPU", system: cpu(many(8, 60)...), gpus: use(many(8, 1)...), want: map[string]string{"cpu_fallback": "no GPU was over 1 % in use in 3 readings while streams ran, and the CPUs were 60 % in use"}},
		{name: "on the GPU at times", system: cpu(many(8, 60)...), gpus: use(0, 0, 0, 0, 0, 30, 0, 0)},
		{name: "on no machine of ours: the CPUs rest", system: cpu(many(8, 4)...), gpus: use(many(8, 0)...)},
		{name: "too few readings", system: cpu(many(8, 60)...), gpus: use(0, 0, 0, 0, 0)},
		{name: "no GPU", system: cpu(many(8, 60)...)},
		{name: "a GPU that does not tell", system: cpu(many(8, 60)...), gpus: seconds(many(8, 0), func(at time.Duration, _ float64) GPUSample { return GPUSample{At: at, Vendor: "nvidia"} })},
	} {
		got := told(c.system, c.gpus).Findings(streams, nil)
		for _, f := range got {
			if want, ok := c.want[f.Name]; !ok || !strings.Contains(f.Evidence, want) {
				t.Errorf("%s: %s (%s)", c.name, f.Name, f.Evidence)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: got %+v, want %v", c.name, got, c.want)
		}
		if more := told(c.system, c.gpus).Findings(nil, nil); len(more) > 0 && more[0].Name != "gpu_busy" {
			t.Errorf("%s: without streams: %+v", c.name, more)
		}
	}
}

func TestJoules(t *testing.T) {
	power := func(index int, values ...float64) []GPUSample {
		return seconds(values, func(at time.Duration, v float64) GPUSample {
			return GPUSample{At: at, Vendor: "nvidia", Index: index, Power: &v}
		})
	}
	counter := func(values ...int64) []SystemSample {
		return seconds(values, func(at time.Duration, v int64) SystemSample { return SystemSample{At: at, CPUEnergy: &v} })
	}
	chip := func(values ...int64) []SystemSample {
		return seconds(values, func(at time.Duration, v int64) SystemSample { return SystemSample{At: at, ChipEnergy: &v} })
	}
	energies := func(vendor string, values ...int64) []GPUSample {
		return seconds(values, func(at time.Duration, v int64) GPUSample {
			return GPUSample{At: at, Vendor: vendor, Energy: &v, Power: is(1.0)}
		})
	}
	amd := []GPUSample{{Vendor: "amd", Power: is(100.0)}, {At: 2 * time.Second, Vendor: "amd", Power: is(100.0)}}
	sec := func(x float64) time.Duration { return time.Duration(x * float64(time.Second)) }
	for _, c := range []struct {
		name     string
		s        *Sampler
		from, to float64
		want     float64 // NaN: an error
		sensor   string  // or why there is none
	}{
		{"steady", told(nil, power(0, 100, 100, 100, 100)), 0.5, 2.5, 200, "power draw of one NVIDIA GPU by nvidia-smi"},
		{"a slope", told(nil, power(0, 0, 100, 200, 300)), 0, 3, 450, "one NVIDIA GPU"},
		{"a part of a slope", told(nil, power(0, 0, 100)), 0.25, 0.75, 25, "one NVIDIA GPU"},
		{"two GPUs", told(nil, append(power(0, 100, 100, 100), power(1, 10, 10, 10)...)), 0, 2, 220, "2 NVIDIA GPUs"},
		{"GPU before processor", told(counter(0, 5e6, 9e6), power(0, 100, 100, 100)), 0, 2, 200, "one NVIDIA GPU"},
		{"a counter", told(counter(0, 10e6, 30e6), nil), 0.5, 1.5, 15, "RAPL"},
		{"not seen to the end", told(nil, power(0, 100, 100, 100)), 1, 2.1, math.NaN(), "one NVIDIA GPU"},
		{"not seen from the start", told(nil, power(0, 100, 100)[1:]), 0, 1, math.NaN(), "one NVIDIA GPU"},
		{"a hole", told(nil, append(power(0, 100, 100), GPUSample{At: 9 * time.Second, Vendor: "nvidia", Power: is(1.0)})), 0, 9, math.NaN(), "one NVIDIA GPU"},
		{"one of two is silent", told(nil, append(power(0, 100, 100, 100), GPUSample{Vendor: "nvidia", Index: 1})), 0, 2, math.NaN(), "does not tell the power"},
		{"another maker's GPU", told(counter(0, 1e6), []GPUSample{{Vendor: "amd"}}), 0, 1, math.NaN(), "no counter covers this machine's GPU"},
		{"AMD's power", told(counter(0, 1e6, 2e6), amd), 0.5, 1.5, 100, "power draw of one AMD GPU by the kernel's sensor, integrated"},
		{"AMD's power is silent at times", told(nil, append(amd[:2:2], GPUSample{At: 2 * time.Second, Vendor: "amd"})), 0, 1, math.NaN(), "no counter covers"},
		{"AMD's counter before its power", told(nil, energies("amd", 5e9, 5e9+70e6, 5e9+140e6)), 0.5, 1.5, 70, "energy counter of one AMD GPU by the driver"},
		{"AMD's counter begins anew", told(nil, energies("amd", 5e9, 70e6, 140e6)), 0, 2, math.NaN(), "energy counter of one AMD GPU"},
		{"it began anew before", told(nil, energies("amd", 5e9, 70e6, 140e6, 210e6)), 2, 3, 70, "energy counter of one AMD GPU"},
		{"Intel's card", told(counter(0, 1e6), energies("intel", 1, 2e6, 4e6)), 1, 2, 2, "energy counter of one Intel GPU"},
		{"NVIDIA beside graphics of the processor", told(nil, append(power(0, 100, 100, 100), GPUSample{Vendor: "amd"})), 0, 2, 200, "one NVIDIA GPU"},
		{"NVIDIA and AMD", told(nil, append(power(0, 100, 100, 100), energies("amd", 1, 10e6, 20e6)...)), 1, 2, 110, "one NVIDIA GPU by nvidia-smi, integrated; the whole GPU, idle power included, and energy counter of one AMD GPU"},
		{"Apple's chip", told(chip(0, 20e6, 60e6), []GPUSample{{Vendor: "apple", Power: is(3.0)}}), 0.5, 1.5, 30, "energy of the chip (processor, graphics, neural engine) by powermetrics"},
		{"nothing", told(nil, nil), 0, 1, math.NaN(), "no sensor of power"},
	} {
		got, err := c.s.Joules(sec(c.from), sec(c.to))
		if math.IsNaN(c.want) != (err != nil) || err == nil && math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%s: %g, %v; want %g", c.name, got, err, c.want)
		}
		name, why := c.s.Sensor()
		if !strings.Contains(name+why, c.sensor) || (name == "") == (why == "") {
			t.Errorf("%s: sensor %q, why not %q", c.name, name, why)
		}
	}
	w := told(counter(0, 1e6), nil)
	w.cards = true // a GPU that shows no samples
	if name, why := w.Sensor(); name != "" || why != "no counter covers this machine's GPU" {
		t.Errorf("%q %q", name, why)
	}
	w = told(nil, nil)
	w.series.Reasons["cpu_energy_uj"] = "the administrator's alone"
	if _, why := w.Sensor(); why != "the administrator's alone" {
		t.Error(why)
	}
}

func TestParseProcesses(t *testing.T) {
	for _, c := range []struct {
		text   string
		n      int
		memory *int64
		bad    bool
	}{
		{"", 0, is(int64(0)), false},
		{"\n\n", 0, is(int64(0)), false},
		{"4242, 1024\n4243, 1\n", 2, is(int64(1025) << 20), false},
		{"4242, 1024\n4242, 1024\n", 1, is(int64(2048) << 20), false}, // one process on two GPUs
		{"4242, [N/A]\n", 1, nil, false},
		{"4242, [N/A]\n4243, 7\n", 2, nil, false},
		{"No running processes found", 0, nil, true},
		{"-1, 5", 0, nil, true},
		{"99999999999999999999, 5", 0, nil, true},
	} {
		n, memory, err := parseProcesses(c.text)
		same := memory == nil && c.memory == nil || memory != nil && c.memory != nil && *memory == *c.memory
		if n != c.n || (err != nil) != c.bad || !c.bad && !same {
			t.Errorf("%q: %d, %v, %v", c.text, n, memory, err)
		}
	}
}

// A stream of less than a second has no reading inside. Counters need none; else the readings around it are taken, and the
// evidence says so.
func TestShortStreams(t *testing.T) {
	short := []Span{{4200 * time.Millisecond, 4700 * time.Millisecond}}
	heat := func(values ...int64) []GPUSample {
		return seconds(values, func(at time.Duration, v int64) GPUSample {
			return GPUSample{At: at, Vendor: "nvidia", SlowedHeat: &v, Reasons: []string{"sw_thermal_slowdown"}}
		})
	}
	named := func(values ...string) []GPUSample {
		return seconds(values, func(at time.Duration, v string) GPUSample {
			return GPUSample{At: at, Vendor: "nvidia", Reasons: strings.Fields(v), Temperature: is(88.0)}
		})
	}
	for _, c := range []struct {
		name string
		gpus []GPUSample
		want string
	}{
		{"a counter grew across it", heat(0, 0, 0, 0, 0, 250000, 250000), "slowed down for its heat for 250 ms, by the driver's count"},
		{"a counter stood still, whatever the readings say", heat(0, 0, 0, 9, 9, 9, 999), ""},
		{"readings around it", named("", "", "", "", "hw_thermal_slowdown", "hw_thermal_slowdown", ""), "in 2 of 2 readings, at most 88 °C; these readings are from before and after the streams: none fell inside"},
		{"a reading after it", named("", "", "", "", "", "hw_slowdown", ""), "in 1 of 2 readings"},
		{"readings far from it", []GPUSample{{At: time.Second, Vendor: "nvidia", Reasons: []string{"hw_slowdown"}}, {At: 9 * time.Second, Vendor: "nvidia", Reasons: []string{"hw_slowdown"}}}, ""},
		{"cool", named("", "", "", "sw_thermal_slowdown", "", "", "sw_thermal_slowdown"), ""},
	} {
		got := told(nil, c.gpus).Findings(short, nil)
		if (len(got) == 0) != (c.want == "") || len(got) > 0 && (got[0].Name != "thermal" || !strings.Contains(got[0].Evidence, c.want)) {
			t.Errorf("%s: %+v, want %q", c.name, got, c.want)
		}
	}
	// What happened between two passes of a row is none of its business.
	apart := []Span{{time.Second, 2 * time.Second}, {20 * time.Second, 21 * time.Second}}
	var values []int64
	for i := range 24 {
		values = append(values, int64(min(max(i-5, 0), 10))*1000)
	}
	counted := heat(values...)
	for i := range counted {
		counted[i].Reasons = nil
	}
	if got := told(nil, counted).Findings(apart, nil); len(got) > 0 {
		t.Errorf("what slowed down other rows is told of this one: %+v", got)
	}
}

// A GPU that is busy while nothing of ours runs is somebody else's; one that cools down after our own request is not.
func TestBusyBetweenRequests(t *testing.T) {
	use := func(values ...float64) []GPUSample {
		return seconds(values, func(at time.Duration, v float64) GPUSample { return GPUSample{At: at, Vendor: "amd", UsePercent: &v} })
	}
	sec := func(from, to float64) Span {
		return Span{time.Duration(from * float64(time.Second)), time.Duration(to * float64(time.Second))}
	}
	own := []Span{sec(0.6, 1.8), sec(7.2, 9)}
	for _, c := range []struct {
		name    string
		gpus    []GPUSample
		streams []Span
		own     []Span
		want    string
	}{
		{"busy", use(0, 90, 90, 95, 60, 70, 80, 80, 99, 99), own[1:], own, "amd GPU 0 was up to 80 % in use in 4 of 4 readings between our requests"},
		{"busy once", use(0, 90, 90, 0, 60, 0, 0, 0, 99, 99), own[1:], own, ""},
		{"it only ends its work", use(0, 90, 90, 90, 0, 0, 0, 0, 99, 99), own[1:], own, ""},
		{"busy most of the time", use(0, 90, 90, 0, 0, 30, 40, 50, 99, 99), own[1:], own, "in 3 of 4 readings"},
		{"not told what is ours", use(0, 90, 90, 95, 60, 70, 80, 80, 99, 99), own[1:], nil, ""},
		{"another row's gap", use(0, 90, 90, 95, 60, 70, 80, 80, 99, 99), []Span{sec(60, 70)}, append(own, sec(60, 70)), ""},
	} {
		var got string
		for _, f := range told(nil, c.gpus).Findings(c.streams, c.own) {
			if f.Name == "gpu_busy" {
				got = f.Evidence
			}
		}
		if !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
