// Package loose reads JSON objects whose fields differ in type, or are absent, from one version of a server to the next.
//
// It is pure and it never fails: a field of another type than asked for counts as absent.
package loose

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// Object is a JSON object. The zero value has no fields.
type Object map[string]json.RawMessage

// UnmarshalJSON takes an object; everything else that is JSON counts as one without fields.
func (o *Object) UnmarshalJSON(b []byte) error {
	var m map[string]json.RawMessage
	if json.Unmarshal(b, &m) != nil {
		m = nil
	}
	*o = m
	return nil
}

// Has reports whether a field is there and not null.
func (o Object) Has(key string) bool {
	v := bytes.TrimSpace(o[key])
	return len(v) > 0 && string(v) != "null"
}

// Text gives the first of the fields that is a string and not empty; "" where none is.
func (o Object) Text(keys ...string) string {
	for _, k := range keys {
		if s := Text(o[k]); s != "" {
			return s
		}
	}
	return ""
}

// Int gives the first of the fields that is a whole number from 0 up.
func (o Object) Int(keys ...string) (int, bool) {
	for _, k := range keys {
		if n, ok := Int(o[k]); ok {
			return n, true
		}
	}
	return 0, false
}

// Count is Int, and 0 where there is none: for numbers of which 0 means that they are not known.
func (o Object) Count(keys ...string) int {
	n, _ := o.Int(keys...)
	return n
}

// Number gives the first of the fields that is a finite number.
func (o Object) Number(keys ...string) (float64, bool) {
	for _, k := range keys {
		if f, ok := Number(o[k]); ok {
			return f, true
		}
	}
	return 0, false
}

// Flag gives a field that is true or false.
func (o Object) Flag(key string) (value, ok bool) {
	switch string(bytes.TrimSpace(o[key])) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// Object gives a field that is an object; one without fields where it is none.
func (o Object) Object(key string) Object {
	var in Object
	_ = in.UnmarshalJSON(o[key])
	return in
}

// Objects gives the objects of a field that is an array of such; what else is in it is left out.
func (o Object) Objects(key string) []Object { return Objects(o[key]) }

// Objects gives the objects of an array.
func Objects(raw json.RawMessage) []Object {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var out []Object
	for _, r := range list {
		var in Object
		if _ = in.UnmarshalJSON(r); in != nil {
			out = append(out, in)
		}
	}
	return out
}

// Text gives a JSON string's text; "" for everything else.
func Text(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) < 3 || raw[0] != '"' {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// most is the largest number that counts as one of tokens or slots.
const most = 1e12

// Int gives a whole number from 0 up, also one that is written as 4096.0.
func Int(raw json.RawMessage) (int, bool) {
	f, ok := Number(raw)
	if !ok || f < 0 || f >= most || f != math.Trunc(f) {
		return 0, false
	}
	return int(f), true
}

// Number gives a finite number. A number inside a string is none.
func Number(raw json.RawMessage) (float64, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, false
	}
	return f, true
}
