// Package manifest brings suites by a signed list of them: it verifies the list's sigstore signature over the exact bytes,
// evaluates it in a sandbox, holds it against what was seen before, fetches the archives that it names and installs them.
//
// It gives no trust to an address, runs nothing that it fetches, and changes nothing before everything holds. The attacks
// that it is built against are in docs/threat-model.md.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Type names the document.
const Type = "llm-speed/manifest/v1"

// Manifest is the evaluated list of suites of a channel.
type Manifest struct {
	Type    string    `json:"_type"`
	Channel string    `json:"channel"`
	Epoch   int       `json:"epoch"`   // raised to start over after a lost key; versions count anew
	Version int       `json:"version"` // raised with every change and every renewal
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	Suites  []Entry   `json:"suites"`
}

// The statuses of a suite.
const (
	Current = "current"
	Old     = "old"     // usable, and there is a newer one
	Revoked = "revoked" // its results are no longer official
)

// Entry is a version of a suite.
type Entry struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	URL     string `json:"url"`    // of the archive; relative ones are relative to the manifest
	Length  int64  `json:"length"` // bytes
	SHA256  string `json:"sha256"` // of the archive, hex
	Engine  int    `json:"engine"` // that its programs build on
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"` // why it was revoked
}

// Key is name@version.
func (e *Entry) Key() string { return e.Name + "@" + e.Version }

// The bounds on a manifest.
const (
	maxSuites  = 256
	maxArchive = 8 << 20 // bytes
	maxNumber  = 1 << 31
)

var (
	channelName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	suiteName   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)
	semver      = regexp.MustCompile(`^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(-[0-9A-Za-z.-]{1,64})?$`)
	hexDigest   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Decode reads an evaluated manifest. Unknown fields, trailing data and values out of bounds are refused with ErrFormat.
func Decode(text string) (*Manifest, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	m := &Manifest{}
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows the document", ErrFormat)
	}
	if m.Type != Type {
		return nil, fmt.Errorf("%w: it is of type %q, want %q", ErrWrongType, m.Type, Type)
	}
	bad := func(format string, args ...any) (*Manifest, error) {
		return nil, fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
	}
	switch {
	case !channelName.MatchString(m.Channel):
		return bad("channel is %q", m.Channel)
	case m.Epoch < 1 || m.Epoch > maxNumber || m.Version < 1 || m.Version > maxNumber:
		return bad("epoch %d, version %d; both want 1 or more", m.Epoch, m.Version)
	case m.Issued.IsZero() || !m.Expires.After(m.Issued):
		return bad("issued %s, expires %s; want one after the other", m.Issued, m.Expires)
	case len(m.Suites) == 0 || len(m.Suites) > maxSuites:
		return bad("%d suites; want 1 to %d", len(m.Suites), maxSuites)
	}
	seen := map[string]bool{}
	for i := range m.Suites {
		e := &m.Suites[i]
		if err := e.check(); err != nil {
			return bad("suites[%d]: %v", i, err)
		}
		if seen[e.Key()] {
			return bad("suites[%d]: %s comes twice", i, e.Key())
		}
		seen[e.Key()] = true
	}
	return m, nil
}

func (e *Entry) check() error {
	u, err := url.Parse(e.URL)
	switch {
	case !suiteName.MatchString(e.Name):
		return fmt.Errorf("name is %q", e.Name)
	case !semver.MatchString(e.Version):
		return fmt.Errorf("version is %q; want a semantic version", e.Version)
	case err != nil || e.URL == "" || u.IsAbs() && !secure(u) || u.User != nil:
		return fmt.Errorf("url is %q; want https, or a path beside the manifest", e.URL)
	case e.Length < 1 || e.Length > maxArchive:
		return fmt.Errorf("length is %d; want bytes, %d at most", e.Length, maxArchive)
	case !hexDigest.MatchString(e.SHA256):
		return fmt.Errorf("sha256 is %q; want 64 hex digits", e.SHA256)
	case e.Engine < 1 || e.Engine > maxNumber:
		return fmt.Errorf("engine is %d; want 1 or more", e.Engine)
	case e.Status != Current && e.Status != Old && e.Status != Revoked:
		return fmt.Errorf("status is %q; want %s, %s or %s", e.Status, Current, Old, Revoked)
	case len(e.Reason) > 500 || strings.ContainsFunc(e.Reason, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("reason wants one line of plain text, 500 bytes at most")
	}
	return nil
}

// secure reports whether an address may be fetched from: https, or this machine.
func secure(u *url.URL) bool {
	if u.Scheme == "https" {
		return u.Host != ""
	}
	if u.Scheme != "http" {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.IsLoopback()
}

// revoked lists what is revoked, with the reasons.
func (m *Manifest) revoked() map[string]string {
	out := map[string]string{}
	for i := range m.Suites {
		if e := &m.Suites[i]; e.Status == Revoked {
			out[e.Key()] = e.Reason
		}
	}
	return out
}

// Find gives the entry of a version; nil where it is not listed.
func (m *Manifest) Find(name, version string) *Entry {
	for i := range m.Suites {
		if m.Suites[i].Name == name && m.Suites[i].Version == version {
			return &m.Suites[i]
		}
	}
	return nil
}
