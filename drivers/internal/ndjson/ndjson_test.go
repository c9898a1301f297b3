package ndjson

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/internal/stream"
)

func show(rec *stream.Recording) []string {
	var out []string
	for l := range Lines(rec) {
		s := string(l.Data)
		if l.Open {
			s += "|open"
		}
		out = append(out, s)
	}
	return out
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"plain", "{\"a\":1}\n{\"b\":2}\n", []string{`{"a":1}`, `{"b":2}`}},
		{"CRLF and blanks", " {\"a\":1} \r\n\r\n\n{}\r\n", []string{`{"a":1}`, `{}`}},
		{"open", "{}\n{\"a\"", []string{`{}`, `{"a"|open`}},
		{"only open", "{}", []string{`{}|open`}},
		{"nothing", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, show(&stream.Recording{Data: []byte(c.body)})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLineHasTheStampOfItsEnd(t *testing.T) {
	rec := &stream.Recording{Data: []byte("{}\n{}\n"), Reads: []stream.Read{{End: 2, At: 1}, {End: 3, At: 2}, {End: 6, At: 3}}}
	var got []string
	for l := range Lines(rec) {
		got = append(got, fmt.Sprint(l.At, l.Read))
	}
	if diff := cmp.Diff([]string{"2ns 1", "3ns 2"}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("{\"a\":\"\xc3\xa9\"}\r\n\n{}"), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		whole := show(&stream.Recording{Data: data, Reads: []stream.Read{{End: len(data), At: 1}}})
		rec := &stream.Recording{Data: data}
		for end := 0; end < len(data); {
			end = min(len(data), end+int(step)+1)
			rec.Reads = append(rec.Reads, stream.Read{End: end, At: time.Duration(end)})
		}
		if diff := cmp.Diff(whole, show(rec)); diff != "" {
			t.Error(diff)
		}
	})
}
