package engine

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// redactedError is an error whose text had a secret in it; what it wraps is still found by errors.Is and errors.As.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

// redact takes the key out of an error's text: servers quote it back.
func (r *run) redact(err error) error {
	if err == nil {
		return nil
	}
	if clean := r.redactText(err.Error()); clean != err.Error() {
		return &redactedError{clean, err}
	}
	return err
}

func (r *run) redactText(s string) string {
	for _, secret := range r.hidden() {
		s = strings.ReplaceAll(s, secret, "***")
	}
	if r.masksText() {
		s = r.echoes.without(s)
	}
	return s
}

// hidden lists what must appear in no text: the key, and what the session adds to it.
func (r *run) hidden() []string {
	// A key of one or two letters is a placeholder; hiding it would put stars into every word and every field's name.
	if key := r.opt.Config.APIKey; key.IsSet() && len(key.Reveal()) >= leastSecret {
		return append([]string{key.Reveal()}, r.secrets...)
	}
	return r.secrets
}

// redactRecording takes the key out of what is kept of a stream, and a hosted service's answers, with what its errors repeat of the
// prompt, where nobody asked for them. Stars of the same length stand for it, so that no stamp
// moves to another byte.
func (r *run) redactRecording(rec stream.Recording, of drivers.Prompt) stream.Recording {
	for _, s := range r.hidden() {
		secret := []byte(s)
		if bytes.Contains(rec.Data, secret) {
			rec.Data = bytes.ReplaceAll(rec.Data, secret, bytes.Repeat([]byte("*"), len(secret)))
		}
	}
	rec.Fault = r.redactText(rec.Fault)
	if r.masksText() {
		rec = maskEchoes(maskText(rec), of)
	}
	return rec
}

// leastSecret is the length in bytes from which a key is taken for one.
const leastSecret = 4

// readSuite reads a file of the suite.
func readSuite(files fs.FS, path string) ([]byte, error) {
	b, err := fs.ReadFile(files, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("no such file in the suite")}
	}
	return b, err
}
