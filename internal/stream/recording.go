// Package stream holds what was read from a server and what it turned out to mean.
//
// A Recording is the raw side: bytes and the stamps of the reads that brought them. A Transcript is the understood side:
// events with text, counts, and the server's own figures. Drivers turn the first into the second with a pure function,
// package measure turns the second into metrics. Nothing here performs I/O, looks at a clock, or knows a backend.
package stream

import (
	"bytes"
	"iter"
	"time"
)

// Outcome says how a recording ended, as seen at the socket. Whether the stream said that it was complete is for the
// driver's Decode to judge.
type Outcome string

// The ways in which a recording ends.
const (
	Complete Outcome = "complete" // the body ended as HTTP says it should
	Cut      Outcome = "cut"      // the connection ended inside the body, or before the response
	Deadline Outcome = "deadline" // a deadline of the request passed
	Canceled Outcome = "canceled" // the caller cancelled
)

// Read is one return of the socket's Read. Its index in Recording.Reads is the read_id that coalescing is judged by.
type Read struct {
	End int           `json:"end"`   // bytes of Recording.Data that had arrived when this read returned
	At  time.Duration `json:"at_ns"` // stamp on the run's clock, taken as the read returned
}

// Conn is how the connection of a stream came to be; every part of it lies before Recording.Send.
type Conn struct {
	Reused  bool          `json:"reused"`     // had carried an earlier request
	DNS     time.Duration `json:"dns_ns"`     // name look-up; 0 for addresses
	Connect time.Duration `json:"connect_ns"` // TCP connect
	TLS     time.Duration `json:"tls_ns"`     // TLS handshake; 0 without TLS
	Proto   string        `json:"proto"`      // HTTP/1.1

	Proxy  bool          `json:"proxy,omitempty"`     // a proxy stands in between: Connect is to it, and every latency holds its part
	Tunnel time.Duration `json:"tunnel_ns,omitempty"` // CONNECT through it; 0 without
}

// Recording is one stream as it was read: enough to rebuild every metric later, to the byte. Stamps are on the run's
// clock; one that was never reached is 0.
type Recording struct {
	Protocol  string            `json:"protocol"`            // which decoder of the driver understands Data
	Status    int               `json:"status"`              // HTTP status; 0 when no response came
	Header    map[string]string `json:"header,omitempty"`    // response headers worth keeping, lower-case names
	Data      []byte            `json:"data"`                // body bytes after transfer decoding
	Reads     []Read            `json:"reads"`               //
	Sched     time.Duration     `json:"sched_ns"`            // t_sched: barrier release
	Send      time.Duration     `json:"send_ns"`             // t_send: just before the first request byte was written
	FirstByte time.Duration     `json:"first_byte_ns"`       // t_hdr: first response byte
	End       time.Duration     `json:"end_ns"`              // the body ended, or the stream was given up
	Outcome   Outcome           `json:"outcome"`             //
	Fault     string            `json:"fault,omitempty"`     // what ended it, in words, unless Complete
	Conn      Conn              `json:"conn"`                //
	ReadLag   time.Duration     `json:"read_lag_ns"`         // longest time between two socket reads that the client itself spent
	Request   int               `json:"request_bytes"`       // size of the request as written
	Sent      map[string]string `json:"sent,omitempty"`      // facts of the request that decoding needs (asked output tokens, ...)
	PromptIDs int               `json:"prompt_ids,omitzero"` // prompt tokens sent as token ids; 0 when text was sent
}

// Frame is a line of a recording, without its line end, with the stamp and number of the read that completed it.
type Frame struct {
	Bytes []byte
	At    time.Duration
	Read  int
}

// Lines yields the recording's lines in order: split at \n, one \r before it dropped. What follows the last line end is
// yielded too, stamped with the last read; an empty rest is not.
func (r *Recording) Lines() iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		read := 0
		for start := 0; start < len(r.Data); {
			end, next := len(r.Data), len(r.Data)
			if i := bytes.IndexByte(r.Data[start:], '\n'); i >= 0 {
				end, next = start+i, start+i+1
			}
			for read < len(r.Reads)-1 && r.Reads[read].End < next {
				read++
			}
			f := Frame{Bytes: bytes.TrimSuffix(r.Data[start:end], []byte{'\r'}), Read: read}
			if len(r.Reads) > 0 {
				f.At = r.Reads[read].At
			}
			if !yield(f) {
				return
			}
			start = next
		}
	}
}
