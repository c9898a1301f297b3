package cli

import (
	"errors"
	"testing"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// A disk that is full is told once, and at the end it is said which rows are on it.
func TestSaver(t *testing.T) {
	full := errors.New("no space left on device")
	var disk error
	s := &saver{to: func(*record.Result) error { return disk }}
	rows := func(keys ...string) *record.Result {
		r := &record.Result{}
		for _, k := range keys {
			r.Rows = append(r.Rows, record.Row{Key: k})
		}
		return r
	}
	if err := s.save(rows("W1")); err != nil {
		t.Fatal(err)
	}
	if got := s.told(rows("W1"), "dir"); got != "saved: dir" {
		t.Errorf("all saved: %q", got)
	}
	disk = full
	if err := s.save(rows("W1", "W2")); !errors.Is(err, full) {
		t.Errorf("the first failure: %v", err)
	}
	if err := s.save(rows("W1", "W2")); err != nil {
		t.Errorf("told again: %v", err)
	}
	if got, want := s.told(rows("W1", "W2"), "dir"), "saved: dir, rows W1; NOT saved: W2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	more := rows("W1")
	more.Rows[0].Passes = 2
	if got, want := s.told(more, "dir"), "saved: dir, rows W1; with fewer passes than shown: W1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := (&saver{behind: true}).told(rows("W1"), "dir"), "NOT saved: no row of this run is in dir"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	disk = nil
	if err := s.save(rows("W1", "W2")); err != nil || s.told(rows("W1", "W2"), "dir") != "saved: dir" {
		t.Errorf("space was freed: %v, %q", err, s.told(rows("W1", "W2"), "dir"))
	}

	// Raw files fail first: what follows is told no second time.
	s = &saver{to: func(*record.Result) error { return full }}
	raw := s.raw(func(string, int, []stream.Recording) (record.RawFile, error) { return record.RawFile{}, full })
	if _, err := raw("W1", 1, nil); !errors.Is(err, full) {
		t.Errorf("raw files: %v", err)
	}
	if err := s.save(rows()); err != nil {
		t.Errorf("told again: %v", err)
	}
}
