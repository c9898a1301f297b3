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
)

// What a digest was taken of.
const (
	KindFile  = "sha256 of the file"
	KindParts = "sha256 over the lines of the parts' sha256 in hex, in order"
)

// Digest identifies the bytes of a model: the SHA-256 of its file, or, where it is split, of the parts' digests, one line
// each. progress, where not nil, is told the bytes done and to be done now and then. A file of a Hugging Face cache is
// not read: its name in blobs is its SHA-256.
func Digest(ctx context.Context, path string, progress func(done, total int64)) (sum, kind string, err error) {
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
			total += st.Size()
		}
	}
	m := meter{ctx: ctx, total: total, progress: progress}
	for i, p := range parts {
		if sums[i] != "" {
			continue
		}
		if sums[i], err = m.sum(p); err != nil {
			return "", "", fmt.Errorf("digest %s: %w", filepath.Base(p), err)
		}
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

// blobPattern is the name of a large file in a Hugging Face cache; those of small files are shorter.
var blobPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// blobName is the SHA-256 that the name of a linked blob states, or "".
func blobName(path string) string {
	st, err := os.Lstat(path)
	if err != nil || st.Mode()&os.ModeSymlink == 0 {
		return ""
	}
	target, err := os.Readlink(path)
	if err != nil || filepath.Base(filepath.Dir(target)) != "blobs" || !blobPattern.MatchString(filepath.Base(target)) {
		return ""
	}
	return filepath.Base(target)
}

// meter hashes files, tells how far it is, and stops with its context.
type meter struct {
	ctx         context.Context
	done, total int64
	progress    func(done, total int64)
}

func (m *meter) sum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	buf := make([]byte, 1<<20)
	for chunk := 0; ; chunk++ {
		if err := context.Cause(m.ctx); err != nil {
			return "", err
		}
		n, err := f.Read(buf)
		_, _ = hash.Write(buf[:n])
		m.done += int64(n)
		if m.progress != nil && chunk%64 == 0 {
			m.progress(m.done, m.total)
		}
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(hash.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}
