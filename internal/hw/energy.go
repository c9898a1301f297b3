package hw

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxGap is the longest time between two readings over which power is taken for known.
const maxGap = 4 * time.Second

// meter is a sensor of energy: readings of a counter in joules, or of power in watts that is to be integrated.
type meter struct {
	name     string // with how many GPUs it is of in the place of %s
	readings []point
	power    bool
}

// joules is what it saw between two times. Between two readings power is taken to change steadily, and a counter to grow
// steadily.
func (m meter) joules(from, to time.Duration) (float64, error) {
	if m.power {
		return integral(m.readings, from, to)
	}
	first, err := at(m.readings, from)
	if err != nil {
		return 0, err
	}
	last, err := at(m.readings, to)
	if err != nil {
		return 0, err
	}
	for i := 1; i < len(m.readings); i++ {
		if a, b := m.readings[i-1], m.readings[i]; b.y < a.y && b.at >= from && a.at <= to {
			return 0, errors.New("the sensor's counter began anew")
		}
	}
	return last - first, nil
}

// The names of what GPUs are measured by.
const (
	byNvidiaSMI = "power draw of %s by nvidia-smi, integrated; the whole GPU, idle power included"
	byDriver    = "energy counter of %s by the driver; the whole GPU, idle power included"
	byKernel    = "power draw of %s by the kernel's sensor, integrated; the whole GPU, idle power included"
	byChip      = "energy of the chip (processor, graphics, neural engine) by powermetrics; the whole chip, idle power included"
	byRAPL      = "energy counters of the processor's packages (RAPL); the whole processor, idle power included"
)

// meters gives the sensors that together cover what a model can run on, or why there are none.
func (w *Sampler) meters() (list []meter, why string) {
	system, gpus, _, reasons := w.seen()
	counter := func(of func(*SystemSample) *int64) (ps []point) {
		for i := range system {
			if n := of(&system[i]); n != nil {
				ps = append(ps, point{system[i].At, float64(*n) / 1e6})
			}
		}
		return ps
	}
	if chip := counter(func(s *SystemSample) *int64 { return s.ChipEnergy }); len(chip) > 0 {
		return []meter{{name: byChip, readings: chip}}, ""
	}
	nvidia := slices.ContainsFunc(gpus, func(g GPUSample) bool { return g.Vendor == "nvidia" })
	for _, g := range indices(gpus) {
		m, missing := gpuMeter(g, gpus)
		switch {
		case missing == "":
			list = append(list, m)
		case !nvidia || g.Vendor == "nvidia": // beside NVIDIA's, graphics of the processor do not count
			return nil, missing
		}
	}
	switch {
	case len(list) > 0:
		return list, ""
	case len(gpus) > 0 || w.cards:
		return nil, "no counter covers this machine's GPU"
	case w.mayMiss():
		return nil, "nvidia-smi has not answered, so that there may be a GPU that no counter covers"
	}
	if rapl := counter(func(s *SystemSample) *int64 { return s.CPUEnergy }); len(rapl) > 0 {
		return []meter{{name: byRAPL, readings: rapl}}, ""
	}
	return nil, cmp.Or(reasons["chip_energy_uj"], reasons["cpu_energy_uj"], "no sensor of power or energy can be read")
}

// gpuMeter is the best sensor of one GPU: its counter, or its power.
func gpuMeter(of GPUSample, gpus []GPUSample) (m meter, why string) {
	var energy, power []point
	silent := false
	for _, g := range gpus {
		if g.Vendor != of.Vendor || g.Index != of.Index {
			continue
		}
		if g.Energy != nil {
			energy = append(energy, point{g.At, float64(*g.Energy) / 1e6})
		}
		if g.Power != nil {
			power = append(power, point{g.At, *g.Power})
		}
		silent = silent || g.Power == nil
	}
	switch {
	case len(energy) > 0:
		return meter{name: byDriver, readings: energy}, ""
	case of.Vendor == "nvidia" && silent:
		return m, "nvidia-smi does not tell the power draw"
	case of.Vendor == "nvidia":
		return meter{name: byNvidiaSMI, readings: power, power: true}, ""
	case len(power) == 0 || silent:
		return m, "no counter covers this machine's GPU"
	}
	return meter{name: byKernel, readings: power, power: true}, ""
}

// Sensor names what Joules reads; "" with the reason where there is nothing to read.
func (w *Sampler) Sensor() (name, why string) {
	list, why := w.meters()
	if why != "" {
		return "", why
	}
	_, gpus, _, _ := w.seen()
	makers := map[string]string{}
	for _, g := range gpus {
		makers[g.Vendor] = map[string]string{"nvidia": "NVIDIA GPU", "amd": "AMD GPU", "intel": "Intel GPU"}[g.Vendor]
	}
	var names []string
	count := map[string]int{}
	for _, m := range list {
		if count[m.name]++; !slices.Contains(names, m.name) {
			names = append(names, m.name)
		}
	}
	for i, n := range names {
		if strings.Contains(n, "%s") {
			names[i] = fmt.Sprintf(n, plural(count[n], measured(n, makers)))
		}
	}
	return strings.Join(names, ", and "), ""
}

// measured is what GPUs a sensor is of.
func measured(name string, makers map[string]string) string {
	if name == byNvidiaSMI {
		return "NVIDIA GPU"
	}
	if len(makers) == 1 {
		for _, text := range makers {
			return text
		}
	}
	return cmp.Or(makers["amd"], makers["intel"], "GPU")
}

func (w *Sampler) mayMiss() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unsure
}

func plural(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// errUnseen says that the readings do not cover an interval.
var errUnseen = errors.New("the sensor's readings do not cover it")

// Joules is what the Sensor saw between two times.
func (w *Sampler) Joules(from, to time.Duration) (float64, error) {
	list, why := w.meters()
	if why != "" {
		return 0, errors.New(why)
	}
	sum := 0.0
	for _, m := range list {
		j, err := m.joules(from, to)
		if err != nil {
			return 0, err
		}
		sum += j
	}
	return sum, nil
}

// point is a reading.
type point struct {
	at time.Duration
	y  float64
}

// at gives the value at a time by the readings around it.
func at(ps []point, when time.Duration) (float64, error) {
	for i := 1; i < len(ps); i++ {
		a, b := ps[i-1], ps[i]
		if when < a.at || when > b.at {
			continue
		}
		if b.at-a.at > maxGap {
			return 0, errUnseen
		}
		if b.at == a.at {
			return a.y, nil
		}
		return a.y + (b.y-a.y)*float64(when-a.at)/float64(b.at-a.at), nil
	}
	return 0, errUnseen
}

// integral sums up power over time, in joules.
func integral(ps []point, from, to time.Duration) (float64, error) {
	start, err := at(ps, from)
	if err != nil {
		return 0, err
	}
	end, err := at(ps, to)
	if err != nil {
		return 0, err
	}
	last, sum := point{from, start}, 0.0
	for _, p := range append(ps[:len(ps):len(ps)], point{to, end}) {
		if p.at <= last.at || p.at > to {
			continue
		}
		if p.at-last.at > maxGap {
			return 0, errUnseen
		}
		sum += (last.y + p.y) / 2 * (p.at - last.at).Seconds()
		last = p
	}
	return sum, nil
}
