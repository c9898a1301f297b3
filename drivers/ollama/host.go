package ollama

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
)

// defaultPort is Ollama's.
const defaultPort = "11434"

// home is the base URL at which the user's own Ollama is to be found: OLLAMA_HOST as Ollama itself reads it
// (envconfig.Host), or 127.0.0.1:11434. An address that means all interfaces is asked on the loopback one.
func home(c drivers.Config) string {
	s := strings.Trim(strings.TrimSpace(c.Getenv("OLLAMA_HOST")), `"' `)
	port := defaultPort
	scheme, rest, ok := strings.Cut(s, "://")
	switch {
	case !ok:
		scheme, rest = "http", s
	case scheme == "http":
		port = "80"
	case scheme == "https":
		port = "443"
	}
	rest, path, _ := strings.Cut(rest, "/")
	credentials := ""
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		credentials, rest = rest[:at+1], rest[at+1:]
	}
	host := "127.0.0.1"
	if h, p, err := net.SplitHostPort(rest); err == nil {
		host = h
		if n, err := strconv.ParseUint(p, 10, 16); err == nil {
			port = strconv.FormatUint(n, 10)
		}
	} else if rest != "" {
		host = strings.Trim(rest, "[]")
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
	}
	u := scheme + "://" + credentials + net.JoinHostPort(host, port)
	if path != "" {
		u += "/" + path
	}
	return u
}

// shownURL is a URL without credentials, for texts.
func shownURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "the URL in OLLAMA_HOST"
	}
	u.User = nil
	return u.String()
}
