package builtins

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"

	"go.starlark.net/starlark"
)

// maxDepth bounds nested data, so that a list that contains itself ends in an error.
const maxDepth = 64

// opaque is what the values of this package have in common: a kind, which type() gives, and that they are true, immutable
// and no dict keys.
type opaque string

// Type names the kind.
func (o opaque) Type() string { return string(o) }

// Freeze does nothing: there is nothing to change.
func (o opaque) Freeze() {}

// Truth is true.
func (o opaque) Truth() starlark.Bool { return true }

// Hash refuses.
func (o opaque) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: %s", string(o)) }

// object is a value with named attributes, in a fixed order.
type object struct {
	opaque
	names []string
	attrs map[string]starlark.Value
}

func newObject(kind string) *object {
	return &object{opaque: opaque(kind), attrs: map[string]starlark.Value{}}
}

// set adds an attribute; only while the object is made.
func (o *object) set(name string, v starlark.Value) {
	o.names = append(o.names, name)
	o.attrs[name] = v
}

// String writes the object as a call of its kind.
func (o *object) String() string {
	var b bytes.Buffer
	b.WriteString(o.Type() + "(")
	for i, name := range o.names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name + " = " + o.attrs[name].String())
	}
	b.WriteString(")")
	return b.String()
}

// AttrNames lists the attributes.
func (o *object) AttrNames() []string { return slices.Clone(o.names) }

// Freeze freezes the attributes: there may be lists among them.
func (o *object) Freeze() {
	for _, v := range o.attrs {
		v.Freeze()
	}
}

// Attr finds an attribute; the error lists the valid names.
func (o *object) Attr(name string) (starlark.Value, error) {
	if v, ok := o.attrs[name]; ok {
		return v, nil
	}
	return nil, noAttr(o.Type(), name, o.names)
}

// Get makes o["name"] and "name" in o work, which keys that are no identifiers need.
func (o *object) Get(key starlark.Value) (starlark.Value, bool, error) {
	name, ok := starlark.AsString(key)
	if !ok {
		return nil, false, fmt.Errorf("%s[%s]: want a string", o.Type(), key)
	}
	v, found := o.attrs[name]
	return v, found, nil
}

func noAttr(kind, name string, names []string) error {
	return starlark.NoSuchAttrError(fmt.Sprintf("%s has no .%s; it has: %s", kind, name, listed(names)))
}

// intArg is an int argument that may be left out.
type intArg struct {
	given bool
	n     int
}

// Unpack takes a Starlark int.
func (a *intArg) Unpack(v starlark.Value) error {
	n, ok := v.(starlark.Int)
	if !ok {
		return fmt.Errorf("got %s, want int", v.Type())
	}
	i, ok := n.Int64()
	if !ok || i < math.MinInt32 || i > math.MaxInt32 {
		return fmt.Errorf("%s is out of range", v)
	}
	a.given, a.n = true, int(i)
	return nil
}

// floatArg is a number, int or float, finite; None is left out.
type floatArg struct {
	given bool
	f     float64
}

// Unpack takes a Starlark int, float or None.
func (a *floatArg) Unpack(v starlark.Value) error {
	if v == starlark.None {
		return nil
	}
	_, isInt := v.(starlark.Int)
	_, isFloat := v.(starlark.Float)
	f, ok := starlark.AsFloat(v)
	if !ok || !isInt && !isFloat {
		return fmt.Errorf("got %s, want a number", v.Type())
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("got %s, want a finite number", v)
	}
	a.given, a.f = true, f
	return nil
}

// optInt, optFloat give None for what is not known.
func optInt(p *int) starlark.Value {
	if p == nil {
		return starlark.None
	}
	return starlark.MakeInt(*p)
}

func optFloat(p *float64) starlark.Value {
	if p == nil {
		return starlark.None
	}
	return starlark.Float(*p)
}

// toStarlark converts data as decoded from JSON. Maps become objects of the given kind, whole numbers ints.
func toStarlark(kind string, v any, depth int) (starlark.Value, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("data nested deeper than %d", maxDepth)
	}
	switch v := v.(type) {
	case nil:
		return starlark.None, nil
	case bool:
		return starlark.Bool(v), nil
	case string:
		return starlark.String(v), nil
	case int:
		return starlark.MakeInt(v), nil
	case int64:
		return starlark.MakeInt64(v), nil
	case json.Number:
		if n, ok := new(big.Int).SetString(v.String(), 10); ok {
			return starlark.MakeBigInt(n), nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, fmt.Errorf("number %s: %w", v, err)
		}
		return starlark.Float(f), nil
	case float64:
		// encoding/json makes a float of every number; up to 2^53 the whole ones are exact.
		if v == math.Trunc(v) && math.Abs(v) <= 1<<53 {
			return starlark.MakeInt64(int64(v)), nil
		}
		return starlark.Float(v), nil
	case []any:
		list := make([]starlark.Value, len(v))
		for i, item := range v {
			var err error
			if list[i], err = toStarlark("object", item, depth+1); err != nil {
				return nil, err
			}
		}
		return starlark.NewList(list), nil
	case map[string]any:
		o := newObject(kind)
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			item, err := toStarlark("object", v[name], depth+1)
			if err != nil {
				return nil, err
			}
			o.set(name, item)
		}
		return o, nil
	}
	return nil, fmt.Errorf("%T is no JSON data", v)
}

// fromStarlark converts a value to what encoding/json takes: the other way of toStarlark, dicts and tuples included.
func fromStarlark(v starlark.Value, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("data nested deeper than %d, or a list that contains itself", maxDepth)
	}
	switch v := v.(type) {
	case starlark.NoneType:
		return nil, nil
	case starlark.Bool:
		return bool(v), nil
	case starlark.String:
		return string(v), nil
	case starlark.Int:
		return json.Number(v.String()), nil
	case starlark.Float:
		if f := float64(v); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, nil
		}
		return nil, fmt.Errorf("%s is no JSON number", v)
	case *object, *starlark.Dict:
		fields, err := fieldsOf(v)
		if err != nil {
			return nil, err
		}
		out := map[string]any{}
		for name, item := range fields {
			if out[name], err = fromStarlark(item, depth+1); err != nil {
				return nil, fmt.Errorf(".%s: %w", name, err)
			}
		}
		return out, nil
	case starlark.Indexable: // list, tuple
		out := make([]any, v.Len())
		for i := range out {
			var err error
			if out[i], err = fromStarlark(v.Index(i), depth+1); err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s is no JSON data", v.Type())
}

// fieldsOf gives the fields of an object or a dict with string keys.
func fieldsOf(v starlark.Value) (map[string]starlark.Value, error) {
	switch v := v.(type) {
	case *object:
		return v.attrs, nil
	case *starlark.Dict:
		out := make(map[string]starlark.Value, v.Len())
		for _, item := range v.Items() {
			key, ok := starlark.AsString(item[0])
			if !ok {
				return nil, fmt.Errorf("key %s, want a string", item[0])
			}
			out[key] = item[1]
		}
		return out, nil
	}
	return nil, fmt.Errorf("got %s, want a dict or an object of w.params", v.Type())
}

// toJSON encodes a value that must be a JSON object. Keys come sorted, so that the bytes depend on the data alone.
func toJSON(v starlark.Value) (json.RawMessage, error) {
	if _, err := fieldsOf(v); err != nil {
		return nil, err
	}
	data, err := fromStarlark(v, 0)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// items gives the elements of a list or a tuple.
func items(v starlark.Value) ([]starlark.Value, error) {
	switch v := v.(type) {
	case *starlark.List:
		out := make([]starlark.Value, v.Len())
		for i := range out {
			out[i] = v.Index(i)
		}
		return out, nil
	case starlark.Tuple:
		return v, nil
	}
	return nil, fmt.Errorf("got %s, want a list", v.Type())
}
