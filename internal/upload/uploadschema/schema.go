// Package uploadschema makes the JSON Schemas of upload documents from the Go types of package upload.
//
// It is for generating docs/schema and for tests; no part of the program imports it.
package uploadschema

import (
	"reflect"

	"github.com/llm-speed/llm-speed/internal/record/recordschema"
	"github.com/llm-speed/llm-speed/internal/upload"
)

// JSONSchema is the schema of upload.Body, what an upload document signs, indented. With the folder of package upload's
// sources the comments of fields become descriptions.
//
// All fields are required; pointers may be null, lists and maps may not.
func JSONSchema(source string) ([]byte, error) {
	d := recordschema.Document{Types: []reflect.Type{reflect.TypeFor[upload.Body]()}, ID: "urn:llm-speed:upload:v1", Title: "What an llm-speed upload document signs", Schema: upload.Schema, Filled: true}
	if source != "" {
		d.Sources = map[string]string{d.Types[0].PkgPath(): source}
	}
	return d.JSONSchema()
}
