package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"reflect"
	"slices"
	"sort"
	"strings"
)

// Main is the file that describes a suite.
const Main = "suite.jsonnet"

// Evaluator evaluates the jsonnet file main among a suite's files, by path, and gives its JSON.
type Evaluator func(ctx context.Context, files map[string][]byte, main string) (string, error)

// InProcess is the Evaluator of this process, where a document that wants too much memory ends it.
func InProcess(_ context.Context, files map[string][]byte, main string) (string, error) {
	return Evaluate(files, main)
}

// Load reads a suite's files into memory, evaluates suite.jsonnet, checks it, and digests the files. The suite it gives
// reads from that copy. An error joins all that was found wrong, one line each.
func Load(ctx context.Context, fsys fs.FS, eval Evaluator) (*Suite, error) {
	all, err := readAll(fsys)
	if err != nil {
		return nil, fmt.Errorf("reading the suite: %w", err)
	}
	text, err := eval(ctx, all, Main)
	if err != nil {
		return nil, err
	}
	s, err := decode(text, all)
	if err != nil {
		return nil, err
	}
	if err := s.check(all); err != nil {
		return nil, err
	}
	s.Digest, s.Files = all.digest(), all
	return s, nil
}

// decode turns the evaluated JSON into a Suite; every field must be known and of its type.
func decode(text string, all files) (*Suite, error) {
	var doc any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", Main, err)
	}
	var wrong ProblemErrors
	fits("", doc, reflect.TypeFor[Suite](), &wrong)
	if err := wrong.orNil(all); err != nil {
		return nil, err
	}
	s := &Suite{}
	if err := json.Unmarshal([]byte(text), s); err != nil {
		return nil, fmt.Errorf("%s: %w", Main, err)
	}
	return s, nil
}

// fits checks a JSON value against the Go type that it will be stored in, and notes where it doesn't fit.
func fits(where string, v any, t reflect.Type, wrong *ProblemErrors) {
	bad := func(want string) {
		wrong.add(orTop(where), "wants %s, is %s", want, kindOf(v))
	}
	if t.Kind() == reflect.Pointer {
		if v == nil {
			return
		}
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct:
		m, ok := v.(map[string]any)
		if !ok {
			bad("an object")
			return
		}
		known := map[string]reflect.Type{}
		fields(t, known)
		for _, k := range sortedKeys(m) {
			ft, ok := known[k]
			if !ok {
				wrong.add(join(where, k), "unknown field; valid: %s", strings.Join(sortedKeys(known), " "))
				continue
			}
			fits(join(where, k), m[k], ft, wrong)
		}
	case reflect.Slice:
		a, ok := v.([]any)
		if !ok {
			bad("an array")
			return
		}
		for i, e := range a {
			fits(fmt.Sprintf("%s[%d]", where, i), e, t.Elem(), wrong)
		}
	case reflect.Map:
		m, ok := v.(map[string]any)
		if !ok && v == nil {
			return
		}
		if !ok {
			bad("an object")
			return
		}
		for _, k := range sortedKeys(m) {
			fits(join(where, k), m[k], t.Elem(), wrong)
		}
	case reflect.String:
		if _, ok := v.(string); !ok {
			bad("a string")
		}
	case reflect.Int:
		if n, ok := v.(float64); !ok || n != math.Trunc(n) || math.Abs(n) > 1<<40 {
			bad("a whole number")
		}
	case reflect.Float64:
		if _, ok := v.(float64); !ok {
			bad("a number")
		}
	case reflect.Interface: // anything
	default:
		bad("nothing: the type " + t.String() + " has no rule here")
	}
}

// fields collects a struct's JSON fields and their types, those of embedded structs too.
func fields(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			fields(f.Type, into)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			into[name] = f.Type
		}
	}
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return fmt.Sprintf("the string %.40q", v)
	case float64:
		return fmt.Sprintf("the number %v", v)
	case []any:
		return "an array"
	}
	return "an object"
}

func orTop(where string) string {
	if where == "" {
		return "top level"
	}
	return where
}

func join(where, key string) string {
	if where == "" {
		return key
	}
	return where + "." + key
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return slices.Clip(keys)
}
