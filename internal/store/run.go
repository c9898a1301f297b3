package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/llm-speed/llm-speed/internal/filelock"
	"github.com/llm-speed/llm-speed/internal/record"
)

// ErrBusy means that another process writes the run.
var ErrBusy = errors.New("another llm-speed is writing this run")

// Names inside a run's folder.
const (
	resultName = "result.json"
	rawName    = "raw"
	lockName   = "lock"
)

// Run is a run that this process writes. Its methods are for one goroutine.
type Run struct {
	id   string
	dir  string
	lock *os.File
}

// Create makes the folder of a new run and locks it.
func (s *Store) Create(id string) (*Run, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	dir := s.runDir(id)
	if err := os.MkdirAll(s.runs(), 0o700); err != nil {
		return nil, saveError(dir, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("run %s exists already in %s", id, s.runs())
		}
		return nil, saveError(dir, err)
	}
	return openRun(id, dir)
}

// Resume locks a run to go on with it, and gives what it holds so far. ref is as in Load, without paths. The error is
// ErrBusy where another process writes it.
func (s *Store) Resume(ref string) (*Run, *record.Result, error) {
	id, err := s.find(ref)
	if err != nil {
		return nil, nil, err
	}
	run, err := openRun(id, s.runDir(id))
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(removeLeftovers(run.dir), removeLeftovers(filepath.Join(run.dir, rawName))); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("resume run %s: %w", id, err), run.Close())
	}
	// Read under the lock, so that nobody changes it in between.
	saved, err := readRun(run.dir)
	if err != nil {
		return nil, nil, errors.Join(err, run.Close())
	}
	return run, saved.Result, nil
}

func openRun(id, dir string) (*Run, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, saveError(path, err)
	}
	if busy, err := filelock.Take(f); err != nil {
		f.Close()
		if busy {
			return nil, fmt.Errorf("run %s: %w; wait for it to end, or end it", id, ErrBusy)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Run{id, dir, f}, nil
}

// ID is the run's id.
func (r *Run) ID() string { return r.id }

// Dir is the run's folder.
func (r *Run) Dir() string { return r.dir }

// Save replaces the run's result. Where it fails, the result saved before is still there.
func (r *Run) Save(res *record.Result) error {
	path := filepath.Join(r.dir, resultName)
	if r.lock == nil {
		return fmt.Errorf("save %s: the run is closed", path)
	}
	if res.RunID != r.id {
		return fmt.Errorf("save %s: the result is of run %q", path, res.RunID)
	}
	return replace(path, encode(res))
}

// encode writes a document as it stands on the disk.
func encode(res *record.Result) func(io.Writer) error {
	return func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(res)
	}
}

// Discard closes a run that measured nothing and removes its folder. It refuses a run that holds recordings.
func (r *Run) Discard() error {
	if r.lock == nil {
		return nil
	}
	if entries, err := os.ReadDir(filepath.Join(r.dir, rawName)); err == nil && len(entries) > 0 {
		return errors.Join(fmt.Errorf("remove run %s: it holds recordings", r.id), r.Close())
	}
	// Closed first: Windows removes no open file. The id is this run's alone, so nobody waits for the lock.
	if err := r.Close(); err != nil {
		return fmt.Errorf("remove run %s: %w", r.id, err)
	}
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("remove run %s: %w", r.id, err)
	}
	return nil
}

// Close gives the run free for others. Closing twice is allowed.
func (r *Run) Close() error {
	if r.lock == nil {
		return nil
	}
	err := r.lock.Close()
	r.lock = nil
	return err
}
