package sim

import (
	"bytes"
	"strconv"
)

// sse frames server-sent events, with the traps of their framing.
type sse struct {
	eol             string
	noSpace, spaced bool
}

func newSSE(t Traps) sse {
	f := sse{"\n", t.noSpace, t.trailingSpace}
	if t.crlf {
		f.eol = "\r\n"
	}
	return f
}

// frame makes a server-sent event.
func (f *sse) frame(data []byte) []byte {
	return f.shut(append(f.begin(nil, ""), data...))
}

// named appends a server-sent event that has a name.
func (f *sse) named(out []byte, name string, data []byte) []byte {
	return f.shut(append(f.begin(out, name), data...))
}

// begin appends what stands in front of an event's data; shut what follows.
func (f *sse) begin(out []byte, name string) []byte {
	if name != "" {
		out = append(append(append(out, "event: "...), name...), f.eol...)
	}
	out = append(out, "data:"...)
	if !f.noSpace {
		out = append(out, ' ')
	}
	return out
}

func (f *sse) shut(out []byte) []byte {
	if f.spaced {
		out = append(out, ' ')
	}
	out = append(out, f.eol...)
	return append(out, f.eol...)
}

func (f *sse) contentType() string { return "text/event-stream" }
func (f *sse) joins() bool         { return false }
func (f *sse) holes() []hole       { return nil }
func (f *sse) mark(*Served) []byte { return f.frame([]byte("[DONE]")) }
func (f *sse) garbage() []byte     { return f.frame([]byte(`{"choices":[{"delta":{"cont`)) }
func (f *sse) torn() string        { return `data: {"id":"chat` }

func (f *sse) comment(text string) []byte {
	if text != "" {
		text = " " + text
	}
	return []byte(":" + text + f.eol + f.eol)
}

func (f *sse) failure(message string) []byte {
	return f.frame(errorBody(message, "server_error", 500))
}

// lines frames JSON lines.
type lines struct{ eol string }

func newLines(t Traps) lines {
	if t.crlf {
		return lines{"\r\n"}
	}
	return lines{"\n"}
}

func (f *lines) contentType() string   { return "application/x-ndjson" }
func (f *lines) joins() bool           { return false }
func (f *lines) holes() []hole         { return nil }
func (f *lines) comment(string) []byte { return nil }
func (f *lines) garbage() []byte       { return []byte(`{"model":"m","mess` + f.eol) }
func (f *lines) torn() string          { return `{"model":"m","cre` }

// padding appends a member of n bytes of filling.
func padding(b []byte, n int) []byte {
	if n <= 0 {
		return b
	}
	b = append(b, `"padding":"`...)
	b = append(b, bytes.Repeat([]byte("x"), n)...)
	return append(b, `",`...)
}

// hole is a number that is not known when an event is made: how many prompt tokens were cached is decided when the prefill
// begins. The event has blanks and a 0 in its place, which are written over.
type hole struct {
	member string // `"cached_tokens":`
	value  func(s *Served) int
}

const holeBlanks = "        0"

// cachedHole is the usual one.
func cachedHole() []hole {
	return []hole{{`"cached_tokens":`, func(s *Served) int { return s.CachedTokens }}}
}

// filled gives what makes a step's data when it is due; nil where it has no holes.
func filled(data []byte, holes []hole) func(*job) []byte {
	type place struct{ end, hole int }
	var places []place
	for h, o := range holes {
		mark := []byte(o.member + holeBlanks)
		for from := 0; ; {
			i := bytes.Index(data[from:], mark)
			if i < 0 {
				break
			}
			from += i + len(mark)
			places = append(places, place{from, h})
		}
	}
	if places == nil {
		return nil
	}
	return func(j *job) []byte {
		var n [20]byte
		for _, p := range places {
			text := strconv.AppendInt(n[:0], int64(holes[p.hole].value(j.served)), 10)
			copy(data[p.end-len(text):p.end], text)
		}
		return data
	}
}
