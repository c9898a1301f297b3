package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/record"
)

// readers are the commands that read a result document, as their arguments; DOC stands for it, and GOOD for one that is
// good.
func readers() [][]string {
	out := [][]string{
		{"compare", "DOC", "GOOD"}, {"compare", "GOOD", "DOC", "--force", "--format", "json"}, {"compare", "DOC", "DOC", "--force"},
		{"explain", "DOC", "Q7"}, {"explain", "DOC", "Q7", "decode_tps"}, {"runs", "recompute", "DOC"}, {"verify", "DOC"},
		{"report", "GOOD", "DOC", "--format", "html", "-o", "-", "--force"},
	}
	for _, format := range reportFormats() {
		out = append(out, []string{"report", "DOC", "--format", format, "-o", "-"})
	}
	for _, format := range runFormats() {
		out = append(out, []string{"runs", "show", "DOC", "--format", format})
	}
	return out
}

// onDocument runs a command in this process on a document, with a data directory of its own, and gives its exit code.
func onDocument(t *testing.T, dir string, args []string, doc, good string) (code int, stdout, stderr string) {
	t.Helper()
	args = strings.Split(strings.NewReplacer("DOC", doc, "GOOD", good).Replace(strings.Join(args, "\x00")), "\x00")
	var out, errs bytes.Buffer
	p := OS()
	p.Args, p.Stdin, p.Stdout, p.Stderr, p.OutTTY, p.ErrTTY = args, strings.NewReader(""), &out, &errs, false, false
	p.Env = func(name string) string { return map[string]string{"LLM_SPEED_DATA": dir}[name] }
	p.Home = func() string { return dir }
	p.LimitMemory = nil
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("llm-speed %s: panic: %v\n%s", strings.Join(args, " "), r, debug.Stack())
			code = exitFailed
		}
	}()
	code = Main(p)
	return code, out.String(), errs.String()
}

func ptrTo[T any](x T) *T { return &x }

// goodDocument is a result that every command takes.
func goodDocument() *record.Result {
	row := record.Row{
		ID: "Q7", Workload: "never-seen", Key: "Q7", Status: record.OK, Passes: 2, Requests: 2, Reports: []string{"decode_tps"}, DecodeTPS: ptrTo(10.0), Flags: []record.Flag{},
		Samples: []record.Sample{{Pass: 1, DecodeTPS: ptrTo(10.0)}, {Pass: 2, DecodeTPS: ptrTo(10.0)}},
	}
	return &record.Result{
		Schema: record.Schema, RunID: "20261123-142501-k3f9", StartedAt: time.Date(2026, 11, 23, 14, 25, 1, 0, time.UTC), State: record.Complete, Mode: "full",
		Suite: record.Suite{Name: "mine", Version: "0.1.0"}, Backend: record.Backend{Name: "llama.cpp"}, Model: record.Model{Name: "m"}, Rows: []record.Row{row},
	}
}

// goodText is goodDocument with changes made to its text.
func goodText(t *testing.T, pairs ...string) string {
	t.Helper()
	text, err := json.Marshal(goodDocument())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !bytes.Contains(text, []byte(pairs[i])) {
			t.Fatalf("the document has no %s", pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(string(text))
}

// TestBadDocuments: every command that reads a result refuses a bad one with a reason and an exit code, at once, and with
// little memory.
func TestBadDocuments(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.json")
	if err := os.WriteFile(good, []byte(goodText(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	state := `"state":"complete"`
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "the document is empty"},
		{"spaces", " \n ", "the document is empty"},
		{"cut off", goodText(t)[:300], "damaged: the document was cut off"},
		{"cut off in a text", goodText(t)[:50], "damaged: the document was cut off"},
		{"no JSON", "<html>", "invalid character"},
		{"a list", "[1,2]", "cannot unmarshal array"},
		{"a number", "7", "cannot unmarshal number"},
		{"two documents", goodText(t) + goodText(t), "after top-level value"},
		{"deep", goodText(t, state, state+`,"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)), "deeper than 64 levels"},
		{"very deep", strings.Repeat(`{"a":`, 200_000), "depth"},
		{"a key twice", goodText(t, state, state+`,"seed":"1"`), `the key "seed" stands twice`},
		{"a huge number", goodText(t, `"decode_tps":10`, `"decode_tps":1e999`), "1e999"},
		{"a huge whole number", goodText(t, `"passes":2`, `"passes":99999999999999999999`), "99999999999999999999"},
		{"no UTF-8", goodText(t, "never-seen", "never\xff\xfe"), "not valid UTF-8"},
		{"of a newer program", goodText(t, "result/v1", "result/v2"), "is of a newer llm-speed; this one reads llm-speed/result/v1: update it"},
		{"of an older program", goodText(t, "result/v1", "result/v0"), "is of an older llm-speed"},
		{"something else", goodText(t, "llm-speed/result/v1", "llm-speed/compare/v1"), `schema "llm-speed/compare/v1", want llm-speed/result/v1`},
		{"of no schema", goodText(t, "llm-speed/result/v1", strings.Repeat("x", 5000)), "want llm-speed/result/v1"},
		{"of an unknown program", goodText(t, `"run_id"`, `"kind":"guessing","run_id"`), "update llm-speed"},
		{"in an unknown state", goodText(t, state, `"state":"`+strings.Repeat("y", 5000)+`"`), "damaged: state"},
		{"of many rows", goodText(t, `"raw_timings":null`, `"x":null`, `"results":[`, `"results":[`+strings.Repeat("{},", 50_000)), "more than 10000 results"},
		{"of many requests", goodText(t, `"samples":[`, `"samples":[`+strings.Repeat("{},", 300_000)), "more than 200000 samples"},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := filepath.Join(t.TempDir(), "doc.json")
			if err := os.WriteFile(doc, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, args := range readers() {
				code, stdout, stderr := onDocument(t, dir, args, doc, good)
				if code != exitFailed || stdout != "" || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "doc.json") {
					t.Errorf("llm-speed %s: exit %d, want %d\nstdout %.200q\nstderr %.400q, want %q", strings.Join(args, " "), code, exitFailed, stdout, stderr, c.want)
				}
				if len(stderr) > 1000 {
					t.Errorf("llm-speed %s: an error of %d bytes", strings.Join(args, " "), len(stderr))
				}
			}
		})
	}
	t.Run("of 1 GB", func(t *testing.T) {
		doc := filepath.Join(t.TempDir(), "doc.json")
		if err := os.WriteFile(doc, []byte(`{"schema":"llm-speed/result/v1",`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(doc, 1<<30); err != nil {
			t.Fatal(err) // it takes no room: the file has a hole
		}
		for _, args := range append(readers(), []string{"runs", "import", "DOC"}) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			code, stdout, stderr := onDocument(t, dir, args, doc, good)
			runtime.ReadMemStats(&after)
			if code == exitOK || stdout != "" || !strings.Contains(stderr, "the most is") && !strings.Contains(stderr, "larger than") {
				t.Errorf("llm-speed %s: exit %d, stdout %.200q, stderr %.400q", strings.Join(args, " "), code, stdout, stderr)
			}
			if most := uint64(400 << 20); after.TotalAlloc-before.TotalAlloc > most {
				t.Errorf("llm-speed %s took %d MB", strings.Join(args, " "), (after.TotalAlloc-before.TotalAlloc)>>20)
			}
		}
	})
	t.Run("of llama-bench", func(t *testing.T) {
		doc := filepath.Join("..", "..", "..", "internal", "llamabench", "testdata", "build-11669.jsonl")
		for _, args := range readers() {
			if code, _, stderr := onDocument(t, dir, args, doc, good); code != exitFailed || !strings.Contains(stderr, "try: llm-speed runs import "+doc) {
				t.Errorf("llm-speed %s: exit %d, %s", strings.Join(args, " "), code, stderr)
			}
		}
	})
	t.Run("of an id that there is none of", func(t *testing.T) {
		if err := os.MkdirAll(filepath.Join(dir, "runs", "20261123-142501-k3f9"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "runs", "20261123-142501-k3f9", "result.json"), []byte(goodText(t)), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range append(readers(), []string{"seal", "DOC"}, []string{"runs", "export", "DOC", "-o", filepath.Join(dir, "x.tar")}, []string{"runs", "rm", "DOC"}, []string{"bench", "--resume", "DOC"}) {
			if code, _, stderr := onDocument(t, dir, args, "20261123-142501-k3f8", good); code != exitUsage || !strings.Contains(stderr, "close to it: 20261123-142501-k3f9") {
				t.Errorf("llm-speed %s: exit %d, %s", strings.Join(args, " "), code, stderr)
			}
		}
	})
}

// TestOddDocuments: what reads like a result and makes no sense is shown or refused, and nothing falls over.
func TestOddDocuments(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.json")
	if err := os.WriteFile(good, []byte(goodText(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	head := `{"schema":"llm-speed/result/v1","state":"complete"`
	for name, text := range map[string]string{
		"next to nothing":     head + `}`,
		"null everywhere":     head + `,"run_id":null,"results":null,"flags":null,"suite":null,"backend":null,"model":null,"budget":null,"environment":null,"raw_timings":null,"reasons":null}`,
		"empty rows":          head + `,"results":[{},{},{"status":"ok"}]}`,
		"rows of one key":     head + `,"results":[{"id":"Q7","key":"Q7","status":"ok","passes":1},{"id":"Q7","key":"Q7","status":"ok","passes":-5}]}`,
		"other types":         head + `,"fingerprint":5,"calibration":[],"environment":{"before":"x","after":7}}`,
		"largest numbers":     goodText(t, `"decode_tps":10`, `"decode_tps":1.7e308`, `"passes":2`, `"passes":9007199254740993`),
		"negative numbers":    goodText(t, `"decode_tps":10`, `"decode_tps":-1e308`, `"requests":2`, `"requests":-2`),
		"no such requests":    goodText(t, `"reports":["decode_tps"]`, `"reports":["aggregate_tps","per_stream_tps"],"aggregate_tps":5,"per_stream_tps":5,"batches":[{"pass":1,"streams":[-1,7,99999]}]`),
		"recordings outside":  goodText(t, `"raw":""`, `"raw":"../../../etc/passwd#-1"`, `"raw_timings":null`, `"raw_timings":[{"path":"../../../etc/passwd","sha256":"","bytes":-1}]`),
		"a point of lists":    goodText(t, `"point":null`, `"point":{"a":[1,{"b":null}],"":null,"é\n":1e300}`),
		"metrics of nothing":  goodText(t, `"reports":["decode_tps"]`, `"reports":["","a.b.","*",".","m"],"metrics":{"":{},"m":{"unit":"\u001b[31m","stats":{"p50":1e308,"":-1},"values":[null,[],[1e308,-1e308]]}}`),
		"text that moves":     goodText(t, `"never-seen"`, `"\u001b[2J\r\n\u202e<script>|=cmd()"`, `"name":"m"`, `"name":"\u001b]0;x\u0007"`),
		"llama-bench of none": goodText(t, `"run_id"`, `"kind":"llama-bench","run_id"`),
		"llama-bench of odd":  goodText(t, `"run_id"`, `"kind":"llama-bench","run_id"`, `"point":null`, `"llama_bench":[{}],"point":null`),
	} {
		t.Run(name, func(t *testing.T) {
			doc := filepath.Join(t.TempDir(), "doc.json")
			if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, args := range readers() {
				code, stdout, stderr := onDocument(t, dir, args, doc, good)
				if code != exitOK && len(stderr) < 10 {
					t.Errorf("llm-speed %s: exit %d without a reason", strings.Join(args, " "), code)
				}
				if picture := strings.Contains(strings.Join(args, " "), "png"); !picture && strings.ContainsAny(stdout+stderr, "\x1b\x07\r") && args[len(args)-1] != "json" {
					t.Errorf("llm-speed %s moves the cursor of a terminal", strings.Join(args, " "))
				}
			}
		})
	}
}
