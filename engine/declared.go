package engine

import (
	"slices"
	"sort"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// declared fills in the metrics that the suite's program recorded: each statistic of a pass, median over passes.
func (r *run) declared(row *record.Row, plan *RowPlan, passes []passResult) {
	for name, spec := range plan.workload.Metrics {
		m := record.Metric{Unit: spec.Unit, Better: spec.Better, Stats: map[string]float64{}}
		byStat := map[string][]float64{}
		for _, p := range passes {
			vs := p.metrics[name]
			m.Values = append(m.Values, vs)
			m.N += len(vs)
			for _, s := range spec.Stats {
				if x, ok := statistic(s, vs); ok {
					byStat[s] = append(byStat[s], x)
				}
			}
		}
		for s, xs := range byStat {
			if x, ok := stats.Median(xs); ok {
				m.Stats[s] = x
			}
		}
		if row.Metrics == nil {
			row.Metrics = map[string]record.Metric{}
		}
		row.Metrics[name] = m
	}
}

// statistic computes one of the statistics that a suite may declare.
func statistic(name string, vs []float64) (float64, bool) {
	if len(vs) == 0 {
		return 0, false
	}
	switch name {
	case "p50":
		return stats.Percentile(vs, 0.50)
	case "p95":
		return stats.Percentile(vs, 0.95)
	case "p99":
		return stats.Percentile(vs, 0.99)
	case "min":
		return slices.Min(vs), true
	case "max":
		return slices.Max(vs), true
	case "mean":
		return stats.Mean(vs)
	case "last":
		return vs[len(vs)-1], true
	case "sum":
		sum := 0.0
		for _, v := range vs {
			sum += v
		}
		return sum, true
	}
	return 0, false
}

// metricNames lists the metrics that a workload declares.
func metricNames(w *suite.Workload) []string {
	names := make([]string, 0, len(w.Metrics))
	for n := range w.Metrics {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}
