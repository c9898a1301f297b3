package hw

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/shirou/gopsutil/v4/cpu"
)

func tree(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func ptr[T any](v T) *T { return &v }

// TestThisMachine reads the machine that the test runs on. What every machine has must be there, what is null must have its
// reason, and nothing may tell who or which machine it is.
func TestThisMachine(t *testing.T) {
	began := time.Now()
	raw, err := json.Marshal(Machine{}.Read(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s, want about a second at most", took)
	}
	var fp Fingerprint
	if err := json.Unmarshal(raw, &fp); err != nil {
		t.Fatal(err)
	}
	if fp.CPU.Threads == nil || *fp.CPU.Threads < runtime.NumCPU() || fp.RAMTotal == nil || *fp.RAMTotal < 64<<20 || fp.OS.Kernel == nil {
		t.Errorf("not even the basics: %s", raw)
	}
	if fp.OS.Name != runtime.GOOS || fp.OS.Arch != runtime.GOARCH {
		t.Errorf("%s/%s", fp.OS.Name, fp.OS.Arch)
	}
	everyNullHasItsReason(t, raw)
	nothingPersonal(t, raw)
	t.Logf("%s", raw)
}

func TestStateOfThisMachine(t *testing.T) {
	raw, err := Machine{}.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var c Condition
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	if c.CPUPercent == nil || *c.CPUPercent < 0 || *c.CPUPercent > 100 || c.RAMUsed == nil || c.RAMAvailable == nil {
		t.Errorf("not even the basics: %s", raw)
	}
	if (c.Load1m == nil) != (runtime.GOOS == "windows") {
		t.Errorf("load %v", c.Load1m)
	}
	everyNullHasItsReason(t, raw)
	nothingPersonal(t, raw)
	t.Logf("%s", raw)
}

func everyNullHasItsReason(t *testing.T, raw json.RawMessage) {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	reasons, _ := doc["reasons"].(map[string]any)
	delete(doc, "reasons")
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case nil:
			if why, _ := reasons[path].(string); why == "" {
				t.Errorf("%s is null without a reason", path)
			}
		case map[string]any:
			for name, item := range v {
				walk(strings.TrimPrefix(path+"."+name, "."), item)
			}
		case []any:
			for i, item := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), item)
			}
		}
	}
	walk("", doc)
}

var identifier = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-|([0-9a-f]{2}:){5}[0-9a-f]{2}|/(home|Users)/`)

func nothingPersonal(t *testing.T, raw json.RawMessage) {
	t.Helper()
	if found := identifier.Find(raw); found != nil {
		t.Errorf("holds %s", found)
	}
	var personal []string
	if name, err := os.Hostname(); err == nil {
		personal = append(personal, name)
	}
	if u, err := user.Current(); err == nil {
		personal = append(personal, u.Username, u.Name)
	}
	for _, name := range personal {
		if name != "" && strings.Contains(string(raw), `"`+name+`"`) {
			t.Errorf("holds %q", name)
		}
	}
}

func TestHangingProbeIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var got struct{ a, b int }
		reasons := map[string]string{}
		forever := make(chan struct{})
		defer close(forever)
		type pair = struct{ a, b int }
		gather(t.Context(), &got, reasons, []probe[pair]{
			{keys: []string{"a"}, run: func(context.Context) (func(*pair, map[string]string), error) {
				return func(p *pair, _ map[string]string) { p.a = 1 }, nil
			}},
			{keys: []string{"b"}, run: func(context.Context) (func(*pair, map[string]string), error) {
				<-forever // takes no notice of its context
				return func(p *pair, _ map[string]string) { p.b = 1 }, nil
			}},
			{keys: []string{"c", "d"}, run: func(context.Context) (func(*pair, map[string]string), error) { return nil, errors.New("no such file") }},
		})
		if took := time.Since(began); took != probeLimit {
			t.Errorf("took %s, want %s", took, probeLimit)
		}
		if got.a != 1 || got.b != 0 {
			t.Errorf("got %+v", got)
		}
		want := map[string]string{"b": "no answer within 900ms", "c": "no such file", "d": "no such file"}
		if diff := cmp.Diff(want, reasons); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestKeysAreThoseOfTheDocument(t *testing.T) {
	if got := known("", map[string]string{}, "x"); got != nil {
		t.Errorf("an empty string is known: %q", *got)
	}
	// Every JSON key that holds a quantity carries its unit or is a count.
	for _, typ := range []reflect.Type{reflect.TypeFor[Fingerprint](), reflect.TypeFor[GPU](), reflect.TypeFor[Condition](), reflect.TypeFor[GPUState]()} {
		for i := range typ.NumField() {
			f := typ.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Type == reflect.TypeFor[*int64]() && !strings.HasSuffix(key, "_bytes") && !strings.HasSuffix(key, "_us") && !strings.HasSuffix(key, "_uj") && !strings.HasSuffix(key, "_cycles") && key != "cpu_throttles" {
				t.Errorf("%s.%s: %q says no unit", typ.Name(), f.Name, key)
			}
		}
	}
}

func TestDriverNames(t *testing.T) {
	got := nvidiaNames(tree(map[string]string{
		"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA H200\nIRQ:   \t\t 130\nGPU UUID: \t GPU-2d0ddd1f-b2d7-1a2b-3c4d-000000000000\nBus Type: \t PCIe\n",
		"proc/driver/nvidia/gpus/0000:02:00.0/information": "Model:\n",
	}))
	if diff := cmp.Diff([]GPU{{Vendor: "nvidia", Name: "NVIDIA H200"}}, got, cmpopts.IgnoreUnexported(GPU{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCgroupLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		cpus  *float64
		bytes *int64
	}{
		{"none", nil, nil, nil},
		{"version 2 in a container", map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n", "sys/fs/cgroup/memory.max": "4294967296\n",
		}, ptr(1.5), ptr(int64(4 << 30))},
		{"version 2 without limit", map[string]string{
			"proc/self/cgroup": "0::/user.slice\n", "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n", "sys/fs/cgroup/user.slice/memory.max": "max\n",
		}, nil, nil},
		{"the tightest above counts", map[string]string{
			"proc/self/cgroup":          "0::/a/b\n",
			"sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "sys/fs/cgroup/a/cpu.max": "400000 100000\n",
			"sys/fs/cgroup/a/b/memory.max": "2147483648\n", "sys/fs/cgroup/a/memory.max": "1073741824\n",
		}, ptr(4.0), ptr(int64(1 << 30))},
		{"version 1", map[string]string{
			"proc/self/cgroup":                                  "9:name=systemd:/x\n4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":                "200000\n",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":               "100000\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":        "8589934592\n",
			"sys/fs/cgroup/memory/docker/memory.limit_in_bytes": "9223372036854771712\n",
		}, ptr(2.0), ptr(int64(8 << 30))},
		{"version 1 without limit", map[string]string{
			"proc/self/cgroup":                           "4:memory:/\n2:cpu:/\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":         "-1\n",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":        "100000\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, nil, nil},
		{"strange path", map[string]string{
			"proc/self/cgroup": "0::/../../..\nnonsense\n", "sys/fs/cgroup/cpu.max": "100000 100000\n",
		}, ptr(1.0), nil},
	} {
		cpus, bytes := cgroupLimits(tree(c.files))
		if diff := cmp.Diff(c.cpus, cpus); diff != "" {
			t.Errorf("%s: cpus (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.bytes, bytes); diff != "" {
			t.Errorf("%s: bytes (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestBattery(t *testing.T) {
	supply := func(name, typ, key, value string) map[string]string {
		return map[string]string{"sys/class/power_supply/" + name + "/type": typ + "\n", "sys/class/power_supply/" + name + "/" + key: value + "\n"}
	}
	join := func(maps ...map[string]string) map[string]string {
		out := map[string]string{}
		for _, m := range maps {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	mouse := join(supply("hid", "Battery", "status", "Discharging"), map[string]string{"sys/class/power_supply/hid/scope": "Device\n"})
	for _, c := range []struct {
		name  string
		files map[string]string
		want  bool
	}{
		{"desktop", nil, false},
		{"desktop with a mouse", mouse, false},
		{"laptop on battery", join(supply("AC", "Mains", "online", "0"), supply("BAT0", "Battery", "status", "Discharging")), true},
		{"laptop plugged in", join(supply("AC", "Mains", "online", "1"), supply("BAT0", "Battery", "status", "Charging")), false},
		{"weak charger", join(supply("usb", "USB", "online", "1"), supply("BAT0", "Battery", "status", "Discharging")), false},
		{"full", join(supply("AC", "Mains", "online", "0"), supply("BAT0", "Battery", "status", "Full")), false},
	} {
		got, err := batteryState(tree(c.files))
		if err != nil || got != c.want {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

func TestOSRelease(t *testing.T) {
	name, version := parseOSRelease("PRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\nVERSION_ID=\"24.04\"\n# ID=x\nID=ubuntu\nbroken\n")
	if name != "ubuntu" || version != "24.04" {
		t.Errorf("got %q %q", name, version)
	}
	if name, version := parseOSRelease("ID=arch\n"); name != "arch" || version != "" {
		t.Errorf("got %q %q", name, version)
	}
}

func TestHypervisor(t *testing.T) {
	for text, want := range map[string]string{
		"processor\t: 0\nflags\t\t: fpu vme hypervisor sse\n": "hypervisor",
		"processor\t: 0\nflags\t\t: fpu vme sse\n":            "none",
		"processor\t: 0\nFeatures\t: fp asimd\n":              "",
	} {
		got, err := hypervisor(tree(map[string]string{"proc/cpuinfo": text}))
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestSockets(t *testing.T) {
	for _, c := range []struct {
		ids  []string
		want int
	}{{[]string{"0", "0", "1", "1"}, 2}, {[]string{"0"}, 1}, {[]string{"", ""}, 0}, {nil, 0}} {
		var infos []cpu.InfoStat
		for _, id := range c.ids {
			infos = append(infos, cpu.InfoStat{PhysicalID: id})
		}
		if got := socketsOf(infos); got != c.want {
			t.Errorf("%v: got %d, want %d", c.ids, got, c.want)
		}
	}
}

func TestSurroundings(t *testing.T) {
	bare := map[string]string{"proc/cpuinfo": "flags\t\t: fpu vme sse\n", "proc/version": "Linux version 6.8.0"}
	guest := map[string]string{"proc/cpuinfo": "flags\t\t: fpu hypervisor\n"}
	for _, c := range []struct {
		files, more map[string]string
		want        string
	}{
		{bare, nil, "none"},
		{guest, nil, "hypervisor"},
		{bare, map[string]string{".dockerenv": ""}, "docker"},
		{guest, map[string]string{"run/.containerenv": "", "sys/class/dmi/id/sys_vendor": "QEMU"}, "podman"},
		{guest, map[string]string{"proc/1/cgroup": "0::/kubepods.slice/x/docker-1.scope"}, "kubernetes"},
		{guest, map[string]string{"proc/self/cgroup": "0::/lxc.payload.x"}, "lxc"},
		{guest, map[string]string{"proc/version": "Linux version 5.15.153.1-microsoft-standard-WSL2"}, "wsl"},
		{guest, map[string]string{"sys/class/dmi/id/sys_vendor": "Amazon EC2", "sys/class/dmi/id/product_name": "p5.48xlarge"}, "amazon"},
		{bare, map[string]string{"sys/class/dmi/id/sys_vendor": "Amazon EC2", "sys/class/dmi/id/product_name": "m7i.metal-24xl"}, "none"},
		{guest, map[string]string{"sys/class/dmi/id/sys_vendor": "Microsoft Corporation", "sys/class/dmi/id/product_name": "Virtual Machine"}, "hyperv"},
		{bare, map[string]string{"sys/class/dmi/id/sys_vendor": "Microsoft Corporation", "sys/class/dmi/id/product_name": "Surface Laptop"}, "none"},
		{nil, nil, ""},
	} {
		files := tree(c.files)
		for name, text := range tree(c.more) {
			files[name] = text
		}
		got, err := surroundings(files)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%v: got %q, %v, want %q", c.more, got, err, c.want)
		}
	}
}
