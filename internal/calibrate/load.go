package calibrate

import (
	"context"
	"errors"
	"os"
	"runtime"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/process"
)

// Load is what else the machine did while the client was calibrated.
type Load struct {
	Load1m        *float64          `json:"load_1m"`            // runnable tasks, mean of a minute
	OthersPercent *float64          `json:"cpu_others_percent"` // of all CPUs, spent on other processes during the calibration
	Reasons       map[string]string `json:"reasons,omitempty"`
}

// watchLoad begins to watch the machine; what it gives ends that and tells what was seen.
func watchLoad(ctx context.Context) func(context.Context) Load {
	busy0, all0, err0 := cpuTimes(ctx)
	return func(ctx context.Context) Load {
		l := Load{Reasons: map[string]string{}}
		if runtime.GOOS == "windows" {
			l.Reasons["load_1m"] = "no load average on Windows"
		} else if avg, err := load.AvgWithContext(ctx); err != nil {
			l.Reasons["load_1m"] = err.Error()
		} else {
			l.Load1m = &avg.Load1
		}
		busy1, all1, err := cpuTimes(ctx)
		switch err = errors.Join(err0, err); {
		case err != nil:
			l.Reasons["cpu_others_percent"] = err.Error()
		case all1 <= all0:
			l.Reasons["cpu_others_percent"] = "the system's CPU times did not move"
		default:
			x := max(0, min(100, 100*(busy1-busy0)/(all1-all0)))
			l.OthersPercent = &x
		}
		if len(l.Reasons) == 0 {
			l.Reasons = nil
		}
		return l
	}
}

// cpuTimes gives the CPU seconds so far that other processes took, and those that there were.
func cpuTimes(ctx context.Context) (others, all float64, err error) {
	ts, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return 0, 0, err
	}
	if len(ts) != 1 {
		return 0, 0, errors.New("the system does not tell")
	}
	p, err := process.NewProcessWithContext(ctx, int32(os.Getpid()))
	if err != nil {
		return 0, 0, err
	}
	own, err := p.TimesWithContext(ctx)
	if err != nil {
		return 0, 0, err
	}
	t := ts[0]
	busy := t.User + t.System + t.Nice + t.Irq + t.Softirq + t.Steal
	return busy - own.User - own.System, busy + t.Idle + t.Iowait, nil
}
