package hw

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// profilerLimit is how long system_profiler may take; it takes seconds.
const profilerLimit = 6 * time.Second

// appleGPUs asks system_profiler; where that fails, the GPU of an Apple chip goes by the chip's name.
func (s source) appleGPUs(ctx context.Context, chip string) (func(*Fingerprint, map[string]string), error) {
	ctx, cancel := context.WithTimeout(ctx, profilerLimit-time.Second)
	defer cancel()
	var list []GPU
	var metal string
	out, err := s.run(ctx, "system_profiler", "SPDisplaysDataType", "-json")
	if err == nil {
		list, metal, err = parseSystemProfiler(out)
	} else if out != "" {
		err = fmt.Errorf("%w: %s", err, quote(out))
	}
	if err != nil {
		if !strings.HasPrefix(chip, "Apple ") {
			return nil, err
		}
		list = []GPU{{Vendor: "apple", Name: chip}}
	}
	enter := s.enterGPUs(list, "", err)
	return func(fp *Fingerprint, reasons map[string]string) {
		enter(fp, reasons)
		fp.Runtimes.Metal = known(metal, reasons, "runtimes.metal")
		reasons["runtimes.cuda"], reasons["runtimes.rocm"] = "macOS has none", "macOS has none"
	}, nil
}

// parseSystemProfiler understands `system_profiler SPDisplaysDataType -json`: the GPUs of a Mac, and the Metal family that
// all of them support.
func parseSystemProfiler(text string) (list []GPU, metal string, err error) {
	var doc struct {
		Displays []map[string]any `json:"SPDisplaysDataType"`
	}
	if err := jsonIn(text, &doc); err != nil {
		return nil, "", err
	}
	if doc.Displays == nil {
		return nil, "", errors.New("answer not understood: no SPDisplaysDataType")
	}
	for _, d := range doc.Displays {
		get := func(key string) string { s, _ := d[key].(string); return strings.TrimSpace(s) }
		if kind := get("sppci_device_type"); kind != "" && kind != "spdisplays_gpu" {
			continue
		}
		g := GPU{Name: firstText(get("sppci_model"), get("_name")), why: map[string]string{}}
		maker := strings.ToLower(strings.TrimPrefix(get("spdisplays_vendor"), "sppci_vendor_"))
		for _, known := range []string{"apple", "amd", "intel", "nvidia"} {
			if strings.Contains(maker, known) {
				g.Vendor = known
			}
		}
		if g.Vendor == "" && strings.HasPrefix(g.Name, "Apple ") {
			g.Vendor = "apple"
		}
		if g.Vendor == "" || g.Name == "" {
			continue // a screen that is driven by software
		}
		if n, err := strconv.Atoi(get("sppci_cores")); err == nil && n > 0 {
			g.Cores = &n
		}
		g.VRAMTotal = sizeText(get("spdisplays_vram"))
		g.SharedTotal = sizeText(get("spdisplays_vram_shared"))
		if g.Vendor == "apple" {
			g.why["vram_total_bytes"] = "it shares the RAM"
		}
		if family := strings.TrimPrefix(firstText(get("spdisplays_mtlgpufamilysupport"), get("spdisplays_metalfamily")), "spdisplays_"); family != "" {
			if v, ok := strings.CutPrefix(family, "metal"); ok {
				family = strings.TrimSpace("Metal " + v)
			}
			if metal == "" || family < metal {
				metal = family
			}
		}
		list = append(list, g)
	}
	return list, metal, nil
}

// sizeText understands "4 GB" and "1536 MB", which are binary.
func sizeText(text string) *int64 {
	n, ok := amount(text)
	if !ok || n <= 0 || n >= 1<<20 {
		return nil
	}
	switch parts := strings.Fields(text); {
	case len(parts) != 2:
	case parts[1] == "GB":
		return some(int64(n * (1 << 30)))
	case parts[1] == "MB":
		return some(int64(n * (1 << 20)))
	}
	return nil
}
