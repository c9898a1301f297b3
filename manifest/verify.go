package manifest

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// Verifier verifies a bundle over the exact bytes of a manifest, offline: either keyless or by one public key, never both.
type Verifier struct {
	verifier *verify.Verifier
	policy   verify.PolicyOption
	who      string
	keyless  bool
}

// Signed is what a signature has proved.
type Signed struct {
	By string    // the identity, or the key's fingerprint
	At time.Time // when, as the transparency log or a time stamp says; zero for a signature by a key
}

// Identity is who must have signed, exactly.
type Identity struct {
	Issuer  string
	Subject string
}

// Keyless makes a verifier of signatures by an identity: a certificate of the trusted root's authority for exactly this
// issuer and subject, its embedded SCT, an entry in a transparency log with its proof, and a time from either.
func Keyless(trustedRoot []byte, id Identity) (*Verifier, error) {
	return keyless(trustedRoot, id, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
}

// keyless takes the proofs that are wanted, since the certificates of a test's authority have no SCT.
func keyless(trustedRoot []byte, id Identity, proofs ...verify.VerifierOption) (*Verifier, error) {
	material, err := root.NewTrustedRootFromJSON(trustedRoot)
	if err != nil {
		return nil, fmt.Errorf("read the trusted root: %w", err)
	}
	v, err := verify.NewVerifier(material, proofs...)
	if err != nil {
		return nil, fmt.Errorf("use the trusted root: %w", err)
	}
	who, err := verify.NewShortCertificateIdentity(id.Issuer, "", id.Subject, "")
	if err != nil {
		return nil, fmt.Errorf("identity %q of %q: %w", id.Subject, id.Issuer, err)
	}
	return &Verifier{v, verify.WithCertificateIdentity(who), id.Subject, true}, nil
}

// Key makes a verifier of signatures by a public key in PEM, which is good from one moment to another.
func Key(pem []byte, from, until time.Time) (*Verifier, error) {
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(pem)
	if err != nil {
		return nil, fmt.Errorf("read the public key: %w", err)
	}
	check, err := signature.LoadVerifier(pub, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("use the public key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("use the public key: %w", err)
	}
	sum := sha256.Sum256(der)
	hint := base64.StdEncoding.EncodeToString(sum[:])
	material := root.NewTrustedPublicKeyMaterialFromMapping(map[string]*root.ExpiringKey{hint: root.NewExpiringKey(check, from, until)})
	// Without WithCurrentTime the key's window would not be looked at.
	v, err := verify.NewVerifier(material, verify.WithCurrentTime())
	if err != nil {
		return nil, fmt.Errorf("use the public key: %w", err)
	}
	return &Verifier{v, verify.WithKey(), "key " + hint, false}, nil
}

// Who is whose signatures hold.
func (v *Verifier) Who() string { return v.who }

// Verify verifies a sigstore bundle over the exact bytes of an artifact. It takes a plain signature of these bytes only, no
// statement about them. The error wraps ErrSignature.
func (v *Verifier) Verify(artifact, bundleJSON []byte) (Signed, error) {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(bundleJSON); err != nil {
		return Signed{}, fmt.Errorf("%w: the bundle can't be read: %w", ErrSignature, err)
	}
	result, err := v.proved(&b, verify.WithArtifact(bytes.NewReader(artifact)))
	if err != nil {
		return Signed{}, err
	}
	return v.signed(result)
}

// proved verifies everything that a bundle has to prove about an artifact.
func (v *Verifier) proved(b *bundle.Bundle, artifact verify.ArtifactPolicyOption) (*verify.VerificationResult, error) {
	result, err := v.verifier.Verify(b, verify.NewPolicy(artifact, v.policy))
	if err != nil {
		return nil, fmt.Errorf("%w: wanted: %s: %w", ErrSignature, v.who, err)
	}
	return result, nil
}

// signed takes a plain signature out of what was proved.
func (v *Verifier) signed(result *verify.VerificationResult) (Signed, error) {
	if result.Statement != nil {
		return Signed{}, fmt.Errorf("%w: it signs a statement about the manifest, not the manifest", ErrSignature)
	}
	s := Signed{By: v.who}
	for _, t := range result.VerifiedTimestamps {
		if s.At.IsZero() || t.Timestamp.Before(s.At) {
			s.At = t.Timestamp
		}
	}
	if !v.keyless {
		s.At = time.Time{} // the moment of this check, which is none of the signature's
	}
	return s, nil
}
