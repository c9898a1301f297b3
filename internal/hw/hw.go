// Package hw describes the machine that a run was made on, and its state around it.
//
// It reads what the operating system tells every user and asks nvidia-smi once. It keeps no serial numbers, UUIDs, host or
// user names, changes nothing, and never guesses: what can't be read is null, with the reason beside it.
package hw

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"time"
)

// probeLimit is how long one probe may take. Probes run at once, so Capture and State end within a second.
const probeLimit = 900 * time.Millisecond

// Fingerprint is hardware and operating system. Reasons says why fields are null, by their path in the JSON (cpu.sockets).
type Fingerprint struct {
	CPU            CPU               `json:"cpu"`
	RAMTotal       *int64            `json:"ram_total_bytes"`
	RAMAvailable   *int64            `json:"ram_available_bytes"`
	RAMLimit       *int64            `json:"ram_limit_bytes"` // of the control group (container) that this process is in
	OS             OS                `json:"os"`
	Virtualization *string           `json:"virtualization"` // "none", or what the machine runs in: kvm, docker, ...
	GPUs           []GPU             `json:"gpus"`           // null: not known; empty: none found
	Reasons        map[string]string `json:"reasons,omitempty"`
}

// CPU is the machine's processors, all of them, whatever part of them a container may use.
type CPU struct {
	Model   *string  `json:"model"`
	Sockets *int     `json:"sockets"`
	Cores   *int     `json:"cores"`      // physical
	Threads *int     `json:"threads"`    // logical
	Limit   *float64 `json:"limit_cpus"` // CPUs' worth of time that the control group may use
}

// OS is the operating system.
type OS struct {
	Name         string  `json:"name"` // linux, darwin, windows
	Arch         string  `json:"arch"` // of this program
	Distribution *string `json:"distribution"`
	Version      *string `json:"version"`
	Kernel       *string `json:"kernel"`
}

// GPU is one graphics processor.
type GPU struct {
	Vendor     string   `json:"vendor"` // nvidia, amd, intel, apple
	Name       string   `json:"name"`
	VRAMTotal  *int64   `json:"vram_total_bytes"`
	Driver     *string  `json:"driver"`
	PowerLimit *float64 `json:"power_limit_w"`
}

// Capture gives the Fingerprint of this machine as JSON, within a second.
func Capture(ctx context.Context) (json.RawMessage, error) { return json.Marshal(Read(ctx)) }

// Read gives the Fingerprint of this machine, within a second.
func Read(ctx context.Context) Fingerprint {
	fp := Fingerprint{OS: OS{Name: runtime.GOOS, Arch: runtime.GOARCH}, Reasons: map[string]string{}}
	gather(ctx, &fp, fp.Reasons, []probe[Fingerprint]{
		{[]string{"cpu.model", "cpu.sockets"}, cpuModel},
		{[]string{"cpu.cores", "cpu.threads"}, cpuCounts},
		{[]string{"cpu.limit_cpus", "ram_limit_bytes"}, limits},
		{[]string{"ram_total_bytes", "ram_available_bytes"}, memory},
		{[]string{"os.distribution", "os.version"}, distribution},
		{[]string{"os.kernel"}, kernel},
		{[]string{"virtualization"}, virtualization},
		{[]string{"gpus"}, gpus},
	})
	return fp
}

// A probe finds out the fields of a T that keys name. It gives a function that enters what it found, which may add reasons
// for single fields, or an error for all of them.
type probe[T any] struct {
	keys []string
	run  func(context.Context) (func(*T, map[string]string), error)
}

// gather runs all probes at once and enters what they find in time. A probe that hangs is left behind: its late answer
// goes nowhere.
func gather[T any](ctx context.Context, into *T, reasons map[string]string, probes []probe[T]) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	type answer struct {
		at    int
		enter func(*T, map[string]string)
		err   error
	}
	answers := make(chan answer, len(probes))
	for i, p := range probes {
		go func() {
			enter, err := p.run(ctx)
			answers <- answer{i, enter, err}
		}()
	}
	done := make([]bool, len(probes))
	for range probes {
		select {
		case a := <-answers:
			done[a.at] = true
			if a.err != nil {
				blame(reasons, probes[a.at].keys, a.err.Error())
				continue
			}
			a.enter(into, reasons)
		case <-ctx.Done():
			for i, p := range probes {
				if !done[i] {
					blame(reasons, p.keys, fmt.Sprintf("no answer within %s", probeLimit))
				}
			}
			return
		}
	}
}

func blame(reasons map[string]string, keys []string, why string) {
	for _, key := range keys {
		reasons[key] = why
	}
}

// known gives a pointer to a value, or nil and a reason where it is the zero value, which is how most sources say that they
// don't know.
func known[T comparable](v T, reasons map[string]string, key string) *T {
	var zero T
	if v == zero {
		reasons[key] = "the system does not tell"
		return nil
	}
	return &v
}
