package upload

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/llm-speed/llm-speed/internal/seal"
)

// MaxFile bounds a document that is read: the body in base64, and room for the rest.
const MaxFile = 400 << 10

// Document is what would be sent: the signed summary, which a service may show to everybody, and beside it what only the
// service itself is to see.
type Document struct {
	Envelope seal.Envelope `json:"envelope"`
	FP       string        `json:"fp"`      // of the machine, docs/machine.md; empty where the run has none
	FPSalt   string        `json:"fp_salt"` // with it fp is tied to the signed fp_commit
}

// Encode gives the exact bytes that would be sent.
func (d Document) Encode() []byte { return seal.Encode(d) }

// ID is the document's id: 16 letters and digits of SHA-256 over what is signed. The same run under the same key has the same id
// whenever it is prepared.
func (d Document) ID() string { return d.Envelope.ID() }

// SHA256 is that of the envelope, in hex: what a receipt names.
func (d Document) SHA256() string {
	sum := sha256.Sum256(d.Envelope.Encode())
	return hex.EncodeToString(sum[:])
}

// Body is the summary, decoded. The document comes from Open or Prepare, so that it can be.
func (d Document) Body() (*Body, error) { return parse(d.Envelope.Payload) }

// Is reports whether a file looks like a document of this package, or like the envelope of one, whatever its state.
func Is(file []byte) bool {
	return bytes.HasPrefix(file, []byte(`{"envelope"`)) || bytes.HasPrefix(file, []byte(`{"payloadType":"application/vnd.llm-speed.result.`))
}

// Open reads a document and checks all of it: its form, its signature, its limits, and that fp is the one that the signed body
// commits to. It takes the bare envelope too, as a service shows it. An error that wraps seal.ErrBad says that it was changed
// or was never good; others that it is too large, or of another version.
func Open(file []byte) (Document, error) {
	var d Document
	if len(file) > MaxFile {
		return d, fmt.Errorf("the document has %d bytes; the most is %d", len(file), MaxFile)
	}
	if !bytes.HasPrefix(file, []byte(`{"envelope"`)) {
		e, err := seal.Open(file, Type)
		if err != nil {
			return d, err
		}
		d.Envelope = e
		return d, d.check(true)
	}
	if err := seal.Decode(file, "the document", seal.Limits{Bytes: MaxFile}, &d); err != nil {
		return d, fmt.Errorf("%w: %w", seal.ErrBad, err)
	}
	if _, err := seal.Open(d.Envelope.Encode(), Type); err != nil {
		return d, err
	}
	return d, d.check(false)
}

// check is about a document whose signature is good.
func (d Document) check(bare bool) error {
	if d.Envelope.Document != nil {
		return fmt.Errorf("%w: the envelope carries another document", seal.ErrBad)
	}
	b, err := parse(d.Envelope.Payload)
	if err != nil {
		return err
	}
	if b.Pub != d.Envelope.Public() {
		return fmt.Errorf("%w: it was signed with another key than it names", seal.ErrBad)
	}
	if bare {
		return nil
	}
	for _, f := range []string{d.FP, d.FPSalt} {
		if f != "" && !hex64.MatchString(f) { // capitals would be the same number
			return fmt.Errorf("%w: fp and fp_salt are not 64 hex digits each", seal.ErrBad)
		}
	}
	return seal.CheckCommit(d.FP, d.FPSalt, b.FPCommit)
}

// parse reads a body as strictly as it was written.
func parse(payload []byte) (*Body, error) {
	var b Body
	err := seal.Decode(payload, "the summary", seal.Limits{Bytes: maxBody}, &b)
	if err != nil {
		var head struct {
			Schema string `json:"schema"`
		}
		// A newer version has fields that are not known here.
		if json.Unmarshal(payload, &head) == nil && head.Schema != "" && head.Schema != Schema {
			return nil, seal.SchemaError(head.Schema, Schema)
		}
		return nil, fmt.Errorf("%w: %w", seal.ErrBad, err)
	}
	if b.Schema != Schema {
		return nil, seal.SchemaError(b.Schema, Schema)
	}
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("%w: the summary: %w", seal.ErrBad, err)
	}
	return &b, nil
}

// errField is a field that holds what it may not.
var errField = errors.New("not of the form that this field has")
