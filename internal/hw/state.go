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
	Load1m         *float64          `json:"load_1m"`                 // runnable tasks, mean of a minute
	CPUPercent     *float64          `json:"cpu_percent"`             // of all CPUs, over 200 ms
	CPUClock       *float64          `json:"cpu_clock_mhz"`           // mean over the cores
	CPUTemperature *float64          `json:"cpu_temperature_c"`       // of the hottest sensor
	CPUThrottles   *int64            `json:"cpu_throttles"`           // since the start of the system, over all cores: only a difference says something
	CPUSpeedLimit  *float64          `json:"cpu_speed_limit_percent"` // below 100 the system slows the CPU for its heat
	Pressure       *string           `json:"thermal_pressure"`        // macOS: nominal, moderate, heavy, trapping, sleeping
	Governor       *string           `json:"governor"`
	PowerMode      *string           `json:"power_mode"`
	RAMUsed        *int64            `json:"ram_used_bytes"`
	RAMAvailable   *int64            `json:"ram_available_bytes"`
	OnBattery      *bool             `json:"on_battery"`
	GPUProcesses   *int              `json:"gpu_processes"`       // that compute on NVIDIA's GPUs, or by ROCm on AMD's, a model server among them
	GPUProcessRAM  *int64            `json:"gpu_processes_bytes"` // of the GPUs' memory that they hold
	GPUs           []GPUState        `json:"gpus"`                // null: not known; in the order of the Fingerprint's where all are of one maker
	Reasons        map[string]string `json:"reasons,omitempty"`
}

// GPUState is what a GPU is doing at a moment.
type GPUState struct {
	Vendor      string   `json:"vendor"`
	UsePercent  *float64 `json:"use_percent"`
	MemoryUsed  *int64   `json:"memory_used_bytes"`
	Clock       *float64 `json:"clock_mhz"`
	MemoryClock *float64 `json:"memory_clock_mhz"`
	Temperature *float64 `json:"temperature_c"`
	Margin      *float64 `json:"temperature_margin_c"` // to where it slows down
	Power       *float64 `json:"power_w"`
	Level       *string  `json:"performance_state"` // P0 to P12, or the level that AMD's driver is set to
	PCIeGen     *int     `json:"pcie_gen"`
	PCIeWidth   *int     `json:"pcie_width"`
	Reasons     []string `json:"clock_reasons"`      // why the clocks are not higher; null: not known; empty: they are as high as they go
	SlowedPower *int64   `json:"slowed_by_power_us"` // by its power cap or a power brake, since the driver's start: only a difference says something
	SlowedBrake *int64   `json:"slowed_by_brake_us"` // by a power brake alone
	SlowedHeat  *int64   `json:"slowed_by_heat_us"`
	HeatCycles  *int64   `json:"slowed_by_heat_cycles"` // AMD's Instinct: cycles of the firmware, of which slowed_by_heat_cycles were slow for heat
	Cycles      *int64   `json:"firmware_cycles"`
	Energy      *int64   `json:"energy_uj"` // since the driver's start
	why         map[string]string
}

// State gives the Condition as JSON, within a second.
func (m Machine) State(ctx context.Context) (json.RawMessage, error) {
	return json.Marshal(m.ReadState(ctx))
}

// ReadState gives the Condition, within a second.
func (m Machine) ReadState(ctx context.Context) Condition {
	c := Condition{Reasons: map[string]string{}}
	gather(ctx, &c, c.Reasons, append([]probe[Condition]{
		{keys: []string{"load_1m"}, run: func(ctx context.Context) (func(*Condition, map[string]string), error) {
			if runtime.GOOS == "windows" {
				return nil, errors.New("no load average on Windows")
			}
			l, err := load.AvgWithContext(ctx)
			if err != nil {
				return nil, err
			}
			return func(c *Condition, _ map[string]string) { c.Load1m = &l.Load1 }, nil
		}},
		{keys: []string{"cpu_percent"}, run: func(ctx context.Context) (func(*Condition, map[string]string), error) {
			p, err := cpu.PercentWithContext(ctx, cpuWindow, false)
			if err != nil {
				return nil, err
			}
			if len(p) != 1 {
				return nil, errors.New("the system does not tell")
			}
			return func(c *Condition, _ map[string]string) { c.CPUPercent = &p[0] }, nil
		}},
		{keys: []string{"ram_used_bytes", "ram_available_bytes"}, run: func(ctx context.Context) (func(*Condition, map[string]string), error) {
			m, err := mem.VirtualMemoryWithContext(ctx)
			if err != nil {
				return nil, err
			}
			return func(c *Condition, reasons map[string]string) {
				c.RAMUsed = known(int64(m.Used), reasons, "ram_used_bytes")
				c.RAMAvailable = known(int64(m.Available), reasons, "ram_available_bytes")
			}, nil
		}},
	}, platformState(m.source())...))
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
