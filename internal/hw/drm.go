package hw

import (
	"bytes"
	"cmp"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// vendors are the PCI numbers of makers of GPUs.
var vendors = map[string][2]string{"0x1002": {"amd", "AMD"}, "0x8086": {"intel", "Intel"}, "0x10de": {"nvidia", "NVIDIA"}}

var cardName = regexp.MustCompile(`^card\d+$`) // card0-DP-1 is a connector of card0

// cards lists the folders of the GPUs that the Linux kernel has a driver for, in their order.
func cards(files fs.FS) []string {
	found, err := fs.Glob(files, "sys/class/drm/card*/device/vendor")
	if err != nil {
		return nil
	}
	var dirs []string
	for _, f := range found {
		if dir := path.Dir(f); cardName.MatchString(path.Base(path.Dir(dir))) {
			dirs = append(dirs, dir)
		}
	}
	number := func(dir string) int {
		n, _ := strconv.Atoi(strings.TrimPrefix(path.Base(path.Dir(dir)), "card"))
		return n
	}
	slices.SortFunc(dirs, func(a, b string) int { return number(a) - number(b) })
	return dirs
}

// drmGPUs lists the GPUs that the Linux kernel has a driver for. Adapters that only show a picture (virtual ones, those of
// server boards) are no GPUs here.
func drmGPUs(files fs.FS) []GPU {
	var list []GPU
	for _, dir := range cards(files) {
		vendor, ok := vendors[read(files, dir+"/vendor")]
		if !ok {
			continue
		}
		g := GPU{Vendor: vendor[0], Name: drmName(files, dir, vendor[1]), why: map[string]string{}}
		g.VRAMTotal = some(int64(number(read(files, dir+"/mem_info_vram_total"))))
		g.SharedTotal = some(int64(number(read(files, dir+"/mem_info_gtt_total"))))
		g.VBIOS = some(read(files, dir+"/vbios_version"))
		g.PCIeGen = linkGen(read(files, dir+"/max_link_speed"))
		if n := number(read(files, dir+"/max_link_width")); n > 0 && n <= 32 { // 255 is "not known"
			g.PCIeWidth = some(int(n))
		}
		g.ClockMax = topOfTable(read(files, dir+"/pp_dpm_sclk"))
		g.MemoryClock = topOfTable(read(files, dir+"/pp_dpm_mclk"))
		g.PowerLimit = microwatts(files, dir, "power1_cap")
		g.PowerDefault = microwatts(files, dir, "power1_cap_default")
		g.PowerMax = microwatts(files, dir, "power1_cap_max")
		if vendor[0] == "intel" {
			intel(files, dir, &g)
		}
		for line := range strings.Lines(read(files, dir+"/uevent")) {
			switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
			case "PCI_SLOT_NAME":
				g.BusID = busID(value)
			case "DRIVER":
				g.Driver = some(value)
				if v := read(files, "sys/module/"+value+"/version"); v != "" {
					g.Driver = some(value + " " + v)
				}
			}
		}
		g.UUID = read(files, dir+"/unique_id")
		list = append(list, g)
	}
	return list
}

// intel reads what the drivers i915 and xe show.
func intel(files fs.FS, dir string, g *GPU) {
	g.ClockMax = some(number(read(files, path.Dir(dir)+"/gt_max_freq_mhz")))
	tiles, _ := fs.Glob(files, dir+"/tile*")
	for _, tile := range tiles {
		if b, err := strconv.ParseUint(read(files, tile+"/physical_vram_size_bytes"), 0, 62); err == nil && b > 0 {
			total := int64(b)
			if g.VRAMTotal != nil {
				total += *g.VRAMTotal
			}
			g.VRAMTotal = &total
		}
		if f := number(read(files, tile+"/gt0/freq0/max_freq")); f > 0 && g.ClockMax == nil {
			g.ClockMax = &f
		}
	}
}

// drmName is the card's own name, or that of the lists that distributions carry, or its number.
func drmName(files fs.FS, dir, maker string) string {
	if name := read(files, dir+"/product_name"); name != "" {
		return name
	}
	device := strings.ToLower(strings.TrimPrefix(read(files, dir+"/device"), "0x"))
	if maker == "AMD" {
		revision := strings.TrimPrefix(read(files, dir+"/revision"), "0x")
		if b, err := fs.ReadFile(files, "usr/share/libdrm/amdgpu.ids"); err == nil {
			if name := amdgpuName(b, device, revision); name != "" {
				return name
			}
		}
	}
	for _, file := range []string{"usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids"} {
		if b, err := fs.ReadFile(files, file); err == nil {
			if name := pciName(b, strings.TrimPrefix(read(files, dir+"/vendor"), "0x"), device); name != "" {
				return maker + " " + name
			}
		}
	}
	return strings.TrimSpace(maker + " " + read(files, dir+"/device"))
}

// amdgpuName looks a card up in libdrm's list: device, revision and name between commas.
func amdgpuName(list []byte, device, revision string) string {
	for line := range bytes.Lines(list) {
		parts := strings.SplitN(string(line), ",", 3)
		if len(parts) == 3 && strings.EqualFold(strings.TrimSpace(parts[0]), device) && strings.EqualFold(strings.TrimSpace(parts[1]), revision) {
			return strings.TrimSpace(parts[2])
		}
	}
	return ""
}

// pciName looks a device up in the PCI list: vendors begin a line, their devices follow behind one tab.
func pciName(list []byte, vendor, device string) string {
	if len(device) != 4 {
		return ""
	}
	inside := false
	for line := range bytes.Lines(list) {
		switch {
		case len(line) < 7 || line[0] == '#':
		case line[0] != '\t':
			inside = string(line[:4]) == vendor
		case inside && line[1] != '\t' && string(line[1:5]) == device:
			return strings.TrimSpace(string(line[5:]))
		}
	}
	return ""
}

// topOfTable is the highest clock of a table like "1: 2482Mhz *", in MHz.
func topOfTable(text string) *float64 {
	var top float64
	for line := range strings.Lines(text) {
		if _, clock, ok := strings.Cut(line, ":"); ok {
			if mhz, ok := amount(clock); ok {
				top = max(top, mhz)
			}
		}
	}
	return some(top)
}

// linkGen understands "16.0 GT/s PCIe".
func linkGen(text string) *int {
	gts, ok := amount(text)
	if !ok {
		return nil
	}
	return pcieGen(gts)
}

// microwatts reads a sensor of the card, in W.
func microwatts(files fs.FS, dir, name string) *float64 {
	found, _ := fs.Glob(files, dir+"/hwmon/hwmon*/"+name)
	for _, f := range found {
		if n := number(read(files, f)); n > 0 {
			return some(n / 1e6)
		}
	}
	return nil
}

// mergeAMD adds what AMD's tools say to the cards that the kernel shows, by bus address; the tools know names and versions
// better.
func mergeAMD(cards, told []GPU) []GPU {
	seen := false
	for i := range cards {
		c := &cards[i]
		if c.Vendor != "amd" {
			continue
		}
		seen = true
		at := slices.IndexFunc(told, func(t GPU) bool { return t.BusID != "" && t.BusID == c.BusID })
		if at < 0 {
			continue
		}
		t := told[at]
		fill(&t, *c)
		t.Name, t.BusID, t.UUID, t.why = cmp.Or(t.Name, c.Name), c.BusID, cmp.Or(t.UUID, c.UUID), c.why
		*c = t
	}
	if seen {
		return cards
	}
	for _, t := range told { // a container without the kernel's view
		t.Name = cmp.Or(t.Name, "AMD")
		cards = append(cards, t)
	}
	return cards
}
