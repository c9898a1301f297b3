package hw

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The questions to AMD's tools. In a virtual machine amd-smi knows no --limit, and refuses the whole question: then it is asked
// for all that it has.
var (
	amdSMIStatic = []string{"static", "--asic", "--vram", "--board", "--driver", "--bus", "--vbios", "--limit", "--json"}
	amdSMIAll    = []string{"static", "--json"}
	rocmSMIAll   = []string{"--showproductname", "--showbus", "--showmeminfo", "vram", "--showmaxpower", "--showvbios", "--showdriverversion", "--json"}
)

// amd asks amd-smi, and rocm-smi where that is not there or says nothing.
func (s source) amd(ctx context.Context) ([]GPU, error) {
	out, err := s.run(ctx, "amd-smi", amdSMIStatic...)
	list, parseErr := parseAMDSMI(out)
	if parseErr != nil && err != nil && refused.MatchString(out[:min(len(out), 4<<10)]) {
		out, err = s.run(ctx, "amd-smi", amdSMIAll...)
		list, parseErr = parseAMDSMI(out)
	}
	if parseErr == nil && len(list) > 0 {
		return list, nil
	}
	if err == nil {
		err = parseErr
	}
	newer := fmt.Errorf("amd-smi: %w", err)
	if ctx.Err() != nil { // no time is left
		return nil, newer
	}
	out, err = s.run(ctx, "rocm-smi", rocmSMIAll...)
	list, parseErr = parseROCmSMI(out)
	if parseErr == nil && len(list) > 0 {
		return list, nil
	}
	if err == nil {
		err = parseErr
	}
	return nil, errors.Join(newer, fmt.Errorf("rocm-smi: %w", err))
}

// refused is how amd-smi says that it does not know an argument.
var refused = regexp.MustCompile(`(?i)unrecognized argument|invalid (?:parameter|argument|command)|not supported`)

// leaf is a value of amd-smi: a number, a text, {"value": 42, "unit": "W"}, or "N/A" in the place of any of these and of
// whole groups.
type leaf map[string]any

// amdSMIGroups gives the GPUs of an answer: a list in tools before version 26, {"gpu_data": [...]} since.
func amdSMIGroups(text string) ([]leaf, error) {
	var doc any
	if err := jsonIn(text, &doc); err != nil {
		return nil, err
	}
	if wrapped, ok := doc.(map[string]any); ok {
		doc = wrapped["gpu_data"]
	}
	items, ok := doc.([]any)
	if !ok {
		return nil, errors.New("answer not understood: neither a list nor gpu_data")
	}
	var groups []leaf
	for _, item := range items {
		if g, ok := item.(map[string]any); ok {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// at goes down a path; nil where it ends early.
func (l leaf) at(path ...string) any {
	var v any = map[string]any(l)
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

func (l leaf) text(path ...string) string {
	s, _ := l.at(path...).(string)
	if s = strings.TrimSpace(s); s == "N/A" {
		return ""
	}
	return s
}

// number gives a value in the unit that is asked for, nil where it is none, negative, or in another unit.
func (l leaf) number(unit string, path ...string) *float64 {
	v := l.at(path...)
	if m, ok := v.(map[string]any); ok {
		if u, stated := m["unit"].(string); stated && u != "" && !strings.EqualFold(u, unit) {
			return nil
		}
		v = m["value"]
	}
	switch n := v.(type) {
	case float64:
		if n >= 0 && n < 1<<60 {
			return &n
		}
	case string:
		if f, ok := amount(n); ok {
			return &f
		}
	}
	return nil
}

func (l leaf) count(path ...string) *int {
	if n := l.number("", path...); n != nil && *n > 0 && *n < 1<<30 {
		return some(int(*n))
	}
	return nil
}

// firstOf gives the first number of several paths that is over 0.
func (l leaf) firstOf(unit string, paths ...[]string) *float64 {
	for _, p := range paths {
		if n := l.number(unit, p...); n != nil && *n > 0 {
			return n
		}
	}
	return nil
}

// parseAMDSMI understands `amd-smi static --json`, old and new.
func parseAMDSMI(text string) ([]GPU, error) {
	groups, err := amdSMIGroups(text)
	if err != nil {
		return nil, err
	}
	var list []GPU
	for _, l := range groups {
		g := GPU{Vendor: "amd"}
		if g.Name = l.text("board", "product_name"); g.Name == "" {
			g.Name = l.text("asic", "market_name")
		}
		// "MB" of amd-smi are MiB.
		if mb := l.number("MB", "vram", "size"); mb != nil && *mb > 0 && *mb < 1<<40 {
			g.VRAMTotal = some(int64(*mb) << 20)
		}
		g.Driver = some(l.text("driver", "version"))
		g.VBIOS = some(firstText(l.text("vbios", "part_number"), l.text("ifwi", "part_number"), l.text("vbios", "version"), l.text("ifwi", "version")))
		g.Architecture = some(l.text("asic", "target_graphics_version"))
		g.Cores = l.count("asic", "num_compute_units")
		g.PowerMax = l.firstOf("W", []string{"limit", "max_power"}, []string{"limit", "ppt0", "max_power_limit"})
		g.PowerLimit = l.firstOf("W", []string{"limit", "socket_power"}, []string{"limit", "current_power"}, []string{"limit", "ppt0", "socket_power_limit"})
		g.PCIeWidth = l.count("bus", "max_pcie_width")
		if gts := l.number("GT/s", "bus", "max_pcie_speed"); gts != nil {
			g.PCIeGen = pcieGen(*gts)
		}
		g.BusID, g.UUID = busID(l.text("bus", "bdf")), l.text("asic", "asic_serial")
		list = append(list, g)
	}
	return list, nil
}

func firstText(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// pcieGen tells the generation by the transfers a second of a lane.
func pcieGen(gts float64) *int {
	for i, speed := range []float64{2.5, 5, 8, 16, 32, 64, 128} {
		if gts == speed {
			return some(i + 1)
		}
	}
	return nil
}

// rocmCard is what rocm-smi says of one GPU. All values are texts, and the keys change between versions in words and case.
type rocmCard map[string]string

// rocmCards gives the cards of an answer in their order, and the driver's version.
func rocmCards(text string) (cards []rocmCard, driver string, err error) {
	var doc map[string]json.RawMessage
	if err := jsonIn(text, &doc); err != nil {
		return nil, "", err
	}
	type numbered struct {
		n    int
		card rocmCard
	}
	var found []numbered
	for name, raw := range doc {
		var values map[string]any
		if json.Unmarshal(raw, &values) != nil {
			continue
		}
		card := rocmCard{}
		for key, v := range values {
			if s, ok := v.(string); ok {
				card[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(s)
			}
		}
		if name == "system" {
			driver = card.find("driver version")
		} else if n, err := strconv.Atoi(strings.TrimPrefix(name, "card")); err == nil && strings.HasPrefix(name, "card") {
			found = append(found, numbered{n, card})
		}
	}
	slices.SortFunc(found, func(a, b numbered) int { return a.n - b.n })
	for _, f := range found {
		cards = append(cards, f.card)
	}
	return cards, driver, nil
}

// find gives the value of the first key, by its text, that has all words; "" where it is not known.
func (c rocmCard) find(words ...string) string {
	var keys []string
	for key := range c {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(key, w) }) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if v := c[key]; v != "" && !strings.EqualFold(v, "N/A") && !strings.EqualFold(v, "unknown") {
			return v
		}
	}
	return ""
}

func (c rocmCard) number(words ...string) *float64 {
	if n, ok := amount(strings.Trim(c.find(words...), "()")); ok {
		return &n
	}
	return nil
}

// onlyHex is a device number where a name should be.
var onlyHex = regexp.MustCompile(`^0x[0-9a-fA-F]+$`)

// parseROCmSMI understands `rocm-smi --json`.
func parseROCmSMI(text string) ([]GPU, error) {
	cards, driver, err := rocmCards(text)
	if err != nil {
		return nil, err
	}
	var list []GPU
	for _, c := range cards {
		g := GPU{Vendor: "amd", Driver: some(driver)}
		for _, key := range []string{"card series", "device name", "card model"} {
			if v := c.find(key); v != "" && !onlyHex.MatchString(v) && g.Name == "" {
				g.Name = v
			}
		}
		if b := c.number("vram total memory (b)"); b != nil && *b > 0 {
			g.VRAMTotal = some(int64(*b))
		}
		g.VBIOS = some(c.find("vbios"))
		g.Architecture = some(c.find("gfx version"))
		if w := c.number("max", "power"); w != nil && *w > 0 {
			g.PowerLimit = w // "Max Graphics Package Power" is the cap that is set
		}
		g.BusID = busID(c.find("pci bus"))
		list = append(list, g)
	}
	return list, nil
}
