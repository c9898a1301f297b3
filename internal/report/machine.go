package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// machineView is what of a fingerprint and of a machine's state is shown; see package hw for what each field means. What is
// null is left out of the page: the JSON has it, with the reason.
type machineView struct {
	Machine string `json:"machine"`
	CPU     struct {
		Model       string  `json:"model"`
		Sockets     int     `json:"sockets"`
		Cores       int     `json:"cores"`
		Threads     int     `json:"threads"`
		Performance int     `json:"performance_cores"`
		Efficiency  int     `json:"efficiency_cores"`
		ClockMax    float64 `json:"clock_max_mhz"`
		NUMANodes   int     `json:"numa_nodes"`
		Governor    string  `json:"governor"`
		SMT         *bool   `json:"smt"`
		Turbo       *bool   `json:"turbo"`
		Limit       float64 `json:"limit_cpus"`
		Usable      int     `json:"usable_threads"`
		Translated  bool    `json:"translated"`
	} `json:"cpu"`
	RAMTotal     int64 `json:"ram_total_bytes"`
	RAMAvailable int64 `json:"ram_available_bytes"`
	RAMLimit     int64 `json:"ram_limit_bytes"`
	RAM          struct {
		Modules  int `json:"modules"`
		Channels int `json:"channels"`
		Speed    int `json:"speed_mts"`
	} `json:"ram"`
	OS struct {
		Name         string `json:"name"`
		Arch         string `json:"arch"`
		Distribution string `json:"distribution"`
		Version      string `json:"version"`
		Kernel       string `json:"kernel"`
		WSL          string `json:"wsl"`
	} `json:"os"`
	Virtualization string            `json:"virtualization"`
	GPUs           []machineGPU      `json:"gpus"`
	Runtimes       map[string]string `json:"runtimes"`
	Reasons        map[string]string `json:"reasons"`
}

type machineGPU struct {
	Vendor        string   `json:"vendor"`
	Name          string   `json:"name"`
	VRAM          int64    `json:"vram_total_bytes"`
	Shared        int64    `json:"shared_total_bytes"`
	Driver        string   `json:"driver"`
	DriverModel   string   `json:"driver_model"`
	Architecture  string   `json:"architecture"`
	Cores         int      `json:"cores"`
	PowerLimit    float64  `json:"power_limit_w"`
	PowerEnforced float64  `json:"power_enforced_w"`
	PowerMax      float64  `json:"power_max_w"`
	PCIeGen       int      `json:"pcie_gen_max"`
	PCIeWidth     int      `json:"pcie_width_max"`
	MIG           bool     `json:"mig"`
	Instances     []string `json:"mig_instances"`
	ECC           *bool    `json:"ecc"`
	Persistence   *bool    `json:"persistence"`
}

// stateView is what of a machine's state is shown.
type stateView struct {
	Load1m       *float64          `json:"load_1m"`
	CPUPercent   *float64          `json:"cpu_percent"`
	CPUClock     float64           `json:"cpu_clock_mhz"`
	Temperature  *float64          `json:"cpu_temperature_c"`
	SpeedLimit   float64           `json:"cpu_speed_limit_percent"`
	Reasons      map[string]string `json:"reasons"`
	RAMAvailable int64             `json:"ram_available_bytes"`
	PowerMode    string            `json:"power_mode"`
	OnBattery    *bool             `json:"on_battery"`
	GPUs         []struct {
		Vendor      string   `json:"vendor"`
		UsePercent  *float64 `json:"use_percent"`
		MemoryUsed  *int64   `json:"memory_used_bytes"`
		Clock       float64  `json:"clock_mhz"`
		Temperature *float64 `json:"temperature_c"`
		Power       *float64 `json:"power_w"`
		Level       string   `json:"performance_state"`
		Reasons     []string `json:"clock_reasons"`
	} `json:"gpus"`
}

// Machine writes what a machine is and what it does now, from a fingerprint and a state as package hw gives them; state may
// be nil. What would spoil a measurement stands below, each with what to do about it.
func Machine(w io.Writer, fingerprint, state json.RawMessage, style Style) error {
	var m machineView
	if err := json.Unmarshal(fingerprint, &m); err != nil {
		return fmt.Errorf("show the machine: %w", err)
	}
	var s stateView
	if len(state) > 0 {
		if err := json.Unmarshal(state, &s); err != nil {
			return fmt.Errorf("show the machine's state: %w", err)
		}
	}
	p := &page{w: w, style: style}
	// A name stands on the first of its lines that says something.
	put := func(name string, lines ...[]string) {
		for _, parts := range lines {
			if parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" }); len(parts) > 0 {
				p.packed(plain, "  "+padRight(name, 11), parts, separator)
				name = ""
			}
		}
	}
	p.line(bold, "Machine")
	put("model", []string{m.Machine})
	put("processor", m.processor(), m.cpuSettings())
	put("memory", m.memory(s))
	for i := range m.GPUs {
		name := "GPU"
		if len(m.GPUs) > 1 {
			name = "GPU " + strconv.Itoa(i)
		}
		g := &m.GPUs[i]
		var now []string
		if at := m.stateOf(i, s); at >= 0 {
			now = s.gpu(at)
		}
		put(name, []string{g.Name, sized(g.VRAM, ""), sized(g.Shared, " shared with the processor")}, g.details(m.Runtimes), now)
	}
	if len(m.GPUs) == 0 {
		none := "none found"
		if m.GPUs == nil {
			none = "not known: " + m.Reasons["gpus"]
		}
		p.wrapped(plain, "  "+padRight("GPU", 11), none)
	}
	put("system", []string{join(" ", m.OS.Distribution, m.OS.Version), join(" ", m.OS.Name, m.OS.Kernel), m.OS.Arch, m.around()})
	put("now", s.now())
	for i, line := range m.unknown(s) {
		p.wrapped(dim, "  "+padRight(map[bool]string{true: "not known"}[i == 0], 11), line)
	}
	for _, hint := range m.hints(s) {
		p.wrapped(yellow, "  ! ", hint)
	}
	return p.err
}

// maxUnknown is how many lines say what is not known; the JSON has all.
const maxUnknown = 6

// unknown says why what has a place on the page is not there, a line for each reason.
func (m *machineView) unknown(s stateView) []string {
	type place struct{ key, word string }
	places := []place{
		{"cpu.model", "processor"}, {"cpu.cores", "cores"}, {"cpu.clock_max_mhz", "highest clock"}, {"cpu.governor", "governor"}, {"cpu.turbo", "turbo"},
		{"ram.modules", "memory modules"}, {"ram.speed_mts", "speed of the memory"}, {"os.distribution", "distribution"},
	}
	reasons := map[string]string{}
	maps.Copy(reasons, m.Reasons)
	for i := range m.GPUs {
		gpu := "GPU"
		if len(m.GPUs) > 1 {
			gpu = "GPU " + strconv.Itoa(i)
		}
		for _, x := range []place{{"vram_total_bytes", "memory"}, {"driver", "driver"}, {"power_limit_w", "power limit"}, {"mig_instances", "instances"}} {
			vendor := m.GPUs[i].Vendor
			if vendor == "apple" && x.key == "driver" || x.key == "power_limit_w" && (vendor == "apple" || vendor == "intel" || m.GPUs[i].PowerEnforced > 0) {
				continue // there is no such thing, or another one says it
			}
			places = append(places, place{fmt.Sprintf("gpus[%d].%s", i, x.key), gpu + " " + x.word})
		}
		at := m.stateOf(i, s)
		if at < 0 {
			continue
		}
		for _, x := range []place{{"use_percent", "use"}, {"temperature_c", "temperature"}, {"power_w", "power draw"}} {
			key := fmt.Sprintf("now.gpus[%d].%s", at, x.key)
			reasons[key] = s.Reasons[fmt.Sprintf("gpus[%d].%s", at, x.key)]
			places = append(places, place{key, gpu + " " + x.word})
		}
	}
	var order []string
	words := map[string][]string{}
	for _, x := range places {
		why := reasons[x.key]
		if why == "" || strings.HasSuffix(m.Reasons["gpus"], why) { // that is said below
			continue
		}
		if words[why] == nil {
			order = append(order, why)
		}
		words[why] = append(words[why], x.word)
	}
	var lines []string
	for _, why := range order {
		lines = append(lines, strings.Join(words[why], ", ")+": "+why)
	}
	if more := len(lines) - maxUnknown; more > 0 {
		lines = append(lines[:maxUnknown], fmt.Sprintf("and more, for %s: detect --json has them all", Count(more, "other reason")))
	}
	return lines
}

// stateOf finds the state of a GPU: those of one maker are in one order, where all of them have one. It is -1 where that is
// not known.
func (m *machineView) stateOf(i int, s stateView) int {
	vendor := m.GPUs[i].Vendor
	nth, all := 0, 0
	for n, g := range m.GPUs {
		if g.Vendor == vendor {
			if all++; n < i {
				nth++
			}
		}
	}
	var at []int
	for n, g := range s.GPUs {
		if g.Vendor == vendor {
			at = append(at, n)
		}
	}
	if len(at) != all {
		return -1
	}
	return at[nth]
}

func sized(n int64, what string) string {
	if n <= 0 {
		return ""
	}
	return memoryText(n) + what
}

// counted0 is "16 cores", or nothing for 0.
func counted0(n int, noun string) string {
	if n <= 0 {
		return ""
	}
	return Count(n, noun)
}

func (m *machineView) processor() []string {
	cores := counted0(m.CPU.Cores, "core")
	if m.CPU.Performance > 0 && m.CPU.Efficiency > 0 {
		cores = strings.TrimSpace(fmt.Sprintf("%s (%d fast, %d efficient)", counted0(m.CPU.Cores, "core"), m.CPU.Performance, m.CPU.Efficiency))
	}
	sockets := ""
	if m.CPU.Sockets > 1 {
		sockets = Count(m.CPU.Sockets, "socket")
	}
	clock := ""
	if m.CPU.ClockMax > 0 {
		clock = fmt.Sprintf("up to %.1f GHz", m.CPU.ClockMax/1000)
	}
	return []string{m.CPU.Model, sockets, cores, counted0(m.CPU.Threads, "thread"), clock}
}

func (m *machineView) cpuSettings() []string {
	governor := ""
	if m.CPU.Governor != "" {
		governor = "governor " + m.CPU.Governor
	}
	nodes := ""
	if m.CPU.NUMANodes > 1 {
		nodes = Count(m.CPU.NUMANodes, "NUMA node")
	}
	limit := ""
	if m.CPU.Limit > 0 {
		limit = "limited to " + strings.TrimSuffix(strconv.FormatFloat(m.CPU.Limit, 'f', 1, 64), ".0") + " CPUs by its container"
	} else if m.CPU.Usable > 0 && m.CPU.Usable < m.CPU.Threads {
		limit = fmt.Sprintf("%d threads may be used", m.CPU.Usable)
	}
	return []string{nodes, governor, switched("turbo", m.CPU.Turbo), switched("SMT", m.CPU.SMT), limit}
}

func switched(what string, on *bool) string {
	switch {
	case on == nil:
		return ""
	case *on:
		return what + " on"
	}
	return what + " off"
}

func (m *machineView) memory(s stateView) []string {
	modules, speed, free, limit := "", "", "", ""
	if m.RAM.Modules > 0 {
		modules = Count(m.RAM.Modules, "module")
		if m.RAM.Channels > 0 {
			modules += " on " + Count(m.RAM.Channels, "channel")
		}
	}
	if m.RAM.Speed > 0 {
		speed = thousands(strconv.Itoa(m.RAM.Speed)) + " MT/s"
	}
	if s.RAMAvailable > 0 {
		free = memoryText(s.RAMAvailable) + " free"
	}
	if m.RAMLimit > 0 {
		limit = "limited to " + memoryText(m.RAMLimit) + " by its container"
	}
	return []string{sized(m.RAMTotal, ""), modules, speed, free, limit}
}

func (g *machineGPU) details(runtimes map[string]string) []string {
	labelled := func(label, text string) string {
		if text == "" {
			return ""
		}
		return label + " " + text
	}
	runtime, arch, cores := "", g.Architecture, ""
	switch g.Vendor {
	case "nvidia":
		runtime, arch = labelled("CUDA", runtimes["cuda"]), labelled("compute", g.Architecture)
	case "amd":
		runtime = labelled("ROCm", runtimes["rocm"])
		cores = counted0(g.Cores, "compute unit")
	case "apple":
		runtime = runtimes["metal"]
		cores = counted0(g.Cores, "core")
	}
	power := ""
	if watts := max(g.PowerEnforced, 0); watts > 0 || g.PowerLimit > 0 {
		if watts == 0 {
			watts = g.PowerLimit
		}
		power = fmt.Sprintf("limit %.0f W", watts)
		if g.PowerMax > watts {
			power += fmt.Sprintf(" of %.0f W", g.PowerMax)
		}
	}
	link := ""
	if g.PCIeGen > 0 && g.PCIeWidth > 0 {
		link = fmt.Sprintf("PCIe %d x%d", g.PCIeGen, g.PCIeWidth)
	}
	mig := ""
	if g.MIG {
		mig = "cut into instances (MIG)"
		if len(g.Instances) > 0 {
			mig = "cut into instances (MIG): " + strings.Join(g.Instances, ", ")
		}
	}
	return []string{labelled("driver", join(" ", g.Driver, g.DriverModel)), runtime, arch, cores, power, link, switched("ECC", g.ECC), mig}
}

func (s *stateView) gpu(i int) []string {
	g := &s.GPUs[i]
	var parts []string
	if g.UsePercent != nil {
		parts = append(parts, fmt.Sprintf("%.0f %% in use", *g.UsePercent))
	}
	if g.MemoryUsed != nil {
		taken := fmt.Sprintf("%d MiB", *g.MemoryUsed>>20)
		if *g.MemoryUsed >= 1<<30 {
			taken = memoryText(*g.MemoryUsed)
		}
		parts = append(parts, taken+" taken")
	}
	if g.Temperature != nil {
		parts = append(parts, fmt.Sprintf("%.0f °C", *g.Temperature))
	}
	if g.Power != nil {
		parts = append(parts, fmt.Sprintf("%.0f W", *g.Power))
	}
	if len(parts) > 0 {
		parts[0] = "now " + parts[0]
	}
	return parts
}

// around is what the system runs in.
func (m *machineView) around() string {
	switch {
	case m.OS.WSL != "" && m.OS.WSL != "none":
		return "WSL " + m.OS.WSL
	case m.Virtualization == "hypervisor":
		return "in a virtual machine"
	case m.Virtualization != "" && m.Virtualization != "none":
		return "in " + m.Virtualization
	}
	return ""
}

func (s *stateView) now() []string {
	var parts []string
	if s.CPUPercent != nil {
		parts = append(parts, fmt.Sprintf("CPU %.0f %% in use", *s.CPUPercent))
	}
	if s.Load1m != nil {
		parts = append(parts, fmt.Sprintf("load %.1f", *s.Load1m))
	}
	if s.CPUClock > 0 {
		parts = append(parts, fmt.Sprintf("%.1f GHz", s.CPUClock/1000))
	}
	if s.Temperature != nil {
		parts = append(parts, fmt.Sprintf("%.0f °C", *s.Temperature))
	}
	if s.PowerMode != "" {
		parts = append(parts, "power mode "+s.PowerMode)
	}
	if s.OnBattery != nil && *s.OnBattery {
		parts = append(parts, "on battery")
	}
	return parts
}

// hot are the reasons for which a GPU is slow and should not be: heat, and the hardware's word for heat or want of power.
var hot = []string{"sw_thermal_slowdown", "hw_thermal_slowdown", "hw_slowdown", "heat", "prochot"}

// hints are what would spoil a measurement, and what to do about it.
func (m *machineView) hints(s stateView) []string {
	var list []string
	if s.OnBattery != nil && *s.OnBattery {
		list = append(list, "on battery: the machine may run slower; plug it in")
	}
	if s.SpeedLimit > 0 && s.SpeedLimit < 100 {
		list = append(list, fmt.Sprintf("macOS limits the processor to %.0f %% of its speed: let it cool down", s.SpeedLimit))
	}
	if m.CPU.Governor == "powersave" && s.PowerMode == "low-power" || s.PowerMode == "power saver" || s.PowerMode == "low" {
		list = append(list, "a mode that saves power is set: choose a faster one")
	}
	if m.CPU.Translated {
		list = append(list, "this program runs under an emulation: install the one for this processor")
	}
	// Looking at a machine takes some of it: the load of the last minute says more than a moment's use.
	if s.Load1m != nil && m.CPU.Threads > 0 && *s.Load1m > float64(m.CPU.Threads)/2 {
		list = append(list, fmt.Sprintf("other programs keep the processor busy (load %.1f on %s): end them before a run", *s.Load1m, Count(m.CPU.Threads, "thread")))
	}
	for i, g := range s.GPUs {
		if g.UsePercent != nil && *g.UsePercent > 15 {
			list = append(list, fmt.Sprintf("GPU %d is %.0f %% in use by other programs: a run now gets the flag gpu_busy", i, *g.UsePercent))
		}
		if slices.ContainsFunc(g.Reasons, func(r string) bool { return slices.Contains(hot, r) }) {
			list = append(list, fmt.Sprintf("GPU %d slows down for its heat: look to its cooling", i))
		}
	}
	if why := m.Reasons["gpus"]; why != "" && len(m.GPUs) > 0 {
		list = append(list, "the list of GPUs "+why)
	}
	return list
}
