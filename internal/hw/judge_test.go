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
		{name: "GPU capped, not hot", gpus: reasons("sw_thermal_slowdown", "", "", "", "sw_power_cap", "hw_power_brake_slowdown", "gpu_idle", "hw_thermal_slowdown")},
		{name: "no margin left", gpus: margins(20, 20, 20, 4, 2, 0, 1, 20), want: map[string]string{"thermal": "no margin left"}},
		{name: "a margin left", gpus: margins(0, 20, 20, 4, 2, 1, 1, 0)},
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
		got := told(c.system, c.gpus).Findings(streams)
		for _, f := range got {
			if want, ok := c.want[f.Name]; !ok || !strings.Contains(f.Evidence, want) {
				t.Errorf("%s: %s (%s)", c.name, f.Name, f.Evidence)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: got %+v, want %v", c.name, got, c.want)
		}
		if more := told(c.system, c.gpus).Findings(nil); len(more) > 0 && more[0].Name != "gpu_busy" {
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
	amd := []GPUSample{{Vendor: "amd", Power: is(100.0)}, {At: 9 * time.Second, Vendor: "amd", Power: is(100.0)}}
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
		{"one of two is silent", told(nil, append(power(0, 100, 100, 100), GPUSample{Vendor: "nvidia", Index: 1})), 0, 2, 200, "does not tell the power"},
		{"another maker's GPU", told(counter(0, 1e6), amd), 0, 1, 1, "no counter covers this machine's GPU"},
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
