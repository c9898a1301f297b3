package cli

import (
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
)

// claim leaves each server to one driver, for several look at the same ports and a server may answer as more than one of
// them. A driver of that very server comes before one that takes any server of a common protocol, one that can use it before
// one that can't; among equals it is the order of the registry. One that any driver knows as a simulator is one. Where a URL
// was given, programs that could be started are left out.
func claim(answers []seen, url string) {
	owner, simulated := map[string]int{}, map[string]bool{}
	for _, s := range answers {
		for _, f := range s.found {
			simulated[endpoint(f.URL)] = simulated[endpoint(f.URL)] || f.Simulated
		}
	}
	for _, fits := range []func(drivers.Spec, drivers.Found) bool{
		func(s drivers.Spec, f drivers.Found) bool { return !s.Fallback && f.Usable },
		func(s drivers.Spec, _ drivers.Found) bool { return !s.Fallback },
		func(drivers.Spec, drivers.Found) bool { return true },
	} {
		for i, s := range answers {
			for _, f := range s.found {
				at := endpoint(f.URL)
				if _, taken := owner[at]; at != "" && !taken && fits(s.spec, f) {
					owner[at] = i
				}
			}
		}
	}
	for i := range answers {
		answers[i].found = slices.DeleteFunc(slices.Clone(answers[i].found), func(f drivers.Found) bool {
			at := endpoint(f.URL)
			return at != "" && owner[at] != i || at == "" && url != ""
		})
		for j := range answers[i].found {
			f := &answers[i].found[j]
			f.Simulated = f.URL != "" && simulated[endpoint(f.URL)]
		}
	}
}

// endpoint is where a URL leads: host and port, with one name for this machine; empty for no URL.
func endpoint(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	if port == "" {
		port = map[string]string{"https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(host, orElse(port, "80"))
}

// preferences are what bench without --backend prefers, best first; docs/backends.md and bench --help say the same.
var preferences = []struct {
	says string
	fits func(f drivers.Found, model string) bool
}{
	{"a backend that offers the model that --model names", offers},
	{"a running server that has a model loaded", func(f drivers.Found, _ string) bool {
		return f.URL != "" && slices.ContainsFunc(f.Models, func(m drivers.Model) bool { return m.Loaded })
	}},
	{"any other running server", func(f drivers.Found, _ string) bool { return f.URL != "" }},
	{"a program that can be started", func(drivers.Found, string) bool { return true }},
}

// pick chooses among what was found: by the preferences, then in the order of the registry. A simulator counts only at the
// URL that was given.
func pick(answers []seen, t target) (seen, drivers.Found, bool) {
	for _, p := range preferences {
		for _, s := range answers {
			for _, f := range s.found {
				if f.Usable && (!f.Simulated || t.url != "") && p.fits(f, t.model) {
					return s, f, true
				}
			}
		}
	}
	return seen{}, drivers.Found{}, false
}

// offers reports whether a backend offers a model by the name, with a tag or without, or by the path of it; of a folder of
// weights, whether it is for the backend.
func offers(f drivers.Found, model string) bool {
	if model == "" {
		return false
	}
	if only := folderFor(model); only != nil {
		return slices.Contains(only, f.Backend)
	}
	return slices.ContainsFunc(f.Models, func(m drivers.Model) bool {
		same := func(s string) bool { return s != "" && strings.EqualFold(s, model) }
		return same(m.Ref) || same(m.Name) || same(strings.TrimSuffix(m.Ref, ":latest")) || m.Path != "" && filepath.Clean(m.Path) == filepath.Clean(absolute(model))
	})
}
