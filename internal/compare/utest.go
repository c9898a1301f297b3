package compare

import (
	"math"
	"slices"
)

// exactUpTo is how many values, both samples together, the exact test is computed for.
const exactUpTo = 60

// mannWhitney is the two-sided p of the Mann–Whitney U test: how likely two samples of one population would differ as much
// in their ranks. It is exact, ties included, up to exactUpTo values, as twice the smaller tail of all ways to divide the
// values; above that it is the normal approximation with the corrections for ties and continuity. Neither sample may be
// empty.
func mannWhitney(a, b []float64) float64 {
	ranks, ties := doubledRanks(append(slices.Clone(a), b...))
	observed := 0
	for i := range a {
		observed += ranks[i]
	}
	if len(ranks) <= exactUpTo {
		return exact(ranks, len(a), observed)
	}
	n1, n2 := float64(len(a)), float64(len(b))
	n := n1 + n2
	variance := n1 * n2 / 12 * (n + 1 - ties/(n*(n-1)))
	if variance <= 0 {
		return 1 // all values are one
	}
	off := max(0, math.Abs(float64(observed)/2-n1*(n+1)/2)-0.5)
	return math.Erfc(off / math.Sqrt(variance) / math.Sqrt2)
}

// doubledRanks gives twice the rank of each value, so that the shared ranks of ties are whole, and the sum of t³-t over the
// ties.
func doubledRanks(values []float64) (ranks []int, ties float64) {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		switch {
		case values[i] < values[j]:
			return -1
		case values[i] > values[j]:
			return 1
		}
		return 0
	})
	ranks = make([]int, len(values))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && values[order[to]] == values[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			ranks[i] = from + 1 + to // twice the mean of from+1 … to
		}
		t := float64(to - from)
		ties += t*t*t - t
		from = to
	}
	return ranks, ties
}

// exact counts the ways to choose k of the ranks by their sum.
func exact(ranks []int, k, observed int) float64 {
	total := 0
	for _, r := range ranks {
		total += r
	}
	ways := make([][]float64, k+1) // by how many are chosen, then by sum
	for i := range ways {
		ways[i] = make([]float64, total+1)
	}
	ways[0][0] = 1
	for _, r := range ranks {
		for n := k; n > 0; n-- {
			for sum := total; sum >= r; sum-- {
				ways[n][sum] += ways[n-1][sum-r]
			}
		}
	}
	var all, low, high float64
	for sum, w := range ways[k] {
		all += w
		if sum <= observed {
			low += w
		}
		if sum >= observed {
			high += w
		}
	}
	return min(1, 2*min(low, high)/all)
}

// leastP is the smallest p that samples of these sizes can have: that of two which do not overlap.
func leastP(n1, n2 int) float64 {
	ways := 1.0
	for i := range n1 {
		ways = ways * float64(n2+i+1) / float64(i+1)
	}
	return min(1, 2/ways)
}
