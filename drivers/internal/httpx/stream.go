package httpx

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// maxBody bounds what is kept of one stream.
const maxBody = 256 << 20

// blockSize is the size of the blocks that a body is read into, and the most that one socket read takes. keptBlocks of them
// wait for the next stream, so that a stream's memory is there before its clock starts.
const (
	blockSize  = 256 << 10
	leastRead  = 32 << 10 // a block with less room left is full
	keptBlocks = 64
	headBuffer = 16 << 10
)

// Post is a timed request. Body is complete before the clock starts.
type Post struct {
	Path     string            // below the base URL
	Body     []byte            // JSON
	Protocol string            // into Recording.Protocol
	Sent     map[string]string // into Recording.Sent
	Request  drivers.Request   // Hold, Tap and the deadlines are used

	// Began reports whether what has come so far holds text. It is asked only after a silence as long as the idle limit, so
	// that the read path never decodes; nil takes any body byte for text.
	Began func(stream.Recording) bool
}

// Stream sends p and keeps what comes back, bytes and stamps, until the body ends. The recording is valid, and holds all
// that was read, also with an error; the error is nil for every HTTP status.
func (c *Client) Stream(ctx context.Context, p Post) (stream.Recording, error) {
	rec := stream.Recording{Protocol: p.Protocol, Sent: p.Sent, Outcome: stream.Cut}
	fail := func(kind error, err error) (stream.Recording, error) {
		rec.End = c.clock.Now()
		switch {
		case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
			rec.Outcome, kind, err = stream.Deadline, drivers.ErrTimeout, context.Cause(ctx)
		case ctx.Err() != nil:
			rec.Outcome, kind, err = stream.Canceled, context.Canceled, context.Cause(ctx)
		case errors.Is(kind, drivers.ErrTimeout):
			rec.Outcome = stream.Deadline
		}
		if !errors.Is(err, kind) {
			err = fmt.Errorf("%w: %w", kind, err)
		}
		err = c.Redact(err)
		rec.Fault = err.Error()
		return rec, err
	}
	k, err := c.connect(ctx)
	if err != nil {
		return fail(drivers.ErrUnreachable, err)
	}
	rec.Conn = k.how
	clean := false
	defer func() {
		if clean {
			c.keep(k)
		} else {
			_ = k.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = k.SetDeadline(past) })
	defer stop()

	head := c.requestHead(p.Path, len(p.Body))
	rec.Request = len(head) + len(p.Body)
	raw := append(head, p.Body...)
	in := &intake{c: c, k: k, ctx: ctx, rec: &rec, tap: p.Request.Tap, first: p.Request.FirstByteWithin, idle: p.Request.IdleWithin, began: p.Began, block: c.takeBlock()}
	in.head = bufio.NewReaderSize(in, headBuffer)
	rec.Reads = make([]stream.Read, 0, 1024)
	defer in.release()
	if p.Request.Hold != nil {
		if rec.Sched, err = p.Request.Hold(ctx); err != nil {
			return fail(context.Canceled, err)
		}
	}
	if in.first > 0 {
		in.setDeadline(time.Now().Add(in.first))
	}
	rec.Send = c.clock.Now()
	if rec.Sched == 0 {
		rec.Sched = rec.Send
	}
	if _, err = k.Write(raw); err != nil {
		// The server may have answered and closed before it had read everything (413): look for that answer.
		in.setDeadline(time.Now().Add(time.Second))
	}
	raw = nil //nolint:ineffassign,wastedassign // lets go of up to a megabyte before the response is kept
	readErr := in.run()
	rec.Data = in.join()
	rec.End = c.clock.Now()
	if readErr != nil {
		if err != nil && rec.Status == 0 {
			readErr = err
		}
		switch {
		case isTimeout(readErr):
			if in.why == nil { // the last try of an answer to a request that could not be written
				in.why = err
			}
			return fail(drivers.ErrTimeout, in.why)
		case errors.Is(readErr, errNotHTTP):
			return fail(drivers.ErrProtocol, readErr)
		}
		return fail(drivers.ErrReset, tidy(readErr))
	}
	rec.Outcome = stream.Complete
	clean = in.keepAlive && ctx.Err() == nil && stop()
	if clean {
		clean = k.SetDeadline(time.Time{}) == nil
	}
	return rec, nil
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// tidy takes the addresses out of a network error: they say nothing that the URL does not.
func tidy(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server closed the connection")
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func (c *Client) requestHead(path string, body int) []byte {
	var b bytes.Buffer
	target := c.base.Path + path
	if c.proxy != nil && c.base.Scheme == "http" { // a proxy has to be told the server
		target = "http://" + c.base.Host + target
	}
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\nContent-Length: %d\r\n", target, c.base.Host, body)
	if c.proxy != nil && c.base.Scheme == "http" && c.proxy.auth != "" {
		fmt.Fprintf(&b, "Proxy-Authorization: %s\r\n", c.proxy.auth)
	}
	_ = c.header.Write(&b)
	b.WriteString("\r\n")
	return b.Bytes()
}

var errNotHTTP = errors.New("the answer is not HTTP")

// intake is the read path of one stream: read, stamp, take the payload out of its chunks, keep it.
type intake struct {
	c   *Client
	k   *conn
	ctx context.Context //nolint:containedctx // an intake lives as long as one call of Stream
	rec *stream.Recording
	tap *stream.Tap

	head      *bufio.Reader // reads the response's header through in
	blocks    [][]byte      // full
	block     []byte        // being filled
	total     int
	first     time.Duration // deadline from the send to the first text; 0: none
	idle      time.Duration // longest silence after it; 0: none
	began     func(stream.Recording) bool
	text      bool          // the answer's text has begun, as far as was looked
	idling    bool          // the idle deadline was armed
	why       error         // the limit that was passed
	at        time.Duration // stamp of the last socket read
	failed    error         // its error
	keepAlive bool
}

// mostBeforeText is more than a body holds before its text begins: role, comments and progress.
const mostBeforeText = 64 << 10

// past is a deadline that wakes every read and write at once.
var past = time.Unix(1, 0)

// setDeadline moves the connection's deadline; the zero time is none. A cancellation that came before stays in force.
func (in *intake) setDeadline(t time.Time) {
	_ = in.k.SetDeadline(t)
	if in.ctx.Err() != nil {
		_ = in.k.SetDeadline(past)
	}
}

// The deadlines of a stream. Until its text begins the limit is the first one, counted from the send, or the idle one where
// that ends later: a role event or a comment may come long before the prompt is worked through. From then on silence
// counts. To spare the read path, a deadline is not moved by the reads: it is armed once, at the first body byte, and when
// it fires, extend looks when the last read was, and whether there was text, and arms it again for what is left.

// watch arms the idle deadline at the first body byte.
func (in *intake) watch() {
	if in.idle > 0 && in.total > 0 && !in.idling {
		in.idling = true
		in.setDeadline(time.Now().Add(in.idle))
	}
}

// extend is asked when the deadline has fired. It arms the next one, or says in why which limit was passed.
func (in *intake) extend() bool {
	if in.ctx.Err() != nil {
		return false
	}
	now := in.c.clock.Now()
	if in.total == 0 {
		if in.first > 0 {
			in.why = fmt.Errorf("no byte of the answer within %s", in.first.Round(time.Millisecond))
		}
		return false
	}
	left := in.at + in.idle - now
	if in.idle > 0 && left > tick {
		in.setDeadline(time.Now().Add(left))
		return true
	}
	if in.hasText() {
		if in.idle > 0 {
			in.why = fmt.Errorf("silence inside the stream within %s", in.idle.Round(time.Millisecond))
			return false
		}
		in.setDeadline(time.Time{})
		return true
	}
	if in.first == 0 {
		in.setDeadline(time.Time{})
		return true
	}
	if left = in.rec.Send + in.first - now; left > tick {
		in.setDeadline(time.Now().Add(left))
		return true
	}
	in.why = fmt.Errorf("no text of the answer within %s, only %d bytes without text, and then silence for %s",
		(now - in.rec.Send).Round(10*time.Millisecond), in.total, (now - in.at).Round(time.Millisecond))
	return false
}

// tick is how much too early a deadline may seem to have fired: timers and the run's clock are read at different moments.
const tick = time.Millisecond

// hasText reports whether the answer's text has begun. An error answer counts as text.
func (in *intake) hasText() bool {
	if !in.text {
		in.text = in.began == nil || in.rec.Status >= 400 || in.total > mostBeforeText
	}
	if !in.text {
		so := *in.rec
		so.Data = in.join()
		in.text = in.began(so)
	}
	return in.text
}

// Read reads the socket once and stamps the return. It is what the header parser reads through.
func (in *intake) Read(p []byte) (int, error) {
	before := in.c.clock.Now()
	if in.at > 0 {
		in.rec.ReadLag = max(in.rec.ReadLag, before-in.at)
	}
	n, err := in.k.Read(p)
	for n == 0 && isTimeout(err) {
		fired := in.c.clock.Now()
		if !in.extend() {
			break
		}
		in.rec.ReadLag = max(in.rec.ReadLag, in.c.clock.Now()-fired)
		n, err = in.k.Read(p)
	}
	if n == 0 && isTimeout(err) {
		in.failed = err
		return 0, err // the end of a wait is no read
	}
	in.at, in.failed = in.c.clock.Now(), err
	if n > 0 && in.rec.FirstByte == 0 {
		in.rec.FirstByte = in.at
	}
	return n, err
}

// run reads the response to its end.
func (in *intake) run() error {
	var resp *http.Response
	for {
		var err error
		if resp, err = http.ReadResponse(in.head, &http.Request{Method: http.MethodPost}); err != nil { //nolint:bodyclose // the body is read from the socket itself
			if in.failed != nil {
				return in.failed // what the parser makes of a header that was cut off says less
			}
			if speaksHTTP2(err) {
				return fmt.Errorf("%w/1.1: the server speaks HTTP/2 only; put a gateway before it that speaks HTTP/1.1", errNotHTTP)
			}
			return fmt.Errorf("%w: %w", errNotHTTP, err)
		}
		if resp.StatusCode >= 200 {
			break
		}
	}
	in.rec.Status = resp.StatusCode
	in.rec.Header = keptHeaders(resp.Header)
	in.c.noteServer(resp.Header)
	in.keepAlive = !resp.Close && resp.ProtoAtLeast(1, 1)
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return fmt.Errorf("%w: the body is encoded as %q although identity was asked", errNotHTTP, e)
	}
	body := framing{left: resp.ContentLength}
	if len(resp.TransferEncoding) > 0 && resp.TransferEncoding[0] == "chunked" {
		body.chunked = true
	} else if resp.ContentLength < 0 {
		in.keepAlive = false
	}
	n, _ := io.ReadFull(in.head, in.room()[:in.head.Buffered()]) // body bytes that came with the header, under their stamp
	for {
		done, err := in.take(&body, n)
		if done || err != nil {
			return err
		}
		in.watch()
		n, err = in.Read(in.room())
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) && body.endsAtClose() {
				return nil
			}
			return err
		}
	}
}

// room is where the next read goes: what is left of the block, or a new block where that is little.
func (in *intake) room() []byte {
	if cap(in.block)-len(in.block) < leastRead {
		in.blocks = append(in.blocks, in.block)
		in.block = in.c.takeBlock()
	}
	return in.block[len(in.block):cap(in.block)]
}

// take keeps the payload of one read, n bytes that lie in room, and notes the read. The payload is moved together where it
// lies.
func (in *intake) take(body *framing, n int) (done bool, err error) {
	before := in.total
	p := in.block[len(in.block) : len(in.block)+n]
	for len(p) > 0 && !done {
		var payload []byte
		if payload, p, done, err = body.next(p); err != nil {
			break
		}
		in.block = append(in.block, payload...) // never past where payload lies
		in.total += len(payload)
	}
	if body.empty() {
		done = true
	}
	if in.total > before {
		in.rec.Reads = append(in.rec.Reads, stream.Read{End: in.total, At: in.at})
		in.tap.Add(in.total - before)
	}
	if err == nil && in.total > maxBody {
		return false, fmt.Errorf("%w: more than %d MiB", errNotHTTP, maxBody>>20)
	}
	return done, err
}

// join gives the body in one piece.
func (in *intake) join() []byte { return bytes.Join(append(in.blocks, in.block), nil) }

// release gives the blocks back.
func (in *intake) release() {
	in.c.giveBlocks(append(in.blocks, in.block))
	in.blocks, in.block = nil, nil
}

// framing takes the payload out of a body's transfer encoding as it comes, so that a read never waits for the rest of a
// chunk before it is stamped (net/http's chunked reader does).
type framing struct {
	chunked bool
	left    int64 // payload bytes left in this chunk, or in the body; below 0: until the connection closes
	state   chunkState
	size    int64 // chunk size being read
	digits  int
	line    int // bytes in the current trailer line
}

type chunkState uint8

const (
	inSize chunkState = iota
	inExtension
	sizeLF
	inPayload
	payloadCR
	payloadLF
	inTrailer
)

func (f *framing) endsAtClose() bool { return !f.chunked && f.left < 0 }

func (f *framing) empty() bool { return !f.chunked && f.left == 0 }

var errChunk = fmt.Errorf("%w: broken chunked encoding", errNotHTTP)

// next gives the payload at the start of p and what follows it; done means that the body has ended.
func (f *framing) next(p []byte) (payload, rest []byte, done bool, err error) {
	if !f.chunked {
		if f.left < 0 {
			return p, nil, false, nil
		}
		n := min(int64(len(p)), f.left)
		f.left -= n
		return p[:n], p[n:], f.left == 0, nil
	}
	for i, b := range p {
		switch f.state {
		case inSize:
			switch d, ok := hexDigit(b); {
			case ok:
				if f.digits++; f.digits > 15 {
					return nil, nil, false, errChunk
				}
				f.size = f.size<<4 | d
			case f.digits > 0 && b == '\r':
				f.state = sizeLF
			case f.digits > 0 && (b == ';' || b == ' ' || b == '\t'):
				f.state = inExtension
			case f.digits > 0 && b == '\n':
				f.chunkBegins()
			default:
				return nil, nil, false, errChunk
			}
		case inExtension:
			if b == '\n' {
				f.chunkBegins()
			}
		case sizeLF:
			if b != '\n' {
				return nil, nil, false, errChunk
			}
			f.chunkBegins()
		case inPayload:
			n := min(int64(len(p)-i), f.left)
			if f.left -= n; f.left == 0 {
				f.state = payloadCR
			}
			return p[i : i+int(n)], p[i+int(n):], false, nil
		case payloadCR:
			switch b {
			case '\r':
				f.state = payloadLF
			case '\n':
				f.state, f.size, f.digits = inSize, 0, 0
			default:
				return nil, nil, false, errChunk
			}
		case payloadLF:
			if b != '\n' {
				return nil, nil, false, errChunk
			}
			f.state, f.size, f.digits = inSize, 0, 0
		case inTrailer:
			switch {
			case b == '\n' && f.line == 0:
				return nil, p[i+1:], true, nil
			case b == '\n':
				f.line = 0
			case b != '\r':
				f.line++
			}
		}
	}
	return nil, nil, false, nil
}

func (f *framing) chunkBegins() {
	f.left, f.state = f.size, inPayload
	if f.size == 0 {
		f.state, f.line = inTrailer, 0
	}
}

func hexDigit(b byte) (int64, bool) {
	switch {
	case b >= '0' && b <= '9':
		return int64(b - '0'), true
	case b >= 'a' && b <= 'f':
		return int64(b-'a') + 10, true
	case b >= 'A' && b <= 'F':
		return int64(b-'A') + 10, true
	}
	return 0, false
}

// RetryAfter reads a Retry-After header, seconds or a date; 0 where there is none.
func RetryAfter(value string, now time.Time) time.Duration {
	if s, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && s >= 0 && s < 1e6 {
		return time.Duration(s * float64(time.Second))
	}
	if t, err := http.ParseTime(value); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}
