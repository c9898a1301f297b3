package sse

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/internal/stream"
)

func show(rec *stream.Recording) []string {
	var out []string
	for ev := range Events(rec) {
		s := fmt.Sprintf("%s|%s", ev.Name, ev.Data)
		if ev.Stray {
			s = "stray|" + string(ev.Data)
		}
		if ev.Open {
			s += "|open"
		}
		out = append(out, s)
	}
	return out
}

func TestEvents(t *testing.T) {
	long := strings.Repeat("x", 8<<20)
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"plain", "data: a\n\ndata: b\n\n", []string{"|a", "|b"}},
		{"no space, two spaces, trailing space", "data:a\n\ndata:  b \n\n", []string{"|a", "| b "}},
		{"CRLF", "data: a\r\n\r\nevent: x\r\ndata: b\r\n\r\n", []string{"|a", "x|b"}},
		{"comments and other fields", ": hi\n\n:\nid: 1\nretry: 5\ndata: a\n: inside\n\n", []string{"|a"}},
		{"several lines", "data: a\ndata: b\ndata:\ndata: c\n\ndata: d\n\n", []string{"|a\nb\n\nc", "|d"}},
		{"name", "event: error\ndata: a\n\ndata: b\n\n", []string{"error|a", "|b"}},
		{"name without data", "event: ping\n\ndata: b\n\n", []string{"|b"}},
		{"empty data", "data:\n\ndata\n\n", []string{"|", "|"}},
		{"no blank line at the end", "data: a\n", []string{"|a"}},
		{"no line end at the end", "data: a", []string{"|a|open"}},
		{"name after the data at the end", "data: a\nevent: x", []string{"x|a"}},
		{"stray", "error: {}\ndata: a\n\n{\"b\"", []string{"stray|error: {}", "|a", "stray|{\"b\"|open"}},
		{"byte order mark", "\xef\xbb\xbfdata: a\n\n", []string{"|a"}},
		{"colons in data", "data: a: b:c\n\n", []string{"|a: b:c"}},
		{"8 MiB", "data: " + long + "\n\ndata: b\n\n", []string{"|" + long, "|b"}},
		{"nothing", "", nil},
		{"blank lines", "\n\r\n\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := show(&stream.Recording{Data: []byte(c.body)})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff[:min(len(diff), 2000)])
			}
		})
	}
}

func TestEventHasTheStampOfItsLastDataLine(t *testing.T) {
	rec := &stream.Recording{Data: []byte("data: a\n\ndata: b\ndata: c\n\n"), Reads: []stream.Read{
		{End: 3, At: 1}, {End: 8, At: 2}, {End: 9, At: 3}, {End: 17, At: 4}, {End: 25, At: 5}, {End: 26, At: 6}}}
	type stamp struct {
		Data string
		At   time.Duration
		Read int
	}
	var got []stamp
	for ev := range Events(rec) {
		got = append(got, stamp{string(ev.Data), ev.At, ev.Read})
	}
	if diff := cmp.Diff([]stamp{{"a", 2, 1}, {"b\nc", 5, 4}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestJoiningNeverWritesIntoTheRecording(t *testing.T) {
	data := []byte("data: a\ndata: b\n\ndata: c\n\n")
	before := bytes.Clone(data)
	for range Events(&stream.Recording{Data: data}) {
	}
	if !bytes.Equal(before, data) {
		t.Errorf("recording became %q", data)
	}
}

func TestEventsAllocateNothing(t *testing.T) {
	rec := &stream.Recording{Data: []byte(strings.Repeat("event: delta\ndata: {\"a\":1}\n\n", 1000)), Reads: []stream.Read{{End: 28000, At: 1}}}
	n := 0
	allocs := testing.AllocsPerRun(10, func() {
		for range Events(rec) {
			n++
		}
	})
	if n != 11000 || allocs > 10 {
		t.Errorf("%d events, %.0f allocations for 1000", n, allocs)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte("data: a\n\ndata:b\r\n\r\n: c\n\nevent: x\ndata: \xc3\xa9\ndata: d\n"), uint8(0))
	f.Add([]byte("error: x\ndata\n\n\xef\xbb\xbfdata:"), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		before := bytes.Clone(data)
		whole := show(&stream.Recording{Data: data, Reads: []stream.Read{{End: len(data), At: 1}}})
		rec := &stream.Recording{Data: data}
		for end := 0; end < len(data); {
			end = min(len(data), end+int(step)+1)
			rec.Reads = append(rec.Reads, stream.Read{End: end, At: time.Duration(end)})
		}
		if diff := cmp.Diff(whole, show(rec)); diff != "" {
			t.Error(diff)
		}
		for ev := range Events(rec) {
			if ev.Read < 0 || ev.Read >= len(rec.Reads) || rec.Reads[ev.Read].At != ev.At {
				t.Errorf("event of read %d at %v, %d reads", ev.Read, ev.At, len(rec.Reads))
			}
		}
		if !bytes.Equal(before, data) {
			t.Error("the recording was written to")
		}
	})
}
