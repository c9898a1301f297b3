package compare

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// The values without ties are 2/C(n1+n2, n1) and sums of the published tables; the sixth is the example of R's wilcox.test
// (W = 35, p = 0.1272 one-sided).
func TestMannWhitneyKnownValues(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		want float64
	}{
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 0.1},
		{[]float64{1, 2, 3, 4}, []float64{5, 6, 7, 8}, 2.0 / 70},
		{[]float64{9, 8, 7, 6, 5}, []float64{1, 2, 3, 4, 0}, 2.0 / 252},
		{[]float64{1, 2, 3, 5}, []float64{4, 6, 7, 8}, 4.0 / 70}, // U = 1
		{[]float64{1, 3}, []float64{2, 4}, 4.0 / 6},              // U = 1 of 4: two of six ways at or below
		{[]float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}, []float64{1.15, 0.88, 0.90, 0.74, 1.21}, 764.0 / 3003},
		{[]float64{1}, []float64{2}, 1},
		{[]float64{3, 3, 3, 3}, []float64{3, 3, 3, 3}, 1},
		{[]float64{1, 1, 1, 1}, []float64{2, 2, 2, 2}, 2.0 / 70},
	} {
		for _, p := range []float64{mannWhitney(c.a, c.b), mannWhitney(c.b, c.a)} {
			if math.Abs(p-c.want) > 1e-9 {
				t.Errorf("%v and %v: p = %.9f, want %.9f", c.a, c.b, p, c.want)
			}
		}
	}
}

// All ways to divide the values, counted one by one, ties and all.
func TestExactCountsAllWays(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		n1, n2 := 1+r.IntN(6), 1+r.IntN(6)
		values := make([]float64, n1+n2)
		for i := range values {
			values[i] = float64(r.IntN(5))
		}
		ranks, _ := doubledRanks(values)
		observed := 0
		for _, x := range ranks[:n1] {
			observed += x
		}
		var all, low, high float64
		for mask := range 1 << len(values) {
			if bits.OnesCount(uint(mask)) != n1 {
				continue
			}
			sum := 0
			for i, x := range ranks {
				if mask>>i&1 == 1 {
					sum += x
				}
			}
			all++
			if sum <= observed {
				low++
			}
			if sum >= observed {
				high++
			}
		}
		want := min(1, 2*min(low, high)/all)
		if got := mannWhitney(values[:n1], values[n1:]); math.Abs(got-want) > 1e-12 {
			t.Fatalf("%v and %v: p = %v, counted %v", values[:n1], values[n1:], got, want)
		}
	}
}

// Where the approximation takes over it is what the exact test says, nearly.
func TestApproximationMeetsTheExactTest(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		const n = exactUpTo / 2
		a, b := make([]float64, n+1), make([]float64, n)
		for i := range a {
			a[i] = math.Floor(r.NormFloat64() * 20)
		}
		for i := range b {
			b[i] = math.Floor(r.NormFloat64()*20 + 8)
		}
		ranks, _ := doubledRanks(append(append([]float64{}, a...), b...))
		observed := 0
		for _, x := range ranks[:len(a)] {
			observed += x
		}
		near, want := mannWhitney(a, b), exact(ranks, len(a), observed)
		if math.Abs(near-want) > 0.004 {
			t.Errorf("approximation %v, exact %v", near, want)
		}
	}
	same := make([]float64, 40)
	if p := mannWhitney(same, same); p != 1 {
		t.Errorf("eighty equal values: p = %v", p)
	}
}

func TestLeastP(t *testing.T) {
	for _, c := range []struct {
		a, b int
		want float64
	}{{1, 1, 1}, {3, 3, 0.1}, {4, 4, 2.0 / 70}, {3, 5, 2.0 / 56}, {1, 39, 0.05}} {
		if got := leastP(c.a, c.b); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%d and %d: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}
