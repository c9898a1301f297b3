// Package sandbox runs what suites bring along, Starlark programs and jsonnet, in a worker: another process of this same
// program with an empty environment, no keys and no files, bounded in memory, time and output. What a program asks for
// reaches the parent as builtins.Host calls over a pipe; clocks, sockets and results stay with the parent.
//
// The worker is for code that can exhaust memory or the stack in one operation, which nothing inside a Go process can stop.
// It never measures, and nothing of it lies inside a timed interval.
package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxFrame bounds one message, either way.
const maxFrame = 16 << 20

var errFrame = errors.New("a message on the worker's pipe is larger than 16 MiB")

// writeFrame writes one message: its length in 4 bytes, big endian, and its JSON.
func writeFrame(w io.Writer, m any) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a message for the worker's pipe: %w", err)
	}
	if len(b) > maxFrame {
		return errFrame
	}
	out := make([]byte, 4, 4+len(b))
	binary.BigEndian.PutUint32(out, uint32(len(b)))
	_, err = w.Write(append(out, b...))
	return err
}

// readFrame reads one message into m. io.EOF means that the pipe was closed between two messages. The memory that it takes
// grows with what really comes, whatever the length says.
func readFrame(r io.Reader, m any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return errFrame
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if len(b) < int(n) {
		return io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(b, m); err != nil {
		return fmt.Errorf("a message on the worker's pipe: %w", err)
	}
	return nil
}
