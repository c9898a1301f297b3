package ollama

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// startTime is how long `ollama serve` may take until it answers: it looks for GPUs first.
const startTime = 90 * time.Second

// binary finds the ollama program: that of option path, or the one on PATH. "" and nil mean that none is there.
func binary(c drivers.Config) (string, error) {
	p := option(c, optPath)
	if p == "" {
		return proc.Find(name, c.Getenv("PATH")), nil
	}
	st, err := os.Stat(p)
	if err != nil {
		return "", fmt.Errorf("%w: option %s is %s: %w; give the ollama program, or the folder that it is in", drivers.ErrNotFound, optPath, p, reason(err))
	}
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	if st.IsDir() {
		if found := proc.Find(name, abs); found != "" {
			return found, nil
		}
		return "", fmt.Errorf("%w: option %s: no ollama in %s", drivers.ErrNotFound, optPath, p)
	}
	if !proc.Executable(abs) {
		return "", fmt.Errorf("%w: option %s: %s can't be run", drivers.ErrNotFound, optPath, p)
	}
	return abs, nil
}

// reason is what an error of a path says beside the path.
func reason(err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// start starts `ollama serve` for the user's own models, on a port of its own, with room for the streams of the rows.
func start(ctx context.Context, c drivers.Config, chosen chosen, n drivers.Need) (drivers.Session, error) {
	bin, err := binary(c)
	if err != nil {
		return nil, err
	}
	if bin == "" {
		return nil, fmt.Errorf("%w: no Ollama answers at %s, and there is none on PATH; install it, start it with `ollama serve`, or give --url", drivers.ErrUnreachable, shownURL(home(c)))
	}
	for tries := 0; ; tries++ {
		o, err := launch(ctx, c, bin, max(1, n.Parallel))
		switch {
		case err == nil:
			return o.session(ctx, c, chosen, n)
		case ctx.Err() == nil && tries < 3 && strings.Contains(err.Error(), "address already in use"):
			continue
		}
		return nil, err
	}
}

// launch starts the program and waits until it answers. When it fails, nothing is left running.
func launch(ctx context.Context, c drivers.Config, bin string, parallel int) (*opened, error) {
	port, err := proc.FreePort()
	if err != nil {
		return nil, err
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	// Its life is that of the session, not that of the context of Open.
	p, err := proc.Start(context.WithoutCancel(ctx), proc.Options{
		Path: bin, Args: []string{"serve"}, Guard: c.Guard, TailLines: 2000,
		Add: []string{
			"OLLAMA_HOST=" + address,
			"OLLAMA_NUM_PARALLEL=" + strconv.Itoa(parallel),
			"OLLAMA_MAX_LOADED_MODELS=1",
			"OLLAMA_KEEP_ALIVE=-1",
			"OLLAMA_NOPRUNE=1", // the store is the user's: a server that runs beside another one tidies nothing up
			"OLLAMA_DEBUG=",
			"GIN_MODE=release",
		},
	})
	if err != nil {
		return nil, err
	}
	o, err := await(ctx, c, p, address)
	if err != nil {
		p.Stop(stopGrace)
		return nil, err
	}
	o.meta = map[string]string{"args": "serve", "env OLLAMA_NUM_PARALLEL": strconv.Itoa(parallel)}
	for _, k := range []string{"OLLAMA_FLASH_ATTENTION", "OLLAMA_KV_CACHE_TYPE", "OLLAMA_LLM_LIBRARY", "OLLAMA_GPU_OVERHEAD", "OLLAMA_SCHED_SPREAD", "OLLAMA_NEW_ENGINE", "CUDA_VISIBLE_DEVICES"} {
		if v := c.Getenv(k); v != "" {
			o.meta["env "+k] = v
		}
	}
	return o, nil
}

func await(ctx context.Context, c drivers.Config, p *proc.Process, address string) (*opened, error) {
	h, err := httpx.New("http://"+address, c.APIKey, nil, c.Clock)
	if err != nil {
		return nil, err
	}
	a := api{h}
	c.Log("starting ollama serve")
	wait, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("%w: it did not answer within %s", drivers.ErrTimeout, startTime))
	defer cancel()
	go func() { // a server that dies ends the wait
		select {
		case <-p.Done():
			cancel()
		case <-wait.Done():
		}
	}()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		v, err := a.version(wait)
		select {
		case <-p.Done():
			h.Close()
			return nil, died(p)
		default:
		}
		switch {
		case err == nil:
			if err := tooOld(v); err != nil {
				h.Close()
				return nil, fmt.Errorf("start ollama: %w", err)
			}
			return &opened{api: a, version: v, proc: p, build: compute(wait, p)}, nil
		case wait.Err() != nil:
			h.Close()
			return nil, fmt.Errorf("start ollama: %w; its log: %s", context.Cause(wait), lastLines(p.Tail(), 5))
		case !errors.Is(err, drivers.ErrUnreachable):
			h.Close()
			return nil, fmt.Errorf("start ollama: %w; its log: %s", err, lastLines(p.Tail(), 5))
		}
		select {
		case <-wait.Done():
		case <-time.After(pause):
		}
	}
}

// computeTime is how long a server may take, after it answers, to say what it found to compute on.
const computeTime = 5 * time.Second

// compute waits for the server to name its devices, which it looks for beside answering.
func compute(ctx context.Context, p *proc.Process) string {
	ctx, cancel := context.WithTimeout(ctx, computeTime)
	defer cancel()
	_, _ = p.FirstLine(ctx, func(l string) bool { return strings.Contains(l, computeLine) })
	return computeOf(p.Tail())
}

// newRecording is for errors outside a stream.
func newRecording() *stream.Recording { return &stream.Recording{} }

// died says how a server process ended and what it showed last.
func died(p *proc.Process) error {
	how := "exit status 0"
	if err := p.Err(); err != nil {
		how = err.Error()
	}
	return fmt.Errorf("%w: ollama serve (%s); its log: %s", drivers.ErrServerDied, how, lastLines(p.Tail(), 4))
}

// told leaves the line out in which Ollama lists its environment: proxies with their passwords are in it.
func told(lines []string) []string {
	out := make([]string, 0, len(lines))
	for _, l := range lines {
		if !strings.Contains(l, `msg="server config"`) {
			out = append(out, l)
		}
	}
	return out
}

// trouble is what a line about an error has.
var trouble = regexp.MustCompile(`(?i)level=(ERROR|WARN)|error:|fail|panic|out of memory|unable to|couldn't|cannot|invalid`)

// noise is how Ollama's log lines begin.
var noise = regexp.MustCompile(`^time=\S+ level=[A-Z]+ source=\S+ `)

// lastLines joins the last n lines that say what went wrong, or, where none does, the last that say anything, each cut to a
// sensible length.
func lastLines(lines []string, n int) string {
	var any, bad []string
	for _, l := range told(lines) {
		isBad := trouble.MatchString(l)
		l = strings.TrimSpace(noise.ReplaceAllString(strings.TrimSpace(l), ""))
		if l == "" {
			continue
		}
		if len(l) > 200 {
			l = strings.ToValidUTF8(l[:200], "") + "…"
		}
		any = append(any, l)
		if isBad {
			bad = append(bad, l)
		}
	}
	if len(bad) > 0 {
		any = bad
	}
	if len(any) == 0 {
		return "nothing"
	}
	return strings.Join(any[max(0, len(any)-n):], " | ")
}

// onCPU is Info.Build of a server that found no GPU.
const onCPU = "CPU"

// computeLine marks the log lines that name a device that Ollama found, or the processor where it found none.
const computeLine = `msg="inference compute"`

// Their fields.
var (
	computeLibrary     = regexp.MustCompile(`\blibrary=("[^"]*"|\S+)`)
	computeDescription = regexp.MustCompile(`\bdescription=("[^"]*"|\S+)`)
)

// computeOf reads the compute devices out of a server's log; "" where it names none.
func computeOf(lines []string) string {
	var devices []string
	cpu := false
	for _, l := range lines {
		if !strings.Contains(l, computeLine) {
			continue
		}
		library := strings.Trim(submatch(computeLibrary, l), `"`)
		if strings.EqualFold(library, "cpu") {
			cpu = true
			continue
		}
		if what := strings.Trim(submatch(computeDescription, l), `"`); library != "" {
			devices = append(devices, strings.TrimSuffix(library+": "+what, ": "))
		}
	}
	switch {
	case len(devices) > 0:
		return strings.Join(devices, ", ")
	case cpu:
		return onCPU
	}
	return ""
}

func submatch(re *regexp.Regexp, s string) string {
	if m := re.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

// parallelLog matches how the log says for how many streams a runner was started: Ollama's own runners, or the llama-server
// of versions since 0.30.
var parallelLog = regexp.MustCompile(`\bParallel:(\d+)\b|(?:-np|--parallel) (\d+)\b`)

// parallelOf reads out of a server's log how many streams the runner that it started last takes at once; 0 where it does
// not say. Ollama grants some families of models one only, whatever it was asked for.
func parallelOf(lines []string) int {
	n := 0
	for _, l := range lines {
		m := parallelLog.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		if v, err := strconv.Atoi(m[1] + m[2]); err == nil && v > 0 && v <= 1024 {
			n = v
		}
	}
	return n
}
