package suite

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// The limits on a suite's files.
const (
	maxFiles      = 64
	maxStarBytes  = 256 << 10
	maxCodeBytes  = 64 << 10 // of a jsonnet file: its parser's recursion is bounded by nothing else
	maxTotalBytes = 4 << 20
	maxPathBytes  = 128
)

// extensions are the kinds of file that a suite may hold.
var extensions = []string{".json", ".jsonnet", ".libsonnet", ".md", ".star", ".txt"}

// files is a suite read into memory, path to content: what was digested is what is run, whatever happens on disk later.
// It is a read-only fs.FS.
type files map[string][]byte

// readAll copies every file of fsys. Names that begin with a dot are no part of a suite.
func readAll(fsys fs.FS) (files, error) {
	all, folded := files{}, map[string]string{}
	total := 0
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p != "." && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s: is a link or a device; a suite holds plain files only", p)
		}
		if err := checkPath(p); err != nil {
			return err
		}
		if other, ok := folded[strings.ToLower(p)]; ok {
			return fmt.Errorf("%q and %q are one file on some systems", other, p)
		}
		folded[strings.ToLower(p)] = p
		ext := path.Ext(p)
		if !slices.Contains(extensions, ext) {
			return fmt.Errorf("%s: a suite holds only %s files", p, strings.Join(extensions, " "))
		}
		if len(all) == maxFiles {
			return fmt.Errorf("%s: the suite has more than %d files", p, maxFiles)
		}
		ownLimit := maxTotalBytes
		switch ext {
		case ".star":
			ownLimit = maxStarBytes
		case ".jsonnet", ".libsonnet":
			ownLimit = maxCodeBytes
		}
		limit := min(ownLimit, maxTotalBytes-total)
		content, err := readLimited(fsys, p, limit)
		if errors.Is(err, errTooLong) {
			if limit == ownLimit {
				return fmt.Errorf("%s: is larger than %d KiB", p, ownLimit>>10)
			}
			return fmt.Errorf("%s: the suite's files together are larger than %d MiB", p, maxTotalBytes>>20)
		}
		if err != nil {
			return err
		}
		total += len(content)
		all[p] = content
		return nil
	})
	return all, err
}

// plainPath is the paths that mean one and the same file on every system: no letters that some take for others, no
// spaces at the ends, no backslashes, nothing that a terminal would obey.
var plainPath = regexp.MustCompile(`^\w[\w-]*([. ]+[\w-]+)*(/\w[\w-]*([. ]+[\w-]+)*)*$`)

// checkPath refuses a path that does not mean the same everywhere.
func checkPath(p string) error {
	switch {
	case len(p) > maxPathBytes:
		return fmt.Errorf("%.40q…: path is longer than %d bytes", p, maxPathBytes)
	case !fs.ValidPath(p) || !plainPath.MatchString(p):
		return fmt.Errorf("%q is no plain path inside the suite; wants letters a to z, digits, - and _", p)
	}
	return nil
}

var errTooLong = errors.New("too long")

// readLimited reads a file of at most limit bytes.
func readLimited(fsys fs.FS, p string, limit int) ([]byte, error) {
	f, err := fsys.Open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	if len(content) > limit {
		return nil, errTooLong
	}
	return content, nil
}

// Sources reads the programs among a suite's files, and what they may load, by path.
func Sources(fsys fs.FS) (map[string][]byte, error) {
	sources := map[string][]byte{}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(p) != ".star" {
			return err
		}
		sources[p], err = readLimited(fsys, p, maxStarBytes)
		return err
	})
	return sources, err
}

// digest is SHA-256 over the sorted files, each as: length of path, path, length of content, content; lengths are 8 bytes,
// big endian.
func (f files) digest() string {
	h := sha256.New()
	put := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	for _, p := range f.paths() {
		put([]byte(p))
		put(f[p])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// paths gives the files' paths in byte order.
func (f files) paths() []string {
	ps := make([]string, 0, len(f))
	for p := range f {
		ps = append(ps, p)
	}
	sort.Strings(ps)
	return ps
}

// Open gives a file or a directory.
func (f files) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if content, ok := f[name]; ok {
		return &openFile{info: info{name: path.Base(name), size: len(content)}, Reader: strings.NewReader(string(content))}, nil
	}
	entries := f.list(name)
	if len(entries) == 0 && name != "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &openDir{info: info{name: path.Base(name), dir: true}, left: entries}, nil
}

// list gives what lies directly in dir, by name.
func (f files) list(dir string) []fs.DirEntry {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	var entries []fs.DirEntry
	seen := map[string]bool{}
	for _, p := range f.paths() {
		rest, ok := strings.CutPrefix(p, prefix)
		if !ok {
			continue
		}
		name, _, isDir := strings.Cut(rest, "/")
		if seen[name] {
			continue
		}
		seen[name] = true
		size := 0
		if !isDir {
			size = len(f[p])
		}
		entries = append(entries, fs.FileInfoToDirEntry(info{name: name, size: size, dir: isDir}))
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries
}

// info describes a file or a directory of the copy.
type info struct {
	name string
	size int
	dir  bool
}

// Name is the last part of the path.
func (i info) Name() string { return i.name }

// Size is in bytes.
func (i info) Size() int64 { return int64(i.size) }

// ModTime is not known: the copy has none.
func (i info) ModTime() time.Time { return time.Time{} }

// IsDir tells whether it is a directory.
func (i info) IsDir() bool { return i.dir }

// Sys has nothing to tell.
func (i info) Sys() any { return nil }

// Mode is read-only.
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// openFile is a file of the copy, open for reading.
type openFile struct {
	info
	*strings.Reader
}

// Size is in bytes.
func (o *openFile) Size() int64 { return o.info.Size() }

// Stat describes the file.
func (o *openFile) Stat() (fs.FileInfo, error) { return o.info, nil }

// Close does nothing.
func (o *openFile) Close() error { return nil }

// openDir is a directory of the copy, open for listing.
type openDir struct {
	info
	left []fs.DirEntry
}

// Stat describes the directory.
func (o *openDir) Stat() (fs.FileInfo, error) { return o.info, nil }

// Close does nothing.
func (o *openDir) Close() error { return nil }

// Read fails: a directory has no bytes.
func (o *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.name, Err: errors.New("is a directory")}
}

// ReadDir gives the next n entries, or all that are left where n <= 0.
func (o *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(o.left) {
		if n > 0 && len(o.left) == 0 {
			return nil, io.EOF
		}
		n = len(o.left)
	}
	out := o.left[:n]
	o.left = o.left[n:]
	return out, nil
}
