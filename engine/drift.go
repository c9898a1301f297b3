package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stats"
)

// What it takes to say that a row's first pass found the server cold: it is slower than the median of the later ones by
// more than the limit of `unstable`, and slower than the slowest of them by more than they lie apart.
const (
	driftLimit  = 0.05
	driftPasses = 3
)

// slower says how much slower the first of vs is than the later ones, as a share of their median; 0 where that may be
// chance. A figure that is a time is slower when it is greater.
func slower(vs []measure.Value, time bool) float64 {
	if len(vs) < driftPasses || slices.ContainsFunc(vs, func(v measure.Value) bool { return !v.Known || v.X <= 0 }) {
		return 0
	}
	cost := make([]float64, len(vs)) // what a token, or the time itself, costs
	for i, v := range vs {
		cost[i] = 1 / v.X
		if time {
			cost[i] = v.X
		}
	}
	later := cost[1:]
	median, ok := stats.Median(later)
	if !ok {
		return 0
	}
	most, least := slices.Max(later), slices.Min(later)
	if d := cost[0]/median - 1; d > driftLimit && cost[0]-most > most-least {
		return d
	}
	return 0
}

// warmupDrift raises `unstable` where a row's first pass was slower than all later ones: the coefficient of variation
// takes that for noise, or does not see it where the later passes are many.
func warmupDrift(row *record.Row, name string, vs []measure.Value, time bool) {
	d := slower(vs, time)
	if d == 0 {
		return
	}
	much := fmt.Sprintf("%.1f %% slower than", 100*d)
	if d >= 1 {
		much = fmt.Sprintf("%.1f times as slow as", 1+d)
	}
	text := fmt.Sprintf("warm-up drift: by %s the first pass was %s the median of the %d later ones (limit 5 %%), and further from them than they lie apart", name, much, len(vs)-1)
	for i := range row.Flags { // a figure that only varies says less
		if f := &row.Flags[i]; f.Name == measure.Unstable {
			if !strings.Contains(f.Evidence, "warm-up drift") {
				f.Evidence = text + "; " + f.Evidence
			}
			return
		}
	}
	row.Flags = append(row.Flags, record.Flag{Name: measure.Unstable, Evidence: text})
}
