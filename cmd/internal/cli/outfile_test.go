package cli

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// TestOutFile: a file that is written over has its old content or its new one, keeps its mode, and stays behind a link.
func TestOutFile(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "a.json"), filepath.Join(dir, "link.json")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := path
	if err := os.Symlink(path, link); err == nil {
		target = link
	}
	var wait sync.WaitGroup
	for _, text := range []string{"first, and longer", "second"} {
		wait.Go(func() {
			out, err := prepareFile(target)
			if err == nil {
				err = out.write([]byte(text))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if text, err := os.ReadFile(path); err != nil || string(text) != "first, and longer" && string(text) != "second" {
		t.Errorf("%q, %v", text, err)
	}
	if info, err := os.Lstat(target); target == link && (err != nil || info.Mode()&os.ModeSymlink == 0) {
		t.Errorf("the link is gone: %v", err)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".llm-speed-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if out, err := prepareFile(os.DevNull); err != nil || out.write([]byte("x")) != nil {
		t.Errorf("nothing can be written to %s", os.DevNull)
	}
}
