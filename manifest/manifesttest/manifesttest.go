// Package manifesttest signs manifests for tests: with a virtual sigstore of its own authority and log, or with a key. What it
// writes are real bundles and trusted roots, as files; nothing outside tests imports it.
package manifesttest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"
)

const mediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// Authority is a sigstore of its own: certificate authority, transparency log, time stamps.
type Authority struct{ vs *ca.VirtualSigstore }

// NewAuthority makes one.
func NewAuthority() (*Authority, error) {
	vs, err := ca.NewVirtualSigstore()
	if err != nil {
		return nil, err
	}
	return &Authority{vs}, nil
}

// TrustedRoot is the authority's trusted_root.json.
func (a *Authority) TrustedRoot() ([]byte, error) {
	logs := func(in map[string]*root.TransparencyLog) (map[string]*root.TransparencyLog, error) {
		out := map[string]*root.TransparencyLog{}
		for id, l := range in {
			raw, err := hex.DecodeString(id)
			if err != nil {
				return nil, err
			}
			one := *l
			one.ID, one.SignatureHashFunc = raw, crypto.SHA256
			out[id] = &one
		}
		return out, nil
	}
	rekor, err := logs(a.vs.RekorLogs())
	if err != nil {
		return nil, err
	}
	ct, err := logs(a.vs.CTLogs())
	if err != nil {
		return nil, err
	}
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01, a.vs.FulcioCertificateAuthorities(), ct, a.vs.TimestampingAuthorities(), rekor)
	if err != nil {
		return nil, err
	}
	return tr.MarshalJSON()
}

// Sign signs bytes keyless and gives the bundle.
func (a *Authority) Sign(issuer, subject string, artifact []byte) ([]byte, error) {
	ent, err := a.vs.Sign(subject, issuer, artifact)
	if err != nil {
		return nil, err
	}
	b, err := a.material(ent)
	if err != nil {
		return nil, err
	}
	content, err := ent.SignatureContent()
	if err != nil {
		return nil, err
	}
	m, ok := content.(*bundle.MessageSignature)
	if !ok {
		return nil, errors.New("not a message signature")
	}
	b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: m.Digest()}, Signature: m.Signature()}}
	return protojson.Marshal(b)
}

// Attest signs a statement about bytes, as build provenance does, and gives the bundle.
func (a *Authority) Attest(issuer, subject string, artifact []byte) ([]byte, error) {
	sum := sha256.Sum256(artifact)
	statement := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"manifest.jsonnet","digest":{"sha256":"%x"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}`, sum)
	ent, err := a.vs.AttestAtTime(subject, issuer, []byte(statement), time.Now().Add(5*time.Minute), true)
	if err != nil {
		return nil, err
	}
	b, err := a.material(ent)
	if err != nil {
		return nil, err
	}
	content, err := ent.SignatureContent()
	if err != nil {
		return nil, err
	}
	e, ok := content.(*bundle.Envelope)
	if !ok {
		return nil, errors.New("not an envelope")
	}
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		return nil, err
	}
	sig, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	if err != nil {
		return nil, err
	}
	return marshalDSSE(b, payload, e.PayloadType, sig)
}

// material is a bundle without its content.
func (a *Authority) material(ent *ca.TestEntity) (*protobundle.Bundle, error) {
	content, err := ent.VerificationContent()
	if err != nil {
		return nil, err
	}
	entries, err := ent.TlogEntries()
	if err != nil {
		return nil, err
	}
	var logged []*protorekor.TransparencyLogEntry
	for _, e := range entries {
		tle := e.TransparencyLogEntry()
		proof, err := a.vs.GetInclusionProof(tle.GetCanonicalizedBody())
		if err != nil {
			return nil, err
		}
		rootHash, err := hex.DecodeString(*proof.RootHash)
		if err != nil {
			return nil, err
		}
		p := &protorekor.InclusionProof{LogIndex: *proof.LogIndex, RootHash: rootHash, TreeSize: *proof.TreeSize, Checkpoint: &protorekor.Checkpoint{Envelope: *proof.Checkpoint}}
		for _, h := range proof.Hashes {
			raw, err := hex.DecodeString(h)
			if err != nil {
				return nil, err
			}
			p.Hashes = append(p.Hashes, raw)
		}
		tle.InclusionProof = p
		if err := a.complete(tle); err != nil {
			return nil, err
		}
		logged = append(logged, tle)
	}
	stamps, err := ent.Timestamps()
	if err != nil {
		return nil, err
	}
	v := &protobundle.VerificationMaterial{
		Content:                   &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: content.Certificate().Raw}},
		TlogEntries:               logged,
		TimestampVerificationData: &protobundle.TimestampVerificationData{},
	}
	for _, s := range stamps {
		v.TimestampVerificationData.Rfc3161Timestamps = append(v.TimestampVerificationData.Rfc3161Timestamps, &protocommon.RFC3161SignedTimestamp{SignedTimestamp: s})
	}
	return &protobundle.Bundle{MediaType: mediaType, VerificationMaterial: v}, nil
}

// complete adds what the virtual log leaves out: the entry's kind, and its promise of inclusion, which has the time.
func (a *Authority) complete(tle *protorekor.TransparencyLogEntry) error {
	var kind struct {
		Kind    string `json:"kind"`
		Version string `json:"apiVersion"`
	}
	if err := json.Unmarshal(tle.GetCanonicalizedBody(), &kind); err != nil {
		return err
	}
	tle.KindVersion = &protorekor.KindVersion{Kind: kind.Kind, Version: kind.Version}
	set, err := a.vs.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(tle.GetCanonicalizedBody()), IntegratedTime: tle.GetIntegratedTime(), LogIndex: tle.GetLogIndex(),
		LogID: hex.EncodeToString(tle.GetLogId().GetKeyId())})
	if err != nil {
		return err
	}
	tle.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: set}
	return nil
}

// Key is a signing key.
type Key struct{ private *ecdsa.PrivateKey }

// NewKey makes one.
func NewKey() (*Key, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &Key{k}, nil
}

// Public is the public key in PEM.
func (k *Key) Public() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(&k.private.PublicKey)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Sign signs bytes and gives the bundle, in the form that cosign sign-blob --key writes without a log.
func (k *Key) Sign(artifact []byte) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(&k.private.PublicKey)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(artifact)
	sig, err := ecdsa.SignASN1(rand.Reader, k.private, sum[:])
	if err != nil {
		return nil, err
	}
	hint := sha256.Sum256(der)
	return protojson.Marshal(&protobundle.Bundle{
		MediaType: mediaType,
		VerificationMaterial: &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_PublicKey{
			PublicKey: &protocommon.PublicKeyIdentifier{Hint: base64.StdEncoding.EncodeToString(hint[:])}}},
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]}, Signature: sig}},
	})
}

// Suite is the source of a small suite of that name and version, by path.
func Suite(name, version string) map[string][]byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{
  schema: 'llm-speed/suite/v1', name: '%s', version: '%s', title: 'of a test', engine: 1, generator: 'prose/1',
  budget: { default_s: 10, quick_s: 5 },
  workloads: [{
    id: 'N1', name: 'new-kind', doc: 'A workload that no release has seen.', program: 'n.star',
    points: [{ echoes: 1 }, { echoes: 2 }],
    params: { prompt_tokens: 128, output_tokens: 32 },
    needs: [{ context: 256, parallel: 1, prompt: 128, output: 32 }],
    quick: { points: [{ echoes: 2 }], needs: [{ context: 256, parallel: 1, prompt: 128, output: 32 }] },
    metrics: { echo_ms: { unit: 'ms', better: 'lower', stats: ['p50', 'max'] } },
    relative: [{ name: 'slower', metric: 'wall_ms', title: 'times the first' }],
    reports: ['ttft_ms', 'decode_tps', 'echo_ms', 'slower'],
  }],
}
`, name, version)
	return map[string][]byte{"suite.jsonnet": b.Bytes(), "n.star": []byte(`def run(w):
    for _ in range(w.point.echoes):
        answer = stream(prompt(tokens = w.params.prompt_tokens), output_tokens = w.params.output_tokens)
        w.record("echo_ms", answer.wall_ms)
`)}
}
