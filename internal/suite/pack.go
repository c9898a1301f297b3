package suite

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// Pack writes a suite's files as a gzipped tar archive. The same files always give the same bytes: sorted paths, no times,
// no owners, plain modes.
func Pack(w io.Writer, s *Suite) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	err = fs.WalkDir(s.Files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(s.Files, p)
		if err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: p, Size: int64(len(b)), Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		_, err = t.Write(b)
		return err
	})
	if err != nil {
		return fmt.Errorf("pack suite %s: %w", s.Name, err)
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}
