package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Good says whether a manifest's dates hold at a moment: it has not expired, and it is not of the future.
func (m *Manifest) Good(at time.Time) error {
	day := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case !m.Expires.After(at):
		return fmt.Errorf("%w: at %s; it is %s", ErrExpired, day(m.Expires), day(at))
	case m.Issued.After(at.Add(clockSlack)):
		return fmt.Errorf("%w: issued at %s; it is %s", ErrFuture, day(m.Issued), day(at))
	}
	return nil
}

// Follows says whether a manifest can be published after another: who has installed anything of the last would otherwise be
// refused the next.
func (m *Manifest) Follows(last *Manifest) error {
	switch {
	case m.Channel != last.Channel:
		return fmt.Errorf("%w: it is of %q, the last of %q", ErrWrongChannel, m.Channel, last.Channel)
	case m.Epoch < last.Epoch:
		return fmt.Errorf("%w: epoch %d after %d", ErrRollback, m.Epoch, last.Epoch)
	case m.Epoch == last.Epoch && m.Version <= last.Version:
		return fmt.Errorf("%w: version %d after %d", ErrRollback, m.Version, last.Version)
	}
	was := &state{}
	for i := range last.Suites {
		e := &last.Suites[i]
		was.Suites = append(was.Suites, Installed{Name: e.Name, Version: e.Version, Channel: last.Channel, SHA256: e.SHA256, Status: e.Status})
	}
	_, err := was.restatus(m)
	return err
}

// Renew gives a manifest the version after that of the last one, where it has none higher, and dates from a moment on. last
// may be nil.
func (m *Manifest) Renew(last *Manifest, at time.Time, days int) {
	if last != nil && m.Epoch == last.Epoch {
		m.Version = max(m.Version, last.Version+1)
	}
	m.Issued = at.UTC().Truncate(time.Second)
	m.Expires = m.Issued.AddDate(0, 0, days)
}

// Encode writes a manifest as JSON, which is jsonnet too.
func (m *Manifest) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	return b.Bytes(), nil
}
