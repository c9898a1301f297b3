package weights

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// What a digest was taken of.
const (
	KindFile  = "sha256 of the file"
	KindParts = "sha256 over the lines of the parts' sha256 in hex, in order"
)

// Digest identifies the bytes of a model: the SHA-256 of its file, or, where it is split, of the parts' digests, one line
// each. progress, where not nil, is told the bytes done and to be done now and then. A file of a Hugging Face cache or of
// Ollama is not read: its name in blobs is its SHA-256.
func Digest(ctx context.Context, path string, progress func(done, total int64)) (sum, kind string, err error) {
	return (*Cache)(nil).Digest(ctx, path, progress)
}

// Digest is the function Digest, which asks the cache first and leaves in it what it had to hash. A cache that can't be
// written is no error: the next run hashes again. A nil Cache keeps nothing.
func (c *Cache) Digest(ctx context.Context, path string, progress func(done, total int64)) (sum, kind string, err error) {
	parts, err := Parts(path)
	if err != nil {
		return "", "", err
	}
	var total int64
	sums := make([]string, len(parts))
	for i, p := range parts {
		st, err := os.Stat(p)
		if err != nil {
			return "", "", err
		}
		if sums[i] = blobName(p); sums[i] == "" {
			sums[i] = c.look(p)
		}
		if sums[i] == "" {
			total += st.Size()
		}
	}
	m := meter{ctx: ctx, total: total, progress: progress}
	for i, p := range parts {
		if sums[i] != "" {
			continue
		}
		var seen stamp
		if sums[i], seen, err = m.sum(p); err != nil {
			return "", "", fmt.Errorf("digest %s: %w", filepath.Base(p), err)
		}
		c.keep(p, seen, sums[i])
	}
	if progress != nil {
		progress(total, total)
	}
	if len(parts) == 1 {
		return sums[0], KindFile, nil
	}
	all := sha256.New()
	for _, s := range sums {
		_, _ = io.WriteString(all, s+"\n")
	}
	return hex.EncodeToString(all.Sum(nil)), KindParts, nil
}

// KindPrefix is the kind of a PrefixDigest.
const KindPrefix = "sha256 over each part's size in bytes as a line, its first and its last 256 KiB"

// PrefixDigest tells models apart at once, without reading them whole. It does not prove what the rest of the bytes is: two
// files that differ in their middle have the same. kind is KindPrefix.
func PrefixDigest(path string) (sum, kind string, err error) {
	const piece = 256 << 10
	parts, err := Parts(path)
	if err != nil {
		return "", "", err
	}
	hash := sha256.New()
	one := func(p string) error {
		f, err := open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(hash, "%d\n", st.Size())
		first := min(st.Size(), piece)
		last := min(st.Size()-first, piece)
		for _, r := range []*io.SectionReader{io.NewSectionReader(f, 0, first), io.NewSectionReader(f, st.Size()-last, last)} {
			if n, err := io.Copy(hash, r); err != nil || n != r.Size() {
				return errors.Join(err, fmt.Errorf("%d of %d bytes read", n, r.Size()))
			}
		}
		return nil
	}
	for _, p := range parts {
		if err := one(p); err != nil {
			return "", "", fmt.Errorf("digest the ends of %s: %w", filepath.Base(p), err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), KindPrefix, nil
}

// blobPattern is the name of a large file in a Hugging Face cache; those of small files are shorter.
var blobPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ollamaPattern is the name of a file in Ollama's store.
var ollamaPattern = regexp.MustCompile(`^sha256-([0-9a-f]{64})$`)

// blobName is the SHA-256 that the name of a blob states, or "": of a link into a folder named blobs, or of a file there.
func blobName(path string) string {
	st, err := os.Lstat(path)
	if err != nil {
		return ""
	}
	if st.Mode()&os.ModeSymlink != 0 {
		if path, err = os.Readlink(path); err != nil {
			return ""
		}
	}
	dir, name := filepath.Split(filepath.Clean(path))
	if filepath.Base(dir) != "blobs" {
		return ""
	}
	if m := ollamaPattern.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	// A plain folder of that name may hold anything; that of a Hugging Face cache is a repository's, or was linked to.
	repository := strings.HasPrefix(filepath.Base(filepath.Dir(filepath.Clean(dir))), "models--")
	if blobPattern.MatchString(name) && (repository || st.Mode()&os.ModeSymlink != 0) {
		return name
	}
	return ""
}

// meter hashes files, tells how far it is, and stops with its context.
type meter struct {
	ctx         context.Context
	done, total int64
	progress    func(done, total int64)
}

// sum hashes a file, and gives what it looked like meanwhile. One that changes is an error: its digest would be of no file.
func (m *meter) sum(path string) (string, stamp, error) {
	f, err := open(path)
	if err != nil {
		return "", stamp{}, err
	}
	defer f.Close()
	before, err := stampOf(f)
	if err != nil {
		return "", stamp{}, err
	}
	hash := sha256.New()
	buf := make([]byte, 1<<20)
	for chunk := 0; ; chunk++ {
		if err := context.Cause(m.ctx); err != nil {
			return "", stamp{}, err
		}
		n, err := f.Read(buf)
		_, _ = hash.Write(buf[:n])
		m.done += int64(n)
		if m.progress != nil && chunk%64 == 0 {
			m.progress(m.done, m.total)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", stamp{}, err
		}
	}
	after, err := stampOf(f)
	if err != nil {
		return "", stamp{}, err
	}
	if before != after {
		return "", stamp{}, errors.New("the file changed while it was read")
	}
	return hex.EncodeToString(hash.Sum(nil)), after, nil
}
