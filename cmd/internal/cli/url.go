package cli

import (
	"net/url"
	"strings"
)

// isServer reports whether a text is the URL of a server, as drivers take it: host:port is enough.
func isServer(raw string) bool {
	raw = strings.TrimSpace(raw)
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// shownURL is a URL as it may be printed: user, password, query and fragment are left out, for they may hold keys. Of what
// is no URL all up to the last @ is left out.
func shownURL(raw string) string {
	raw = strings.TrimSpace(raw)
	text, bare := raw, !strings.Contains(raw, "://")
	if bare {
		text = "http://" + raw
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || strings.Contains(u.Host+u.Path, "@") {
		shown := raw
		if i := strings.IndexAny(shown, "?#"); i >= 0 && strings.LastIndexByte(shown, '@') < i {
			shown = shown[:i]
		}
		if i := strings.LastIndexByte(shown, '@'); i >= 0 {
			shown = shown[i+1:]
		}
		if i := strings.IndexAny(shown, "?#"); i >= 0 {
			shown = shown[:i]
		}
		return shown
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	if bare {
		return strings.TrimPrefix(u.String(), "http://")
	}
	return u.String()
}
