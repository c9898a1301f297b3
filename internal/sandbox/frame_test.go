package sandbox

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzFrames reads what a worker that does not keep to the protocol may send.
func FuzzFrames(f *testing.F) {
	var good bytes.Buffer
	if err := writeFrame(&good, fromWorker{Call: callLog, Args: json.RawMessage(`"x"`)}); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\x00\x00\x00\x05null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			before := r.Len()
			var m fromWorker
			if readFrame(r, &m) != nil {
				return
			}
			if r.Len() >= before {
				t.Fatal("a message took no bytes")
			}
			c := &calls{ctx: t.Context(), host: nil}
			if m.Call != "" && c.answer(&bytes.Buffer{}, m) == nil {
				t.Error("a call without a host was answered")
			}
		}
	})
}
