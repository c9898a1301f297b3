package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/filelock"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/seal"
)

// ErrConflict means that another run has the id of one that is to be imported.
var ErrConflict = errors.New("another run with this id is here")

// importingPrefix marks folders in which runs are being unpacked; they are in no list.
const importingPrefix = ".importing-"

// Imported is what came of one run of an archive.
type Imported struct {
	RunID  string
	Known  bool   // it was here already, to the byte
	Seal   string // id of its seal; empty where it has none
	Result *record.Result
}

// Import takes the runs of an archive into the store. All of the archive is unpacked beside the runs and checked first, so
// that nothing is taken of one that is damaged, and no run is ever half here. A run that is here already to the byte stays as
// it is; where another one has the id nothing is imported (ErrConflict). An imported run is marked as that.
func (s *Store) Import(r io.Reader) ([]Imported, error) {
	dir, done, err := s.staging()
	if err != nil {
		return nil, err
	}
	defer done()
	var list []Imported
	sum, err := readArchive(r,
		func(run exportedRun, file record.RawFile) (io.WriteCloser, error) {
			return createFile(filepath.Join(dir, run.RunID, filepath.FromSlash(file.Path)))
		},
		func(u unpacked) error {
			in, err := stage(filepath.Join(dir, u.run.RunID), u)
			list = append(list, in)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("nothing was imported: %w", err)
	}
	for i := range list {
		if list[i].Known, err = s.known(list[i].RunID, filepath.Join(dir, list[i].RunID)); err != nil {
			return nil, fmt.Errorf("nothing was imported: %w", err)
		}
	}
	return s.settleAll(list, dir, sum)
}

// staging makes a folder beside the runs in which runs are put together, held until done is called.
func (s *Store) staging() (dir string, done func(), err error) {
	if err := os.MkdirAll(s.runs(), 0o700); err != nil {
		return "", nil, saveError(s.runs(), err)
	}
	s.sweepImports()
	if dir, err = os.MkdirTemp(s.runs(), importingPrefix+"*"); err != nil {
		return "", nil, saveError(s.runs(), err)
	}
	lock, err := holdFolder(dir)
	if err != nil {
		return "", nil, errors.Join(saveError(dir, err), os.RemoveAll(dir))
	}
	return dir, func() {
		lock.Close()
		_ = os.RemoveAll(dir) // where that fails the next import sweeps it
	}, nil
}

// settleAll moves the runs of a staging folder that are not here yet to their places; source is the SHA-256 of the file that
// they come from.
func (s *Store) settleAll(list []Imported, dir, source string) ([]Imported, error) {
	for i := range list {
		if list[i].Known {
			continue
		}
		if err := s.settle(&list[i], filepath.Join(dir, list[i].RunID), source); err != nil {
			return list[:i], fmt.Errorf("%d of %d runs were imported: %w", i, len(list), err)
		}
	}
	return list, nil
}

// holdFolder locks a folder, so that no other process takes it for one that was left behind.
func holdFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := filelock.Take(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// createFile makes a file that does not exist, and its folder. Closing it syncs it.
func createFile(path string) (io.WriteCloser, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, saveError(path, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, saveError(path, err)
	}
	return &synced{f}, nil
}

type synced struct{ *os.File }

func (s *synced) Write(p []byte) (int, error) {
	n, err := s.File.Write(p)
	if err != nil {
		err = saveError(s.Name(), err)
	}
	return n, err
}

// Close writes what is left through to the disk.
func (s *synced) Close() error {
	if err := errors.Join(s.Sync(), s.File.Close()); err != nil {
		return saveError(s.Name(), err)
	}
	return nil
}

// stage writes a run's document and seal into the folder where its other files are.
func stage(dir string, u unpacked) (Imported, error) {
	out := Imported{RunID: u.run.RunID}
	var err error
	if out.Result, err = Parse(u.document); err != nil {
		return out, err
	}
	out.Result.Rows = nil // what it is imported as says the rest
	if err := Replace(filepath.Join(dir, resultName), u.document); err != nil {
		return out, err
	}
	if u.seal == nil {
		return out, nil
	}
	e, _, err := seal.OpenRun(u.seal)
	if err != nil {
		return out, err
	}
	out.Seal = e.ID()
	return out, Replace(filepath.Join(dir, SealFile), u.seal)
}

// known reports whether a run is here already. It is an error where another one has its id.
func (s *Store) known(id, staged string) (bool, error) {
	dir := s.runDir(id)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	// The document names all other files by their hashes.
	here, err := readDocument(filepath.Join(dir, resultName))
	if err != nil {
		return false, fmt.Errorf("%w: %s, which can't be read: %w", ErrConflict, id, err)
	}
	there, err := readDocument(filepath.Join(staged, resultName))
	if err != nil {
		return false, err
	}
	if !bytes.Equal(here, there) {
		return false, fmt.Errorf("%w: %s, and its document is not the same; `llm-speed runs rm %s` makes room", ErrConflict, id, id)
	}
	return true, nil
}

// settle marks a run that was unpacked and moves it to its place.
func (s *Store) settle(in *Imported, staged, archive string) error {
	mark := seal.Encode(Import{Schema: importSchema, At: time.Now().UTC().Truncate(time.Second), Archive: archive, Seal: in.Seal})
	if err := Replace(filepath.Join(staged, importedFile), mark); err != nil {
		return err
	}
	err := os.Rename(staged, s.runDir(in.RunID))
	if err == nil {
		syncDir(s.runs())
		return nil
	}
	// Another process may have been faster with the same run.
	if known, why := s.known(in.RunID, staged); known {
		in.Known = true
		return nil
	} else if why != nil {
		return why
	}
	return saveError(s.runDir(in.RunID), err)
}

// sweepImports deletes what imports have left that were killed.
func (s *Store) sweepImports() {
	entries, err := os.ReadDir(s.runs())
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), importingPrefix) {
			continue
		}
		// A young one may not have its lock yet.
		if info, err := e.Info(); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		dir := filepath.Join(s.runs(), e.Name())
		if f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0o600); err == nil {
			_, busy := filelock.Take(f)
			f.Close()
			if busy != nil {
				continue
			}
		}
		_ = os.RemoveAll(dir)
	}
}
