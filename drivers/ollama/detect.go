package ollama

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// mostShown bounds the models that detect asks about one by one, and askedAtOnce how many at a time.
const (
	mostShown   = 64
	askedAtOnce = 8
)

// detect lists the running server, then, where none runs, the program with the models of the user's store.
func detect(ctx context.Context, c drivers.Config) ([]drivers.Found, error) {
	url := c.URL
	if url == "" {
		url = home(c)
	}
	running, err := running(ctx, c, url)
	if err != nil {
		return nil, err
	}
	if running != nil {
		return []drivers.Found{*running}, nil
	}
	if c.URL != "" || isRemote(c) {
		return nil, nil
	}
	if f := installed(ctx, c); f != nil {
		return []drivers.Found{*f}, nil
	}
	return nil, nil
}

// running is the Ollama that answers at a URL; nil where none does.
func running(ctx context.Context, c drivers.Config, url string) (*drivers.Found, error) {
	h, err := httpx.New(url, c.APIKey, nil, c.Clock, httpx.Beside("/v1", "/api"))
	if err != nil {
		return nil, err
	}
	defer h.Close()
	a := api{h}
	f := &drivers.Found{Backend: name, URL: h.Base(), Models: []drivers.Model{}, Usable: true}
	ask, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	f.Version, err = a.version(ask)
	if errors.Is(err, drivers.ErrAuth) {
		f.Note, f.Usable = "needs a key: --api-key", false
		return f, nil
	}
	if err != nil {
		return nil, nil // nothing, or something else, answers there
	}
	tags, err := a.tags(ask)
	if err != nil {
		return nil, nil // another server with an /api/version
	}
	if err := tooOld(f.Version); err != nil {
		f.Note, f.Usable = err.Error(), false
	}
	inMemory, _ := a.ps(ask)
	cloud := 0
	for i := range tags {
		m := &tags[i]
		if m.cloud() {
			cloud++
			continue
		}
		d := drivers.Model{Ref: m.id(), Name: strings.TrimSuffix(m.id(), ":latest"), Quant: m.Details.Quant, SizeBytes: m.Size, Loaded: find(inMemory, m.id()) != nil}
		if d.Quant == "unknown" {
			d.Quant = ""
		}
		f.Models = append(f.Models, d)
	}
	silent := a.describe(ctx, f.Models)
	switch {
	case !f.Usable:
	case len(f.Models) == 0 && cloud > 0:
		f.Note, f.Usable = "has cloud models only, which run elsewhere; get a local one with: ollama pull NAME", false
	case len(f.Models) == 0:
		f.Note, f.Usable = "has no models; get one with: ollama pull NAME", false
	case silent:
		f.Note = "did not describe all its models in time"
	}
	return f, nil
}

// describe fills in what only /api/show knows, several at a time, within ctx. It reports whether some are missing.
func (a api) describe(ctx context.Context, models []drivers.Model) (silent bool) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	gate := make(chan struct{}, askedAtOnce)
	for i := range models[:min(len(models), mostShown)] {
		all.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			s, err := a.show(ctx, models[i].Ref)
			if err != nil {
				mu.Lock()
				silent = true
				mu.Unlock()
				return
			}
			models[i].ContextMax = s.context()
			if path, hex := s.blob(); hex != "" {
				models[i].Digest, models[i].DigestKind = "sha256:"+hex, digestKind
				if a.URLKind() == "loopback" {
					models[i].Path = path
				}
			}
		})
	}
	all.Wait()
	return silent
}

// digestKind is Model.DigestKind: Ollama names a file of weights by its SHA-256, so that it equals what hashing it gives.
const digestKind = weights.KindFile

// installed is ollama as a program that no server runs of; nil where it is not there.
func installed(ctx context.Context, c drivers.Config) *drivers.Found {
	bin, err := binary(c)
	f := &drivers.Found{Backend: name, Binary: bin, Models: []drivers.Model{}, Usable: true}
	switch {
	case err != nil:
		f.Note, f.Usable = err.Error(), false
		return f
	case bin == "":
		return nil
	}
	f.Version = programVersion(ctx, bin)
	if err := tooOld(f.Version); err != nil {
		f.Note, f.Usable = err.Error(), false
		return f
	}
	f.Models = append(f.Models, stored(ctx, store(c))...)
	if len(f.Models) == 0 {
		f.Note, f.Usable = "no models in OLLAMA_MODELS or ~/.ollama/models; get one with: ollama pull NAME", false
	}
	return f
}

// versionPattern matches both "ollama version is 0.17.4" and "Warning: client version is 0.17.4", which it prints without a
// server.
var versionPattern = regexp.MustCompile(`version is (\S+)`)

// programVersion is the program's own word, "" where it gives none.
func programVersion(ctx context.Context, bin string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	text, _ := proc.Output(ctx, bin, "--version")
	all := versionPattern.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][1] // the client's stands last
}
