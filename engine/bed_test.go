package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"net/http"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/openaicompat"
	simdriver "github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// weightsDigest is that of the model of these tests.
const weightsDigest = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// flagSuite has short rows for tests over sockets.
const flagSuite = `{
  schema: 'llm-speed/suite/v1', name: 'flags', version: '0.1.0', title: 'short rows', engine: 1, generator: 'prose/1',
  budget: { default_s: 1, quick_s: 1 },
  workloads: [
    { id: 'one', name: 'one stream', doc: 'one', program: 'one.star', params: { out: 24 }, passes: 1, quick: { params: { out: 20 } },
      needs: [{ context: 500, parallel: 1, prompt: 200, output: 24 }], reports: ['decode_tps'] },
    { id: 'flow', name: 'a longer stream', doc: 'two', program: 'one.star', params: { out: 60 }, passes: 1,
      needs: [{ context: 500, parallel: 1, prompt: 200, output: 60 }], reports: ['decode_tps'] },
    { id: 'four', name: 'four at once', doc: 'three', program: 'four.star', params: { out: 24 }, passes: 1,
      needs: [{ context: 500, parallel: 4, prompt: 200, output: 24 }], reports: ['aggregate_tps'] },
  ],
}`

var flagPrograms = map[string]string{
	"suite.jsonnet": flagSuite,
	"one.star":      "def run(w):\n    stream(prompt(tokens = 200), output_tokens = w.params.out)\n",
	"four.star":     "def run(w):\n    stream([prompt(tokens = 200) for _ in range(4)], output_tokens = w.params.out)\n",
}

// quickProfile answers after 12 ms with a token every 4 ms, whatever the number of streams.
func quickProfile() sim.Profile {
	return sim.Profile{
		Name: "flags", Title: "short rows", PrefillTPS: 1e5, PrefillHalf: 1e9, DecodeTPS: 250, DecodeHalf: 1e9,
		First: 10 * time.Millisecond, BatchExponent: 1, Context: 1 << 16, Slots: 8, Speed: 1,
	}
}

// startSim starts a simulator in this process.
func startSim(t testing.TB, traps string) *sim.Server {
	t.Helper()
	s, err := sim.Start(t.Context(), sim.Options{Profile: quickProfile(), Traps: trapsOf(t, traps)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func trapsOf(t testing.TB, text string) sim.Traps {
	t.Helper()
	traps, err := sim.ParseTraps(text)
	if err != nil {
		t.Fatal(err)
	}
	return traps
}

// bed is where a flag is looked for: a driver of the product on a simulator's socket.
type bed struct {
	spec    drivers.Spec
	url     string // of the simulator, or of what stands before it
	lag     time.Duration
	options func(*engine.Options)
}

// specs are the drivers that are tested, by name.
func specs() map[string]drivers.Spec {
	return map[string]drivers.Spec{"sim": simdriver.Spec(), "openai-compatible": openaicompat.Spec()}
}

// run runs one row on a bed as if it were a real server with a known model, so that what keeps the row off the ranking is
// what the test is about.
func (b bed) run(t *testing.T, workload string) (record.Row, *record.Result) {
	t.Helper()
	s := load(t, "1", flagPrograms)
	o := engine.Options{
		Suite: s, Official: true, Workloads: []string{workload}, Spec: b.disguised(), Seed: 7, RunID: "test", Repeats: 1,
		Config:      drivers.Config{URL: b.url, Env: func(string) string { return "" }, Log: func(string, ...any) {}},
		ModelDigest: func(context.Context, string) (string, string, error) { return weightsDigest, "file", nil },
	}
	if b.options != nil {
		b.options(&o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	res, err := engine.Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Rows) != 1 {
		t.Fatalf("%d rows; want one", len(res.Rows))
	}
	return res.Rows[0], res
}

// disguised is the driver with its simulator made to look like a server with a known model.
func (b bed) disguised() drivers.Spec {
	spec := b.spec
	spec.Kind = drivers.Local
	spec.Open = func(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
		s, err := b.spec.Open(ctx, c, n)
		if err != nil {
			return nil, err
		}
		d := disguise{s, b.lag}
		switch caps := drivers.CapsOf(s); {
		case caps.Tokenizer == nil:
			return d, nil
		case caps.Activity == nil:
			return struct {
				disguise
				drivers.Tokenizer
			}{d, caps.Tokenizer}, nil
		default:
			return struct {
				disguise
				drivers.Tokenizer
				drivers.CacheStatser
				drivers.ActivityReporter
			}{d, caps.Tokenizer, caps.CacheStatser, caps.Activity}, nil
		}
	}
	return spec
}

type disguise struct {
	drivers.Session
	lag time.Duration
}

func (d disguise) Info() drivers.Info {
	i := d.Session.Info()
	i.Simulated, i.Model.Quant, i.Model.Path = false, "Q4_K_M", "/models/m.gguf"
	return i
}

// Stream says of the client's own lag what the test wants: the machine that tests run on may be busy with other tests.
func (d disguise) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	rec, err := d.Session.Stream(ctx, r)
	rec.ReadLag = d.lag
	return rec, err
}

// before puts a proxy before a server; change has the bodies of its streams.
func before(t *testing.T, server string, change func(io.Reader) io.ReadCloser) (url_ string) {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	p := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
		FlushInterval: -1,
		ModifyResponse: func(r *http.Response) error {
			if strings.HasPrefix(r.Header.Get("Content-Type"), "text/event-stream") {
				body := r.Body
				r.Body = struct {
					io.Reader
					io.Closer
				}{change(body), body}
			}
			return nil
		},
	}
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	return s.URL
}

// passOn passes on what comes, at once.
func passOn(r io.Reader) io.ReadCloser { return io.NopCloser(r) }

// rewrite changes every line.
func rewrite(line func(string) string) func(io.Reader) io.ReadCloser {
	return func(r io.Reader) io.ReadCloser {
		out, in := io.Pipe()
		go func() {
			lines := bufio.NewReader(r)
			for {
				text, err := lines.ReadString('\n')
				if _, werr := io.WriteString(in, line(text)); werr != nil {
					return
				}
				if err != nil {
					_ = in.CloseWithError(err)
					return
				}
			}
		}()
		return out
	}
}

// hold gathers what comes for a while, and lets go of it at once: in one piece, or event by event.
func hold(for_ time.Duration, pieces bool) func(io.Reader) io.ReadCloser {
	return func(r io.Reader) io.ReadCloser {
		out, in := io.Pipe()
		var mu sync.Mutex
		var held bytes.Buffer
		var end error
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := r.Read(buf)
				mu.Lock()
				held.Write(buf[:n])
				end = err
				mu.Unlock()
				if err != nil {
					return
				}
			}
		}()
		go func() {
			for {
				time.Sleep(for_)
				mu.Lock()
				data, err := bytes.Clone(held.Bytes()), end
				held.Reset()
				mu.Unlock()
				parts := [][]byte{data}
				if pieces {
					parts = bytes.SplitAfter(data, []byte("\n\n"))
				}
				for _, p := range parts {
					if len(p) == 0 {
						continue
					}
					if _, werr := in.Write(p); werr != nil {
						return
					}
					for began := time.Now(); pieces && time.Since(began) < 150*time.Microsecond; { // shorter than a sleep can be
					}
				}
				if err != nil {
					_ = in.CloseWithError(err)
					return
				}
			}
		}()
		return out
	}
}

// evidence is what a row's flag says; empty where it has no such flag.
func evidence(flags []record.Flag, name string) string {
	if i := slices.IndexFunc(flags, func(f record.Flag) bool { return f.Name == name }); i >= 0 {
		return flags[i].Evidence
	}
	return ""
}
