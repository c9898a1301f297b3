package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/internal/sandbox"
)

// TestMain makes this test binary a worker of itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "internal-worker" {
		os.Exit(sandbox.Serve(os.Stdin, os.Stdout))
	}
	if len(os.Args) > 1 && os.Args[1] == "internal-worker-unbounded" {
		os.Exit(sandbox.ServeUnbounded(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

func runner() sandbox.Runner { return sandbox.Runner{Command: []string{os.Args[0], "internal-worker"}} }

// host notes what it was asked. It is no engine: its answers are made up.
type host struct {
	prompts []builtins.PromptSpec
	streams []builtins.StreamSpec
	values  []float64
	lines   []string
	fail    error
}

func (h *host) Prompt(_ context.Context, s builtins.PromptSpec) (builtins.Prompt, error) {
	h.prompts = append(h.prompts, s)
	n := 7
	return builtins.Prompt{ID: len(h.prompts), Tokens: &n}, nil
}

func (h *host) Stream(ctx context.Context, s builtins.StreamSpec) (builtins.Batch, error) {
	h.streams = append(h.streams, s)
	if h.fail != nil {
		return builtins.Batch{}, h.fail
	}
	if err := ctx.Err(); err != nil {
		return builtins.Batch{}, err
	}
	x := 1.25
	return builtins.Batch{Streams: make([]builtins.Stream, len(s.Prompts)), WallMs: &x}, nil
}

func (h *host) CacheStats(context.Context) (*builtins.CacheStats, error) { return nil, nil }

func (h *host) Fingerprint(context.Context) (json.RawMessage, error) {
	return json.RawMessage(`{"cpu": {"cores": 3}}`), nil
}

func (h *host) Elapsed() time.Duration { return 1500 * time.Millisecond }

func (h *host) Record(_ string, v float64) error {
	h.values = append(h.values, v)
	return nil
}

func (h *host) Log(line string) { h.lines = append(h.lines, line) }

func point() builtins.Point {
	return builtins.Point{Params: map[string]any{"n": 3, "big": json.Number("12345678901234567890"), "x": 1.5},
		Point: map[string]any{"batch": 2.0}, Metrics: []string{"m"}}
}

// TestSameAsInProcess runs one program both ways: everything that reaches the host must be the same.
func TestSameAsInProcess(t *testing.T) {
	src := map[string][]byte{
		"lib/a.star": []byte("def double(x):\n    return 2 * x\n"),
		"p.star": []byte(`load("lib/a.star", "double")

def run(w):
    t = timer()
    p = prompt(messages = [{"role": "user", "content": "日本 \u0000"}], cold = False)
    b = stream([p, p], output_tokens = double(w.params.n), stagger_ms = 0.5)
    s = stream(p, output_tokens = w.point.batch)
    w.record("m", b.wall_ms)
    w.record("m", t.elapsed_ms())
    w.record("m", fingerprint().cpu.cores)
    print(w.params.big, w.params.x, p.tokens, s.ttft_ms, cache_stats(), b)
`),
	}
	p, err := builtins.Compile("p.star", src["p.star"], func(name string) ([]byte, error) { return src[name], nil })
	if err != nil {
		t.Fatal(err)
	}
	q, err := runner().Compile(t.Context(), "p.star", src)
	if err != nil {
		t.Fatal(err)
	}
	var here, there host
	if err := p.Run(t.Context(), &here, point()); err != nil {
		t.Fatal(err)
	}
	if err := q.Run(t.Context(), &there, point()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(here, there, cmp.AllowUnexported(host{})); d != "" || len(here.values) != 3 || len(here.lines) != 1 {
		t.Errorf("in process (-) and in a worker (+), values %v, lines %q:\n%s", here.values, here.lines, d)
	}
}

// TestErrorsStayWhatTheyAre holds the kinds of error that the engine tells apart.
func TestErrorsStayWhatTheyAre(t *testing.T) {
	lost := errors.New("connection lost")
	program := func(body string) map[string][]byte {
		return map[string][]byte{"p.star": []byte("def run(w):\n    " + body + "\n")}
	}
	for _, tt := range []struct {
		name, body, want string
		fail             error
		mistake          bool
	}{
		{"a host's error", `stream(prompt(text = "x"), output_tokens = 1)`, "p.star:2:11: stream: connection lost", lost, false},
		{"a mistake", `w.nothing()`, "p.star:2:6: w has no .nothing", nil, true},
		{"fail", `fail("no way")`, "p.star:2:9: fail: no way", nil, true},
		{"a panic in Starlark", `list(range(1 << 62))`, "makeslice: cap out of range", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := runner().Compile(t.Context(), "p.star", program(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			err = p.Run(t.Context(), &host{fail: tt.fail}, point())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q in it", err, tt.want)
			}
			if builtins.IsMistake(err) != tt.mistake {
				t.Errorf("a mistake: %v, want %v", !tt.mistake, tt.mistake)
			}
			if tt.fail != nil && !errors.Is(err, tt.fail) {
				t.Errorf("the host's error is lost in %v", err)
			}
		})
	}
	var skip *builtins.SkipError
	p, err := runner().Compile(t.Context(), "p.star", program(`w.skip("too long")`))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context(), &host{}, point()); !errors.As(err, &skip) || skip.Reason != "too long" {
		t.Errorf("skip gave %v", err)
	}
	if _, err := runner().Compile(t.Context(), "p.star", program(`undefined_thing`)); err == nil || !strings.Contains(err.Error(), "p.star:2:5: undefined: undefined_thing") {
		t.Errorf("an unknown name gave %v", err)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	p, err := runner().Compile(t.Context(), "p.star", map[string][]byte{"p.star": []byte("def run(w):\n    for i in range(1000):\n        str([0] * 1000000)\n")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := p.Run(ctx, &host{}, point()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("took %v", took)
	}
}

// hostile are programs that end a Go process, or keep it busy where it can't be interrupted.
var hostile = []struct {
	name, body string
	limits     []string // any of which the error may name: which one is met first depends on the machine
}{
	{"loop", "for i in range(1000000000): pass", []string{"10000000 steps"}},
	{"a list of a billion", "x = [None] * (1 << 30 - 1)", []string{"memory limit"}},
	{"a range of two billion", "x = list(range(1 << 31 - 1))", []string{"memory limit", "time limit", "out of range"}},
	{"doubled text", "s = 'x' * 1000000\n    for i in range(14): s = s + s", []string{"memory limit"}},
	{"two gigabytes of text", "a = 'x' * (1 << 30 - 1)\n    b = 'y' * (1 << 30 - 1)", []string{"memory limit"}},
	{"formatting", "s = 'x' * 100000000\n    t = '%s%s%s%s' % (s, s, s, s)", []string{"memory limit"}},
	{"joining", "s = 'x' * 10000000\n    t = ','.join([s] * 1000)", []string{"memory limit"}},
	{"the text of a shared graph", "x = [0]\n    for i in range(40): x = [x, x]\n    s = str(x)", []string{"memory limit"}},
	{"a deep list's text", "x = []\n    for i in range(1000000): x = [x]\n    s = str(x)", []string{"memory limit", "stack limit", "time limit", "processor time limit"}},
	{"a long number's text", "int('9' * 20000000)", []string{"time limit", "processor time limit"}},
	{"squares", "x = 3\n    for i in range(40): x = x * x", []string{"memory limit", "time limit", "processor time limit"}},
	{"replacing", "s = 'x' * 100000\n    for i in range(4): s = s.replace('x', 'x' * 1000)", []string{"memory limit"}},
	{"print", "for i in range(100): print('x' * 10000)", nil}, // cut, and no error
	{"calls", "for i in range(200000): timer()", []string{"calls limit", "steps"}},
	{"a message", "prompt(text = 'x' * 20000000)", []string{"message", "16 MiB"}},
	{"repeating", "s = 'x' * (1 << 28)\n    for i in range(8): s = s * 2", []string{"memory limit"}},
	{"recursion", "def f(n): return f(n + 1)\n    f(0)", []string{"called recursively"}},
	{"recursion without a name", "y = lambda f: (lambda x: x(x))(lambda x: f(lambda v: x(x)(v)))\n    y(lambda f: lambda n: f(n + 1))(0)", []string{"called recursively"}},
	{"a list that holds itself", "x = [1]\n    x.append(x)\n    print(x)\n    print(x == [1, [1, x]])", []string{"maximum recursion", "memory limit", "stack limit"}},
	{"a record of a list that holds itself", "x = [1]\n    x.append(x)\n    w.record('m', x)", []string{"record"}},
	{"a prompt of a list that holds itself", "x = []\n    x.append(x)\n    prompt(messages = x)", []string{"messages"}},
	{"a dict of sixteen million", "d = {}\n    for i in range(1 << 24): d[i] = i", []string{"memory limit", "10000000 steps"}},
	{"a dict from pairs", "d = dict([(i, i) for i in range(1 << 22)])", []string{"memory limit", "10000000 steps"}},
	{"a set", "s = set(range(1 << 26))", []string{"memory limit", "time limit", "processor time limit"}},
	{"formats in formats", "s = '%s%s'\n    for i in range(40): s = s % (s, s) if i % 2 else s.replace('%s', '%s%s%s%s%s%s%s%s')", []string{"memory limit", "format"}},
	{"format and braces", "s = '{0}' * 1000000\n    t = s.format('x' * 1000000)", []string{"memory limit"}},
	{"shifts", "x = 1 << 511\n    for i in range(40): x = x * x", []string{"memory limit", "time limit", "processor time limit"}},
	{"a shift by a billion", "x = 1 << 1000000000", []string{"shift count too large"}},
	{"a power by shifts and text", "x = 1 << 511\n    for i in range(19): x = x * x\n    s = str(x)", []string{"memory limit", "time limit", "processor time limit"}},
	{"sorting with a key", "sorted(range(1 << 24), key = lambda x: -x)", []string{"memory limit", "10000000 steps", "time limit"}},
	{"sorting long texts", "sorted(['x' * 1000000 + str(i) for i in range(100)] * 1000)", []string{"memory limit", "time limit", "processor time limit"}},
	{"hashing", "d = {}\n    for i in range(200000): d[('x' * 100000, i)] = i", []string{"memory limit", "10000000 steps", "time limit", "processor time limit"}},
	{"a deep tuple's hash", "t = ()\n    for i in range(2000000): t = (t,)\n    d = {t: 1}", []string{"10000000 steps", "memory limit", "time limit", "stack limit", "processor time limit"}},
	{"comparing deep lists", "x = []\n    y = []\n    for i in range(1000000):\n        x = [x]\n        y = [y]\n    print(x == y)", []string{"10000000 steps", "maximum recursion", "memory limit", "stack limit", "time limit"}},
	{"splitting", "s = 'x,' * (1 << 24)\n    t = [s.split(',') for i in range(8)]", []string{"memory limit"}},
	{"elements", "s = ('x' * (1 << 26)).elems()\n    t = list(s)", []string{"memory limit"}},
	{"a flood of prompts", "for i in range(200000): prompt(text = 'x')", []string{"calls limit"}},
	{"a flood of records", "for i in range(200000): w.record('m', i)", []string{"calls limit"}},
	{"a flood of print", "for i in range(200000): print(i)", nil}, // cut, and no error
	{"one line of print", "print('x' * 10000000)", nil},
	{"a million prompts in one stream", "p = prompt(text = 'x')\n    stream([p] * 1000000, output_tokens = 1)", []string{"want 1 to 4096"}},
	{"a million messages", "prompt(messages = [{'role': 'user', 'content': 'x'}] * 1000000)", []string{"message", "memory limit"}},
	{"a million parts", "prompt(parts = [fresh(tokens = 1)] * 1000000)", []string{"parts: got 1000000"}},
	{"a prompt that grows without end", "p = prompt(messages = [{'role': 'user', 'content': 'x'}])\n    for i in range(100000): p = p.extend([{'role': 'user', 'content': 'x' * 1000}])", []string{"memory limit", "message", "time limit", "processor time limit", "calls limit"}},
	{"tokens without end", "prompt(tokens = 1 << 60)", []string{"tokens"}},
	{"an answer without end", "stream(prompt(text = 'x'), output_tokens = 1 << 60)", []string{"output_tokens"}},
	{"waiting without end", "p = prompt(text = 'x')\n    stream([p, p], output_tokens = 1, stagger_ms = 1e300)", []string{"stagger_ms"}},
	{"failing with a book", "fail('x' * 5000000)", []string{"fail: xxx"}},
	{"failing in colour", "fail('\\033]0;title\\007')", []string{"fail: \uFFFD]0;title"}},
	{"failing without end", "x = [0]\n    for i in range(40): x = [x, x]\n    fail(x)", []string{"memory limit"}},
	{"skipping with a book", "w.skip('x' * 5000000)", []string{"skipped: xxx"}},
	{"the name of an attribute", "getattr(w, 'x' * 1000000)", []string{"no ."}},
}

// TestHostilePrograms runs each in a worker: the parent lives, and the error names the limit.
func TestHostilePrograms(t *testing.T) {
	for i, tt := range hostile {
		if testing.Short() && i%4 != 0 {
			continue // all of them want minutes under the race detector
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := runner().Compile(t.Context(), "p.star", map[string][]byte{"p.star": []byte("def run(w):\n    " + tt.body + "\n")})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err = p.Run(t.Context(), &host{}, point())
			if took := time.Since(began); took > 90*time.Second {
				t.Errorf("took %v", took)
			}
			names(t, err, tt.limits)
		})
	}
}

// TestHostileProgramsWatched runs some as they run where the system does not bound a worker: the parent looks at its memory.
func TestHostileProgramsWatched(t *testing.T) {
	watched := sandbox.Runner{Command: []string{os.Args[0], "internal-worker-unbounded"}}.Watched()
	want := []string{"a list of a billion", "doubled text", "formatting", "joining", "the text of a shared graph", "a dict of sixteen million", "a long number's text", "loop"}
	if testing.Short() {
		want = want[:2]
	}
	for _, tt := range hostile {
		if !slices.Contains(want, tt.name) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			p, err := watched.Compile(t.Context(), "p.star", map[string][]byte{"p.star": []byte("def run(w):\n    " + tt.body + "\n")})
			if err != nil {
				t.Fatal(err)
			}
			names(t, p.Run(t.Context(), &host{}, point()), tt.limits)
		})
	}
}

// TestThinksTooLong holds a program that computes for long, in pieces that are each short enough, where no limit on processor
// time is.
func TestThinksTooLong(t *testing.T) {
	watched := sandbox.Runner{Command: []string{os.Args[0], "internal-worker-unbounded"}}.Watched().Hasty(2 * time.Second)
	p, err := watched.Compile(t.Context(), "p.star", map[string][]byte{"p.star": []byte("def run(w):\n    for i in range(1000):\n        int('9' * 100000)\n        timer()\n")})
	if err != nil {
		t.Fatal(err)
	}
	names(t, p.Run(t.Context(), &host{}, point()), []string{"more than 2s in one pass"})
}

// names checks that an error names one of the limits, on one line, and is a script's.
func names(t *testing.T, err error, limits []string) {
	t.Helper()
	if len(limits) == 0 {
		if err != nil {
			t.Errorf("error %v", err)
		}
		return
	}
	if err == nil {
		t.Fatal("no error")
	}
	// On a slow machine, and under the race detector, what would take all memory may come to the limit of time first.
	found := slices.Contains(limits, "memory limit") && strings.Contains(err.Error(), "time limit of the sandbox")
	for _, l := range limits {
		found = found || strings.Contains(err.Error(), l)
	}
	if said := err.Error(); !found || strings.Contains(said, "goroutine") || len(said) > 8<<10 {
		t.Errorf("the error names none of %q, or is too long: %.1000s", limits, said)
	}
}

// TestHostileText holds programs that are too much for the compiler.
func TestHostileText(t *testing.T) {
	for name, src := range map[string]string{
		"terms":       "x = " + strings.Repeat("1+", 120_000) + "1\n",
		"attributes":  "x = 'a'" + strings.Repeat(".a", 120_000) + "\n",
		"brackets":    "x = " + strings.Repeat("(", 200_000) + "\n",
		"nots":        "x = " + strings.Repeat("not ", 60_000) + "1\n",
		"too long":    strings.Repeat("# \n", 100_000),
		"not text":    "\x00\xff\xfe",
		"no function": "x = 1\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := runner().Compile(t.Context(), "p.star", map[string][]byte{"p.star": []byte(src)})
			var script *builtins.ScriptError
			if !errors.As(err, &script) || len(err.Error()) > 2000 {
				t.Errorf("error %v, want a short script error", err)
			}
		})
	}
}

// TestHostileJsonnet evaluates documents that end a Go process.
func TestHostileJsonnet(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		limits    []string
	}{
		{"a range", "std.range(1, 1e9)", []string{"memory limit", "time limit", "took longer"}},
		{"an array", "std.makeArray(1e8, function(i) i)", []string{"memory limit", "time limit", "took longer"}},
		{"doubled text", "local f(s, n) = if n == 0 then s else f(s + s, n - 1) tailstrict; f('xxxxxxxx', 40)", []string{"memory limit", "time limit", "took longer"}},
		{"endless tail calls", "local f(x) = f(x + 1) tailstrict; f(0)", []string{"memory limit", "time limit", "took longer", "stack"}},
		{"endless recursion", "local f(x) = 1 + f(x + 1); f(0)", []string{"max stack frames exceeded"}},
		{"brackets", strings.Repeat("[", 12_000), []string{"nests deeper than 64"}},
		{"a large result", "local f(s, n) = if n == 0 then s else f(s + s, n - 1); f('xxxxxxxx', 19)", []string{"more than 4 MiB"}},
		{"a file", "importstr '/etc/passwd'", []string{"plain relative path"}},
		{"a file above", "import '../secret.jsonnet'", []string{"plain relative path"}},
		{"a file above, from a folder", "import 'lib/../../secret.jsonnet'", []string{"plain relative path"}},
		{"a file of the machine, as bytes", "importbin '/etc/passwd'", []string{"plain relative path"}},
		{"an address", "import 'https://example.com/x.jsonnet'", []string{"plain relative path"}},
		{"a file that is not there", "import 'secret.jsonnet'", []string{"no such file in the suite"}},
		{"itself", "import 'suite.jsonnet'", []string{"max stack frames exceeded", "memory limit", "nests"}},
		{"a native function", "std.native('exec')('id')", []string{"null", "native", "not"}},
		{"an argument of the command line", "function(x) x", []string{"function", "argument", "Missing"}},
		{"text repeated", "std.repeat('x', 1e9)", []string{"memory limit", "time limit", "took longer"}},
		{"an array repeated", "std.repeat([1], 1e9)", []string{"memory limit", "time limit", "took longer"}},
		{"joined", "std.join('', std.makeArray(1e6, function(i) 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'))", []string{"memory limit", "time limit", "took longer", "more than 4 MiB"}},
		{"a format's width", "'%2147483647d' % 1", []string{"memory limit", "time limit", "took longer", "max stack"}},
		{"a format's precision", "'%.999999999f' % 1", []string{"Overflow", "memory limit", "time limit", "took longer", "max stack"}},
		{"an object of itself", "local o = { a: o }; o", []string{"max stack frames exceeded", "memory limit", "stack limit"}},
		{"self in self", "{ a: self { a: super.a } }", []string{"max stack frames exceeded", "memory limit", "stack limit"}},
		{"a value that needs itself", "local x = x + 1; x", []string{"infinite loop", "max stack frames exceeded"}},
		{"a deep value", "local f(n) = if n == 0 then [] else [f(n - 1)]; f(100000)", []string{"max stack frames exceeded"}},
		{"a deep value, by folding", "std.foldl(function(a, i) [a], std.range(1, 100000), [])", []string{"max stack frames exceeded", "stack limit", "memory limit", "time limit", "took longer"}},
		{"deep JSON in a string", "std.parseJson(std.repeat('[', 1e6))", []string{"memory limit", "stack limit", "JSON", "max stack", "depth"}},
		{"deep YAML in a string", "std.parseYaml(std.repeat('[', 1e5))", []string{"memory limit", "stack limit", "yaml", "YAML", "max stack", "depth", "time limit", "took longer"}},
		{"YAML that laughs", "std.parseYaml('a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n')", []string{"memory limit", "yaml", "YAML", "time limit", "took longer", "more than 4 MiB"}},
		{"a sort of a million", "std.sort(std.makeArray(1e6, function(i) -i))", []string{"memory limit", "time limit", "took longer", "more than 4 MiB"}},
		{"a set of products", "[[x, y, z] for x in std.range(1, 1000) for y in std.range(1, 1000) for z in std.range(1, 1000)]", []string{"memory limit", "time limit", "took longer"}},
		{"a flood of traces", "std.foldl(function(a, i) std.trace('x' + i, a), std.range(1, 100000), 1)", nil},
		{"an error as long as a book", "error std.repeat('x', 100000)", []string{"xxx"}},
		{"an error in colour", "error '\u001b]0;title\u0007'", []string{"]0;title"}},
		{"the environment", "std.extVar('HOME')", []string{"undefined external variable", "Undefined external variable"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			_, err := runner().Evaluate(t.Context(), map[string][]byte{"suite.jsonnet": []byte(tt.src)}, "suite.jsonnet")
			if took := time.Since(began); took > 60*time.Second {
				t.Errorf("took %v", took)
			}
			names(t, err, tt.limits)
			if err != nil && strings.Contains(err.Error(), "\x1b") {
				t.Errorf("the error would move the cursor: %q", err)
			}
		})
	}
}

// TestWorkerHasNothing holds what a worker inherits: no environment of ours, and no memory beyond its limit.
func TestWorkerHasNothing(t *testing.T) {
	t.Setenv("LLM_SPEED_API_KEY", "sk-must-not-travel")
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	env := make(chan string, 1)
	h := &prober{seen: env}
	p, err := runner().Compile(t.Context(), "p.star", map[string][]byte{"p.star": []byte("def run(w):\n    fingerprint()\n")})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context(), h, point()); err != nil {
		t.Fatal(err)
	}
	got := <-env
	if strings.Contains(got, "sk-must") || strings.Contains(got, "PATH=") || !strings.Contains(got, "GOTRACEBACK=none") {
		t.Errorf("the worker's environment is %q", got)
	}
}

// prober looks at the worker while it waits for an answer.
type prober struct {
	host
	seen chan string
}

func (p *prober) Fingerprint(context.Context) (json.RawMessage, error) {
	p.seen <- environOfChild()
	return json.RawMessage(`{}`), nil
}

// environOfChild reads the environments of this process's workers.
func environOfChild() string {
	tasks, _ := os.ReadDir("/proc")
	var all strings.Builder
	for _, d := range tasks {
		cmdline, err := os.ReadFile("/proc/" + d.Name() + "/cmdline")
		if err != nil || !strings.HasPrefix(string(cmdline), os.Args[0]+"\x00internal-worker") {
			continue
		}
		env, _ := os.ReadFile("/proc/" + d.Name() + "/environ")
		all.Write(env)
	}
	return all.String()
}

func TestRunnerThatIsNone(t *testing.T) {
	for name, command := range map[string][]string{"nothing there": {"/nonexistent/llm-speed"}, "prints rubbish": {"/bin/echo", "hello, here is no frame"}, "says nothing": {"/bin/true"}} {
		t.Run(name, func(t *testing.T) {
			if _, err := (sandbox.Runner{Command: command}).Evaluate(t.Context(), map[string][]byte{"suite.jsonnet": []byte("{}")}, "suite.jsonnet"); err == nil {
				t.Error("no error")
			} else {
				t.Log(err)
			}
		})
	}
}

func BenchmarkWorkerStart(b *testing.B) {
	for b.Loop() {
		if _, err := runner().Evaluate(b.Context(), map[string][]byte{"suite.jsonnet": []byte("{}")}, "suite.jsonnet"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCall measures one builtin's way to the host and back.
func BenchmarkCall(b *testing.B) {
	p, err := runner().Compile(b.Context(), "p.star", map[string][]byte{"p.star": []byte("def run(w):\n    for i in range(5000): timer()\n")})
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		if err := p.Run(b.Context(), &host{}, point()); err != nil {
			b.Fatal(err)
		}
		n += 5000
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "µs/call")
}
