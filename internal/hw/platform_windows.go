package hw

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"golang.org/x/sys/windows"
)

// packages: Windows lists one entry a socket.
func (source) packages(infos []cpu.InfoStat) int { return len(infos) }

func (source) distribution(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
	name, _, version, err := host.PlatformInformationWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.OS.Distribution = known(name, reasons, "os.distribution")
		fp.OS.Version = known(version, reasons, "os.version")
	}, nil
}

// toolFolders are where Windows has PowerShell and the driver puts nvidia-smi, now and formerly.
func toolFolders(env func(string) string) string {
	dir, err := windows.GetSystemDirectory()
	if err != nil || len(dir) < 2 {
		return ""
	}
	programs, err := windows.KnownFolderPath(windows.FOLDERID_ProgramFiles, 0) // on another drive for some
	if err != nil {
		programs = dir[:2] + `\Program Files`
	}
	return findIn([]string{dir, dir + `\WindowsPowerShell\v1.0`, programs + `\NVIDIA Corporation\NVSMI`}, env, "CUDA_PATH", "HIP_PATH")
}

func powerOf(time.Duration) (string, []string, error) { return "", nil, errNoTool }

func thisProcess() int { return os.Getpid() }

func platformProbes(s source) []probe[Fingerprint] {
	return []probe[Fingerprint]{
		{keys: append([]string{"machine", "os.build", "cpu.clock_max_mhz", "cpu.smt", "ram.modules", "ram.channels", "ram.speed_mts"}, gpuKeys...), limit: cimLimit, run: s.windowsAll},
		{keys: []string{"cpu.numa_nodes"}, run: numaNodes},
		{keys: []string{"cpu.scaling_driver", "cpu.governor", "cpu.energy_preference", "cpu.turbo", "cpu.translated",
			"cpu.performance_cores", "cpu.efficiency_cores"}, run: absent[Fingerprint]("not looked for on Windows")},
		{keys: []string{"cpu.limit_cpus", "ram_limit_bytes"}, run: absent[Fingerprint]("only Linux has control groups")},
		{keys: []string{"runtimes.metal"}, run: absent[Fingerprint]("only macOS has it")},
		{keys: []string{"os.wsl"}, run: absent[Fingerprint]("only Linux runs in it")},
	}
}

// numaNodes asks Windows itself.
func numaNodes(context.Context) (func(*Fingerprint, map[string]string), error) {
	var highest uint32
	call := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetNumaHighestNodeNumber")
	if ok, _, err := call.Call(uintptr(unsafe.Pointer(&highest))); ok == 0 {
		return nil, fmt.Errorf("ask for the NUMA nodes: %w", err)
	}
	return func(fp *Fingerprint, _ map[string]string) { fp.CPU.NUMANodes = some(int(highest) + 1) }, nil
}

// powerStatus is what GetSystemPowerStatus fills in.
type powerStatus struct {
	line, flag, percent, saver byte
	life, full                 uint32
}

// onBattery asks Windows itself.
func onBattery(context.Context) (func(*Condition, map[string]string), error) {
	on, err := drawsFromBattery()
	return func(c *Condition, _ map[string]string) { c.OnBattery = &on }, err
}

func drawsFromBattery() (bool, error) {
	var st powerStatus
	call := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetSystemPowerStatus")
	if ok, _, err := call.Call(uintptr(unsafe.Pointer(&st))); ok == 0 {
		return false, fmt.Errorf("ask for the power status: %w", err)
	}
	if st.line > 1 {
		return false, errors.New(silent)
	}
	return st.line == 0, nil
}

func platformState(s source) []probe[Condition] {
	return append(s.windowsState(), probe[Condition]{keys: []string{"on_battery"}, run: onBattery})
}

func systemLook(source) func(*SystemSample) {
	others := gopsutilLook()
	return func(s *SystemSample) {
		others(s)
		if on, err := drawsFromBattery(); err == nil {
			s.OnBattery = &on
		}
	}
}

func followers() []follower { return nil }

func (source) kernelVersion() (string, error) { return host.KernelVersion() }
