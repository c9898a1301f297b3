package seal

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
)

// Key is the key of one run. It shows itself in no text.
type Key struct{ private ed25519.PrivateKey }

// String is three stars.
func (Key) String() string { return "***" }

// GoString is three stars.
func (Key) GoString() string { return "***" }

// Public is the public half in hex. Those of two runs of one installation have nothing to do with each other.
func (k Key) Public() string { return hex.EncodeToString(k.private.Public().(ed25519.PublicKey)) }

// Material is what one run is sealed with.
type Material struct {
	Key   Key
	Salt  [32]byte // of the commitment to fp
	Nonce [16]byte // goes into uploaded documents, so that the id of an erased one can't be guessed
}

// Derive gives 32 bytes by HKDF-SHA256 from a secret of the installation.
type Derive func(salt, info string) [32]byte

// Derived is the material of a run that this installation can make again at any time: the key with which its results can be
// withdrawn later. Keys of different runs can't be linked without the secret.
func Derived(derive Derive, runID string) Material {
	seed := derive(runID, "llm-speed/result-key/v1")
	m := Material{Key: Key{ed25519.NewKeyFromSeed(seed[:])}, Salt: derive(runID, "llm-speed/fp-salt/v1")}
	nonce := derive(runID, "llm-speed/upload-nonce/v1")
	copy(m.Nonce[:], nonce[:])
	return m
}

// Unlinkable is the material of a run's anonymous document: derived like that of the run, so that it can be withdrawn too, and
// without the secret nothing ties it to the run's own.
func Unlinkable(derive Derive, runID string) Material {
	return Derived(func(salt, info string) [32]byte { return derive(salt, "anonymous/"+info) }, runID)
}

// Forgotten is random material that nobody can make again once it is dropped: nobody can withdraw with it.
func Forgotten() Material {
	var seed [32]byte
	var m Material
	for _, b := range [][]byte{seed[:], m.Salt[:], m.Nonce[:]} {
		_, _ = rand.Read(b) // never fails, by its contract
	}
	m.Key = Key{ed25519.NewKeyFromSeed(seed[:])}
	return m
}
