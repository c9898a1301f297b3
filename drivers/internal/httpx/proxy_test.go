package httpx

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

func TestProxyFor(t *testing.T) {
	for _, c := range []struct {
		name, server string
		env          map[string]string
		want         string // host of the proxy; "" none
		fails        string
	}{
		{"none", "https://api.example.com", nil, "", ""},
		{"https", "https://api.example.com", map[string]string{"HTTPS_PROXY": "http://proxy:3128"}, "proxy:3128", ""},
		{"lower case", "https://api.example.com", map[string]string{"https_proxy": "http://proxy:3128"}, "proxy:3128", ""},
		{"upper wins", "https://api.example.com", map[string]string{"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:1"}, "a:1", ""},
		{"without a scheme", "https://api.example.com", map[string]string{"HTTPS_PROXY": "proxy:3128"}, "proxy:3128", ""},
		{"the other scheme's", "https://api.example.com", map[string]string{"HTTP_PROXY": "http://proxy:3128"}, "", ""},
		{"http", "http://api.example.com", map[string]string{"HTTP_PROXY": "http://proxy:3128"}, "proxy:3128", ""},
		{"loopback address", "http://127.0.0.1:8080", map[string]string{"HTTP_PROXY": "http://proxy:3128"}, "", ""},
		{"loopback v6", "http://[::1]:8080", map[string]string{"HTTP_PROXY": "http://proxy:3128"}, "", ""},
		{"localhost", "http://localhost", map[string]string{"HTTP_PROXY": "http://proxy:3128"}, "", ""},
		{"excluded host", "https://api.example.com", map[string]string{"HTTPS_PROXY": "p", "NO_PROXY": "x.org, api.example.com"}, "", ""},
		{"excluded domain", "https://api.example.com", map[string]string{"HTTPS_PROXY": "p", "NO_PROXY": ".example.com"}, "", ""},
		{"excluded domain, no dot", "https://api.example.com", map[string]string{"HTTPS_PROXY": "p", "no_proxy": "EXAMPLE.com"}, "", ""},
		{"excluded with a star", "https://api.example.com", map[string]string{"HTTPS_PROXY": "p", "NO_PROXY": "*.example.com"}, "", ""},
		{"not the same ending", "https://api.notexample.com", map[string]string{"HTTPS_PROXY": "p:1", "NO_PROXY": "example.com"}, "p:1", ""},
		{"all excluded", "https://api.example.com", map[string]string{"HTTPS_PROXY": "p", "NO_PROXY": "*"}, "", ""},
		{"excluded port", "https://api.example.com", map[string]string{"HTTPS_PROXY": "p:1", "NO_PROXY": "api.example.com:443"}, "", ""},
		{"another port", "https://api.example.com", map[string]string{"HTTPS_PROXY": "p:1", "NO_PROXY": "api.example.com:8443"}, "p:1", ""},
		{"excluded range", "http://10.1.2.3", map[string]string{"HTTP_PROXY": "p:1", "NO_PROXY": "10.0.0.0/8"}, "", ""},
		{"excluded address", "http://10.1.2.3", map[string]string{"HTTP_PROXY": "p:1", "NO_PROXY": "10.1.2.3"}, "", ""},
		{"another address", "http://10.1.2.4", map[string]string{"HTTP_PROXY": "p:1", "NO_PROXY": "10.1.2.3"}, "p:1", ""},
		{"address and port", "http://10.1.2.3:81", map[string]string{"HTTP_PROXY": "p:1", "NO_PROXY": "10.1.2.3:81"}, "", ""},
		{"socks", "https://api.example.com", map[string]string{"HTTPS_PROXY": "socks5://u:verysecret@p:1"}, "", "only http and https"},
		{"rubbish", "https://api.example.com", map[string]string{"HTTPS_PROXY": "http://u:verysecret@"}, "", "no URL of a proxy"},
	} {
		u, err := ParseBase(c.server)
		if err != nil {
			t.Fatal(err)
		}
		p, err := proxyFor(u, func(n string) string { return c.env[n] })
		switch {
		case c.fails != "":
			if err == nil || !strings.Contains(err.Error(), c.fails) || strings.Contains(err.Error(), "verysecret") {
				t.Errorf("%s: %v", c.name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case p == nil && c.want != "", p != nil && p.url.Host != c.want:
			t.Errorf("%s: got %+v, want %q", c.name, p, c.want)
		}
	}
}

// proxyServer is a proxy on the loopback address: it tunnels CONNECT to one server, whatever was asked for, and answers
// absolute requests itself.
type proxyServer struct {
	url     string
	asked   atomic.Pointer[http.Request]
	tunnels atomic.Int32
}

func startProxy(t *testing.T, to, auth string) *proxyServer {
	t.Helper()
	p := &proxyServer{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p.url = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c, to, auth)
		}
	}()
	return p
}

func (p *proxyServer) serve(c net.Conn, to, auth string) {
	defer c.Close()
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		p.asked.Store(r)
		switch {
		case auth != "" && r.Header.Get("Proxy-Authorization") != auth:
			_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
			return
		case r.Method != http.MethodConnect:
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 4\r\n\r\nbody")
			continue
		case to == "":
			_, _ = io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
			return
		}
		up, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer up.Close()
		p.tunnels.Add(1)
		_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(up, br) }()
		_, _ = io.Copy(c, up)
		return
	}
}

// secure is a TLS server with a certificate of its own for example.com, and the roots that trust it.
func secure(t *testing.T, protos ...string) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", r.Proto)
		_, _ = io.WriteString(w, "data: {}\n\n")
	}))
	s.EnableHTTP2 = false
	if len(protos) > 0 {
		s.TLS = &tls.Config{NextProtos: protos}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s, pool
}

func env(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(n string) string { return m[n] }
}

func TestTLS(t *testing.T) {
	s, pool := secure(t)
	c, err := New(s.URL, drivers.Secret{}, nil, clock.New(), WithRoots(pool))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rec, err := c.Stream(t.Context(), post)
	if err != nil || rec.Status != 200 || string(rec.Data) != "data: {}\n\n" || rec.Header["x-request-id"] != "HTTP/1.1" {
		t.Errorf("%v, %+v", err, rec)
	}
	if rec.Conn.TLS <= 0 || rec.Conn.Proxy || rec.Conn.Proto != "HTTP/1.1" {
		t.Errorf("connection %+v", rec.Conn)
	}
	if again, err := c.Stream(t.Context(), post); err != nil || !again.Conn.Reused || again.Conn.TLS != 0 {
		t.Errorf("the next stream: %v, %+v", err, again.Conn)
	}
	var text string
	if h, err := c.JSON(t.Context(), http.MethodGet, "/x", nil, &text); err != nil || h.Get("X-Request-Id") != "HTTP/1.1" {
		t.Errorf("a plain call: %v, %v", err, h)
	}
	// Without its certificate nothing is sent.
	bare, err := New(s.URL, drivers.NewSecret("sk-secret"), nil, clock.New())
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	if rec, err := bare.Stream(t.Context(), post); !errors.Is(err, drivers.ErrUnreachable) || rec.Send != 0 || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v, sent at %v", err, rec.Send)
	}
}

func TestOnlyHTTP2(t *testing.T) {
	s, pool := secure(t, "h3") // Go's own server lets HTTP/1.1 in where only h2 is offered
	c, err := New(s.URL, drivers.Secret{}, nil, clock.New(), WithRoots(pool))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Stream(t.Context(), post); !errors.Is(err, drivers.ErrUnreachable) || !strings.Contains(err.Error(), "does not offer HTTP/1.1") {
		t.Errorf("a server that does not offer HTTP/1.1: %v", err)
	}
	// One that speaks it whatever was asked for begins with a settings frame.
	url := serve(t, func(_ int, k *net.TCPConn, br *bufio.Reader) {
		_, _ = k.Write([]byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100, '\n'})
		_, _ = br.Peek(1)
	})
	if _, err := client(t, url).Stream(t.Context(), post); !errors.Is(err, drivers.ErrProtocol) || !strings.Contains(err.Error(), "HTTP/2 only") {
		t.Errorf("a server that speaks HTTP/2 only: %v", err)
	}
}

func TestTunnel(t *testing.T) {
	s, pool := secure(t)
	to := strings.TrimPrefix(s.URL, "https://")
	const basic = "Basic dXNlcjp2ZXJ5c2VjcmV0" // user:verysecret
	p := startProxy(t, to, basic)
	c, err := New("https://example.com", drivers.NewSecret("sk-secret"), nil, clock.New(), WithRoots(pool), WithProxy(env("HTTPS_PROXY", "http://user:verysecret@"+p.url)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rec, err := c.Stream(t.Context(), post)
	if err != nil || rec.Status != 200 || rec.Outcome != stream.Complete {
		t.Fatalf("%v, %+v", err, rec)
	}
	if !rec.Conn.Proxy || rec.Conn.Tunnel <= 0 || rec.Conn.TLS <= 0 || !c.Proxied() {
		t.Errorf("connection %+v", rec.Conn)
	}
	r := p.asked.Load()
	if r.Method != http.MethodConnect || r.Host != "example.com:443" || r.Header.Get("Authorization") != "" {
		t.Errorf("the proxy was asked %s %s with %v", r.Method, r.Host, r.Header)
	}
	if err := callOnce(t.Context(), c); err != nil || p.tunnels.Load() != 2 {
		t.Errorf("a plain call: %v, %d tunnels", err, p.tunnels.Load())
	}
	for _, secret := range []string{"verysecret", "dXNlcjp2ZXJ5c2VjcmV0", "user:verysecret"} {
		if !strings.Contains(strings.Join(c.Secrets(), "\n"), secret) {
			t.Errorf("%q is not among the secrets", secret)
		}
	}
	if strings.Contains(c.Base(), "verysecret") {
		t.Error("the proxy's password is in the base URL")
	}
}

func callOnce(ctx context.Context, c *Client) error {
	var text string
	_, err := c.JSON(ctx, http.MethodGet, "/x", nil, &text)
	return err
}

func TestProxyRefuses(t *testing.T) {
	for _, c := range []struct{ name, to, auth, want string }{
		{"no password", "127.0.0.1:1", "Basic other", "407"},
		{"no way", "", "", "502"},
	} {
		p := startProxy(t, c.to, c.auth)
		cl, err := New("https://example.com", drivers.NewSecret("sk-secret"), nil, clock.New(), WithProxy(env("HTTPS_PROXY", "http://user:verysecret@"+p.url)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = cl.Stream(t.Context(), post)
		if !errors.Is(err, drivers.ErrUnreachable) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), p.url) {
			t.Errorf("%s: %v", c.name, err)
		}
		if strings.Contains(fmt.Sprint(err, callOnce(t.Context(), cl)), "verysecret") {
			t.Errorf("%s: the password is in an error: %v, %v", c.name, err, callOnce(t.Context(), cl))
		}
		cl.Close()
	}
	// A proxy that says nothing is not waited for beyond the caller's patience.
	mute := serve(t, func(_ int, _ *net.TCPConn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) })
	u, _ := url.Parse(mute)
	cl, err := New("https://example.com", drivers.Secret{}, nil, clock.New(), WithProxy(env("HTTPS_PROXY", u.Host)))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if rec, err := cl.Stream(ctx, post); !errors.Is(err, drivers.ErrTimeout) || rec.Send != 0 {
		t.Errorf("a mute proxy: %v, %+v", err, rec)
	}
}

func TestProxyWithoutTLS(t *testing.T) {
	p := startProxy(t, "", "Basic dXNlcjp2ZXJ5c2VjcmV0")
	c, err := New("http://example.com/base", drivers.NewSecret("sk-secret"), nil, clock.New(), WithProxy(env("HTTP_PROXY", "http://user:verysecret@"+p.url)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rec, err := c.Stream(t.Context(), post)
	if err != nil || string(rec.Data) != "body" || !rec.Conn.Proxy || rec.Conn.Tunnel != 0 {
		t.Fatalf("%v, %+v", err, rec)
	}
	r := p.asked.Load()
	if r.RequestURI != "http://example.com/base/x" || r.Host != "example.com" {
		t.Errorf("the proxy was asked for %s of %s", r.RequestURI, r.Host)
	}
	if err := callOnce(t.Context(), c); err != nil {
		t.Errorf("a plain call: %v", err)
	}
	if r := p.asked.Load(); r.RequestURI != "http://example.com/base/x" {
		t.Errorf("the plain call asked for %s", r.RequestURI)
	}
}

func TestKeyHeader(t *testing.T) {
	got := make(chan http.Header, 2)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Clone()
		_, _ = io.WriteString(w, "{}")
	}))
	defer s.Close()
	c, err := New(s.URL, drivers.NewSecret("sk-secret"), http.Header{"X-Version": {"1"}}, clock.New(), WithKeyHeader("X-Api-Key"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Stream(t.Context(), post); err != nil {
		t.Fatal(err)
	}
	if err := callOnce(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if h := <-got; h.Get("X-Api-Key") != "sk-secret" || h.Get("Authorization") != "" || h.Get("X-Version") != "1" {
			t.Errorf("headers %v", h)
		}
	}
}

// TestNoKeyElsewhere: a server that sends on to another one does not get the key there.
func TestNoKeyElsewhere(t *testing.T) {
	reached := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer other.Close()
	s := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	c, err := New(s.URL, drivers.NewSecret("sk-secret"), nil, clock.New(), WithKeyHeader("X-Api-Key"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := callOnce(t.Context(), c); err == nil || reached || !strings.Contains(err.Error(), "give the final URL") {
		t.Errorf("reached %v: %v", reached, err)
	}
}

func TestKeptHeaders(t *testing.T) {
	h := http.Header{}
	for _, n := range []string{"Retry-After-Ms", "X-Ratelimit-Remaining-Tokens", "Anthropic-Ratelimit-Tokens-Reset", "Openai-Processing-Ms", "Request-Id", "Set-Cookie",
		"Openai-Organization", "Openai-Project", "Anthropic-Organization-Id", "X-Tokenlimit-Limit", "X-Openrouter-Cache-Status", "Authorization"} {
		h.Set(n, "v")
	}
	kept := keptHeaders(h)
	for _, n := range []string{"retry-after-ms", "x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-reset", "openai-processing-ms", "request-id", "x-tokenlimit-limit", "x-openrouter-cache-status"} {
		if kept[n] == "" {
			t.Errorf("%s is not kept", n)
		}
		delete(kept, n)
	}
	if len(kept) > 0 {
		t.Errorf("kept too: %v", kept)
	}
}
