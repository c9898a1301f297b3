// Package stats holds the few statistics that a result needs: percentiles, location, spread and an interval.
//
// Every function says with its second value whether the figure exists; none gives NaN or infinity, and none stands a 0
// in for the unknown. It changes no slice that it is given, knows nothing of units, and imports nothing of this module.
package stats

import (
	"fmt"
	"math"
	"slices"
)

// Sample-size floors of the tail percentiles: the smallest n at which, by the binomial distribution and with 99 %
// confidence, at least two samples lie beyond the percentile. With fewer the figure is the largest sample, or nearly,
// under another name: 0.95^130 + 130 x 0.05 x 0.95^129 = 0.00996, and 0.01042 for n = 129.
const (
	FloorP95 = 130
	FloorP99 = 662
)

// Percentile is the Hyndman–Fan type 7 percentile (numpy's default) of xs; p lies in [0, 1]. It does not exist for an
// empty slice, for values that are not finite, or for a p outside its range.
func Percentile(xs []float64, p float64) (float64, bool) {
	if len(xs) == 0 || !finite(xs) || !(p >= 0 && p <= 1) {
		return 0, false
	}
	s := slices.Sorted(slices.Values(xs))
	h := float64(len(s)-1) * p
	lo := int(h)
	hi := min(lo+1, len(s)-1)
	return between(s[lo], s[hi], h-float64(lo)), true
}

// Median is Percentile(xs, 0.5).
func Median(xs []float64) (float64, bool) { return Percentile(xs, 0.5) }

// Tail is Percentile with the floor of p: a p of 0.95 or more exists from FloorP95 values up, one of 0.99 or more from
// FloorP99. Where it does not exist, why says so in words.
func Tail(xs []float64, p float64) (x float64, ok bool, why string) {
	if why := tooFew(float64(len(xs)), p); why != "" {
		return 0, false, why
	}
	x, ok = Percentile(xs, p)
	if !ok {
		why = "no values"
	}
	return x, ok, why
}

// Weighted is W copies of X. W may be fractional.
type Weighted struct{ X, W float64 }

// Total is the sum of the weights: how many values ws stands for.
func Total(ws []Weighted) float64 {
	var t float64
	for _, w := range ws {
		if w.W > 0 {
			t += w.W
		}
	}
	return t
}

// WeightedPercentile is the type 7 percentile of the values that ws stands for: with whole weights exactly
// Percentile of the list with every copy written out. Entries without weight are left out.
func WeightedPercentile(ws []Weighted, p float64) (float64, bool) {
	var s []Weighted
	for _, w := range ws {
		if !finite([]float64{w.X, w.W}) {
			return 0, false
		}
		if w.W > 0 {
			s = append(s, w)
		}
	}
	total := Total(s)
	if len(s) == 0 || !(p >= 0 && p <= 1) || math.IsInf(total, 0) {
		return 0, false
	}
	slices.SortFunc(s, func(a, b Weighted) int {
		switch {
		case a.X < b.X:
			return -1
		case a.X > b.X:
			return 1
		}
		return 0
	})
	h := max(0, (total-1)*p)
	lo := math.Floor(h + 1e-9*total)
	frac := max(0, h-lo)
	return between(at(s, lo, total), at(s, lo+1, total), frac), true
}

// at is the value with index k in the written-out list; one past the end is the last.
func at(s []Weighted, k, total float64) float64 {
	var sum float64
	for _, w := range s {
		sum += w.W
		// Sums of fractional weights carry rounding errors; a billionth of the list is no copy.
		if sum > k+1e-9*total {
			return w.X
		}
	}
	return s[len(s)-1].X
}

// WeightedTail is WeightedPercentile with the floors of Tail; the number of samples is the total weight.
func WeightedTail(ws []Weighted, p float64) (x float64, ok bool, why string) {
	if why := tooFew(Total(ws), p); why != "" {
		return 0, false, why
	}
	x, ok = WeightedPercentile(ws, p)
	if !ok {
		why = "no values"
	}
	return x, ok, why
}

// tooFew says why n samples carry no percentile p; empty where they do.
func tooFew(n, p float64) string {
	floor := 0.0
	switch {
	case p >= 0.99:
		floor = FloorP99
	case p >= 0.95:
		floor = FloorP95
	}
	// A total of fractional weights may miss a whole number by rounding.
	if n+1e-6 >= floor {
		return ""
	}
	return fmt.Sprintf("p%.4g: too few (%.0f of %.0f)", p*100, math.Floor(n+1e-6), floor)
}

// Mean is the arithmetic mean.
func Mean(xs []float64) (float64, bool) {
	if len(xs) == 0 || !finite(xs) {
		return 0, false
	}
	var sum float64
	for _, x := range xs {
		sum += x / float64(len(xs)) // divided first, so that large values do not overflow
	}
	return sum, true
}

// SD is the standard deviation of a sample (divisor n-1); it exists from two values up.
func SD(xs []float64) (float64, bool) {
	if len(xs) < 2 {
		return 0, false
	}
	m, ok := Mean(xs)
	if !ok {
		return 0, false
	}
	var sum float64
	for _, x := range xs {
		sum += (x - m) * (x - m)
	}
	sd := math.Sqrt(sum / float64(len(xs)-1))
	return sd, finite([]float64{sd})
}

// CV is the coefficient of variation, SD/Mean, as a fraction. It exists from two values up, for a mean above 0.
func CV(xs []float64) (float64, bool) {
	m, _ := Mean(xs)
	sd, ok := SD(xs)
	if !ok || m <= 0 {
		return 0, false
	}
	cv := sd / m
	return cv, finite([]float64{cv})
}

// CI95 is the 95 % interval of the mean by Student's t with n-1 degrees of freedom, from two values up. The mean and not
// the median: with the handful of passes that a run has, no distribution-free interval of a median reaches 95 % (five
// values give at most 93.75 %).
func CI95(xs []float64) (low, high float64, ok bool) {
	m, _ := Mean(xs)
	sd, ok := SD(xs)
	if !ok {
		return 0, 0, false
	}
	half := studentT(len(xs)-1) * sd / math.Sqrt(float64(len(xs)))
	if !finite([]float64{m - half, m + half}) {
		return 0, 0, false
	}
	return m - half, m + half, true
}

// studentT is the 0.975 quantile of Student's t, which makes a two-sided 95 % interval. Between the degrees of freedom
// listed the next smaller one is taken, which makes the interval a little wider and never narrower.
func studentT(df int) float64 {
	quantiles := []struct {
		df int
		t  float64
	}{
		{1, 12.7062}, {2, 4.3027}, {3, 3.1824}, {4, 2.7764}, {5, 2.5706}, {6, 2.4469}, {7, 2.3646}, {8, 2.3060},
		{9, 2.2622}, {10, 2.2281}, {11, 2.2010}, {12, 2.1788}, {13, 2.1604}, {14, 2.1448}, {15, 2.1314}, {16, 2.1199},
		{17, 2.1098}, {18, 2.1009}, {19, 2.0930}, {20, 2.0860}, {25, 2.0595}, {30, 2.0423}, {40, 2.0211}, {60, 2.0003},
		{120, 1.9799},
	}
	t := quantiles[0].t
	for _, q := range quantiles {
		if q.df <= df {
			t = q.t
		}
	}
	return t
}

func finite(xs []float64) bool {
	return !slices.ContainsFunc(xs, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
}

// between goes the part f of the way from lo to hi; written so that it can't overflow and is exact at both ends.
func between(lo, hi, f float64) float64 {
	if f <= 0 || lo == hi {
		return lo
	}
	return lo*(1-f) + hi*f
}
