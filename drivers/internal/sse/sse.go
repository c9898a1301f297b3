// Package sse reads the events of a Server-Sent Events body out of a recording.
//
// It is pure: events are made of what was read and never depend on where the reads were cut. It knows no backend, reads no
// clock and never fails: what is no event is handed on as a stray line for the caller to judge.
package sse

import (
	"bytes"
	"iter"
	"time"

	"github.com/llm-speed/llm-speed/internal/stream"
)

// Event is one event of a body, or a stray line.
//
// At and Read are those of the read that completed the event's last data line: the text can be used then, even where the
// blank line that ends the event comes later. Data is part of Recording.Data, except where an event has several data lines,
// which are joined by \n.
type Event struct {
	Name  string // of the event: field; "" where there was none
	Data  []byte
	At    time.Duration
	Read  int
	Open  bool // the body ended inside this event's last line
	Stray bool // a line that Server-Sent Events has no field for; Data is the whole line
}

// Events yields the events of a recording in order. Comments, id and retry fields, and events without data are left out.
// Lines end in \n or \r\n and may have any length. A last event without its blank line is yielded too.
func Events(rec *stream.Recording) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		var ev Event
		var name string // kept, so that a name that repeats is not allocated again
		pending, lastWasData := false, false
		owned := false // ev.Data is a buffer of its own
		endsOpen := len(rec.Data) > 0 && rec.Data[len(rec.Data)-1] != '\n'
		var stray Event // held back by one line, to know whether it is the last
		for f := range rec.Lines() {
			if stray.Stray {
				if !yield(stray) {
					return
				}
				stray = Event{}
			}
			line := f.Bytes
			if len(line) >= 3 && &line[0] == &rec.Data[0] {
				line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
			}
			lastWasData = false
			if len(line) == 0 {
				if pending && !yield(ev) {
					return
				}
				ev, pending, owned = Event{}, false, false
				continue
			}
			field, value, hasColon := bytes.Cut(line, []byte{':'})
			if hasColon && len(field) == 0 {
				continue // a comment
			}
			value = bytes.TrimPrefix(value, []byte{' '})
			switch string(field) {
			case "data":
				if pending {
					if !owned { // never append into the recording itself
						ev.Data, owned = append(make([]byte, 0, 2*(len(ev.Data)+1+len(value))), ev.Data...), true
					}
					value = append(append(ev.Data, '\n'), value...)
				}
				ev.Data, ev.At, ev.Read = value, f.At, f.Read
				pending, lastWasData = true, true
			case "event":
				if string(value) != name {
					name = string(value)
				}
				ev.Name = name
			case "id", "retry":
			default:
				stray = Event{Data: line, At: f.At, Read: f.Read, Stray: true}
			}
		}
		if stray.Stray {
			stray.Open = endsOpen
			if !yield(stray) {
				return
			}
		}
		if pending {
			ev.Open = endsOpen && lastWasData
			yield(ev)
		}
	}
}
