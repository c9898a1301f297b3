package cli

import (
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
)

// redactor takes out of a text what tells whose machine it is about: user and host names, home folders, serial numbers,
// UUIDs, and addresses of hardware and network.
type redactor struct {
	words    *strings.Replacer
	patterns []pattern
}

type pattern struct {
	find *regexp.Regexp
	with string
}

// leastName is the length of the shortest name that is taken out wherever it stands: shorter ones are parts of words.
const leastName = 4

// redaction makes the redactor of this process's user and machine.
func (a *app) redaction() redactor {
	var pairs []string
	hide := func(text, with string) {
		if len(text) >= leastName {
			pairs = append(pairs, text, with, strings.ReplaceAll(text, `\`, `\\`), with)
		}
	}
	home := a.Home()
	hide(home, "~")
	name := filepath.Base(home)
	if u, err := user.Current(); err == nil {
		hide(u.HomeDir, "~")
		name = u.Username[strings.LastIndexAny(u.Username, `\`)+1:]
	}
	if host, err := os.Hostname(); err == nil && host != "localhost" {
		hide(host, "(host)")
		short, _, _ := strings.Cut(host, ".")
		hide(short, "(host)")
	}
	for _, n := range []string{name, filepath.Base(home), a.Env("USER"), a.Env("LOGNAME"), a.Env("USERNAME")} {
		if n != "root" && n != "." && n != string(filepath.Separator) {
			hide(n, "(user)")
		}
	}
	hide(a.Env("HOSTNAME"), "(host)")
	hide(a.Env("COMPUTERNAME"), "(host)")
	return redactor{strings.NewReplacer(pairs...), redactions()}
}

// redactions are what identifies by its form.
func redactions() []pattern {
	of := func(expr, with string) pattern { return pattern{regexp.MustCompile(expr), with} }
	return []pattern{
		of(`(?im)^([^\n]*\bserial\b[^\n:=]*[:=][ \t]*"?)[^\s",}][^\n",}]*`, "${1}(serial)"),
		of(`(?i)("[^"\n]*serial[^"\n]*"\s*:\s*)"[^"\n]*"`, `${1}"(serial)"`),
		of(`(?i)\b(GPU|MIG)-[0-9a-f]{8}[0-9a-f-]*`, "${1}-(uuid)"),
		of(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`, "(uuid)"),
		of(`(?i)\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}\b`, "(mac)"),
		of(`(?i)\b[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b`, "(bus)"),
		of(`(?i)\bfe80:[0-9a-f:]+`, "(address)"),
		of(`(?i)\b(?:[0-9a-f]{1,4}:){5,7}(?::?[0-9a-f]{1,4})+\b`, "(address)"),
		of(`\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01])|169\.254|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7]))(?:\.\d{1,3}){2}\b`, "(address)"),
		of(`(?i)((?:/home|/Users|\\Users|\\\\Users)[/\\]+)[^/\\\s":,]+`, "${1}(user)"),
		of(`(://)[^/\s"@]+@`, "${1}"),
	}
}

// longHex are ids of containers and the like; digests of models look the same.
var longHex = regexp.MustCompile(`(?i)\b[0-9a-f]{32,}\b`)

// raw is the redacted text of what the system itself has said.
func (r redactor) raw(s string) string { return longHex.ReplaceAllString(r.text(s), "(id)") }

// text is the redacted text.
func (r redactor) text(s string) string {
	s = r.words.Replace(s)
	for _, p := range r.patterns {
		s = p.find.ReplaceAllString(s, p.with)
	}
	return s
}
