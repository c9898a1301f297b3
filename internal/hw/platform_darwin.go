package hw

import (
	"context"
	"errors"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"golang.org/x/sys/unix"
)

func packages([]cpu.InfoStat) int {
	n, err := unix.SysctlUint32("hw.packages")
	if err != nil {
		return 0
	}
	return int(n)
}

func distribution(context.Context) (func(*Fingerprint, map[string]string), error) {
	version, err := unix.Sysctl("kern.osproductversion")
	if err != nil {
		return nil, err
	}
	name := "macos"
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.OS.Distribution = &name
		fp.OS.Version = known(version, reasons, "os.version")
	}, nil
}

// nvidiaSMI is empty: macOS has no NVIDIA driver.
func nvidiaSMI() string { return "" }

// otherGPUs gives the one of an Apple chip, which goes by the chip's name and shares the RAM.
func otherGPUs(bool) ([]GPU, error) {
	chip, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(chip, "Apple ") {
		return nil, errors.New("GPUs of Intel Macs are not looked for")
	}
	return []GPU{{Vendor: "apple", Name: chip}}, nil
}

func onBattery() (bool, error) { return false, errors.New("not looked for on macOS") }
