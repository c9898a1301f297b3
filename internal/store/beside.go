package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The files that can stand beside a run's document. None of them holds anything measured.
const (
	SealFile     = "seal.json"     // the seal of result.json, docs/signing.md
	UploadFile   = "upload.json"   // what of the run would be uploaded, docs/upload.md
	ReceiptFile  = "receipt.note"  // what a service has said to have received
	importedFile = "imported.json" // the run came from elsewhere
)

// maxBeside bounds a file beside a document that is read.
const maxBeside = 8 << 20

// SaveFile replaces one of the files beside the run's document.
func (r *Run) SaveFile(name string, content []byte) error {
	path := filepath.Join(r.dir, name)
	if r.lock == nil {
		return fmt.Errorf("save %s: the run is closed", path)
	}
	switch name {
	case SealFile, UploadFile, ReceiptFile:
	default:
		return fmt.Errorf("save %s: no file of a run", path)
	}
	return Replace(path, content)
}

// DropSeal removes the seal of a run that is about to change.
func (r *Run) DropSeal() error {
	if err := os.Remove(filepath.Join(r.dir, SealFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Document gives the exact bytes of the run's document as they are on the disk.
func (r *Run) Document() ([]byte, error) { return readDocument(filepath.Join(r.dir, resultName)) }

// Document gives the exact bytes of the document that the run was read from.
func (s *Saved) Document() ([]byte, error) { return readDocument(s.Path) }

func readDocument(path string) ([]byte, error) {
	b, err := ReadBounded(path, maxResult)
	if err != nil {
		return nil, fmt.Errorf("result %s: %w", path, err)
	}
	return b, nil
}

// ReadFile gives one of the files beside the run's document. The error is fs.ErrNotExist where there is none.
func (s *Saved) ReadFile(name string) ([]byte, error) {
	path := filepath.Join(filepath.Dir(s.Path), name)
	b, err := ReadBounded(path, maxBeside)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, err
}

// ReadFile gives one of the files beside the document of a run that this process writes; as Saved.ReadFile.
func (r *Run) ReadFile(name string) ([]byte, error) {
	return (&Saved{Path: filepath.Join(r.dir, resultName)}).ReadFile(name)
}

// ReadBounded reads a regular file of bounded size. It waits for no pipe.
func ReadBounded(path string, most int64) ([]byte, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("no regular file")
	} else if info.Size() > most {
		return nil, fmt.Errorf("%d bytes; the most is %d", info.Size(), most)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return b, err
}

// Replace writes a file of the data directory, and its folder, so that the old or the new content is there at any moment.
// The error says what to do.
func Replace(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return saveError(path, err)
	}
	return replace(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// Import says where a run came from that was not measured here.
type Import struct {
	Schema  string    `json:"schema"`
	At      time.Time `json:"imported_at"`
	Archive string    `json:"archive_sha256"`
	Seal    string    `json:"seal"` // id of the seal that came with it; empty where none did
}

// importSchema names the form of imported.json.
const importSchema = "llm-speed/imported/v1"

// Imported says where the run came from; nil for one that was measured here. A run with a mark that can't be read is an
// imported one all the same.
func (s *Saved) Imported() *Import { return importedAt(filepath.Dir(s.Path)) }

// Imported is as Saved.Imported.
func (r *Run) Imported() *Import { return importedAt(r.dir) }

func importedAt(dir string) *Import {
	path := filepath.Join(dir, importedFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var mark Import
	if b, err := ReadBounded(path, maxBeside); err != nil || json.Unmarshal(b, &mark) != nil {
		return &Import{}
	}
	return &mark
}
