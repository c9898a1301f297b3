package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// removedPrefix marks folders of runs that are being removed; they are in no list.
const removedPrefix = ".removed-"

// Find gives the id that a reference to a run of this store means: an id, a unique beginning of it, last, or last~N. The
// error wraps ErrNotFound where there is none, and names ids that are close.
func (s *Store) Find(ref string) (string, error) { return s.find(ref) }

// Remove deletes a run with its recordings, a damaged one too. It refuses one that another process writes (ErrBusy), and
// then nothing of it is gone. A run that could be deleted only in part is in no list any more; the next Remove deletes the
// rest.
func (s *Store) Remove(id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	dir := s.runDir(id)
	if info, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %q in %s", ErrNotFound, id, s.runs())
	} else if err != nil {
		return fmt.Errorf("remove run %s: %w", id, err)
	} else if !info.IsDir() {
		return fmt.Errorf("remove run %s: %s is no folder", id, dir)
	}
	run, err := openRun(id, dir)
	if err != nil {
		return fmt.Errorf("not removed: %w", err)
	}
	gone := filepath.Join(s.runs(), removedPrefix+id)
	// What an earlier try under this name has left would be in the way.
	err = os.RemoveAll(gone)
	if err == nil && !renamesLocked {
		err = run.Close()
	}
	if err == nil {
		err = os.Rename(dir, gone)
	}
	if err = errors.Join(err, run.Close()); err != nil {
		return fmt.Errorf("remove run %s: %w", id, err)
	}
	s.sweep()
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove run %s: %w; it is in no list any more, but what is left of it is in %s", id, err, gone)
	}
	return nil
}

// sweep deletes what earlier removals could not.
func (s *Store) sweep() {
	entries, err := os.ReadDir(s.runs())
	if err != nil {
		return
	}
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Name(), removedPrefix); ok && checkID(id) == nil {
			_ = os.RemoveAll(filepath.Join(s.runs(), e.Name())) // the one that failed before may fail again; it is in no list
		}
	}
}
