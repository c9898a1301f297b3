package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/hw"
	"github.com/llm-speed/llm-speed/internal/identity"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/store"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// machine is the machine that this process runs on, or a recorded one in tests.
func (a *app) machine() hw.Machine {
	m := a.Machine
	m.Guard, m.Env = a.guardCommand(), a.Env
	return m
}

// aboutMachine has the engine describe and watch the machine, and identify the model.
func (b *benchRun) aboutMachine(opt *engine.Options, folder *store.Run) {
	m := b.machine()
	var ctx context.Context
	// A reason may quote what a tool has said, and tools name devices, folders and people.
	words := b.redaction()
	clean := func(reasons map[string]string) map[string]string {
		cleaned := make(map[string]string, len(reasons))
		for field, why := range reasons {
			cleaned[field] = words.text(why)
		}
		return cleaned
	}
	read := sync.OnceValue(func() hw.Fingerprint {
		fp := m.ReadPatiently(ctx)
		fp.Reasons = clean(fp.Reasons)
		return fp
	})
	var once sync.Mutex
	look := func(c context.Context) hw.Fingerprint {
		once.Lock()
		defer once.Unlock()
		ctx = c
		return read()
	}
	opt.Fingerprint = func(ctx context.Context) (json.RawMessage, error) { return json.Marshal(look(ctx)) }
	opt.State = func(ctx context.Context) (json.RawMessage, error) {
		state := m.ReadState(ctx)
		state.Reasons = clean(state.Reasons)
		return json.Marshal(state)
	}
	opt.FP = func(ctx context.Context) (string, error) { return b.fp(look(ctx)) }
	opt.Observe = func(ctx context.Context, now func() time.Duration) *engine.Observer {
		return observer(m.Watch(ctx, now), clean)
	}
	opt.SaveSeries = folder.SaveSeries
	opt.Identify = identify
	opt.ModelDigest = b.digest
}

// fp names the machine; of an anonymous run the name fits no other.
func (b *benchRun) fp(machine hw.Fingerprint) (string, error) {
	d, err := identity.Of(machine)
	if err != nil {
		return "", err
	}
	if b.flags.anon {
		return identity.Fresh().FP(d), nil
	}
	st, err := b.store()
	if err != nil {
		return "", err
	}
	secret, err := identity.Open(st.Dir())
	if err != nil {
		return "", err
	}
	return secret.FP(d), nil
}

// observer lets the engine use a sampler.
func observer(s *hw.Sampler, clean func(map[string]string) map[string]string) *engine.Observer {
	return &engine.Observer{
		Ready:  s.Ready,
		Serves: s.Serves,
		Flags: func(streams, own []engine.Span) []record.Flag {
			var flags []record.Flag
			for _, f := range s.Findings(spansOf(streams), spansOf(own)) {
				flags = append(flags, record.Flag(f))
			}
			return flags
		},
		Joules: s.Joules,
		Sensor: func() (name, why string) {
			name, why = s.Sensor()
			return name, clean(map[string]string{"": why})[""]
		},
		Stop: func() any {
			seen := s.Stop()
			seen.Reasons = clean(seen.Reasons)
			return seen
		},
	}
}

func spansOf(list []engine.Span) []hw.Span {
	spans := make([]hw.Span, len(list))
	for i, x := range list {
		spans[i] = hw.Span(x)
	}
	return spans
}

// identify reads what the headers of a model's files say. It takes milliseconds, and comes before the first timed pass.
func identify(m drivers.Model) engine.Identity {
	id := engine.Identity{Reasons: map[string]string{}}
	info, err := weights.Read(m.Path)
	if err != nil {
		why := withoutFolder(fmt.Sprintf("the model's files can't be read: %v", err), m.Path)
		for _, field := range []string{"format", "architecture", "parameters", "quant_types", "bits_per_weight", "layers", "experts", "experts_used"} {
			id.Reasons[field] = why
		}
	} else {
		describe(&id, info)
		for _, name := range []string{m.Path, m.Ref, m.Name} {
			if id.Mismatch == "" {
				id.Mismatch = weights.Mismatch(name, info)
			}
		}
		if id.Mismatch == "" && weights.Mismatch("-"+m.Quant, info) != "" {
			id.Mismatch = fmt.Sprintf("the server says %s, the model's file %s", m.Quant, info.Quant)
		}
	}
	if sum, kind, err := weights.PrefixDigest(m.Path); err != nil {
		id.Reasons["prefix_digest"] = withoutFolder(err.Error(), m.Path)
	} else {
		id.Model.PrefixDigest, id.Model.PrefixKind = "sha256:"+sum, kind
	}
	return id
}

// withoutFolder takes the folders of a model out of a text: they are the user's own business, and the text goes into the
// result.
func withoutFolder(text, path string) string {
	for _, dir := range []string{path, filepath.Dir(path)} {
		if len(dir) > 1 {
			text = strings.ReplaceAll(text, dir+string(filepath.Separator), "")
		}
	}
	return strings.ReplaceAll(text, path, filepath.Base(path))
}

// describe enters what a header says; what it does not say is null with the reason.
func describe(id *engine.Identity, info weights.Info) {
	m := &id.Model
	m.Format, m.Quant = info.Format, info.Quant
	silent := "the header does not say"
	if info.Trouble != "" {
		silent = "not known: " + info.Trouble
	}
	if m.Architecture = nonZero(info.Architecture); m.Architecture == nil {
		id.Reasons["architecture"] = silent
	}
	if m.Parameters = nonZero(info.Parameters); m.Parameters == nil {
		id.Reasons["parameters"] = "the weights are packed in a way that does not tell how many there are"
		id.Reasons["bits_per_weight"] = "the number of parameters is not known"
		if info.Trouble != "" {
			id.Reasons["parameters"] = "the weights are packed, and the configuration that says how is not known: " + info.Trouble
		}
	} else {
		bits := info.BitsPerWeight()
		m.BitsPerWeight = &bits
	}
	if m.QuantTypes = info.Types; len(info.Types) == 0 {
		m.QuantTypes, id.Reasons["quant_types"] = nil, "the files hold no tensors"
	}
	if m.Layers = nonZero(info.Layers); m.Layers == nil {
		id.Reasons["layers"] = silent
	}
	if m.Experts = nonZero(info.Experts); m.Experts == nil {
		id.Reasons["experts"] = "the header names none: the model is dense"
		if info.Trouble != "" {
			id.Reasons["experts"] = silent
		}
	}
	if m.ExpertsUsed = nonZero(info.ExpertsUsed); m.ExpertsUsed == nil {
		id.Reasons["experts_used"] = id.Reasons["experts"]
		if m.Experts != nil {
			id.Reasons["experts_used"] = silent
		}
	}
	m.SizeBytes, m.ContextMax = nonZero(info.SizeBytes), nonZero(info.Context)
	if m.Quant == "" {
		id.Reasons["quant"] = "neither the header nor a configuration beside it names one"
		if info.Trouble != "" {
			id.Reasons["quant"] = silent
		}
	}
}

func nonZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// tellHash is how long hashing may take before it is told how far it is.
const tellHash = 2 * time.Second

// digest hashes the weights, or takes their digest from the cache, or from the name of a blob.
func (b *benchRun) digest(ctx context.Context, path string) (sum, kind string, err error) {
	began, told := time.Now(), false
	sum, kind, err = b.cache().Digest(ctx, path, func(done, total int64) {
		if total == 0 || time.Since(began) < tellHash {
			return
		}
		if !told && !b.view.tty {
			b.view.say("hashing the weights, %.1f GB: once for this file", float64(total)/1e9)
		}
		told = true
		b.view.live.Say(hashLine(done, total))
	})
	if err != nil {
		return "", "", errors.New(withoutFolder(err.Error(), path))
	}
	return "sha256:" + sum, kind, nil
}

// hashLine says how far hashing is.
func hashLine(done, total int64) string {
	const cells = 20
	full := int(min(done, total) * cells / total)
	return fmt.Sprintf("hashing the weights %s %.1f of %.1f GB", strings.Repeat("█", full)+strings.Repeat("░", cells-full), float64(done)/1e9, float64(total)/1e9)
}

// cache is where digests of this user's files are kept; nil where there is no place for it.
func (a *app) cache() *weights.Cache {
	dir := cacheDir(a.Env, runtime.GOOS, a.Home())
	if dir == "" {
		return nil
	}
	return weights.OpenCache(dir)
}

// cacheDir is this program's part of the user's cache; "" where there is none.
func cacheDir(env func(string) string, goos, home string) string {
	if dir := env("XDG_CACHE_HOME"); filepath.IsAbs(dir) && goos != "windows" {
		return filepath.Join(dir, "llm-speed")
	}
	switch dir := env("LocalAppData"); {
	case goos == "windows" && dir != "":
		return filepath.Join(dir, "llm-speed", "cache")
	case home == "" || goos == "windows":
		return ""
	case goos == "darwin":
		return filepath.Join(home, "Library", "Caches", "llm-speed")
	}
	return filepath.Join(home, ".cache", "llm-speed")
}
