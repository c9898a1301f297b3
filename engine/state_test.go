package engine_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
)

// watcher is a machine that draws 50 W and shows a flag while streams run.
type watcher struct {
	flags          []record.Flag
	sensor         string
	ready, stopped int
	spans, own     []engine.Span
	served         string
	saved          any
	saveErr        error
}

func (w *watcher) into(o *engine.Options) {
	o.Observe = func(context.Context, func() time.Duration) *engine.Observer {
		return &engine.Observer{
			Ready:  func(context.Context) { w.ready++ },
			Flags:  func(s, own []engine.Span) []record.Flag { w.spans, w.own = s, own; return w.flags },
			Serves: func(url string) { w.served = url },
			Joules: func(from, to time.Duration) (float64, error) {
				if to <= from {
					return 0, errors.New("backwards")
				}
				return 50 * (to - from).Seconds(), nil
			},
			Sensor: func() (string, string) {
				if w.sensor == "" {
					return "", "no sensor here"
				}
				return w.sensor, ""
			},
			Stop: func() any { w.stopped++; return "the series" },
		}
	}
	o.SaveSeries = func(series any) (record.RawFile, error) {
		w.saved = series
		return record.RawFile{Path: "state.1.json.gz"}, w.saveErr
	}
}

// What the machine did stands in the rows: flags with their evidence, and energy by the sensor that is named.
func TestMachineIsWatched(t *testing.T) {
	s := load(t, "1", map[string]string{"short.star": "def run(w):\n    stream(prompt(tokens = 4000), output_tokens = w.params.out)\n"})
	synctest.Test(t, func(t *testing.T) {
		w := &watcher{flags: []record.Flag{{Name: "thermal", Evidence: "hot in 2 of 3 readings"}}, sensor: "a meter"}
		o := options(s, &fakeConf{contextMax: 8192, slow: func(int) float64 { return 10 }})
		o.Workloads = []string{"short", "many"}
		w.into(&o)
		open := o.Spec.Open
		o.Spec.Open = func(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
			s, err := open(ctx, c, n)
			return elsewhere{s, func(i drivers.Info) drivers.Info { i.URL = "http://127.0.0.1:8080"; return i }}, err
		}
		res, err := engine.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		got := rows(t, res)
		for key, row := range got {
			if row.Flags[0] != w.flags[0] && !slices.Contains(row.Flags, w.flags[0]) {
				t.Errorf("%s has no flag: %v", key, row.Flags)
			}
		}
		short := got["short"].Energy
		if short == nil || short.Method != "a meter" {
			t.Fatalf("%+v, %v", short, got["short"].Reasons)
		}
		// 50 W: 100 tokens in 10 s are 5 J each, 4,000 prompt tokens in 4.01 s 0.05 J each.
		near(t, "joules an output token", short.PerOutputToken, 5, 1e-6)
		near(t, "joules a prompt token", short.PerPromptToken, 50*4.01/4000, 0.02)
		if short.DecodeTokens != 100*float64(got["short"].Requests) {
			t.Errorf("%+v", short)
		}
		// Four at once: their tokens share the energy of the window in which all decode.
		many := got["many/n=4"].Energy
		near(t, "joules an output token of four streams", many.PerOutputToken, 50.0/40, 0.03)
		if many.PerPromptToken != nil || !strings.Contains(many.Reasons["per_prompt_token"], "together") {
			t.Errorf("%+v", many)
		}
		if w.ready != 1 || w.stopped != 1 || w.saved != "the series" || len(res.Environment.Series) != 1 || len(w.spans) == 0 {
			t.Errorf("ready %d, stopped %d, saved %v, %v", w.ready, w.stopped, w.saved, res.Environment.Series)
		}
		for _, s := range w.spans {
			if s.From <= 0 || s.To <= s.From {
				t.Errorf("%+v", w.spans)
			}
			// Every stream is within a stretch that is known to be ours, and so are warm-ups and the opening.
			if !slices.ContainsFunc(w.own, func(o engine.Span) bool { return o.From <= s.From && o.To >= s.To }) {
				t.Errorf("%+v is not in %+v", s, w.own)
			}
		}
		if len(w.own) < 4 || w.served != "http://127.0.0.1:8080" {
			t.Errorf("own %+v, served by %q", w.own, w.served)
		}
	})
}

// Where nothing can be known, energy is null with the reason, and no flag is raised.
func TestMachineIsNotKnown(t *testing.T) {
	s := load(t, "1", nil)
	for name, c := range map[string]struct {
		change func(*engine.Options, *watcher)
		why    string
	}{
		"not watched":    {func(o *engine.Options, _ *watcher) { o.Observe = nil }, "not watched"},
		"no sensor":      {func(_ *engine.Options, w *watcher) { w.sensor, w.flags = "", nil }, "no sensor here"},
		"another server": {func(o *engine.Options, _ *watcher) { o.Spec = remote(o.Spec) }, "another machine"},
		"hosted":         {func(o *engine.Options, _ *watcher) { o.Spec.Kind = drivers.Hosted }, "another machine"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &watcher{flags: []record.Flag{{Name: "on_battery", Evidence: "x"}}, sensor: "a meter"}
				o := options(s, &fakeConf{contextMax: 4096})
				o.Workloads = []string{"short"}
				w.into(&o)
				c.change(&o, w)
				res, err := engine.Run(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				row := res.Rows[0]
				if row.Energy != nil || !strings.Contains(row.Reasons["energy"], c.why) {
					t.Errorf("energy %+v, reason %q", row.Energy, row.Reasons["energy"])
				}
				for _, f := range row.Flags {
					if f.Name == "on_battery" {
						t.Errorf("%+v", f)
					}
				}
			})
		})
	}
	// Intervals that are too short for the sensor.
	synctest.Test(t, func(t *testing.T) {
		w := &watcher{sensor: "a meter"}
		o := options(s, &fakeConf{contextMax: 4096})
		o.Workloads = []string{"short"}
		w.into(&o)
		res, err := engine.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if e := res.Rows[0].Energy; e == nil || e.PerOutputToken != nil || e.PerPromptToken != nil || e.DecodeJ != nil || e.Reasons["per_output_token"] == "" || e.Reasons["per_prompt_token"] == "" {
			t.Errorf("%+v", e)
		}
	})
}

// remote makes the server another machine's.
func remote(spec drivers.Spec) drivers.Spec {
	open := spec.Open
	spec.Open = func(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
		s, err := open(ctx, c, n)
		return elsewhere{s, func(i drivers.Info) drivers.Info { i.URLKind = "lan"; return i }}, err
	}
	return spec
}

// elsewhere is a session that says something else about itself.
type elsewhere struct {
	drivers.Session
	change func(drivers.Info) drivers.Info
}

func (e elsewhere) Info() drivers.Info { return e.change(e.Session.Info()) }

// A run that can't begin, and one whose series can't be saved, end the watching too.
func TestWatchingEnds(t *testing.T) {
	s := load(t, "1", nil)
	synctest.Test(t, func(t *testing.T) {
		w := &watcher{}
		o := options(s, &fakeConf{openErr: func(int, drivers.Need) error { return drivers.ErrUnreachable }})
		w.into(&o)
		if _, err := engine.Run(t.Context(), o); !errors.Is(err, engine.ErrNoBackend) || w.stopped != 1 {
			t.Errorf("stopped %d times, %v", w.stopped, err)
		}
		w = &watcher{saveErr: errors.New("disk full")}
		o = options(s, &fakeConf{contextMax: 4096})
		o.Workloads = []string{"short"}
		w.into(&o)
		res, err := engine.Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "disk full") || w.stopped != 1 || len(res.Rows) != 1 {
			t.Errorf("stopped %d times, %v", w.stopped, err)
		}
	})
}

// The model is identified by its files, and what they deny takes the run off the ranking. A local row without quantisation
// and digest is never ranked.
func TestModelIsIdentified(t *testing.T) {
	s := load(t, "1", nil)
	layers, params := 28, int64(8e9)
	known := engine.Identity{Model: record.Model{Format: "gguf", Layers: &layers, Parameters: &params, Quant: "Q8_0", PrefixDigest: "sha256:11"}, Reasons: map[string]string{"experts": "dense"}}
	digest := func(context.Context, string) (string, string, error) {
		return strings.TrimPrefix(weightsDigest, "sha256:"), "of the file", nil
	}
	quantless := func(spec drivers.Spec) drivers.Spec {
		open := spec.Open
		spec.Open = func(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
			s, err := open(ctx, c, n)
			return elsewhere{s, func(i drivers.Info) drivers.Info { i.Model.Quant = ""; return i }}, err
		}
		return spec
	}
	named := func(spec drivers.Spec, digest string) drivers.Spec {
		open := spec.Open
		spec.Open = func(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
			s, err := open(ctx, c, n)
			return elsewhere{s, func(i drivers.Info) drivers.Info {
				i.Model.Digest, i.Model.DigestKind = digest, "its own"
				return i
			}}, err
		}
		return spec
	}
	for _, c := range []struct {
		name     string
		change   func(*engine.Options)
		rankable bool
		reasons  map[string]string // parts of them
		check    func(*record.Result) bool
	}{
		{"all is known", func(*engine.Options) {}, true, map[string]string{"model.experts": "dense", "model.architecture": "neither"}, func(r *record.Result) bool {
			return *r.Model.Layers == 28 && *r.Model.Parameters == 8e9 && r.Model.Quant == "Q4_K_M" && r.Model.Digest == weightsDigest && r.Model.PrefixDigest == "sha256:11"
		}},
		{"no digest", func(o *engine.Options) {
			o.ModelDigest = func(context.Context, string) (string, string, error) { return "", "", errors.New("a bad disk") }
		}, false, map[string]string{"model.digest": "a bad disk"}, nil},
		{"a digest of another kind", func(o *engine.Options) {
			o.ModelDigest = func(context.Context, string) (string, string, error) { return "md5:00", "", nil }
		}, false, map[string]string{"model.digest": "no SHA-256"}, nil},
		{"the backend names it in hex", func(o *engine.Options) { o.Spec, o.ModelDigest = named(o.Spec, strings.Repeat("0A", 32)), nil }, true, nil, func(r *record.Result) bool {
			return r.Model.Digest == "sha256:"+strings.Repeat("0a", 32) && r.Model.DigestKind == "its own"
		}},
		{"the backend names it as a file", func(o *engine.Options) {
			o.Spec, o.ModelDigest = named(o.Spec, "sha256-"+strings.Repeat("0a", 32)), nil
		}, true, nil, func(r *record.Result) bool { return r.Model.Digest == "sha256:"+strings.Repeat("0a", 32) }},
		{"the backend names a part of it", func(o *engine.Options) { o.Spec = named(o.Spec, "sha256:0a0a0a0a0a0a") }, true, nil, func(r *record.Result) bool { return r.Model.Digest == weightsDigest }},
		{"nothing hashes", func(o *engine.Options) { o.ModelDigest = nil }, false, map[string]string{"model.digest": "not readable"}, nil},
		{"no quantisation", func(o *engine.Options) { o.Spec, o.Identify = quantless(o.Spec), nil }, false, map[string]string{"model.quant": "not readable from here", "model.layers": "not readable"}, nil},
		{"quantisation by the header", func(o *engine.Options) { o.Spec = quantless(o.Spec) }, false, nil, func(r *record.Result) bool { return r.Model.Quant == "Q8_0" }},
		{"another model than it says", func(o *engine.Options) {
			bad := known
			bad.Mismatch = "the name says Q4_K_M, the header Q8_0"
			o.Identify = func(drivers.Model) engine.Identity { return bad }
		}, false, nil, func(r *record.Result) bool {
			has := func(flags []record.Flag) bool {
				return slices.Contains(flags, record.Flag{Name: "model_mismatch", Evidence: "the name says Q4_K_M, the header Q8_0"})
			}
			return has(r.Flags) && has(r.Rows[0].Flags)
		}},
		{"hosted", func(o *engine.Options) { o.Spec.Kind, o.Identify = drivers.Hosted, nil }, true, map[string]string{"model.digest": "hosted", "model.format": "hosted"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options(s, &fakeConf{contextMax: 4096})
				o.Official, o.Workloads, o.ModelDigest = true, []string{"short"}, digest
				o.Identify = func(m drivers.Model) engine.Identity {
					if m.Path == "" {
						t.Error("no path")
					}
					return known
				}
				c.change(&o)
				res, err := engine.Run(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				if d := res.Model.Digest; d != "" && len(d) != len(weightsDigest) {
					t.Errorf("digest %q", d)
				}
				want := c.rankable || c.name == "quantisation by the header"
				if res.Rows[0].Rankable != want || res.Rankable != want {
					t.Errorf("rankable %t, the run %t; want %t (flags %v, reasons %v)", res.Rows[0].Rankable, res.Rankable, want, res.Rows[0].Flags, res.Rows[0].Reasons)
				}
				for field, part := range c.reasons {
					if !strings.Contains(res.Reasons[field], part) {
						t.Errorf("%s: %q; want %q in it", field, res.Reasons[field], part)
					}
				}
				if c.check != nil && !c.check(res) {
					t.Errorf("%+v, flags %v", res.Model, res.Flags)
				}
				for _, field := range slices.Sorted(maps.Keys(res.Reasons)) {
					if strings.Contains(res.Reasons[field], "somebody") {
						t.Errorf("a folder in %s", field)
					}
				}
			})
		})
	}
}

// The identity of machine and installation is written down, or why there is none; that of an anonymous run stays.
func TestFPIsWrittenDown(t *testing.T) {
	s := load(t, "1", nil)
	synctest.Test(t, func(t *testing.T) {
		run := func(fp string, err error, change func(*engine.Options)) *record.Result {
			o := options(s, &fakeConf{contextMax: 4096})
			o.Workloads = []string{"short"}
			o.FP = func(context.Context) (string, error) { return fp, err }
			if change != nil {
				change(&o)
			}
			res, err := engine.Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		if r := run("f1", nil, nil); r.FP != "f1" || r.Reasons["fp"] != "" {
			t.Errorf("%q %q", r.FP, r.Reasons["fp"])
		}
		if r := run("", errors.New("half a machine"), nil); r.FP != "" || r.Reasons["fp"] != "half a machine" {
			t.Errorf("%q %q", r.FP, r.Reasons["fp"])
		}
		if r := run("", nil, func(o *engine.Options) { o.FP = nil }); r.FP != "" || r.Reasons["fp"] != "not taken" {
			t.Errorf("%q %q", r.FP, r.Reasons["fp"])
		}
		first := run("f1", nil, func(o *engine.Options) { o.Anonymous = true })
		first.Rows, first.State = nil, record.Partial
		if r := run("f2", nil, func(o *engine.Options) { o.Anonymous, o.Resume = true, first }); r.FP != "f1" {
			t.Errorf("%q: a resumed anonymous run has another name", r.FP)
		}
	})
}

// A run that was stopped before its weights were hashed is ranked as soon as it has gone on and they are.
func TestRankedAfterResume(t *testing.T) {
	s := load(t, "1", nil)
	synctest.Test(t, func(t *testing.T) {
		run := func(old *record.Result, digest string, workloads ...string) *record.Result {
			o := options(s, &fakeConf{contextMax: 4096})
			o.Official, o.Resume, o.Workloads = true, old, workloads
			o.ModelDigest = func(context.Context, string) (string, string, error) {
				if digest == "" {
					return "", "", context.Canceled
				}
				return digest, "of the file", nil
			}
			res, err := engine.Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		first := run(nil, "", "short")
		if first.Rows[0].Rankable || first.Rows[0].Reasons["rankable"] == "" || first.Model.Digest != "" {
			t.Fatalf("%+v", first.Rows[0].Reasons)
		}
		second := run(first, weightsDigest, "short", "talk")
		if len(second.Rows) != 2 || !second.Rows[0].Rankable || second.Rows[0].Reasons["rankable"] != "" || second.Rows[0].Passes != first.Rows[0].Passes {
			t.Errorf("%t %v", second.Rows[0].Rankable, second.Rows[0].Reasons)
		}
	})
}
