package manifest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/llm-speed/llm-speed/internal/filelock"
)

// Updater keeps a folder of installed suites up to date with a channel.
type Updater struct {
	Dir     string // of the installed suites
	URL     string // of the manifest; its bundle lies beside it under BundleSuffix
	Channel string
	Verify  *Verifier
	Engine  int      // that this program has
	BuiltIn []string // name@version of suites that this program brings along: they are never fetched

	// Evaluate evaluates the jsonnet file main among files, in a sandbox, without imports from elsewhere.
	Evaluate func(ctx context.Context, files map[string][]byte, main string) (string, error)
	// Check loads a suite's files and finds its mistakes without running it on anything; it gives name, version and digest.
	Check func(ctx context.Context, archive []byte) (Checked, error)

	Transport http.RoundTripper // nil is http.DefaultTransport
	Now       func() time.Time
	Say       func(format string, args ...any) // progress, for a person; may be nil

	within [2]time.Duration // for tests: of lists, of archives
	step   func(string)     // for tests: called before each step that writes
}

// Checked is what an archive turned out to hold.
type Checked struct {
	Name, Version, Digest string
	Engine                int
}

// Outcome is what an update did, or would do.
type Outcome struct {
	Manifest  *Manifest
	Signed    Signed
	UpToDate  bool     // the manifest is the one that was seen last
	Installed []string // name@version of what is new
	Revoked   []string // what is installed or built in and was revoked by this manifest
}

// clockSlack is how far this machine's clock and the publisher's may be apart.
const clockSlack = 10 * time.Minute

// Update brings the folder up to date, or, where only looking is asked for, says what it would do. Whatever happens, the
// folder is as it was before or as it is after, never between.
func (u *Updater) Update(ctx context.Context, look bool) (*Outcome, error) {
	start := u.Now()
	if !look { // looking writes nothing, and the state is always whole
		unlock, err := lock(u.Dir)
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	known, err := readState(u.Dir)
	if err != nil {
		return nil, err
	}
	get := newFetcher(u.Transport)
	list, archive := cmp.Or(u.within[0], listWithin), cmp.Or(u.within[1], archiveWithin)
	raw, err := get.get(ctx, u.URL, maxManifest, list)
	if err != nil {
		return nil, err
	}
	bundle, err := get.get(ctx, u.URL+BundleSuffix, maxBundle, list)
	if err != nil {
		return nil, err
	}
	m, signed, err := u.Read(ctx, raw, bundle)
	if err != nil {
		return nil, err
	}
	out := &Outcome{Manifest: m, Signed: signed}
	sum := sha256.Sum256(raw)
	now := channel{Epoch: m.Epoch, Version: m.Version, SHA256: hex.EncodeToString(sum[:]), SignedAt: signed.At, Expires: m.Expires, Revoked: m.revoked()}
	if out.UpToDate, err = u.follows(known, m, now, start); err != nil {
		return nil, err
	}
	next := &state{Schema: stateSchema, Channels: map[string]channel{}, Suites: slices.Clone(known.Suites)}
	for name, c := range known.Channels {
		next.Channels[name] = c
	}
	next.Channels[m.Channel] = now
	if out.Revoked, err = next.restatus(m); err != nil {
		return nil, err
	}
	for _, key := range u.BuiltIn {
		_, is := now.Revoked[key]
		if _, was := known.Channels[m.Channel].Revoked[key]; is && !was {
			out.Revoked = append(out.Revoked, key)
		}
	}
	fetched := map[string][]byte{}
	for i := range m.Suites {
		e := &m.Suites[i]
		switch have := next.find(e.Name, e.Version); {
		case have != nil && have.SHA256 != e.SHA256: // its own channel's was held against it by restatus
			return nil, fmt.Errorf("%w: %s is installed from channel %q as sha256 %.12s…, and this channel lists %.12s…", ErrClash, e.Key(), have.Channel, have.SHA256, e.SHA256)
		case have != nil || e.Status != Current || slices.Contains(u.BuiltIn, e.Key()):
			continue
		}
		out.Installed = append(out.Installed, e.Key())
		if look {
			continue
		}
		b, checked, err := u.fetch(ctx, get, e, archive)
		if err != nil {
			return nil, fmt.Errorf("suite %s: %w", e.Key(), err)
		}
		fetched[e.SHA256] = b
		next.Suites = append(next.Suites, Installed{Name: e.Name, Version: e.Version, Channel: m.Channel, SHA256: e.SHA256,
			Digest: checked.Digest, Status: e.Status, Manifest: m.Version})
	}
	if look || out.UpToDate && len(fetched) == 0 {
		return out, nil
	}
	return out, u.commit(next, fetched, now.SHA256, raw, bundle)
}

// Read verifies a manifest's bytes and evaluates and decodes it: what anybody can do with a file and its bundle.
func (u *Updater) Read(ctx context.Context, raw, bundle []byte) (*Manifest, Signed, error) {
	signed, err := u.Verify.Verify(raw, bundle)
	if err != nil {
		return nil, signed, err
	}
	m, err := u.Evaluated(ctx, raw)
	return m, signed, err
}

// Evaluated evaluates and decodes a manifest's bytes. They are trusted already: verified, or the user's own.
func (u *Updater) Evaluated(ctx context.Context, raw []byte) (*Manifest, error) {
	const name = "manifest.jsonnet"
	text, err := u.Evaluate(ctx, map[string][]byte{name: raw}, name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return Decode(text)
}

// follows holds a manifest against what was seen before and against the clock.
func (u *Updater) follows(known *state, m *Manifest, now channel, start time.Time) (same bool, err error) {
	if m.Channel != u.Channel {
		return false, fmt.Errorf("%w: it is of %q, want %q", ErrWrongChannel, m.Channel, u.Channel)
	}
	last, seen := known.Channels[m.Channel]
	switch {
	case !seen:
	case m.Epoch < last.Epoch:
		return false, fmt.Errorf("%w: epoch %d after %d", ErrRollback, m.Epoch, last.Epoch)
	case m.Epoch > last.Epoch: // versions count anew
	case m.Version < last.Version:
		return false, fmt.Errorf("%w: version %d after %d", ErrRollback, m.Version, last.Version)
	case m.Version == last.Version && now.SHA256 != last.SHA256:
		return false, fmt.Errorf("%w: version %d is sha256 %.12s…, and was %.12s… before", ErrEquivocation, m.Version, now.SHA256, last.SHA256)
	case m.Version == last.Version:
		same = true
	}
	if seen && !same && !now.SignedAt.IsZero() && now.SignedAt.Before(last.SignedAt) {
		return false, fmt.Errorf("%w: it was signed at %s, the one before at %s", ErrRollback, now.SignedAt.UTC().Format(time.RFC3339), last.SignedAt.UTC().Format(time.RFC3339))
	}
	return same, m.Good(start)
}

// restatus takes over what a manifest says about what is installed from its channel. Each must still be listed, as the same
// archive.
func (s *state) restatus(m *Manifest) (revoked []string, err error) {
	for i := range s.Suites {
		in := &s.Suites[i]
		if in.Channel != m.Channel {
			continue
		}
		e := m.Find(in.Name, in.Version)
		switch {
		case e == nil:
			return nil, fmt.Errorf("%w: %s", ErrDropped, in.Key())
		case e.SHA256 != in.SHA256:
			return nil, fmt.Errorf("%w: %s is listed as sha256 %.12s…, and was %.12s… when it was installed", ErrEquivocation, in.Key(), e.SHA256, in.SHA256)
		case in.Status == Revoked && e.Status != Revoked:
			return nil, fmt.Errorf("%w: %s was revoked and is not any more", ErrRollback, in.Key())
		}
		if e.Status == Revoked && in.Status != Revoked {
			revoked = append(revoked, in.Key())
		}
		in.Status, in.Reason = e.Status, e.Reason
	}
	return revoked, nil
}

// fetch gets an archive and checks it: length, digest, contents.
func (u *Updater) fetch(ctx context.Context, get *fetcher, e *Entry, within time.Duration) ([]byte, Checked, error) {
	if e.Engine > u.Engine {
		return nil, Checked{}, fmt.Errorf("%w: it builds on engine %d, this program has %d", ErrIncompatible, e.Engine, u.Engine)
	}
	address, err := e.address(u.URL)
	if err != nil {
		return nil, Checked{}, err
	}
	if u.Say != nil {
		u.Say("fetching %s (%d bytes)", e.Key(), e.Length)
	}
	b, err := get.get(ctx, address, e.Length, within)
	if err != nil {
		return nil, Checked{}, err
	}
	c, err := u.fits(ctx, e, b)
	return b, c, err
}

// Fits says whether an archive is the one that an entry lists, and can be installed.
func (u *Updater) Fits(ctx context.Context, e *Entry, archive []byte) error {
	_, err := u.fits(ctx, e, archive)
	return err
}

func (u *Updater) fits(ctx context.Context, e *Entry, b []byte) (Checked, error) {
	if int64(len(b)) != e.Length {
		return Checked{}, fmt.Errorf("%w: it has %d bytes, want %d", ErrDigest, len(b), e.Length)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != e.SHA256 {
		return Checked{}, fmt.Errorf("%w: its sha256 is %x, want %s", ErrDigest, sum, e.SHA256)
	}
	c, err := u.Check(ctx, b)
	switch {
	case err != nil:
		return c, fmt.Errorf("%w: %w", ErrArchive, err)
	case c.Name != e.Name || c.Version != e.Version:
		return c, fmt.Errorf("%w: it holds %s@%s", ErrArchive, c.Name, c.Version)
	case c.Engine != e.Engine:
		return c, fmt.Errorf("%w: it builds on engine %d, and is listed with %d", ErrArchive, c.Engine, e.Engine)
	}
	return c, nil
}

// commit writes archives and manifest, each under its digest, and then the state, which makes them count.
func (u *Updater) commit(next *state, archives map[string][]byte, sum string, raw, bundle []byte) error {
	step := u.step
	if step == nil {
		step = func(string) {}
	}
	names := make([]string, 0, len(archives))
	for name := range archives {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := put(u.Dir, "archives/"+name+archiveSuffix, archives[name], step); err != nil {
			return err
		}
	}
	if err := put(u.Dir, "manifests/"+sum+manifestSuffix, raw, step); err != nil {
		return err
	}
	if err := put(u.Dir, "manifests/"+sum+manifestSuffix+BundleSuffix, bundle, step); err != nil {
		return err
	}
	b, err := encode(next)
	if err != nil {
		return err
	}
	if err := put(u.Dir, stateFile, b, step); err != nil {
		return err
	}
	step("sweep")
	sweep(u.Dir, next)
	step("done")
	return nil
}

// Suites lists what is installed in a folder.
func Suites(dir string) ([]Installed, error) {
	s, err := readState(dir)
	if err != nil {
		return nil, err
	}
	return s.Suites, nil
}

// Open reads an installed version of a suite; an empty version is the newest of those that are current, or else of the old
// ones, or else of the revoked. The archive is held against its digest each time.
func Open(dir, name, version string) (archive []byte, in Installed, err error) {
	s, err := readState(dir)
	if err != nil {
		return nil, in, err
	}
	var found *Installed
	for i := range s.Suites {
		one := &s.Suites[i]
		if one.Name != name || version != "" && one.Version != version {
			continue
		}
		if found == nil || rank(one) > rank(found) || rank(one) == rank(found) && Newer(one.Version, found.Version) {
			found = one
		}
	}
	if found == nil {
		return nil, in, fmt.Errorf("suite %s is not installed: %w", cmp.Or(name+"@"+version, name), fs.ErrNotExist)
	}
	b, err := readFile(filepath.Join(dir, "archives", found.SHA256+archiveSuffix), maxArchive)
	if err != nil {
		return nil, *found, fmt.Errorf("suite %s: %w", found.Key(), err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != found.SHA256 {
		return nil, *found, fmt.Errorf("suite %s: %w: the installed file was changed", found.Key(), ErrDigest)
	}
	return b, *found, nil
}

// RevokedBy tells whether a version of a suite, installed or not, is revoked as far as this folder knows, and why.
func RevokedBy(dir, name, version string) (reason string, revoked bool, err error) {
	s, err := readState(dir)
	if err != nil {
		return "", false, err
	}
	for _, c := range s.Channels {
		if reason, revoked = c.Revoked[name+"@"+version]; revoked {
			return reason, true, nil
		}
	}
	return "", false, nil
}

// Expires is until when the manifest is good that a channel's state rests on; zero where the channel was never seen.
func Expires(dir, channel string) (time.Time, error) {
	s, err := readState(dir)
	if err != nil {
		return time.Time{}, err
	}
	return s.Channels[channel].Expires, nil
}

// Remove takes an installed version of a suite away.
func Remove(dir, name, version string) error {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := readState(dir)
	if err != nil {
		return err
	}
	if s.find(name, version) == nil {
		return fmt.Errorf("suite %s@%s is not installed: %w", name, version, fs.ErrNotExist)
	}
	s.Suites = slices.DeleteFunc(s.Suites, func(in Installed) bool { return in.Name == name && in.Version == version })
	b, err := encode(s)
	if err != nil {
		return err
	}
	if err := put(dir, stateFile, b, func(string) {}); err != nil {
		return err
	}
	sweep(dir, s)
	return nil
}

// rank orders statuses by how much one would want a suite of them.
func rank(in *Installed) int { return slices.Index([]string{Revoked, Old, Current}, in.Status) }

// Proof gives the signed manifest that a channel's state rests on, and its bundle, for verifying them again.
func Proof(dir, channel string) (raw, bundle []byte, err error) {
	s, err := readState(dir)
	if err != nil {
		return nil, nil, err
	}
	c, ok := s.Channels[channel]
	if !ok || !hexDigest.MatchString(c.SHA256) {
		return nil, nil, fmt.Errorf("%w: channel %q was never seen", ErrState, channel)
	}
	path := filepath.Join(dir, "manifests", c.SHA256+manifestSuffix)
	if raw, err = readFile(path, maxManifest); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != c.SHA256 {
		return nil, nil, fmt.Errorf("%w: the kept manifest was changed", ErrState)
	}
	if bundle, err = readFile(path+BundleSuffix, maxBundle); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	return raw, bundle, nil
}

func encode(s *state) ([]byte, error) {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the state: %w", err)
	}
	return append(b, '\n'), nil
}

// lock keeps a second update out, until the function that it gives is called.
func lock(dir string) (func(), error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // published data
		return nil, fmt.Errorf("%w: make the folder of suites: %w", ErrInstall, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // of the suites' folder
	if err != nil {
		return nil, fmt.Errorf("%w: lock the folder of suites: %w", ErrInstall, err)
	}
	if busy, err := filelock.Take(f); err != nil {
		_ = f.Close()
		if busy {
			return nil, fmt.Errorf("%w in %s", ErrLocked, dir)
		}
		return nil, fmt.Errorf("%w: lock the folder of suites: %w", ErrInstall, err)
	}
	return func() { _ = f.Close() }, nil
}
