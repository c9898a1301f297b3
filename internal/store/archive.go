package store

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/seal"
)

// The file of exported runs is a plain tar archive: export.json, which lists all that follows with its hash and size, and
// then a folder for each run. It is not compressed: recordings are already, and the same runs give the same bytes with every
// version of this program.
const (
	exportSchema = "llm-speed/export/v1"
	exportName   = "export.json"
)

// Bounds of an archive that is read.
const (
	maxContents = 64 << 20
	maxRuns     = 10_000
	maxFiles    = 200_000 // of one run
)

// maxArchive bounds an archive. It is no limit of memory: files go to the disk piece by piece.
const maxArchive = 1 << 40

// contents is export.json.
type contents struct {
	Schema string        `json:"schema"`
	Runs   []exportedRun `json:"runs"`
}

// exportedRun is one run of an archive: its document, its seal where it has one, then its other files as the document names
// them, or none of these.
type exportedRun struct {
	RunID string           `json:"run_id"`
	Files []record.RawFile `json:"files"`
}

// header is how every file stands in an archive: nothing in it depends on when or where it was made.
func header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
}

// otherNames are the names that files of a run have beside its document and seal: those that SaveRaw and SaveSeries give.
var otherNames = regexp.MustCompile(`^(raw/[A-Za-z0-9_=~-][A-Za-z0-9_=~.-]{0,80}|state\.[1-9][0-9]{0,3})\.json\.gz$`)

// check says what is wrong with a list of contents.
func (c *contents) check() error {
	if c.Schema != exportSchema {
		return seal.SchemaError(c.Schema, exportSchema)
	}
	if len(c.Runs) == 0 || len(c.Runs) > maxRuns {
		return fmt.Errorf("%d runs; want 1 to %d", len(c.Runs), maxRuns)
	}
	ids := map[string]bool{}
	for _, r := range c.Runs {
		if err := checkID(r.RunID); err != nil {
			return err
		}
		if ids[r.RunID] {
			return fmt.Errorf("run %s is in it twice", r.RunID)
		}
		ids[r.RunID] = true
		if err := r.check(); err != nil {
			return fmt.Errorf("run %s: %w", r.RunID, err)
		}
	}
	return nil
}

func (r *exportedRun) check() error {
	if len(r.Files) == 0 || r.Files[0].Path != resultName || len(r.Files) > maxFiles {
		return fmt.Errorf("it has %d files, and the first is not %s", len(r.Files), resultName)
	}
	names := map[string]bool{}
	for i, f := range r.Files {
		most := int64(maxRawPacked)
		switch {
		case i == 0:
			most = maxResult
		case i == 1 && f.Path == SealFile:
			most = maxBeside
		case !otherNames.MatchString(f.Path):
			return fmt.Errorf("a run has no file %q", clipped(f.Path))
		}
		if f.Bytes < 0 || f.Bytes > most {
			return fmt.Errorf("%s has %d bytes; the most is %d", f.Path, f.Bytes, most)
		}
		// File systems that don't tell capitals apart would make one file of two.
		low := strings.ToLower(f.Path)
		if names[low] {
			return fmt.Errorf("%s is in it twice", f.Path)
		}
		names[low] = true
	}
	return nil
}

func clipped(text string) string { return strings.ToValidUTF8(text[:min(len(text), 80)], "") }

// unpacked is a run of an archive whose files have all been read, with the hashes that export.json says.
type unpacked struct {
	run            exportedRun
	document, seal []byte
}

// readArchive reads an archive from its beginning to its end. For each file beside documents and seals it asks where to put
// it (nil: nowhere), and gives each run when all of it was read. What it has given counts only where it ends without an
// error: not before that it is known that no bit of the archive is another than the one that an export writes.
func readArchive(r io.Reader, put func(run exportedRun, file record.RawFile) (io.WriteCloser, error), done func(unpacked) error) (sum string, err error) {
	in := &hashed{from: io.LimitReader(r, maxArchive), hash: sha256.New()}
	again := sha256.New() // the archive as an export would write what was read
	out := tar.NewWriter(again)
	t := tar.NewReader(in)
	defer func() {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			err = fmt.Errorf("the archive was cut off: %w", io.ErrUnexpectedEOF)
		}
	}()
	list, err := readContents(t, out)
	if err != nil {
		return "", err
	}
	for _, run := range list.Runs {
		u := unpacked{run: run}
		for i, f := range run.Files {
			if err := u.read(i, f, t, out, put); err != nil {
				return "", fmt.Errorf("run %s: %s: %w", run.RunID, f.Path, err)
			}
		}
		if err := u.check(); err != nil {
			return "", fmt.Errorf("run %s: %w", run.RunID, err)
		}
		if err := done(u); err != nil {
			return "", err
		}
	}
	if h, err := t.Next(); err == nil {
		return "", fmt.Errorf("there is a file %q in the archive that its %s does not list", clipped(h.Name), exportName)
	} else if !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("the archive's end: %w", err)
	}
	if err := out.Close(); err != nil {
		return "", err
	}
	if n, err := io.Copy(io.Discard, in); err != nil {
		return "", err
	} else if n > 0 {
		return "", fmt.Errorf("%d bytes follow after the archive's end", n)
	}
	if !bytes.Equal(in.hash.Sum(nil), again.Sum(nil)) {
		return "", errors.New("the archive is not written as an export writes it: something was changed between the files, or it was packed by another program")
	}
	return hex.EncodeToString(in.hash.Sum(nil)), nil
}

// hashed hashes what is read.
type hashed struct {
	from io.Reader
	hash hash.Hash
}

func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.from.Read(p)
	h.hash.Write(p[:n])
	return n, err
}

// readContents reads the list that an archive begins with.
func readContents(t *tar.Reader, out *tar.Writer) (*contents, error) {
	h, err := t.Next()
	if err != nil || h.Name != exportName || plainFile(h) != nil || h.Size > maxContents {
		return nil, fmt.Errorf("this is no file of exported runs: it does not begin with %s", exportName)
	}
	text := make([]byte, h.Size)
	if _, err := io.ReadFull(t, text); err != nil {
		return nil, err
	}
	if err := errors.Join(out.WriteHeader(header(exportName, h.Size)), writeAll(out, text)); err != nil {
		return nil, err
	}
	var list contents
	if err := seal.Decode(text, exportName, seal.Limits{Bytes: maxContents}, &list); err != nil {
		if list.Schema != "" && list.Schema != exportSchema {
			return nil, seal.SchemaError(list.Schema, exportSchema)
		}
		return nil, err
	}
	if err := list.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", exportName, err)
	}
	return &list, nil
}

func writeAll(w io.Writer, b []byte) error { _, err := w.Write(b); return err }

// plainFile refuses links, folders, devices, and files with holes.
func plainFile(h *tar.Header) error {
	if h.Typeflag != tar.TypeReg || h.Format != tar.FormatUSTAR || len(h.PAXRecords) > 0 {
		return errors.New("it is no plain file")
	}
	return nil
}

// read takes the next file of the archive, which has to be the i-th of the run.
func (u *unpacked) read(i int, f record.RawFile, t *tar.Reader, out *tar.Writer, put func(exportedRun, record.RawFile) (io.WriteCloser, error)) (err error) {
	h, err := t.Next()
	if err != nil {
		return err
	}
	if err := plainFile(h); err != nil {
		return err
	}
	if want := path.Join(u.run.RunID, f.Path); h.Name != want || h.Size != f.Bytes {
		return fmt.Errorf("in its place is %q with %d bytes, want %q with %d", clipped(h.Name), h.Size, want, f.Bytes)
	}
	if err := out.WriteHeader(header(h.Name, h.Size)); err != nil {
		return err
	}
	sum := sha256.New()
	to := io.MultiWriter(sum, out)
	var text bytes.Buffer
	inMemory := i == 0 || i == 1 && f.Path == SealFile
	if inMemory {
		to = io.MultiWriter(sum, out, &text)
	} else if put != nil {
		file, err := put(u.run, f)
		if err != nil {
			return err
		}
		to = io.MultiWriter(sum, out, file)
		defer func() { err = errors.Join(err, file.Close()) }()
	}
	if _, err := io.Copy(to, t); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("the file was changed: sha256 %s, want %s", got, clipped(f.SHA256))
	}
	switch {
	case i == 0:
		u.document = text.Bytes()
	case inMemory:
		u.seal = text.Bytes()
	}
	return nil
}

// check holds a run's files against its document, and its document against its seal.
func (u *unpacked) check() error {
	res, err := Parse(u.document)
	if err != nil {
		return err
	}
	if res.RunID != u.run.RunID {
		return fmt.Errorf("its document is of run %q", clipped(res.RunID))
	}
	named := map[record.RawFile]bool{}
	for _, f := range filesOf(res) {
		named[f] = true
	}
	others := u.run.Files[1:]
	if u.seal != nil {
		others = others[1:]
	}
	for _, f := range others {
		if !named[f] {
			return fmt.Errorf("its document names no file %s with sha256 %s", f.Path, clipped(f.SHA256))
		}
	}
	if len(others) > 0 && len(others) != len(named) {
		return fmt.Errorf("%d of the %d files that its document names are here", len(others), len(named))
	}
	if u.seal == nil {
		return nil
	}
	_, statement, err := seal.OpenRun(u.seal)
	if err != nil {
		return err
	}
	return statement.Fits(u.document)
}

// filesOf are the files that a document names, each once, in its order.
func filesOf(res *record.Result) []record.RawFile {
	var files []record.RawFile
	seen := map[string]bool{}
	for _, list := range [][]record.RawFile{res.Raw, res.Environment.Series} {
		for _, f := range list {
			if !seen[f.Path] {
				seen[f.Path] = true
				files = append(files, f)
			}
		}
	}
	return files
}

// Archived is a run as it stands in an archive.
type Archived struct {
	RunID    string
	Document []byte // result.json
	Seal     []byte // nil where the run is not sealed; else it was checked, and fits the document
	Files    int    // beside these
}

// Inspect reads an archive of exported runs, checks all of it, and keeps nothing. seal.ErrBad is in the error where it is a
// seal that is not good.
func Inspect(r io.Reader) ([]Archived, error) {
	var runs []Archived
	_, err := readArchive(r, nil, func(u unpacked) error {
		a := Archived{RunID: u.run.RunID, Document: u.document, Seal: u.seal, Files: len(u.run.Files) - 1}
		if u.seal != nil {
			a.Files--
		}
		runs = append(runs, a)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return runs, nil
}
