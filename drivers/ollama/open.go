package ollama

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// probeTime is how long a server may take to say who it is.
const probeTime = 800 * time.Millisecond

// open attaches to a server or starts one, and has the model loaded.
func open(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	chosen, err := choices(c)
	switch {
	case err != nil:
		return nil, err
	case cloudName(c.Model):
		return nil, fmt.Errorf("%w: %s is a cloud model, which runs on another's machine; choose a local one with --model", drivers.ErrUnsupported, c.Model)
	case c.URL != "":
		o, err := attach(ctx, c, c.URL)
		if err != nil {
			return nil, err
		}
		return o.session(ctx, c, chosen, n)
	case chosen.start != "always":
		o, err := attach(ctx, c, home(c))
		if err == nil {
			return o.session(ctx, c, chosen, n)
		}
		if chosen.start == "never" || ctx.Err() != nil || !errors.Is(err, drivers.ErrUnreachable) || isRemote(c) {
			return nil, err
		}
	}
	return start(ctx, c, chosen, n)
}

// isRemote reports whether OLLAMA_HOST names another machine, for which no server of this one stands in.
func isRemote(c drivers.Config) bool {
	u, err := httpx.ParseBase(home(c))
	return err == nil && httpx.KindOf(u) != "loopback"
}

// opened is an Ollama that answers.
type opened struct {
	api     api
	version string
	proc    *proc.Process // nil where it ran before us
	meta    map[string]string
	build   string // compute back end, from the log of a server that we started
}

// attach connects to a running server.
func attach(ctx context.Context, c drivers.Config, url string) (*opened, error) {
	h, err := httpx.New(url, c.APIKey, nil, c.Clock, httpx.Beside("/v1", "/api"))
	if err != nil {
		return nil, err
	}
	a := api{h}
	v, err := a.version(ctx)
	if err == nil {
		err = tooOld(v)
	}
	switch {
	case errors.Is(err, errOther):
		err = fmt.Errorf("%w: %s is no Ollama: %w", drivers.ErrProtocol, h.Base(), err)
	case errors.Is(err, drivers.ErrTimeout):
		err = fmt.Errorf("ollama at %s: %w; it takes connections and does not answer: restart it, or give another --url", h.Base(), err)
	case err != nil:
		err = fmt.Errorf("ollama at %s: %w", h.Base(), err)
	}
	if err != nil {
		h.Close()
		return nil, h.Redact(err)
	}
	return &opened{api: a, version: v}, nil
}

// tooOld refuses releases that would cut a prompt without saying so.
func tooOld(said string) error {
	if v, ok := parseVersion(said); ok && v.before(oldest) {
		return fmt.Errorf("%w: version %s cuts prompts that are too long without saying so; update it to %s or later", drivers.ErrUnsupported, said, oldest)
	}
	return nil
}

// session chooses the model, has it loaded, and learns the rest.
func (o *opened) session(ctx context.Context, c drivers.Config, chosen chosen, n drivers.Need) (drivers.Session, error) {
	s := &session{api: o.api, config: c, chosen: chosen, version: o.version, proc: o.proc, keep: keepLoaded, shape: shape{true, true}}
	fail := func(err error) (drivers.Session, error) {
		err = s.explain(err, newRecording())
		if o.proc == nil && s.context > 0 {
			s.release()
		}
		o.stop()
		return nil, o.api.Redact(fmt.Errorf("open ollama at %s: %w", o.api.Base(), err))
	}
	m, about, err := o.api.choose(ctx, c.Model)
	if err != nil {
		return fail(err)
	}
	path, hex := about.blob()
	s.model, s.hex, s.digest, s.format = m.id(), hex, m.Digest, about.Details.Format
	s.thinks, _ = about.can("thinking")
	s.secrets = paths.LongestFirst(append(o.api.Secrets(), paths.Folders(path, c.Model, os.TempDir())...))

	if o.proc == nil {
		if s.before, err = o.api.runs(ctx, s.model, hex); err != nil {
			return fail(err)
		}
	}
	want := contextFor(n.Context, about.context())
	// One that is loaded with room enough, and not with so much that it may spill out of the GPU, is taken as it is.
	if b := s.before; b != nil && b.Context >= want && b.Context <= max(2*want, smallContext) && (about.context() == 0 || b.Context <= about.context()) {
		want = b.Context
	}
	s.context = want
	c.Log("loading %s with a context of %d tokens", s.model, want)
	got, used, reduced, err := o.api.fitted(ctx, c, s.model, hex, s.options(1, 0))
	if err != nil {
		return fail(err)
	}
	s.context = used.Context
	s.as.Store(&got)
	if s.digest == "" && sameModel(got.Name, s.model) {
		s.digest = got.Digest
	}
	how, before, known, err := s.settle(ctx, &about)
	if err != nil {
		return fail(err)
	}
	template, err := s.templateTokens(ctx, before, known)
	if err != nil {
		return fail(err)
	}
	s.info = drivers.Info{
		Backend: name, Version: o.version, Build: o.build, URL: o.api.Base(), URLKind: o.api.URLKind(), Attached: o.proc == nil, Sized: true,
		Model: o.model(c, &m, &about), ContextMax: s.context, Template: template, CacheBlock: 1, Simulated: o.api.Simulated(),
		Metadata: map[string]string{
			"endpoint":  "/api/chat",
			"rendering": how,
			"sampling":  sampledHow(chosen.temperature),
			"num_ctx":   strconv.Itoa(s.context),
			"manifest":  m.Digest,
		},
		Flags: map[string]string{}, WhyNot: map[string]string{},
	}
	if got.Context > 0 {
		s.info.ContextMax = got.Context
	}
	if hex != "" {
		s.info.Model.Digest, s.info.Model.DigestKind = "sha256:"+hex, digestKind
	} else {
		s.info.WhyNot["model.digest"] = "Ollama's Modelfile names no single file of weights"
	}
	if s.info.Model.Quant == "" {
		s.info.WhyNot["model.quant"] = "Ollama states no quantisation of this model"
	}
	o.describe(&s.info, &about, &got, chosen, reduced)
	if o.proc == nil {
		s.info.Metadata["parallel"] = "not known: OLLAMA_NUM_PARALLEL of a running server can't be asked (1 is its default)"
		return s, nil
	}
	s.info.Parallel = parallelOf(o.proc.Tail())
	return started{s}, nil
}

// stop ends a session that did not come to be.
func (o *opened) stop() {
	o.api.Close()
	if o.proc != nil {
		o.proc.Stop(stopGrace)
	}
}

func sampledHow(temperature float64) string {
	if temperature == 0 {
		return "greedy: temperature 0, top_k 1, no repeat penalty"
	}
	return fmt.Sprintf("seeded, temperature %g, the rest by the server's defaults", temperature)
}

// describe adds what is worth keeping of the model and of where it was loaded.
func (o *opened) describe(i *drivers.Info, about *shown, got *loaded, c chosen, reduced bool) {
	for k, v := range o.meta {
		i.Metadata[k] = v
	}
	for k, v := range map[string]string{"format": about.Details.Format, "family": about.Details.Family, "parameter_size": about.Details.Parameter} {
		if v != "" {
			i.Metadata[k] = v
		}
	}
	if _, ok := parseVersion(i.Version); !ok {
		i.Metadata["version"] = "a build from source, whose release is not known"
	}
	if reduced {
		i.Metadata["context_reduced"] = "for want of memory"
	}
	share, known := got.onGPU()
	if !known {
		return
	}
	i.Metadata["on_gpu"] = fmt.Sprintf("%.0f %%", 100*share)
	if why := o.fallback(i, got, share); why != "" && c.gpuLayers == nil {
		i.Flags["cpu_fallback"] = why
	}
}

// onGPU is the share of a loaded model that lies in the memory of a GPU.
func (l *loaded) onGPU() (share float64, known bool) {
	if l.Size <= 0 || l.VRAM < 0 {
		return 0, false
	}
	return min(float64(l.VRAM)/float64(l.Size), 1), true
}

// fallback says why a model that is not wholly on a GPU should be: only where a GPU is known to be there for Ollama.
func (o *opened) fallback(i *drivers.Info, got *loaded, share float64) string {
	const part = "%.0f %% of the loaded model is on the GPU, the rest runs on the CPU (/api/ps: %d of %d bytes)"
	mac := runtime.GOOS == "darwin" && runtime.GOARCH == "arm64" && i.URLKind == "loopback" // each has a GPU that Ollama uses
	switch {
	case got.VRAM >= got.Size:
		return ""
	case got.VRAM > 0:
		return fmt.Sprintf(part, 100*share, got.VRAM, got.Size)
	case mac, o.build != "" && o.build != onCPU:
		return "nothing of the model is on the GPU, though there is one (/api/ps: size_vram 0)"
	}
	return ""
}

// model describes the model: by its file where that can be read and is the one, else by the server's words.
func (o *opened) model(c drivers.Config, m *listed, about *shown) drivers.Model {
	d := drivers.Model{
		Ref: m.id(), Name: strings.TrimSuffix(m.id(), ":latest"), Quant: about.Details.Quant, SizeBytes: m.Size,
		ContextMax: about.context(), Loaded: true,
	}
	if d.Quant == "unknown" {
		d.Quant = ""
	}
	if c.Model != "" {
		d.Ref = c.Model
	}
	path, _ := about.blob()
	if o.api.URLKind() != "loopback" || !paths.IsAbs(path) || about.Details.Format != "gguf" {
		return d
	}
	info, err := weights.ReadGGUF(path)
	if err != nil {
		return d // in a container, or not ours to read
	}
	d.Path, d.SizeBytes = path, info.SizeBytes
	if d.Quant == "" {
		d.Quant = info.Quant
	}
	return d
}
