package hw

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// maxGap is the longest time between two readings over which power is taken for known.
const maxGap = 4 * time.Second

// Sensor names what Joules reads; "" with the reason where there is nothing to read.
func (w *Sampler) Sensor() (name, why string) {
	system, gpus, _, reasons := w.seen()
	measured, silent := map[int]bool{}, false
	for _, g := range gpus {
		if g.Vendor != "nvidia" {
			continue
		}
		measured[g.Index] = true
		silent = silent || g.Power == nil
	}
	switch {
	case len(measured) > 0 && !silent:
		return fmt.Sprintf("power draw of %s by nvidia-smi, integrated; the whole GPU, idle power included", plural(len(measured), "NVIDIA GPU")), ""
	case len(measured) > 0:
		return "", "nvidia-smi does not tell the power draw"
	case len(gpus) > 0 || w.cards:
		return "", "no counter covers this machine's GPU"
	case w.mayMiss():
		return "", "nvidia-smi has not answered, so that there may be a GPU that no counter covers"
	}
	for _, s := range system {
		if s.CPUEnergy != nil {
			return "energy counters of the processor's packages (RAPL); the whole processor, idle power included", ""
		}
	}
	return "", cmp.Or(reasons["cpu_energy_uj"], "no sensor of power or energy can be read")
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

// Joules is what the Sensor saw between two times. Between two readings power is taken to change steadily, and a counter to
// grow steadily.
func (w *Sampler) Joules(from, to time.Duration) (float64, error) {
	system, gpus, _, _ := w.seen()
	byGPU := map[int][]point{}
	for _, g := range gpus {
		if g.Vendor == "nvidia" && g.Power != nil {
			byGPU[g.Index] = append(byGPU[g.Index], point{g.At, *g.Power})
		}
	}
	if len(byGPU) > 0 {
		sum := 0.0
		for _, power := range byGPU {
			j, err := integral(power, from, to)
			if err != nil {
				return 0, err
			}
			sum += j
		}
		return sum, nil
	}
	var counter []point
	for _, s := range system {
		if s.CPUEnergy != nil {
			counter = append(counter, point{s.At, float64(*s.CPUEnergy) / 1e6})
		}
	}
	first, err := at(counter, from)
	if err != nil {
		return 0, err
	}
	last, err := at(counter, to)
	return last - first, err
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
