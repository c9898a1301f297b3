package identity

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"io/fs"
	"path/filepath"
)

// keysFile is the name of the secret that keys are derived from, in the data directory. It is another than the one of fp: an
// installation that takes a new fp keeps the keys with which its results can be withdrawn.
const keysFile = "key-secret"

// OpenKeys is Open for the secret that the keys of runs are derived from.
func OpenKeys(dir string) (Secret, error) { return open(dir, keysFile) }

// Derive gives 32 bytes by HKDF-SHA256 (RFC 5869) from the secret. They tell nothing about it, nor about those of another
// salt or info.
func (s Secret) Derive(salt, info string) [32]byte {
	var out [32]byte
	b, err := hkdf.Key(sha256.New, s.bytes[:], []byte(salt), info, len(out))
	if err != nil {
		panic(err) // only for lengths that are not ours
	}
	copy(out[:], b)
	return out
}

// LookKeys is OpenKeys that makes no secret: ok is false where there is none.
func LookKeys(dir string) (s Secret, ok bool, err error) {
	s, err = read(filepath.Join(dir, keysFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	return s, err == nil, err
}
