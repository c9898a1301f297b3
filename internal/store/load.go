package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/seal"
)

// maxResult bounds a result document that is read.
const maxResult = 256 << 20

// bounds are what a result document may be. Each row and request of an empty object would take a thousand times its bytes in
// memory.
func bounds() seal.Limits {
	return seal.Limits{
		Bytes: maxResult, Depth: 64, Floats: true, Free: "extra",
		Values: 12_000_000, Lists: map[string]int{"results": 10_000, "samples": 200_000, "batches": 200_000, "raw_timings": 400_000},
	}
}

// ErrNotFound means that no run has the name.
var ErrNotFound = errors.New("no such run")

// ErrNoResult means that a run's folder lacks its document: it ended before it saved anything, or was damaged.
var ErrNoResult = errors.New("damaged: no " + resultName)

// Saved is a run as read back.
type Saved struct {
	Result *record.Result
	Path   string // of the result document
	Dir    string // that its raw files are beside in
}

// Entry is a run in a list. Err says why a damaged one can't be read; Result is nil then.
type Entry struct {
	ID     string
	Dir    string
	Result *record.Result
	Err    error
}

// Load reads a run: by its id, a unique beginning of it, `last`, `last~1` for the one before, or the path of a result
// document or of a run's folder.
func (s *Store) Load(ref string) (*Saved, error) {
	id, err := s.find(ref)
	if err == nil {
		return readRun(s.runDir(id))
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	info, statErr := os.Stat(ref)
	switch {
	case statErr != nil:
		return nil, err
	case info.IsDir():
		return readRun(ref)
	}
	saved, err := readResult(ref)
	if err != nil {
		return nil, err
	}
	s.findRaw(saved)
	return saved, nil
}

// findRaw leads a document that was copied away from its raw files back to its run's folder, where that is here. Their
// hashes are in the document, so that files of another run can't pass for its own.
func (s *Store) findRaw(saved *Saved) {
	if _, err := os.Stat(filepath.Join(saved.Dir, rawName)); err == nil || checkID(saved.Result.RunID) != nil {
		return
	}
	if dir := s.runDir(saved.Result.RunID); isFolder(dir) {
		saved.Dir = dir
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// find gives the id that a reference means; the error wraps ErrNotFound where there is none.
func (s *Store) find(ref string) (string, error) {
	ids, err := s.ids()
	if err != nil {
		return "", err
	}
	if ref == "last" || strings.HasPrefix(ref, "last~") {
		back := 0
		if _, n, ok := strings.Cut(ref, "~"); ok {
			if back, err = strconv.Atoi(n); err != nil || back < 0 {
				return "", fmt.Errorf("%q: want last or last~N, N runs before the last", ref)
			}
		}
		if back >= len(ids) {
			return "", fmt.Errorf("%w: %s, there are %d in %s", ErrNotFound, ref, len(ids), s.runs())
		}
		return ids[back], nil
	}
	var found []string
	for _, id := range ids {
		if id == ref {
			return id, nil
		}
		if ref != "" && strings.HasPrefix(id, ref) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		if close := near(ref, ids); len(close) > 0 {
			return "", fmt.Errorf("%w: %q in %s; close to it: %s", ErrNotFound, ref, s.runs(), strings.Join(close, " "))
		}
		return "", fmt.Errorf("%w: %q in %s; `llm-speed runs` lists them", ErrNotFound, ref, s.runs())
	case 1:
		return found[0], nil
	}
	shown := found[:min(len(found), 5)]
	return "", fmt.Errorf("%q begins %d runs: %s; give more of the id", ref, len(found), strings.Join(shown, " "))
}

// IDs lists the runs, newest first, and reads none.
func (s *Store) IDs() ([]string, error) { return s.ids() }

// ids lists the runs, newest first.
func (s *Store) ids() ([]string, error) {
	entries, err := os.ReadDir(s.runs())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && checkID(e.Name()) == nil {
			ids = append(ids, e.Name())
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids, nil
}

// List reads every run, newest first. A damaged run is in the list with its error.
func (s *Store) List() ([]Entry, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	list := make([]Entry, len(ids))
	for i, id := range ids {
		list[i] = Entry{ID: id, Dir: s.runDir(id)}
		saved, err := readRun(list[i].Dir)
		if err != nil {
			list[i].Err = err
			continue
		}
		list[i].Result = saved.Result
	}
	return list, nil
}

// readRun reads the result of a run's folder.
func readRun(dir string) (*Saved, error) {
	saved, err := readResult(filepath.Join(dir, resultName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("run %s: %w", filepath.Base(dir), ErrNoResult)
	}
	return saved, err
}

func readResult(path string) (*Saved, error) {
	data, err := ReadBounded(path, maxResult)
	if errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("result %s: %w", path, err)
	}
	res, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("result %s: %w", path, err)
	}
	return &Saved{Result: res, Path: path, Dir: filepath.Dir(path)}, nil
}

// Parse understands the bytes of a result document. Fields that it does not know are passed over, so that a later version's
// additions do no harm; another schema is refused.
func Parse(data []byte) (*record.Result, error) {
	if len(data) > maxResult {
		return nil, fmt.Errorf("larger than %d bytes", maxResult)
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		if len(bytes.TrimSpace(data)) == 0 {
			return nil, errors.New("the document is empty")
		}
		var wrong *json.SyntaxError
		if errors.As(err, &wrong) && wrong.Offset >= int64(len(data)) {
			return nil, errors.New("damaged: the document was cut off")
		}
		return nil, fmt.Errorf("damaged: %w", err)
	}
	if head.Schema != record.Schema {
		return nil, seal.SchemaError(head.Schema, record.Schema)
	}
	// What is read twice in two ways is refused: readers of JSON don't agree on which of two equal keys counts.
	if err := seal.Check(data, bounds()); err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	var res record.Result
	if err := json.Unmarshal(data, &res); err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	switch res.Kind {
	case "", record.LlamaBench:
	default:
		return nil, fmt.Errorf("it holds figures of %q, which this version does not know: update llm-speed", seal.Shorten(string(res.Kind)))
	}
	switch res.State {
	case record.Running, record.Complete, record.Partial:
	default:
		return nil, fmt.Errorf("damaged: state %q", seal.Shorten(string(res.State)))
	}
	// encoding/json keeps a null as the text "null"; unknown is nil here.
	for _, raw := range []*json.RawMessage{&res.Fingerprint, &res.Calibration, &res.Environment.Before, &res.Environment.After} {
		if string(*raw) == "null" {
			*raw = nil
		}
	}
	return &res, nil
}
