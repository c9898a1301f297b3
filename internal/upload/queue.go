package upload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/seal"
	"github.com/llm-speed/llm-speed/internal/store"
)

// Names in the queue's folder.
const (
	queueDir   = "queue"
	suffix     = ".json"     // a document, by the id of its run
	heldMark   = ".held"     // an empty file: the run is not queued unless somebody asks for it
	unfinished = ".writing-" // package store's temporary files
)

// stale is how old a file must be that a killed process was writing to be swept.
const stale = time.Hour

// Queue is the folder of documents that wait to be sent, one a run. Several processes may use it at the same time: every
// change is one file that is there whole or not at all.
type Queue struct{ dir string }

// OpenQueue names the queue of a data directory; it need not exist yet.
func OpenQueue(dataDir string) *Queue { return &Queue{filepath.Join(dataDir, queueDir)} }

// Dir is the queue's folder.
func (q *Queue) Dir() string { return q.dir }

func (q *Queue) path(runID, kind string) (string, error) {
	if !runIDForm.MatchString(runID) {
		return "", fmt.Errorf("%q is no run id", runID)
	}
	return filepath.Join(q.dir, runID+kind), nil
}

// Put queues the document of a run, in the place of one that is queued already. It takes back a hold.
func (q *Queue) Put(runID string, d Document) error {
	path, err := q.path(runID, suffix)
	if err != nil {
		return err
	}
	q.sweep()
	if err := store.Replace(path, d.Encode()); err != nil {
		return fmt.Errorf("queue for upload: %w", err)
	}
	return q.remove(runID, heldMark)
}

// Held reports whether a run is not to be queued unless somebody asks for it.
func (q *Queue) Held(runID string) bool {
	path, err := q.path(runID, heldMark)
	if err != nil {
		return false
	}
	_, err = os.Lstat(path)
	return err == nil
}

// Hold takes a run's document out of the queue, and keeps the run from being queued by itself again. was reports whether
// there was a document.
func (q *Queue) Hold(runID string) (was bool, err error) {
	path, err := q.path(runID, heldMark)
	if err != nil {
		return false, err
	}
	// The mark comes first: a document beside it is not sent.
	if err := store.Replace(path, nil); err != nil {
		return false, fmt.Errorf("hold back from upload: %w", err)
	}
	return q.Forget(runID)
}

// Forget takes a run's document out of the queue. was reports whether there was one.
func (q *Queue) Forget(runID string) (was bool, err error) {
	path, err := q.path(runID, suffix)
	if err != nil {
		return false, err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return true, q.remove(runID, suffix)
}

// Erase takes all that the queue has of a run: it was removed.
func (q *Queue) Erase(runID string) error {
	return errors.Join(q.remove(runID, suffix), q.remove(runID, heldMark))
}

func (q *Queue) remove(runID, kind string) error {
	path, err := q.path(runID, kind)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// Get gives the document of a run with its exact bytes. The error is fs.ErrNotExist where none is queued.
func (q *Queue) Get(runID string) (Document, []byte, error) {
	path, err := q.path(runID, suffix)
	if err != nil {
		return Document{}, nil, err
	}
	file, err := store.ReadBounded(path, MaxFile)
	if err != nil {
		return Document{}, nil, err
	}
	d, err := Open(file)
	if err != nil {
		return Document{}, nil, err
	}
	b, err := d.Body()
	if err == nil && b.RunID != "" && b.RunID != runID {
		err = fmt.Errorf("%w: it lies in the place of run %s and is of run %s", seal.ErrBad, runID, b.RunID)
	}
	return d, file, err
}

// Entry is a run in the queue. Err says why a damaged document can't be read; only RunID and Bytes are set then.
type Entry struct {
	RunID    string
	Document Document
	Body     *Body
	Bytes    int64
	Held     bool // not to be sent, although a document is here
	Err      error
}

// List gives the queue, the newest run first. A document that is damaged is in it with its error, and spoils nothing else.
func (q *Queue) List() ([]Entry, error) {
	files, err := os.ReadDir(q.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the queue: %w", err)
	}
	var list []Entry
	for _, f := range files {
		id, ok := strings.CutSuffix(f.Name(), suffix)
		if !ok || !runIDForm.MatchString(id) {
			continue
		}
		e := Entry{RunID: id, Held: q.Held(id)}
		if info, err := f.Info(); err == nil {
			e.Bytes = info.Size()
		}
		if e.Document, _, e.Err = q.Get(id); e.Err == nil {
			e.Body, e.Err = e.Document.Body()
		}
		if errors.Is(e.Err, fs.ErrNotExist) {
			continue // another process was faster
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(b.RunID, a.RunID) })
	return list, nil
}

// sweep deletes what killed processes were writing.
func (q *Queue) sweep() {
	files, err := os.ReadDir(q.dir)
	if err != nil {
		return
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil && strings.HasPrefix(f.Name(), unfinished) && time.Since(info.ModTime()) > stale {
			_ = os.Remove(filepath.Join(q.dir, f.Name())) // it is in no list
		}
	}
}
