package lmstudio

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/proc"
)

// usualURL is where LM Studio listens unless told otherwise.
const usualURL = "http://127.0.0.1:1234"

// probeTime bounds the look at a port.
const probeTime = time.Second

// detect looks at the running server, and, where none runs, for its program lms, which is not started.
func detect(ctx context.Context, c drivers.Config) ([]drivers.Found, error) {
	url := c.URL
	if url == "" {
		url = usualURL
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	h, err := connect(c, url)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	f := drivers.Found{Backend: name, URL: h.Base(), Models: []drivers.Model{}}
	s, err := identify(ctx, h)
	f.Simulated = h.Simulated()
	switch {
	case errors.Is(err, drivers.ErrAuth) && c.URL == "": // on its own port, and it speaks of tokens
		f.Note = "needs a token: --api-key or LM_API_TOKEN"
		return []drivers.Found{f}, nil
	case err != nil && c.URL == "":
		return installed(c), nil
	case err != nil:
		return nil, nil // nothing of ours is there, which is no failure of looking
	}
	f.Usable = true
	files := local(c, h)
	for i := range s.models {
		m := &s.models[i]
		if m.generates() {
			d := m.describe()
			d.Path = m.file(files)
			f.Models = append(f.Models, d)
		}
	}
	if len(f.Models) == 0 {
		f.Note, f.Usable = "has no language model; get one in its window, or with lms get", false
	}
	return []drivers.Found{f}, nil
}

// installed is an LM Studio whose server does not run.
func installed(c drivers.Config) []drivers.Found {
	const program = "lms"
	home := c.Getenv("HOME")
	if runtime.GOOS == "windows" {
		home = c.Getenv("USERPROFILE")
	}
	places := c.Getenv("PATH")
	if home != "" {
		places += string(filepath.ListSeparator) + filepath.Join(home, ".lmstudio", "bin")
	}
	path := proc.Find(program, places)
	if path == "" {
		return nil
	}
	return []drivers.Found{{Backend: name, Binary: path, Models: []drivers.Model{}, Note: "its server does not run: lms server start"}}
}
