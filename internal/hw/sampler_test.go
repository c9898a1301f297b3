package hw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

// changing is a file system whose files a test may change while they are read.
type changing struct {
	mu    sync.Mutex
	files fstest.MapFS
}

func (c *changing) set(name, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := fstest.MapFS{name: &fstest.MapFile{Data: []byte(text + "\n")}}
	for k, v := range c.files {
		if k != name {
			next[k] = v
		}
	}
	c.files = next
}

func (c *changing) Open(name string) (fs.File, error) {
	c.mu.Lock()
	files := c.files
	c.mu.Unlock()
	return files.Open(name)
}

func machineFiles() *changing {
	c := &changing{}
	for name, text := range map[string]string{
		"proc/loadavg": "1.25 0.5 0.1 2/300 4242", "proc/meminfo": "MemTotal: 1000 kB\nMemAvailable:   2048 kB",
		"proc/stat": "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 50 0 50 400\ncpu1 50 0 50 400\nintr 1",
		cpuDir + "cpufreq/policy0/scaling_cur_freq": "1000000", cpuDir + "cpufreq/policy1/scaling_cur_freq": "3000000",
		cpuDir + "cpu0/thermal_throttle/core_throttle_count": "3", cpuDir + "cpu1/thermal_throttle/core_throttle_count": "4",
		"sys/class/hwmon/hwmon0/name": "coretemp", "sys/class/hwmon/hwmon0/temp1_input": "41000", "sys/class/hwmon/hwmon0/temp2_input": "55000",
		"sys/class/hwmon/hwmon1/name": "nvme", "sys/class/hwmon/hwmon1/temp1_input": "99000",
		"sys/class/power_supply/AC/type": "Mains", "sys/class/power_supply/AC/online": "1",
		"sys/class/powercap/intel-rapl:0/name": "package-0", "sys/class/powercap/intel-rapl:0/energy_uj": "999000", "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "1000000",
		"sys/class/powercap/intel-rapl:0:0/name": "core", "sys/class/powercap/intel-rapl:0:0/energy_uj": "5",
		"sys/class/powercap/intel-rapl:1/name": "psys", "sys/class/powercap/intel-rapl:1/energy_uj": "7",
		"sys/firmware/acpi/platform_profile": "balanced",
		"sys/class/drm/card0/device/vendor":  "0x1002", "sys/class/drm/card0/device/gpu_busy_percent": "12",
	} {
		c.set(name, text)
	}
	return c
}

func TestReaderLooks(t *testing.T) {
	files := machineFiles()
	r := newReader(source{files: files})
	if r.cpus != 2 || r.energyWhy != "" {
		t.Errorf("%d CPUs, %s", r.cpus, r.energyWhy)
	}
	first, gpus := r.look()
	if *first.Load1m != 1.25 || *first.RAMAvailable != 2<<20 || *first.CPUClock != 2000 || *first.CPUTemperature != 55 || *first.CPUThrottles != 7 ||
		*first.OnBattery || *first.PowerMode != "balanced" || *first.CPUEnergy != 0 || first.CPUPercent != nil {
		t.Errorf("%+v", first)
	}
	if len(gpus) != 1 || *gpus[0].UsePercent != 12 {
		t.Errorf("%+v", gpus)
	}
	files.set("proc/stat", "cpu  250 0 100 850 0 0 0 0 0 0\n")
	files.set("sys/class/powercap/intel-rapl:0/energy_uj", "500") // past its end
	files.set("sys/class/power_supply/AC/online", "0")
	files.set("sys/class/power_supply/BAT0/type", "Battery")
	files.set("sys/class/power_supply/BAT0/status", "Discharging")
	second, _ := r.look()
	if *second.CPUPercent != 75 || *second.CPUEnergy != 1500 || !*second.OnBattery {
		t.Errorf("%+v", second)
	}
	// Nothing readable, and rubbish: absent, not 0.
	empty, _ := newReader(source{files: fstest.MapFS{}}).look()
	if empty.Load1m != nil || empty.CPUPercent != nil || empty.CPUEnergy != nil || empty.OnBattery != nil || empty.CPUTemperature != nil || empty.RAMAvailable != nil || empty.CPUThrottles != nil {
		t.Errorf("%+v", empty)
	}
	odd := &changing{}
	for name := range machineFiles().files {
		odd.set(name, "\x00-1 N/A \xff")
	}
	odd.set("sys/class/powercap/intel-rapl:0/name", "package-0")
	odd.set("proc/stat", "cpu -1 x 18446744073709551616")
	if s, _ := newReader(source{files: odd}).look(); s.Load1m != nil || s.CPUPercent != nil || s.CPUEnergy != nil || s.CPUTemperature != nil || s.CPUThrottles != nil || s.CPUClock != nil {
		t.Errorf("%+v", s)
	}
}

// smi is an nvidia-smi of old: it knows no counters, and reasons by their old name.
func smi(t *testing.T, help *bool) func(context.Context, string, ...string) (string, error) {
	return func(_ context.Context, name string, args ...string) (string, error) {
		if name != "nvidia-smi" {
			return "", errNoTool
		}
		if args[0] == "--help-query-gpu" {
			*help = true
			return "\"index\"\n\"utilization.gpu\"\n\"power.draw\"\n\"clocks_throttle_reasons.active\"\n", nil
		}
		if strings.Contains(args[0], "clocks_event_reasons") {
			return "Field \"clocks_event_reasons.active\" is not a valid field to query.\n", errors.New("exit status 2")
		}
		if args[0] != "--query-gpu=index,utilization.gpu,power.draw,clocks_throttle_reasons.active" {
			t.Errorf("asked %q", args)
		}
		return "0, 3, 20.5, 0x0000000000000001\n1, 90, [N/A], 0x0000000000000000\n", nil
	}
}

// One process serves the whole watch, and its lines become samples; those that are no answer are left out.
func TestWatch(t *testing.T) {
	var help bool
	var mu sync.Mutex
	started := 0
	out, in := io.Pipe()
	s := source{files: machineFiles(), run: smi(t, &help), follow: func(ctx context.Context, name string, args ...string) (io.ReadCloser, error) {
		mu.Lock()
		defer mu.Unlock()
		if args[0] == "--query-compute-apps=pid" {
			return io.NopCloser(strings.NewReader("")), nil
		}
		started++
		if name != "nvidia-smi" || args[len(args)-2] != "-lms" || args[len(args)-1] != "20" {
			t.Errorf("started %s %q", name, args)
		}
		context.AfterFunc(ctx, func() { in.Close() })
		return out, nil
	}}
	began := time.Now()
	w := watch(t.Context(), s, func() time.Duration { return time.Since(began) }, 20*time.Millisecond)
	w.Ready(t.Context())
	if f := w.Findings(nil, nil); len(f) != 1 || f[0].Name != "gpu_busy" || f[0].Evidence != "nvidia GPU 1 was 90 % in use before anything was opened" {
		t.Errorf("%+v", f)
	}
	for i := range 3 {
		fmt.Fprintf(in, "0, %d, 100.0, 0x0000000000000020\n\n", 50+i)
		fmt.Fprintf(in, "nonsense\n")
	}
	time.Sleep(50 * time.Millisecond)
	go fmt.Fprintf(in, "0, 99, 100.0, 0x0\n") // the one that Stop waits for
	series := w.Stop()
	mu.Lock()
	defer mu.Unlock()
	if started != 1 || !help {
		t.Errorf("started %d processes", started)
	}
	nvidia := 0
	for _, g := range series.GPUs {
		if g.Vendor == "nvidia" {
			nvidia++
		}
	}
	if nvidia != 2+3+1 || len(series.System) < 3 || series.Schema != SeriesSchema || series.EveryMs != 20 {
		t.Errorf("%d samples of NVIDIA's, %d of the system: %+v", nvidia, len(series.System), series)
	}
	if got := w.Stop(); len(got.GPUs) != len(series.GPUs) {
		t.Error("a second Stop gives something else")
	}
}

// A tool that hangs, prints rubbish, ends, or is not there costs its part and nothing else.
func TestWatchOfBrokenTools(t *testing.T) {
	fine := func(context.Context, string, ...string) (string, error) {
		return strings.Repeat("0, ", len(nvidiaSampled)) + "0\n", nil
	}
	for _, c := range []struct {
		name   string
		run    func(context.Context, string, ...string) (string, error)
		follow func(context.Context, string, ...string) (io.ReadCloser, error)
		why    string
	}{
		{"not there", func(context.Context, string, ...string) (string, error) { return "", errNoTool }, nil, ""},
		{"hangs", func(ctx context.Context, _ string, _ ...string) (string, error) { <-ctx.Done(); return "", ctx.Err() }, nil, "no answer for as long as"},
		{"rubbish", func(context.Context, string, ...string) (string, error) { return "\x00\xff", nil }, nil, "not understood"},
		{"no devices", func(context.Context, string, ...string) (string, error) {
			return "No devices were found", errors.New("exit status 6")
		}, nil, ""},
		{"does not start", fine, func(context.Context, string, ...string) (io.ReadCloser, error) {
			return nil, errors.New("no permission")
		}, "no permission"},
		{"ends", fine, func(context.Context, string, ...string) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("")), nil
		}, "nvidia-smi ended"},
		{"prints on and on", fine, func(context.Context, string, ...string) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Repeat("WARNING: infoROM is corrupted\n", 1<<16))), nil
		}, "not understood"},
		{"one endless line", fine, func(context.Context, string, ...string) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<20))), nil
		}, "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			w := watch(t.Context(), source{files: machineFiles(), run: c.run, follow: c.follow}, func() time.Duration { return time.Since(began) }, 20*time.Millisecond)
			w.Ready(t.Context())
			time.Sleep(50 * time.Millisecond)
			series := w.Stop()
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("took %s", took)
			}
			if len(series.System) < 2 || !strings.Contains(series.Reasons["nvidia"], c.why) || (series.Reasons["nvidia"] == "") != (c.why == "") {
				t.Errorf("%d samples, reasons %v", len(series.System), series.Reasons)
			}
		})
	}
}

func TestThinned(t *testing.T) {
	var list []GPUSample
	for i := range 3000 {
		for gpu := range 3 {
			list = thinned(append(list, GPUSample{At: time.Duration(i), Index: gpu}), 600, func(s *GPUSample) time.Duration { return s.At })
		}
	}
	count := map[int]int{}
	for i, s := range list {
		count[s.Index]++
		if i > 0 && s.At < list[i-1].At {
			t.Fatal("out of order")
		}
	}
	if len(list) > 600 || count[0] < 80 || count[1] < count[0]-2 || count[2] < count[0]-2 || list[len(list)-1].At != 2999 {
		t.Errorf("%d samples, %v", len(list), count)
	}
}

// BenchmarkLook is what one look at this machine costs: at one a second, 1 % of a core is 10 ms.
func BenchmarkLook(b *testing.B) {
	s := thisMachine(toolFolders(nil))
	r, k := newReader(s), newKin(s, thisProcess())
	b.ReportAllocs()
	for b.Loop() {
		r.look()
		k.look([]int{thisProcess()})
	}
}

// TestLookIsCheap holds the cost of a look: the best of several, since other programs run beside a test.
func TestLookIsCheap(t *testing.T) {
	s := thisMachine(toolFolders(nil))
	r, k := newReader(s), newKin(s, thisProcess())
	best := time.Hour
	for range 20 {
		began := time.Now()
		r.look()
		k.look([]int{thisProcess()})
		best = min(best, time.Since(began))
	}
	if best > 10*time.Millisecond {
		t.Errorf("a look takes %s; over 10 ms it is 1 %% of a core", best)
	}
}

// macOS says what changes, in the words that the same tool uses when it is asked once; other lines say nothing.
func TestFollowersOfMacOS(t *testing.T) {
	followed := map[string]string{
		"pslog":    "Logging IOPSNotificationCreateRunLoopSource notifications\nNow drawing from 'AC Power'\n -InternalBattery-0\t99%; charged\nNow drawing from 'Battery Power'\n",
		"thermlog": "Logging thermal notifications.\n2026-11-24 CPU Power notify\n\tCPU_Scheduler_Limit \t= 100\n\tCPU_Speed_Limit \t= 63\n",
	}
	w := told(nil, nil)
	began := time.Now()
	w.now = func() time.Duration { return time.Since(began) }
	s := source{follow: func(_ context.Context, name string, args ...string) (io.ReadCloser, error) {
		if name != "pmset" && name != "notifyutil" {
			t.Errorf("started %s", name)
		}
		return io.NopCloser(strings.NewReader(followed[args[1]])), nil
	}}
	for _, f := range darwinFollowers() {
		w.follow(t.Context(), s, f)
	}
	got := w.series.System
	if len(got) != 3 || *got[0].OnBattery || !*got[1].OnBattery || *got[2].CPUSpeedLimit != 63 {
		t.Errorf("%+v", got)
	}
	names := map[string]bool{}
	for _, f := range w.Findings([]Span{{time.Hour, 2 * time.Hour}}, nil) {
		names[f.Name] = true
	}
	if !names["on_battery"] || !names["thermal"] {
		t.Errorf("%v", names)
	}
	// That they have ended is a reason, not an end of the watch.
	if !strings.Contains(w.series.Reasons["on_battery"], "pmset ended") {
		t.Errorf("%v", w.series.Reasons)
	}
}

// Apple's chips tell everybody their thermal pressure: how it is at first, then each change, by a command that ends with it.
func TestPressureIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		w := told(nil, nil)
		w.now = func() time.Duration { return time.Since(began) }
		starts := 0
		s := source{run: func(_ context.Context, name string, args ...string) (string, error) {
			if got := name + " " + strings.Join(args, " "); got != "notifyutil -g com.apple.system.thermalpressurelevel" {
				t.Errorf("asked %q", got)
			}
			return "com.apple.system.thermalpressurelevel 0\n", nil
		}, follow: func(ctx context.Context, name string, args ...string) (io.ReadCloser, error) {
			if got := name + " " + strings.Join(args, " "); got != "notifyutil -v -1 com.apple.system.thermalpressurelevel" {
				t.Errorf("started %q", got)
			}
			starts++
			out, in := io.Pipe()
			n := starts
			go func() {
				select {
				case <-time.After(5 * time.Second):
					fmt.Fprintf(in, "1796091270.123 com.apple.system.thermalpressurelevel %d port\n", n)
				case <-ctx.Done():
				}
				in.Close()
			}()
			return out, nil
		}}
		var f follower
		for _, x := range darwinFollowers() {
			if x.part == "thermal_pressure" {
				f = x
			}
		}
		done := make(chan struct{})
		go func() { w.follow(ctx, s, f); close(done) }()
		time.Sleep(12 * time.Second)
		synctest.Wait()
		cancel()
		<-done
		var got []string
		for _, x := range w.series.System {
			got = append(got, fmt.Sprintf("%d %s", x.At/time.Second, *x.ThermalPressure))
		}
		if starts != 3 || strings.Join(got, ", ") != "0 nominal, 5 moderate, 11 heavy" || len(w.series.Reasons) > 0 {
			t.Errorf("%d starts, %v, %v", starts, got, w.series.Reasons)
		}
		// What was so when a stream began counts, and what it became meanwhile.
		for _, c := range []struct {
			from, to time.Duration
			want     bool
		}{{time.Second, 4 * time.Second, false}, {4 * time.Second, 6 * time.Second, true}, {7 * time.Second, 9 * time.Second, true}} {
			if f := w.Findings([]Span{{c.from, c.to}}, nil); (len(f) == 1 && f[0].Name == "thermal") != c.want {
				t.Errorf("%s to %s: %+v", c.from, c.to, f)
			}
		}
	})
	// One that ends at once and says nothing is not started again.
	starts := 0
	w := told(nil, nil)
	w.now = func() time.Duration { return 0 }
	w.follow(t.Context(), source{follow: func(context.Context, string, ...string) (io.ReadCloser, error) {
		starts++
		return io.NopCloser(strings.NewReader("Failed\n")), nil
	}}, follower{part: "thermal_pressure", name: "notifyutil", again: true, take: func(string, *SystemSample) bool { return false }})
	if starts != 1 || !strings.Contains(w.series.Reasons["thermal_pressure"], "notifyutil ended") {
		t.Errorf("%d starts, %v", starts, w.series.Reasons)
	}
}

// A processor's energy counters say nothing about a card beside it.
func TestCardsAreSeen(t *testing.T) {
	for dir, want := range map[string]bool{
		"synthetic_intel-hybrid": true, "synthetic_rdna-rocm-smi": true, "synthetic_raspberry-pi": false, "synthetic_linux-laptop": true,
	} {
		if r := newReader(recorded(t, "testdata/machines/"+dir)); r.cards != want {
			t.Errorf("%s: cards %t", dir, r.cards)
		}
	}
	only := &changing{}
	only.set("sys/class/drm/card0/device/vendor", "0x8086")
	only.set("sys/class/drm/card0/device/device", "0x4680")
	if newReader(source{files: only}).cards {
		t.Error("graphics inside a processor are taken for a card")
	}
}
