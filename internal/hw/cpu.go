package hw

import (
	"context"
	"errors"
	"runtime"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/mem"
)

func cpuModel(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
	infos, err := cpu.InfoWithContext(ctx)
	if err != nil {
		return nil, err
	}
	if len(infos) == 0 {
		return nil, errors.New("the system lists no CPU")
	}
	model := strings.Join(strings.Fields(infos[0].ModelName), " ")
	sockets := packages(infos)
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.CPU.Model = known(model, reasons, "cpu.model")
		fp.CPU.Sockets = known(sockets, reasons, "cpu.sockets")
	}, nil
}

// socketsOf counts the packages that a list of logical CPUs names; 0 where it names none.
func socketsOf(infos []cpu.InfoStat) int {
	ids := map[string]bool{}
	for _, info := range infos {
		if info.PhysicalID != "" {
			ids[info.PhysicalID] = true
		}
	}
	return len(ids)
}

func cpuCounts(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
	// 0 is what both give where they fail.
	cores, _ := cpu.CountsWithContext(ctx, false)
	threads, _ := cpu.CountsWithContext(ctx, true)
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.CPU.Cores = known(cores, reasons, "cpu.cores")
		fp.CPU.Threads = known(threads, reasons, "cpu.threads")
		// Some virtual machines show no topology, and the library then counts nonsense.
		if cores > threads && threads > 0 {
			fp.CPU.Cores = nil
			reasons["cpu.cores"] = "more cores than threads are shown"
		}
	}, nil
}

func memory(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.RAMTotal = known(int64(m.Total), reasons, "ram_total_bytes")
		fp.RAMAvailable = known(int64(m.Available), reasons, "ram_available_bytes")
	}, nil
}

// usable counts the threads that this process may run on.
func usable(context.Context) (func(*Fingerprint, map[string]string), error) {
	return func(fp *Fingerprint, _ map[string]string) { fp.CPU.Usable = some(runtime.NumCPU()) }, nil
}

// limits reads what the control group allows, where there are such.
func (s source) limits(context.Context) (func(*Fingerprint, map[string]string), error) {
	cpus, ram := cgroupLimits(s.files)
	return func(fp *Fingerprint, reasons map[string]string) {
		if fp.CPU.Limit = cpus; cpus == nil {
			reasons["cpu.limit_cpus"] = "no limit"
		}
		if fp.RAMLimit = ram; ram == nil {
			reasons["ram_limit_bytes"] = "no limit"
		}
	}, nil
}
