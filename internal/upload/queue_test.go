package upload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestQueue(t *testing.T) {
	q := OpenQueue(filepath.Join(t.TempDir(), "data"))
	if list, err := q.List(); err != nil || len(list) != 0 {
		t.Fatalf("a queue that is not there: %v, %v", list, err)
	}
	d, _ := prepared(t, input())
	anon, _ := prepared(t, anonymousInput())
	if err := q.Put(runID, d); err != nil {
		t.Fatal(err)
	}
	if back, file, err := q.Get(runID); err != nil || back.ID() != d.ID() || string(file) != string(d.Encode()) {
		t.Errorf("%v", err)
	}
	// One document a run: another one takes its place.
	if err := q.Put(runID, anon); err != nil {
		t.Fatal(err)
	}
	list, err := q.List()
	if err != nil || len(list) != 1 || list[0].Document.ID() != anon.ID() || list[0].Err != nil || list[0].Held {
		t.Errorf("%+v, %v", list, err)
	}
	was, err := q.Hold(runID)
	if err != nil || !was || !q.Held(runID) {
		t.Errorf("hold: %v, %v", was, err)
	}
	if _, _, err := q.Get(runID); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a document that was dropped: %v", err)
	}
	if err := q.Put(runID, d); err != nil || q.Held(runID) {
		t.Errorf("asked for again: %v", err)
	}
	if err := errors.Join(q.Erase(runID), q.Erase(runID)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "../x", "20261123-142501-k3f9/..", strings.Repeat("1", 80), "x"} {
		_, holdErr := q.Hold(bad)
		if err := q.Put(bad, d); err == nil || holdErr == nil {
			t.Errorf("%q is a run id", bad)
		}
	}
}

// Damaged documents are in the list with their reason, and spoil nothing else.
func TestDamagedQueue(t *testing.T) {
	q := OpenQueue(t.TempDir())
	d, _ := prepared(t, input())
	if err := q.Put(runID, d); err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(q.Dir(), name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whole := string(d.Encode())
	write("20261123-000001-aaaa.json", "")
	write("20261123-000002-aaaa.json", whole[:len(whole)/2])
	write("20261123-000003-aaaa.json", whole) // of another run
	write("20261123-000004-aaaa.json", `{"envelope"`+strings.Repeat(" ", MaxFile))
	write("20261123-000005-aaaa.json", strings.Replace(whole, "upload", "uqload", 1)+" ")
	write("notes.txt", "x")
	write(".writing-123", "x")
	if err := os.Mkdir(filepath.Join(q.Dir(), "20261123-000006-aaaa.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	list, err := q.List()
	if err != nil || len(list) != 7 {
		t.Fatalf("%d entries, %v", len(list), err)
	}
	for i, e := range list {
		if want := i == 0; (e.Err == nil) != want || (e.RunID == runID) != want {
			t.Errorf("%s: %v", e.RunID, e.Err)
		}
	}
	if was, err := q.Forget("20261123-000002-aaaa"); !was || err != nil {
		t.Errorf("a damaged one can't be dropped: %v", err)
	}
	// What a killed process was writing goes, once nobody can be at it any more.
	old := time.Now().Add(-2 * stale)
	if err := os.Chtimes(filepath.Join(q.Dir(), ".writing-123"), old, old); err != nil {
		t.Fatal(err)
	}
	write(".writing-456", "x")
	if err := q.Put(runID, d); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(q.Dir(), ".writing-123")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a leftover stays")
	}
	if _, err := os.Stat(filepath.Join(q.Dir(), ".writing-456")); err != nil {
		t.Error("what another process writes is gone")
	}
}

// Many at once leave one whole document, and a reader never sees half of one.
func TestQueueAtOnce(t *testing.T) {
	q := OpenQueue(t.TempDir())
	d, _ := prepared(t, input())
	anon, _ := prepared(t, anonymousInput())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 10 {
				var err error
				switch (i + n) % 4 {
				case 0:
					err = q.Put(runID, anon)
				case 1:
					_, err = q.Hold(runID)
				default:
					err = q.Put(runID, d)
				}
				if err != nil && runtime.GOOS != "windows" { // where a file that is read can't be replaced
					t.Error(err)
				}
				if list, err := q.List(); err != nil || len(list) > 1 || len(list) == 1 && list[0].Err != nil && runtime.GOOS != "windows" {
					t.Errorf("%+v, %v", list, err)
				}
			}
		})
	}
	wg.Wait()
	if err := q.Put(runID, d); err != nil {
		t.Fatal(err)
	}
	if list, err := q.List(); err != nil || len(list) != 1 || list[0].Document.ID() != d.ID() {
		t.Errorf("%+v, %v", list, err)
	}
}

// A queue that can't be written says so and what to do.
func TestQueueUnwritable(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, queueDir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	q := OpenQueue(dir)
	d, _ := prepared(t, input())
	if err := q.Put(runID, d); err == nil || !strings.Contains(fmt.Sprint(err), "LLM_SPEED_DATA") {
		t.Errorf("%v", err)
	}
	if _, err := q.Hold(runID); err == nil {
		t.Error("held in a file")
	}
	if _, err := q.List(); err == nil {
		t.Error("a file was listed")
	}
}
