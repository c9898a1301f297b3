package cli

import (
	"strings"
	"testing"
)

func TestIsServer(t *testing.T) {
	for raw, want := range map[string]bool{
		"http://127.0.0.1:8080": true, "https://host/v1": true, " host:8080 ": true, "host": true, "[::1]:80": true, "http://USER:PW@host": true,
		"ftp://host": false, "http://": false, "ht!tp://x": false, "http://[::1": false, "host:port:9": false, "%zz": false,
	} {
		if got := isServer(raw); got != want {
			t.Errorf("isServer(%q) = %v", raw, got)
		}
	}
}

func TestShownURL(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"https://host/v1", "https://host/v1"},
		{"host:8080", "host:8080"},
		{"http://USER:PW@host:1/v1?key=PW#PW", "http://host:1/v1"},
		{"USER:PW@host:1", "host:1"},
		{"http://USER:P W%@host:1?key=PW", "host:1"},
		{"http://USER:P/W@host:1", "host:1"},
		{"http://USER:P?W@host:1", "host:1"},
		{"http://USER:P#W@host:1", "host:1"},
		{"ftp://USER:PW@h", "ftp://h"},
		{"http://USER:PW@", ""},
		{"nonsense", "nonsense"},
		{"", ""},
	} {
		got := shownURL(c.raw)
		if got != c.want {
			t.Errorf("shownURL(%q) = %q, want %q", c.raw, got, c.want)
		}
		if strings.Contains(got, "PW") || strings.Contains(got, "USER") {
			t.Errorf("shownURL(%q) = %q holds credentials", c.raw, got)
		}
	}
}
