package vllm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
)

// probeTime bounds the look at a port, and installTime that for the program.
const (
	probeTime   = 800 * time.Millisecond
	installTime = 1200 * time.Millisecond
)

// detect looks at a running server and for the program, at once.
func detect(ctx context.Context, c drivers.Config) ([]drivers.Found, error) {
	var both sync.WaitGroup
	var found []drivers.Found
	var local *drivers.Found
	both.Go(func() { local = installed(ctx, c) })
	url := c.URL
	if url == "" {
		url = usualURL
	}
	if p := ask(ctx, c, url); p.err == nil || errors.Is(p.err, drivers.ErrAuth) && p.server != nil {
		found = append(found, p.found(c))
	}
	both.Wait()
	if local != nil {
		found = append(found, *local)
	}
	return found, nil
}

// probed is what a URL gave.
type probed struct {
	url       string
	server    *server // nil where it is no vLLM
	kind      string  // where it is
	simulated bool
	err       error
}

func ask(ctx context.Context, c drivers.Config, url string) probed {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	h, err := connect(c, url)
	if err != nil {
		return probed{url: url, err: err}
	}
	defer h.Close()
	s, err := identify(ctx, h)
	return probed{url: h.Base(), server: s, kind: h.URLKind(), simulated: h.Simulated(), err: err}
}

func (p *probed) found(c drivers.Config) drivers.Found {
	f := drivers.Found{Backend: name, URL: p.url, Version: p.server.version, Models: []drivers.Model{}, Usable: p.err == nil, Simulated: p.simulated}
	if p.err != nil {
		f.Note = "needs a key: --api-key or VLLM_API_KEY"
		return f
	}
	for _, m := range p.server.listed {
		f.Models = append(f.Models, p.server.model(c, m, "", p.kind, map[string]string{}))
	}
	if a := activity(p.server.metrics); a.Running > 0 {
		f.Note = fmt.Sprintf("%d requests are running", a.Running)
	}
	return f
}

// installed is vLLM as a program, nil where it is not there.
func installed(ctx context.Context, c drivers.Config) *drivers.Found {
	ctx, cancel := context.WithTimeout(ctx, installTime)
	defer cancel()
	var models []drivers.Model
	var listed sync.WaitGroup
	listed.Go(func() { models = cachedModels(ctx, c) }) // meanwhile: Python may take all of the time
	p, err := find(ctx, c)
	listed.Wait()
	f := &drivers.Found{Backend: name, Binary: p.path, Version: p.version, Models: []drivers.Model{}, Usable: true}
	switch {
	case err != nil:
		f.Note, f.Usable = err.Error(), false
		return f
	case p.path == "":
		return nil
	}
	if f.Models = models; len(models) == 0 && c.Model == "" {
		f.Note, f.Usable = "no model in Hugging Face's cache; name one with --model ORG/NAME, or give a folder", false
	}
	return f
}
