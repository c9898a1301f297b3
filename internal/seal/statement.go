package seal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// Schema names the statement of a run's seal; StatementType is its type in an envelope.
const (
	Schema        = "llm-speed/seal/v1"
	StatementType = "application/vnd.llm-speed.seal.v1+json"
)

// maxStatement bounds a statement: it has a dozen short fields.
const maxStatement = 16 << 10

// Statement is what the seal of a run signs: which bytes its result.json has. The result names each of the run's other files
// with its SHA-256, so that they are sealed with it. It holds no time: a clock of one's own proves nothing.
type Statement struct {
	Schema       string `json:"schema"`
	RunID        string `json:"run_id"`
	State        string `json:"state"` // of the run when it was sealed: complete, partial (stopped), or running (cut off)
	ResultSchema string `json:"result_schema"`
	ResultSHA256 string `json:"result_sha256"`
	ResultBytes  int64  `json:"result_bytes"`
	Pub          string `json:"pub"`       // the key that signs, in hex
	FPCommit     string `json:"fp_commit"` // SHA-256 of fp and fp_salt, as bytes; empty where the run has no fp
	FPSalt       string `json:"fp_salt"`   // empty where fp_commit is
}

// sealed are the fields of a result that its statement repeats.
type sealed struct {
	Schema string `json:"schema"`
	RunID  string `json:"run_id"`
	State  string `json:"state"`
	FP     string `json:"fp"`
}

// Run seals the exact bytes of a result document.
func Run(result []byte, m Material) (Envelope, error) {
	var r sealed
	if err := json.Unmarshal(result, &r); err != nil {
		return Envelope{}, fmt.Errorf("seal the result: it can't be read: %w", err)
	}
	sum := sha256.Sum256(result)
	s := Statement{
		Schema: Schema, RunID: r.RunID, State: r.State, ResultSchema: r.Schema, ResultSHA256: hex.EncodeToString(sum[:]), ResultBytes: int64(len(result)),
		Pub: m.Key.Public(),
	}
	if r.FP != "" {
		var err error
		if s.FPCommit, err = Commit(r.FP, m.Salt[:]); err != nil {
			return Envelope{}, fmt.Errorf("seal the result: %w", err)
		}
		s.FPSalt = hex.EncodeToString(m.Salt[:])
	}
	return Sign(StatementType, canonical(s), m.Key), nil
}

// Commit ties a signature to an fp without showing it: SHA-256 of the fp's bytes and a salt, in hex.
func Commit(fp string, salt []byte) (string, error) {
	b, err := hex.DecodeString(fp)
	if err != nil || len(b) != sha256.Size {
		return "", errors.New("fp is not 64 hex digits")
	}
	sum := sha256.Sum256(append(b, salt...))
	return hex.EncodeToString(sum[:]), nil
}

// OpenRun checks the seal of a run as far as it stands alone, and gives what it states. Whether it fits a result says Fits.
func OpenRun(file []byte) (Envelope, Statement, error) {
	var s Statement
	e, err := Open(file, StatementType)
	if err != nil {
		return e, s, err
	}
	if err := Decode(e.Payload, "the statement", Limits{Bytes: maxStatement}, &s); err != nil {
		if s.Schema != "" && s.Schema != Schema {
			return e, s, SchemaError(s.Schema, Schema)
		}
		return e, s, fmt.Errorf("%w: %w", ErrBad, err)
	}
	if s.Schema != Schema {
		return e, s, SchemaError(s.Schema, Schema)
	}
	if s.Pub != e.Public() {
		return e, s, fmt.Errorf("%w: it was signed with another key than it names", ErrBad)
	}
	if e.Document != nil {
		if err := s.Fits(e.Document); err != nil {
			return e, s, err
		}
	}
	return e, s, nil
}

// Fits says whether a result is the sealed one, to the byte.
func (s Statement) Fits(result []byte) error {
	sum := sha256.Sum256(result)
	if hex.EncodeToString(sum[:]) != s.ResultSHA256 || int64(len(result)) != s.ResultBytes {
		return fmt.Errorf("%w: the result is not the one that was sealed: it has %d bytes and sha256 %x, the sealed one %d and %s", ErrBad, len(result), sum, s.ResultBytes, Shorten(s.ResultSHA256))
	}
	var r sealed
	if err := json.Unmarshal(result, &r); err != nil {
		return fmt.Errorf("%w: the sealed result can't be read: %w", ErrBad, err)
	}
	if (sealed{s.ResultSchema, s.RunID, s.State, r.FP}) != r {
		return fmt.Errorf("%w: its statement is about run %q (%s), the result is run %q (%s)", ErrBad, Shorten(s.RunID), Shorten(s.State), Shorten(r.RunID), Shorten(r.State))
	}
	return CheckCommit(r.FP, s.FPSalt, s.FPCommit)
}

// CheckCommit says whether a commitment is that of an fp and its salt. All three are empty where a run has no fp.
func CheckCommit(fp, salt, commit string) error {
	if fp == "" && salt == "" && commit == "" {
		return nil
	}
	b, err := hex.DecodeString(salt)
	if err != nil || len(b) != 32 {
		return fmt.Errorf("%w: the salt of fp_commit is not 64 hex digits", ErrBad)
	}
	want, err := Commit(fp, b)
	if err != nil || want != commit {
		return fmt.Errorf("%w: fp_commit is not that of the run's fp", ErrBad)
	}
	return nil
}
