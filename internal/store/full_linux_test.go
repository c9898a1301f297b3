package store

import (
	"strings"
	"syscall"
	"testing"

	"github.com/llm-speed/llm-speed/internal/record"
)

// mounted is a folder on a file system of its own; the test is skipped where nobody may make one.
func mounted(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("no small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// big is a document that a disk of 256 kB has no room for.
func big(r *record.Result) *record.Result {
	r.Seed = strings.Repeat("x", 512<<10)
	return r
}

// TestFullDisk: what does not fit any more is said so, and what was there before stays whole.
func TestFullDisk(t *testing.T) {
	s, err := Open(mounted(t, "size=256k"))
	if err != nil {
		t.Fatal(err)
	}
	run, err := s.Create("20260102-030405-k3f9")
	if err != nil {
		t.Fatal(err)
	}
	r := &record.Result{Schema: record.Schema, RunID: run.ID(), State: record.Running, Seed: "1"}
	if err := run.Save(r); err != nil {
		t.Fatal(err)
	}
	if err := run.Save(big(r)); err == nil || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), "what was saved before is kept") {
		t.Fatalf("saved on a full disk: %v", err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Adopt([]*record.Result{foreign("20260102-030405-aaaaaaaa"), big(foreign("20260102-030405-bbbbbbbb"))}, "abc"); err == nil || !strings.Contains(err.Error(), "nothing was imported") || !strings.Contains(err.Error(), "the disk is full") {
		t.Fatalf("imported to a full disk: %v", err)
	}
	list, err := s.List()
	if err != nil || len(list) != 1 || list[0].Err != nil || list[0].Result.Seed != "1" {
		t.Fatalf("%+v, %v", list, err)
	}
	leftNothing(t, s)
}

// TestReadOnlyDisk: runs are read, listed and shown, and writing is refused with what to do.
func TestReadOnlyDisk(t *testing.T) {
	dir := mounted(t, "size=1m")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Adopt([]*record.Result{foreign("20260102-030405-aaaaaaaa")}, "abc"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("no read-only disk: %v", err)
	}
	if list, err := s.Summaries(); err != nil || len(list) != 1 || list[0].Err != nil {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := s.Load("last"); err != nil {
		t.Error(err)
	}
	hint := "set LLM_SPEED_DATA to a folder that can be written"
	if _, err := s.Adopt([]*record.Result{foreign("20260102-030405-bbbbbbbb")}, "abc"); err == nil || !strings.Contains(err.Error(), hint) {
		t.Errorf("imported to a disk that is read-only: %v", err)
	}
	if _, err := s.Create("20260102-030405-k3f9"); err == nil || !strings.Contains(err.Error(), hint) {
		t.Errorf("a run was begun on a disk that is read-only: %v", err)
	}
}
