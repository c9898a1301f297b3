package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// stateSchema names the state's form.
const stateSchema = "llm-speed/suites-state/v1"

// state is what is known of a folder of installed suites. Its file is written last: what it does not name is not installed.
type state struct {
	Schema   string             `json:"schema"`
	Channels map[string]channel `json:"channels"`
	Suites   []Installed        `json:"suites"` // in the order of their installation
}

// channel is what was seen of a channel last.
type channel struct {
	Epoch    int       `json:"epoch"`
	Version  int       `json:"version"`
	SHA256   string    `json:"sha256"` // of the manifest; it lies in manifests/ under this name, its bundle beside it
	SignedAt time.Time `json:"signed_at"`
	Expires  time.Time `json:"expires"`

	Revoked map[string]string `json:"revoked,omitempty"` // name@version, installed or not: why
}

// Installed is an installed version of a suite.
type Installed struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Channel  string `json:"channel"`
	SHA256   string `json:"sha256"` // of the archive, which lies in archives/ under this name
	Digest   string `json:"digest"` // of the suite's files
	Status   string `json:"status"`
	Reason   string `json:"reason,omitempty"`
	Manifest int    `json:"manifest"` // version that brought it
}

// Key is name@version.
func (i *Installed) Key() string { return i.Name + "@" + i.Version }

const (
	stateFile = "state.json"
	maxState  = 4 << 20
)

// readState reads the folder's state; a folder that is not there has an empty one.
func readState(dir string) (*state, error) {
	empty := &state{Schema: stateSchema, Channels: map[string]channel{}}
	b, err := readFile(filepath.Join(dir, stateFile), maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	s := &state{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrState, stateFile, err)
	}
	if s.Schema != stateSchema {
		return nil, fmt.Errorf("%w: %s is of schema %q; this program knows %q: a newer llm-speed may have written it", ErrState, stateFile, s.Schema, stateSchema)
	}
	if s.Channels == nil {
		s.Channels = map[string]channel{}
	}
	for i := range s.Suites {
		if in := &s.Suites[i]; !suiteName.MatchString(in.Name) || !semver.MatchString(in.Version) || !hexDigest.MatchString(in.SHA256) {
			return nil, fmt.Errorf("%w: %s: suites[%d] is malformed", ErrState, stateFile, i)
		}
	}
	return s, nil
}

// find gives an installed version; nil where it is not installed.
func (s *state) find(name, version string) *Installed {
	for i := range s.Suites {
		if s.Suites[i].Name == name && s.Suites[i].Version == version {
			return &s.Suites[i]
		}
	}
	return nil
}

// readFile reads a file of at most most bytes.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // of the suites' folder
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: %w", filepath.Base(path), ErrTooLarge)
	}
	return b, err
}

// put writes a file of the folder so that, whatever happens, it is there as a whole or not at all. step is called before the
// file is begun and before it is given its name.
func put(dir, name string, b []byte, step func(string)) error {
	step("write " + name)
	path := filepath.Join(dir, filepath.FromSlash(name))
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // published data
		return fmt.Errorf("%w: %w", ErrInstall, err)
	}
	f, err := os.CreateTemp(parent, ".new-*")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInstall, err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		step("rename " + name)
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("%w: %w", ErrInstall, err)
	}
	if d, err := os.Open(parent); err == nil { // so that the name lasts too; some systems can't
		_ = d.Sync()
		_ = d.Close()
	}
	return nil
}

// sweep removes what an interrupted update has left behind.
func sweep(dir string, s *state) {
	named := map[string]bool{}
	for _, in := range s.Suites {
		named[in.SHA256+archiveSuffix] = true
	}
	for _, c := range s.Channels {
		named[c.SHA256+manifestSuffix], named[c.SHA256+manifestSuffix+BundleSuffix] = true, true
	}
	for _, sub := range []string{".", "archives", "manifests"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			continue
		}
		for _, e := range entries {
			left := strings.HasPrefix(e.Name(), ".new-")
			if left || sub != "." && !named[e.Name()] {
				_ = os.Remove(filepath.Join(dir, sub, e.Name()))
			}
		}
	}
}

const (
	archiveSuffix  = ".tar.gz"
	manifestSuffix = ".jsonnet"
)
