package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits are what a document may be. A field that is 0 is the default that it names.
type Limits struct {
	Bytes  int  // 256 KiB
	Depth  int  // 16; the outermost value is at depth 1
	Floats bool // numbers with a fraction or an exponent are allowed; signed fields have none
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
	w := walk{Decoder: json.NewDecoder(bytes.NewReader(doc)), limits: limits}
	w.UseNumber()
	return w.value(1)
}

// walk reads a document's tokens.
type walk struct {
	*json.Decoder
	limits Limits
}

func (w *walk) value(depth int) error {
	token, err := w.Token()
	if err != nil {
		return err
	}
	switch t := token.(type) {
	case json.Number:
		return w.number(t.String())
	case json.Delim:
		if depth > w.limits.Depth {
			return fmt.Errorf("deeper than %d levels", w.limits.Depth)
		}
		if t == '{' {
			return w.object(depth)
		}
		for w.More() {
			if err := w.value(depth + 1); err != nil {
				return err
			}
		}
		return w.end()
	}
	return nil
}

func (w *walk) object(depth int) error {
	seen := map[string]bool{}
	for w.More() {
		token, err := w.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return errors.New("a key is no text")
		}
		if seen[key] {
			return fmt.Errorf("the key %q stands twice in one object", shorten(key))
		}
		seen[key] = true
		if err := w.value(depth + 1); err != nil {
			return err
		}
	}
	return w.end()
}

// end takes the closing bracket.
func (w *walk) end() error {
	if _, err := w.Token(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (w *walk) number(text string) error {
	if strings.ContainsAny(text, ".eE") {
		if w.limits.Floats {
			return nil
		}
		return fmt.Errorf("the number %s is not written as a whole one", shorten(text))
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > largest || n < -largest || text == "-0" {
		if w.limits.Floats {
			return nil
		}
		return fmt.Errorf("the number %s is not within ±(2^53-1)", shorten(text))
	}
	return nil
}

// shorten bounds a piece of a document in an error.
func shorten(text string) string {
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
