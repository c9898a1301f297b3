package llamacpp

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/argv"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/stream"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// What is asked of a server where the rows do not say, and the smallest context that is worth starting one for, tokens.
const (
	defaultContext = 4096
	leastContext   = 4096
)

// Keys of opened.meta with a place of their own in Info.
const (
	metaVersion = "version"
	metaBuild   = "build"
)

// start starts a llama-server for a GGUF file.
func start(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
	bin, err := binary(c)
	if err != nil {
		return nil, err
	}
	if bin == "" {
		return nil, fmt.Errorf("%w: no llama-server runs on ports 9931 and 8080, and none is on PATH; install llama.cpp, or give --llama-cpp-path or --url", drivers.ErrNotFound)
	}
	model, info, err := choose(c.Model, files(c))
	if err != nil {
		return nil, err
	}
	l := launch{c: c, bin: bin, model: model, parallel: max(1, n.Parallel)}
	if err := l.learn(ctx); err != nil {
		return nil, err
	}
	l.context = contextFor(n.Context, info)
	for tries := 0; ; tries++ {
		o, err := l.run(ctx)
		switch {
		case err == nil:
			return o.session(ctx, c)
		case ctx.Err() != nil:
			return nil, err
		case tries < 3 && portTaken(err):
			continue
		case errors.Is(err, errMemory) && l.context/2 >= leastContext:
			l.context = roundUp(l.context / 2)
			l.reduced = true
			c.Log("llama-server has no memory for that context; trying with %d tokens", l.context)
			continue
		}
		return nil, err
	}
}

// contextFor is the context of a stream, rounded up to what llama-server rounds to, and no longer than the model's own.
func contextFor(need int, info weights.Info) int {
	if need <= 0 {
		need = defaultContext
	}
	need = roundUp(need)
	if info.Context > 0 {
		need = min(need, info.Context)
	}
	return need
}

func roundUp(n int) int { return (n + 255) / 256 * 256 }

// launch is how a server is started.
type launch struct {
	c        drivers.Config
	bin      string
	model    string
	context  int // tokens a stream
	parallel int
	reduced  bool // the context is smaller than asked, for want of memory
	help     string
	version  string
	devices  string
}

// learn asks the program what it is and what it knows.
func (l *launch) learn(ctx context.Context) error {
	l.version, _ = version(ctx, l.bin)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	help, err := proc.Output(ctx, l.bin, "--help")
	if !strings.Contains(help, "--model") {
		seen := lastLines(strings.Split(help, "\n"), 3)
		if err != nil {
			return fmt.Errorf("%w: ask %s for its help: %w: %s", drivers.ErrNotFound, l.bin, err, seen)
		}
		return fmt.Errorf("%w: %s --help is not that of llama-server: %s", drivers.ErrNotFound, l.bin, seen)
	}
	l.help = help
	if l.knows("--list-devices") {
		if text, err := proc.Output(ctx, l.bin, "--list-devices"); err == nil {
			l.devices = devices(text)
		}
	}
	return nil
}

// version is the program's own word, "" where it gives none.
func version(ctx context.Context, bin string) (version, build string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, _ := proc.Output(ctx, bin, "--version")
	if m := builtPattern.FindStringSubmatch(text); m != nil {
		build = m[1]
	}
	return parseVersion(text), build
}

// builtPattern matches "built with GNU 16.2.0 for Linux x86_64".
var builtPattern = regexp.MustCompile(`(?m)^(built with .*?)\s*$`)

// versionPattern matches "version: 0.7.0 (build 11669, commit Debian)" and "version: 9439 (47f6423ed)".
var versionPattern = regexp.MustCompile(`(?m)^version: *(\S.*?)\s*$`)

func parseVersion(text string) string {
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}

// devices lists the compute devices that --list-devices shows; the CPU is what is left when there are none.
func devices(text string) string {
	_, list, ok := strings.Cut(text, "Available devices:")
	if !ok {
		return ""
	}
	var names []string
	for _, l := range strings.Split(list, "\n") {
		l = strings.TrimSpace(l)
		if strings.Contains(l, ":") && !strings.HasPrefix(l, "load_") {
			l, _, _ = strings.Cut(l, " (") // the free memory is different each time
			names = append(names, l)
		}
	}
	if len(names) == 0 {
		return "CPU"
	}
	return strings.Join(names, ", ")
}

// knows reports whether the program's help has a flag. An unknown flag would end it at once.
func (l *launch) knows(flag string) bool {
	for _, word := range strings.FieldsFunc(l.help, func(r rune) bool { return strings.ContainsRune(" \t\r\n,[]|=", r) }) {
		if word == flag {
			return true
		}
	}
	return false
}

// args is the command line.
func (l *launch) args(port int) ([]string, error) {
	a := []string{
		"-m", l.model, "--host", "127.0.0.1", "--port", strconv.Itoa(port),
		"-c", strconv.Itoa(l.context * l.parallel), "-np", strconv.Itoa(l.parallel),
	}
	for _, f := range [][]string{
		{"--fit", "off"},     // may shrink the context or the layers by itself
		{"--cache-ram", "0"}, // brings back prompts that were to be cold
		{"--metrics"}, {"--offline"},
	} {
		if l.knows(f[0]) {
			a = append(a, f...)
		}
	}
	for _, f := range []string{"--no-ui", "--no-webui"} {
		if l.knows(f) {
			a = append(a, f)
			break
		}
	}
	if n := option(l.c, optLayers); n != "" {
		a = append(a, "-ngl", n)
	}
	more, err := argv.Split(option(l.c, optArgs))
	if err != nil {
		return nil, fmt.Errorf("option %s: %w", optArgs, err)
	}
	if l.namesModel(more) {
		a = append(a, "--alias", baseName(l.model))
	}
	return append(a, more...), nil
}

// namesModel reports whether the server is to be told a name for its model: else it repeats the whole path in each answer.
// The user's own name stands; a comma would part the name in two.
func (l *launch) namesModel(more []string) bool {
	for _, a := range more {
		flag, _, _ := strings.Cut(a, "=")
		if flag == "--alias" || flag == "-a" {
			return false
		}
	}
	return l.knows("--alias") && l.c.Getenv("LLAMA_ARG_ALIAS") == "" && !strings.Contains(baseName(l.model), ",")
}

// run starts the program and waits until its model is loaded. When it fails, nothing is left running.
func (l *launch) run(ctx context.Context) (*opened, error) {
	port, err := proc.FreePort()
	if err != nil {
		return nil, err
	}
	args, err := l.args(port)
	if err != nil {
		return nil, err
	}
	before := oomKills()
	// The process lives as long as the session, not as long as the context of Open.
	p, err := proc.Start(context.WithoutCancel(ctx), proc.Options{Path: l.bin, Args: args, Guard: l.c.Guard, TailLines: 200})
	if err != nil {
		return nil, err
	}
	o, err := l.wait(ctx, p, port, before)
	if err != nil {
		p.Stop(stopGrace)
		return nil, err
	}
	return o, nil
}

func (l *launch) wait(ctx context.Context, p *proc.Process, port int, oomed int64) (*opened, error) {
	h, err := connect(l.c, "http://127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	l.c.Log("starting llama-server with %s (context %d x %d)", filepath.Base(l.model), l.context, l.parallel)
	wait, cancel := context.WithTimeoutCause(ctx, loadTime, fmt.Errorf("%w: the model did not load within %s", drivers.ErrTimeout, loadTime))
	defer cancel()
	go func() { // a server that dies ends the wait
		select {
		case <-p.Done():
			cancel()
		case <-wait.Done():
		}
	}()
	next := 10 * time.Second
	err = ready(wait, h, func(since time.Duration) {
		if since > next {
			l.c.Log("llama-server is loading %s: %s", filepath.Base(l.model), since.Round(time.Second))
			next += 10 * time.Second
		}
	})
	var s server
	if err == nil {
		s, err = identify(wait, h)
	}
	select {
	case <-p.Done():
		h.Close()
		return nil, died(p, oomed)
	default:
	}
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("start llama-server: %w; its log: %s", err, lastLines(p.Tail(), 5))
	}
	o := &opened{server: s, http: h, proc: p, path: l.model, meta: l.meta(), oomed: oomed}
	if o.props.Default.Context > 0 && o.props.Default.Context < l.context {
		l.c.Log("llama-server gives each stream %d tokens of context, of %d asked", o.props.Default.Context, l.context)
	}
	return o, nil
}

// meta is what is known of a server that we started. Paths stay out.
func (l *launch) meta() map[string]string {
	args, _ := l.args(0)
	m := map[string]string{metaVersion: l.version, metaBuild: l.devices, "args": argv.Shown(args[6:])}
	if l.version == "" {
		delete(m, metaVersion)
	}
	if l.reduced {
		m["context_reduced"] = "for want of memory"
	}
	for _, k := range []string{"N_GPU_LAYERS", "FLASH_ATTN", "THREADS", "BATCH", "UBATCH", "CACHE_TYPE_K", "CACHE_TYPE_V", "DEVICE", "SPLIT_MODE", "NO_KV_OFFLOAD"} {
		if v := l.c.Getenv("LLAMA_ARG_" + k); v != "" {
			m["env LLAMA_ARG_"+k] = v
		}
	}
	return m
}

func portTaken(err error) bool {
	return errors.Is(err, drivers.ErrServerDied) && (strings.Contains(err.Error(), "couldn't bind") || strings.Contains(err.Error(), "address already in use"))
}

// newRecording is for errors outside a stream.
func newRecording() *stream.Recording { return &stream.Recording{} }
