package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// tempPrefix marks files that are being written; one that a killed process left is removed when the run is resumed.
const tempPrefix = ".writing-"

// replace writes a file so that its old or its new content is there at any moment, also after a crash: a temporary file
// beside it, synced, then renamed over it.
func replace(path string, write func(io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = saveError(path, err)
		}
	}()
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	syncDir(dir)
	return nil
}

// syncDir makes a rename last over a power cut, on systems where folders can be synced.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync() // Windows and some network file systems refuse; the rename itself stands
		d.Close()
	}
}

// saveError says which file could not be written and what to do.
func saveError(path string, err error) error {
	hint := "set LLM_SPEED_DATA to a folder that can be written"
	if isDiskFull(err) {
		hint = "the disk is full: free some space, or set LLM_SPEED_DATA to a folder on another disk"
	}
	return fmt.Errorf("save %s: %w; %s; what was saved before is kept", path, err, hint)
}

// removeLeftovers deletes what a killed process was writing. Only the holder of the run's lock may do that.
func removeLeftovers(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
