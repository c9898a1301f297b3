package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/llm-speed/llm-speed/internal/record"
)

// Adopt takes runs into the store that another program measured; their ids follow from what they hold. source is the
// SHA-256 of the file that they come from. Each is here whole or not at all; one that is here already stays as it is. They
// are marked as imported.
func (s *Store) Adopt(results []*record.Result, source string) ([]Imported, error) {
	dir, done, err := s.staging()
	if err != nil {
		return nil, err
	}
	defer done()
	list := make([]Imported, len(results))
	for i, r := range results {
		list[i] = Imported{RunID: r.RunID, Result: r}
		if r.Kind == "" {
			return nil, fmt.Errorf("run %s is not another program's", r.RunID)
		}
		if list[i].Known, err = s.adopted(r); err != nil {
			return nil, fmt.Errorf("nothing was imported: %w", err)
		}
		if list[i].Known {
			continue
		}
		staged := filepath.Join(dir, r.RunID)
		if err := os.Mkdir(staged, 0o700); err != nil {
			return nil, saveError(staged, err)
		}
		if err := replace(filepath.Join(staged, resultName), encode(r)); err != nil {
			return nil, fmt.Errorf("nothing was imported: %w", err)
		}
	}
	return s.settleAll(list, dir, source)
}

// adopted reports whether a run is here already. Its id says what is in it, so that a document that an earlier version has
// made of the same is the same run.
func (s *Store) adopted(r *record.Result) (bool, error) {
	dir := s.runDir(r.RunID)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return false, checkID(r.RunID)
	} else if err != nil {
		return false, err
	}
	here, err := readRun(dir)
	if err != nil {
		return false, fmt.Errorf("%w: %s, which can't be read: %w; `llm-speed runs rm %s` makes room", ErrConflict, r.RunID, err, r.RunID)
	}
	if here.Result.Kind != r.Kind {
		return false, fmt.Errorf("%w: %s", ErrConflict, r.RunID)
	}
	return true, nil
}
