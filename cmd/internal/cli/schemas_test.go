package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/llm-speed/llm-speed/internal/agree"
	"github.com/llm-speed/llm-speed/internal/calibrate"
	"github.com/llm-speed/llm-speed/internal/compare"
	"github.com/llm-speed/llm-speed/internal/formats"
	"github.com/llm-speed/llm-speed/internal/page"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/record/recordschema"
)

// schemaDir is where the published schemas lie.
var schemaDir = filepath.Join("..", "..", "..", "docs", "schema")

// published are the schemas of docs/schema that are made here, by file: of all that this program writes as JSON for others and
// that is no result document.
func published() map[string]recordschema.Document {
	internal := func(name string) (pkg, source string) {
		return "github.com/llm-speed/llm-speed/" + name, "../../../" + name
	}
	sources := map[string]string{}
	for _, name := range []string{"internal/compare", "internal/formats", "internal/page", "internal/report", "internal/record", "internal/chart", "internal/store", "internal/agree", "internal/calibrate", "drivers"} {
		pkg, source := internal(name)
		sources[pkg] = source
	}
	sources[reflect.TypeFor[listedRun]().PkgPath()] = "."
	doc := func(title, id, schema string, list bool, types ...reflect.Type) recordschema.Document {
		return recordschema.Document{Types: types, List: list, ID: "urn:llm-speed:" + id, Title: title, Schema: schema, Sources: sources}
	}
	return map[string]recordschema.Document{
		"agreement-v1": doc("calibrate --against-server --json", "agreement:v1", agree.Schema, false, reflect.TypeFor[agree.Report]()),
		"calibrate":    doc("calibrate --json", "calibrate", "", false, reflect.TypeFor[calibrate.Receipt]()),
		"queue":        doc("upload --list --json", "queue", "", true, reflect.TypeFor[queueLine]()),
		"report-v1":    doc("report --format json", "report:v1", page.Schema, false, reflect.TypeFor[page.Report]()),
		"compare-v1":   doc("compare --format json", "compare:v1", compare.Schema, false, reflect.TypeFor[compare.Result]()),
		"row-v1":       doc("A line of --format jsonl", "row:v1", formats.LineSchema, false, reflect.TypeFor[formats.Line]()),
		"runs":         doc("runs --json", "runs", "", true, reflect.TypeFor[listedRun](), reflect.TypeFor[damagedRun]()),
		"detect":       doc("detect --json", "detect", "", false, reflect.TypeFor[detectDoc]()),
		"models":       doc("list-models --json", "models", "", true, reflect.TypeFor[listedModel]()),
		"recompute":    doc("runs recompute --json", "recompute", "", true, reflect.TypeFor[recomputed]()),
		"version":      doc("version --json", "version", "", false, reflect.TypeFor[record.Client]()),
	}
}

// TestSchemas keeps the published schemas those of the types.
func TestSchemas(t *testing.T) {
	for name, doc := range published() {
		got, err := doc.JSONSchema()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		file := filepath.Join(schemaDir, name+".schema.json")
		if *updateStories {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// A checkout on Windows may have other line ends.
		if diff := cmp.Diff(string(bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))), string(got)); diff != "" {
			t.Errorf("%s: the types have changed; look at the difference and run: go test ./cmd/internal/cli -run TestSchemas -update (-want +got):\n%s", name, diff)
		}
	}
}

// schemas are the published schemas, compiled, by file.
func schemas(t testing.TB) map[string]*jsonschema.Schema {
	t.Helper()
	out := map[string]*jsonschema.Schema{}
	names := []string{"result-v1", "upload-v1"}
	for name := range published() {
		names = append(names, name)
	}
	for _, name := range names {
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		s, err := c.Compile(filepath.Join(schemaDir, name+".schema.json"))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = s
	}
	return out
}

// schemaOf names the schema that a document has to fit: as it says itself, else as the command that wrote it does. It is empty
// for what has none.
func schemaOf(command []string, doc any) string {
	if object, ok := doc.(map[string]any); ok {
		if schema, ok := object["schema"].(string); ok {
			return strings.ReplaceAll(strings.TrimPrefix(schema, "llm-speed/"), "/", "-")
		}
	}
	var words []string
	for _, arg := range command {
		if strings.HasPrefix(arg, "-") || len(words) == 2 {
			break
		}
		words = append(words, arg)
	}
	switch words := strings.Join(words, " "); {
	case words == "runs":
		return "runs"
	case words == "detect", words == "version", words == "calibrate":
		return words
	case words == "upload" && slices.Contains(command, "--list"):
		return "queue"
	case words == "list-models":
		return "models"
	case strings.HasPrefix(words, "runs recompute"):
		return "recompute"
	}
	return ""
}

// fits holds a text of JSON, or of a JSON value a line, against its schema. It gives the schema's name; empty where the text is
// no JSON, or such as has no schema.
func fits(all map[string]*jsonschema.Schema, command []string, text []byte) (string, error) {
	name := ""
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	for n := 1; ; n++ {
		var doc any
		if err := dec.Decode(&doc); err != nil {
			if n == 1 {
				return "", nil // no JSON
			}
			return name, nil
		}
		doc = signed(doc)
		at := schemaOf(command, doc)
		s := all[at]
		if s == nil {
			return "", nil
		}
		if name = at; s.Validate(doc) != nil {
			return name, fmt.Errorf("document %d does not fit docs/schema/%s.schema.json: %w", n, name, s.Validate(doc))
		}
	}
}

// signed gives what is signed in a document for upload, and other documents as they are.
func signed(doc any) any {
	outer, _ := doc.(map[string]any)
	envelope, _ := outer["envelope"].(map[string]any)
	text, _ := envelope["payload"].(string)
	payload, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return doc
	}
	inner, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return doc
	}
	return inner
}

// TestFits: what has a field too many or too few does not fit, on whatever line it stands.
func TestFits(t *testing.T) {
	all := schemas(t)
	line, err := json.Marshal(formats.Line{Schema: formats.LineSchema, Status: record.OK, State: record.Complete, Figures: map[string]formats.Figure{"leap_ms.p50": {Unit: "ms"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, command, text, schema, want string
	}{
		{"lines", "", string(line) + "\n" + string(line) + "\n", "row-v1", ""},
		{"a bad second line", "", string(line) + "\n" + strings.Replace(string(line), `"status":"ok"`, `"status":"great"`, 1), "row-v1", "document 2"},
		{"a field too many", "", `{"schema":"llm-speed/compare/v1","runs":[],"must_be_equal":[],"also_differs":[],"rows":[],"missing":[],"score":1}`, "compare-v1", "score"},
		{"a comparison", "", `{"schema":"llm-speed/compare/v1","runs":[],"must_be_equal":[],"also_differs":[],"rows":[],"missing":[]}`, "compare-v1", ""},
		{"a report without runs", "", `{"schema":"llm-speed/report/v1"}`, "report-v1", "missing"},
		{"a result without a seed", "", `{"schema":"llm-speed/result/v1"}`, "result-v1", "seed"},
		{"no run", "runs --json", `[]`, "runs", ""},
		{"a damaged run", "runs --json", `[{"run_id":"x","damaged":"no"}]`, "runs", ""},
		{"half a run", "runs --json", `[{"run_id":"x"}]`, "runs", "document 1"},
		{"half a machine", "detect --json", `{"machine":{}}`, "detect", "document 1"},
		{"a model", "list-models --json", `[{"model":"x"}]`, "models", "document 1"},
		{"a row again", "runs recompute last --json", `[{"row":"W1","same":true,"requests":1}]`, "recompute", ""},
		{"a program", "version --json", `{"version":"1"}`, "version", "document 1"},
		{"a calibration", "calibrate --json", `{"streams":1}`, "calibrate", "document 1"},
		{"an empty queue", "upload --list --json", `[]`, "queue", ""},
		{"half a comparison with a server", "calibrate --against-server --json", `{"schema":"llm-speed/agreement/v1"}`, "agreement-v1", "missing"},
		{"half a document for upload", "upload --dry-run last", `{"envelope":{"payload":"eyJzY2hlbWEiOiJsbG0tc3BlZWQvdXBsb2FkL3YxIn0="}}`, "upload-v1", "missing"},
		{"no JSON", "runs", "RUN  STARTED", "", ""},
		{"another's", "suite show", `{"a":1}`, "", ""},
	} {
		schema, err := fits(all, strings.Fields(c.command), []byte(c.text))
		if schema != c.schema || c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %q, %v; want %q, %q", c.name, schema, err, c.schema, c.want)
		}
	}
}
