package hw

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func plists(t testing.TB) string {
	b, err := os.ReadFile("testdata/powermetrics/synthetic_m3-max.plists")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// One process prints a document a second; energy, heat and graphics come out of it, and the energy before the first document
// is none of the run's.
func TestPowermetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		docs := strings.SplitAfter(plists(t), "</plist>\n")
		out, in := io.Pipe()
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		var started []string
		s := source{follow: func(_ context.Context, name string, args ...string) (io.ReadCloser, error) {
			started = append(started, name+" "+strings.Join(args, " "))
			return out, nil
		}}
		w := told(nil, nil)
		w.now = func() time.Duration { return time.Since(began) }
		name, args, err := powerTool(501, []int{20, 12, adminGroup}, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { w.power(ctx, s, name, args); close(done) }()
		for _, d := range docs[:3] {
			time.Sleep(time.Second)
			if _, err := io.WriteString(in, d); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if want := "sudo -n /usr/bin/powermetrics --samplers cpu_power,gpu_power,thermal -f plist -i 1000"; len(started) != 1 || started[0] != want {
			t.Errorf("started %q", started)
		}
		sensor, _ := w.Sensor()
		j, err := w.Joules(1500*time.Millisecond, 2500*time.Millisecond)
		// Halves of 40.01 J and of 39.99 J.
		if sensor != byChip || err != nil || math.Abs(j-40) > 1e-9 {
			t.Errorf("%q: %g J, %v", sensor, j, err)
		}
		f := w.Findings([]Span{{2500 * time.Millisecond, 3500 * time.Millisecond}}, nil)
		if len(f) != 1 || f[0].Name != "thermal" || !strings.Contains(f[0].Evidence, "thermal pressure was heavy in 1 of 2 readings") {
			t.Errorf("%+v", f)
		}
		gpus := w.series.GPUs
		if len(gpus) != 3 || gpus[1].Vendor != "apple" || math.Abs(*gpus[1].UsePercent-98) > 1e-9 || *gpus[1].Clock != 1398 || math.Abs(*gpus[1].Power-31/1.001) > 1e-9 {
			t.Errorf("%+v", gpus)
		}
		// A process that can't be ended does not keep the run.
		cancel()
		<-done
		if why := w.series.Reasons["chip_energy_uj"]; why != "" {
			t.Error(why)
		}
	})
}

func TestWhoMayMeasurePower(t *testing.T) {
	for _, c := range []struct {
		uid    int
		groups []int
		name   string
	}{{0, nil, "powermetrics"}, {501, []int{20, 80}, "sudo"}, {501, []int{20}, ""}, {501, nil, ""}} {
		name, args, err := powerTool(c.uid, c.groups, time.Second)
		if name != c.name || (err != nil) != (c.name == "") || name == "sudo" && !slices.Equal(args[:2], []string{"-n", "/usr/bin/powermetrics"}) {
			t.Errorf("%+v: %s %q %v", c, name, args, err)
		}
	}
}

// A powermetrics that may not run, ends, prints rubbish or without end leaves a reason and nothing else.
func TestBrokenPowermetrics(t *testing.T) {
	for _, c := range []struct {
		name, tool, text string
		err              error
		why              string
	}{
		{"sudo would ask", "sudo", "", nil, "sudo would ask for a password"},
		{"ends", "powermetrics", plists(t), nil, "powermetrics ended: by itself"},
		{"does not start", "powermetrics", "", errors.New("no permission"), "no permission"},
		{"rubbish", "powermetrics", strings.Repeat("<html></plist>", 20), nil, "property list not understood"},
		{"other words", "powermetrics", strings.Repeat("<plist><dict><key>a</key><integer>1</integer></dict></plist>", 20), nil, "neither energy nor thermal pressure"},
		{"no end of a document", "powermetrics", strings.Repeat("x", 3<<20), nil, "too long"},
		{"without a pause", "powermetrics", strings.Repeat("<plist><dict><key>thermal_pressure</key><string>Nominal</string></dict></plist>", 5000), nil, "more than 2000 lines"},
		{"deep", "powermetrics", strings.Repeat(strings.Repeat("<array>", 1000)+"</plist>", 10), nil, "not understood"},
	} {
		w := told(nil, nil)
		w.now = func() time.Duration { return 0 }
		w.power(t.Context(), source{follow: func(context.Context, string, ...string) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(c.text)), c.err
		}}, c.tool, nil)
		if got := w.series.Reasons["chip_energy_uj"]; !strings.Contains(got, c.why) {
			t.Errorf("%s: %q", c.name, got)
		}
		if name, why := w.Sensor(); c.name != "ends" && (name != "" || !strings.Contains(why, c.why) && c.name != "without a pause") {
			t.Errorf("%s: sensor %q, %q", c.name, name, why)
		}
	}
}

func TestParsePowermetrics(t *testing.T) {
	in := func(body string) []byte { return []byte("<plist><dict>" + body + "</dict></plist>") }
	for _, c := range []struct {
		name, body string
		uj         *float64
		pressure   string
	}{
		{"power alone", "<key>elapsed_ns</key><integer>2000000000</integer><key>processor</key><dict><key>combined_power</key><real>1500</real></dict>", is(3e6), ""},
		{"power without a time", "<key>processor</key><dict><key>combined_power</key><real>1500</real></dict><key>thermal_pressure</key><string>Moderate</string>", nil, "moderate"},
		{"no neural engine", "<key>processor</key><dict><key>cpu_energy</key><integer>2</integer></dict><key>gpu</key><dict><key>gpu_energy</key><integer>3</integer></dict>", is(5000.0), ""},
		{"energy and power agree", "<key>elapsed_ns</key><integer>1000000000</integer><key>processor</key><dict><key>cpu_energy</key><integer>900</integer><key>gpu_energy</key><integer>100</integer><key>combined_power</key><real>1010</real></dict>", is(1e6), ""},
		{"energy in another unit than thought", "<key>elapsed_ns</key><integer>1000000000</integer><key>processor</key><dict><key>cpu_energy</key><integer>900000</integer><key>gpu_energy</key><integer>100000</integer><key>combined_power</key><real>1010</real></dict><key>thermal_pressure</key><string>Nominal</string>", nil, "nominal"},
		{"numbers that can't be", "<key>processor</key><dict><key>cpu_energy</key><integer>-2</integer><key>gpu_energy</key><integer>9e99</integer></dict><key>thermal_pressure</key><string>Nominal</string>", nil, "nominal"},
		{"no words", "<key>thermal_pressure</key><string>\x1b[31m</string><key>gpu</key><dict/>", nil, ""},
	} {
		got, err := parsePowermetrics(in(c.body))
		if err != nil && c.name != "no words" || (got.microjoules == nil) != (c.uj == nil) || c.uj != nil && *got.microjoules != *c.uj || (got.pressure == nil) != (c.pressure == "") || got.pressure != nil && *got.pressure != c.pressure {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	for text, want := range map[string]string{"com.apple.system.thermalpressurelevel 0\n": nominal, "com.apple.system.thermalpressurelevel 2": "heavy", "1796091270.123 com.apple.system.thermalpressurelevel 1 port\n": "moderate", "com.apple.system.thermalpressurelevel": "", "com.apple.system.thermalpressurelevel : Failed": "", "x 9": "", "": "", "x -1": "", "Failed: 1 2 3": ""} {
		if got, err := parsePressure(text); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzPowermetrics(f *testing.F) {
	for _, d := range strings.SplitAfter(plists(f), "</plist>\n") {
		f.Add([]byte(d))
	}
	f.Add([]byte("<plist><dict><key>gpu</key><array><dict/></array></dict></plist>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePowermetrics(b)
		if err == nil && p.microjoules != nil && (*p.microjoules < 0 || math.IsNaN(*p.microjoules)) {
			t.Errorf("%g", *p.microjoules)
		}
	})
}
