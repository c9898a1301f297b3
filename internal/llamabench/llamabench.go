// Package llamabench reads what llama-bench writes with -o json and -o jsonl, and makes runs of a kind of their own of it.
//
// Rates are computed again from the samples' times and token counts; an average that the file states is never taken over,
// and one that does not follow from the samples is said so. It is pure: it reads no files. What it makes depends on the
// tests in the document and on nothing else, so that the same tests give the same run wherever and whenever they are read.
package llamabench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/llm-speed/llm-speed/internal/seal"
)

// Bounds of a document.
const (
	MaxBytes   = 64 << 20
	maxTests   = 20_000
	maxTest    = 4 << 20 // bytes
	maxSamples = 100_000 // of a test
	maxTokens  = 1 << 30 // of a prompt, of an answer, and before them
)

// ErrOther means that a document is none of llama-bench's.
var ErrOther = errors.New("this is not what llama-bench -o json or -o jsonl writes")

// Document is what was read of a file.
type Document struct {
	Tests []Test
	Cut   string // what the file ends in, where it was cut off; empty where it was not
}

// Parse reads the tests of a document: a list of objects, or an object a line, as llama-bench writes them. Lines before the
// first one that hold its log are passed over. Of a document that was cut off it gives the tests that are whole. The error is
// ErrOther where it is something else.
func Parse(data []byte) (*Document, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%d bytes; the most is %d", len(data), MaxBytes)
	}
	data = begin(data)
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: it has no JSON in it; llama-bench writes a table unless it is told -o json", ErrOther)
	}
	d := &Document{}
	dec := json.NewDecoder(bytes.NewReader(data))
	list := data[0] == '['
	if list {
		if _, err := dec.Token(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrOther, err)
		}
	}
	for !list || dec.More() {
		var one json.RawMessage
		err := dec.Decode(&one)
		if errors.Is(err, io.EOF) && !list {
			break
		}
		if err == nil {
			err = d.add(one)
		} else if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			d.Cut = fmt.Sprintf("in test %d", len(d.Tests)+1)
			break
		}
		if err != nil {
			return nil, fmt.Errorf("test %d: %w", len(d.Tests)+1, err)
		}
	}
	if list && d.Cut == "" {
		switch _, err := dec.Token(); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			d.Cut = fmt.Sprintf("after test %d", len(d.Tests))
		case err != nil:
			return nil, fmt.Errorf("after test %d: %w", len(d.Tests), err)
		default:
			var more json.RawMessage
			if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("after the list of %d tests something else follows", len(d.Tests))
			}
		}
	}
	switch {
	case len(d.Tests) == 0 && d.Cut != "":
		return nil, fmt.Errorf("it was cut off %s: no test of it is whole", d.Cut)
	case len(d.Tests) == 0:
		return nil, errors.New("there is no test in it")
	}
	return d, nil
}

// begin drops a byte order mark, and the lines of a log that stand before the first that begins a document.
func begin(data []byte) []byte {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		if text := bytes.TrimLeft(line, " \t\r"); len(text) > 0 && (text[0] == '[' || text[0] == '{') {
			return data[len(line)-len(text):]
		}
		data = rest
	}
	return nil
}

// add takes a test.
func (d *Document) add(one json.RawMessage) error {
	if len(d.Tests) == maxTests {
		return fmt.Errorf("there are more than %d", maxTests)
	}
	if err := seal.Check(one, seal.Limits{Bytes: maxTest, Depth: 8, Floats: true}); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(one, &fields) != nil || fields == nil {
		return fmt.Errorf("%w: a test is an object", ErrOther)
	}
	var schema string
	if json.Unmarshal(fields["schema"], &schema) == nil && strings.HasPrefix(schema, "llm-speed/") {
		return fmt.Errorf("%w: it is a document of llm-speed itself, %.60s", ErrOther, schema)
	}
	t, err := testOf(fields)
	if err == nil {
		d.Tests = append(d.Tests, *t)
	}
	return err
}
