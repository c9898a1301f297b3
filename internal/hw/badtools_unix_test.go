//go:build unix

package hw

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/proc"
)

// badTools are the ways in which a vendor's tool can fail.
var badTools = []struct{ name, script, why string }{
	{"hangs", "exec sleep 60", "no answer"},
	{"hangs and takes no notice", "trap '' TERM INT; while :; do sleep 1; done", "no answer"},
	{"rubbish", "head -c 200000 /dev/urandom", "not understood"},
	{"an empty answer", "exit 0", "not understood"},
	{"a web page", "echo '<html><body>502</body></html>'", "not understood"},
	{"no success", "echo 'internal error' >&2; exit 3", "internal error"},
	{"needs root", "echo 'must be run as root' >&2; exit 1", "must be run as root"},
	{"cut off", "printf '{\"SPDisplaysDataType\":[{\"_name\":'; exit 0", "not understood"},
	{"crashes", "kill -SEGV $$", ""},
	{"a gigabyte", "yes 0123456789abcdef | head -c 1000000000", ""},
	{"prints and prints", "exec yes 0123456789", ""},
	{"leaves a child that holds the pipe", "sleep 60 & echo; exit 0", "not understood"},
	{"leaves a child in a session of its own", "setsid sleep 20 2>/dev/null & exit 0", "not understood"},
}

// TestBadTools lets each tool of each system fail in each way, as real processes: the capture ends in time, memory is bounded,
// what the kernel shows is still there, and the reason says what was seen.
func TestBadTools(t *testing.T) {
	shown := tree(map[string]string{"sys/class/drm/card0/device/vendor": "0x1002", "sys/class/drm/card0/device/mem_info_vram_total": "17163091968"})
	for _, bad := range badTools {
		dir := t.TempDir()
		for _, tool := range []string{"nvidia-smi", "amd-smi", "rocm-smi", "system_profiler", "pmset", "notifyutil", "powershell", "powercfg"} {
			if err := os.WriteFile(filepath.Join(dir, tool), []byte("#!/bin/sh\n"+bad.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		s := source{files: shown, run: func(ctx context.Context, name string, args ...string) (string, error) {
			path := proc.Find(name, dir)
			if path == "" {
				return "", errNoTool
			}
			return inTime(ctx, name, func() (string, error) { return proc.Output(ctx, path, args...) })
		}}
		for system, probes := range map[string]struct {
			read  []probe[Fingerprint]
			state []probe[Condition]
			kept  bool // what the kernel shows
		}{
			"linux": {s.linuxProbes(), s.linuxState(), true},
			"darwin": {[]probe[Fingerprint]{{keys: gpuKeys, limit: profilerLimit, run: func(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
				return s.appleGPUs(ctx, "Apple M4")
			}}}, s.darwinState(), false},
			"windows": {[]probe[Fingerprint]{{keys: gpuKeys, limit: cimLimit, run: s.windowsAll}}, s.windowsState(), false},
		} {
			t.Run(bad.name+"/"+system, func(t *testing.T) {
				t.Parallel()
				var fp Fingerprint
				var c Condition
				look := func() {
					ctx := t.Context()
					if system != "linux" { // their own limits are of many seconds
						own, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
						defer cancel()
						ctx = own
					}
					fp, c = Fingerprint{Reasons: map[string]string{}}, Condition{Reasons: map[string]string{}}
					began := time.Now()
					done := make(chan struct{})
					go func() { gather(ctx, &c, c.Reasons, probes.state); close(done) }()
					gather(ctx, &fp, fp.Reasons, probes.read)
					<-done
					if took := time.Since(began); took > 6*time.Second { // a second or a half more, and it runs beside others
						t.Errorf("took %s", took)
					}
				}
				// A machine that is busy with these very tools may keep a probe itself from ending in time.
				for range 5 {
					if look(); !strings.HasPrefix(fp.Reasons["gpus"], "no answer within") {
						break
					}
				}
				why := fp.Reasons["gpus"]
				if why == "" || !strings.Contains(why, bad.why) && !strings.Contains(why, "deadline") || len(why) > 4000 || strings.ContainsAny(why, "\x00\x1b\n") {
					t.Errorf("gpus: %.300q, want %q in it", why, bad.why)
				}
				if probes.kept && (len(fp.GPUs) != 1 || fp.GPUs[0].Vendor != "amd" || *fp.GPUs[0].VRAMTotal != 17163091968) {
					t.Errorf("%+v", fp.GPUs)
				}
				if c.OnBattery != nil && system != "linux" || c.PowerMode != nil || c.Pressure != nil {
					t.Errorf("a state is known: %+v", c)
				}
				for _, key := range map[string][]string{"linux": {"gpus"}, "darwin": {"on_battery", "power_mode", "thermal_pressure"}, "windows": {"gpus", "power_mode"}}[system] {
					if c.Reasons[key] == "" {
						t.Errorf("%s has no reason", key)
					}
				}
			})
		}
	}
}

// A tool that prints a gigabyte does not take the memory.
func TestEndlessToolIsBounded(t *testing.T) {
	dir := t.TempDir()
	tool := filepath.Join(dir, "nvidia-smi")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\nexec yes 0123456789abcdef\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	text, err := proc.Output(ctx, tool)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; err == nil || len(text) != 1<<20 || got > 16<<20 {
		t.Errorf("%d bytes kept, %d MiB allocated, %v", len(text), got>>20, err)
	}
}
