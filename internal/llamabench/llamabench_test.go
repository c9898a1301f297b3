package llamabench

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/internal/record"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
}

func only(t *testing.T, data string) *record.Result {
	t.Helper()
	d, err := Parse([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	rs := Results(d)
	if len(rs) != 1 {
		t.Fatalf("%d runs, want 1", len(rs))
	}
	return rs[0]
}

// TestReal reads what a real llama-bench has written: three kinds of tests, at two depths, with one thread and two.
func TestReal(t *testing.T) {
	r := only(t, string(fixture(t, "build-11669.json")))
	var keys []string
	for _, row := range r.Rows {
		keys = append(keys, row.Key)
	}
	want := []string{
		"pp32/n_depth=0,n_threads=1", "pp32/n_depth=0,n_threads=2", "pp32/n_depth=64,n_threads=1", "pp32/n_depth=64,n_threads=2",
		"tg16/n_depth=0,n_threads=1", "tg16/n_depth=0,n_threads=2", "tg16/n_depth=64,n_threads=1", "tg16/n_depth=64,n_threads=2",
		"pp32+tg16/n_depth=0,n_threads=1", "pp32+tg16/n_depth=0,n_threads=2", "pp32+tg16/n_depth=64,n_threads=1", "pp32+tg16/n_depth=64,n_threads=2",
	}
	sorted := cmp.Transformer("set", func(list []string) map[string]bool {
		set := map[string]bool{}
		for _, s := range list {
			set[s] = true
		}
		return set
	})
	if diff := cmp.Diff(want, keys, sorted); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if r.Kind != record.LlamaBench || r.State != record.Complete || r.Rankable || r.Model.Ref != "tiny.gguf" || r.Model.Quant != "F16" || r.Backend.Version != "11669" ||
		*r.Model.Parameters != 144704 || r.Backend.Metadata["n_batch"] != "2048" || r.Backend.Metadata["n_threads"] != "" {
		t.Errorf("%+v", r)
	}
	var tests []struct {
		Prompt int       `json:"n_prompt"`
		Gen    int       `json:"n_gen"`
		Avg    float64   `json:"avg_ts"`
		SD     float64   `json:"stddev_ts"`
		TS     []float64 `json:"samples_ts"`
	}
	if err := json.Unmarshal(fixture(t, "build-11669.json"), &tests); err != nil {
		t.Fatal(err)
	}
	for i, row := range r.Rows {
		m, average := row.Metrics[Metric], row.Metrics[Average]
		if len(row.Flags) != 1 {
			t.Errorf("%s: %v", row.Key, row.Flags)
		}
		if off := math.Abs(average.Stats["mean"]/tests[i].Avg - 1); off > 1e-6 {
			t.Errorf("%s: mean %g, the file says %g", row.Key, average.Stats["mean"], tests[i].Avg)
		}
		if off := math.Abs(average.Stats["stddev"]/tests[i].SD - 1); off > 1e-4 {
			t.Errorf("%s: stddev %g, the file says %g", row.Key, average.Stats["stddev"], tests[i].SD)
		}
		for n, ts := range tests[i].TS {
			if off := math.Abs(m.Values[n][0]/ts - 1); off > 1e-5 { // six digits
				t.Errorf("%s: repetition %d is %g, the file says %g", row.Key, n, m.Values[n][0], ts)
			}
		}
		if row.Rankable || row.DecodeTPS != nil || row.PrefillTPS != nil || row.Passes != 4 {
			t.Errorf("%s: %+v", row.Key, row)
		}
	}
	again, err := Again(r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r.Rows, again); diff != "" {
		t.Errorf("made again (-first +again):\n%s", diff)
	}
	lines := only(t, string(fixture(t, "build-11669.jsonl")))
	if len(lines.Rows) != 2 || lines.Rows[0].Key != "pp64" || lines.Rows[1].Key != "tg32" || lines.Rows[1].Passes != 5 {
		t.Errorf("jsonl: %+v", lines.Rows)
	}
}

// TestSame: the same tests are the same run, however they are written and wherever the model lies.
func TestSame(t *testing.T) {
	text := string(fixture(t, "build-11669.jsonl"))
	one := only(t, text)
	list := "[\n" + strings.Join(strings.Split(strings.TrimSpace(text), "\n"), ",\n") + "\n]\n"
	for name, other := range map[string]string{
		"a list":         list,
		"spaces":         strings.ReplaceAll(text, `": `, `" :  `),
		"a mark":         "\xef\xbb\xbf" + text,
		"a log":          "load_backend: loaded CPU backend from /usr/lib/x.so\n" + text,
		"another folder": strings.ReplaceAll(text, `"tiny.gguf"`, `"/home/maria/my models/tiny.gguf"`),
		"Windows":        strings.ReplaceAll(text, `"tiny.gguf"`, `"C:\\Users\\maria\\tiny.gguf"`),
	} {
		if diff := cmp.Diff(one, only(t, other)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if other := only(t, strings.Replace(text, `"samples_ns": [ `, `"samples_ns": [ 1`, 1)); other.RunID == one.RunID {
		t.Error("other samples have the same id")
	}
}

const test = `{"build_commit":"b1","build_number":7,"model_filename":"m.gguf","model_type":"llama 8B Q4_K - Medium","n_threads":8,"n_prompt":0,"n_gen":10,"test_time":"2026-01-02T03:04:05Z","avg_ns":1000000000,"avg_ts":10,"stddev_ts":0,"samples_ns":[1000000000,1000000000],"samples_ts":[10,10]}`

func with(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(test) }

// TestBuilds are files of older builds and of newer ones, and what a file may leave out.
func TestBuilds(t *testing.T) {
	for _, c := range []struct {
		name, text string
		look       func(*record.Result) bool
	}{
		{"of 2023: no depth, no backends", `[{"build_commit":"b1500","build_number":1500,"cuda":true,"opencl":false,"metal":false,"gpu_blas":true,"blas":true,"cpu_info":"AMD Ryzen 7 5800X 8-Core Processor","gpu_info":"NVIDIA GeForce RTX 3090","model_filename":"models/7B/q4_0.gguf","model_type":"llama 7B mostly Q4_0","model_size":3825807360,"model_n_params":6738415616,"n_batch":512,"n_threads":8,"f16_kv":true,"n_gpu_layers":99,"main_gpu":0,"mul_mat_q":true,"tensor_split":"0.00","n_prompt":512,"n_gen":0,"test_time":"2023-11-10T10:00:00Z","avg_ns":200000000,"stddev_ns":0,"avg_ts":2560,"stddev_ts":0,"samples_ns":[200000000],"samples_ts":[2560]}]`,
			func(r *record.Result) bool {
				return r.Model.Quant == "Q4_0" && r.Model.Ref == "q4_0.gguf" && r.Rows[0].Metrics[Metric].Stats["p50"] == 2560 && r.RunID[:15] == "20231110-100000" && r.Rows[0].CV == nil
			}},
		{"newer fields", with(`"n_threads"`, `"shiny":{"new":[1,2]},"speed_of_light":299792458,"n_threads"`),
			func(r *record.Result) bool {
				return r.Backend.Metadata["speed_of_light"] == "299792458" && bytes.Contains(r.Rows[0].LlamaBench, []byte(`"shiny":{"new":[1,2]}`))
			}},
		{"numbers in quotes", with(`"n_gen":10`, `"n_gen":"10"`, `"n_prompt":0`, `"n_prompt":"0"`), func(r *record.Result) bool { return r.Rows[0].Key == "tg10" }},
		{"no time", with(`"2026-01-02T03:04:05Z"`, `"yesterday"`), func(r *record.Result) bool { return r.StartedAt.IsZero() && r.Reasons["started_at"] != "" }},
		{"no samples: no rate", with(`,"samples_ns":[1000000000,1000000000]`, ``), func(r *record.Result) bool {
			return len(r.Rows[0].Metrics[Metric].Stats) == 0 && strings.Contains(r.Rows[0].Reasons[Metric], "10 tokens a second, can't be checked")
		}},
		{"no repetition", with(`[1000000000,1000000000]`, `[]`), func(r *record.Result) bool { return r.Rows[0].Reasons[Metric] == "the test has no repetition" }},
		{"0 ns", with(`[1000000000,1000000000]`, `[0,1]`), func(r *record.Result) bool { return r.Rows[0].Reasons[Metric] == "a repetition took 0 ns" }},
		{"an average of others", with(`"avg_ts":10`, `"avg_ts":12.5`), func(r *record.Result) bool {
			return r.Rows[0].Flags[1].Name == FlagOdd && r.Rows[0].Flags[1].Evidence == "avg_ts is stated as 12.5, and samples_ns give 10" && r.Rows[0].Metrics[Average].Stats["mean"] == 10
		}},
		{"a wrong avg_ns and stddev", with(`"avg_ns":1000000000`, `"avg_ns":5`, `"stddev_ts":0`, `"stddev_ts":3`), func(r *record.Result) bool {
			return strings.Contains(r.Rows[0].Flags[1].Evidence, "avg_ns") && strings.Contains(r.Rows[0].Flags[1].Evidence, "stddev_ts")
		}},
		{"the same test twice", test + "\n" + test, func(r *record.Result) bool { return r.Rows[1].Key == "tg10/again=1" }},
		{"cut off within a line", test + "\n" + test[:90], func(r *record.Result) bool { return r.State == record.Partial && len(r.Rows) == 1 }},
		{"cut off within a list", "[" + test + "," + test[:90], func(r *record.Result) bool { return r.State == record.Partial && len(r.Rows) == 1 }},
		{"cut off after a comma", "[" + test + ",\n", func(r *record.Result) bool { return r.State == record.Partial && len(r.Rows) == 1 }},
		{"cut off before the end", "[" + test, func(r *record.Result) bool { return r.State == record.Partial }},
		{"addresses", with(`"n_threads"`, `"rpc_servers":"192.168.7.9:50052,box.lan:50052","lora":"/home/maria/x.bin","note":"from C:\\Users\\maria\\y.bin","n_threads"`), func(r *record.Result) bool {
			all, _ := json.Marshal(r)
			return !bytes.Contains(all, []byte("192.168")) && !bytes.Contains(all, []byte("box.lan")) && !bytes.Contains(all, []byte("maria")) && bytes.Contains(all, []byte("x.bin"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := only(t, c.text)
			if !c.look(r) {
				text, _ := json.MarshalIndent(r, "", " ")
				t.Errorf("%s", text)
			}
			again, err := Again(r)
			if diff := cmp.Diff(r.Rows, again); err != nil || diff != "" {
				t.Errorf("made again: %v (-first +again):\n%s", err, diff)
			}
		})
	}
	d, err := Parse([]byte(test + with("m.gguf", "other.gguf")))
	if err != nil {
		t.Fatal(err)
	}
	if rs := Results(d); len(rs) != 2 || rs[0].RunID == rs[1].RunID || rs[1].Model.Ref != "other.gguf" {
		t.Errorf("two models are no two runs: %+v", rs)
	}
}

// TestRefused are documents of which nothing is taken.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", "no JSON in it"},
		"a table":          {"| model | size |\n| --- | --- |\n| llama | 1 |", "told -o json"},
		"csv":              {"build_commit,build_number\n\"b\",\"1\"\n", "told -o json"},
		"an own document":  {`{"schema":"llm-speed/result/v1"}`, "of llm-speed itself, llm-speed/result/v1"},
		"other JSON":       {`{"a":1}`, "neither n_prompt nor n_gen"},
		"a list of others": {`[1,2]`, "a test is an object"},
		"an empty list":    {`[]`, "no test in it"},
		"cut off at once":  {test[:50], "no test of it is whole"},
		"a bracket":        {`[`, "no test of it is whole"},
		"broken":           {with(`"n_gen":10`, `"n_gen":inf`), "invalid character"},
		"more after it":    {"[" + test + "] x", "something else follows"},
		"two lists":        {"[" + test + "][" + test + "]", "something else follows"},
		"twice":            {with(`"n_gen":10`, `"n_gen":10,"n_gen":11`), "stands twice"},
		"no UTF-8":         {with("b1", "\xff"), "UTF-8"},
		"deep":             {with(`"n_threads":8`, `"n_threads":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)), "deeper than 8"},
		"very deep":        {strings.Repeat("[", 1_000_000), "depth"},
		"nothing":          {with(`"n_gen":10`, `"n_gen":0`), "measured nothing"},
		"negative":         {with(`"n_gen":10`, `"n_gen":-10`), "want a whole number"},
		"a fraction":       {with(`"n_gen":10`, `"n_gen":1.5`), "want a whole number"},
		"huge":             {with(`"n_gen":10`, `"n_gen":1e300`), "want a whole number"},
		"huger":            {with(`"n_gen":10`, `"n_gen":1e999`), "want a whole number"},
		"times as text":    {with(`[1000000000,1000000000]`, `"soon"`), "samples_ns: it is no list"},
		"a negative time":  {with(`[1000000000,1000000000]`, `[-5]`), "no time in nanoseconds"},
	} {
		if d, err := Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v, want %q", name, d, err, c.want)
		}
	}
	if _, err := Parse([]byte(`{"schema":"llm-speed/result/v1"}`)); !errors.Is(err, ErrOther) {
		t.Error(err)
	}
	if _, err := Parse(make([]byte, MaxBytes+1)); err == nil || !strings.Contains(err.Error(), "the most is") {
		t.Error(err)
	}
}

// FuzzParse: whatever comes in, there is an error or runs that make the same rows again, with finite figures.
func FuzzParse(f *testing.F) {
	f.Add(fixture(f, "build-11669.jsonl")) // the other is so large that shrinking it takes all the time
	f.Add([]byte(test))
	f.Add([]byte("[" + test + "," + test[:90]))
	f.Add([]byte(with(`"n_threads":8`, `"n_threads":[{"a":null}],"x":"/home/a/b","samples_ns2":[1e9]`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse(data)
		if err != nil {
			return
		}
		for _, r := range Results(d) {
			if _, err := json.Marshal(r); err != nil {
				t.Fatal(err)
			}
			again, err := Again(r)
			if diff := cmp.Diff(r.Rows, again); err != nil || diff != "" {
				t.Fatalf("made again: %v\n%s", err, diff)
			}
		}
	})
}
