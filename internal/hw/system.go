package hw

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"strings"

	"github.com/shirou/gopsutil/v4/host"
)

// parseOSRelease reads name and version of a distribution; empty where they are not there.
func parseOSRelease(text string) (name, version string) {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(key, "#") {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	return values["ID"], values["VERSION_ID"]
}

func kernel(context.Context) (func(*Fingerprint, map[string]string), error) {
	version, err := host.KernelVersion()
	if err != nil {
		return nil, err
	}
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.OS.Kernel = known(version, reasons, "os.kernel")
	}, nil
}

func virtualization(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
	system, role, err := host.VirtualizationWithContext(ctx)
	switch {
	case err != nil:
		return nil, err
	case role == "guest" && system != "":
	case runtime.GOOS != "linux":
		return nil, errors.New("the system does not tell")
	default:
		if system, err = hypervisor(root()); err != nil {
			return nil, err
		}
	}
	return func(fp *Fingerprint, _ map[string]string) { fp.Virtualization = &system }, nil
}

// hypervisor looks for the flag that x86 processors show inside a virtual machine; other processors show none.
func hypervisor(files fs.FS) (string, error) {
	for line := range strings.Lines(read(files, "proc/cpuinfo")) {
		key, flags, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(key) != "flags" {
			continue
		}
		for _, flag := range strings.Fields(flags) {
			if flag == "hypervisor" {
				return "hypervisor", nil
			}
		}
		return "none", nil
	}
	return "", errors.New("this processor does not tell")
}
