package hw

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// cimScript asks Windows for all that is needed in one PowerShell, since each start of it costs a second. Sizes of graphics
// memory are in the registry alone: Win32_VideoController's wrap at 4 GiB.
const cimScript = `$ErrorActionPreference='SilentlyContinue';[Console]::OutputEncoding=[Text.Encoding]::UTF8;` +
	`@{cpu=@(Get-CimInstance Win32_Processor|Select-Object Name,NumberOfCores,NumberOfLogicalProcessors,MaxClockSpeed);` +
	`memory=@(Get-CimInstance Win32_PhysicalMemory|Select-Object Capacity,Speed,ConfiguredClockSpeed,DeviceLocator,BankLocator);` +
	`video=@(Get-CimInstance Win32_VideoController|Select-Object Name,DriverVersion,AdapterCompatibility);` +
	`registry=@(Get-ItemProperty 'HKLM:\SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}\0*'|Select-Object DriverDesc,DriverVersion,'HardwareInformation.qwMemorySize');` +
	`system=Get-CimInstance Win32_ComputerSystem|Select-Object Manufacturer,Model;` +
	`os=Get-CimInstance Win32_OperatingSystem|Select-Object Caption,Version,BuildNumber}|ConvertTo-Json -Depth 4 -Compress`

// The limits of what is asked through other programs: PowerShell alone takes a second or more to start.
const (
	cimLimit     = 8 * time.Second
	windowsTools = 4 * time.Second
)

// many is a list that PowerShell writes as an object where it has one element, as null where it has none, and sometimes as
// {"value": [...], "Count": 2}.
type many[T any] []T

// UnmarshalJSON accepts all these shapes.
func (m *many[T]) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '[' {
		var list []*T
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		for _, item := range list {
			if item != nil {
				*m = append(*m, *item)
			}
		}
		return nil
	}
	if string(b) == "null" {
		return nil
	}
	var wrapped struct {
		Value json.RawMessage `json:"value"`
		Count *int            `json:"Count"`
	}
	if json.Unmarshal(b, &wrapped) == nil && wrapped.Count != nil && len(wrapped.Value) > 0 && wrapped.Value[0] == '[' {
		return m.UnmarshalJSON(wrapped.Value)
	}
	var one T
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*m = append(*m, one)
	return nil
}

// cimAnswer is what cimScript prints.
type cimAnswer struct {
	CPU many[struct {
		Name    string   `json:"Name"`
		Cores   int      `json:"NumberOfCores"`
		Threads int      `json:"NumberOfLogicalProcessors"`
		Clock   *float64 `json:"MaxClockSpeed"`
	}] `json:"cpu"`
	Memory many[struct {
		Capacity   json.Number `json:"Capacity"`
		Speed      int         `json:"Speed"`
		Configured int         `json:"ConfiguredClockSpeed"`
		Device     string      `json:"DeviceLocator"`
		Bank       string      `json:"BankLocator"`
	}] `json:"memory"`
	Video many[struct {
		Name   string `json:"Name"`
		Driver string `json:"DriverVersion"`
		Maker  string `json:"AdapterCompatibility"`
	}] `json:"video"`
	Registry many[struct {
		Name   string          `json:"DriverDesc"`
		Driver string          `json:"DriverVersion"`
		Memory json.RawMessage `json:"HardwareInformation.qwMemorySize"` // a number, or bytes where a driver wrote such
	}] `json:"registry"`
	System many[struct{ Manufacturer, Model string }]           `json:"system"`
	OS     many[struct{ Caption, Version, BuildNumber string }] `json:"os"`
}

func parseCIM(text string) (cimAnswer, error) {
	var a cimAnswer
	if err := jsonIn(text, &a); err != nil {
		return cimAnswer{}, err
	}
	if len(a.CPU) == 0 && len(a.Video) == 0 && len(a.System) == 0 && len(a.OS) == 0 {
		return a, errors.New("answer not understood: nothing in it")
	}
	return a, nil
}

// gpus lists the display adapters that are of a maker of GPUs.
func (a cimAnswer) gpus() []GPU {
	var list []GPU
	for _, v := range a.Video {
		low := strings.ToLower(v.Maker + " " + v.Name)
		g := GPU{Name: strings.TrimSpace(v.Name), Driver: some(v.Driver), why: map[string]string{}}
		switch {
		case g.Name == "":
			continue
		case strings.Contains(low, "nvidia"):
			g.Vendor = "nvidia"
		case strings.Contains(low, "advanced micro devices"), strings.Contains(low, "amd"), strings.Contains(low, "radeon"):
			g.Vendor = "amd"
		case strings.Contains(low, "intel"):
			g.Vendor = "intel"
		default:
			continue // Microsoft's, remote and virtual displays
		}
		for _, r := range a.Registry {
			var bytes int64
			if r.Name == v.Name && cmp.Or(r.Driver, v.Driver) == v.Driver && json.Unmarshal(r.Memory, &bytes) == nil && bytes > 0 {
				g.VRAMTotal = &bytes
			}
		}
		list = append(list, g)
	}
	return list
}

// ram is what the modules say together.
func (a cimAnswer) ram() RAM {
	var modules []module
	for _, m := range a.Memory {
		if b, err := m.Capacity.Int64(); err == nil && b > 0 {
			modules = append(modules, module{speed: max(0, cmp.Or(m.Configured, m.Speed)), locators: []string{m.Device, m.Bank}})
		}
	}
	return ramOf(modules)
}

func (a cimAnswer) enter(fp *Fingerprint, reasons map[string]string) {
	fp.RAM = a.ram()
	var top float64
	cores, threads := 0, 0
	for _, c := range a.CPU {
		if c.Clock != nil {
			top = max(top, *c.Clock)
		}
		cores, threads = cores+max(0, c.Cores), threads+max(0, c.Threads)
	}
	if cores > 0 && threads >= cores {
		on := threads > cores
		fp.CPU.SMT = &on
	} else {
		reasons["cpu.smt"] = silent
	}
	fp.CPU.ClockMax = known(top, reasons, "cpu.clock_max_mhz")
	var machine, build string
	if len(a.System) > 0 {
		machine = makerAndModel(a.System[0].Manufacturer, a.System[0].Model)
	}
	if len(a.OS) > 0 {
		build = strings.TrimSpace(a.OS[0].BuildNumber)
	}
	fp.Machine = known(machine, reasons, "machine")
	fp.OS.Build = known(build, reasons, "os.build")
	for _, field := range nulls(fp.RAM) {
		reasons["ram."+field] = silent
	}
}

// makerAndModel joins both, and leaves out what a maker did not fill in.
func makerAndModel(maker, model string) string {
	clean := func(s string) string {
		s = strings.Join(strings.Fields(s), " ")
		switch strings.ToLower(s) {
		case "to be filled by o.e.m.", "system manufacturer", "system product name", "default string", "not specified", "not applicable", "unknown", "none", "o.e.m.":
			return ""
		}
		return s
	}
	maker, model = clean(maker), clean(model)
	if strings.HasPrefix(strings.ToLower(model), strings.ToLower(maker)) {
		return model
	}
	return strings.TrimSpace(maker + " " + model)
}

// windowsAll asks nvidia-smi and PowerShell at once. NVIDIA's GPUs are taken from nvidia-smi where it answers.
func (s source) windowsAll(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
	type nvidia struct {
		list []GPU
		cuda string
		err  error
	}
	asked := make(chan nvidia, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, windowsTools)
		defer cancel()
		list, cuda, err := s.nvidia(ctx)
		asked <- nvidia{list, cuda, err}
	}()
	shell, cancel := context.WithTimeout(ctx, cimLimit-time.Second)
	defer cancel()
	out, err := s.run(shell, "powershell", "-NoProfile", "-NonInteractive", "-Command", cimScript)
	var answer cimAnswer
	if err == nil {
		answer, err = parseCIM(out)
	} else if out != "" {
		err = fmt.Errorf("%w: %s", err, quote(out))
	}
	nv := <-asked
	list := nv.list
	for _, g := range answer.gpus() {
		if g.Vendor != "nvidia" || len(nv.list) == 0 {
			list = append(list, g)
		}
	}
	enter := s.enterGPUs(list, nv.cuda, errors.Join(nv.err, err))
	return func(fp *Fingerprint, reasons map[string]string) {
		enter(fp, reasons)
		if err != nil {
			blame(reasons, []string{"machine", "os.build", "cpu.clock_max_mhz", "cpu.smt", "ram.modules", "ram.channels", "ram.speed_mts"}, "PowerShell: "+err.Error())
			return
		}
		answer.enter(fp, reasons)
	}, nil
}
