package weights

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPlaces(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the expected paths are of Unix")
	}
	env := func(vars map[string]string) func(string) string { return func(k string) string { return vars[k] } }
	for _, c := range []struct {
		name, home, goos string
		env              map[string]string
		want             []string
	}{
		{"linux", "/h", "linux", nil, []string{"/h/.cache/llama.cpp", "/h/.cache/huggingface/hub", "/h/.lmstudio/models", "/h/.cache/lm-studio/models", "/h/models"}},
		{"mac", "/h", "darwin", nil, []string{"/h/Library/Caches/llama.cpp", "/h/.cache/llama.cpp", "/h/.cache/huggingface/hub", "/h/.lmstudio/models", "/h/.cache/lm-studio/models", "/h/models"}},
		{"set", "/h", "linux", map[string]string{"LLAMA_CACHE": "/l", "HF_HOME": "/hf", "XDG_CACHE_HOME": "/x"},
			[]string{"/l", "/x/llama.cpp", "/hf/hub", "/x/huggingface/hub", "/h/.lmstudio/models", "/x/lm-studio/models", "/h/.cache/lm-studio/models", "/h/models"}},
		{"nothing known", "", "linux", nil, nil},
	} {
		if d := cmp.Diff(c.want, Places(c.home, env(c.env), c.goos)); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	hub := filepath.Join(home, "hub", "models--org--m-GGUF")
	now := time.Now()
	for i, p := range []string{
		"models/old.gguf", "models/deep/er/new.gguf", "models/mmproj-F16.gguf", "models/m.mmproj.gguf", "models/readme.md",
		"models/big-00001-of-00002.gguf", "models/big-00002-of-00002.gguf", "models/ggml-vocab-x.gguf", "models/part.gguf.part",
		"hub/models--org--m-GGUF/blobs/" + strings.Repeat("ab", 32), "models/.hidden/x.gguf",
	} {
		path := put(t, filepath.Join(home, p), []byte(p))
		if err := os.Chtimes(path, now, now.Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"big", "new", "old"}
	if runtime.GOOS != "windows" { // links need a right of their own there
		for _, commit := range []string{"c1", "c2"} { // two snapshots of one blob are one model
			dir := filepath.Join(hub, "snapshots", commit)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("../../blobs/"+strings.Repeat("ab", 32), filepath.Join(dir, "Hub-Q4_K_M.gguf")); err != nil {
				t.Fatal(err)
			}
		}
		want = append([]string{"Hub-Q4_K_M"}, want...)
	}
	var got []string
	for _, f := range Find([]string{filepath.Join(home, "models"), filepath.Join(home, "hub"), filepath.Join(home, "models"), filepath.Join(home, "none")}) {
		got = append(got, f.Name)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDigest(t *testing.T) {
	dir := t.TempDir()
	hash := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	whole := put(t, filepath.Join(dir, "m.gguf"), []byte("weights"))
	one := put(t, filepath.Join(dir, "s-00001-of-00002.gguf"), []byte("first"))
	two := put(t, filepath.Join(dir, "s-00002-of-00002.gguf"), []byte("second"))
	parts := hash([]byte(hash([]byte("first")) + "\n" + hash([]byte("second")) + "\n"))
	type result struct{ Sum, Kind string }
	want := map[string]result{whole: {hash([]byte("weights")), KindFile}, one: {parts, KindParts}, two: {parts, KindParts}}
	if runtime.GOOS != "windows" {
		name := strings.Repeat("cd", 32)
		put(t, filepath.Join(dir, "blobs", name), []byte("not what the name says, so that reading shows"))
		link := filepath.Join(dir, "hf.gguf")
		if err := os.Symlink(filepath.Join("blobs", name), link); err != nil {
			t.Fatal(err)
		}
		want[link] = result{name, KindFile}
		// A link to anything else is read.
		other := filepath.Join(dir, "link.gguf")
		if err := os.Symlink("m.gguf", other); err != nil {
			t.Fatal(err)
		}
		want[other] = want[whole]
	}
	for path, w := range want {
		var told int64
		sum, kind, err := Digest(t.Context(), path, func(done, total int64) { told = total })
		if err != nil || (result{sum, kind}) != w {
			t.Errorf("%s: %s %q, %v", filepath.Base(path), sum, kind, err)
		}
		if path == one && told != int64(len("first")+len("second")) {
			t.Errorf("progress tells of %d bytes", told)
		}
	}
	if err := os.Remove(two); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Digest(t.Context(), one, nil); !errors.Is(err, ErrCutOff) {
		t.Errorf("a part is missing: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Digest(ctx, whole, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
