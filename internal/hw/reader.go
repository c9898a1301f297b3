package hw

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// reader reads what Linux shows about a running machine in files. What is there is found out once: looking for it costs more
// than reading it.
type reader struct {
	source
	policies  []string // of frequency scaling; at most maxCores
	throttles []string // counters of cores; at most maxCores
	sensors   []string // of the processors' temperature
	supplies  bool
	rapl      []*domain
	energyWhy string // why there is no energy of the processors
	others    func(*SystemSample)

	cpus        int     // logical ones of the machine
	cards       bool    // there are GPUs whose energy is not the processor's
	busy, total float64 // CPU time at the look before, in ticks
}

// maxCores bounds how many cores are read at each look; a read of a clock asks the core itself.
const maxCores = 64

// domain is one processor package's energy counter.
type domain struct {
	file     string
	wraps    int64 // µJ at which it begins anew
	last     int64
	sum      int64 // µJ since the first look
	readable bool
}

func newReader(s source) *reader {
	r := &reader{source: s, others: systemLook(s)}
	for line := range strings.Lines(read(s.files, "proc/stat")) {
		if rest, ok := strings.CutPrefix(line, "cpu"); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			r.cpus++
		}
	}
	if r.cpus == 0 {
		r.cpus = runtime.NumCPU()
	}
	r.cards = slices.ContainsFunc(drmGPUs(s.files), func(g GPU) bool { return g.Vendor != "intel" || g.VRAMTotal != nil })
	r.policies, _ = fs.Glob(s.files, cpuDir+"cpufreq/policy*/scaling_cur_freq")
	r.throttles, _ = fs.Glob(s.files, cpuDir+"cpu[0-9]*/thermal_throttle/core_throttle_count")
	r.policies, r.throttles = r.policies[:min(len(r.policies), maxCores)], r.throttles[:min(len(r.throttles), maxCores)]
	r.sensors = cpuSensorFiles(s.files)
	supplies, _ := fs.Glob(s.files, "sys/class/power_supply/*/type")
	r.supplies = len(supplies) > 0
	r.rapl, r.energyWhy = raplDomains(s.files)
	return r
}

// raplDomains finds the packages' counters. Cores and graphics inside a package are part of it, and psys is more than one.
func raplDomains(files fs.FS) (list []*domain, why string) {
	names, _ := fs.Glob(files, "sys/class/powercap/intel-rapl:*/name")
	for _, n := range names {
		if !strings.HasPrefix(read(files, n), "package-") {
			continue
		}
		dir := path.Dir(n)
		_, err := fs.ReadFile(files, dir+"/energy_uj")
		switch {
		case errors.Is(err, os.ErrPermission):
			return nil, "the processor's energy counters (RAPL) are readable to the administrator alone"
		case err != nil:
			return nil, "the processor's energy counters (RAPL) can't be read"
		}
		list = append(list, &domain{file: dir + "/energy_uj", wraps: int64(number(read(files, dir+"/max_energy_range_uj")))})
	}
	if len(list) == 0 {
		return nil, "the system shows no energy counters of the processor"
	}
	return list, ""
}

// look takes one sample, and those of GPUs that the kernel itself shows.
func (r *reader) look() (SystemSample, []GPUState) {
	var s SystemSample
	if load, _, ok := strings.Cut(read(r.files, "proc/loadavg"), " "); ok {
		s.Load1m = float(load)
	}
	s.CPUPercent = r.cpuUse()
	s.RAMAvailable = memAvailable(read(r.files, "proc/meminfo"))
	var sum float64
	seen := 0
	for _, f := range r.policies {
		if khz := number(read(r.files, f)); khz > 0 {
			sum, seen = sum+khz/1000, seen+1
		}
	}
	if seen > 0 {
		s.CPUClock = some(sum / float64(seen))
	}
	for _, f := range r.sensors {
		if milli, err := strconv.ParseInt(read(r.files, f), 10, 32); err == nil {
			if c := float64(milli) / 1000; c > -60 && c < 200 && (s.CPUTemperature == nil || c > *s.CPUTemperature) {
				s.CPUTemperature = &c
			}
		}
	}
	for _, f := range r.throttles {
		if n, err := strconv.ParseInt(read(r.files, f), 10, 32); err == nil && n >= 0 {
			if s.CPUThrottles == nil {
				s.CPUThrottles = new(int64)
			}
			*s.CPUThrottles += n
		}
	}
	s.CPUEnergy = r.energy()
	if r.supplies {
		if on, err := batteryState(r.files); err == nil {
			s.OnBattery = &on
		}
	}
	s.PowerMode = some(read(r.files, "sys/firmware/acpi/platform_profile"))
	if r.others != nil {
		r.others(&s)
	}
	return s, drmState(r.files)
}

// energy sums up the packages' counters, past their ends too.
func (r *reader) energy() *int64 {
	if len(r.rapl) == 0 {
		return nil
	}
	var sum int64
	for _, d := range r.rapl {
		now, err := strconv.ParseInt(read(r.files, d.file), 10, 62)
		if err != nil || now < 0 {
			return nil
		}
		if step := now - d.last; d.readable && step >= 0 {
			d.sum += step
		} else if d.readable && d.wraps > d.last {
			d.sum += d.wraps - d.last + now
		}
		d.last, d.readable = now, true
		sum += d.sum
	}
	return &sum
}

// cpuUse is the share of all CPUs' time that was used since the look before; nil at the first.
func (r *reader) cpuUse() *float64 {
	line, _, _ := strings.Cut(read(r.files, "proc/stat"), "\n")
	f := strings.Fields(line)
	if len(f) < 6 || f[0] != "cpu" {
		return nil
	}
	var total, idle float64
	for i, text := range f[1:min(len(f), 9)] { // guest time is in user time already
		n := number(text)
		total += n
		if i == 3 || i == 4 { // idle, and waiting for a disk
			idle += n
		}
	}
	busy, before, beforeAll := total-idle, r.busy, r.total
	r.busy, r.total = busy, total
	if beforeAll == 0 || total <= beforeAll || busy < before {
		return nil
	}
	use := (busy - before) / (total - beforeAll) * 100
	return &use
}

func memAvailable(meminfo string) *int64 {
	for line := range strings.Lines(meminfo) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			if f := strings.Fields(rest); len(f) == 2 && f[1] == "kB" {
				return some(int64(number(f[0])) << 10)
			}
		}
	}
	return nil
}

func float(text string) *float64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0) || n > 1<<40 {
		return nil
	}
	return &n
}

// cpuSensorFiles are those that cpuTemperature reads.
func cpuSensorFiles(files fs.FS) []string {
	var found []string
	named := func(pattern, below string) {
		list, _ := fs.Glob(files, pattern)
		for _, f := range list {
			if slices.Contains(cpuSensors, read(files, f)) {
				temps, _ := fs.Glob(files, path.Dir(f)+"/"+below)
				found = append(found, temps...)
			}
		}
	}
	if named("sys/class/hwmon/hwmon*/name", "temp*_input"); len(found) == 0 {
		named("sys/class/thermal/thermal_zone*/type", "temp")
	}
	return found[:min(len(found), maxCores)]
}
