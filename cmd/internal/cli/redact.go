package cli

import (
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
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

// everybodys are names of accounts and machines that say nothing about anybody: systems come with them. Taking them out would
// take out words that mean something else, the name of a distribution among them.
var everybodys = []string{
	"root", "admin", "administrator", "user", "users", "guest", "test", "default", "home", "local", "localhost", "host", "docker", "container", "runner", "vagrant", "nobody",
	"ubuntu", "debian", "fedora", "centos", "rocky", "arch", "alpine", "rhel", "suse", "nixos", "linux", "windows", "darwin", "macos", "cloud", "azureuser", "ec2-user",
	"machine", "model", "name", "state", "memory", "reasons", "system", "server", "kernel", "build", "driver", "version", "backend", "backends", "nvidia", "intel", "apple",
	"llama", "ollama", "vllm", "sglang", "llama-server", "llm-speed", "raspberrypi",
}

// redaction makes the redactor of this process's user and machine.
func (a *app) redaction() redactor {
	var words [][2]string
	hide := func(text, with string) {
		if len(text) >= leastName && !slices.Contains(everybodys, strings.ToLower(text)) {
			words = append(words, [2]string{text, with}, [2]string{strings.ReplaceAll(text, `\`, `\\`), with})
		}
	}
	home := a.Home()
	hide(home, "~")
	name := filepath.Base(home)
	if u, err := user.Current(); err == nil {
		hide(u.HomeDir, "~")
		name = u.Username[strings.LastIndexAny(u.Username, `\`)+1:]
	}
	hosts := []string{a.Env("HOSTNAME"), a.Env("COMPUTERNAME")}
	if host, err := os.Hostname(); err == nil {
		short, _, _ := strings.Cut(host, ".")
		hosts = append(hosts, host, short)
	}
	for _, h := range hosts { // Windows writes them large in one place and small in another
		hide(h, "(host)")
		hide(strings.ToLower(h), "(host)")
		hide(strings.ToUpper(h), "(host)")
	}
	for _, n := range []string{name, filepath.Base(home), a.Env("USER"), a.Env("LOGNAME"), a.Env("USERNAME")} {
		hide(n, "(user)") // "." and a root folder are too short
	}
	// The longest first: of a name that begins with another nothing may be left.
	slices.SortStableFunc(words, func(a, b [2]string) int { return len(b[0]) - len(a[0]) })
	var pairs []string
	for _, w := range words {
		pairs = append(pairs, w[0], w[1])
	}
	return redactor{strings.NewReplacer(pairs...), redactions()}
}

// redactions are what identifies by its form.
func redactions() []pattern {
	of := func(expr, with string) pattern { return pattern{regexp.MustCompile(expr), with} }
	return []pattern{
		of(`(?im)^([^\n]*\bserial\b[^\n:=]*[:=][ \t]*"?)[^\s",}][^\n",}]*`, "${1}(serial)"),
		of(`(?i)("[^"\n]*(?:serial|unique[ _]id)[^"\n]*"\s*:\s*)"[^"\n]*"`, `${1}"(serial)"`),
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
