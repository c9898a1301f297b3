package hw

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
)

// packages: processors that do not name their package in the list name it among the kernel's files.
func (s source) packages(infos []cpu.InfoStat) int {
	if n := socketsOf(infos); n > 0 {
		return n
	}
	ids := map[string]bool{}
	found, _ := fs.Glob(s.files, cpuDir+"cpu[0-9]*/topology/physical_package_id")
	for _, f := range found {
		if id := read(s.files, f); id != "" && id[0] != '-' { // -1 is "not known"
			ids[id] = true
		}
	}
	return len(ids)
}

func (s source) distribution(context.Context) (func(*Fingerprint, map[string]string), error) {
	text := read(s.files, "etc/os-release")
	if text == "" {
		text = read(s.files, "usr/lib/os-release")
	}
	name, version := parseOSRelease(text)
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.OS.Distribution = known(name, reasons, "os.distribution")
		fp.OS.Version = known(version, reasons, "os.version")
	}, nil
}

// toolFolders are where the GPU vendors' tools are installed; WSL and NixOS have their own, and each version of ROCm can have
// a folder to itself.
func toolFolders(env func(string) string) string {
	dirs := []string{"/usr/bin", "/usr/local/bin", "/usr/local/nvidia/bin", "/opt/rocm/bin", "/opt/bin", "/usr/lib/wsl/lib", "/run/current-system/sw/bin"}
	versions, _ := filepath.Glob("/opt/rocm-*/bin")
	slices.Reverse(versions) // the newest first
	return findIn(append(dirs, versions...), env, "ROCM_PATH", "ROCM_HOME", "HIP_PATH", "CUDA_PATH", "CUDA_HOME")
}

func platformProbes(s source) []probe[Fingerprint] { return s.linuxProbes() }

func platformState(s source) []probe[Condition] { return s.linuxState() }

// systemLook: the files are all there is.
func systemLook(source) func(*SystemSample) { return nil }

func followers() []follower { return nil }

// powerOf: Linux shows its counters in files.
func powerOf(time.Duration) (string, []string, error) { return "", nil, errNoTool }

// thisProcess is the number by which lists of processes name this one.
func thisProcess() int { return os.Getpid() }

// kernelVersion is read where a recorded machine has it too.
func (s source) kernelVersion() (string, error) {
	if v := read(s.files, "proc/sys/kernel/osrelease"); v != "" {
		return v, nil
	}
	return host.KernelVersion()
}
