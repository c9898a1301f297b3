package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(b)) }

// The expected values are numpy.percentile's, worked out by hand.
func TestPercentileIsType7(t *testing.T) {
	for _, c := range []struct {
		xs   []float64
		p    float64
		want float64
	}{
		{[]float64{7}, 0.95, 7},
		{[]float64{4, 1, 3, 2}, 0, 1},
		{[]float64{4, 1, 3, 2}, 0.25, 1.75},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{4, 1, 3, 2}, 0.95, 3.85},
		{[]float64{4, 1, 3, 2}, 1, 4},
		{[]float64{15, 20, 35, 40, 50}, 0.4, 29},
		{[]float64{10, 20}, 0.05, 10.5},
	} {
		got, ok := Percentile(c.xs, c.p)
		if !ok || !near(got, c.want) {
			t.Errorf("Percentile(%v, %v) = %v, %v; want %v", c.xs, c.p, got, ok, c.want)
		}
	}
}

func TestPercentileDoesNotExist(t *testing.T) {
	for _, c := range []struct {
		xs []float64
		p  float64
	}{{nil, 0.5}, {[]float64{1}, -0.1}, {[]float64{1}, 1.1}, {[]float64{1}, math.NaN()}, {[]float64{1, math.NaN()}, 0.5}, {[]float64{math.Inf(1)}, 0.5}} {
		if got, ok := Percentile(c.xs, c.p); ok {
			t.Errorf("Percentile(%v, %v) = %v, want none", c.xs, c.p, got)
		}
	}
}

func TestPercentileLeavesItsArgument(t *testing.T) {
	xs := []float64{3, 1, 2}
	Percentile(xs, 0.5)
	if xs[0] != 3 || xs[1] != 1 || xs[2] != 2 {
		t.Errorf("xs is now %v", xs)
	}
}

func TestWeightedPercentileEqualsTheListWrittenOut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var ws []Weighted
		var xs []float64
		for range 1 + r.IntN(8) {
			w := Weighted{X: float64(r.IntN(50)), W: float64(1 + r.IntN(5))}
			ws = append(ws, w)
			for range int(w.W) {
				xs = append(xs, w.X)
			}
		}
		for _, p := range []float64{0, 0.05, 0.5, 0.9, 0.95, 0.99, 1} {
			got, ok := WeightedPercentile(ws, p)
			want, _ := Percentile(xs, p)
			if !ok || !near(got, want) {
				t.Fatalf("p %v of %v: %v, %v; want %v", p, ws, got, ok, want)
			}
		}
	}
}

func TestWeightedPercentileOfFractions(t *testing.T) {
	// Thirty times a third of a token is ten tokens, in spite of rounding.
	var ws []Weighted
	for i := range 30 {
		ws = append(ws, Weighted{X: float64(1 + i/3), W: 1.0 / 3})
	}
	for _, c := range []struct{ p, want float64 }{{0, 1}, {0.5, 5.5}, {1, 10}} {
		if got, ok := WeightedPercentile(ws, c.p); !ok || !near(got, c.want) {
			t.Errorf("p %v = %v, %v; want %v", c.p, got, ok, c.want)
		}
	}
	if got, ok := WeightedPercentile([]Weighted{{5, 0.25}}, 0.5); !ok || got != 5 {
		t.Errorf("a quarter of a token: %v, %v; want 5", got, ok)
	}
	for _, ws := range [][]Weighted{nil, {{5, 0}}, {{5, -1}}, {{math.NaN(), 1}}, {{1, math.Inf(1)}}} {
		if got, ok := WeightedPercentile(ws, 0.5); ok {
			t.Errorf("%v has the median %v, want none", ws, got)
		}
	}
}

func TestTailFloors(t *testing.T) {
	upTo := func(n int) []float64 {
		xs := make([]float64, n)
		for i := range xs {
			xs[i] = float64(i)
		}
		return xs
	}
	for _, c := range []struct {
		n    int
		p    float64
		want float64
		why  string
	}{
		{129, 0.95, 0, "p95: too few (129 of 130)"},
		{130, 0.95, 122.55, ""},
		{661, 0.99, 0, "p99: too few (661 of 662)"},
		{662, 0.99, 654.39, ""},
		{0, 0.95, 0, "p95: too few (0 of 130)"},
		{3, 0.5, 1, ""},
		{0, 0.5, 0, "no values"},
	} {
		got, ok, why := Tail(upTo(c.n), c.p)
		if !near(got, c.want) || why != c.why || ok != (c.why == "") {
			t.Errorf("Tail of %d, p %v = %v, %v, %q; want %v, %q", c.n, c.p, got, ok, why, c.want, c.why)
		}
	}
	if _, ok, why := WeightedTail([]Weighted{{5, 129.5}}, 0.95); ok || why != "p95: too few (129 of 130)" {
		t.Errorf("129.5 tokens: %v, %q", ok, why)
	}
	if x, ok, _ := WeightedTail([]Weighted{{5, 130}}, 0.95); !ok || x != 5 {
		t.Errorf("130 tokens: %v, %v; want 5", x, ok)
	}
}

// The floors follow from the binomial distribution: at most 1 % chance of fewer than two samples beyond the percentile.
func TestFloorsFollowFromTheBinomialTail(t *testing.T) {
	below := func(n int, p float64) float64 {
		return math.Pow(p, float64(n)) + float64(n)*(1-p)*math.Pow(p, float64(n-1))
	}
	for _, c := range []struct {
		n int
		p float64
	}{{FloorP95, 0.95}, {FloorP99, 0.99}} {
		if below(c.n, c.p) > 0.01 || below(c.n-1, c.p) <= 0.01 {
			t.Errorf("%d is not the least n for p %v: %v, and %v for one less", c.n, c.p, below(c.n, c.p), below(c.n-1, c.p))
		}
	}
}

func TestSpread(t *testing.T) {
	xs := []float64{2, 4, 4, 4, 5, 5, 7, 9} // sum of squared deviations 32
	m, _ := Mean(xs)
	sd, _ := SD(xs)
	cv, _ := CV(xs)
	if !near(m, 5) || !near(sd, 2.138089935299395) || !near(cv, 0.427617987059879) {
		t.Errorf("mean %v, sd %v, cv %v", m, sd, cv)
	}
	// 10 and 12: mean 11, sd 1.41421, half width 12.7062 x 1.41421 / 1.41421.
	low, high, ok := CI95([]float64{10, 12})
	if !ok || !near(low, 11-12.7062) || !near(high, 11+12.7062) {
		t.Errorf("CI95 = %v, %v, %v", low, high, ok)
	}
	// 1 to 5: mean 3, sd sqrt(2.5), half width 2.7764 x 0.707107 = 1.963211.
	low, high, ok = CI95([]float64{1, 2, 3, 4, 5})
	if !ok || math.Abs(low-1.036789) > 1e-6 || math.Abs(high-4.963211) > 1e-6 {
		t.Errorf("CI95 = %v, %v, %v", low, high, ok)
	}
}

func TestSpreadDoesNotExist(t *testing.T) {
	if _, ok := Mean(nil); ok {
		t.Error("a mean of nothing")
	}
	if _, ok := SD([]float64{1}); ok {
		t.Error("a spread of one value")
	}
	if _, ok := CV([]float64{-1, 1}); ok {
		t.Error("a CV around 0")
	}
	if _, _, ok := CI95([]float64{1}); ok {
		t.Error("an interval of one value")
	}
	if _, ok := SD([]float64{math.MaxFloat64, -math.MaxFloat64}); ok {
		t.Error("a spread that overflows")
	}
}

func TestStudentTNeverTooNarrow(t *testing.T) {
	for _, c := range []struct {
		df   int
		want float64
	}{{1, 12.7062}, {4, 2.7764}, {20, 2.0860}, {24, 2.0860}, {25, 2.0595}, {1000, 1.9799}} {
		if got := studentT(c.df); got != c.want {
			t.Errorf("t of %d degrees = %v, want %v", c.df, got, c.want)
		}
	}
}
