package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits are what a document may be. A field that is 0 is the default that it names.
type Limits struct {
	Bytes  int            // 256 KiB
	Depth  int            // 16; the outermost value is at depth 1
	Floats bool           // numbers with a fraction or an exponent are allowed; signed fields have none
	Values int            // numbers, texts, objects, lists and so on, all together; 0: as many as fit
	Lists  map[string]int // how many items all lists under a name may have together
	Free   string         // name of fields that are kept as another program wrote them: a key twice and any depth are allowed there
}

// largest is the largest whole number that every reader of JSON keeps.
const largest = 1<<53 - 1

// Check holds a document to the rules of signed ones, on which all readers of JSON agree: valid UTF-8, one value, no key
// twice in an object, numbers that are whole and within ±(2^53-1), bounded size and depth. encoding/json alone takes the last
// of two equal keys, and others take the first.
func Check(doc []byte, limits Limits) error {
	if limits.Bytes == 0 {
		limits.Bytes = 256 << 10
	}
	if limits.Depth == 0 {
		limits.Depth = 16
	}
	switch {
	case len(doc) > limits.Bytes:
		return fmt.Errorf("%d bytes; the most is %d", len(doc), limits.Bytes)
	case !utf8.Valid(doc):
		return errors.New("it is not valid UTF-8")
	case len(bytes.TrimSpace(doc)) == 0:
		return errors.New("it is empty")
	case !json.Valid(doc):
		var v any
		return fmt.Errorf("it is no JSON, or was cut off: %w", json.Unmarshal(doc, &v))
	}
	w := walk{doc: doc, limits: limits, items: map[string]int{}}
	return w.value(1)
}

// walk goes through a document that is known to be valid JSON. encoding/json's own tokens take ten times as long, which is
// felt where thousands of results are listed.
type walk struct {
	doc    []byte
	at     int
	limits Limits
	free   bool           // inside of a field of limits.Free
	values int            // so far
	items  map[string]int // so far, by the names of limits.Lists
	key    string         // of the value that comes, where it has one
}

// next gives the next byte that is no space.
func (w *walk) next() byte {
	for {
		switch c := w.doc[w.at]; c {
		case ' ', '\t', '\r', '\n':
			w.at++
		default:
			return c
		}
	}
}

func (w *walk) value(depth int) error {
	c, key := w.next(), w.key
	w.key = ""
	if w.values++; w.limits.Values > 0 && w.values > w.limits.Values {
		return fmt.Errorf("more than %d values", w.limits.Values)
	}
	if (c == '{' || c == '[') && depth > w.limits.Depth && !w.free {
		return fmt.Errorf("deeper than %d levels", w.limits.Depth)
	}
	switch c {
	case '{':
		return w.object(depth)
	case '[':
		w.at++
		most, bounded := w.limits.Lists[key]
		for w.next() != ']' {
			if bounded {
				w.items[key]++
			}
			if bounded && w.items[key] > most {
				return fmt.Errorf("more than %d %s", most, key)
			}
			if err := w.value(depth + 1); err != nil {
				return err
			}
			if w.next() == ',' {
				w.at++
			}
		}
		w.at++
		return nil
	case '"':
		w.text()
		return nil
	}
	from := w.at
	for w.at < len(w.doc) && !ends(w.doc[w.at]) {
		w.at++
	}
	if c == 't' || c == 'f' || c == 'n' {
		return nil
	}
	return w.number(string(w.doc[from:w.at]))
}

// ends reports whether a byte stands behind a number, true, false or null.
func ends(c byte) bool { return c == ',' || c == ']' || c == '}' || c <= ' ' }

// text passes over a string and gives what is between its quotes.
func (w *walk) text() []byte {
	w.at++
	from := w.at
	for w.doc[w.at] != '"' {
		if w.doc[w.at] == '\\' {
			w.at++
		}
		w.at++
	}
	w.at++
	return w.doc[from : w.at-1]
}

func (w *walk) object(depth int) error {
	w.at++
	var seen keys
	for w.next() != '}' {
		key := w.text()
		if bytes.IndexByte(key, '\\') >= 0 {
			var plain string
			if err := json.Unmarshal(w.doc[w.at-len(key)-2:w.at], &plain); err != nil {
				return err
			}
			key = []byte(plain)
		}
		if seen.add(key) && !w.free {
			return fmt.Errorf("the key %q stands twice in one object", Shorten(string(key)))
		}
		w.next()
		w.at++ // the colon
		free := w.free
		w.key = string(key)
		w.free = free || w.limits.Free != "" && string(key) == w.limits.Free
		if err := w.value(depth + 1); err != nil {
			return err
		}
		w.free = free
		if w.next() == ',' {
			w.at++
		}
	}
	w.at++
	return nil
}

// keys are those of one object: most have so few that comparing them with each other is fastest.
type keys struct {
	few  [][]byte
	many map[string]bool
}

// add notes a key and reports whether it was there.
func (k *keys) add(key []byte) bool {
	const most = 48
	if k.many != nil {
		known := k.many[string(key)]
		k.many[string(key)] = true
		return known
	}
	for _, other := range k.few {
		if bytes.Equal(other, key) {
			return true
		}
	}
	if k.few = append(k.few, key); len(k.few) > most {
		k.many = map[string]bool{}
		for _, other := range k.few {
			k.many[string(other)] = true
		}
	}
	return false
}

func (w *walk) number(text string) error {
	if strings.ContainsAny(text, ".eE") {
		if w.limits.Floats {
			return nil
		}
		return fmt.Errorf("the number %s is not written as a whole one", Shorten(text))
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > largest || n < -largest || text == "-0" {
		if w.limits.Floats {
			return nil
		}
		return fmt.Errorf("the number %s is not within ±(2^53-1)", Shorten(text))
	}
	return nil
}

// Shorten bounds a piece of a document in an error.
func Shorten(text string) string {
	const most = 40
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// Decode reads a signed document into v: it is checked by Check, and it must be written to the byte as canonical JSON of v,
// with all fields and no other ones. what names the document in errors.
func Decode(doc []byte, what string, limits Limits, v any) error {
	if err := Check(doc, limits); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if !bytes.Equal(doc, canonical(v)) {
		return fmt.Errorf("%s: it is not written as this program writes it: keys, their order, or spaces differ", what)
	}
	return nil
}

// Encode writes a document as Decode takes it: one line.
func Encode(v any) []byte { return canonical(v) }
