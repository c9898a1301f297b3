package hw

import (
	"context"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// linuxProbes read what the kernel shows in files, and the GPUs.
func (s source) linuxProbes() []probe[Fingerprint] {
	return []probe[Fingerprint]{
		{keys: []string{"cpu.limit_cpus", "ram_limit_bytes"}, run: s.limits},
		{keys: []string{"cpu.clock_max_mhz", "cpu.numa_nodes", "cpu.scaling_driver", "cpu.governor", "cpu.energy_preference", "cpu.smt", "cpu.turbo",
			"cpu.performance_cores", "cpu.efficiency_cores", "cpu.translated"}, run: s.linuxCPU},
		{keys: []string{"machine", "os.build", "os.wsl"}, run: s.linuxSystem},
		{keys: []string{"ram.modules", "ram.channels", "ram.speed_mts"}, run: s.linuxRAM},
		{keys: gpuKeys, limit: probeLimit + s.patience, run: s.linuxGPUs},
		{keys: []string{"runtimes.metal"}, run: absent[Fingerprint]("only macOS has it")},
	}
}

// absent is a probe of what a system does not have.
func absent[T any](why string) func(context.Context) (func(*T, map[string]string), error) {
	return func(context.Context) (func(*T, map[string]string), error) { return nil, notHereError(why) }
}

// notHereError is the reason why a field does not apply.
type notHereError string

// Error is the reason.
func (n notHereError) Error() string { return string(n) }

const cpuDir = "sys/devices/system/cpu/"

// linuxCPU reads how the CPUs are run. Virtual machines and small boards show little of it.
func (s source) linuxCPU(context.Context) (func(*Fingerprint, map[string]string), error) {
	clock := 0.0
	policies, _ := fs.Glob(s.files, cpuDir+"cpufreq/policy*")
	if len(policies) == 0 {
		policies, _ = fs.Glob(s.files, cpuDir+"cpu[0-9]*/cpufreq")
	}
	for _, p := range policies {
		clock = max(clock, number(read(s.files, p+"/cpuinfo_max_freq"))/1000)
	}
	nodes, _ := fs.Glob(s.files, "sys/devices/system/node/node[0-9]*/cpulist")
	driver := s.distinct(policies, "scaling_driver")
	governor, preference := s.distinct(policies, "scaling_governor"), s.distinct(policies, "energy_performance_preference")
	smt, smtWhy := onOff(read(s.files, cpuDir+"smt/active"), "1", "0")
	turbo, turboWhy := s.turbo(policies)
	performance, efficiency, oneKind := s.kinds()
	return func(fp *Fingerprint, reasons map[string]string) {
		hidden := "the kernel shows no frequency scaling here"
		fp.CPU.ClockMax = some(clock)
		fp.CPU.ScalingDriver, fp.CPU.Governor, fp.CPU.EnergyPreference = some(driver), some(governor), some(preference)
		for _, field := range []struct {
			key   string
			empty bool
		}{{"cpu.clock_max_mhz", clock == 0}, {"cpu.scaling_driver", driver == ""}, {"cpu.governor", governor == ""}} {
			if field.empty {
				reasons[field.key] = hidden
			}
		}
		if preference == "" {
			reasons["cpu.energy_preference"] = "the scaling driver has none"
		}
		fp.CPU.NUMANodes = known(len(nodes), reasons, "cpu.numa_nodes")
		if fp.CPU.SMT = smt; smt == nil {
			reasons["cpu.smt"] = smtWhy
		}
		if fp.CPU.Turbo = turbo; turbo == nil {
			reasons["cpu.turbo"] = turboWhy
		}
		if oneKind == "" {
			fp.CPU.PerformanceCores, fp.CPU.EfficiencyCores = &performance, &efficiency
		} else {
			reasons["cpu.performance_cores"], reasons["cpu.efficiency_cores"] = oneKind, oneKind
		}
		reasons["cpu.translated"] = "not looked for on Linux"
	}, nil
}

// distinct joins the different values of a file in several folders.
func (s source) distinct(dirs []string, name string) string {
	var values []string
	for _, d := range dirs {
		if v := read(s.files, d+"/"+name); v != "" && !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return strings.Join(values, ",")
}

func onOff(text, on, off string) (*bool, string) {
	yes, no := true, false
	switch text {
	case on:
		return &yes, ""
	case off:
		return &no, ""
	case "":
		return nil, "the kernel does not show it here"
	}
	return nil, "the kernel says " + strconv.Quote(text)
}

// turbo: Intel's driver says what is forbidden, the others what is allowed.
func (s source) turbo(policies []string) (*bool, string) {
	if text := read(s.files, cpuDir+"intel_pstate/no_turbo"); text != "" {
		return onOff(text, "0", "1")
	}
	if text := read(s.files, cpuDir+"cpufreq/boost"); text != "" {
		return onOff(text, "1", "0")
	}
	return onOff(s.distinct(policies, "boost"), "1", "0")
}

// kinds counts the cores of both kinds of a processor that has two, or says why it does not: Intel's are listed by the kernel,
// those of others tell their capacity.
func (s source) kinds() (performance, efficiency int, why string) {
	if performance, efficiency = s.cores("cpu_core"), s.cores("cpu_atom"); performance > 0 && efficiency > 0 {
		return performance, efficiency, ""
	}
	capacities := map[float64]int{}
	found, _ := fs.Glob(s.files, cpuDir+"cpu[0-9]*/cpu_capacity")
	most, least := 0.0, 0.0
	for _, f := range found {
		if n := number(read(s.files, f)); n > 0 {
			capacities[n]++
			if most = max(most, n); least == 0 || n < least {
				least = n
			}
		}
	}
	switch len(capacities) {
	case 0, 1:
		return 0, 0, "the kernel shows one kind of cores"
	case 2:
		return capacities[most], capacities[least], ""
	}
	return 0, 0, "the kernel shows cores of " + strconv.Itoa(len(capacities)) + " capacities"
}

// cores counts the physical cores of one kind on Intel's hybrid processors.
func (s source) cores(kind string) int {
	seen := map[string]bool{}
	for _, n := range cpuList(read(s.files, "sys/devices/"+kind+"/cpus")) {
		dir := cpuDir + "cpu" + strconv.Itoa(n) + "/topology/"
		if id := read(s.files, dir+"core_id"); id != "" {
			seen[read(s.files, dir+"physical_package_id")+"/"+id] = true
		}
	}
	return len(seen)
}

// cpuList understands "0-3,8"; of what is none of that it gives nothing.
func cpuList(text string) []int {
	var list []int
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		b := a
		if err == nil && isRange {
			b, err = strconv.Atoi(last)
		}
		if err != nil || a < 0 || b < a || b > 1<<16 {
			return nil
		}
		for ; a <= b; a++ {
			if list = append(list, a); len(list) > 1<<16 {
				return nil
			}
		}
	}
	return list
}

// linuxSystem reads the machine's name, the kernel's build and whether Windows is below.
func (s source) linuxSystem(context.Context) (func(*Fingerprint, map[string]string), error) {
	name := makerAndModel(read(s.files, "sys/class/dmi/id/sys_vendor"), read(s.files, "sys/class/dmi/id/product_name"))
	if name == "" { // boards without such firmware end this text with a zero
		name = strings.Trim(read(s.files, "proc/device-tree/model"), "\x00 ")
	}
	build := read(s.files, "proc/sys/kernel/version")
	wsl := wslVersion(read(s.files, "proc/version"))
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.Machine = known(name, reasons, "machine")
		fp.OS.Build = known(build, reasons, "os.build")
		fp.OS.WSL = known(wsl, reasons, "os.wsl")
	}, nil
}

// wslVersion is "none", "1" or "2"; "" where the kernel's name is not readable.
func wslVersion(version string) string {
	switch {
	case version == "":
		return ""
	case strings.Contains(version, "WSL2"), strings.Contains(version, "microsoft-standard"):
		return "2"
	case strings.Contains(version, "Microsoft"):
		return "1"
	}
	return "none"
}

// linuxRAM reads the firmware's table, which mostly the administrator alone may.
func (s source) linuxRAM(context.Context) (func(*Fingerprint, map[string]string), error) {
	table, err := fs.ReadFile(s.files, "sys/firmware/dmi/tables/DMI")
	if err != nil {
		return nil, notHereError("the firmware's table of modules is not readable to this user, or not there")
	}
	modules, err := parseSMBIOS(table)
	if err != nil {
		return nil, err
	}
	ram := ramOf(modules)
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.RAM = ram
		for _, field := range nulls(ram) {
			reasons["ram."+field] = "the firmware's table does not tell"
		}
	}, nil
}
