package hw

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"runtime"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
)

// cpuWindow is how long the CPU is watched for its use.
const cpuWindow = 200 * time.Millisecond

// Condition is what the machine is doing at a moment.
type Condition struct {
	Load1m       *float64          `json:"load_1m"`     // runnable tasks, mean of a minute
	CPUPercent   *float64          `json:"cpu_percent"` // of all CPUs, over 200 ms
	RAMUsed      *int64            `json:"ram_used_bytes"`
	RAMAvailable *int64            `json:"ram_available_bytes"`
	OnBattery    *bool             `json:"on_battery"`
	Reasons      map[string]string `json:"reasons,omitempty"`
}

// State gives the Condition of this machine as JSON, within a second.
func State(ctx context.Context) (json.RawMessage, error) { return json.Marshal(ReadState(ctx)) }

// ReadState gives the Condition of this machine, within a second.
func ReadState(ctx context.Context) Condition {
	c := Condition{Reasons: map[string]string{}}
	gather(ctx, &c, c.Reasons, []probe[Condition]{
		{[]string{"load_1m"}, func(ctx context.Context) (func(*Condition, map[string]string), error) {
			if runtime.GOOS == "windows" {
				return nil, errors.New("no load average on Windows")
			}
			l, err := load.AvgWithContext(ctx)
			if err != nil {
				return nil, err
			}
			return func(c *Condition, _ map[string]string) { c.Load1m = &l.Load1 }, nil
		}},
		{[]string{"cpu_percent"}, func(ctx context.Context) (func(*Condition, map[string]string), error) {
			p, err := cpu.PercentWithContext(ctx, cpuWindow, false)
			if err != nil {
				return nil, err
			}
			if len(p) != 1 {
				return nil, errors.New("the system does not tell")
			}
			return func(c *Condition, _ map[string]string) { c.CPUPercent = &p[0] }, nil
		}},
		{[]string{"ram_used_bytes", "ram_available_bytes"}, func(ctx context.Context) (func(*Condition, map[string]string), error) {
			m, err := mem.VirtualMemoryWithContext(ctx)
			if err != nil {
				return nil, err
			}
			return func(c *Condition, reasons map[string]string) {
				c.RAMUsed = known(int64(m.Used), reasons, "ram_used_bytes")
				c.RAMAvailable = known(int64(m.Available), reasons, "ram_available_bytes")
			}, nil
		}},
		{[]string{"on_battery"}, func(context.Context) (func(*Condition, map[string]string), error) {
			on, err := onBattery()
			if err != nil {
				return nil, err
			}
			return func(c *Condition, _ map[string]string) { c.OnBattery = &on }, nil
		}},
	})
	return c
}

// batteryState reads Linux's power supplies: on battery is a battery of the machine that discharges while nothing feeds it.
func batteryState(files fs.FS) (bool, error) {
	supplies, err := fs.Glob(files, "sys/class/power_supply/*/type")
	if err != nil {
		return false, err
	}
	discharging := false
	for _, s := range supplies {
		dir := s[:len(s)-len("/type")]
		switch read(files, s) {
		case "Mains", "USB", "Wireless":
			if read(files, dir+"/online") == "1" {
				return false, nil
			}
		case "Battery":
			// Batteries of mice and the like have the scope Device.
			if read(files, dir+"/scope") != "Device" && read(files, dir+"/status") == "Discharging" {
				discharging = true
			}
		}
	}
	return discharging, nil
}
