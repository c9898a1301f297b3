package cli

import (
	"errors"
	"io/fs"

	"github.com/llm-speed/llm-speed/internal/seal"
	"github.com/llm-speed/llm-speed/internal/store"
)

// sealText says in a report what is known of a run's seal; empty where there is none. No path is in it: reports are shown
// to others.
func sealText(saved *store.Saved) string {
	file, err := saved.ReadFile(store.SealFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil:
		return "there is one, and it can't be read"
	}
	envelope, statement, err := seal.OpenRun(file)
	if err == nil {
		var document []byte
		if document, err = saved.Document(); err != nil {
			return envelope.ID() + ", not checked: the result can't be read again"
		}
		err = statement.Fits(document)
	}
	if err != nil {
		return "DOES NOT FIT: " + err.Error()
	}
	return envelope.ID() + ", fits this result to the byte; llm-speed verify says what that proves"
}
