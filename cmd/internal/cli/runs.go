package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"

	"github.com/llm-speed/llm-speed/internal/store"
)

// store opens the folder where runs are kept.
func (a *app) store() (*store.Store, error) {
	dir, err := store.DefaultDir(a.Env, runtime.GOOS, a.Home())
	if err != nil {
		return nil, err
	}
	return store.Open(dir)
}

// load reads a saved run by id, path, or as "last".
func (a *app) load(name string) (*store.Saved, error) {
	st, err := a.store()
	if err != nil {
		return nil, err
	}
	saved, err := st.Load(name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fail(exitUsage, "llm-speed runs", err)
	}
	if err != nil {
		return nil, fail(exitFailed, otherFile(name), err)
	}
	return saved, nil
}

// otherFile says what to do with a file that is no result but something else that this program knows; empty where it is
// nothing of that kind.
func otherFile(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	head, err := io.ReadAll(io.LimitReader(f, 16<<10))
	if err != nil {
		return ""
	}
	switch {
	case bytes.HasPrefix(head, []byte("export.json")), bytes.Contains(head, []byte(`"n_prompt"`)) && bytes.Contains(head, []byte(`"n_gen"`)):
		return "llm-speed runs import " + name
	case bytes.HasPrefix(head, []byte(`{"payloadType"`)):
		return "llm-speed verify " + name
	}
	return ""
}
