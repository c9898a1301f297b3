package hw

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

// sleepy is an nvidia-smi that answers after a while.
func sleepy(after time.Duration, answer string) func(context.Context, string, ...string) (string, error) {
	return func(ctx context.Context, name string, _ ...string) (string, error) {
		if name != "nvidia-smi" {
			return "", errNoTool
		}
		select {
		case <-time.After(after):
			return answer, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// A driver without persistence mode takes longer than a second. Read says that it does not know; a run waits.
func TestSlowDriver(t *testing.T) {
	row := strings.Replace(strings.TrimPrefix(strings.Repeat(", [N/A]", len(nvidiaStatic)), ", "), "[N/A]", "NVIDIA H200", 1) + "\n"
	files := fstest.MapFS{"proc/driver/nvidia/gpus/0000:01:00.0/information": {Data: []byte("Model: \t NVIDIA H200\n")}}
	for _, c := range []struct {
		after          time.Duration
		first, patient string // reason of gpus, in part
	}{{0, "", ""}, {3 * time.Second, "deadline", ""}, {time.Hour, "deadline", "deadline"}} {
		synctest.Test(t, func(t *testing.T) {
			s := source{files: files, run: sleepy(c.after, row)}
			read := func(s source) Fingerprint {
				fp := Fingerprint{Reasons: map[string]string{}}
				gather(t.Context(), &fp, fp.Reasons, []probe[Fingerprint]{{keys: gpuKeys, limit: probeLimit + s.patience, run: s.linuxGPUs}})
				return fp
			}
			first := read(s)
			s.patience = moreTime
			for _, x := range []struct {
				fp   Fingerprint
				want string
			}{{first, c.first}, {read(s), c.patient}} {
				if got := x.fp.Reasons["gpus"]; (got == "") != (x.want == "") || !strings.Contains(got, x.want) || x.fp.late != (x.want != "") {
					t.Errorf("after %s: %q, late %t; want %q", c.after, got, x.fp.late, x.want)
				}
				if len(x.fp.GPUs) != 1 || x.fp.GPUs[0].Name != "NVIDIA H200" {
					t.Errorf("after %s: GPUs %+v", c.after, x.fp.GPUs)
				}
			}
		})
	}
}

// The samples of a slow nvidia-smi come late, and the later ones are not taken for what was before the run.
func TestSlowDriverIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := "0" + strings.Repeat(", 90", len(nvidiaSampled)) + "\n"
		began := time.Now()
		out, in := io.Pipe()
		files := fstest.MapFS{"sys/class/powercap/intel-rapl:0/name": {Data: []byte("package-0")}, "sys/class/powercap/intel-rapl:0/energy_uj": {Data: []byte("5")}}
		s := source{files: files, run: sleepy(3*time.Second, line), follow: func(ctx context.Context, _ string, args ...string) (io.ReadCloser, error) {
			if args[0] == "--query-compute-apps=pid" {
				return io.NopCloser(strings.NewReader("")), nil
			}
			context.AfterFunc(ctx, func() { in.Close() })
			return out, nil
		}}
		w := watch(t.Context(), s, func() time.Duration { return time.Since(began) }, time.Second)
		w.Ready(t.Context())
		if waited := time.Since(began); waited > readyWithin {
			t.Errorf("the run waits for %s", waited)
		}
		// The processor's energy alone is not that of the machine.
		if name, why := w.Sensor(); name != "" || !strings.Contains(why, "nvidia-smi has not answered") {
			t.Errorf("sensor %q, %q", name, why)
		}
		time.Sleep(4 * time.Second)
		if _, err := io.WriteString(in, line); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		for _, f := range w.Findings(nil, nil) {
			t.Errorf("%+v", f)
		}
		if series := w.Stop(); len(series.GPUs) != 2 || series.Reasons["nvidia"] != "" {
			t.Errorf("%d samples, %v", len(series.GPUs), series.Reasons)
		}
	})
}

// nvidia-smi puts no quotes around a name.
func TestCommaInName(t *testing.T) {
	names := []string{"name", "uuid", "memory.total"}
	for line, want := range map[string]string{
		"NVIDIA RTX 6000, 96 GB, passive, GPU-1, 98304\n":    "NVIDIA RTX 6000, 96 GB, passive",
		"\"NVIDIA RTX 6000, passive\", GPU-1, 98304\n":       "NVIDIA RTX 6000, passive",
		"NVIDIA RTX 6000, GPU-1, 98304\nA, B, GPU-2, 1024\n": "NVIDIA RTX 6000",
	} {
		rows, err := parseNvidia(names, line)
		if err != nil || rows[0]["name"] != want || rows[0]["uuid"] != "GPU-1" || rows[0]["memory.total"] != "98304" {
			t.Errorf("%q: %v, %v", line, rows, err)
		}
	}
	for _, line := range []string{"a, b\n", "a\n"} {
		if rows, err := parseNvidia(names, line); err == nil {
			t.Errorf("%q: %v", line, rows)
		}
	}
	if rows, err := parseNvidia([]string{"index", "power.draw"}, "0, 1, 2\n"); err == nil {
		t.Errorf("a field too many: %v", rows)
	}
}
