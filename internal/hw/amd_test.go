package hw

import (
	gocmp "cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// table makes a gpu_metrics of a version and size with numbers at places.
func table(size int, format, content byte, words map[int]uint64, halves map[int]uint32) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = 0xff
	}
	binary.LittleEndian.PutUint16(b, uint16(size))
	b[2], b[3] = format, content
	for at, v := range words {
		binary.LittleEndian.PutUint64(b[at:], v)
	}
	for at, v := range halves {
		binary.LittleEndian.PutUint32(b[at:], v)
	}
	return b
}

// The layouts are those of the kernel's kgd_pp_interface.h; the tables are synthetic.
func TestGPUMetrics(t *testing.T) {
	residency := func(at int) map[int]uint32 {
		return map[int]uint32{at: 5000, at + 4: 1, at + 8: 4000, at + 12: 20, at + 16: 300, at + 20: 7}
	}
	for _, c := range []struct {
		name string
		b    []byte
		want GPUState
	}{
		{"MI200", table(120, 1, 3, map[int]uint64{24: 3<<16 + 1<<15, 112: 1<<36 | 1}, nil), GPUState{Energy: is(int64(3_500_000)), Reasons: []string{"power", "heat"}}},
		{"RDNA without a counter", table(120, 1, 3, map[int]uint64{112: 0}, nil), GPUState{Reasons: []string{}}},
		{"RDNA, counter of 32 bits never set", table(120, 1, 3, map[int]uint64{24: 0xffffffff, 112: 1<<17 | 1<<47}, nil), GPUState{Reasons: []string{"current", "prochot"}}},
		{"the processor's signal is not the GPU's", table(120, 1, 3, map[int]uint64{112: 1 << 46}, nil), GPUState{Reasons: []string{}}},
		{"old", table(96, 1, 1, map[int]uint64{24: 1 << 16}, nil), GPUState{Energy: is(int64(1_000_000))}},
		{"MI300 at first", table(200, 1, 5, map[int]uint64{24: 2 << 16}, nil), GPUState{Energy: is(int64(2_000_000))}},
		{"MI300", table(1664, 1, 6, map[int]uint64{16: 1 << 32}, residency(32)), GPUState{Energy: is(int64(65536_000_000)), Cycles: is(int64(5000)), HeatCycles: is(int64(328))}},
		{"MI300, newer", table(1800, 1, 7, map[int]uint64{16: 5300, 24: 1 << 16}, residency(40)), GPUState{Energy: is(int64(1_000_000)), Cycles: is(int64(5000)), HeatCycles: is(int64(328))}},
		{"MI350", table(2000, 1, 8, map[int]uint64{24: 1 << 16}, residency(40)), GPUState{Energy: is(int64(1_000_000)), Cycles: is(int64(5000)), HeatCycles: is(int64(328))}},
		{"no residency", table(1664, 1, 6, nil, nil), GPUState{}},
		{"a processor with graphics", table(128, 2, 2, map[int]uint64{120: 1 << 33}, nil), GPUState{Reasons: []string{"heat"}}},
		{"a version to come", table(128, 9, 9, map[int]uint64{24: 1 << 16}, nil), GPUState{}},
		{"cut off", table(120, 1, 3, map[int]uint64{24: 1 << 16}, nil)[:60], GPUState{}},
		{"too small for its version", table(28, 1, 3, nil, nil), GPUState{}},
		{"nothing", nil, GPUState{}},
	} {
		var got GPUState
		gpuMetrics(c.b, &got)
		if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(GPUState{})); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
	// The driver's table is read with every look, and comes before a sensor's counter.
	dir := "sys/class/drm/card0/device/"
	files := fstest.MapFS{dir + "vendor": {Data: []byte("0x1002\n")}, dir + "gpu_metrics": {Data: table(120, 1, 3, map[int]uint64{24: 1 << 16, 112: 0}, nil)}, dir + "hwmon/hwmon1/energy1_input": {Data: []byte("77\n")}}
	if list := drmState(files); len(list) != 1 || *list[0].Energy != 1_000_000 || list[0].Reasons == nil {
		t.Errorf("%+v", list)
	}
	delete(files, dir+"gpu_metrics")
	if list := drmState(files); len(list) != 1 || *list[0].Energy != 77 || list[0].Reasons != nil {
		t.Errorf("%+v", list)
	}
	files[dir+"vendor"] = &fstest.MapFile{Data: []byte("0x8086\n")}
	if list := drmState(files); len(list) != 1 || list[0].Vendor != "intel" || *list[0].Energy != 77 {
		t.Errorf("%+v", list)
	}
}

func TestAMDMetric(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []GPUState
		bad        bool
	}{
		{"a list, old words", `[{"gpu":0,"usage":{"gfx_activity":{"value":42,"unit":"%"}},"power":{"current_power":{"value":20,"unit":"W"},"throttle_status":"UNTHROTTLED"},"temperature":{"edge":{"value":50,"unit":"C"},"hotspot":"N/A"}}]`,
			[]GPUState{{Vendor: "amd", UsePercent: is(42.0), Power: is(20.0), Temperature: is(50.0), Reasons: []string{}}}, false},
		{"throttled, by what is not told", `{"gpu_data":[{"gpu":0,"power":{"socket_power":{"value":300,"unit":"W"},"throttle_status":"THROTTLED"}}]}`,
			[]GPUState{{Vendor: "amd", Power: is(300.0), Reasons: []string{"throttled"}}}, false},
		{"counters", `{"gpu_data":[{"gpu":0,"energy":{"total_energy_consumption":{"value":12.5,"unit":"J"}},"throttle":{"accumulation_counter":{"value":100,"unit":""},"prochot_violation_accumulated":1,"ppt_accumulated":50,"socket_thermal_accumulated":2,"vr_thermal_accumulated":3,"hbm_thermal_accumulated":0,"socket_thermal_violation_status":"ACTIVE","vr_thermal_violation_status":"ACTIVE","ppt_violation_status":"ACTIVE"}}]}`,
			[]GPUState{{Vendor: "amd", Energy: is(int64(12_500_000)), Cycles: is(int64(100)), HeatCycles: is(int64(6)), Reasons: []string{"power", "heat"}}}, false},
		{"one counter is missing", `[{"throttle":{"accumulation_counter":100,"prochot_accumulated":0,"socket_thermal_accumulated":"N/A","vr_thermal_accumulated":0,"hbm_thermal_accumulated":0}}]`, []GPUState{{Vendor: "amd"}}, false},
		{"everything is N/A", `[{"gpu":0,"usage":"N/A","power":"N/A","throttle":"N/A","energy":"N/A"}]`, []GPUState{{Vendor: "amd"}}, false},
		{"numbers that can't be", `[{"usage":{"gfx_activity":{"value":65535,"unit":"%"}},"mem_usage":{"used_vram":{"value":1e300,"unit":"MB"}},"power":{"socket_power":{"value":5,"unit":"mW"}},"energy":{"total_energy_consumption":{"value":-1,"unit":"J"}}}]`, []GPUState{{Vendor: "amd"}}, false},
		{"a warning in the place of JSON", "WARNING: No JSON data to report\n", nil, true},
		{"a help text", "usage: amd-smi [-h] ...\namd-smi: error: unrecognized arguments: --json", nil, true},
		{"another shape", `{"error": "no"}`, nil, true},
	} {
		got, err := parseAMDMetric(c.text)
		if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(GPUState{})); diff != "" || (err != nil) != c.bad {
			t.Errorf("%s: %v, -want +got:\n%s", c.name, err, diff)
		}
	}
	got, err := parseROCmState(`{"card1":{"GPU use (%)":"7","Current Socket Graphics Package Power (W)":"0.0","Temperature (Sensor edge) (C)":"40.5"},"card0":{"GPU use (%)":"N/A","Average Graphics Package Power (W)":"91.0","Accumulated Energy (uJ)":"188382678.52"}}`)
	want := []GPUState{{Vendor: "amd", Power: is(91.0), Energy: is(int64(188382678))}, {Vendor: "amd", UsePercent: is(7.0), Temperature: is(40.5)}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(GPUState{})); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
}

// The tools are asked where the kernel leaves something open, and where it shows nothing at all; never without need.
func TestWhenAMDIsAsked(t *testing.T) {
	dir := "sys/class/drm/card0/device/"
	full := map[string]string{dir + "vendor": "0x1002", dir + "gpu_busy_percent": "5", dir + "mem_info_vram_used": "1", dir + "hwmon/hwmon1/power1_average": "9000000", dir + "hwmon/hwmon1/temp1_input": "40000",
		dir + "gpu_metrics": string(table(120, 1, 3, map[int]uint64{112: 0}, nil))}
	for _, c := range []struct {
		name  string
		files map[string]string
		asked []string
	}{
		{"all is known", full, nil},
		{"a part is open", map[string]string{dir + "vendor": "0x1002"}, []string{"amd-smi", "rocm-smi"}},
		{"another maker's card", map[string]string{dir + "vendor": "0x10de"}, nil},
		{"no card is shown", nil, []string{"amd-smi", "rocm-smi"}},
	} {
		var asked []string
		s := replayed(tree(c.files), func(name string, _ ...string) (string, error) {
			asked = append(asked, name)
			return "", errNoTool
		})
		if _, err := s.amdState(t.Context()); err != nil && !errors.Is(err, errNoTool) || !slices.Equal(asked, c.asked) {
			t.Errorf("%s: asked %v, want %v; %v", c.name, asked, c.asked, err)
		}
	}
}

// An argument that amd-smi does not know costs one more question; any other failure is a matter for the older tool.
func TestAMDRefusesAnArgument(t *testing.T) {
	const refusal = "usage: amd-smi static [-h]\namd-smi static: error: unrecognized arguments: --limit\n"
	for _, c := range []struct {
		name, first, second string
		err                 error
		asked               int
		want                string
	}{
		{"refused, then told", refusal, `[{"gpu":0,"asic":{"market_name":"AMD A"}}]`, nil, 2, "AMD A"},
		{"refused twice", refusal, refusal, nil, 2, ""},
		{"hangs", "", "", context.DeadlineExceeded, 1, ""},
		{"rubbish", "<html>", "", nil, 1, ""},
	} {
		asked := 0
		s := replayed(tree(nil), func(name string, args ...string) (string, error) {
			if name != "amd-smi" {
				return "", errNoTool
			}
			if asked++; slices.Contains(args, "--limit") {
				return c.first, gocmp.Or(c.err, errors.New("exit status 2"))
			}
			return c.second, nil
		})
		list, err := s.amd(t.Context())
		got := ""
		if len(list) > 0 {
			got = list[0].Name
		}
		if got != c.want || asked != c.asked || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, asked %d times, %v", c.name, got, asked, err)
		}
	}
}

// The kernel lists who computes by ROCm; a memory that can't be read is not taken for 0.
func TestROCmProcesses(t *testing.T) {
	const dir = kfdDir + "/"
	for _, c := range []struct {
		name   string
		files  map[string]string
		n      int
		memory *int64
		ok     bool
	}{
		{"no such driver", map[string]string{"proc/version": "x"}, 0, nil, false},
		{"two processes, three memories", map[string]string{dir + "7/vram_1": "5", dir + "7/vram_2": "6", dir + "7/pasid": "3", dir + "8/vram_1": "1"}, 2, is(int64(12)), true},
		{"rubbish", map[string]string{dir + "7/vram_1": "-5", dir + "8/vram_1": "1"}, 2, nil, true},
		{"none is told", map[string]string{dir + "7/pasid": "3"}, 1, nil, true},
		{"other folders", map[string]string{dir + "x/vram_1": "5"}, 0, is(int64(0)), true},
	} {
		n, memory, ok := kfdProcesses(tree(c.files))
		if n != c.n || ok != c.ok || (memory == nil) != (c.memory == nil) || memory != nil && *memory != *c.memory {
			t.Errorf("%s: %d, %v, %t", c.name, n, memory, ok)
		}
	}
	if got := rocmVersion(tree(map[string]string{"opt/rocm-6.4.1/.info/version": "6.4.1-83\n", "opt/rocm-6.10.0/.info/version": "6.10.0-1\n", "opt/rocm-5.7/.info/version": ""})); got != "6.10.0-1" {
		t.Error(got)
	}
}

func FuzzGPUMetrics(f *testing.F) {
	f.Add(table(120, 1, 3, map[int]uint64{24: 1 << 16}, nil))
	f.Add(table(1664, 1, 6, nil, map[int]uint32{32: 5}))
	f.Add([]byte{4, 0, 1, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		var g GPUState
		gpuMetrics(b, &g)
		for name, n := range map[string]*int64{"energy": g.Energy, "cycles": g.Cycles, "heat": g.HeatCycles} {
			if n != nil && *n < 0 {
				t.Errorf("%s is %d", name, *n)
			}
		}
	})
}

func FuzzAMDTools(f *testing.F) {
	for _, dir := range []string{"synthetic_mi300x-list", "synthetic_mi300x-gpu-data", "synthetic_rdna-no-json"} {
		for _, file := range []string{"amd-smi.json", "amd-smi-metric.json", "rocm-smi.json", "rocm-smi-state.json"} {
			f.Add(fileOf("testdata/machines/"+dir, file))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, _ := parseAMDMetric(text)
		more, _ := parseROCmState(text)
		for _, g := range append(list, more...) {
			if g.UsePercent != nil && (*g.UsePercent < 0 || *g.UsePercent > 100) || g.Energy != nil && *g.Energy < 0 || g.MemoryUsed != nil && *g.MemoryUsed < 0 {
				t.Errorf("%+v", g)
			}
		}
		gpus, _ := parseAMDSMI(text)
		older, _ := parseROCmSMI(text)
		for _, g := range append(gpus, older...) {
			if g.VRAMTotal != nil && *g.VRAMTotal <= 0 || strings.ContainsRune(g.Vendor, ' ') {
				t.Errorf("%+v", g)
			}
		}
	})
}
