package store

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/seal"
)

// Export is runs that are about to be written as one file.
type Export struct {
	list contents
	from []source
}

// source is where the files of a run are.
type source struct {
	dir            string
	document, seal []byte
}

// Export prepares runs for export: everything is read and checked against the hashes in its document, so that a run that is
// damaged is found before anything is written. bare leaves the recordings out. The seal goes with a run where it has one that
// is good; keys, upload documents and receipts stay here.
func (s *Store) Export(ids []string, bare bool) (*Export, error) {
	e := &Export{list: contents{Schema: exportSchema}}
	for _, id := range ids {
		if err := e.add(id, s.runDir(id), bare); err != nil {
			return nil, fmt.Errorf("export run %s: %w", id, err)
		}
	}
	if err := e.list.check(); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return e, nil
}

func (e *Export) add(id, dir string, bare bool) error {
	saved := &Saved{Path: filepath.Join(dir, resultName), Dir: dir}
	src := source{dir: dir}
	var err error
	if src.document, err = saved.Document(); err != nil {
		return err
	}
	res, err := Parse(src.document)
	if err != nil {
		return err
	}
	run := exportedRun{RunID: id, Files: []record.RawFile{fileOf(resultName, src.document)}}
	if src.seal, err = saved.ReadFile(SealFile); err == nil {
		_, statement, err := seal.OpenRun(src.seal)
		if err == nil {
			err = statement.Fits(src.document)
		}
		if err != nil {
			return fmt.Errorf("%w; `llm-speed verify %s` says more", err, id)
		}
		run.Files = append(run.Files, fileOf(SealFile, src.seal))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !bare {
		for _, f := range filesOf(res) {
			if err := src.copy(f, io.Discard); err != nil {
				return fmt.Errorf("%w; without its recordings it can be exported all the same: --no-recordings", err)
			}
			run.Files = append(run.Files, f)
		}
	}
	e.list.Runs, e.from = append(e.list.Runs, run), append(e.from, src)
	return nil
}

func fileOf(name string, content []byte) record.RawFile {
	sum := sha256.Sum256(content)
	return record.RawFile{Path: name, SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(content))}
}

// copy writes a file that the document names, and says where it is not the named one.
func (s source) copy(f record.RawFile, to io.Writer) error {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	in, err := root.Open(filepath.FromSlash(f.Path))
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: no regular file", f.Path)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, sum), io.LimitReader(in, f.Bytes+1))
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	if n != f.Bytes || hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%s: the file was changed: its hash is not the one that the run's document names", f.Path)
	}
	return nil
}

// CheckFiles reads the files that the run's document names, and says where one is not the named one. n is how many there are.
// The error is fs.ErrNotExist where one is not here.
func (s *Saved) CheckFiles() (n int, err error) {
	files := filesOf(s.Result)
	for _, f := range files {
		if err := (source{dir: s.Dir}).copy(f, io.Discard); err != nil {
			return 0, err
		}
	}
	return len(files), nil
}

// Write writes the file. The same runs give the same bytes.
func (e *Export) Write(w io.Writer) error {
	t := tar.NewWriter(w)
	text := seal.Encode(e.list)
	if err := errors.Join(t.WriteHeader(header(exportName, int64(len(text)))), writeAll(t, text)); err != nil {
		return err
	}
	for i, run := range e.list.Runs {
		src := e.from[i]
		for n, f := range run.Files {
			if err := t.WriteHeader(header(path.Join(run.RunID, f.Path), f.Bytes)); err != nil {
				return fmt.Errorf("export run %s: %w", run.RunID, err)
			}
			var err error
			switch {
			case n == 0:
				err = writeAll(t, src.document)
			case n == 1 && f.Path == SealFile:
				err = writeAll(t, src.seal)
			default:
				err = src.copy(f, t)
			}
			if err != nil {
				return fmt.Errorf("export run %s: %w", run.RunID, err)
			}
		}
	}
	return t.Close()
}

// Unsealed are the runs that have no seal.
func (e *Export) Unsealed() []string {
	var ids []string
	for i, run := range e.list.Runs {
		if e.from[i].seal == nil {
			ids = append(ids, run.RunID)
		}
	}
	return ids
}
