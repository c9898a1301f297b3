package hw

import (
	"context"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
)

func packages(infos []cpu.InfoStat) int { return socketsOf(infos) }

func distribution(context.Context) (func(*Fingerprint, map[string]string), error) {
	text := read(root(), "etc/os-release")
	if text == "" {
		text = read(root(), "usr/lib/os-release")
	}
	name, version := parseOSRelease(text)
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.OS.Distribution = known(name, reasons, "os.distribution")
		fp.OS.Version = known(version, reasons, "os.version")
	}, nil
}

// toolFolders are where the GPU vendors' tools are installed; WSL and NixOS have their own.
func toolFolders() string {
	return strings.Join([]string{"/usr/bin", "/usr/local/bin", "/usr/local/nvidia/bin", "/opt/rocm/bin", "/opt/bin", "/usr/lib/wsl/lib",
		"/run/current-system/sw/bin"}, ":")
}

func platformProbes(s source) []probe[Fingerprint] { return s.linuxProbes() }

func platformState(s source) []probe[Condition] { return s.linuxState() }

// systemLook: the files are all there is.
func systemLook(source) func(*SystemSample) { return nil }

func followers() []follower { return nil }
