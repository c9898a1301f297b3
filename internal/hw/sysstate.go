package hw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// linuxState reads how the kernel runs the CPUs, and asks the GPUs.
func (s source) linuxState() []probe[Condition] {
	return []probe[Condition]{
		{keys: []string{"on_battery"}, run: func(context.Context) (func(*Condition, map[string]string), error) {
			on, err := batteryState(s.files)
			return func(c *Condition, _ map[string]string) { c.OnBattery = &on }, err
		}},
		{keys: []string{"cpu_clock_mhz", "cpu_temperature_c", "cpu_throttles", "governor", "power_mode"}, run: s.linuxCPUState},
		{keys: []string{"cpu_speed_limit_percent", "thermal_pressure"}, run: absent[Condition]("only macOS shows it")},
		{keys: []string{"gpu_processes", "gpu_processes_bytes"}, run: s.linuxProcesses},
		{keys: []string{"gpus"}, run: func(ctx context.Context) (func(*Condition, map[string]string), error) {
			ctx, cancel := context.WithTimeout(ctx, toolLimit)
			defer cancel()
			var amds []GPUState
			var amdErr error
			var wg sync.WaitGroup
			wg.Go(func() { amds, amdErr = s.amdState(ctx) })
			list, err := s.nvidiaState(ctx)
			wg.Wait()
			return enterStates(append(list, amds...), errors.Join(err, amdErr)), nil
		}},
	}
}

// enterStates puts the list in, with a reason for each field that is null.
func enterStates(list []GPUState, err error) func(*Condition, map[string]string) {
	return func(c *Condition, reasons map[string]string) {
		if err != nil {
			reasons["gpus"] = oneLine("may be incomplete: " + err.Error())
		}
		if c.GPUs = list; len(list) == 0 && err == nil {
			reasons["gpus"] = "no tool or driver shows the state of a GPU"
		}
		for i, g := range list {
			names := nulls(g)
			if g.Reasons == nil {
				names = append(names, "clock_reasons")
			}
			for _, field := range names {
				reasons[fmt.Sprintf("gpus[%d].%s", i, field)] = cmp.Or(g.why[field], silent)
			}
		}
	}
}

func (s source) linuxCPUState(context.Context) (func(*Condition, map[string]string), error) {
	policies, _ := fs.Glob(s.files, cpuDir+"cpufreq/policy*")
	if len(policies) == 0 {
		policies, _ = fs.Glob(s.files, cpuDir+"cpu[0-9]*/cpufreq")
	}
	var sum float64
	seen := 0
	for _, p := range policies {
		if khz := number(read(s.files, p+"/scaling_cur_freq")); khz > 0 {
			sum, seen = sum+khz/1000, seen+1
		}
	}
	var throttles *int64
	counts, _ := fs.Glob(s.files, cpuDir+"cpu[0-9]*/thermal_throttle/core_throttle_count")
	for _, f := range counts {
		if n, err := strconv.ParseInt(read(s.files, f), 10, 32); err == nil && n >= 0 {
			if throttles == nil {
				throttles = new(int64)
			}
			*throttles += n
		}
	}
	governor := s.distinct(policies, "scaling_governor")
	mode := read(s.files, "sys/firmware/acpi/platform_profile")
	hot := cpuTemperature(s.files)
	return func(c *Condition, reasons map[string]string) {
		if seen > 0 {
			c.CPUClock = some(sum / float64(seen))
		} else {
			reasons["cpu_clock_mhz"] = "the kernel shows no frequency scaling here"
		}
		if c.CPUTemperature = hot; hot == nil {
			reasons["cpu_temperature_c"] = "the kernel shows no sensor of the CPU"
		}
		if c.CPUThrottles = throttles; throttles == nil {
			reasons["cpu_throttles"] = "the kernel does not count them here"
		}
		c.Governor = known(governor, reasons, "governor")
		c.PowerMode = known(mode, reasons, "power_mode")
	}, nil
}

// cpuSensors are the kernel's names of sensors inside processors.
var cpuSensors = []string{"coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "x86_pkg_temp", "cpu-thermal"}

// cpuTemperature is that of the hottest sensor inside the processors, in °C.
func cpuTemperature(files fs.FS) *float64 {
	var hot *float64
	take := func(file string) {
		milli, err := strconv.ParseInt(read(files, file), 10, 32)
		if c := float64(milli) / 1000; err == nil && c > -60 && c < 200 && (hot == nil || c > *hot) {
			hot = &c
		}
	}
	named := func(pattern string, look func(dir string)) {
		found, _ := fs.Glob(files, pattern)
		for _, f := range found {
			if slices.Contains(cpuSensors, read(files, f)) {
				look(path.Dir(f))
			}
		}
	}
	named("sys/class/hwmon/hwmon*/name", func(dir string) {
		temps, _ := fs.Glob(files, dir+"/temp*_input")
		for _, t := range temps {
			take(t)
		}
	})
	if hot == nil {
		named("sys/class/thermal/thermal_zone*/type", func(dir string) { take(dir + "/temp") })
	}
	return hot
}

// drmState reads what AMD's driver shows; Intel's shows the energy of its cards, and NVIDIA's nothing.
func drmState(files fs.FS) []GPUState {
	var list []GPUState
	for _, dir := range cards(files) {
		if energy := cardEnergy(files, dir); energy != nil && read(files, dir+"/vendor") == "0x8086" {
			list = append(list, GPUState{Vendor: "intel", Energy: energy})
		}
		if read(files, dir+"/vendor") != "0x1002" {
			continue
		}
		g := GPUState{Vendor: "amd", why: map[string]string{"slowed_by_power_us": "only NVIDIA's driver counts it", "slowed_by_brake_us": "only NVIDIA's driver counts it", "slowed_by_heat_us": "only NVIDIA's driver counts it"}}
		if n, err := strconv.ParseFloat(read(files, dir+"/gpu_busy_percent"), 64); err == nil && n >= 0 && n <= 100 {
			g.UsePercent = &n
		}
		if n, err := strconv.ParseInt(read(files, dir+"/mem_info_vram_used"), 10, 62); err == nil && n >= 0 {
			g.MemoryUsed = &n
		}
		g.Clock, g.MemoryClock = activeOfTable(read(files, dir+"/pp_dpm_sclk")), activeOfTable(read(files, dir+"/pp_dpm_mclk"))
		if g.Power = microwatts(files, dir, "power1_average"); g.Power == nil {
			g.Power = microwatts(files, dir, "power1_input")
		}
		temps, _ := fs.Glob(files, dir+"/hwmon/hwmon*/temp1_input")
		for _, t := range temps {
			if milli, err := strconv.ParseInt(read(files, t), 10, 32); err == nil {
				c := float64(milli) / 1000
				g.Temperature = &c
			}
		}
		g.Level = some(read(files, dir+"/power_dpm_force_performance_level"))
		g.PCIeGen = linkGen(read(files, dir+"/current_link_speed"))
		if n := number(read(files, dir+"/current_link_width")); n > 0 && n <= 32 {
			g.PCIeWidth = some(int(n))
		}
		if b, err := fs.ReadFile(files, dir+"/gpu_metrics"); err == nil {
			gpuMetrics(b, &g)
		}
		if g.Energy == nil {
			g.Energy = cardEnergy(files, dir)
		}
		list = append(list, g)
	}
	return list
}

// cardEnergy is the energy counter that a card's driver shows among its sensors, in µJ.
func cardEnergy(files fs.FS, dir string) *int64 {
	found, _ := fs.Glob(files, dir+"/hwmon/hwmon*/energy1_input")
	for _, f := range found {
		if n, err := strconv.ParseInt(read(files, f), 10, 62); err == nil && n > 0 {
			return &n
		}
	}
	return nil
}

// activeOfTable is the clock that a table like "1: 2482Mhz *" marks, in MHz.
func activeOfTable(text string) *float64 {
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(strings.TrimSpace(line), "*") {
			continue
		}
		if _, clock, ok := strings.Cut(line, ":"); ok {
			if mhz, ok := amount(clock); ok {
				return &mhz
			}
		}
	}
	return nil
}

// darwinState asks pmset. Clocks and temperatures take an administrator there.
func (s source) darwinState() []probe[Condition] {
	return []probe[Condition]{
		{keys: []string{"on_battery"}, run: func(ctx context.Context) (func(*Condition, map[string]string), error) {
			out, err := s.run(ctx, "pmset", "-g", "batt")
			if err != nil {
				return nil, err
			}
			on, err := parseBattery(out)
			return func(c *Condition, _ map[string]string) { c.OnBattery = &on }, err
		}},
		{keys: []string{"power_mode"}, run: func(ctx context.Context) (func(*Condition, map[string]string), error) {
			out, err := s.run(ctx, "pmset", "-g")
			if err != nil {
				return nil, err
			}
			mode := parsePowerMode(out)
			return func(c *Condition, reasons map[string]string) { c.PowerMode = known(mode, reasons, "power_mode") }, nil
		}},
		{keys: []string{"cpu_speed_limit_percent"}, run: func(ctx context.Context) (func(*Condition, map[string]string), error) {
			out, err := s.run(ctx, "pmset", "-g", "therm")
			if err != nil {
				return nil, err
			}
			limit, err := parseTherm(out)
			return func(c *Condition, _ map[string]string) { c.CPUSpeedLimit = &limit }, err
		}},
		{keys: []string{"thermal_pressure"}, run: func(ctx context.Context) (func(*Condition, map[string]string), error) {
			out, err := s.run(ctx, "notifyutil", "-g", pressureKey)
			if err != nil {
				return nil, err
			}
			word, err := parsePressure(out)
			return func(c *Condition, _ map[string]string) { c.Pressure = &word }, err
		}},
		{keys: []string{"cpu_clock_mhz", "cpu_temperature_c", "cpu_throttles", "governor"}, run: absent[Condition]("macOS shows it to administrators alone, or not at all")},
		{keys: []string{"gpus", "gpu_processes", "gpu_processes_bytes"}, run: absent[Condition]("macOS shows it to administrators alone")},
	}
}

// parseBattery understands `pmset -g batt`.
func parseBattery(text string) (bool, error) {
	switch {
	case strings.Contains(text, "Now drawing from 'Battery Power'"):
		return true, nil
	case strings.Contains(text, "Now drawing from '"): // AC Power, UPS Power
		return false, nil
	}
	return false, fmt.Errorf("pmset: answer not understood: %s", quote(text))
}

var pmsetMode = regexp.MustCompile(`(?m)^\s*(lowpowermode|powermode)\s+(\d)\b`)

// parsePowerMode understands `pmset -g`: powermode 0, 1, 2 is automatic, low, high; older systems have lowpowermode alone.
func parsePowerMode(text string) string {
	mode := ""
	for _, m := range pmsetMode.FindAllStringSubmatch(text, -1) {
		switch {
		case m[2] == "0" && mode == "":
			mode = "automatic"
		case m[2] == "1":
			mode = "low"
		case m[2] == "2" && m[1] == "powermode":
			mode = "high"
		}
	}
	return mode
}

var speedLimit = regexp.MustCompile(`CPU_Speed_Limit\s*=\s*(\d{1,3})\b`)

// parseTherm understands `pmset -g therm`; Apple's own chips show words alone.
func parseTherm(text string) (float64, error) {
	if m := speedLimit.FindStringSubmatch(text); m != nil {
		return strconv.ParseFloat(m[1], 64)
	}
	return 0, errors.New("pmset names no limit")
}

// windowsState asks nvidia-smi, and powercfg, whose GUIDs are the same in all languages.
func (s source) windowsState() []probe[Condition] {
	return []probe[Condition]{
		{keys: []string{"gpu_processes", "gpu_processes_bytes"}, run: s.nvidiaProcesses},
		{keys: []string{"power_mode"}, run: func(ctx context.Context) (func(*Condition, map[string]string), error) {
			out, err := s.run(ctx, "powercfg", "/getactivescheme")
			if err != nil {
				return nil, err
			}
			mode := parseScheme(out)
			return func(c *Condition, reasons map[string]string) { c.PowerMode = known(mode, reasons, "power_mode") }, nil
		}},
		{keys: []string{"gpus"}, run: func(ctx context.Context) (func(*Condition, map[string]string), error) {
			ctx, cancel := context.WithTimeout(ctx, toolLimit)
			defer cancel()
			list, err := s.nvidiaState(ctx)
			if err == nil && len(list) == 0 {
				err = errors.New("only NVIDIA's GPUs are asked on Windows")
			}
			return enterStates(list, err), nil
		}},
		{keys: []string{"cpu_clock_mhz", "cpu_temperature_c", "cpu_throttles", "governor", "cpu_speed_limit_percent", "thermal_pressure"}, run: absent[Condition]("not looked for on Windows")},
	}
}

// schemes are Windows' own power schemes.
var schemes = map[string]string{
	"381b4222-f694-41f0-9685-ff5bb260df2e": "balanced", "8c5e7fda-e8bf-4a96-9a85-a6e23a8c635c": "high performance",
	"a1841308-3541-4fab-bc81-f71556f20b4a": "power saver", "e9a42b02-d5df-448d-aa00-03f14749eb61": "ultimate performance",
}

// parseScheme understands `powercfg /getactivescheme`; a scheme of the user's own is "custom", "" is none.
func parseScheme(text string) string {
	guid := regexp.MustCompile(`[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`).FindString(strings.ToLower(text))
	if guid == "" {
		return ""
	}
	return cmp.Or(schemes[guid], "custom")
}

// darwinFollowers are the commands by which macOS tells of changes: of the source of power, and of limits for its heat.
func darwinFollowers() []follower {
	return []follower{
		{part: "on_battery", name: "pmset", args: []string{"-g", "pslog"}, take: func(line string, s *SystemSample) bool {
			on, err := parseBattery(line)
			if err != nil {
				return false
			}
			s.OnBattery = &on
			return true
		}},
		{part: "cpu_speed_limit_percent", name: "pmset", args: []string{"-g", "thermlog"}, take: func(line string, s *SystemSample) bool {
			limit, err := parseTherm(line)
			if err != nil {
				return false
			}
			s.CPUSpeedLimit = &limit
			return true
		}},
		// It would keep what it prints until it ends, so that it is let end after each change.
		{part: "thermal_pressure", name: "notifyutil", first: []string{"-g", pressureKey}, args: []string{"-v", "-1", pressureKey}, again: true, take: func(line string, s *SystemSample) bool {
			word, err := parsePressure(line)
			if err != nil {
				return false
			}
			s.ThermalPressure = &word
			return true
		}},
	}
}
