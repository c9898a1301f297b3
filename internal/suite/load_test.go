package suite

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/suites"
)

var update = flag.Bool("update", false, "write the golden files anew")

// good is a suite with a little of everything.
const good = `{
  schema: 'llm-speed/suite/v1', name: 'try', version: '0.1.0', engine: 1, generator: 'prose/1',
  budget: { default_s: 60, quick_s: 10 },
  workloads: [{
    id: 'A1', name: 'one', doc: 'A try.', program: 'a.star',
    points: [{ batch: 1 }, { batch: 2 }], needs: [{ context: 100, parallel: 2, prompt: 10, output: 5 }],
    params: { n: 5 }, passes: 2,
    quick: { points: [{ batch: 2 }], needs: [{ context: 50, parallel: 2, prompt: 10, output: 5 }], params: { n: 2 } },
    metrics: { step_ms: { unit: 'ms', better: 'lower', stats: ['p50'] } },
    relative: [{ name: 'gain', metric: 'aggregate_tps', base: { batch: 1 } }],
    reports: ['ttft_ms', 'step_ms', 'gain'],
  }],
}`

// suiteFS is the good suite with its text changed, and more files beside it.
func suiteFS(t *testing.T, from, to string, more map[string]string) fstest.MapFS {
	t.Helper()
	if !strings.Contains(good, from) {
		t.Fatalf("the good suite has no %q to replace", from)
	}
	fsys := fstest.MapFS{
		"suite.jsonnet": {Data: []byte(strings.Replace(good, from, to, 1))},
		"a.star":        {Data: []byte("def run(w):\n    pass\n")},
	}
	for name, text := range more {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func TestLoadGood(t *testing.T) {
	s, err := Load(t.Context(), suiteFS(t, "", "", map[string]string{"data/x.txt": "x", ".hidden": "no part of it"}), InProcess)
	if err != nil {
		t.Fatal(err)
	}
	w := s.Workloads[0]
	quick, ok := w.ShapeFor(true)
	if !ok {
		t.Fatal("no quick shape")
	}
	want := Shape{
		Points: []map[string]any{{"batch": 2.0}},
		Needs:  []Need{{Context: 50, Parallel: 2, Prompt: 10, Output: 5}},
		Params: map[string]any{"n": 2.0},
		Passes: 1,
	}
	if diff := cmp.Diff(want, quick); diff != "" {
		t.Errorf("quick shape (-want +got):\n%s", diff)
	}
	if full, _ := w.ShapeFor(false); full.Params["n"] != 5.0 || full.Passes != 2 {
		t.Errorf("the full shape is %+v", full)
	}
	if err := fstest.TestFS(s.Files, "suite.jsonnet", "a.star", "data/x.txt"); err != nil {
		t.Errorf("the suite's files: %v", err)
	}
	if _, err := fs.Stat(s.Files, ".hidden"); err == nil {
		t.Error("a hidden file is part of the suite")
	}
}

func TestLoadRefuses(t *testing.T) {
	const needs = "needs: [{ context: 100, parallel: 2, prompt: 10, output: 5 }]"
	tests := []struct {
		name, from, to string
		more           map[string]string
		want           string
	}{
		{"syntax", "engine: 1", "engine: [", nil, "suite.jsonnet:"},
		{"runtime error", "engine: 1", "engine: error 'stop here'", nil, "suite.jsonnet:2:72-89: stop here"},
		{"unknown field", "passes: 2", "passses: 2", nil, `workloads[0].passses: unknown field; valid: doc id metrics name needs params passes`},
		{"field in another case", "passes: 2", "Passes: 2", nil, `workloads[0].Passes: unknown field`},
		{"wrong type", "passes: 2", "passes: 'two'", nil, `workloads[0].passes: wants a whole number, is the string "two"`},
		{"fraction", "passes: 2", "passes: 1.5", nil, "wants a whole number"},
		{"null points", "points: [{ batch: 1 }, { batch: 2 }]", "points: null", nil, "workloads[0].points: wants an array, is null"},
		{"schema", "suite/v1", "suite/v9", nil, `schema: is "llm-speed/suite/v9"; this program knows "llm-speed/suite/v1"`},
		{"newer engine", "engine: 1", "engine: 2", nil, "a newer suite wants a newer llm-speed"},
		{"name", "'try'", "'Try it'", nil, `name: is "Try it"`},
		{"version", "0.1.0", "0.1", nil, `version: is "0.1"`},
		{"generator", "prose/1", "prose", nil, `generator: is "prose"`},
		{"budget", "quick_s: 10", "quick_s: 0", nil, "budget:"},
		{"empty id", "id: 'A1'", "id: ''", nil, `workloads[0].id: is ""`},
		{"id twice", "workloads: [{", "local one = self.workloads[0], workloads: [self.one2 for _ in [1, 2]], one2:: {", nil, ""},
		{"no program", "a.star", "b.star", nil, "program: b.star: no such file in the suite"},
		{"program's kind", "a.star", "suite.jsonnet", nil, "ends in .star"},
		{"program outside", "a.star", "../a.star", nil, "a path inside the suite"},
		{"no doc", "A try.", "", nil, "doc: is empty"},
		{"keys differ", "{ batch: 2 }], needs", "{ size: 2 }], needs", nil, "points[1]: has the keys size; the others have batch"},
		{"keys of quick differ", "quick: { points: [{ batch: 2 }]", "quick: { points: [{ size: 2 }]", nil, "quick.points[0]: has the keys size; the others have batch"},
		{"point without keys", "[{ batch: 1 }, { batch: 2 }]", "[{}, { batch: 2 }]", nil, "points[0]: has no keys"},
		{"point twice", "{ batch: 2 }], needs", "{ batch: 1 }], needs", nil, "is the same as points[0]"},
		{"nested point", "[{ batch: 1 }, { batch: 2 }]", "[{ batch: [1] }, { batch: [1] }]", nil, "batch wants a string, a number or a boolean"},
		{"needs count", needs, "needs: [" + strings.Repeat("{ context: 1, parallel: 1, prompt: 1, output: 1 },", 3) + "]", nil, "needs has 3 entries; wants one for all points or one for each of 2"},
		{"no needs", needs, "needs: []", nil, "needs has 0 entries"},
		{"needs nothing", "context: 100", "context: 0", nil, "needs[0]: context is 0"},
		{"needs no prompt", "prompt: 10", "prompt: 0", nil, "prompt is 0 and output 5"},
		{"quick needs left out", ", needs: [{ context: 50, parallel: 2, prompt: 10, output: 5 }]", "", nil, "(A1).quick: needs has 0 entries"},
		{"base", "base: { batch: 1 }", "base: { batch: 3 }", nil, "is none of the workload's points"},
		{"relative metric", "metric: 'aggregate_tps'", "metric: 'aggregate'", nil, `metric is "aggregate", which is no figure of a result`},
		{"relative name", "name: 'gain'", "name: 'ttft_ms'", nil, "has a figure of the name"},
		{"stat", "stats: ['p50']", "stats: ['p51']", nil, `stats has "p51"; wants some of p50 p95`},
		{"stats", "stats: ['p50']", "stats: []", nil, "stats is empty"},
		{"better", "better: 'lower'", "better: 'less'", nil, `better is "less"`},
		{"no reports", "['ttft_ms', 'step_ms', 'gain']", "[]", nil, "reports is empty"},
		{"report", "'ttft_ms', ", "'tfft_ms', ", nil, `reports[0]: "tfft_ms" is no figure`},
		{"report twice", "'ttft_ms', ", "'gain', ", nil, `"gain" is named twice`},
		{"passes", "passes: 2", "passes: -1", nil, "passes is -1"},
		{"no workloads", good[strings.Index(good, "workloads: ["):], "workloads: [] }", nil, "workloads: are 0"},
		{"ext var", "engine: 1", "engine: std.extVar('engine')", nil, "engine"},
		{"native", "engine: 1", "engine: std.native('f')(1)", nil, "suite.jsonnet:2"},
		{"import above", "{ n: 5 }", "import '../x.json'", nil, "without `..`"},
		{"import absolute", "{ n: 5 }", "import '/etc/passwd'", nil, "a plain relative path"},
		{"import of another kind", "{ n: 5 }", "{ n: importstr 'a.star' }", nil, "wants one of .json"},
		{"import of nothing", "{ n: 5 }", "import 'x.json'", nil, "no such file in the suite"},
		{"import of no JSON", "{ n: 5 }", "import 'x.json'", map[string]string{"x.json": "{n: 1+1}"}, "is not JSON"},
		{"import of a hidden file", "{ n: 5 }", "import '.x.json'", map[string]string{".x.json": "{}"}, "no such file"},
		{"endless recursion", "engine: 1", "engine: (local f(x) = f(x) + 1; f(1))", nil, "max stack frames exceeded"},
		{"deep source", "engine: 1", "engine: " + strings.Repeat("[", 65) + strings.Repeat("]", 65), nil, "suite.jsonnet:2: nests deeper than 64"},
		{"deep import", "{ n: 5 }", "import 'x.json'", map[string]string{"x.json": strings.Repeat("[", 70) + strings.Repeat("]", 70)}, "x.json:1: nests deeper than 64"},
		{"much output", "{ n: 5 }", "{ n: std.repeat('0123456789', 500000) }", nil, "more than 4 MiB"},
		{"large program", "", "", map[string]string{"b.star": strings.Repeat("#", 256<<10+1)}, "b.star: is larger than 256 KiB"},
		{"large in all", "", "", map[string]string{"b.txt": strings.Repeat("#", 4<<20)}, "together are larger than 4 MiB"},
		{"other kinds of file", "", "", map[string]string{"run.sh": "#"}, "run.sh: a suite holds only"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "id twice" { // wants the whole workload twice
				i := strings.Index(good, "workloads: [")
				tt.from, tt.to = good[i:], "local w = "+strings.TrimSuffix(good[i+len("workloads: ["):], "],\n}")+", workloads: [w, w { id: 'a1' }] }"
				tt.want = "another workload has this id"
			}
			_, err := Load(t.Context(), suiteFS(t, tt.from, tt.to, tt.more), InProcess)
			if err == nil {
				t.Fatal("was accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is\n%v\nwant it to say\n%s", err, tt.want)
			}
		})
	}
}

func TestLoadRefusesManyFilesAndLinks(t *testing.T) {
	fsys := suiteFS(t, "", "", nil)
	for i := range maxFiles {
		fsys["data/"+strings.Repeat("x", i+1)+".txt"] = &fstest.MapFile{}
	}
	if _, err := Load(t.Context(), fsys, InProcess); err == nil || !strings.Contains(err.Error(), "more than 64 files") {
		t.Errorf("many files: %v", err)
	}
	fsys = suiteFS(t, "", "", nil)
	fsys["b.star"] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte("a.star")}
	if _, err := Load(t.Context(), fsys, InProcess); err == nil || !strings.Contains(err.Error(), "b.star: is a link") {
		t.Errorf("a link: %v", err)
	}
	if _, err := Load(t.Context(), fstest.MapFS{}, InProcess); err == nil || !strings.Contains(err.Error(), "suite.jsonnet") {
		t.Errorf("no files: %v", err)
	}
}

// Each of these makes the evaluator's parser or its later walks recurse without brackets; a crash would end the process.
func TestLongChainsDoNotCrash(t *testing.T) {
	const room = maxCodeBytes - 100
	for name, src := range map[string]string{
		"sum":              "1" + strings.Repeat("+1", room/2),
		"field":            "a" + strings.Repeat(".a", room/2),
		"if":               strings.Repeat("if 1 then ", room/10) + "1",
		"local":            strings.Repeat("local a=1;", room/10) + "1",
		"function":         strings.Repeat("function()", room/10) + "1",
		"error":            strings.Repeat("error ", room/6) + "1",
		"assert":           strings.Repeat("assert 1;", room/9) + "1",
		"not":              strings.Repeat("!", room) + "true",
		"minus":            strings.Repeat("- ", room/2) + "1",
		"call":             "f" + strings.Repeat("()", room/2),
		"object":           "{}" + strings.Repeat("{}", room/2),
		"unfinished block": "|||\n  text",
		"hidden brackets":  "|||\n  \"\n||| + " + strings.Repeat("[", 1000),
		"verbatim":         `@"\" + ` + strings.Repeat("[", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Load(t.Context(), fstest.MapFS{Main: {Data: []byte(src)}}, InProcess); err == nil {
				t.Error("was accepted")
			}
		})
	}
}

func TestCheckNesting(t *testing.T) {
	deep := strings.Repeat("[", 65)
	for _, src := range []string{
		`"` + deep + `"`, `'it\'s ` + deep + `'`, "// " + deep, "# " + deep + "\n1", "/* " + deep + " */ 1",
		"|||\n  " + deep + "\n|||", `@"\"` + "1", `@"a""` + deep + `"`, strings.Repeat("[", 64),
	} {
		if err := checkNesting("x", []byte(src)); err != nil {
			t.Errorf("%.30q: %v", src, err)
		}
	}
	for _, src := range []string{
		deep, `"\\"` + deep, `@"\"` + deep, "/**/" + deep, "// a\n" + deep, "|||\n  a\n  |||\n||| " + deep, "a / " + deep,
		strings.Repeat("-", 65), strings.Repeat("! ", 65),
	} {
		if err := checkNesting("x", []byte(src)); err == nil {
			t.Errorf("%.30q: was accepted", src)
		}
	}
}

func TestDigestSeesEveryByte(t *testing.T) {
	base := files{"a.txt": []byte("bc"), "b.txt": []byte("")}
	seen := map[string]string{base.digest(): "base"}
	for name, f := range map[string]files{
		"content": {"a.txt": []byte("bd"), "b.txt": []byte("")},
		"path":    {"a.txt": []byte("bc"), "c.txt": []byte("")},
		"moved":   {"a.txt": []byte("b"), "b.txt": []byte("c")},
		"more":    {"a.txt": []byte("bc"), "b.txt": []byte(""), "c.txt": []byte("")},
		"joined":  {"a.tx": []byte("tbc"), "b.txt": []byte("")},
	} {
		d := f.digest()
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have the digest %s", name, other, d)
		}
		seen[d] = name
	}
}

// The digests of the built-in suites stand in files, so that no change to a suite goes unseen: -update writes them.
func TestBuiltInSuites(t *testing.T) {
	for _, name := range suites.Names() {
		t.Run(name, func(t *testing.T) {
			fsys, err := suites.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Load(t.Context(), fsys, InProcess)
			if err != nil {
				t.Fatal(err)
			}
			if s.Name != name {
				t.Errorf("the folder %s holds the suite %s", name, s.Name)
			}
			for i := range s.Workloads {
				if _, ok := s.Workloads[i].ShapeFor(true); !ok {
					t.Errorf("%s has no quick shape", s.Workloads[i].ID)
				}
			}
			onDisk, err := Load(t.Context(), os.DirFS(filepath.Join("..", "..", "suites", name)), InProcess)
			if err != nil {
				t.Fatal(err)
			}
			if onDisk.Digest != s.Digest {
				t.Errorf("digest is %s embedded and %s on disk", s.Digest, onDisk.Digest)
			}
			golden := filepath.Join("..", "..", "suites", name+".sha256")
			if *update {
				if err := os.WriteFile(golden, []byte(s.Digest+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Digest + "\n"; got != string(want) {
				t.Errorf("digest is %sthe file %s says %sa released suite never changes; before its release, run this test with -update", got, golden, want)
			}
		})
	}
}

func TestBaseAmong(t *testing.T) {
	points := []map[string]any{{"n": 4.0}, {"n": 1.0}}
	if b, ok := (&Relative{}).BaseAmong(points); !ok || b["n"] != 4.0 {
		t.Errorf("without a base: %v, %v; want the first point", b, ok)
	}
	if b, ok := (&Relative{Base: map[string]any{"n": 1.0}}).BaseAmong(points); !ok || b["n"] != 1.0 {
		t.Errorf("base 1: %v, %v", b, ok)
	}
	if b, ok := (&Relative{Base: map[string]any{"n": 2.0}}).BaseAmong(points); ok {
		t.Errorf("base 2: %v; want none", b)
	}
	if _, ok := (&Relative{}).BaseAmong(nil); ok {
		t.Error("no points have a base")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("{ a: importstr 'a.star', b: import 'x.json' }"))
	f.Add([]byte("local a = @'x''y'; |||\n  b\n||| + a"))
	f.Add([]byte("{ workloads: [null], budget: [], engine: 1e300 }"))
	f.Fuzz(func(t *testing.T, src []byte) {
		// Loops and library calls can ask for any time and memory; that limit is not what is tried here.
		for _, word := range []string{"std", "for", "tailstrict", "function", "local", "*"} {
			if strings.Contains(string(src), word) && string(src) != good {
				return
			}
		}
		s, err := Load(t.Context(), fstest.MapFS{
			Main:     {Data: src},
			"a.star": {Data: []byte("#")},
			"x.json": {Data: []byte(`{"y": [1, "z"]}`)},
		}, InProcess)
		if (s == nil) == (err == nil) {
			t.Errorf("suite %v, error %v", s, err)
		}
		if s != nil && (len(s.Workloads) == 0 || s.Digest == "" || s.Files == nil) {
			t.Errorf("a suite without what it must have: %+v", s)
		}
	})
}
