// Package sim is a simulated inference server with a known timetable: an OpenAI-like HTTP server on the loopback interface
// that reads prompts, keeps a prefix cache and writes tokens at the moments that a Profile lays down, in real time. It
// misbehaves on request (Traps) and keeps the truth about everything it served (Served). It answers as another server does
// where it is told to (Dialects): in each one's paths, requests, streams and words, by the same timetable.
//
// It computes no language model, measures nothing but its own writes, and never listens anywhere but on loopback. Its
// figures describe no real machine.
package sim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what to start. The zero value is the first profile on a free port.
type Options struct {
	Profile      Profile   // the zero value is the first of Profiles
	Dialect      string    // one of Dialects; empty is Own
	Traps        Traps     //
	Addr         string    // host:port on loopback; empty is 127.0.0.1:0
	Log          io.Writer // gets a JSON line for every completion; may be nil
	Context      int       // tokens one stream may use; 0 is the profile's
	Slots        int       // streams at once; 0 is the profile's
	CacheBlock   int       // granularity of the prefix cache, tokens; 0 is the dialect's
	CacheEntries int       // requests that the cache remembers; 0 is 32
}

// Server is a running simulator.
type Server struct {
	o        Options
	listener net.Listener
	origin   time.Time
	table    *timetable
	journal  *journal
	dialect  *dialect
	traps    atomic.Pointer[Traps]
	ids      atomic.Int64 // completions received
	stop     func() bool

	preparing sync.Mutex // held while a request is understood and planned

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	wg     sync.WaitGroup
}

// Start starts a simulator; it ends with ctx or Close.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Profile.Name == "" {
		o.Profile = Profiles()[0]
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Context > 0 {
		o.Profile.Context = o.Context
	}
	if o.Slots > 0 {
		o.Profile.Slots = o.Slots
	}
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return nil, fmt.Errorf("simulator: address %q: %w", o.Addr, err)
	}
	if a, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !a.IsLoopback()) {
		return nil, fmt.Errorf("simulator: address %q is not on the loopback interface; want 127.0.0.1:PORT", o.Addr)
	}
	s := &Server{o: o, origin: time.Now(), journal: &journal{out: o.Log}, conns: map[net.Conn]struct{}{}}
	if s.dialect, err = newDialect(s, o.Dialect); err != nil {
		return nil, err
	}
	w, err := newWaiter()
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.Addr)
	if err != nil {
		w.close()
		return nil, fmt.Errorf("simulator: listen on %s: %w", o.Addr, err)
	}
	s.listener = l
	s.traps.Store(&o.Traps)
	s.table = &timetable{
		profile: o.Profile, now: s.now, wait: w, journal: s.journal, ended: make(chan struct{}),
		cache: &cache{block: max(s.dialect.block, 1), least: s.dialect.least, most: 32},
	}
	if o.CacheBlock > 0 {
		s.table.cache.block = o.CacheBlock
	}
	if o.CacheEntries > 0 {
		s.table.cache.most = o.CacheEntries
	}
	s.table.stats.Block = s.table.cache.block
	go s.table.run()
	s.wg.Go(s.accept)
	s.stop = context.AfterFunc(ctx, func() { _ = s.Close() })
	return s, nil
}

// URL is the base URL, http://127.0.0.1:PORT.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Profile is the timetable in use, with the limits that Options set.
func (s *Server) Profile() Profile { return s.o.Profile }

// Log is the truth about the completions served so far, in the order in which they ended. The end of a stream that a
// client has seen is in it.
func (s *Server) Log() []Served { return s.journal.all() }

// ClearLog forgets the requests received so far, those that are still being served too.
func (s *Server) ClearLog() { s.journal.clear(s.now()) }

// SetTraps changes the traps for requests that come from now on.
func (s *Server) SetTraps(t Traps) { s.traps.Store(&t) }

// CacheStats reads the prefix cache's counters.
func (s *Server) CacheStats() CacheStats {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	return s.table.stats
}

// FlushCache empties the prefix cache. Its counters stay.
func (s *Server) FlushCache() {
	done := make(chan struct{})
	s.table.post(flush{done})
	select {
	case <-done:
	case <-s.table.ended:
	}
}

// Activity is what the server does now.
func (s *Server) Activity() Activity {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	return s.table.state
}

// Close ends the server and every stream. Closing twice is allowed.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.wg.Wait()
		return nil
	}
	s.closed = true
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	if s.stop != nil {
		s.stop()
	}
	_ = s.listener.Close()
	s.table.close()
	for c := range conns {
		_ = c.Close()
	}
	s.wg.Wait()
	return nil
}

func (s *Server) now() time.Duration { return time.Since(s.origin) }

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(5 * time.Millisecond) // out of descriptors, most likely
			continue
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = c.Close()
			return
		}
		s.conns[c] = struct{}{}
		s.wg.Go(func() {
			s.serve(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			_ = c.Close()
		})
		s.mu.Unlock()
	}
}

// conn is a client's connection. The server speaks HTTP/1.1 by itself instead of through net/http, so that the timetable
// makes each write and stamps it.
type conn struct {
	net.Conn
	now    func() time.Duration
	lastAt time.Duration // when the last socket read returned
	r      *bufio.Reader
	first  chan firstByte // of the request after the one in work
}

// Read reads the socket and stamps the return. One goroutine reads at a time.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.lastAt = c.now()
	return n, err
}

type firstByte struct {
	at  time.Duration
	err error
}

// maxBody bounds a request.
const maxBody = 64 << 20

// await waits for the first byte of the next request, or the end of the connection, beside the request in work.
func (s *Server) await(c *conn) {
	c.first = make(chan firstByte, 1)
	go func(to chan<- firstByte) {
		waits := c.r.Buffered() == 0
		_, err := c.r.Peek(1)
		at := c.lastAt
		if !waits { // it had come with the request before
			at = s.now()
		}
		to <- firstByte{at, err}
	}(c.first)
}

// request is an HTTP request, read in full.
type request struct {
	*http.Request
	body   []byte
	begun  time.Duration // its first byte was read
	got    time.Duration // its last byte was read
	closes bool          // the client wants the connection closed afterwards
}

func (s *Server) serve(nc net.Conn) {
	c := &conn{Conn: nc, now: s.now}
	c.r = bufio.NewReaderSize(c, 64<<10)
	for {
		if c.first == nil {
			s.await(c)
		}
		first := <-c.first
		c.first = nil
		if first.err != nil {
			return
		}
		r, err := s.readRequest(c, first.at)
		if err != nil {
			if r == nil {
				_, _ = nc.Write(s.answer(http.StatusBadRequest, "application/json", errorBody(err.Error(), "invalid_request_error", http.StatusBadRequest), "Connection: close\r\n"))
			}
			return
		}
		if !s.route(c, r) || r.closes {
			return
		}
		if t := s.traps.Load(); t.closeKeepalive.set {
			time.Sleep(t.closeKeepalive.v)
			return
		}
	}
}

// readRequest reads one request. With an error, r is nil where the client still deserves an answer.
func (s *Server) readRequest(c *conn, begun time.Duration) (r *request, err error) {
	hr, err := http.ReadRequest(c.r)
	if err != nil {
		return nil, fmt.Errorf("not an HTTP request: %w", err)
	}
	if strings.EqualFold(hr.Header.Get("Expect"), "100-continue") {
		if _, err := io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return &request{}, err
		}
	}
	r = &request{Request: hr, begun: begun, closes: hr.Close}
	switch n := hr.ContentLength; {
	case n > maxBody:
		return nil, fmt.Errorf("the body is larger than %d MiB", maxBody>>20)
	case n >= 0:
		r.body = make([]byte, n)
		_, err = io.ReadFull(hr.Body, r.body)
	default:
		r.body, err = io.ReadAll(io.LimitReader(hr.Body, maxBody))
	}
	r.got = max(c.lastAt, begun) // not now: this goroutine may have been woken late
	return r, err
}

// answer makes a whole response.
func (s *Server) answer(status int, contentType string, body []byte, extra string) []byte {
	var b strings.Builder
	writeHeader(&b, s.dialect.serverHeader(), status, contentType, len(body))
	b.WriteString(extra)
	b.WriteString("\r\n")
	b.Write(body)
	return []byte(b.String())
}
