package httpx

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// Option changes how a Client reaches its server.
type Option func(*options)

type options struct {
	env       func(string) string
	roots     *x509.CertPool
	keyHeader string
	beside    []string
}

// WithProxy takes a proxy from HTTPS_PROXY or HTTP_PROXY, by the server's scheme, unless NO_PROXY names the server; lower-case
// names count too. This machine itself is never reached through a proxy. env reads the environment.
func WithProxy(env func(string) string) Option { return func(o *options) { o.env = env } }

// WithRoots takes the given root certificates for the system's.
func WithRoots(pool *x509.CertPool) Option { return func(o *options) { o.roots = pool } }

// WithKeyHeader sends the key by itself in a header of this name, not as a bearer token.
func WithKeyHeader(name string) Option { return func(o *options) { o.keyHeader = name } }

// Beside takes the first of these paths that the base URL ends in off it. People give http://host:8000/v1, as documentation writes
// it, and what a driver wants lies beside /v1 too.
func Beside(paths ...string) Option { return func(o *options) { o.beside = paths } }

// proxy is a proxy on the way to the server.
type proxy struct {
	url     *url.URL // credentials included: the plain client needs them
	auth    string   // value of Proxy-Authorization; empty: none
	secrets []string
}

// Proxied reports whether requests go through a proxy, whose part in every latency can't be told from the server's.
func (c *Client) Proxied() bool { return c.proxy != nil }

// proxyFor finds the proxy for a server; nil where there is none. The error holds no credentials.
func proxyFor(server *url.URL, env func(string) string) (*proxy, error) {
	get := func(name string) string {
		if v := env(name); v != "" {
			return v
		}
		return env(strings.ToLower(name))
	}
	name := strings.ToUpper(server.Scheme) + "_PROXY"
	raw := strings.TrimSpace(get(name))
	if raw == "" || KindOf(server) == "loopback" || excluded(server, get("NO_PROXY")) {
		return nil, nil //nolint:nilnil // nil is no proxy
	}
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New(name + " in the environment is no URL of a proxy; want http://host:port")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New(name + " in the environment names a " + u.Scheme + " proxy; only http and https ones are supported")
	}
	p := &proxy{url: u}
	if u.User != nil {
		pass, _ := u.User.Password()
		basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + pass))
		p.auth = "Basic " + basic
		p.secrets = []string{basic, u.User.String(), u.User.Username() + ":" + pass}
		if len(pass) >= leastSecret {
			p.secrets = append(p.secrets, pass, url.QueryEscape(pass))
		}
	}
	return p, nil
}

// excluded reports whether a NO_PROXY list names a server: "*", a host, a domain with what is below it, an address, or a
// range of addresses, each with or without a port.
func excluded(server *url.URL, list string) bool {
	host := strings.ToLower(strings.TrimSuffix(server.Hostname(), "."))
	addr, err := netip.ParseAddr(host)
	isAddr := err == nil
	for _, item := range strings.FieldsFunc(strings.ToLower(list), func(r rune) bool { return r == ',' || r == ' ' }) {
		if item == "*" {
			return true
		}
		if prefix, err := netip.ParsePrefix(item); err == nil {
			if isAddr && prefix.Contains(addr.Unmap()) {
				return true
			}
			continue
		}
		if one, err := netip.ParseAddr(item); err == nil {
			if isAddr && one == addr {
				return true
			}
			continue
		}
		if at, err := netip.ParseAddrPort(item); err == nil {
			if isAddr && at.Addr() == addr && item[strings.LastIndexByte(item, ':')+1:] == portOf(server) {
				return true
			}
			continue
		}
		name, port, hasPort := strings.Cut(item, ":")
		if hasPort && port != portOf(server) {
			continue
		}
		name = strings.TrimPrefix(strings.TrimPrefix(name, "*"), ".")
		if name != "" && (host == name || strings.HasSuffix(host, "."+name)) {
			return true
		}
	}
	return false
}
