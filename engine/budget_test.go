package engine_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
)

// byPass makes the decode speed of one row depend on its pass, from 0; the last factor holds for all later ones. The row
// is known by the output tokens that it asks for.
func byPass(c *fakeConf, output int, factors ...float64) func(int) float64 {
	return func(stream int) float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.outputs[stream] != output {
			return 1
		}
		pass := 0
		for _, o := range c.outputs[:stream] {
			if o == output {
				pass++
			}
		}
		return factors[min(pass, len(factors)-1)]
	}
}

// runFake runs rows of the test suite on the fake, in virtual time.
func runFake(t *testing.T, c *fakeConf, change func(*engine.Options)) *record.Result {
	t.Helper()
	s := load(t, "60", nil)
	var res *record.Result
	synctest.Test(t, func(t *testing.T) {
		o := options(s, c)
		change(&o)
		var err error
		if res, err = engine.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	})
	return res
}

// TestSpread has figures computed by hand: two passes of 100 and 90.909 tok/s.
func TestSpread(t *testing.T) {
	c := &fakeConf{}
	c.slow = byPass(c, 101, 1, 1.1)
	row := runFake(t, c, func(o *engine.Options) { o.Repeats, o.Workloads = 2, []string{"short"} }).Rows[0]
	near(t, "decode, median of the passes", row.DecodeTPS, 95.454545, 1e-6)
	cv := row.CV["decode_tps"]
	near(t, "CV", &cv, 0.0673435, 1e-5) // 6.428243 / 95.454545
	ci := row.CI95["decode_tps"]
	near(t, "low end of the interval", &ci.Low, 37.6998, 1e-4) // t = 12.7062 with one degree of freedom, times 6.428243 / sqrt 2
	near(t, "high end of the interval", &ci.High, 153.2093, 1e-4)
	if said := evidence(row.Flags, "unstable"); said != "decode_tps varies by 6.7 % over 2 passes (limit 5)" {
		t.Errorf("unstable says %q", said)
	}
	// 200 token latencies carry a p95 and no p99, two TTFTs neither.
	if row.ITLp95ms == nil || row.ITLp99ms != nil || row.Reasons["decode_p99_latency_ms"] != "p99: too few (200 of 662)" {
		t.Errorf("token latency p95 %s, p99 %s because %q", show(row.ITLp95ms), show(row.ITLp99ms), row.Reasons["decode_p99_latency_ms"])
	}
	if row.TTFTp95ms != nil || row.Reasons["ttft_p95_ms"] != "p95: too few (2 of 130)" || row.TTFTmaxms == nil {
		t.Errorf("TTFT p95 %s because %q, max %s", show(row.TTFTp95ms), row.Reasons["ttft_p95_ms"], show(row.TTFTmaxms))
	}
}

// TestOnePassHasNoSpread: with one pass there is neither CV nor interval, with the reason, and 100 token latencies carry
// no p95.
func TestOnePassHasNoSpread(t *testing.T) {
	row := runFake(t, &fakeConf{}, func(o *engine.Options) { o.Repeats, o.Workloads = 1, []string{"short"} }).Rows[0]
	if row.CV != nil || row.CI95 != nil || row.Reasons["cv"] != "one pass" || row.Reasons["ci95"] != "one pass" {
		t.Errorf("CV %v (%q), interval %v (%q); want null: one pass", row.CV, row.Reasons["cv"], row.CI95, row.Reasons["ci95"])
	}
	near(t, "p50", row.ITLp50ms, 10, 1e-6)
	if row.ITLp95ms != nil || row.Reasons["decode_p95_latency_ms"] != "p95: too few (100 of 130)" {
		t.Errorf("p95 %s because %q", show(row.ITLp95ms), row.Reasons["decode_p95_latency_ms"])
	}
	if evidence(row.Flags, "unstable") != "" {
		t.Errorf("one pass is called unstable: %v", row.Flags)
	}
}

// TestMedianOverPasses: the headline is the median, so that one odd pass of three moves nothing.
func TestMedianOverPasses(t *testing.T) {
	c := &fakeConf{}
	c.slow = byPass(c, 101, 1, 3, 1)
	row := runFake(t, c, func(o *engine.Options) { o.Repeats, o.Workloads = 3, []string{"short"} }).Rows[0]
	near(t, "decode", row.DecodeTPS, 100, 1e-6)
	if evidence(row.Flags, "unstable") == "" {
		t.Error("a row with one pass at a third of the speed is not called unstable")
	}
}

// TestBudgetGoesWhereTheSpreadIs: of the rows only one is unsteady; what is left of the budget after each row's spread is
// known goes to it.
func TestBudgetGoesWhereTheSpreadIs(t *testing.T) {
	c := &fakeConf{}
	wobble := make([]float64, 64)
	for i := range wobble {
		wobble[i] = 1 + 0.1*math.Sin(float64(i*i))
	}
	c.slow = byPass(c, 101, wobble...) // the row "short"
	var passes []string
	res := runFake(t, c, func(o *engine.Options) {
		o.MaxTime = 40 * time.Second
		o.Watch.Pass = func(p engine.PassDone) { passes = append(passes, p.Key) }
	})
	count := map[string]int{}
	for _, r := range res.Rows {
		count[r.Key] = r.Passes
	}
	for key, n := range count {
		switch {
		case key == "short" && n < 8:
			t.Errorf("the unsteady row had %d passes; want most of the budget: %v", n, count)
		case key != "short" && n > 3:
			t.Errorf("%s is steady and had %d passes; three tell that: %v", key, n, count)
		case n < 2:
			t.Errorf("%s had %d passes; want its spread known before any row has a third: %v", key, n, count)
		}
	}
	// Every row has its second pass before the unsteady one has its fourth.
	if i := slices.Index(passes, "talk"); i < 0 {
		t.Fatal("no pass of talk")
	}
	shorts, talks := 0, 0
	for _, key := range passes {
		switch key {
		case "short":
			if shorts++; shorts == 4 && talks < 2 {
				t.Errorf("the fourth pass of short came before the second of talk: %v", passes)
			}
		case "talk":
			talks++
		}
	}
	if len(res.Budget.Cut) != 0 {
		t.Errorf("cut: %q; want nothing", res.Budget.Cut)
	}
}

// TestBudgetSaysWhatItCut: each row that has but one pass is named with what a second one takes, and no other.
func TestBudgetSaysWhatItCut(t *testing.T) {
	res := runFake(t, &fakeConf{}, func(o *engine.Options) { o.MaxTime = 10 * time.Second })
	once := 0
	if len(res.Budget.Cut) != 1 {
		t.Fatalf("cut: %q; want one line", res.Budget.Cut)
	}
	for _, r := range res.Rows {
		named := strings.Contains(res.Budget.Cut[0], r.Key+" (")
		if named != (r.Passes == 1) {
			t.Errorf("%s has %d passes; cut says %q", r.Key, r.Passes, res.Budget.Cut[0])
		}
		if r.Passes == 1 {
			once++
		}
	}
	if once == 0 || once == len(res.Rows) {
		t.Errorf("%d of %d rows have one pass; this test wants some", once, len(res.Rows))
	}
	if res.Budget.LimitS != 10 || res.Budget.SpentS > 10 {
		t.Errorf("spent %g s of %g", res.Budget.SpentS, res.Budget.LimitS)
	}
}

// TestWarmupDrift: a first pass that is 8 % slower than four steady ones varies by 3.5 %, which is under the limit of the
// coefficient of variation, and is told all the same; one among passes that lie as far apart is not.
func TestWarmupDrift(t *testing.T) {
	for _, c := range []struct {
		name    string
		factors []float64
		want    string
	}{
		{"first pass 8 % slower", []float64{1.08, 1, 1.002, 1, 1}, "warm-up drift: by decode_tps the first pass was 8.0 % slower than the median of the 4 later ones"},
		{"first pass 3 % slower", []float64{1.03, 1, 1.002, 1, 1.001}, ""},
		{"first pass 8 % quicker", []float64{0.92, 1, 1.002, 1, 1.001}, ""},
		{"as far apart as the others", []float64{1.06, 1.03, 1, 0.99, 1}, ""},
		{"two passes tell no drift", []float64{1.06, 1}, ""},
		{"steady", []float64{1}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := &fakeConf{}
			conf.slow = byPass(conf, 101, c.factors...)
			row := runFake(t, conf, func(o *engine.Options) {
				o.Repeats, o.Workloads = max(len(c.factors), 2), []string{"short"}
			}).Rows[0]
			said := evidence(row.Flags, "unstable")
			if !strings.HasPrefix(said, c.want) || c.want == "" && said != "" {
				t.Errorf("unstable says %q; want %q (CV %v)", said, c.want, row.CV)
			}
			if c.want != "" && row.CV["decode_tps"] > 0.05 {
				t.Errorf("CV is %g: this test wants one under the limit", row.CV["decode_tps"])
			}
		})
	}
}
