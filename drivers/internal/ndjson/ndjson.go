// Package ndjson reads the lines of a newline-delimited JSON body out of a recording.
//
// It is pure: lines are made of what was read and never depend on where the reads were cut. It does not parse the JSON.
package ndjson

import (
	"bytes"
	"iter"
	"time"

	"github.com/llm-speed/llm-speed/internal/stream"
)

// Line is one line that is not blank, without the white space around it. Data is part of Recording.Data. At and Read are
// those of the read that completed the line.
type Line struct {
	Data []byte
	At   time.Duration
	Read int
	Open bool // the body ended inside this line
}

// Lines yields the lines of a recording in order. Lines end in \n or \r\n and may have any length.
func Lines(rec *stream.Recording) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		// What follows the last line end is the only line that can be open.
		open := rec.Data[bytes.LastIndexByte(rec.Data, '\n')+1:]
		for f := range rec.Lines() {
			l := Line{Data: bytes.TrimSpace(f.Bytes), At: f.At, Read: f.Read}
			if len(l.Data) == 0 {
				continue
			}
			l.Open = len(open) > 0 && len(f.Bytes) > 0 && &f.Bytes[0] == &open[0]
			if !yield(l) {
				return
			}
		}
	}
}
