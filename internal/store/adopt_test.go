package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/record"
)

// foreign is a run of another program.
func foreign(id string) *record.Result {
	return &record.Result{
		Schema: record.Schema, Kind: record.LlamaBench, RunID: id, State: record.Complete, StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Rows: []record.Row{{ID: "tg10", Key: "tg10", Status: record.OK}},
	}
}

func TestAdopt(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	runs := []*record.Result{foreign("20260102-030405-aaaaaaaa"), foreign("20260102-030405-bbbbbbbb")}
	for n, known := range []bool{false, true} {
		list, err := s.Adopt(runs, "abc")
		if err != nil || len(list) != 2 || list[0].Known != known || list[1].Known != known {
			t.Fatalf("time %d: %+v, %v", n, list, err)
		}
	}
	listed, err := s.Summaries()
	if err != nil || len(listed) != 2 || listed[0].Summary.Kind != record.LlamaBench || !listed[0].Summary.Imported {
		t.Fatalf("%+v, %v", listed, err)
	}
	saved, err := s.Load("20260102-030405-aaaaaaaa")
	if err != nil || saved.Imported().Archive != "abc" {
		t.Fatalf("%+v, %v", saved, err)
	}
	// A run of ours, or a damaged one, is not taken for another program's.
	for _, text := range []string{`{"schema":"llm-speed/result/v1","state":"complete"}`, "{"} {
		if err := os.WriteFile(saved.Path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Adopt(runs, "abc"); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, bad := range []*record.Result{{RunID: "20260102-030405-cccccccc"}, foreign("../x")} {
		if list, err := s.Adopt([]*record.Result{bad}, ""); err == nil {
			t.Errorf("%q was taken: %+v", bad.RunID, list)
		}
	}
	leftNothing(t, s)
}

// leftNothing looks for what half-done work leaves.
func leftNothing(t *testing.T, s *Store) {
	t.Helper()
	_ = filepath.WalkDir(s.Dir(), func(path string, _ os.DirEntry, err error) error {
		if name := filepath.Base(path); err == nil && (strings.HasPrefix(name, importingPrefix) || strings.HasPrefix(name, tempPrefix)) {
			t.Errorf("left behind: %s", path)
		}
		return nil
	})
}

// TestAdoptAtOnce: of many who bring the same runs one does, and the others see that they are here.
func TestAdoptAtOnce(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var runs []*record.Result
	for i := range 5 {
		runs = append(runs, foreign(fmt.Sprintf("20260102-03040%d-aaaaaaaa", i)))
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	fresh := 0
	for range 8 {
		wait.Go(func() {
			list, err := s.Adopt(runs, "abc")
			if err != nil || len(list) != len(runs) {
				t.Errorf("%d runs, %v", len(list), err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, in := range list {
				if !in.Known {
					fresh++
				}
			}
		})
	}
	wait.Wait()
	if fresh != len(runs) {
		t.Errorf("%d runs were taken as new, want %d", fresh, len(runs))
	}
	listed, err := s.List()
	if err != nil || len(listed) != len(runs) {
		t.Fatalf("%d runs, %v", len(listed), err)
	}
	for _, l := range listed {
		if l.Err != nil {
			t.Error(l.Err)
		}
	}
	leftNothing(t, s)
}
