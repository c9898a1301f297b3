package seal

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

var update = flag.Bool("update", false, "write the golden files anew")

// counting derives 32 bytes that are the same in every test.
func counting(salt, info string) [32]byte { return sha256.Sum256([]byte(salt + "\x00" + info)) }

const runID = "20261123-142501-k3f9"

var fp = strings.Repeat("ab", 32)

func resultOf(state string) []byte {
	return []byte(`{
  "schema": "llm-speed/result/v1",
  "run_id": "` + runID + `",
  "state": "` + state + `",
  "fp": "` + fp + `",
  "note": "<&> é"
}
`)
}

func sealedRun(t testing.TB) Envelope {
	t.Helper()
	e, err := Run(resultOf("complete"), Derived(counting, runID))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestGolden holds the form of a seal: every other form would make old seals bad ones.
func TestGolden(t *testing.T) {
	e := sealedRun(t)
	got := append(e.Encode(), e.ID()+"\n"...)
	path := filepath.Join("testdata", "seal.golden")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))), string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, state := range []string{"complete", "partial", "running"} {
		doc := resultOf(state)
		e, err := Run(doc, Derived(counting, runID))
		if err != nil {
			t.Fatal(err)
		}
		back, s, err := OpenRun(e.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if s.State != state || s.RunID != runID || s.Pub != back.Public() || back.ID() != e.ID() {
			t.Errorf("%s: %+v", state, s)
		}
		if err := s.Fits(doc); err != nil {
			t.Error(err)
		}
		e.Document = doc
		if back, _, err = OpenRun(e.Encode()); err != nil || !bytes.Equal(back.Document, doc) || back.ID() != e.ID() {
			t.Errorf("with the document: %v", err)
		}
	}
}

// The same run has the same seal; another run has another key, and forgotten keys never come again.
func TestMaterial(t *testing.T) {
	if a, b := sealedRun(t), sealedRun(t); a.ID() != b.ID() || !bytes.Equal(a.Encode(), b.Encode()) {
		t.Error("the same run has two seals")
	}
	a, b := Derived(counting, runID), Derived(counting, "20261123-142502-k3f9")
	c, d := Forgotten(), Forgotten()
	keys, salts, nonces := map[string]bool{}, map[[32]byte]bool{}, map[[16]byte]bool{}
	for _, m := range []Material{a, b, c, d} {
		keys[m.Key.Public()], salts[m.Salt], nonces[m.Nonce] = true, true, true
		if text := fmt.Sprintf("%v %s %+v %#v", m.Key, m.Key, m.Key, m.Key); strings.Trim(text, "* ") != "" {
			t.Errorf("a key shows itself: %s", text)
		}
	}
	if len(keys) != 4 || len(salts) != 4 || len(nonces) != 4 {
		t.Errorf("%d keys, %d salts, %d nonces of 4 runs", len(keys), len(salts), len(nonces))
	}
}

// TestEveryFlippedBit flips every bit of a seal and of the result that it is about.
func TestEveryFlippedBit(t *testing.T) {
	doc := resultOf("complete")
	plain := sealedRun(t)
	carrying := plain
	carrying.Document = doc
	for name, file := range map[string][]byte{"seal": plain.Encode(), "seal with document": carrying.Encode()} {
		for i := range file {
			for bit := range 8 {
				bad := bytes.Clone(file)
				bad[i] ^= 1 << bit
				_, s, err := OpenRun(bad)
				if err == nil {
					t.Errorf("%s: bit %d of byte %d (%q) was flipped: it passes as %+v", name, bit, i, file[max(0, i-10):i+1], s)
				}
			}
			if _, _, err := OpenRun(file[:i]); err == nil {
				t.Errorf("%s: cut off after %d bytes it passes", name, i)
			}
		}
	}
	_, s, err := OpenRun(plain.Encode())
	if err != nil {
		t.Fatal(err)
	}
	for i := range doc {
		for bit := range 8 {
			bad := bytes.Clone(doc)
			bad[i] ^= 1 << bit
			if err := s.Fits(bad); !errors.Is(err, ErrBad) {
				t.Fatalf("bit %d of byte %d of the result was flipped: %v", bit, i, err)
			}
		}
	}
	if err := s.Fits(append(bytes.Clone(doc), ' ')); !errors.Is(err, ErrBad) {
		t.Errorf("a space more: %v", err)
	}
}

// TestForged are seals whose signature is good and whose content is not.
func TestForged(t *testing.T) {
	m := Derived(counting, runID)
	doc := resultOf("complete")
	good := sealedRun(t)
	change := func(from, to string) []byte {
		payload := strings.Replace(string(good.Payload), from, to, 1)
		if payload == string(good.Payload) {
			t.Fatalf("%q is not in %s", from, good.Payload)
		}
		return Sign(StatementType, []byte(payload), m.Key).Encode()
	}
	two := good
	two.Signatures = append(two.Signatures, two.Signatures[0])
	none := good
	none.Signatures = nil
	resign := good
	resign.Signatures = Sign(StatementType, good.Payload, Forgotten().Key).Signatures
	for name, c := range map[string]struct {
		file []byte
		bad  bool // ErrBad
		want string
	}{
		"another key":           {resign.Encode(), true, "another key than it names"},
		"two signatures":        {two.Encode(), true, "2 signatures"},
		"no signature":          {none.Encode(), true, "0 signatures"},
		"another type":          {Sign("application/vnd.in-toto+json", good.Payload, m.Key).Encode(), true, "type is"},
		"a newer type":          {Sign("application/vnd.llm-speed.seal.v2+json", good.Payload, m.Key).Encode(), false, "newer llm-speed"},
		"a newer schema":        {change(`/seal/v1"`, `/seal/v2"`), false, "newer llm-speed; this one reads llm-speed/seal/v1: update it"},
		"a newer schema, more":  {change(`/seal/v1"`, `/seal/v7","more":"x"`), false, "newer llm-speed"},
		"an older schema":       {change(`/seal/v1"`, `/seal/v0"`), false, "older llm-speed"},
		"another schema":        {change(`llm-speed/seal/v1"`, `x"`), false, `schema "x"`},
		"a field more":          {change(`"run_id"`, `"x":1,"run_id"`), true, "unknown field"},
		"a field twice":         {change(`"run_id"`, `"schema":"llm-speed/seal/v1","run_id"`), true, `"schema" stands twice`},
		"a field in capitals":   {change(`"run_id"`, `"RUN_ID"`), true, "not written as"},
		"a field less":          {change(`,"fp_salt":"`+hex.EncodeToString(m.Salt[:])+`"`, ``), true, "not written as"},
		"a space":               {change(`,"run_id"`, `, "run_id"`), true, "not written as"},
		"a fraction":            {change(`"result_bytes":`, `"result_bytes":0.5e3,"x":`), true, "not written as a whole one"},
		"a huge number":         {change(`"result_bytes":`, `"result_bytes":9007199254740992,"x":`), true, "2^53"},
		"broken UTF-8":          {change(`"run_id":"`, "\"run_id\":\"\xff"), true, "UTF-8"},
		"half a surrogate pair": {change(`"run_id":"`, `"run_id":"\ud800`), true, "not written as"},
		"deep":                  {change(`"run_id":`, `"x":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+`,"run_id":`), true, "deeper than 16"},
		"large":                 {change(`"run_id":"`, `"run_id":"`+strings.Repeat("x", maxStatement)), true, "the most is"},
		"no JSON":               {Sign(StatementType, []byte("hello"), m.Key).Encode(), true, "no JSON"},
		"empty":                 {Sign(StatementType, nil, m.Key).Encode(), true, "empty"},
		"empty file":            {nil, true, "empty"},
		"a page":                {[]byte("<html>"), true, "no JSON"},
		"spaces around":         {append([]byte(" "), good.Encode()...), true, "not written as"},
		"no line end":           {bytes.TrimSpace(good.Encode()), true, "not written as"},
	} {
		_, s, err := OpenRun(c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrBad) != c.bad {
			t.Errorf("%s: got %v, want %q (bad: %v)", name, err, c.want, c.bad)
		}
		if err == nil && s.Fits(doc) == nil {
			t.Errorf("%s: and it fits the result", name)
		}
	}
	// A good seal about other things than the result says.
	for _, c := range []struct{ from, to string }{
		{`"complete"`, `"partial"`}, {runID, "20261123-142501-zzzz"}, {`"result_schema":"llm-speed/result/v1"`, `"result_schema":"llm-speed/result/v0"`},
		{`"fp_commit":"`, `"fp_commit":"00`}, {`"fp_salt":"`, `"fp_salt":"00`}, {`"fp_salt":"` + hex.EncodeToString(m.Salt[:]), `"fp_salt":"` + strings.Repeat("0", 64)}, {`"result_bytes":1`, `"result_bytes":2`},
	} {
		_, s, err := OpenRun(change(c.from, c.to))
		if err == nil {
			err = s.Fits(doc)
		}
		if !errors.Is(err, ErrBad) {
			t.Errorf("%s for %s: %v", c.to, c.from, err)
		}
	}
	long := append(bytes.Repeat([]byte(" "), maxEnvelope), '{')
	if _, _, err := OpenRun(long); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a very large file: %v", err)
	}
}

func TestRunWithoutFP(t *testing.T) {
	doc := []byte(`{"schema":"llm-speed/result/v1","run_id":"x","state":"partial","fp":""}`)
	e, err := Run(doc, Forgotten())
	if err != nil {
		t.Fatal(err)
	}
	if _, s, err := OpenRun(e.Encode()); err != nil || s.FPCommit != "" || s.FPSalt != "" || s.Fits(doc) != nil {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "{", `{"fp":"xyz"}`} {
		if _, err := Run([]byte(bad), Forgotten()); err == nil {
			t.Errorf("%q was sealed", bad)
		}
	}
}

// verifier is an Ed25519 key as the DSSE library wants it.
type verifier struct{ pub ed25519.PublicKey }

func (v verifier) KeyID() (string, error)   { return hex.EncodeToString(v.pub), nil }
func (v verifier) Public() crypto.PublicKey { return v.pub }
func (v verifier) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(v.pub, data, sig) {
		return errors.New("no")
	}
	return nil
}

// Any other reader of DSSE takes our envelopes.
func TestOthersVerify(t *testing.T) {
	mine := sealedRun(t)
	mine.Document = []byte("x") // readers pass it over
	var e dsse.Envelope
	if err := json.Unmarshal(mine.Encode(), &e); err != nil {
		t.Fatal(err)
	}
	pub, err := hex.DecodeString(mine.Public())
	if err != nil {
		t.Fatal(err)
	}
	v, err := dsse.NewEnvelopeVerifier(verifier{pub})
	if err != nil {
		t.Fatal(err)
	}
	if accepted, err := v.Verify(t.Context(), &e); err != nil || len(accepted) != 1 {
		t.Errorf("%v, %v", accepted, err)
	}
	e.Payload = e.Payload[:4] + "x" + e.Payload[5:]
	if _, err := v.Verify(t.Context(), &e); err == nil {
		t.Error("a changed one was taken")
	}
}

// FuzzOpenRun: whatever is read is refused, or is written again to the same bytes and fits its statement.
func FuzzOpenRun(f *testing.F) {
	e := sealedRun(f)
	f.Add(e.Encode())
	e.Document = resultOf("complete")
	f.Add(e.Encode())
	f.Add([]byte(`{"payloadType":"x","payload":"","signatures":[{"keyid":"","sig":""}]}`))
	f.Add([]byte(`{"payload":1e999}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		e, s, err := OpenRun(file)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Encode(), file) {
			t.Fatal("two forms of one seal")
		}
		if s.Pub != e.Public() || e.Document != nil && s.Fits(e.Document) != nil {
			t.Fatalf("taken: %+v", s)
		}
	})
}
