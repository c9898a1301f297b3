package suite

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Pack writes a suite's files as a gzipped tar archive. The same files always give the same bytes: sorted paths, no times,
// no owners, plain modes, and stored without compression, whose output differs between versions of compressors.
func Pack(w io.Writer, s *Suite) error {
	z, err := gzip.NewWriterLevel(w, gzip.NoCompression)
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

// maxArchive bounds what an archive may unpack to: the files' own limit, and room for the headers.
const maxArchive = maxTotalBytes + 64<<10

// Unpack reads an archive that Pack has written, into memory. It takes plain files only, of a suite's kinds and within a
// suite's limits, whose paths stay inside, come once, and differ by more than their case.
func Unpack(r io.Reader) (fs.FS, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("unpack the suite: not a gzip archive: %w", err)
	}
	z.Multistream(false)
	limited := &io.LimitedReader{R: z, N: maxArchive}
	t := tar.NewReader(limited)
	all, folded := files{}, map[string]string{}
	total := 0
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case limited.N <= 0:
			return nil, fmt.Errorf("unpack the suite: it is larger than %d MiB", maxTotalBytes>>20)
		case err != nil:
			return nil, fmt.Errorf("unpack the suite: the archive is broken: %w", err)
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("unpack the suite: %q is a link, a folder or a device; a suite holds plain files only", h.Name)
		case checkPath(h.Name) != nil:
			return nil, fmt.Errorf("unpack the suite: %w", checkPath(h.Name))
		case !slices.Contains(extensions, path.Ext(h.Name)):
			return nil, fmt.Errorf("unpack the suite: %q: a suite holds only %s files", h.Name, strings.Join(extensions, " "))
		case len(all) >= maxFiles:
			return nil, fmt.Errorf("unpack the suite: it has more than %d files", maxFiles)
		}
		if other, ok := folded[strings.ToLower(h.Name)]; ok {
			return nil, fmt.Errorf("unpack the suite: %q and %q are one file on some systems", other, h.Name)
		}
		folded[strings.ToLower(h.Name)] = h.Name
		b, err := io.ReadAll(io.LimitReader(t, int64(maxTotalBytes-total)+1))
		if err != nil {
			return nil, fmt.Errorf("unpack the suite: %q: the archive is broken: %w", h.Name, err)
		}
		if total += len(b); total > maxTotalBytes {
			return nil, fmt.Errorf("unpack the suite: it is larger than %d MiB", maxTotalBytes>>20)
		}
		all[h.Name] = b
	}
	for name := range all { // a file can't be a folder too
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if other, ok := folded[strings.ToLower(dir)]; ok {
				return nil, fmt.Errorf("unpack the suite: %q is a file and a folder", other)
			}
		}
	}
	// What follows the archive's end would be no part of what is checked.
	if n, err := io.Copy(io.Discard, limited); err != nil || n > 32<<10 {
		return nil, fmt.Errorf("unpack the suite: the archive has no clean end")
	}
	return all, nil
}
