package hw

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/mem"
)

func (s source) cpuModel(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
	infos, err := cpu.InfoWithContext(ctx)
	if err != nil {
		return nil, err
	}
	if len(infos) == 0 {
		return nil, errors.New("the system lists no CPU")
	}
	model := modelsOf(infos)
	sockets := s.packages(infos)
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.CPU.Model = known(model, reasons, "cpu.model")
		fp.CPU.Sockets = known(sockets, reasons, "cpu.sockets")
	}, nil
}

// maxModels bounds how many kinds of cores a processor's name is made of.
const maxModels = 4

// modelsOf names the processor: as it names itself, or, on chips that only number their kinds of cores, by these kinds.
func modelsOf(infos []cpu.InfoStat) string {
	var names []string
	for _, info := range infos {
		name := strings.Join(strings.Fields(info.ModelName), " ")
		if (name == "" || name == "Undefined") && info.VendorID != "" && strings.HasPrefix(info.Model, "0x") { // a part that the library has no name for
			name = info.VendorID + " part " + info.Model
		}
		if name != "" && !slices.Contains(names, name) && len(names) < maxModels {
			names = append(names, name)
		}
	}
	return strings.Join(names, " + ")
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
