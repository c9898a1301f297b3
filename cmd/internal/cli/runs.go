package cli

import (
	"errors"
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
	return saved, err
}
