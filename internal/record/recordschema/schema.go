// Package recordschema makes the JSON Schema of the result document from the Go types of package record.
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
func JSONSchema(source string) ([]byte, error) {
	d := Document{Types: []reflect.Type{reflect.TypeFor[record.Result]()}, ID: "urn:llm-speed:result:v1", Title: "Result of an llm-speed run", Schema: record.Schema}
	if source != "" {
		d.Sources = map[string]string{d.Types[0].PkgPath(): source}
	}
	return d.JSONSchema()
}

// Document is something in JSON that a schema is made for.
type Document struct {
	Types     []reflect.Type // of its value; several where it, or an item of it, may be of one or another
	List      bool           // it is a list of them
	ID, Title string
	Schema    string            // what its field schema says; empty where it has none
	Filled    bool              // its lists and maps are never null
	Sources   map[string]string // folders of sources by import path, relative to the working directory: comments of fields become descriptions
}

// JSONSchema is the schema of the document, indented.
//
// A field without omitempty is required. One whose Go value can be nil (pointer, map, slice, raw JSON) may be null.
func (d Document) JSONSchema() ([]byte, error) {
	r := &jsonschema.Reflector{Anonymous: true, CommentMap: map[string]string{}, Namer: d.name}
	for pkg, source := range d.Sources {
		// The reflector looks comments up by import path.
		comments := &jsonschema.Reflector{}
		if err := comments.AddGoComments("", source); err != nil {
			return nil, fmt.Errorf("read the comments of package %s: %w", pkg, err)
		}
		for key, text := range comments.CommentMap {
			if name, ok := strings.CutPrefix(key, path.Clean(source)+"."); ok {
				r.CommentMap[pkg+"."+name] = text
			}
		}
	}
	types := map[string]reflect.Type{}
	whole := &jsonschema.Schema{Version: jsonschema.Version, Definitions: jsonschema.Definitions{}}
	var refs []*jsonschema.Schema
	for _, t := range d.Types {
		d.collect(t, types)
		one := r.ReflectFromType(t)
		refs = append(refs, &jsonschema.Schema{Ref: one.Ref})
		for name, def := range one.Definitions {
			whole.Definitions[name] = def
		}
	}
	for name, def := range whole.Definitions {
		t, ok := types[name]
		if !ok {
			return nil, fmt.Errorf("no Go type for definition %s", name)
		}
		if t.Kind() == reflect.Struct {
			d.allowNull(t, def)
		}
		if d.Schema != "" && t == d.Types[0] {
			if prop, ok := def.Properties.Get("schema"); ok {
				prop.Const = d.Schema // no tag says that
			}
		}
	}
	one := refs[0]
	if len(refs) > 1 {
		one = &jsonschema.Schema{AnyOf: refs}
	}
	if d.List {
		whole.Type, whole.Items = "array", one
	} else {
		whole.Ref, whole.AnyOf = one.Ref, one.AnyOf
	}
	whole.ID, whole.Title = jsonschema.ID(d.ID), d.Title
	out, err := json.MarshalIndent(whole, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(out, '\n'), nil
}

// name is what a type is called in the schema: those of the document's own package and of package record by their names, so
// that the many rows and figures of other packages keep apart.
func (d Document) name(t reflect.Type) string {
	name := t.Name()
	if at := strings.IndexByte(name, '['); at >= 0 { // of a generic type
		of := name[at+1 : len(name)-1]
		name = name[:at] + "Of" + of[strings.LastIndexAny(of, "./")+1:]
	}
	if t.PkgPath() == d.Types[0].PkgPath() || t.PkgPath() == reflect.TypeFor[record.Result]().PkgPath() || t.PkgPath() == "" {
		return name
	}
	return path.Base(t.PkgPath()) + "." + name
}

// collect finds the named types below t.
func (d Document) collect(t reflect.Type, types map[string]reflect.Type) {
	if _, seen := types[d.name(t)]; seen && t.Name() != "" {
		return
	}
	if t.Name() != "" {
		types[d.name(t)] = t
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		d.collect(t.Elem(), types)
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				d.collect(t.Field(i).Type, types)
			}
		}
	}
}

// allowNull lets the properties be null whose Go values can be nil, and the values of their maps and lists likewise.
func (d Document) allowNull(t reflect.Type, def *jsonschema.Schema) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct && f.Tag.Get("json") == "" {
			d.allowNull(f.Type, def)
			continue
		}
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		prop, ok := def.Properties.Get(key)
		if !ok {
			continue
		}
		description := prop.Description
		prop.Description = ""
		prop = d.nullable(f.Type, prop)
		if prop == jsonschema.TrueSchema {
			prop = &jsonschema.Schema{}
		}
		prop.Description = description
		def.Properties.Set(key, prop)
	}
}

func (d Document) nullable(t reflect.Type, s *jsonschema.Schema) *jsonschema.Schema {
	if t == reflect.TypeFor[json.RawMessage]() {
		return s // any JSON
	}
	switch t.Kind() {
	case reflect.Pointer:
		return orNull(s)
	case reflect.Slice:
		if s.Items != nil {
			s.Items = d.nullable(t.Elem(), s.Items)
		}
		if d.Filled {
			return s
		}
		return orNull(s)
	case reflect.Map:
		if s.AdditionalProperties != nil {
			s.AdditionalProperties = d.nullable(t.Elem(), s.AdditionalProperties)
		}
		if d.Filled {
			return s
		}
		return orNull(s)
	}
	return s
}

func orNull(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "null"}}}
}
