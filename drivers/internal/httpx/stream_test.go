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
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// serve runs a handler for each connection of a loopback listener and gives the URL. The handler's return closes the
// connection.
func serve(t *testing.T, handle func(n int, c *net.TCPConn, br *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(n, c.(*net.TCPConn), bufio.NewReader(c))
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// take reads a request off a connection; false when there is none.
func take(br *bufio.Reader) ([]byte, bool) {
	r, err := http.ReadRequest(br)
	if err != nil {
		return nil, false
	}
	b, err := io.ReadAll(r.Body)
	return b, err == nil
}

func client(t *testing.T, url string) *Client {
	t.Helper()
	c, err := New(url, drivers.Secret{}, nil, clock.New())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var post = Post{Path: "/x", Body: []byte(`{"a":1}`), Protocol: "p"}

const chunkedHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

func TestStreamResponses(t *testing.T) {
	for _, c := range []struct {
		name, response string
		close          bool // the server closes after it
		status         int
		data           string
		want           error
		reused         bool // the connection carries the next stream
	}{
		{"chunked", chunkedHead + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", false, 200, "abcde", nil, true},
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", false, 200, "abcde", nil, true},
		{"length 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, 200, "", nil, true},
		{"no body by its status", "HTTP/1.1 204 No Content\r\n\r\n", false, 204, "", nil, true},
		{"error with a body", "HTTP/1.1 429 Too Many\r\nContent-Length: 4\r\n\r\nslow", false, 429, "slow", nil, true},
		{"asked to close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab", false, 200, "ab", nil, false},
		{"to the end of the connection", "HTTP/1.1 200 OK\r\n\r\nabcde", true, 200, "abcde", nil, false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nabcde", true, 200, "abcde", nil, false},
		{"1xx first", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + chunkedHead + "1\r\na\r\n0\r\n\r\n", false, 200, "a", nil, true},
		{"trailers", chunkedHead + "1\r\na\r\n0\r\nX: y\r\n\r\n", false, 200, "a", nil, true},
		{"gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", false, 200, "", drivers.ErrProtocol, false},
		{"not HTTP", "hello there\r\n\r\n", true, 0, "", drivers.ErrProtocol, false},
		{"broken chunks", chunkedHead + "3\r\nabc\r\nzz\r\n", false, 200, "abc", drivers.ErrProtocol, false},
		{"nothing", "", true, 0, "", drivers.ErrReset, false},
		{"closed in the header", "HTTP/1.1 200 OK\r\nContent-", true, 0, "", drivers.ErrReset, false},
		{"closed in a chunk", chunkedHead + "5\r\nabc", true, 200, "abc", drivers.ErrReset, false},
		{"closed between chunks", chunkedHead + "3\r\nabc\r\n", true, 200, "abc", drivers.ErrReset, false},
		{"closed before the length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", true, 200, "abc", drivers.ErrReset, false},
	} {
		for _, step := range []int{1 << 20, 1} {
			t.Run(fmt.Sprintf("%s by %d", c.name, step), func(t *testing.T) {
				cl := client(t, serve(t, func(_ int, k *net.TCPConn, br *bufio.Reader) {
					_ = k.SetNoDelay(true)
					for {
						if _, ok := take(br); !ok {
							return
						}
						for p := c.response; p != ""; {
							n := min(step, len(p))
							_, _ = io.WriteString(k, p[:n])
							p = p[n:]
						}
						if c.close {
							return
						}
					}
				}))
				rec, err := cl.Stream(t.Context(), post)
				if (c.want == nil) != (err == nil) || c.want != nil && !errors.Is(err, c.want) {
					t.Fatalf("got %v, want %v", err, c.want)
				}
				if rec.Status != c.status || string(rec.Data) != c.data || rec.Protocol != "p" {
					t.Errorf("status %d, data %q", rec.Status, rec.Data)
				}
				wantOutcome := stream.Complete
				if c.want != nil {
					wantOutcome = stream.Cut
				}
				if rec.Outcome != wantOutcome || (rec.Fault != "") != (c.want != nil) {
					t.Errorf("outcome %s, fault %q", rec.Outcome, rec.Fault)
				}
				inOrder(t, &rec)
				again, _ := cl.Stream(t.Context(), post)
				if again.Conn.Reused != c.reused {
					t.Errorf("the next stream's connection: %+v, want reused %v", again.Conn, c.reused)
				}
			})
		}
	}
}

// inOrder checks what holds for every recording.
func inOrder(t *testing.T, rec *stream.Recording) {
	t.Helper()
	if rec.Send <= 0 || rec.Sched > rec.Send || rec.End < rec.Send {
		t.Errorf("sched %v, send %v, end %v", rec.Sched, rec.Send, rec.End)
	}
	at, end := rec.Send, 0
	if rec.FirstByte > 0 {
		if rec.FirstByte < at {
			t.Errorf("first byte %v before send %v", rec.FirstByte, rec.Send)
		}
		at = rec.FirstByte
	}
	for i, r := range rec.Reads {
		if r.At < at || r.End <= end || r.At > rec.End {
			t.Errorf("read %d: %+v after %v, %d", i, r, at, end)
		}
		at, end = r.At, r.End
	}
	if end != len(rec.Data) {
		t.Errorf("the reads end at %d of %d bytes", end, len(rec.Data))
	}
}

func TestStreamStampsEachRead(t *testing.T) {
	const pause = 20 * time.Millisecond
	cl := client(t, serve(t, func(_ int, k *net.TCPConn, br *bufio.Reader) {
		if _, ok := take(br); !ok {
			return
		}
		time.Sleep(pause)
		_, _ = io.WriteString(k, chunkedHead)
		for range 4 {
			time.Sleep(pause)
			_, _ = io.WriteString(k, "8\r\ndata: a\n\r\n")
		}
		time.Sleep(pause)
		_, _ = io.WriteString(k, "0\r\n\r\n")
	}))
	rec, err := cl.Stream(t.Context(), post)
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Reads) != 4 {
		t.Fatalf("%d reads with payload, want 4", len(rec.Reads))
	}
	inOrder(t, &rec)
	last := rec.Send
	for i, at := range []time.Duration{rec.FirstByte, rec.Reads[0].At, rec.Reads[1].At, rec.Reads[2].At, rec.Reads[3].At, rec.End} {
		if gap := at - last; gap < pause-time.Millisecond || gap > 5*pause {
			t.Errorf("gap %d is %v, want about %v", i, gap, pause)
		}
		last = at
	}
	if rec.ReadLag > 100*time.Millisecond {
		t.Errorf("read lag %v", rec.ReadLag)
	}
}

// TestStreamBodyWithHeader: the first event often comes in one packet with the header, and must not be lost or late.
func TestStreamBodyWithHeader(t *testing.T) {
	big := strings.Repeat("x", 40_000)
	cl := client(t, serve(t, func(_ int, k *net.TCPConn, br *bufio.Reader) {
		for {
			if _, ok := take(br); !ok {
				return
			}
			_, _ = io.WriteString(k, chunkedHead+"3\r\nabc\r\n"+fmt.Sprintf("%x\r\n%s\r\n", len(big), big))
			time.Sleep(30 * time.Millisecond)
			_, _ = io.WriteString(k, "1\r\nd\r\n0\r\n\r\n")
		}
	}))
	for range 2 {
		rec, err := cl.Stream(t.Context(), post)
		if err != nil || string(rec.Data) != "abc"+big+"d" {
			t.Fatalf("%d bytes, %v", len(rec.Data), err)
		}
		inOrder(t, &rec)
		if rec.Reads[0].At != rec.FirstByte {
			t.Errorf("the first read %v, first byte %v", rec.Reads[0].At, rec.FirstByte)
		}
	}
}

func TestStreamReplacesAConnectionThatThePeerClosed(t *testing.T) {
	closed := make(chan struct{})
	cl := client(t, serve(t, func(n int, k *net.TCPConn, br *bufio.Reader) {
		for {
			if _, ok := take(br); !ok {
				return
			}
			_, _ = io.WriteString(k, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
			if n == 0 {
				_ = k.Close()
				close(closed)
				return
			}
		}
	}))
	first, err := cl.Stream(t.Context(), post)
	if err != nil {
		t.Fatal(err)
	}
	<-closed
	time.Sleep(10 * time.Millisecond) // for the FIN to arrive
	held := clockDuring(cl)
	p := post
	p.Request.Hold = held.hold
	second, err := cl.Stream(t.Context(), p)
	if err != nil || second.Conn.Reused || second.Conn.Connect <= 0 || first.Conn.Connect <= 0 {
		t.Fatalf("%v, connections %+v, %+v", err, first.Conn, second.Conn)
	}
	if len(cl.RTT()) != 2 {
		t.Errorf("%d connects, want 2", len(cl.RTT()))
	}
	if !held.called || second.Send < held.at {
		t.Errorf("the new connection was not there before the send")
	}
	third, err := cl.Stream(t.Context(), post)
	if err != nil || !third.Conn.Reused || third.Conn.Connect != 0 {
		t.Errorf("%v, %+v", err, third.Conn)
	}
	time.Sleep(idleLimit + 10*time.Millisecond)
	fourth, err := cl.Stream(t.Context(), post)
	if err != nil || fourth.Conn.Reused {
		t.Errorf("%v: a connection that was idle for %v was used again, which the server may be closing", err, idleLimit)
	}
}

// held notes when Hold was called: everything before it is preparation.
type held struct {
	c      *Client
	called bool
	at     time.Duration
}

func clockDuring(c *Client) *held { return &held{c: c} }

func (h *held) hold(context.Context) (time.Duration, error) {
	h.called, h.at = true, h.c.clock.Now()
	return h.at, nil
}

func TestStreamAnswerBeforeTheWholeRequest(t *testing.T) {
	cl := client(t, serve(t, func(_ int, k *net.TCPConn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err != nil { // the body is left unread
			return
		}
		_, _ = io.WriteString(k, "HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
		_ = k.CloseWrite()
		time.Sleep(50 * time.Millisecond)
	}))
	p := post
	p.Body = bytes.Repeat([]byte{'x'}, 32<<20)
	rec, err := cl.Stream(t.Context(), p)
	if err != nil || rec.Status != 413 || string(rec.Data) != "too large" {
		t.Errorf("status %d, data %q, %v", rec.Status, rec.Data, err)
	}
}

func TestStreamCancelWinsOverDeadlines(t *testing.T) {
	// Reads go on all the time, so that deadlines are moved all the time; the cancellation must not get lost among them.
	cl := client(t, serve(t, func(_ int, k *net.TCPConn, br *bufio.Reader) {
		if _, ok := take(br); !ok {
			return
		}
		_, err := io.WriteString(k, chunkedHead)
		for err == nil {
			_, err = io.WriteString(k, "1\r\na\r\n")
			time.Sleep(50 * time.Microsecond)
		}
	}))
	for i := range 20 {
		p := post
		p.Request.FirstByteWithin, p.Request.IdleWithin = time.Minute, time.Microsecond*4_000_000
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		time.AfterFunc(time.Duration(i)*time.Millisecond, func() { cancel(why) })
		began := time.Now()
		rec, err := cl.Stream(ctx, p)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, why) || rec.Outcome != stream.Canceled {
			t.Fatalf("%v, outcome %s", err, rec.Outcome)
		}
		if took := time.Since(began); took > time.Duration(i)*time.Millisecond+2*time.Second {
			t.Fatalf("took %v", took)
		}
	}
}

func TestStreamDeadlines(t *testing.T) {
	cl := client(t, serve(t, func(_ int, k *net.TCPConn, br *bufio.Reader) {
		if _, ok := take(br); !ok {
			return
		}
		_, _ = io.WriteString(k, chunkedHead)
		for range 10 {
			time.Sleep(20 * time.Millisecond)
			_, _ = io.WriteString(k, "1\r\na\r\n")
		}
		_, _ = br.Peek(1)
	}))
	for _, c := range []struct {
		name        string
		first, idle time.Duration
		data        string
		said        string
	}{
		{"first byte", 10 * time.Millisecond, time.Minute, "", "no byte of the answer"},
		{"silence after a slow start", 0, 60 * time.Millisecond, "aaaaaaaaaa", "silence inside the stream within 60ms"},
		{"silence, the first byte's deadline long past", 100 * time.Millisecond, 60 * time.Millisecond, "aaaaaaaaaa", "silence inside the stream within 60ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := post
			p.Request.FirstByteWithin, p.Request.IdleWithin = c.first, c.idle
			rec, err := cl.Stream(t.Context(), p)
			if !errors.Is(err, drivers.ErrTimeout) || rec.Outcome != stream.Deadline || string(rec.Data) != c.data || !strings.Contains(rec.Fault, c.said) {
				t.Errorf("%v, outcome %s, data %q, fault %q", err, rec.Outcome, rec.Data, rec.Fault)
			}
		})
	}
}

// TestStreamDeadlineBeforeText holds the limits while a stream has sent a role and comments, but no text.
func TestStreamDeadlineBeforeText(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name        string
		writes      []string // a chunk each
		pauses      []time.Duration
		first, idle time.Duration
		said        string // "" where all comes
		least, most time.Duration
	}{
		{"a role, then a prefill longer than the idle limit", []string{"role\n", "TEXT"}, []time.Duration{0, 150 * ms}, time.Second, 50 * ms, "", 150 * ms, 800 * ms},
		{"comments do not begin the text", []string{"role\n", ":\n", ":\n", ":\n", ":\n", "TEXT"}, []time.Duration{0, 10 * ms, 10 * ms, 10 * ms, 10 * ms, 150 * ms}, time.Second, 50 * ms, "", 150 * ms, 800 * ms},
		{"no text within the first limit", []string{"role\n", "TEXT"}, []time.Duration{0, time.Minute}, 150 * ms, 40 * ms, "no text of the answer within", 140 * ms, 600 * ms},
		{"the idle limit ends later", []string{"role\n", "TEXT"}, []time.Duration{0, time.Minute}, 30 * ms, 150 * ms, "no text of the answer within", 140 * ms, 600 * ms},
		{"no first limit", []string{"role\n", "TEXT"}, []time.Duration{0, 150 * ms}, 0, 30 * ms, "", 150 * ms, 800 * ms},
		{"no idle limit", []string{"role\n", "TEXT"}, []time.Duration{0, time.Minute}, 100 * ms, 0, "no text of the answer within", 90 * ms, 600 * ms},
		{"no idle limit, text", []string{"TEXT", "more"}, []time.Duration{0, 200 * ms}, 80 * ms, 0, "", 190 * ms, 800 * ms},
		{"silence after text", []string{"role\n", "TEXT", "never"}, []time.Duration{0, 60 * ms, time.Minute}, time.Minute, 100 * ms, "silence inside the stream within 100ms", 150 * ms, 600 * ms},
		{"exactly the idle limit, counted from the last read", []string{"TEXT", "a", "b", "never"}, []time.Duration{0, 200 * ms, 20 * ms, time.Minute}, time.Minute, 400 * ms, "silence inside the stream within 400ms", 610 * ms, 700 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := client(t, serve(t, func(_ int, k *net.TCPConn, br *bufio.Reader) {
				if _, ok := take(br); !ok {
					return
				}
				_ = k.SetNoDelay(true)
				_, _ = io.WriteString(k, chunkedHead)
				gone := make(chan struct{})
				go func() { _, _ = br.Peek(1); close(gone) }()
				for i, w := range c.writes {
					select {
					case <-gone:
						return
					case <-time.After(c.pauses[i]):
					}
					_, _ = fmt.Fprintf(k, "%x\r\n%s\r\n", len(w), w)
				}
				_, _ = io.WriteString(k, "0\r\n\r\n")
			}))
			p := post
			p.Request.FirstByteWithin, p.Request.IdleWithin = c.first, c.idle
			p.Began = func(rec stream.Recording) bool { return bytes.Contains(rec.Data, []byte("TEXT")) }
			began := time.Now()
			rec, err := cl.Stream(t.Context(), p)
			took := time.Since(began)
			switch {
			case c.said == "" && (err != nil || string(rec.Data) != strings.Join(c.writes, "")):
				t.Errorf("%v, data %q", err, rec.Data)
			case c.said != "" && (!errors.Is(err, drivers.ErrTimeout) || rec.Outcome != stream.Deadline || !strings.Contains(rec.Fault, c.said)):
				t.Errorf("%v, outcome %s, fault %q", err, rec.Outcome, rec.Fault)
			}
			if took < c.least || took > c.most+time.Second { // a busy machine is no defect; a limit that is not kept is minutes
				t.Errorf("took %v, want %v to %v", took, c.least, c.most)
			}
		})
	}
}

func TestStreamBlocksAreNotShared(t *testing.T) {
	// A recording's data must not change when its memory serves the next stream, also past the size of one block.
	sizes := []int{10, 3 * blockSize, 10}
	cl := client(t, serve(t, func(_ int, k *net.TCPConn, br *bufio.Reader) {
		for i := 0; ; i++ {
			if _, ok := take(br); !ok {
				return
			}
			fill := strings.Repeat(string(rune('a'+i)), sizes[i])
			_, _ = io.WriteString(k, fmt.Sprintf("%s%x\r\n%s\r\n0\r\n\r\n", chunkedHead, len(fill), fill))
		}
	}))
	var recs []stream.Recording
	for range sizes {
		rec, err := cl.Stream(t.Context(), post)
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, rec)
	}
	for i, rec := range recs {
		if want := strings.Repeat(string(rune('a'+i)), sizes[i]); string(rec.Data) != want {
			t.Errorf("stream %d: %d bytes, want %d of %q", i, len(rec.Data), len(want), want[:1])
		}
	}
}

func TestStreamAfterClose(t *testing.T) {
	cl := client(t, "127.0.0.1:1")
	cl.Close()
	if _, err := cl.Stream(t.Context(), post); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestRedact(t *testing.T) {
	c, err := New("host", drivers.NewSecret("sk-123"), nil, clock.New())
	if err != nil {
		t.Fatal(err)
	}
	got := c.Redact(fmt.Errorf("open: %w", &drivers.APIError{Kind: drivers.ErrAuth, Status: 401, Message: "bad key sk-123"}))
	var api *drivers.APIError
	if got.Error() != "open: not authorised (HTTP 401): bad key ***" || !errors.Is(got, drivers.ErrAuth) || !errors.As(got, &api) || api.Message != "bad key ***" {
		t.Errorf("%v, %+v", got, api)
	}
	c, err = New("http://bob:pa%20ss%2F1@host", drivers.Secret{}, nil, clock.New())
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{"pa ss/1", "bob:pa ss/1", "bob:pa%20ss%2F1", "pa%20ss%2F1", "Basic Ym9iOnBhIHNzLzE="} {
		if got := c.Redact(fmt.Errorf("refused %q", said)).Error(); got != `refused "***"` && got != `refused "Basic ***"` {
			t.Errorf("%q: %s", said, got)
		}
	}
	if c, err = New("http://a:b@host", drivers.Secret{}, nil, clock.New()); err != nil || c.Redact(errors.New("a bad b, a:b")).Error() != "a bad b, ***" {
		t.Errorf("a short password: %v, %q", err, c.Secrets())
	}
	if plain := errors.New("x"); c.Redact(plain) != plain || c.Redact(nil) != nil {
		t.Error("an error without the key was changed")
	}
}

func TestParseBase(t *testing.T) {
	for _, c := range []struct{ in, want, kind string }{
		{"localhost:8080", "http://localhost:8080", "loopback"}, {"http://127.0.0.1:1/v1/", "http://127.0.0.1:1/v1", "loopback"},
		{"https://api.example.com/x?y=1#z", "https://api.example.com/x", "remote"}, {"[::1]:80", "http://[::1]:80", "loopback"},
		{"192.168.1.5:1", "http://192.168.1.5:1", "lan"}, {"box:1", "http://box:1", "lan"}, {"8.8.8.8", "http://8.8.8.8", "remote"},
	} {
		u, err := ParseBase(c.in)
		if err != nil || u.String() != c.want || KindOf(u) != c.kind {
			t.Errorf("%s: %v, %v", c.in, u, err)
		}
	}
	for _, in := range []string{"", "ftp://x", "http://", "http://u:secret@%zz"} {
		if u, err := ParseBase(in); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v", in, u, err)
		}
	}
}
