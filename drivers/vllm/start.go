package vllm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/argv"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// What is asked of a server where the rows do not say, and the smallest context that is worth starting one for, tokens.
const (
	defaultContext = 4096
	leastContext   = 2048
)

// usualParallel is how many streams at once a server is started for at least. Room for more costs a lone stream nothing, and a
// server that takes minutes to start need not be started again for rows of more streams.
const usualParallel = 256

// launch is how a server is started.
type launch struct {
	c        drivers.Config
	program  program
	model    string   // as vLLM takes it: a folder or a Hugging Face name
	path     string   // folder of the weights; "" where not known
	context  int      // tokens a stream
	parallel int      // streams at once
	least    int      // of them that the rows need
	reduced  bool     // the context is smaller than asked
	more     []string // the user's further arguments
	unknown  []string // flags that this version does not know
	wait     time.Duration
}

// start starts a vLLM for the model.
func start(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
	look, cancel := context.WithTimeout(ctx, 30*time.Second)
	p, err := find(look, c)
	cancel()
	switch {
	case err != nil:
		return nil, err
	case p.path == "":
		return nil, fmt.Errorf("%w: no vLLM runs on port 8000, and there is none on PATH or among the packages of python3; install it with pip install vllm, or give --opt path=VENV or --url", drivers.ErrNotFound)
	}
	if c.Model == "" {
		list := cachedModels(ctx, c)
		if len(list) == 0 {
			return nil, fmt.Errorf("%w: vLLM is to be started, and no model is in Hugging Face's cache; name one with --model ORG/NAME, or give a folder", drivers.ErrNoModel)
		}
		c.Model = list[0].Ref
	}
	l := launch{c: c, program: p, context: n.Context, parallel: max(usualParallel, n.Parallel), least: max(1, n.Parallel)}
	if l.context <= 0 {
		l.context = defaultContext
	}
	if l.wait, err = time.ParseDuration(option(c, optWait)); err != nil {
		return nil, fmt.Errorf("option %s: %w", optWait, err)
	}
	if l.more, err = argv.Split(option(c, optArgs)); err != nil {
		return nil, fmt.Errorf("option %s: %w", optArgs, err)
	}
	if v := valueOf(l.more, "--max-num-seqs"); v != "" {
		if l.parallel, err = strconv.Atoi(v); err != nil || l.parallel < 1 {
			return nil, fmt.Errorf("option %s: --max-num-seqs is %q; want a number", optArgs, v)
		}
	}
	if err := l.resolve(); err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		o, err := l.run(ctx)
		if err == nil {
			return o.session(ctx, c)
		}
		if ctx.Err() != nil || tries >= 3 || !l.adapt(err) {
			return nil, err
		}
	}
}

// resolve finds what the model's name means on this machine.
func (l *launch) resolve() error {
	ref := l.c.Model
	l.model = ref
	if st, err := os.Stat(ref); err == nil {
		abs, err := filepath.Abs(ref)
		if err != nil {
			return err
		}
		l.model, l.path = abs, abs
		if !st.IsDir() && !strings.HasSuffix(strings.ToLower(ref), ".gguf") {
			return fmt.Errorf("%w: %s is a file; vLLM takes a model's folder", drivers.ErrModelNotFound, ref)
		}
	} else if paths.IsAbs(ref) || strings.HasPrefix(ref, ".") || strings.Count(ref, "/") != 1 {
		return fmt.Errorf("%w: there is no folder %s, and it is no name such as ORG/NAME", drivers.ErrModelNotFound, ref)
	} else {
		var why string
		l.path, why = locate(l.c, ref, "loopback")
		cached := cachedNames(l.c)
		if l.path == "" && option(l.c, optDownload) == "no" && !slices.Contains(cached, ref) {
			return fmt.Errorf("%w: %s: %s; %s (with --opt download=yes vLLM may download it)", drivers.ErrModelNotFound, ref, why, pick.Suggest(ref, cached))
		}
	}
	if l.path != "" {
		if info, err := weights.Read(l.path); err == nil && info.Context > 0 && info.Context < l.context {
			l.context, l.reduced = info.Context, true
		}
	}
	return nil
}

// args is the command line.
func (l *launch) args(port int) []string {
	a := append(l.program.args(l.model), "--host", "127.0.0.1", "--port", strconv.Itoa(port))
	for _, f := range [][]string{
		{"--max-model-len", strconv.Itoa(l.context)}, {"--max-num-seqs", strconv.Itoa(l.parallel)},
		{"--enable-prompt-tokens-details"}, // else cached tokens are not told
	} {
		if !slices.Contains(l.unknown, f[0]) && !given(l.more, f[0]) {
			a = append(a, f...)
		}
	}
	if paths.IsAbs(l.model) && !given(l.more, "--served-model-name") {
		a = append(a, "--served-model-name", paths.Base(l.model)) // else each answer repeats the whole path
	}
	return append(a, l.more...)
}

// given reports whether the user's arguments have a flag.
func given(args []string, flag string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return a == flag || strings.HasPrefix(a, flag+"=") })
}

// valueOf is what the user's arguments give for a flag; "" where they do not have it.
func valueOf(args []string, flag string) string {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, flag+"="); ok {
			return v
		}
		if a == flag && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// startError marks the failure of a start whose log may say what to change.
type startError struct {
	err  error
	tail []string
}

// Error is what the failure says.
func (e *startError) Error() string { return e.err.Error() }

// Unwrap gives the failure.
func (e *startError) Unwrap() error { return e.err }

// What a vLLM that does not start says of a way in which it would.
var (
	unknownFlag  = regexp.MustCompile(`unrecognized arguments: (.*)`)
	longestSaid  = regexp.MustCompile(`(?:derived max_model_len \([^)=]*=|estimated maximum model length is |maximum number of tokens that can be stored in KV cache \()(\d+)`)
	fewerSaid    = regexp.MustCompile("lowering .?max_num_seqs")
	portTakenSay = regexp.MustCompile(`(?i)address already in use`)
)

// adapt changes the launch by what the log of a failed one says; false where that says nothing of use.
func (l *launch) adapt(err error) bool {
	var failed *startError
	if !errors.As(err, &failed) {
		return false
	}
	for _, line := range failed.tail {
		if m := unknownFlag.FindStringSubmatch(line); m != nil {
			before := len(l.unknown)
			for _, word := range strings.Fields(m[1]) {
				if strings.HasPrefix(word, "--") && !given(l.more, word) && !slices.Contains(l.unknown, word) {
					l.unknown = append(l.unknown, word)
				}
			}
			return len(l.unknown) > before
		}
		if m := longestSaid.FindStringSubmatch(line); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil || n >= l.context || n < leastContext || given(l.more, "--max-model-len") {
				continue
			}
			l.c.Log("vLLM has no room for a context of %d tokens; trying with %d", l.context, n)
			l.context, l.reduced = n, true
			return true
		}
		if fewerSaid.MatchString(line) && l.parallel > l.least && !given(l.more, "--max-num-seqs") {
			l.parallel = l.least
			return true
		}
		if portTakenSay.MatchString(line) {
			return true
		}
	}
	return false
}

// run starts the program and waits until its model is loaded. When it fails, nothing is left running.
func (l *launch) run(ctx context.Context) (*opened, error) {
	port, err := proc.FreePort()
	if err != nil {
		return nil, err
	}
	env := []string{"VLLM_NO_USAGE_STATS=1"}
	if option(l.c, optDownload) == "no" {
		env = append(env, "HF_HUB_OFFLINE=1")
	}
	// The process lives as long as the session, not as long as the context of Open.
	p, err := proc.Start(context.WithoutCancel(ctx), proc.Options{Path: l.program.path, Args: l.args(port), Add: env, Guard: l.c.Guard, TailLines: 400})
	if err != nil {
		return nil, err
	}
	o, err := l.ready(ctx, p, port)
	if err != nil {
		p.Stop(stopGrace)
		return nil, err
	}
	return o, nil
}

// ready waits for the server, and asks it who it is.
func (l *launch) ready(ctx context.Context, p *proc.Process, port int) (*opened, error) {
	h, err := connect(l.c, "http://127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	l.c.Log("starting vLLM with %s (context %d, %d at once)", paths.Shown(l.model), l.context, l.parallel)
	wait, cancel := context.WithTimeoutCause(ctx, l.wait, fmt.Errorf("%w: the model was not ready within %s (option %s)", drivers.ErrTimeout, l.wait, optWait))
	defer cancel()
	go func() { // a server that dies ends the wait
		select {
		case <-p.Done():
			cancel()
		case <-wait.Done():
		}
	}()
	err = l.healthy(wait, h)
	var s *server
	if err == nil {
		s, err = identify(wait, h)
	}
	select {
	case <-p.Done():
		h.Close()
		return nil, &startError{h.Redact(died(p)), p.Tail()}
	default:
	}
	if err != nil {
		h.Close()
		return nil, h.Redact(fmt.Errorf("start vLLM: %w; its log: %s", err, lastLines(p.Tail(), 4)))
	}
	return &opened{server: s, http: h, proc: p, meta: l.meta(), parallel: l.parallel, path: l.path}, nil
}

// healthy asks /health until it answers well.
func (l *launch) healthy(ctx context.Context, h *httpx.Client) error {
	began, next := time.Now(), 15*time.Second
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		_, err := h.JSON(ctx, http.MethodGet, "/health", nil, nil)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, drivers.ErrUnreachable) && !errors.Is(err, drivers.ErrReset) && !errors.Is(err, drivers.ErrTimeout) && !errors.Is(err, drivers.ErrOverloaded):
			return fmt.Errorf("ask /health: %w", err)
		}
		if since := time.Since(began); since > next {
			l.c.Log("vLLM is loading %s: %s", paths.Shown(l.model), since.Round(time.Second))
			next += 15 * time.Second
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// meta is what is known of a server that we started. Paths and keys stay out.
func (l *launch) meta() map[string]string {
	all := l.args(0)
	m := map[string]string{"args": argv.Shown(all[slices.Index(all, "--port")+2:])}
	if l.reduced {
		m["context_reduced"] = "to what the model or the memory has"
	}
	if l.program.version != "" {
		m["package"] = l.program.version
	}
	return m
}
