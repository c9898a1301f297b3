package upload

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longest is how long a name may be, in bytes.
const longest = 120

// unfit are the forms of what must not leave a machine: addresses, paths, and what looks like a key or a mail address.
var unfit = []*regexp.Regexp{
	regexp.MustCompile(`://`),
	regexp.MustCompile(`\\`),
	regexp.MustCompile(`^[~/]|(?:^|[\s"'=(:,])(?:~|\.{0,2})/\S|^\.`),
	regexp.MustCompile(`(?i)/(?:home|users|root|mnt|opt|srv|var|tmp|data|media|volumes)/`),
	regexp.MustCompile(`(?i)\b[a-z]:/`),
	regexp.MustCompile(`\S@\S+\.\S`),
	regexp.MustCompile(`(?i)\b(?:sk|pk|gsk|csk|xai|hf|ghp|fw|key|token)[-_][a-z0-9_-]{10,}`),
	regexp.MustCompile(`(?i)\b(?:bearer|authorization|api[-_]?key|password|passwd|secret)\b`),
	regexp.MustCompile(`(?:^|[^0-9.])\d{1,3}(?:\.\d{1,3}){3}(?:[^0-9.]|$)`),
}

// opaque is a run of letters and digits long enough to be a key.
var opaque = regexp.MustCompile(`[A-Za-z0-9]{28,}`)

// fits reports whether a text is a name and nothing else: short, printable, no address, no path, nothing like a key.
func fits(text string) bool {
	if len(text) > longest || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return false
	}
	for _, form := range unfit {
		if form.MatchString(text) {
			return false
		}
	}
	run := opaque.FindString(text)
	return run == "" || !strings.ContainsFunc(run, unicode.IsDigit) || !strings.ContainsFunc(run, unicode.IsLetter)
}

// lastPart takes the folders off a model's name. A name with an owner (org/model) stays.
func lastPart(name string) string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' })
	path := strings.ContainsRune(name, '\\') || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "~") || strings.HasPrefix(name, ".") || strings.Contains(name, "://")
	if len(parts) == 0 || len(parts) <= 2 && !path {
		return name
	}
	return parts[len(parts)-1]
}

// plain are words that this program gives itself: flags, statuses, keys of rows of official suites.
var plain = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.=/+:, -]{0,119}$`)
