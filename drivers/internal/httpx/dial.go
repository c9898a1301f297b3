package httpx

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// dialWithin bounds the making of a connection: look-up, TCP, proxy and TLS.
const dialWithin = 10 * time.Second

// dial makes a connection to the server, through the proxy where there is one.
func (c *Client) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	k := &conn{how: stream.Conn{Proto: "HTTP/1.1"}}
	first := c.base
	if c.proxy != nil {
		first = c.proxy.url
		k.how.Proxy = true
	}
	if err := c.reach(ctx, k, first); err != nil {
		if c.proxy != nil {
			return nil, fmt.Errorf("%w (the proxy %s)", err, first.Host)
		}
		return nil, err
	}
	if c.proxy != nil && first.Scheme == "https" {
		if err := c.encrypt(ctx, k, first.Hostname()); err != nil {
			return nil, fmt.Errorf("%w (the proxy %s)", err, first.Host)
		}
	}
	if c.base.Scheme == "https" {
		if c.proxy != nil {
			if err := c.tunnel(ctx, k); err != nil {
				_ = k.Close()
				return nil, err
			}
		}
		if err := c.encrypt(ctx, k, c.base.Hostname()); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// reach opens a TCP connection to the host of a URL.
func (c *Client) reach(ctx context.Context, k *conn, to *url.URL) error {
	host := to.Hostname()
	addrs := []string{host}
	if _, err := netip.ParseAddr(host); err != nil {
		t := c.clock.Now()
		if addrs, err = net.DefaultResolver.LookupHost(ctx, host); err != nil {
			return fmt.Errorf("%w: look up %s: %w", drivers.ErrUnreachable, host, err)
		}
		k.how.DNS = c.clock.Now() - t
	}
	var last error
	for _, a := range addrs {
		t := c.clock.Now()
		var d net.Dialer
		nc, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a, portOf(to)))
		if err != nil {
			last = err
			continue
		}
		k.Conn, k.how.Connect = nc, c.clock.Now()-t
		break
	}
	if k.Conn == nil {
		return fmt.Errorf("%w: %w", drivers.ErrUnreachable, last)
	}
	c.mu.Lock()
	c.trips = append(c.trips, k.how.Connect)
	c.mu.Unlock()
	return nil
}

// portOf is the port of a URL, said or meant.
func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// tls is how connections are encrypted: HTTP/1.1 alone is offered, so that one stream has one connection. The system's
// roots are used, which SSL_CERT_FILE may name, unless a test brings its own.
func (c *Client) tls(host string) *tls.Config {
	return &tls.Config{ServerName: host, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12, RootCAs: c.roots}
}

// encrypt does the TLS handshake on a connection, and closes it where that fails.
func (c *Client) encrypt(ctx context.Context, k *conn, host string) error {
	t := c.clock.Now()
	tc := tls.Client(k.Conn, c.tls(host))
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = k.Conn.Close()
		if strings.Contains(err.Error(), "no application protocol") {
			return fmt.Errorf("%w: TLS: %s does not offer HTTP/1.1, only a later version; put a gateway before it that does", drivers.ErrUnreachable, host)
		}
		return fmt.Errorf("%w: TLS: %w", drivers.ErrUnreachable, err)
	}
	k.Conn = tc
	k.how.TLS += c.clock.Now() - t
	return nil
}

// maxTunnelAnswer is more than a proxy says before a tunnel is open.
const maxTunnelAnswer = 64 << 10

// tunnel asks the proxy for a way to the server (RFC 9110, section 9.3.6).
func (c *Client) tunnel(ctx context.Context, k *conn) error {
	t := c.clock.Now()
	stop := context.AfterFunc(ctx, func() { _ = k.SetDeadline(past) })
	defer stop()
	to := net.JoinHostPort(c.base.Hostname(), portOf(c.base))
	head := fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: llm-speed\r\n", to, to)
	if c.proxy.auth != "" {
		head += "Proxy-Authorization: " + c.proxy.auth + "\r\n"
	}
	failed := func(err error) error {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%w: the proxy %s gives no way to %s: %w", drivers.ErrUnreachable, c.proxy.url.Host, to, tidy(err))
	}
	if _, err := io.WriteString(k, head+"\r\n"); err != nil {
		return failed(err)
	}
	// Nothing of the server can follow the proxy's answer before our handshake, so a buffer takes nothing away from it.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(k, maxTunnelAnswer)), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return failed(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		err := fmt.Errorf("it answers HTTP %s", resp.Status)
		if resp.StatusCode == http.StatusProxyAuthRequired {
			err = fmt.Errorf("%w; it wants a user and password, as HTTPS_PROXY=http://user:password@host:port", err)
		}
		return failed(err)
	}
	k.how.Tunnel = c.clock.Now() - t
	if !stop() {
		return failed(errors.New("no answer in time"))
	}
	return nil
}

// speaksHTTP2 reports whether what could not be parsed as HTTP/1 begins as an HTTP/2 settings frame does.
func speaksHTTP2(parse error) bool { return strings.Contains(parse.Error(), `HTTP response "\x00\x00`) }
