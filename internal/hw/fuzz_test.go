package hw

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/shirou/gopsutil/v4/cpu"
)

func FuzzNvidia(f *testing.F) {
	for _, dir := range []string{"synthetic_geforce-two", "synthetic_h200-mig", "synthetic_dgx-spark", "synthetic_a100-mig"} {
		table := fileOf("testdata/machines/"+dir, "nvidia-smi.csv")
		_, rows, _ := strings.Cut(table, "\n")
		f.Add(rows)
		f.Add(fileOf("testdata/machines/"+dir, "nvidia-smi-version.txt"))
		f.Add(fileOf("testdata/machines/"+dir, "nvidia-smi-list.txt"))
		f.Add(fileOf("testdata/machines/"+dir, "nvidia-smi-apps.csv"))
	}
	f.Add("\"index\"\n\"name\" or \"gpu_name\"\n\"clocks_throttle_reasons.active\"\n")
	f.Add("0x0000000000000464")
	f.Fuzz(func(t *testing.T, text string) {
		for _, fields := range [][]string{firstNames(nvidiaStatic), firstNames(nvidiaSampled)} {
			rows, err := parseNvidia(fields, text)
			for _, row := range rows {
				if err != nil || len(row) != len(fields) {
					t.Errorf("%v, %v", row, err)
				}
				g, gpuErr := row.gpu()
				s := row.sampled()
				for _, n := range []*float64{g.PowerLimit, g.ClockMax, s.UsePercent, s.Power, s.Temperature} {
					if n != nil && (*n < 0 || math.IsNaN(*n) || math.IsInf(*n, 0)) {
						t.Errorf("%g", *n)
					}
				}
				for _, n := range []*int64{g.VRAMTotal, s.MemoryUsed, s.SlowedHeat, s.SlowedPower} {
					if n != nil && *n < 0 {
						t.Errorf("%d", *n)
					}
				}
				for _, field := range nulls(g) {
					if gpuErr == nil && g.why[field] == "" {
						t.Errorf("%s is null without a reason: %v", field, row)
					}
				}
			}
		}
		if v := cudaVersion(text); len(v) > 0 && strings.Trim(v, "0123456789.") != "" {
			t.Errorf("CUDA %q", v)
		}
		for uuid, list := range parseInstances(text) {
			if uuid == "" || len(list) == 0 || len(list) > maxInstances {
				t.Errorf("%q: %d", uuid, len(list))
			}
		}
		if n, memory, err := parseProcesses(text); err == nil && (n < 0 || memory != nil && *memory < 0) {
			t.Errorf("%d, %v", n, memory)
		}
		for _, name := range pickFields(text, nvidiaSampled) {
			if !strings.Contains(text, name) {
				t.Errorf("%s is not listed", name)
			}
		}
		_, _ = reasonsOf(text)
	})
}

func FuzzSMBIOS(f *testing.F) {
	f.Add([]byte{17, 0x22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 1, 2, 0, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0x12, 'D', 'I', 'M', 'M', ' ', 'C', 'h', 'a', 'n', 'n', 'e', 'l', ' ', 'A', 0, 'P', '0', 0, 0, 127, 4, 0, 0, 0, 0})
	f.Add([]byte{17, 3})
	f.Add([]byte{0, 4, 0, 0, 'a'})
	f.Fuzz(func(t *testing.T, table []byte) {
		modules, err := parseSMBIOS(table)
		if err != nil && modules != nil || len(modules) > len(table) {
			t.Errorf("%d modules, %v", len(modules), err)
		}
		ram := ramOf(modules)
		if ram.Channels != nil && *ram.Channels > max(1, len(modules)) || ram.Speed != nil && (*ram.Speed <= 0 || *ram.Speed > 0xffff) {
			t.Errorf("%+v", ram)
		}
	})
}

func FuzzWindows(f *testing.F) {
	for _, dir := range []string{"synthetic_windows-geforce", "synthetic_windows-workstation"} {
		f.Add(fileOf("testdata/machines/"+dir, "powershell.json"))
		f.Add(fileOf("testdata/machines/"+dir, "powercfg.txt"))
	}
	f.Add(`{"cpu":{"value":[{"Name":"x"}],"Count":1},"video":null,"memory":[null,{"Capacity":1e99}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := parseCIM(text); err == nil {
			var fp Fingerprint
			fp.Reasons = map[string]string{}
			a.enter(&fp, fp.Reasons)
			if fp.CPU.ClockMax != nil && *fp.CPU.ClockMax <= 0 || (fp.CPU.SMT == nil) != (fp.Reasons["cpu.smt"] != "") {
				t.Errorf("%+v", fp)
			}
			for _, g := range a.gpus() {
				if g.Vendor == "" || g.Name == "" || g.VRAMTotal != nil && *g.VRAMTotal <= 0 {
					t.Errorf("%+v", g)
				}
			}
		}
		if mode := parseScheme(text); len(mode) > 24 {
			t.Errorf("%q", mode)
		}
	})
}

func FuzzApple(f *testing.F) {
	for _, dir := range []string{"synthetic_apple-m3-max", "synthetic_intel-mac"} {
		for _, file := range []string{"system_profiler.json", "pmset-g.txt", "pmset-g-batt.txt", "pmset-g-therm.txt", "notifyutil.txt"} {
			f.Add(fileOf("testdata/machines/"+dir, file))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, _, err := parseSystemProfiler(text)
		for _, g := range list {
			if err != nil || g.Vendor == "" || g.Name == "" || g.VRAMTotal != nil && *g.VRAMTotal <= 0 || g.Cores != nil && *g.Cores <= 0 {
				t.Errorf("%+v, %v", g, err)
			}
		}
		_, _ = parseBattery(text)
		_ = parsePowerMode(text)
		if limit, err := parseTherm(text); err == nil && (limit < 0 || limit > 999) {
			t.Errorf("%g", limit)
		}
		if word, err := parsePressure(text); err == nil && !slices.Contains(pressures, word) {
			t.Errorf("%q", word)
		}
	})
}

// A file of the kernel may hold anything in a container that shows its own.
func FuzzKernelFiles(f *testing.F) {
	f.Add("0-3,8", "1: 2482Mhz *\n", "0::/a/../../b\n3:cpu,cpuacct:/x\n", "MemAvailable: 5 kB")
	f.Add("A", "0", "0", "cpu") // once a panic
	f.Add("max 100000", "16.0 GT/s PCIe", "ID=x\nVERSION_ID=\"1\"", "cpu 1 2 3 4 5 6 7 8")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		if list := cpuList(a); len(list) > 1<<16+1 {
			t.Errorf("%d CPUs", len(list))
		}
		const card = "sys/class/drm/card0/device/"
		files := fstest.MapFS{}
		for name, text := range map[string]string{
			"proc/self/cgroup": c, "sys/fs/cgroup/cpu.max": a, "sys/fs/cgroup/memory.max": b, "proc/meminfo": d, "proc/stat": d, "proc/loadavg": a, "etc/os-release": c,
			cpuDir + "cpu0/cpu_capacity": a, cpuDir + "cpu1/cpu_capacity": b, cpuDir + "cpufreq/policy0/scaling_cur_freq": a, cpuDir + "cpu0/topology/physical_package_id": b,
			"sys/devices/cpu_core/cpus": a, "sys/devices/cpu_atom/cpus": b, "sys/class/power_supply/B/type": "Battery", "sys/class/power_supply/B/status": c,
			card + "vendor": "0x1002", card + "pp_dpm_sclk": b, card + "max_link_speed": b, card + "mem_info_vram_total": a, card + "uevent": c, card + "gpu_busy_percent": a, card + "gpu_metrics": d,
			"sys/class/hwmon/hwmon0/name": "coretemp", "sys/class/hwmon/hwmon0/temp1_input": a, "sys/class/powercap/intel-rapl:0/name": "package-0", "sys/class/powercap/intel-rapl:0/energy_uj": a,
			"proc/net/tcp": d, kfdDir + "/7/vram_1": a, "proc/version": c, "opt/rocm-6/.info/version": a,
		} {
			files[name] = &fstest.MapFile{Data: []byte(text)}
		}
		cpus, ram := cgroupLimits(files)
		if cpus != nil && !(*cpus > 0) || ram != nil && *ram <= 0 {
			t.Errorf("limits %v %v", cpus, ram)
		}
		for _, g := range drmGPUs(files) {
			if g.VRAMTotal != nil && *g.VRAMTotal <= 0 || g.PCIeGen != nil && (*g.PCIeGen < 1 || *g.PCIeGen > 7) {
				t.Errorf("%+v", g)
			}
		}
		s := source{files: files}
		s.kinds()
		s.packages([]cpu.InfoStat{})
		r := newReader(s)
		for range 2 {
			sample, gpus := r.look()
			for _, n := range []*float64{sample.CPUPercent, sample.CPUClock, sample.Load1m} {
				if n != nil && (*n < 0 || math.IsNaN(*n)) {
					t.Errorf("%+v", sample)
				}
			}
			for _, g := range gpus {
				if g.UsePercent != nil && (*g.UsePercent < 0 || *g.UsePercent > 100) {
					t.Errorf("%+v", g)
				}
			}
		}
		listeners(files, 8080)
		lineage(files, 7)
	})
}
