package hw

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/proc"
)

// nvidiaFields are what nvidia-smi is asked for. All of them are known to old drivers; one unknown field fails the query.
const nvidiaFields = "name,memory.total,driver_version,power.limit"

// smiLimit is how long nvidia-smi may take, less than the probe itself.
const smiLimit = probeLimit - 200*time.Millisecond

// gpus asks nvidia-smi where it is, and looks for the rest where the system shows it.
func gpus(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
	list, why, smiErr := nvidia(ctx)
	others, err := otherGPUs(len(list) > 0)
	list = append(list, others...)
	if err = errors.Join(smiErr, err); err != nil && len(list) == 0 {
		return nil, err
	}
	if list == nil {
		list = []GPU{}
	}
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.GPUs = list
		for i, g := range list {
			for _, f := range []struct {
				name string
				null bool
			}{{"vram_total_bytes", g.VRAMTotal == nil}, {"driver", g.Driver == nil}, {"power_limit_w", g.PowerLimit == nil}} {
				if f.null {
					reasons[fmt.Sprintf("gpus[%d].%s", i, f.name)] = cmp.Or(why, "the system does not tell")
				}
			}
		}
		if err != nil {
			reasons["gpus"] = "may be incomplete: " + err.Error()
		}
	}, nil
}

// nvidia lists NVIDIA GPUs. Where nvidia-smi fails, the names that the driver shows are all there is; why says so.
func nvidia(ctx context.Context) (list []GPU, why string, err error) {
	smi := proc.Find("nvidia-smi", nvidiaSMI())
	if smi == "" {
		list = nvidiaNames(root())
		return list, "no nvidia-smi found", nil
	}
	// A driver that has to wake up first takes seconds; then the names below are still in time.
	ctx, cancel := context.WithTimeout(ctx, smiLimit)
	defer cancel()
	out, err := proc.Output(ctx, smi, "--query-gpu="+nvidiaFields, "--format=csv,noheader,nounits")
	if err == nil || strings.Contains(out, "No devices were found") {
		if list, err = parseNvidia(out); err == nil {
			return list, "", nil
		}
	}
	err = fmt.Errorf("nvidia-smi: %w", err)
	if list = nvidiaNames(root()); len(list) > 0 {
		return list, err.Error(), nil
	}
	return nil, "", err
}

// parseNvidia understands the answer of nvidia-smi: one line a GPU, memory in MiB, power in W.
func parseNvidia(text string) ([]GPU, error) {
	if strings.Contains(text, "No devices were found") {
		return nil, nil
	}
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = strings.Count(nvidiaFields, ",") + 1
	r.TrimLeadingSpace = true
	lines, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("answer not understood: %w", err)
	}
	list := make([]GPU, 0, len(lines))
	for _, line := range lines {
		if line[0] == "" {
			return nil, errors.New("answer not understood: a GPU without a name")
		}
		g := GPU{Vendor: "nvidia", Name: strings.TrimSpace(line[0])}
		// What a GPU does not have reads [N/A] or [Not Supported].
		if mib, err := strconv.ParseInt(strings.TrimSpace(line[1]), 10, 64); err == nil && mib > 0 && mib < 1<<40 {
			bytes := mib << 20
			g.VRAMTotal = &bytes
		}
		if driver := strings.TrimSpace(line[2]); driver != "" && driver[0] != '[' {
			g.Driver = &driver
		}
		if watts, err := strconv.ParseFloat(strings.TrimSpace(line[3]), 64); err == nil && watts > 0 && !math.IsInf(watts, 0) {
			g.PowerLimit = &watts
		}
		list = append(list, g)
	}
	return list, nil
}

// nvidiaNames reads the names that the driver itself shows on Linux.
func nvidiaNames(files fs.FS) []GPU {
	infos, err := fs.Glob(files, "proc/driver/nvidia/gpus/*/information")
	if err != nil {
		return nil
	}
	var list []GPU
	for _, info := range infos {
		for line := range strings.Lines(read(files, info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && key == "Model" && strings.TrimSpace(value) != "" {
				list = append(list, GPU{Vendor: "nvidia", Name: strings.TrimSpace(value)})
			}
		}
	}
	return list
}

// drmGPUs lists the GPUs that the Linux kernel has a driver for; NVIDIA's only where they were not seen otherwise. Adapters
// that only show a picture (virtual ones, those of server boards) are no GPUs here.
func drmGPUs(files fs.FS, nvidiaSeen bool) []GPU {
	cards, err := fs.Glob(files, "sys/class/drm/card*/device/vendor")
	if err != nil {
		return nil
	}
	var list []GPU
	for _, card := range cards {
		dir := path.Dir(card)
		// card0-DP-1 is a connector of card0.
		if strings.Contains(path.Base(path.Dir(dir)), "-") {
			continue
		}
		g := GPU{}
		switch read(files, card) {
		case "0x1002":
			g.Vendor, g.Name = "amd", "AMD"
		case "0x8086":
			g.Vendor, g.Name = "intel", "Intel"
		case "0x10de":
			if nvidiaSeen {
				continue
			}
			g.Vendor, g.Name = "nvidia", "NVIDIA"
		default:
			continue
		}
		g.Name = cmp.Or(read(files, dir+"/product_name"), strings.TrimSpace(g.Name+" "+read(files, dir+"/device")))
		if n, err := strconv.ParseInt(read(files, dir+"/mem_info_vram_total"), 10, 64); err == nil && n > 0 {
			g.VRAMTotal = &n
		}
		list = append(list, g)
	}
	return list
}
