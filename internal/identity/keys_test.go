package identity

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// The secret of keys is another than that of fp, and stays the same.
func TestOpenKeys(t *testing.T) {
	dir := t.TempDir()
	fp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := OpenKeys(dir)
	if err != nil || keys == fp || keys == (Secret{}) {
		t.Fatalf("the secret of keys: %v, that of fp is the same: %v", err, keys == fp)
	}
	if again, err := OpenKeys(dir); err != nil || again != keys {
		t.Errorf("opened again it is another: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, keysFile), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeys(dir); err == nil {
		t.Error("a damaged one was taken")
	}
}

// TestDerive holds the derivation: another one would make withdrawing impossible. The values were computed with another
// implementation of RFC 5869 (Python's hmac, extract and expand written out).
func TestDerive(t *testing.T) {
	var s Secret
	for i := range s.bytes {
		s.bytes[i] = byte(i)
	}
	for _, c := range []struct{ salt, info, want string }{
		{"20261123-142501-k3f9", "llm-speed/result-key/v1", "3399fe64479c491f3b953582b13b8878d8aebed6a5b7a2d0dc110eea4e217d7c"},
		{"20261123-142502-k3f9", "llm-speed/result-key/v1", "8d00596243e95092fd91609ea13a8780478800e4af16ddd7d1bfa55e331e1de5"},
		{"20261123-142501-k3f9", "llm-speed/fp-salt/v1", "d30a0ae55a0ff4c1bee115fc0ddb3bb8226ef06d3d3a0c00d9831c62ff6d3df6"},
	} {
		got := s.Derive(c.salt, c.info)
		if hex.EncodeToString(got[:]) != c.want {
			t.Errorf("%s %s: got %x, want %s", c.salt, c.info, got, c.want)
		}
	}
}
