package hw

import (
	"context"
	"errors"
	"os"
	"runtime"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"golang.org/x/sys/unix"
)

func (source) packages([]cpu.InfoStat) int {
	n, err := unix.SysctlUint32("hw.packages")
	if err != nil {
		return 0
	}
	return int(n)
}

func (source) distribution(context.Context) (func(*Fingerprint, map[string]string), error) {
	version, err := unix.Sysctl("kern.osproductversion")
	if err != nil {
		return nil, err
	}
	name := "macos"
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.OS.Distribution = &name
		fp.OS.Version = known(version, reasons, "os.version")
	}, nil
}

// toolFolders are the system's own alone: one of the tools runs as the administrator.
func toolFolders(func(string) string) string { return "/usr/bin:/usr/sbin" }

func powerOf(every time.Duration) (string, []string, error) {
	groups, _ := os.Getgroups() // none where they can't be told
	return powerTool(os.Geteuid(), groups, every)
}

func thisProcess() int { return os.Getpid() }

func platformProbes(s source) []probe[Fingerprint] {
	return []probe[Fingerprint]{
		{keys: []string{"gpus", "runtimes.metal"}, limit: profilerLimit, run: func(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
			chip, _ := unix.Sysctl("machdep.cpu.brand_string")
			return s.appleGPUs(ctx, chip)
		}},
		{keys: []string{"machine", "os.build", "cpu.performance_cores", "cpu.efficiency_cores", "cpu.clock_max_mhz", "cpu.translated", "cpu.smt"}, run: sysctls},
		{keys: []string{"ram.modules", "ram.channels", "ram.speed_mts"}, run: absent[Fingerprint]("macOS is not asked: its answer takes seconds")},
		{keys: []string{"cpu.numa_nodes", "cpu.scaling_driver", "cpu.governor", "cpu.energy_preference", "cpu.turbo"}, run: absent[Fingerprint]("macOS shows none")},
		{keys: []string{"cpu.limit_cpus", "ram_limit_bytes"}, run: absent[Fingerprint]("only Linux has control groups")},
		{keys: []string{"runtimes.cuda", "runtimes.rocm"}, run: absent[Fingerprint]("macOS has none")},
		{keys: []string{"os.wsl"}, run: absent[Fingerprint]("only Linux runs in it")},
	}
}

// sysctls asks for values one by one: a key that a Mac does not have is an error of its own.
func sysctls(context.Context) (func(*Fingerprint, map[string]string), error) {
	text := func(key string) string { v, _ := unix.Sysctl(key); return v }
	count := func(key string) int { v, _ := unix.SysctlUint32(key); return int(v) }
	model, build := text("hw.model"), text("kern.osversion")
	performance, efficiency := count("hw.perflevel0.physicalcpu"), count("hw.perflevel1.physicalcpu")
	hertz, _ := unix.SysctlUint64("hw.cpufrequency_max")
	cores, threads := count("hw.physicalcpu"), count("hw.logicalcpu")
	// The key is absent on Macs that can't translate, and there this program is not.
	translated := count("sysctl.proc_translated") == 1 && runtime.GOARCH == "amd64"
	if model == "" && cores == 0 {
		return nil, errors.New("sysctl does not answer")
	}
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.Machine = known(model, reasons, "machine")
		fp.OS.Build = known(build, reasons, "os.build")
		if performance > 0 && efficiency > 0 {
			fp.CPU.PerformanceCores, fp.CPU.EfficiencyCores = &performance, &efficiency
		} else {
			blame(reasons, []string{"cpu.performance_cores", "cpu.efficiency_cores"}, "macOS shows one kind of cores")
		}
		if fp.CPU.ClockMax = some(float64(hertz) / 1e6); hertz == 0 {
			reasons["cpu.clock_max_mhz"] = "macOS shows no clock of Apple's chips"
		}
		fp.CPU.Translated = &translated
		if cores > 0 && threads > 0 {
			on := threads > cores
			fp.CPU.SMT = &on
		} else {
			reasons["cpu.smt"] = silent
		}
	}, nil
}

func platformState(s source) []probe[Condition] { return s.darwinState() }

func systemLook(source) func(*SystemSample) { return gopsutilLook() }

func followers() []follower { return darwinFollowers() }

func (source) kernelVersion() (string, error) { return host.KernelVersion() }
