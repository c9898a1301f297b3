package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
	"github.com/llm-speed/llm-speed/internal/suite"
	"github.com/llm-speed/llm-speed/suites"
)

// testSuite is a suite of its own, under ids that the official one has not: what works here depends on no workload's name.
const testSuite = `{
  schema: 'llm-speed/suite/v1', name: 'tiny', version: '0.1.0', title: 'a small suite', engine: 1, generator: 'prose/1',
  budget: { default_s: %s, quick_s: 5 },
  workloads: [
    { id: 'short', name: 'one short', doc: 'one', program: 'short.star', params: { out: 101 }, passes: 2,
      needs: [{ context: 400, parallel: 1, prompt: 200, output: 101 }], reports: ['ttft_ms', 'decode_tps'] },
    { id: 'grow', name: 'longer', doc: 'two', program: 'grow.star', points: [{ size: 300 }, { size: 600 }],
      needs: [{ context: 800, parallel: 1, prompt: 600, output: 51 }], params: { out: 51 },
      relative: [{ name: 'left', metric: 'decode_tps' }], reports: ['decode_tps', 'left'] },
    { id: 'many', name: 'at once', doc: 'three', program: 'many.star', points: [{ n: 1 }, { n: 4 }], params: { out: 51 },
      needs: [{ context: 300, parallel: 4, prompt: 100, output: 51 }],
      relative: [{ name: 'gain', metric: 'aggregate_tps', base: { n: 1 } }], reports: ['aggregate_tps', 'gain'] },
    { id: 'talk', name: 'turns', doc: 'four', program: 'talk.star', params: { turns: 3 },
      needs: [{ context: 500, parallel: 1, prompt: 300, output: 150 }],
      metrics: { turn_ms: { unit: 'ms', better: 'lower', stats: ['p50', 'max'] } }, reports: ['wall_ms', 'turn_ms'] },
  ],
}`

var testPrograms = map[string]string{
	"short.star": "def run(w):\n    stream(prompt(tokens = 200), output_tokens = w.params.out)\n",
	"grow.star":  "def run(w):\n    stream(prompt(tokens = w.point.size), output_tokens = w.params.out)\n",
	"many.star":  "def run(w):\n    stream([prompt(tokens = 100) for _ in range(w.point.n)], output_tokens = w.params.out)\n",
	"talk.star": `def run(w):
    chat = prompt(messages = [{"role": "system", "content": "You help."}, {"role": "user", "content": "one two three"}])
    for i in range(w.params.turns):
        reply = stream(chat, output_tokens = 50)
        w.record("turn_ms", reply.wall_ms)
        chat = chat.extend([{"role": "assistant", "content": "four five"}, {"role": "user", "content": "six seven eight nine"}])
`,
}

// load makes the test suite, with some files changed.
func load(t *testing.T, budget string, change map[string]string) *suite.Suite {
	t.Helper()
	files := fstest.MapFS{"suite.jsonnet": {Data: fmt.Appendf(nil, testSuite, budget)}}
	for name, src := range testPrograms {
		files[name] = &fstest.MapFile{Data: []byte(src)}
	}
	for name, src := range change {
		files[name] = &fstest.MapFile{Data: []byte(src)}
	}
	official, err := suites.Open("suite-v1")
	if err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(official, "data", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "trace.json") {
			return err
		}
		b, err := fs.ReadFile(official, path)
		files[path] = &fstest.MapFile{Data: b}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := suite.Load(t.Context(), files, suite.InProcess)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// options are a run of the test suite on the fake.
func options(s *suite.Suite, c *fakeConf) engine.Options {
	return engine.Options{
		Suite: s, Spec: c.spec(), Seed: 7, RunID: "test",
		Config: drivers.Config{Env: func(string) string { return "" }, Log: func(string, ...any) {}},
		SaveRaw: func(key string, pass int, recs []stream.Recording) (record.RawFile, error) {
			return record.RawFile{Path: fmt.Sprintf("raw/%s.%d", strings.ReplaceAll(key, "/", "_"), pass)}, nil
		},
	}
}

func rows(t *testing.T, res *record.Result) map[string]record.Row {
	t.Helper()
	out := map[string]record.Row{}
	for _, r := range res.Rows {
		out[r.Key] = r
	}
	return out
}

// near compares a figure with one computed by hand.
func near(t *testing.T, what string, got *float64, want, within float64) {
	t.Helper()
	if got == nil {
		t.Errorf("%s is null; want %g", what, want)
		return
	}
	if d := *got/want - 1; d > within || d < -within {
		t.Errorf("%s = %g; want %g within %g %%", what, *got, want, within*100)
	}
}

func TestRunMeasuresWhatTheBackendDid(t *testing.T) {
	s := load(t, "60", nil)
	synctest.Test(t, func(t *testing.T) {
		conf := &fakeConf{contextMax: 4096}
		res, err := engine.Run(t.Context(), options(s, conf))
		if err != nil {
			t.Fatal(err)
		}
		if res.State != record.Complete || len(res.Rows) != 6 {
			t.Fatalf("state %s with %d rows; want complete with 6", res.State, len(res.Rows))
		}
		got := rows(t, res)
		short := got["short"]
		if short.Status != record.OK || short.Passes < 2 {
			t.Errorf("short: %s with %d passes (%s)", short.Status, short.Passes, short.Reason)
		}
		// 200 words at 1 ms and 10 ms before; 100 tokens in 100 gaps of 10 ms.
		near(t, "short ttft", short.TTFTms, 210, 0.01)
		near(t, "short decode", short.DecodeTPS, 100, 1e-6)
		near(t, "short itl", short.ITLp50ms, 10, 1e-6)
		// No server timing: the client's estimate against the short probe gives 1 token a millisecond.
		near(t, "short prefill", short.PrefillTPS, 1000, 1e-3)
		if short.PrefillHow != "estimated" || short.Cold != "proved" || short.CountProvenance != "A" {
			t.Errorf("short: prefill %q, cold %q, provenance %q", short.PrefillHow, short.Cold, short.CountProvenance)
		}
		near(t, "left", got["grow/size=600"].Relative["left"], 1, 1e-6)
		many := got["many/n=4"]
		near(t, "aggregate", many.AggregateTPS, 400, 0.03) // prompts differ by a word or two, so that the windows shift
		near(t, "gain", many.Relative["gain"], 4, 0.03)
		if many.Parallelism == nil || *many.Parallelism != 4 {
			t.Errorf("parallelism %v; want 4", many.Parallelism)
		}
		talk := got["talk"]
		if talk.HitRate == nil || talk.HitRateMax == nil || *talk.HitRate != *talk.HitRateMax || *talk.HitRate < 0.3 {
			t.Errorf("talk: hit rate %s of at most %s; want both equal", show(talk.HitRate), show(talk.HitRateMax))
		}
		near(t, "turn", talk.TurnP50ms, talk.Metrics["turn_ms"].Stats["p50"], 1e-9)
		if *talk.WarmTTFTms >= *talk.ColdTTFTms {
			t.Errorf("warm turns take %g ms, cold ones %g", *talk.WarmTTFTms, *talk.ColdTTFTms)
		}
		want := []drivers.Need{{Context: 800, Parallel: 1}, {Context: 300, Parallel: 4}, {Context: 800, Parallel: 1}}
		if len(conf.opened) < 3 || !slices.Equal(conf.opened[:3], want) {
			t.Errorf("sessions were opened for needs %v; want first %v", conf.opened, want)
		}
		if conf.closed != len(conf.opened) {
			t.Errorf("%d of %d sessions were closed", conf.closed, len(conf.opened))
		}
		if b, _ := json.Marshal(res); strings.Contains(string(b), "somebody") {
			t.Error("the path of the model is in the result")
		}
	})
}

func show(x *float64) string {
	if x == nil {
		return "null"
	}
	return fmt.Sprint(*x)
}

func TestSameSeedGivesTheSameBytes(t *testing.T) {
	s := load(t, "5", nil)
	prompts := func(seed uint64) string {
		conf := &fakeConf{}
		synctest.Test(t, func(t *testing.T) {
			o := options(s, conf)
			o.Seed, o.Repeats, o.Workloads = seed, 1, []string{"short", "grow", "talk"}
			if _, err := engine.Run(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		})
		return strings.Join(conf.prompts, "\n--\n")
	}
	first, second := prompts(7), prompts(7)
	if first != second {
		t.Error("two runs of one seed sent different prompts")
	}
	if first == prompts(8) {
		t.Error("two seeds sent the same prompts")
	}
}

func TestWhatGoesWrongStaysInItsRow(t *testing.T) {
	s := load(t, "5", nil)
	boom := fmt.Errorf("%w: reset by peer, key sk-secret", drivers.ErrServer)
	for _, tt := range []struct {
		name   string
		conf   *fakeConf
		change func(*engine.Options)
		row    string
		status record.Status
		reason string
		flag   string
		others int // rows that are ok
	}{
		{name: "a stream fails", conf: &fakeConf{fail: func(r drivers.Request) error {
			if len(strings.Fields(r.Prompt.Messages[0].Content)) > 400 {
				return boom
			}
			return nil
		}}, row: "grow/size=600", status: record.Failed, reason: "reset by peer, key ***", flag: "errors", others: 5},
		{name: "context too small", conf: &fakeConf{contextMax: 700}, row: "grow/size=300", status: record.Skipped, reason: "needs a context of 800 tokens; the server offers 700", others: 4},
		{name: "ends early", conf: &fakeConf{early: 40}, row: "short", status: record.OK, flag: "early_stop", others: 6},
		{name: "keeps its cache", conf: &fakeConf{keepCache: true}, row: "short", status: record.OK, others: 6},
		{name: "does not say what was cached", conf: &fakeConf{noCached: true}, row: "short", status: record.OK, flag: "cold_unproved", others: 6},
		{name: "somebody else is there", conf: &fakeConf{attached: true, running: 2}, row: "short", status: record.OK, flag: "other_traffic", others: 6},
		{name: "unsteady", conf: &fakeConf{slow: func(n int) float64 { return 1 + 0.5*float64(n%2) }}, row: "short", status: record.OK, flag: "unstable", others: 6},
		{name: "quick", conf: &fakeConf{}, change: func(o *engine.Options) { o.Suite = load(t, "5", quickShapes(t)); o.Quick = true }, row: "short", status: record.OK, flag: "quick", others: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options(s, tt.conf)
				o.Config.APIKey = drivers.NewSecret("sk-secret")
				if tt.change != nil {
					tt.change(&o)
				}
				res, err := engine.Run(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				row := rows(t, res)[tt.row]
				if row.Status != tt.status || !strings.Contains(row.Reason, tt.reason) {
					t.Errorf("%s is %s (%s); want %s (%s)", tt.row, row.Status, row.Reason, tt.status, tt.reason)
				}
				flagged := ""
				for _, f := range row.Flags {
					flagged += f.Name + " "
				}
				if !strings.Contains(flagged, tt.flag) {
					t.Errorf("flags are %q; want %s", flagged, tt.flag)
				}
				if row.Rankable {
					t.Error("the row may be ranked")
				}
				ok := 0
				for _, r := range res.Rows {
					if r.Status == record.OK {
						ok++
					}
				}
				if ok != tt.others {
					t.Errorf("%d rows are ok; want %d", ok, tt.others)
				}
				if b, _ := json.Marshal(res); strings.Contains(string(b), "sk-secret") {
					t.Error("the key is in the result")
				}
			})
		})
	}
}

// quickShapes gives the first workload a quick shape.
func quickShapes(t *testing.T) map[string]string {
	t.Helper()
	src := fmt.Sprintf(testSuite, "5")
	return map[string]string{"suite.jsonnet": strings.Replace(src, "passes: 2,", "passes: 2, quick: { params: { out: 40 } },", 1)}
}

func TestLongRowsAreSkippedUnlessForced(t *testing.T) {
	src := fmt.Sprintf(testSuite, "5")
	src = strings.Replace(src, "needs: [{ context: 800, parallel: 1, prompt: 600, output: 51 }]", "needs: [{ context: 800, parallel: 1, prompt: 400000, output: 51 }]", 1)
	s := load(t, "5", map[string]string{"suite.jsonnet": src})
	for _, long := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := options(s, &fakeConf{})
			o.Long = long
			res, err := engine.Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			row := rows(t, res)["grow/size=300"]
			if long != (row.Status == record.OK) || (!long && !strings.Contains(row.Reason, "--long")) {
				t.Errorf("long %t: row is %s (%s)", long, row.Status, row.Reason)
			}
		})
	}
}

func TestNothingToOpen(t *testing.T) {
	s := load(t, "5", nil)
	synctest.Test(t, func(t *testing.T) {
		conf := &fakeConf{openErr: func(int, drivers.Need) error { return drivers.ErrUnreachable }}
		_, err := engine.Run(t.Context(), options(s, conf))
		if !errors.Is(err, engine.ErrNoBackend) || !errors.Is(err, drivers.ErrUnreachable) {
			t.Errorf("error is %v; want ErrNoBackend and ErrUnreachable", err)
		}
	})
}

func TestServerThatDoesNotFitIsTriedSmaller(t *testing.T) {
	s := load(t, "5", nil)
	synctest.Test(t, func(t *testing.T) {
		conf := &fakeConf{openErr: func(_ int, n drivers.Need) error {
			if n.Context > 500 {
				return fmt.Errorf("%w: out of memory", drivers.ErrServerDied)
			}
			return nil
		}}
		res, err := engine.Run(t.Context(), options(s, conf))
		if err != nil {
			t.Fatal(err)
		}
		got := rows(t, res)
		if got["short"].Status != record.OK || got["grow/size=300"].Status != record.Failed || got["talk"].Status != record.OK {
			t.Errorf("short %s, grow %s, talk %s; want ok, failed, ok", got["short"].Status, got["grow/size=300"].Status, got["talk"].Status)
		}
	})
}

func TestATraceThatIsLongerThanTheSuiteTookItForGetsMoreRoom(t *testing.T) {
	s := load(t, "5", nil)
	synctest.Test(t, func(t *testing.T) {
		conf := &fakeConf{modelMax: 5000}
		conf.fail = func(r drivers.Request) error {
			conf.mu.Lock()
			defer conf.mu.Unlock()
			if room := conf.opened[len(conf.opened)-1].Context; len(r.Prompt.Messages) > 4 && room < 1500 {
				return &drivers.APIError{Kind: drivers.ErrContextLength, Status: 400}
			}
			return nil
		}
		res, err := engine.Run(t.Context(), options(s, conf))
		if err != nil {
			t.Fatal(err)
		}
		talk := rows(t, res)["talk"]
		if talk.Status != record.OK || len(talk.Samples) != 3*talk.Passes {
			t.Errorf("talk is %s (%s) with %d samples of %d passes; want ok on a server with more context", talk.Status, talk.Reason, len(talk.Samples), talk.Passes)
		}
	})
}

func TestAWrongProgramEndsTheRunAndIsTold(t *testing.T) {
	s := load(t, "5", map[string]string{"grow.star": "def run(w):\n    x = 1 + \"a\"\n"})
	synctest.Test(t, func(t *testing.T) {
		res, err := engine.Run(t.Context(), options(s, &fakeConf{}))
		var script *builtins.ScriptError
		if !errors.As(err, &script) || script.Line != 2 || !strings.Contains(script.Backtrace, "Traceback") {
			t.Fatalf("error is %v; want a script error at line 2", err)
		}
		if res.State != record.Partial || len(res.Rows) != 1 {
			t.Errorf("state %s with %d rows; want partial with the one before", res.State, len(res.Rows))
		}
	})
}

func TestInterruptKeepsFinishedRowsAndResumeGoesOn(t *testing.T) {
	s := load(t, "5", nil)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		o := options(s, &fakeConf{})
		o.Watch.Done = func(r record.Row) {
			if r.Key == "grow/size=300" {
				cancel()
			}
		}
		res, err := engine.Run(ctx, o)
		if !errors.Is(err, context.Canceled) || res.State != record.Partial || len(res.Rows) != 2 {
			t.Fatalf("error %v, state %s, %d rows; want canceled, partial, 2", err, res.State, len(res.Rows))
		}
		conf := &fakeConf{}
		o = options(s, conf)
		o.Resume = res
		again, err := engine.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if again.State != record.Complete || len(again.Rows) != 6 || again.Rows[0].Key != "short" || again.Rows[0].Samples[0].SendNS != res.Rows[0].Samples[0].SendNS {
			t.Errorf("resumed: state %s, %d rows; want all six with the first as it was", again.State, len(again.Rows))
		}
		for _, n := range conf.outputs {
			if n == 101 {
				t.Error("a finished row was run again")
			}
		}
		o.Seed = 8
		if _, err := engine.Run(t.Context(), o); err == nil {
			t.Error("a run was resumed under another seed")
		}
	})
}

func TestBudget(t *testing.T) {
	s := load(t, "12", nil)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		res, err := engine.Run(t.Context(), options(s, &fakeConf{slow: func(n int) float64 { return 1 + 0.01*float64(n%5) }}))
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		if took > 12*time.Second || took < 9*time.Second {
			t.Errorf("took %s of a budget of 12 s", took)
		}
		extra := 0
		for _, r := range res.Rows {
			extra += r.Passes
		}
		if extra <= 7 {
			t.Errorf("%d passes in all: what was left of the budget was not used", extra)
		}
	})
	t.Run("first passes are never cut", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := options(s, &fakeConf{})
			o.MaxTime = time.Millisecond
			res, err := engine.Run(t.Context(), o)
			if err != nil || len(res.Rows) != 6 || res.State != record.Complete {
				t.Fatalf("error %v, %d rows", err, len(res.Rows))
			}
			if len(res.Budget.Cut) != 1 || strings.Count(res.Budget.Cut[0], "(") != 5 {
				t.Errorf("cut: %q; want the five rows with one pass", res.Budget.Cut)
			}
		})
	})
	t.Run("repeats", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := options(s, &fakeConf{})
			o.Repeats = 3
			res, err := engine.Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range res.Rows {
				if r.Passes != 3 || r.CV == nil {
					t.Errorf("%s has %d passes, CV %v; want 3 with their spread", r.Key, r.Passes, r.CV)
				}
			}
		})
	})
}

func TestWithoutTokenizerTheServersCountFits(t *testing.T) {
	s := load(t, "5", nil)
	synctest.Test(t, func(t *testing.T) {
		res, err := engine.Run(t.Context(), options(s, &fakeConf{noTokens: true}))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.Rows {
			for _, s := range r.Samples {
				if s.AskedPrompt > 0 && (*s.Prompt.N < s.AskedPrompt*98/100 || *s.Prompt.N > s.AskedPrompt*102/100) {
					t.Errorf("%s: %d prompt tokens, %d asked for", r.Key, *s.Prompt.N, s.AskedPrompt)
				}
			}
		}
		talk := rows(t, res)["talk"]
		if talk.HitRateMax == nil || talk.Samples[1].Reasons["max_cached"] == "" {
			t.Errorf("talk: the greatest hit rate is %v without its bound said", talk.HitRateMax)
		}
	})
}

func TestUnknownWorkload(t *testing.T) {
	s := load(t, "5", nil)
	_, err := engine.PlanRows(s, []string{"W9"}, false)
	if err == nil || !strings.Contains(err.Error(), "short, grow, many, talk") {
		t.Errorf("error is %v; want the valid ids", err)
	}
}
