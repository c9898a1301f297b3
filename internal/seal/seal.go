// Package seal signs documents and checks such signatures offline: a DSSE envelope over exact bytes, with an Ed25519 key of
// its own for every run.
//
// A good signature says that the bytes are those that somebody sealed with that key. It says nothing about who that was,
// when it was, or whether the numbers were measured: whoever has the program can make a key and sign anything. The package
// reads no files, keeps no keys, and never sends anything.
package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// ErrBad means that a seal is not good: a byte was changed, or it was made with another key than it names.
var ErrBad = errors.New("bad seal")

// maxEnvelope bounds an envelope that is read: a result of 256 MiB in base64, and room for the rest.
const maxEnvelope = 360 << 20

// An Envelope is a DSSE envelope (https://github.com/secure-systems-lab/dsse) with one signature. Its file is the JSON that
// Encode gives, and no other form of it is taken, so that a flipped bit anywhere is found.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"` // base64 in the file; exact bytes, never written anew
	Signatures  []Signature `json:"signatures"`

	// Document is the result that a Statement speaks of, where it travels in the same file. The signature covers it by the
	// statement's hash; readers of DSSE pass it over.
	Document []byte `json:"document,omitempty"`
}

// Signature is one signature of an envelope.
type Signature struct {
	KeyID string `json:"keyid"` // the public key in hex
	Sig   []byte `json:"sig"`
}

// Sign makes an envelope.
func Sign(payloadType string, payload []byte, key Key) Envelope {
	return Envelope{
		PayloadType: payloadType, Payload: payload,
		Signatures: []Signature{{KeyID: key.Public(), Sig: ed25519.Sign(key.private, dsse.PAE(payloadType, payload))}},
	}
}

// ID names an envelope: 16 letters and digits (Crockford's base 32) of SHA-256 over what is signed. Another document, or the
// same one under another type, has another id.
func (e Envelope) ID() string {
	sum := sha256.Sum256(dsse.PAE(e.PayloadType, e.Payload))
	return base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding).EncodeToString(sum[:10])
}

// Encode gives the envelope's file.
func (e Envelope) Encode() []byte { return canonical(e) }

// Open reads an envelope's file and checks its signature with the key that it names; it does not look into the payload. The
// caller compares the key that the payload names with Public. Errors wrap ErrBad where the envelope was changed.
func Open(file []byte, payloadType string) (Envelope, error) {
	var e Envelope
	if len(file) > maxEnvelope {
		return e, fmt.Errorf("the envelope is larger than %d bytes", maxEnvelope)
	}
	if err := Check(file, Limits{Bytes: maxEnvelope}); err != nil {
		return e, fmt.Errorf("%w: the envelope: %w", ErrBad, err)
	}
	if err := json.Unmarshal(file, &e); err != nil {
		return e, fmt.Errorf("%w: the envelope: %w", ErrBad, err)
	}
	if e.PayloadType != payloadType {
		return e, typeError(e.PayloadType, payloadType)
	}
	if !bytes.Equal(file, e.Encode()) {
		return e, fmt.Errorf("%w: the envelope is not written as this program writes it: something was added, left out or changed", ErrBad)
	}
	if len(e.Signatures) != 1 {
		return e, fmt.Errorf("%w: %d signatures, want one", ErrBad, len(e.Signatures))
	}
	s := e.Signatures[0]
	public, err := hex.DecodeString(s.KeyID)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return e, fmt.Errorf("%w: keyid is no Ed25519 key in hex", ErrBad)
	}
	if !ed25519.Verify(public, dsse.PAE(e.PayloadType, e.Payload), s.Sig) {
		return e, fmt.Errorf("%w: the signature does not fit the bytes: they were changed after they were signed, or the signature was", ErrBad)
	}
	return e, nil
}

// Public is the key that the envelope names, in hex. Open has checked the signature with it.
func (e Envelope) Public() string {
	if len(e.Signatures) != 1 {
		return ""
	}
	return e.Signatures[0].KeyID
}

// canonical is JSON as all files of this package are written: fields in the order of the Go types, no spaces, one line.
func canonical(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil // structs of texts and whole numbers have no such error
	}
	return b.Bytes()
}
