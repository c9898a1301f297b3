// Package hw describes the machine that a run was made on, and its state around it.
//
// It reads what the operating system tells every user and asks the GPU vendors' own tools once. It changes nothing and never
// guesses: what can't be read is null, with the reason beside it. Bus addresses and UUIDs of GPUs stay in the process, for
// telling GPUs apart; serial numbers, host and user names are not read at all.
package hw

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// probeLimit is how long one probe may take. Probes run at once, so on Linux Read and State end within a second.
const probeLimit = 900 * time.Millisecond

// Fingerprint is hardware and operating system. Reasons says why fields are null, by their path in the JSON (cpu.sockets,
// gpus[0].vbios).
type Fingerprint struct {
	Machine        *string           `json:"machine"` // maker's name of the model, as "Raspberry Pi 5 Model B Rev 1.0"
	CPU            CPU               `json:"cpu"`
	RAMTotal       *int64            `json:"ram_total_bytes"`
	RAMAvailable   *int64            `json:"ram_available_bytes"`
	RAMLimit       *int64            `json:"ram_limit_bytes"` // of the control group (container) that this process is in
	RAM            RAM               `json:"ram"`
	OS             OS                `json:"os"`
	Virtualization *string           `json:"virtualization"` // "none", or what the machine runs in: kvm, docker, ...
	GPUs           []GPU             `json:"gpus"`           // null: not known; empty: none found
	Runtimes       Runtimes          `json:"runtimes"`
	Reasons        map[string]string `json:"reasons,omitempty"`

	late bool // a GPU vendor's tool has not answered in time
}

// CPU is the machine's processors, all of them, whatever part of them a container may use.
type CPU struct {
	Model            *string  `json:"model"`
	Sockets          *int     `json:"sockets"`
	Cores            *int     `json:"cores"`             // physical
	Threads          *int     `json:"threads"`           // logical
	PerformanceCores *int     `json:"performance_cores"` // of processors with two kinds of cores
	EfficiencyCores  *int     `json:"efficiency_cores"`
	ClockMax         *float64 `json:"clock_max_mhz"` // the highest of any core
	NUMANodes        *int     `json:"numa_nodes"`
	ScalingDriver    *string  `json:"scaling_driver"`
	Governor         *string  `json:"governor"` // several are joined by commas
	EnergyPreference *string  `json:"energy_preference"`
	SMT              *bool    `json:"smt"`        // on
	Turbo            *bool    `json:"turbo"`      // allowed
	Limit            *float64 `json:"limit_cpus"` // CPUs' worth of time that the control group may use
	Usable           *int     `json:"usable_threads"`
	Translated       *bool    `json:"translated"` // this program runs under an emulation of its processor
}

// RAM is what the memory is made of.
type RAM struct {
	Modules  *int `json:"modules"` // sockets in use
	Channels *int `json:"channels"`
	Speed    *int `json:"speed_mts"` // as it runs, in megatransfers a second; of the slowest module
}

// OS is the operating system.
type OS struct {
	Name         string  `json:"name"` // linux, darwin, windows
	Arch         string  `json:"arch"` // of this program
	Distribution *string `json:"distribution"`
	Version      *string `json:"version"`
	Kernel       *string `json:"kernel"`
	Build        *string `json:"build"`
	WSL          *string `json:"wsl"` // "none", "1" or "2": Windows' subsystem for Linux
}

// GPU is one graphics processor. A limit, clock or link is what the hardware or its driver allows; what it does at a moment
// is in a GPUState.
type GPU struct {
	Vendor        string   `json:"vendor"` // nvidia, amd, intel, apple
	Name          string   `json:"name"`
	VRAMTotal     *int64   `json:"vram_total_bytes"`
	SharedTotal   *int64   `json:"shared_total_bytes"` // RAM that it may use beside its own
	Driver        *string  `json:"driver"`
	DriverModel   *string  `json:"driver_model"` // Windows: WDDM, TCC, MCDM
	VBIOS         *string  `json:"vbios"`
	Architecture  *string  `json:"architecture"` // compute capability or gfx target
	Cores         *int     `json:"cores"`        // Apple's GPU cores, AMD's compute units
	PowerLimit    *float64 `json:"power_limit_w"`
	PowerEnforced *float64 `json:"power_enforced_w"`
	PowerDefault  *float64 `json:"power_default_w"`
	PowerMax      *float64 `json:"power_max_w"`
	ClockMax      *float64 `json:"clock_max_mhz"`
	ClockApp      *float64 `json:"clock_application_mhz"`
	MemoryClock   *float64 `json:"memory_clock_max_mhz"`
	PCIeGen       *int     `json:"pcie_gen_max"`
	PCIeWidth     *int     `json:"pcie_width_max"` // lanes
	MIG           *bool    `json:"mig"`            // cut into instances
	ECC           *bool    `json:"ecc"`
	Persistence   *bool    `json:"persistence"`
	Instances     []string `json:"mig_instances,omitempty"` // profiles of those that this process sees, as "3g.71gb"; of a GPU that is cut alone

	BusID string            `json:"-"` // 0000:01:00.0, lower case; "" where not known. It never leaves the process.
	UUID  string            `json:"-"` // as the vendor's tool prints it. It never leaves the process.
	why   map[string]string // why fields are null, by their JSON name
}

// Runtimes are versions of what computes on GPUs.
type Runtimes struct {
	CUDA  *string `json:"cuda"` // highest that the driver supports
	ROCm  *string `json:"rocm"`
	Metal *string `json:"metal"` // family, as "Metal 3"
}

// moreTime is what ReadPatiently gives the tools: a driver without persistence mode wakes each GPU first, for about a second.
const moreTime = 5 * time.Second

// ReadPatiently is Read, which gives the GPU vendors' tools more time where they have not answered within the usual one.
func (m Machine) ReadPatiently(ctx context.Context) Fingerprint {
	s := m.source()
	fp := s.fingerprint(ctx)
	if fp.late && ctx.Err() == nil {
		s.patience = moreTime
		fp = s.fingerprint(ctx)
	}
	return fp
}

// Read gives the Fingerprint, on Linux within a second.
func (m Machine) Read(ctx context.Context) Fingerprint { return m.source().fingerprint(ctx) }

func (s source) fingerprint(ctx context.Context) Fingerprint {
	fp := Fingerprint{OS: OS{Name: runtime.GOOS, Arch: runtime.GOARCH}, Reasons: map[string]string{}}
	probes := append([]probe[Fingerprint]{
		{keys: []string{"cpu.model", "cpu.sockets"}, run: s.cpuModel},
		{keys: []string{"cpu.cores", "cpu.threads"}, run: cpuCounts},
		{keys: []string{"cpu.usable_threads"}, run: usable},
		{keys: []string{"ram_total_bytes", "ram_available_bytes"}, run: memory},
		{keys: []string{"os.distribution", "os.version"}, run: s.distribution},
		{keys: []string{"os.kernel"}, run: s.kernel},
		{keys: []string{"virtualization"}, run: s.virtualization},
	}, platformProbes(s)...)
	gather(ctx, &fp, fp.Reasons, probes)
	return fp
}

// A probe finds out the fields of a T that keys name. It gives a function that enters what it found, which may add reasons
// for single fields, or an error for all of them.
type probe[T any] struct {
	keys  []string
	limit time.Duration // probeLimit where it is 0
	run   func(context.Context) (func(*T, map[string]string), error)
}

// answer waits for the probe, and no longer than its limit. A probe that hangs is left behind: its late answer goes nowhere.
func (p probe[T]) answer(ctx context.Context) (func(*T, map[string]string), error) {
	limit := p.limit
	if limit == 0 {
		limit = probeLimit
	}
	own, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type result struct {
		enter func(*T, map[string]string)
		err   error
	}
	done := make(chan result, 1)
	go func() {
		enter, err := p.run(own)
		done <- result{enter, err}
	}()
	select {
	case r := <-done:
		return r.enter, r.err
	case <-own.Done():
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("no answer within %s", limit)
	}
}

// gather runs all probes at once and enters what they find in time.
func gather[T any](ctx context.Context, into *T, reasons map[string]string, probes []probe[T]) {
	enters := make([]chan func(), len(probes))
	for i, p := range probes {
		enters[i] = make(chan func(), 1)
		go func() {
			enter, err := p.answer(ctx)
			enters[i] <- func() {
				if err != nil {
					blame(reasons, p.keys, err.Error())
					return
				}
				enter(into, reasons)
			}
		}()
	}
	for _, enter := range enters {
		(<-enter)()
	}
}

func blame(reasons map[string]string, keys []string, why string) {
	for _, key := range keys {
		reasons[key] = why
	}
}

// silent is the reason where a source exists and says nothing.
const silent = "the system does not tell"

// known gives a pointer to a value, or nil and a reason where it is the zero value, which is how most sources say that they
// don't know.
func known[T comparable](v T, reasons map[string]string, key string) *T {
	var zero T
	if v == zero {
		reasons[key] = silent
		return nil
	}
	return &v
}

// some gives a pointer to a value, or nil for the zero value.
func some[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
