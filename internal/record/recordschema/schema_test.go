package recordschema

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/llm-speed/llm-speed/internal/record"
)

//go:generate go test -run TestDocument -update .

var update = flag.Bool("update", false, "rewrite docs/schema/result-v1.schema.json")

// TestDocument keeps the published schema the one of the types.
func TestDocument(t *testing.T) {
	path := filepath.Join("..", "..", "..", "docs", "schema", "result-v1.schema.json")
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
	// A checkout on Windows may have other line ends.
	if diff := cmp.Diff(string(bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))), string(got)); diff != "" {
		t.Errorf("the types have changed; look at the difference and run: go generate ./internal/record/recordschema (-want +got):\n%s", diff)
	}
	if !bytes.Contains(got, []byte(`"description": "null while it runs and where it was cut off"`)) {
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
	c.AssertFormat()
	if err := c.AddResource("result.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("result.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fill sets every field below v to something that is not its zero value.
func fill(t *testing.T, v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 11, 23, 14, 25, 1, 0, time.UTC)))
		return
	case v.Type() == reflect.TypeFor[json.RawMessage]():
		v.Set(reflect.ValueOf(json.RawMessage(`{"a":[1,null]}`)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Map:
		item := reflect.New(v.Type().Elem()).Elem()
		fill(t, item)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), item)
	case reflect.Interface:
		v.Set(reflect.ValueOf(8))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(1.5)
	default:
		t.Fatalf("a field of kind %s, which this test does not know", v.Kind())
	}
}

// full is a result with every field set.
func full(t *testing.T) *record.Result {
	var r record.Result
	fill(t, reflect.ValueOf(&r).Elem())
	r.Model.Digest = "sha256:" + strings.Repeat("0a", 32)
	r.Model.PrefixDigest = r.Model.Digest
	r.Kind = record.LlamaBench
	r.Schema, r.State, r.Mode, r.Backend.URLKind = record.Schema, record.Complete, "full", "loopback"
	for i := range r.Rows {
		r.Rows[i].Status, r.Rows[i].PrefillHow = record.OK, "server"
		for name, m := range r.Rows[i].Metrics {
			m.Better = "lower"
			r.Rows[i].Metrics[name] = m
		}
	}
	return &r
}

// bare is a result in which all that may be unknown is.
func bare() *record.Result {
	return &record.Result{
		Schema: record.Schema, State: record.Running, Mode: "quick", Backend: record.Backend{URLKind: "lan"},
		Rows: []record.Row{{Status: record.Skipped, Samples: []record.Sample{{}}, Relative: map[string]*float64{"decode_decay": nil}, RelativeTo: map[string]record.Base{"decode_decay": {}}, Metrics: map[string]record.Metric{"turn_ms": {}}, Batches: []record.Batch{{}}}},
	}
}

// document is a result as its JSON reads.
func document(t *testing.T, r *record.Result) map[string]any {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any)
}

func TestResultsAreValid(t *testing.T) {
	s := compiled(t)
	for name, r := range map[string]*record.Result{"full": full(t), "bare": bare()} {
		if err := s.Validate(document(t, r)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrongDocumentsAreNot(t *testing.T) {
	s := compiled(t)
	row := func(d map[string]any) map[string]any { return d["results"].([]any)[0].(map[string]any) }
	sample := func(d map[string]any) map[string]any { return row(d)["samples"].([]any)[0].(map[string]any) }
	for name, damage := range map[string]func(map[string]any){
		"unknown state":                  func(d map[string]any) { d["state"] = "done" },
		"null state":                     func(d map[string]any) { d["state"] = nil },
		"another schema":                 func(d map[string]any) { d["schema"] = "llm-speed/result/v2" },
		"missing seed":                   func(d map[string]any) { delete(d, "seed") },
		"missing results":                func(d map[string]any) { delete(d, "results") },
		"unknown field":                  func(d map[string]any) { d["score"] = 1 },
		"a time that is none":            func(d map[string]any) { d["started_at"] = "yesterday" },
		"an unknown kind":                func(d map[string]any) { d["kind"] = "guess" },
		"unknown status of a row":        func(d map[string]any) { row(d)["status"] = "great" },
		"missing ttft_ms of a row":       func(d map[string]any) { delete(row(d), "ttft_ms") },
		"ttft_ms in words":               func(d map[string]any) { row(d)["ttft_ms"] = "12 ms" },
		"null passes":                    func(d map[string]any) { row(d)["passes"] = nil },
		"half a token":                   func(d map[string]any) { row(d)["prompt_tokens"] = 0.5 },
		"unknown count in a sample":      func(d map[string]any) { delete(sample(d), "cached") },
		"a count without its provenance": func(d map[string]any) { delete(sample(d)["cached"].(map[string]any), "from") },
		"a flag without its evidence":    func(d map[string]any) { delete(row(d)["flags"].([]any)[0].(map[string]any), "evidence") },
		"a metric that is better sideways": func(d map[string]any) {
			row(d)["metrics"].(map[string]any)["key"].(map[string]any)["better"] = "sideways"
		},
	} {
		d := document(t, full(t))
		damage(d)
		if err := s.Validate(d); err == nil {
			t.Errorf("%s: valid", name)
		}
	}
}
