package llamacpp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// mostModels bounds the headers that detect reads.
const mostModels = 64

// detect lists the running servers, then the program with the files that it could be started for.
func detect(ctx context.Context, c drivers.Config) ([]drivers.Found, error) {
	var found []drivers.Found
	var local *drivers.Found
	var both sync.WaitGroup
	both.Add(1)
	go func() {
		defer both.Done()
		local = installed(ctx, c)
	}()
	var running []probed
	if c.URL != "" {
		running = ask(ctx, c, []string{c.URL})
	} else {
		running = probe(ctx, c)
	}
	both.Wait()
	for _, r := range running {
		found = append(found, r.found())
	}
	if local != nil {
		found = append(found, *local)
	}
	return found, nil
}

func (r *probed) found() drivers.Found {
	f := drivers.Found{Backend: name, URL: r.url, Version: r.server.props.BuildInfo, Models: []drivers.Model{}, Usable: true}
	switch {
	case errors.Is(r.err, errLoading):
		f.Note = "loading its model"
		return f
	case r.err != nil:
		f.Note, f.Usable = "needs a key: --api-key or LLAMA_API_KEY", false
		return f
	case r.server.props.Role == "router":
		f.Note, f.Usable = "a router without a model of its own; start one with -m MODEL.gguf", false
		return f
	}
	m := drivers.Model{Ref: weights.NameOf(r.server.name()), Quant: quant(r.server.props.ModelType), Loaded: true}
	m.Name = m.Ref
	if len(r.server.models.Data) > 0 {
		m.ContextMax = r.server.models.Data[0].Meta.ContextTrained
		m.SizeBytes = r.server.models.Data[0].Meta.SizeBytes
	}
	f.Models = append(f.Models, m)
	f.Note = fmt.Sprintf("%d slots of %d tokens", r.server.props.TotalSlots, r.server.props.Default.Context)
	return f
}

// isFile reports whether a model reference is meant as a file: names like org/model have a slash too, and are other backends'.
func isFile(ref string) bool {
	if strings.HasSuffix(strings.ToLower(ref), ".gguf") {
		return true
	}
	st, err := os.Stat(ref)
	return ref != "" && err == nil && st.Mode().IsRegular()
}

// installed is llama-server as a program, nil where it is not there.
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
	f.Version, f.Build = version(ctx, bin)
	if isFile(c.Model) {
		// What is wrong with the file, if anything, is for Open to say: it would be started for this one.
		f.Models = append(f.Models, drivers.Model{Ref: c.Model, Name: weights.NameOf(c.Model), Path: c.Model})
		return f
	}
	broken := 0
	for _, file := range files(c) {
		if ctx.Err() != nil || len(f.Models) >= mostModels {
			break
		}
		info, err := weights.ReadGGUF(file.Path)
		if err != nil {
			broken++
			continue
		}
		if generates(info) {
			f.Models = append(f.Models, drivers.Model{
				Ref: file.Name, Name: file.Name, Path: file.Path, Quant: info.Quant, SizeBytes: info.SizeBytes, ContextMax: info.Context,
			})
		}
	}
	switch {
	case len(f.Models) == 0:
		f.Note, f.Usable = "no GGUF file in the usual places; give one with --model FILE", false
	case broken > 0:
		f.Note = fmt.Sprintf("%d GGUF files can't be read or are cut off", broken)
	}
	return f
}
