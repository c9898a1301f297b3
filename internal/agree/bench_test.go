package agree

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What llama-bench of several builds prints, in our own making: log lines before it, numbers as text, truth values where
// there were numbers.
const benchText = `load_backend: loaded CPU backend from /usr/lib/libggml-cpu.so
{not json
{"build_commit":"Debian","build_number":11669,"n_threads":2,"n_gpu_layers":-1,"flash_attn":-1,"n_prompt":512,"n_gen":0,"avg_ts":1000.5,"stddev_ts":3.5,"samples_ts":[1,2,3]}
{"build_commit":"abc","build_number":"6000","n_threads":"4","n_gpu_layers":"99","flash_attn":false,"n_prompt":"0","n_gen":"128","avg_ts":"50.25","stddev_ts":null,"samples_ts":[1]}
{"n_prompt":512,"n_gen":128,"avg_ts":70}
{"n_prompt":512,"n_gen":0,"avg_ts":0}
{"n_prompt":512,"n_gen":0,"avg_ts":"NaN"}
`

func TestBenchParse(t *testing.T) {
	var b Bench
	if err := b.parse(benchText); err != nil {
		t.Fatal(err)
	}
	want := Bench{Build: "6000 (abc)", Threads: 4, GPULayers: ptr(99), Tests: []BenchTest{
		{Name: "pp512", TPS: 1000.5, StddevTPS: ptr(3.5), Samples: 3, Beside: namePrefill, Incomparable: true},
		{Name: "tg128", TPS: 50.25, Samples: 1, Beside: nameDecode, Incomparable: true},
	}}
	if diff := cmp.Diff(want, b); diff != "" {
		t.Error(diff)
	}
	var none Bench
	if err := none.parse("[\nerror: failed to load model\n"); err == nil || len(none.Tests) != 0 {
		t.Errorf("%v %+v", err, none)
	}
}

func TestBeside(t *testing.T) {
	r := Report{Comparisons: []Comparison{
		{Name: nameDecode, Reason: "no room"},
		{Name: nameDecode, Client: ptr(90.0), Server: ptr(91.0), Difference: ptr(-0.01)},
		{Name: nameDecode, Client: ptr(10.0), Server: ptr(10.0), Difference: ptr(0.0)},
	}}
	r.Beside(&Bench{Tests: []BenchTest{{Name: "tg128", TPS: 100, Beside: nameDecode}, {Name: "pp512", TPS: 5, Beside: namePrefill}}})
	tg, pp := r.Bench.Tests[0], r.Bench.Tests[1]
	if *tg.Client != 90 || math.Abs(*tg.ClientRatio+0.1) > 1e-9 || math.Abs(*tg.ServerRatio+0.09) > 1e-9 {
		t.Errorf("%+v", tg)
	}
	if pp.Client != nil || pp.ClientRatio != nil {
		t.Errorf("%+v", pp)
	}
}

func TestBenchArgs(t *testing.T) {
	for _, c := range []struct {
		args, layers string
		want         []string
	}{
		{"", "", nil},
		{"-t 1 -tb 2 --mlock", "", []string{"-t", "1"}},
		{"--threads 8 -ngl 20", "", []string{"-t", "8", "-ngl", "20"}},
		{"-ngl 20", "99", []string{"-ngl", "99"}},
		{"--mlock -t", "", nil},
	} {
		if got := BenchArgs(c.args, c.layers); !slices.Equal(got, c.want) {
			t.Errorf("BenchArgs(%q, %q) = %q, want %q", c.args, c.layers, got, c.want)
		}
	}
}

func TestBenchNear(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"llama-server", "llama-bench"} {
		for _, ext := range []string{"", ".exe"} {
			if err := os.WriteFile(filepath.Join(dir, name+ext), nil, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := filepath.Join(dir, "llama-bench")
	for _, c := range []struct{ path, list string }{{dir, ""}, {filepath.Join(dir, "llama-server"), ""}, {"", dir}} {
		if got := BenchNear(c.path, "llama-server", c.list); got != want {
			t.Errorf("BenchNear(%q, %q) = %q", c.path, c.list, got)
		}
	}
	if got := BenchNear("", "llama-server", t.TempDir()); got != "" {
		t.Errorf("without a server: %q", got)
	}
	if got := BenchNear(t.TempDir(), "llama-server", dir); got != "" {
		t.Errorf("beside another server: %q", got)
	}
}

func FuzzBenchParse(f *testing.F) {
	f.Add(benchText)
	f.Add("[")
	f.Add(`{"avg_ts":1e400,"n_prompt":1e18}`)
	f.Fuzz(func(t *testing.T, text string) {
		var b Bench
		_ = b.parse(text)
		for _, x := range b.Tests {
			if !(x.TPS > 0) || math.IsInf(x.TPS, 0) || x.Name == "" || x.StddevTPS != nil && !(*x.StddevTPS >= 0) {
				t.Errorf("%+v", x)
			}
		}
	})
}
