// Package store keeps runs in the user's data directory: one folder a run, with result.json, the raw recordings that it
// names, and a lock. It never uploads, never deletes a run that holds anything measured, and changes no file of a run that another process holds.
package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// DefaultDir is where runs of this user are kept. env reads the environment, goos is runtime.GOOS, home the user's home
// folder; it is an error where none of them says anything.
func DefaultDir(env func(string) string, goos, home string) (string, error) {
	if dir := env("LLM_SPEED_DATA"); dir != "" {
		return dir, nil
	}
	// A relative XDG_DATA_HOME is void by the XDG base directory specification.
	if dir := env("XDG_DATA_HOME"); filepath.IsAbs(dir) && goos != "windows" {
		return filepath.Join(dir, "llm-speed"), nil
	}
	if goos == "windows" {
		if dir := env("LocalAppData"); dir != "" {
			return filepath.Join(dir, "llm-speed"), nil
		}
	}
	switch {
	case home == "":
		return "", errors.New("no folder to keep runs in: there is no home folder; set LLM_SPEED_DATA")
	case goos == "darwin":
		return filepath.Join(home, "Library", "Application Support", "llm-speed"), nil
	case goos == "windows":
		return filepath.Join(home, "AppData", "Local", "llm-speed"), nil
	}
	return filepath.Join(home, ".local", "share", "llm-speed"), nil
}

// Store is a data directory. Several processes may use one at the same time.
type Store struct{ dir string }

// Open names a data directory, which need not exist yet; Create makes it.
func Open(dir string) (*Store, error) {
	if dir == "" {
		return nil, errors.New("no data directory named; set LLM_SPEED_DATA")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	if info, err := os.Stat(abs); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("data directory %s is a file; set LLM_SPEED_DATA to a folder", abs)
	}
	return &Store{abs}, nil
}

// Dir is the data directory.
func (s *Store) Dir() string { return s.dir }

func (s *Store) runs() string { return filepath.Join(s.dir, "runs") }

func (s *Store) runDir(id string) string { return filepath.Join(s.runs(), id) }
