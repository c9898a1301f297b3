package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

// serve starts a llama-server for the test model, as a user would, and gives its URL.
func serve(t *testing.T) string {
	t.Helper()
	bin := weightstest.Server(t)
	model := filepath.Join(t.TempDir(), "tiny-F16.gguf")
	if err := weightstest.Write(model); err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(freePort(t))
	p, err := proc.Start(context.WithoutCancel(t.Context()), proc.Options{Path: bin, Args: []string{
		"-m", model, "--host", "127.0.0.1", "--port", port, "-c", "24576", "-np", "1", "-t", "1", "--metrics",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(5 * time.Second) })
	url := "http://127.0.0.1:" + port
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if res, err := http.Get(url + "/health"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return url
			}
		}
		if time.Now().After(end) {
			t.Fatalf("llama-server does not answer: %s", strings.Join(p.Tail(), "\n"))
		}
	}
}

// metrics are the server's counters of prompt tokens, read without any code of ours.
type metrics struct{ Worked, Cached int }

func readMetrics(url string) (metrics, error) {
	var m metrics
	res, err := http.Get(url + "/metrics")
	if err != nil {
		return m, err
	}
	defer res.Body.Close()
	seen := 0
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		to := map[string]*int{"llamacpp:prompt_tokens_total": &m.Worked, "llamacpp:prompt_tokens_cached_total": &m.Cached}[name]
		if to == nil {
			continue
		}
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return m, err
		}
		*to = int(x)
		seen++
	}
	if seen != 2 {
		return m, fmt.Errorf("%d of 2 counters in /metrics", seen)
	}
	return m, nil
}

// TestRealCounters runs the stories that are held against the counters of a real llama-server.
func TestRealCounters(t *testing.T) {
	url := serve(t)
	read := func(ts *testscript.TestScript, file string, into any) {
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), into))
	}
	row := func(ts *testscript.TestScript, file string) record.Row {
		var r record.Result
		read(ts, file, &r)
		if len(r.Rows) != 1 || r.Rows[0].Status != record.OK || r.Rows[0].HitRate == nil || r.Rows[0].HitRateMax == nil {
			ts.Fatalf("%s: want one row with a hit rate and its maximum", file)
		}
		return r.Rows[0]
	}
	outputs := hold(t)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "counters"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("SERVER", url)
			return errors.Join(isolated(e), outputs.story(e))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// counters FILE writes what the server has counted so far.
			"counters": func(ts *testscript.TestScript, _ bool, args []string) {
				m, err := readMetrics(url)
				ts.Check(err)
				text, err := json.Marshal(m)
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o644))
			},
			// hitrate RESULT BEFORE AFTER holds the row's hit rate against the counters.
			"hitrate": func(ts *testscript.TestScript, _ bool, args []string) {
				var before, after metrics
				read(ts, args[1], &before)
				read(ts, args[2], &after)
				w := row(ts, args[0])
				prompt, cached := 0, 0
				for _, s := range w.Samples {
					prompt, cached = prompt+*s.Prompt.N, cached+*s.Cached.N
				}
				if got := after.Cached - before.Cached; got != cached || cached == 0 {
					ts.Fatalf("the server's counter of cached tokens moved by %d, the requests state %d", got, cached)
				}
				if h := float64(after.Cached-before.Cached) / float64(prompt); math.Abs(h-*w.HitRate) > 1e-9 {
					ts.Fatalf("hit rate %g; by the server's counters %g", *w.HitRate, h)
				}
				if asked := after.Cached - before.Cached + after.Worked - before.Worked; asked < prompt {
					ts.Fatalf("the server counts %d prompt tokens, the requests state %d", asked, prompt)
				}
				if *w.HitRateMax < *w.HitRate || *w.HitRateMax > 1 || *w.HitRate < 0.3 {
					ts.Fatalf("hit rate %g of at most %g", *w.HitRate, *w.HitRateMax)
				}
				ts.Logf("hit rate %.4f of at most %.4f; %d cached tokens by requests and by counters", *w.HitRate, *w.HitRateMax, cached)
			},
			// samerate RESULT RESULT holds two runs of the same prompts against each other.
			"samerate": func(ts *testscript.TestScript, _ bool, args []string) {
				a, b := row(ts, args[0]), row(ts, args[1])
				if math.Abs(*a.HitRate-*b.HitRate) > 0.001 || math.Abs(*a.HitRateMax-*b.HitRateMax) > 0.001 {
					ts.Fatalf("hit rates %g and %g, of at most %g and %g", *a.HitRate, *b.HitRate, *a.HitRateMax, *b.HitRateMax)
				}
			},
		},
	})
}
