package drivertest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// End is how a Script ends its answer.
type End uint8

// The ends.
const (
	Clean End = iota // as HTTP says
	Cut              // the connection is closed inside the body
	Reset            // the connection is reset inside the body
	Hang             // nothing more comes, until the client closes
)

// Script is an answer of the server, write by write.
type Script struct {
	Status int               // 200 where 0
	Header map[string]string // Content-Type is text/event-stream where it is not set
	Writes []string          // each is a chunk of its own and a write of its own
	Pause  time.Duration     // before each write but the first
	First  time.Duration     // before the header
	End    End
	Play   *Play // a case of package oracle, served once at its own moments, in place of all the above
}

// Received is a request as the server got it.
type Received struct {
	Method, Path string
	Header       http.Header
	Body         []byte
}

// Server is an HTTP server whose write boundaries, pace and end are chosen. It does not use net/http's server, which would
// choose them itself.
type Server struct {
	URL string

	l      net.Listener
	done   sync.WaitGroup
	mu     sync.Mutex
	plain  map[string]Script // by "METHOD /path"
	got    []Received
	conns  map[net.Conn]bool
	gone   chan struct{} // one for each answer whose client closed before it was over
	closed bool
}

// NewServer starts a server on the loopback address that answers "METHOD /path" with its script and all else with 404. It
// stops with the test.
func NewServer(tb testing.TB, answers map[string]Script) *Server {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	return serveOn(tb, l, answers)
}

func serveOn(tb testing.TB, l net.Listener, answers map[string]Script) *Server {
	tb.Helper()
	s := &Server{URL: "http://" + l.Addr().String(), l: l, plain: map[string]Script{}, conns: map[net.Conn]bool{}, gone: make(chan struct{}, 1024)}
	for k, v := range answers {
		s.plain[k] = v
	}
	s.done.Go(s.accept)
	tb.Cleanup(s.Close)
	return s
}

// JSON is the script of a plain JSON answer.
func JSON(body string) Script {
	return Script{Header: map[string]string{"Content-Type": "application/json"}, Writes: []string{body}}
}

// Play sets the answer to "METHOD /path" from now on.
func (s *Server) Play(route string, script Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plain[route] = script
}

// Requests lists what has been received by a route, oldest first.
func (s *Server) Requests(route string) []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Received
	for _, r := range s.got {
		if r.Method+" "+r.Path == route {
			out = append(out, r)
		}
	}
	return out
}

// Gone waits until a client has closed its connection before its answer was over.
func (s *Server) Gone(within time.Duration) bool {
	select {
	case <-s.gone:
		return true
	case <-time.After(within):
		return false
	}
}

// Close ends the server and its connections.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	_ = s.l.Close()
	s.done.Wait()
}

func (s *Server) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		if s.closed {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.done.Go(func() {
			s.serve(c)
			_ = c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *Server) serve(c net.Conn) {
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		there := time.Now()
		route := r.Method + " " + r.URL.Path
		s.mu.Lock()
		s.got = append(s.got, Received{r.Method, r.URL.Path, r.Header, body})
		script, known := s.plain[route]
		s.mu.Unlock()
		if !known {
			script = JSON(fmt.Sprintf(`{"error":{"message":"no route %s","code":404}}`, route))
			script.Status = http.StatusNotFound
		}
		if p := script.Play; p != nil {
			if !p.Serve(c, there) {
				return
			}
			continue
		}
		if !s.answer(c, br, script) {
			return
		}
	}
}

// answer plays a script; false means that the connection is over.
func (s *Server) answer(c net.Conn, br *bufio.Reader, script Script) bool {
	if script.First > 0 && s.wait(br, c, script.First) {
		return false
	}
	var head strings.Builder
	status := script.Status
	if status == 0 {
		status = http.StatusOK
	}
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\nTransfer-Encoding: chunked\r\n", status, http.StatusText(status))
	if script.Header["Content-Type"] == "" {
		head.WriteString("Content-Type: text/event-stream\r\n")
	}
	for k, v := range script.Header {
		fmt.Fprintf(&head, "%s: %s\r\n", k, v)
	}
	if _, err := io.WriteString(c, head.String()+"\r\n"); err != nil {
		return false
	}
	for i, w := range slices.DeleteFunc(slices.Clone(script.Writes), func(w string) bool { return w == "" }) {
		if i > 0 && script.Pause > 0 && s.wait(br, c, script.Pause) {
			return false
		}
		if _, err := fmt.Fprintf(c, "%x\r\n%s\r\n", len(w), w); err != nil {
			s.left()
			return false
		}
	}
	switch script.End {
	case Cut:
		_, _ = io.WriteString(c, "40\r\n")
		return false
	case Reset:
		time.Sleep(20 * time.Millisecond) // let the client read what was sent: a reset may overtake it
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		return false
	case Hang:
		s.wait(br, c, time.Minute)
		return false
	}
	_, err := io.WriteString(c, "0\r\n\r\n")
	return err == nil
}

// wait waits, and reports whether the client closed meanwhile.
func (s *Server) wait(br *bufio.Reader, c net.Conn, d time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(d))
	_, err := br.Peek(1)
	_ = c.SetReadDeadline(time.Time{})
	var ne net.Error
	if err == nil || errors.As(err, &ne) && ne.Timeout() {
		return false
	}
	s.left()
	return true
}

func (s *Server) left() {
	select {
	case s.gone <- struct{}{}:
	default:
	}
}
