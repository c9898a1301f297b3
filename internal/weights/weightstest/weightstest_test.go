package weightstest

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// TestBytes holds the file to the byte: recordings and figures of tests depend on it.
func TestBytes(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"plain", Options{}, "f4cdd0ef3b0965c3"},
		{"held bytes", Options{AddBOS: true, AllBytes: true}, "0e0a6481416d9ac5"},
		{"ends", Options{Ends: true}, "df7dd48c21589686"},
		{"stuck", Options{Stuck: true}, "9a4d5df7ff3eedff"},
	} {
		sum := sha256.Sum256(c.o.Bytes())
		if got := hex.EncodeToString(sum[:8]); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestHalf(t *testing.T) {
	for f, want := range map[float32]uint16{0: 0, 1: 0x3c00, -2: 0xc000, 0.5: 0x3800, 65504: 0x7bff, 1e9: 0x7bff, 1e-9: 0} {
		if got := half(f); got != want {
			t.Errorf("half(%g) = %#x, want %#x", f, got, want)
		}
	}
}
