package upload

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/llm-speed/llm-speed/internal/seal"
)

// receiptSchema is the first line of a receipt.
const receiptSchema = "llm-speed/receipt/v1"

// maxReceipt bounds a receipt: five short lines and a few signatures.
const maxReceipt = 8 << 10

// Receipt is what a service says that it has received. It is a signed note (golang.org/x/mod/sumdb/note, C2SP signed-note), so that
// a service that leaves a result out of its log later can be shown that it had it.
type Receipt struct {
	ID         string    // of the document
	SHA256     string    // of its envelope, in hex
	ReceivedAt time.Time // by the service's clock, to the second
	LogIndex   int64     // in the service's log
}

// Text is what is signed: five lines.
func (r Receipt) Text() string {
	return fmt.Sprintf("%s\nid %s\nsha256 %s\nreceived_at %s\nlog_index %d\n", receiptSchema, r.ID, r.SHA256, r.ReceivedAt.UTC().Format(time.RFC3339), r.LogIndex)
}

// Sign makes the note that a service would send.
func (r Receipt) Sign(key note.Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: r.Text()}, key)
}

// ErrUnknownKey means that a receipt is well formed and signed by somebody whose key is not known here.
var ErrUnknownKey = errors.New("signed with a key that is not known")

// IsReceipt reports whether a file looks like a receipt, whatever its state.
func IsReceipt(file []byte) bool { return bytes.HasPrefix(file, []byte("llm-speed/receipt/")) }

// Signed is a receipt with who signed it.
type Signed struct {
	Receipt
	By string // name of the key that was checked; with ErrUnknownKey, names that nobody has checked
}

// OpenReceipt reads a receipt and checks its signature with the key of a service (a verifier key: name+hash+base64). With an
// empty key, or where no signature is of that key, the error is ErrUnknownKey, and the receipt is what it claims to be.
// Errors that wrap seal.ErrBad say that it is no receipt, or that it was changed.
func OpenReceipt(file []byte, key string) (Signed, error) {
	var s Signed
	if len(file) > maxReceipt {
		return s, fmt.Errorf("%w: the receipt has %d bytes; the most is %d", seal.ErrBad, len(file), maxReceipt)
	}
	var known []note.Verifier
	if key != "" {
		v, err := note.NewVerifier(key)
		if err != nil {
			return s, fmt.Errorf("the service's key: %w; want a verifier key, as name+1234abcd+AbC…", err)
		}
		known = append(known, v)
	}
	n, err := note.Open(file, note.VerifierList(known...))
	var unverified *note.UnverifiedNoteError
	switch {
	case err == nil:
	case errors.As(err, &unverified):
		n = unverified.Note
	default:
		return s, fmt.Errorf("%w: the receipt: %w", seal.ErrBad, err)
	}
	if s.Receipt, err = parseReceipt(n.Text); err != nil {
		return s, err
	}
	list := n.Sigs
	if unverified != nil {
		list = n.UnverifiedSigs
	}
	var names []string
	for _, sig := range list {
		names = append(names, sig.Name)
		// Bits that decoding passes over could be flipped.
		if _, err := base64.StdEncoding.Strict().DecodeString(sig.Base64); err != nil {
			return Signed{}, fmt.Errorf("%w: the receipt's signature is no base64", seal.ErrBad)
		}
	}
	s.By = strings.Join(names, ", ")
	if unverified != nil {
		return s, ErrUnknownKey
	}
	// Of the notes that say the same one form only is taken.
	if again, err := note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs, UnverifiedSigs: n.UnverifiedSigs}); err != nil || !bytes.Equal(again, file) {
		return s, fmt.Errorf("%w: the receipt is not written as a service writes it", seal.ErrBad)
	}
	return s, nil
}

// parseReceipt reads the text of a receipt: the five lines of Text, and in no other form.
func parseReceipt(text string) (Receipt, error) {
	var r Receipt
	lines := strings.Split(text, "\n")
	if lines[0] != receiptSchema {
		if strings.HasPrefix(lines[0], "llm-speed/receipt/") {
			return r, seal.SchemaError(lines[0], receiptSchema)
		}
		return r, fmt.Errorf("%w: the note is no receipt", seal.ErrBad)
	}
	values := map[string]string{}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, " ")
		values[name] = value
	}
	r.ID, r.SHA256 = values["id"], values["sha256"]
	var errTime, errIndex error
	r.ReceivedAt, errTime = time.Parse(time.RFC3339, values["received_at"])
	r.LogIndex, errIndex = strconv.ParseInt(values["log_index"], 10, 64)
	if errTime != nil || errIndex != nil || !idForm.MatchString(r.ID) || !hex64.MatchString(r.SHA256) || r.LogIndex < 0 || r.LogIndex > largest || r.Text() != text {
		return Receipt{}, fmt.Errorf("%w: the receipt is not of the form that this program knows", seal.ErrBad)
	}
	return r, nil
}

// Fits says whether a receipt is of a document.
func (r Receipt) Fits(d Document) error {
	if r.ID != d.ID() || r.SHA256 != d.SHA256() {
		return fmt.Errorf("%w: the receipt is of document %s, this one is %s", seal.ErrBad, r.ID, d.ID())
	}
	return nil
}
