package weights

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func hashOf(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

// age makes a file old enough to be kept in the cache.
func age(t *testing.T, path string, by time.Duration) {
	t.Helper()
	when := time.Now().Add(-by)
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

// A file is hashed once as long as its size, time and inode stay, and anew as soon as one of them changes.
func TestCache(t *testing.T) {
	dir, kept := t.TempDir(), filepath.Join(t.TempDir(), "cache")
	file := put(t, filepath.Join(dir, "secret-name.gguf"), []byte("weights"))
	age(t, file, time.Hour)
	read := func(c *Cache, want string) (bytes int64) {
		t.Helper()
		sum, kind, err := c.Digest(t.Context(), file, func(_, total int64) { bytes = total })
		if err != nil || sum != want || kind != KindFile {
			t.Errorf("%s %q %v", sum, kind, err)
		}
		return bytes
	}
	c := OpenCache(kept)
	if n := read(c, hashOf([]byte("weights"))); n != 7 {
		t.Errorf("first: %d bytes are read", n)
	}
	for _, c := range []*Cache{c, OpenCache(kept)} {
		if n := read(c, hashOf([]byte("weights"))); n != 0 {
			t.Errorf("again: %d bytes are read", n)
		}
	}
	doc, err := os.ReadFile(filepath.Join(kept, cacheFile))
	if err != nil || bytes.Contains(doc, []byte("secret-name")) || bytes.Contains(doc, []byte(dir)) {
		t.Errorf("a path stands in the cache, or there is none: %v\n%s", err, doc)
	}
	// Other bytes of the same length: the time tells.
	put(t, file, []byte("WEIGHTS"))
	age(t, file, time.Minute)
	if n := read(c, hashOf([]byte("WEIGHTS"))); n != 7 {
		t.Errorf("changed: %d bytes are read", n)
	}
	if runtime.GOOS != "windows" {
		// Another file at the place, with the size and the time of the old one: the inode tells.
		st, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		other := put(t, filepath.Join(dir, "other"), []byte("another"))
		if err := os.Chtimes(other, st.ModTime(), st.ModTime()); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(other, file); err != nil {
			t.Fatal(err)
		}
		if n := read(c, hashOf([]byte("another"))); n != 7 {
			t.Errorf("replaced: %d bytes are read", n)
		}
	}
	// A file that has just changed may change again without a trace.
	put(t, file, []byte("younger"))
	age(t, file, 0)
	read(c, hashOf([]byte("younger")))
	if n := read(OpenCache(kept), hashOf([]byte("younger"))); n != 7 {
		t.Errorf("a young file was kept: %d bytes are read", n)
	}
	// What the cache's file holds may be anything.
	for _, odd := range []string{"", "{", "[]", `{"version":99,"files":{}}`, `{"version":1,"files":{"x":{"sha256":"y"}}}`, strings.Repeat(" ", maxCache+1)} {
		put(t, filepath.Join(kept, cacheFile), []byte(odd))
		if n := read(OpenCache(kept), hashOf([]byte("younger"))); n != 7 {
			t.Errorf("%.30q: %d bytes are read", odd, n)
		}
	}
	// A folder that can't be written costs the cache, not the digest.
	blocked := put(t, filepath.Join(t.TempDir(), "file"), nil)
	age(t, file, time.Hour)
	read(OpenCache(filepath.Join(blocked, "below")), hashOf([]byte("younger")))
}

func TestCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	file := put(t, filepath.Join(dir, "m.gguf"), []byte("weights"))
	age(t, file, time.Hour)
	c := OpenCache(filepath.Join(dir, "cache"))
	for i := range maxEntriesIn + 5 {
		c.entries[hashOf([]byte{byte(i), byte(i >> 8)})] = entry{SHA256: hashOf(nil), UsedS: int64(i)}
	}
	if _, _, err := c.Digest(t.Context(), file, nil); err != nil {
		t.Fatal(err)
	}
	if len(c.entries) != maxEntriesIn || c.look(file) == "" {
		t.Errorf("%d entries", len(c.entries))
	}
}

// Names of blobs are digests only where a Hugging Face cache or Ollama has given them.
func TestBlobNames(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a right of their own there")
	}
	dir := t.TempDir()
	named, data := strings.Repeat("ab", 32), []byte("not what the name says, so that reading shows")
	link := func(to, from string) string {
		if err := os.MkdirAll(filepath.Dir(from), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
		return from
	}
	repo := filepath.Join(dir, "models--org--m")
	hf := put(t, filepath.Join(repo, "blobs", named), data)
	for _, c := range []struct {
		name, path string
		trusted    bool
	}{
		{"a blob of a repository", hf, true},
		{"a link to it", link("../../blobs/"+named, filepath.Join(repo, "snapshots", "c", "m.gguf")), true},
		{"an absolute link to it", link(hf, filepath.Join(dir, "far.gguf")), true},
		{"ollama's", put(t, filepath.Join(dir, "blobs", "sha256-"+named), data), true},
		{"a file of that name elsewhere", put(t, filepath.Join(dir, "other", named), data), false},
		{"a folder that is called blobs", put(t, filepath.Join(dir, "x", "blobs", named), data), false},
		{"ollama's name elsewhere", put(t, filepath.Join(dir, "other", "sha256-"+named), data), false},
		{"a small file's name", put(t, filepath.Join(repo, "blobs", named[:40]), data), false},
		{"a part of a download", put(t, filepath.Join(repo, "blobs", named+".incomplete"), data), false},
		{"upper case", put(t, filepath.Join(repo, "blobs", strings.ToUpper(named)), data), false},
	} {
		want := hashOf(data)
		if c.trusted {
			want = named
		}
		if sum, _, err := Digest(t.Context(), c.path, nil); err != nil || sum != want {
			t.Errorf("%s: %s, %v", c.name, sum, err)
		}
	}
}

func TestPrefixDigest(t *testing.T) {
	const piece = 256 << 10
	dir := t.TempDir()
	sum := func(name string, data []byte) string {
		s, kind, err := PrefixDigest(put(t, filepath.Join(dir, name), data))
		if err != nil || kind != KindPrefix {
			t.Errorf("%s: %q %v", name, kind, err)
		}
		return s
	}
	long := bytes.Repeat([]byte("0123456789abcdef"), 3*piece/16)
	other := func(at int) []byte { b := bytes.Clone(long); b[at] ^= 1; return b }
	want := sum("a.gguf", long)
	if by := hashOf(append([]byte("786432\n"), append(bytes.Clone(long[:piece]), long[2*piece:]...)...)); by != want {
		t.Errorf("got %s, by its definition %s", want, by)
	}
	for name, c := range map[string]struct {
		data []byte
		same bool
	}{
		"the same": {long, true}, "first byte": {other(0), false}, "last of the first": {other(piece - 1), false},
		"middle": {other(piece), true}, "first of the last": {other(2 * piece), false}, "last byte": {other(len(long) - 1), false},
		"shorter": {long[:len(long)-16], false}, "short": {[]byte("x"), false}, "empty": {nil, false},
	} {
		if got := sum("b.gguf", c.data); (got == want) != c.same {
			t.Errorf("%s: the same is %v", name, got == want)
		}
	}
	if _, _, err := PrefixDigest(filepath.Join(dir, "none")); err == nil {
		t.Error("a missing file has a digest")
	}
}

// A file that changes while it is read has no digest.
func TestDigestOfChangingFile(t *testing.T) {
	file := put(t, filepath.Join(t.TempDir(), "m.gguf"), bytes.Repeat([]byte("x"), 3<<20))
	age(t, file, time.Hour)
	changed := false
	_, _, err := Digest(t.Context(), file, func(done, _ int64) {
		if done > 0 && !changed {
			changed = true
			put(t, file, bytes.Repeat([]byte("y"), 5<<20))
		}
	})
	if err == nil || !changed {
		t.Errorf("changed %v, error %v", changed, err)
	}
}

// A cancelled digest ends at once and keeps nothing.
func TestDigestCancelled(t *testing.T) {
	dir := t.TempDir()
	file := put(t, filepath.Join(dir, "m.gguf"), bytes.Repeat([]byte("x"), 8<<20))
	age(t, file, time.Hour)
	c := OpenCache(filepath.Join(dir, "cache"))
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err := c.Digest(ctx, file, func(_, _ int64) { cancel() })
	if err == nil || c.look(file) != "" {
		t.Errorf("error %v, kept %q", err, c.look(file))
	}
}

func FuzzParseCache(f *testing.F) {
	f.Add([]byte(`{"version":1,"files":{"` + strings.Repeat("ab", 32) + `":{"size_bytes":1,"modified_ns":2,"inode":3,"sha256":"` + strings.Repeat("cd", 32) + `","used_s":4}}}`))
	f.Add([]byte(`{"version":1,"files":{"x":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for key, e := range parseCache(data) {
			if len(key) != 64 || len(e.SHA256) != 64 || e.Size < 0 {
				t.Errorf("%q %+v", key, e)
			}
		}
	})
}
