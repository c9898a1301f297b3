package manifest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// cosignBinary finds the real cosign: LLM_SPEED_COSIGN, the cache of scripts/install-cosign.sh, or PATH. In CI it must be
// there.
func cosignBinary(t *testing.T) string {
	t.Helper()
	candidates := []string{os.Getenv("LLM_SPEED_COSIGN")}
	if cache := os.Getenv("LLM_SPEED_CACHE"); cache != "" {
		candidates = append(candidates, filepath.Join(cache, "bin", "cosign"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, ".cache", "llm-speed-ci", "bin", "cosign"))
	}
	for _, c := range append(candidates, "cosign") {
		if path, err := exec.LookPath(c); c != "" && err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no cosign: scripts/install-cosign.sh installs it")
	}
	t.Skip("no cosign here: scripts/install-cosign.sh installs it")
	return ""
}

// TestCosign signs as docs/publishing.md says, by key and offline, with the real cosign, and verifies with our code; then it
// lets cosign verify what manifesttest has signed, so that tests and the tool agree.
func TestCosign(t *testing.T) {
	binary, dir := cosignBinary(t), t.TempDir()
	cosign := func(args ...string) error {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "COSIGN_PASSWORD=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("cosign %v: %v\n%s", args, err, out)
		}
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	source := newList(1, entry("suite-v2", "2.0.0", "a.tar.gz", []byte("a"), Current)).source()
	must(os.WriteFile(filepath.Join(dir, "m.jsonnet"), source, 0o600))
	must(cosign("generate-key-pair"))
	must(cosign("signing-config", "create", "--out", "sc.json"))
	must(cosign("trusted-root", "create", "--out", "tr.json"))
	must(cosign("sign-blob", "--key", "cosign.key", "--signing-config", "sc.json", "--trusted-root", "tr.json", "--bundle", "m.json", "-y", "m.jsonnet"))
	pub, err := os.ReadFile(filepath.Join(dir, "cosign.pub"))
	must(err)
	bundle, err := os.ReadFile(filepath.Join(dir, "m.json"))
	must(err)
	v, err := Key(pub, now().AddDate(0, 0, -1), now().AddDate(0, 0, 1))
	must(err)
	if _, err := v.Verify(source, bundle); err != nil {
		t.Errorf("what cosign has signed does not verify: %v", err)
	}
	if _, err := v.Verify(append(source, '\n'), bundle); !errors.Is(err, ErrSignature) {
		t.Errorf("other bytes verify: %v", err)
	}

	auth := authority(t)
	tr, err := auth.TrustedRoot()
	must(err)
	signed, err := auth.Sign(issuer, subject, source)
	must(err)
	must(os.WriteFile(filepath.Join(dir, "root.json"), tr, 0o600))
	must(os.WriteFile(filepath.Join(dir, "keyless.json"), signed, 0o600))
	verify := []string{"verify-blob", "--bundle", "keyless.json", "--trusted-root", "root.json", "--insecure-ignore-sct", "--certificate-oidc-issuer", issuer, "--certificate-identity"}
	if err := cosign(append(verify, subject, "m.jsonnet")...); err != nil {
		t.Error("cosign does not verify what our authority has signed")
	}
	if err := cosign(append(verify, subject+"x", "m.jsonnet")...); err == nil {
		t.Error("cosign verifies another identity")
	}
}
