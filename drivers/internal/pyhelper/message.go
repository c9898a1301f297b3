package pyhelper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/llm-speed/llm-speed/drivers"
)

// Protocol is the version of the lines that both sides speak.
const Protocol = 1

// maxLine bounds one message, in bytes: the ids of a prompt of 128k tokens take about one megabyte.
const maxLine = 4 << 20

// message is one line of a helper. Which fields are there says what it is.
type message struct {
	ID       int64           `json:"id"`
	OK       json.RawMessage `json:"ok"`       // the answer to a call
	Error    *failure        `json:"error"`    // of a call or a stream
	Pong     *int64          `json:"pong"`     // the helper's clock, ns
	Progress *string         `json:"progress"` // what a long call does now
	Start    *int64          `json:"start"`    // of a stream, with the four below
	Go       int64           `json:"go"`
	Prompt   *int            `json:"prompt"`
	Cached   *int            `json:"cached"`
	At       *int64          `json:"t"` // tokens are there
	Tokens   int             `json:"k"`
	End      *ending         `json:"end"`
}

// failure is what a helper says went wrong.
type failure struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// ending is the last line of a stream.
type ending struct {
	Finish string          `json:"finish"`
	Output *int            `json:"output"`
	Cached *int            `json:"cached"`
	Queue  int64           `json:"queue_ns"` // waited before work on it began, by the library's own word
	Texts  []string        `json:"texts"`
	Extra  json.RawMessage `json:"extra"`
}

// hello is the first line.
type hello struct {
	Version *int   `json:"llm_speed_helper"`
	Backend string `json:"backend"`
	Python  string `json:"python"`
}

// errRubbish is a line that is no message.
var errRubbish = fmt.Errorf("%w: the helper wrote a line that is no message", drivers.ErrProtocol)

// parse understands one line. Numbers that do not fit and objects without an id are errors, not guesses.
func parse(line []byte) (message, error) {
	var m message
	if err := json.Unmarshal(line, &m); err != nil || m.ID <= 0 {
		return message{}, fmt.Errorf("%w: %s", errRubbish, excerpt(line))
	}
	if m.Tokens < 0 || m.Tokens > maxLine || m.Prompt != nil && *m.Prompt < 0 || m.Cached != nil && *m.Cached < 0 {
		return message{}, fmt.Errorf("%w: %s", errRubbish, excerpt(line))
	}
	return m, nil
}

// tokenLine reads the id of a line of the form {"id":7,"t":…: those come in the timed part, and are not looked into there.
func tokenLine(line []byte) (id int64, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"id":`))
	if !ok {
		return 0, false
	}
	i := bytes.IndexByte(rest, ',')
	if i < 1 || i > 18 || !bytes.HasPrefix(rest[i:], []byte(`,"t":`)) {
		return 0, false
	}
	id, err := strconv.ParseInt(string(rest[:i]), 10, 64)
	return id, err == nil && id > 0
}

// parseHello understands the first line. Errors: ErrProtocol with what came instead.
func parseHello(line []byte, backend string) (hello, error) {
	var h hello
	if err := json.Unmarshal(line, &h); err != nil || h.Version == nil {
		return h, fmt.Errorf("%w: the helper did not begin with its hello line but with %s", drivers.ErrProtocol, excerpt(line))
	}
	if *h.Version != Protocol {
		return h, fmt.Errorf("%w: the helper speaks version %d of the protocol, this llm-speed version %d; they do not belong together", drivers.ErrProtocol, *h.Version, Protocol)
	}
	if h.Backend != backend {
		return h, fmt.Errorf("%w: the helper is one for %q, want %q", drivers.ErrProtocol, h.Backend, backend)
	}
	return h, nil
}

// excerpt quotes the start of what was not understood.
func excerpt(b []byte) string {
	const most = 80
	if len(b) > most {
		return fmt.Sprintf("%q…", b[:most])
	}
	return fmt.Sprintf("%q", b)
}

// errMemory is a failure for want of memory.
var errMemory = errors.New("out of memory")

// err gives the failure as an error that wraps a sentinel of package drivers.
func (f *failure) err() error {
	kind := drivers.ErrServer
	switch f.Kind {
	case "model":
		kind = drivers.ErrModelNotFound
	case "request":
		kind = drivers.ErrBadRequest
	case "context":
		kind = drivers.ErrContextLength
	case "install":
		kind = drivers.ErrNotFound
	case "unsupported":
		kind = drivers.ErrUnsupported
	case "memory":
		return fmt.Errorf("%w: %w: %s", drivers.ErrServer, errMemory, f.Message)
	}
	return fmt.Errorf("%w: the helper says: %s", kind, f.Message)
}
