package hw

import (
	"context"
	"errors"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"golang.org/x/sys/windows"
)

// packages: Windows lists one entry a socket.
func packages(infos []cpu.InfoStat) int { return len(infos) }

func distribution(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
	name, _, version, err := host.PlatformInformationWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.OS.Distribution = known(name, reasons, "os.distribution")
		fp.OS.Version = known(version, reasons, "os.version")
	}, nil
}

// nvidiaSMI is where the driver installs it.
func nvidiaSMI() string {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		return ""
	}
	return dir
}

func otherGPUs(nvidiaSeen bool) ([]GPU, error) {
	if nvidiaSeen {
		return nil, nil
	}
	return nil, errors.New("only NVIDIA GPUs are looked for on Windows")
}

func onBattery() (bool, error) { return false, errors.New("not looked for on Windows") }
