package uploadschema

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/llm-speed/llm-speed/internal/upload"
)

//go:generate go test -run TestDocument -update .

var update = flag.Bool("update", false, "rewrite docs/schema/upload-v1.schema.json")

// TestDocument keeps the published schema the one of the types.
func TestDocument(t *testing.T) {
	path := filepath.Join("..", "..", "..", "docs", "schema", "upload-v1.schema.json")
	got, err := JSONSchema("..")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))), string(got)); diff != "" {
		t.Errorf("the types have changed; look at the difference and run: go generate ./internal/upload/uploadschema (-want +got):\n%s", diff)
	}
	if !bytes.Contains(got, []byte(`"description": "first text: t_1"`)) {
		t.Error("the comments of the fields are missing")
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := JSONSchema("")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("upload.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("upload.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// golden are the documents of package upload's own tests, as JSON reads them.
func golden(t *testing.T, name string) map[string]any {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("..", "testdata", name+".golden"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(bytes.ReplaceAll(file, []byte("\r\n"), []byte("\n")), []byte("\n"))
	d, err := upload.Open(append(line, '\n'))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.Envelope.Payload))
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any)
}

func TestDocumentsAreValid(t *testing.T) {
	s := compiled(t)
	for _, name := range []string{"named", "anonymous"} {
		if err := s.Validate(golden(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrongDocumentsAreNot(t *testing.T) {
	s := compiled(t)
	row := func(d map[string]any) map[string]any { return d["rows"].([]any)[0].(map[string]any) }
	columns := func(d map[string]any) map[string]any { return row(d)["samples"].(map[string]any) }
	for name, damage := range map[string]func(map[string]any){
		"another schema":    func(d map[string]any) { d["schema"] = "llm-speed/upload/v2" },
		"an unknown field":  func(d map[string]any) { d["score"] = 1 },
		"a missing field":   func(d map[string]any) { delete(d, "seed") },
		"an unknown state":  func(d map[string]any) { d["state"] = "great" },
		"null rows":         func(d map[string]any) { d["rows"] = nil },
		"half a nanosecond": func(d map[string]any) { columns(d)["ttft_ns"] = []any{json.Number("1.5")} },
		"a time in words":   func(d map[string]any) { columns(d)["ttft_ns"] = []any{"1 ms"} },
		"a missing column":  func(d map[string]any) { delete(columns(d), "cached") },
		"null in events":    func(d map[string]any) { columns(d)["events"] = []any{nil} },
		"an unknown status": func(d map[string]any) { row(d)["status"] = "great" },
		"a prompt":          func(d map[string]any) { columns(d)["text"] = []any{"hello"} },
		"a serial number of a GPU": func(d map[string]any) {
			d["hardware"].(map[string]any)["gpus"].([]any)[0].(map[string]any)["uuid"] = "GPU-1"
		},
	} {
		d := golden(t, "named")
		damage(d)
		if err := s.Validate(d); err == nil {
			t.Errorf("%s: valid", name)
		}
	}
}

// TestDocs: docs/upload.md names every field that can leave the machine.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "upload.md"))
	if err != nil {
		t.Fatal(err)
	}
	schema, err := JSONSchema("")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Defs map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(schema, &doc); err != nil || len(doc.Defs) < 15 {
		t.Fatalf("%d types, %v", len(doc.Defs), err)
	}
	for name, def := range doc.Defs {
		for field := range def.Properties {
			if !bytes.Contains(text, []byte("`"+field+"`")) && !bytes.Contains(text, []byte("`"+field+"[]`")) && !bytes.Contains(text, []byte("."+field+"`")) && !bytes.Contains(text, []byte("."+field+"[]`")) {
				t.Errorf("docs/upload.md does not name %s of %s", field, name)
			}
		}
	}
}
