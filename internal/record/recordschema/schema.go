// Package recordschema makes the JSON Schema of the result document from the Go types of package record, and those of other
// documents in the same way.
//
// It is for generating docs/schema and for tests; no part of the program imports it.
package recordschema

import (
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/llm-speed/llm-speed/internal/record"
)

// JSONSchema is the schema of record.Result, indented. With the folder of package record's sources the comments of fields
// become descriptions; source is relative to the working directory, empty for none.
//
// A field without omitempty is required. One whose Go value can be nil (pointer, map, slice, raw JSON) may be null.
func JSONSchema(source string) ([]byte, error) {
	return Of(Document{Type: reflect.TypeFor[record.Result](), ID: "urn:llm-speed:result:v1", Title: "Result of an llm-speed run", Schema: record.Schema, NilLists: true}, source)
}

// Document is a kind of document and the Go type of its outermost object.
type Document struct {
	Type      reflect.Type
	ID, Title string
	Schema    string // what its field schema holds
	NilLists  bool   // lists and maps may be null, as pointers may
}

// Of is the schema of a document; as JSONSchema, for any type. source is the folder of the type's package.
func Of(d Document, source string) ([]byte, error) {
	r := &jsonschema.Reflector{Anonymous: true}
	if source != "" {
		// The reflector looks comments up by import path.
		comments := &jsonschema.Reflector{}
		if err := comments.AddGoComments("", source); err != nil {
			return nil, fmt.Errorf("read the comments of package %s: %w", d.Type.PkgPath(), err)
		}
		r.CommentMap = map[string]string{}
		for key, text := range comments.CommentMap {
			if name, ok := strings.CutPrefix(key, path.Clean(source)+"."); ok {
				r.CommentMap[d.Type.PkgPath()+"."+name] = text
			}
		}
	}
	s := r.ReflectFromType(d.Type)
	s.ID, s.Title = jsonschema.ID(d.ID), d.Title
	types := map[string]reflect.Type{}
	collect(d.Type, types)
	for name, def := range s.Definitions {
		t, ok := types[name]
		if !ok {
			return nil, fmt.Errorf("no Go type for definition %s", name)
		}
		if t.Kind() == reflect.Struct {
			allowNull(t, def, d.NilLists)
		}
		if t == d.Type {
			if prop, ok := def.Properties.Get("schema"); ok {
				prop.Const = d.Schema // no tag says that
			}
		}
	}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(out, '\n'), nil
}

// collect finds the named types below t.
func collect(t reflect.Type, types map[string]reflect.Type) {
	if _, seen := types[t.Name()]; seen {
		return
	}
	if t.Name() != "" {
		types[t.Name()] = t
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		collect(t.Elem(), types)
	case reflect.Struct:
		for i := range t.NumField() {
			collect(t.Field(i).Type, types)
		}
	}
}

// allowNull lets the properties be null whose Go values can be nil, and the values of their maps and lists likewise.
func allowNull(t reflect.Type, def *jsonschema.Schema, lists bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		prop, ok := def.Properties.Get(key)
		if !ok {
			continue
		}
		description := prop.Description
		prop.Description = ""
		prop = nullable(f.Type, prop, lists)
		if prop == jsonschema.TrueSchema {
			prop = &jsonschema.Schema{}
		}
		prop.Description = description
		def.Properties.Set(key, prop)
	}
}

func nullable(t reflect.Type, s *jsonschema.Schema, lists bool) *jsonschema.Schema {
	if t == reflect.TypeFor[json.RawMessage]() {
		return s // any JSON
	}
	switch t.Kind() {
	case reflect.Pointer:
		return orNull(s)
	case reflect.Slice:
		if s.Items != nil {
			s.Items = nullable(t.Elem(), s.Items, lists)
		}
		if !lists {
			return s
		}
		return orNull(s)
	case reflect.Map:
		if s.AdditionalProperties != nil {
			s.AdditionalProperties = nullable(t.Elem(), s.AdditionalProperties, lists)
		}
		if !lists {
			return s
		}
		return orNull(s)
	}
	return s
}

func orNull(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "null"}}}
}
