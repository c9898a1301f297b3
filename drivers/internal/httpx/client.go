// Package httpx carries requests to a server for the drivers: timed streams on connections of its own (stream.go), and
// plain JSON calls outside timed intervals (json.go).
//
// The timed path does not use net/http's transport: a goroutine of ours owns the connection, so that t_send is taken right
// before the first request byte is written and each stamp right after the socket's Read returns. It never retries a stream,
// never decodes, never logs.
//
// Where a server leaves Nagle's algorithm on, a write of it may wait until the client's system has acknowledged the one
// before, by tens of milliseconds; whether acknowledgements are being delayed can be asked on Linux only, for the moment
// only (TCP_QUICKACK), so that it is not asked, and such a wait is part of the times that are measured.
package httpx

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Client talks HTTP/1.1 to one base URL. It is safe for use by several goroutines.
type Client struct {
	base   *url.URL
	header http.Header
	clock  *clock.Clock
	plain  *http.Client
	secret []string // for Redact and Secrets only, longest first: one may be part of another
	proxy  *proxy   // nil: none
	roots  *x509.CertPool

	simulated atomic.Bool // an answer came from llm-speed's simulator

	mu     sync.Mutex
	idle   []*conn
	closed bool
	trips  []time.Duration // connect times, for the RTT
	blocks [][]byte        // memory for the next streams
}

// New makes a client of the base URL, which may lack its scheme (http is meant then). Credentials in the URL become a
// header and leave the URL. header is sent with every request; key, where set, as a bearer token unless an option says
// otherwise. Without WithProxy no proxy is used, whatever the environment says.
func New(base string, key drivers.Secret, header http.Header, c *clock.Clock, opts ...Option) (*Client, error) {
	u, err := ParseBase(base)
	if err != nil {
		return nil, err
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	for _, path := range o.beside {
		if rest, ok := strings.CutSuffix(u.Path, path); ok {
			u.Path = strings.TrimRight(rest, "/")
			break
		}
	}
	client := &Client{base: u, header: http.Header{}, clock: c, roots: o.roots}
	if o.env != nil {
		if client.proxy, err = proxyFor(u, o.env); err != nil {
			return nil, err
		}
	}
	transport := &http.Transport{ // it goes the way that streams go
		DisableCompression: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: false,
		TLSClientConfig: client.tls(u.Hostname()),
	}
	if p := client.proxy; p != nil {
		transport.Proxy = func(*http.Request) (*url.URL, error) { return p.url, nil }
		client.Hide(p.secrets...)
	}
	client.plain = &http.Client{Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme {
			return fmt.Errorf("it sends on to %s, where the key is not for; give the final URL", r.URL.Host)
		}
		if len(via) > 5 {
			return errors.New("it sends on and on")
		}
		return nil
	}}
	h := client.header
	for k, v := range header {
		h[k] = v
	}
	if u.User != nil {
		pass, _ := u.User.Password()
		r := http.Request{Header: h}
		r.SetBasicAuth(u.User.Username(), pass)
		basic := strings.TrimPrefix(h.Get("Authorization"), "Basic ")
		client.Hide(basic, u.User.String(), u.User.Username()+":"+pass)
		if len(pass) >= leastSecret {
			client.Hide(pass, url.QueryEscape(pass), strings.TrimPrefix(url.UserPassword("", pass).String(), ":"))
		}
		u.User = nil
	}
	if key.IsSet() {
		if len(key.Reveal()) >= leastSecret { // "x" is what local servers are given for a key
			client.Hide(key.Reveal())
		}
		if o.keyHeader != "" {
			h.Set(o.keyHeader, key.Reveal())
		} else {
			h.Set("Authorization", "Bearer "+key.Reveal())
		}
	}
	h.Set("Accept-Encoding", "identity") // Go asks for gzip by itself, and gzip holds events back
	h.Set("User-Agent", "llm-speed")
	return client, nil
}

// ParseBase reads a base URL as people write it: host:port is enough. The error never holds credentials.
func ParseBase(base string) (*url.URL, error) {
	s := strings.TrimSpace(base)
	if s != "" && !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("not a server URL; want http://host:port or https://host")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawQuery, u.Fragment = "", ""
	return u, nil
}

// Base is the base URL without credentials.
func (c *Client) Base() string { return c.base.String() }

// KindOf says where a host is: "loopback", "lan" (a private or link-local address, or a name without a public suffix) or
// "remote".
func KindOf(u *url.URL) string {
	host := u.Hostname()
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return "loopback"
	}
	if a, err := netip.ParseAddr(host); err == nil {
		switch {
		case a.IsLoopback():
			return "loopback"
		case a.IsPrivate(), a.IsLinkLocalUnicast():
			return "lan"
		}
		return "remote"
	}
	if !strings.Contains(host, ".") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".lan") {
		return "lan"
	}
	return "remote"
}

// URLKind is KindOf the base URL.
func (c *Client) URLKind() string { return KindOf(c.base) }

// simulator is how the Server header of llm-speed's own simulator begins, in every dialect that it speaks.
const simulator = "llm-speed-sim"

// Simulated reports whether any answer so far came from llm-speed's simulator, whose numbers are never ranked.
func (c *Client) Simulated() bool { return c.simulated.Load() }

func (c *Client) noteServer(h http.Header) {
	if strings.HasPrefix(h.Get("Server"), simulator) {
		c.simulated.Store(true)
	}
}

// RTT lists the TCP connect times seen so far, one a connection.
func (c *Client) RTT() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Duration(nil), c.trips...)
}

// Close closes the idle connections. Streams in flight end on their own.
func (c *Client) Close() {
	c.mu.Lock()
	idle := c.idle
	c.idle, c.closed = nil, true
	c.mu.Unlock()
	for _, k := range idle {
		_ = k.Close()
	}
	c.plain.CloseIdleConnections()
}

// conn is a connection that stamps its reads.
type conn struct {
	net.Conn
	how  stream.Conn
	left time.Duration // when it was put among the idle ones, by the run's clock
}

// idleLimit is how long an idle connection may wait for its next stream. Servers close idle connections on their own,
// llama-server and uvicorn's after 5 s; a request that crosses such a close is lost, and a stream is never sent twice.
const idleLimit = time.Second

// connect gives an open connection that the peer has not closed: an idle one that still lives, or a new one.
func (c *Client) connect(ctx context.Context) (*conn, error) {
	for {
		c.mu.Lock()
		var k *conn
		if c.closed {
			c.mu.Unlock()
			return nil, errClosed
		}
		if n := len(c.idle); n > 0 {
			k, c.idle = c.idle[n-1], c.idle[:n-1]
		}
		c.mu.Unlock()
		if k == nil {
			return c.dial(ctx)
		}
		if c.clock.Now()-k.left < idleLimit && k.alive() {
			k.how.Reused = true
			k.how.DNS, k.how.Connect, k.how.TLS = 0, 0, 0
			return k, nil
		}
		_ = k.Close()
	}
}

var errClosed = fmt.Errorf("the session is closed: %w", net.ErrClosed)

// alive asks a connection that should be silent for a byte, for a millisecond: only a timeout means that it is usable.
func (k *conn) alive() bool {
	if k.SetReadDeadline(time.Now().Add(time.Millisecond)) != nil {
		return false
	}
	var one [1]byte
	n, err := k.Read(one[:])
	var nerr net.Error
	if n > 0 || !errors.As(err, &nerr) || !nerr.Timeout() {
		return false
	}
	return k.SetReadDeadline(time.Time{}) == nil
}

// keep takes a connection back that a complete keep-alive response has left clean.
func (c *Client) keep(k *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= 64 {
		_ = k.Close()
		return
	}
	k.left = c.clock.Now()
	c.idle = append(c.idle, k)
}

// takeBlock gives an empty block to read into.
func (c *Client) takeBlock() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.blocks); n > 0 {
		b := c.blocks[n-1]
		c.blocks = c.blocks[:n-1]
		return b[:0]
	}
	return make([]byte, 0, blockSize)
}

// giveBlocks takes blocks back that nothing refers to any more.
func (c *Client) giveBlocks(blocks [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocks = append(c.blocks, blocks[:min(len(blocks), max(keptBlocks-len(c.blocks), 0))]...)
}

// leastSecret is the length in bytes from which a key or a password is hidden by itself: a shorter one is part of too many words.
const leastSecret = 4

// Hide adds texts that must appear in no other text. It is called before the first request; empty ones are passed over.
func (c *Client) Hide(texts ...string) {
	for _, s := range texts {
		if s != "" && !slices.Contains(c.secret, s) {
			c.secret = append(c.secret, s)
		}
	}
	slices.SortStableFunc(c.secret, func(a, b string) int { return len(b) - len(a) })
}

// Secrets lists what must appear in no text: the key, and the URL's credentials as they were given, alone and encoded.
func (c *Client) Secrets() []string { return append([]string(nil), c.secret...) }

// Redact takes the client's secrets out of an error's text, should a server have repeated them.
func (c *Client) Redact(err error) error {
	if err == nil {
		return nil
	}
	text := c.stars(err.Error())
	if text == err.Error() {
		return err
	}
	var api *drivers.APIError
	if errors.As(err, &api) {
		clean := *api
		clean.Message = c.stars(api.Message)
		err = &clean
	}
	return &redacted{text, err}
}

// stars puts *** where a secret is.
func (c *Client) stars(text string) string {
	for _, s := range c.secret {
		text = strings.ReplaceAll(text, s, "***")
	}
	return text
}

// redacted is an error whose text had a key in it. What it wraps is for errors.Is and As only.
type redacted struct {
	text string
	err  error
}

// Error is the text without the key.
func (e *redacted) Error() string { return e.text }

// Unwrap gives the error as it was.
func (e *redacted) Unwrap() error { return e.err }
