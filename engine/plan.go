package engine

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/suite"
)

// PlanRows lists the rows of a suite in its order: every point of every chosen workload. An unknown id is an error that
// lists the valid ones; a workload without a quick shape is left out of a quick run.
func PlanRows(s *suite.Suite, ids []string, quick bool) ([]RowPlan, error) {
	var known []string
	for _, w := range s.Workloads {
		known = append(known, w.ID)
	}
	for _, id := range ids {
		if !slices.Contains(known, id) {
			return nil, fmt.Errorf("suite %s has no workload %q; it has %s", s.Name, id, strings.Join(known, ", "))
		}
	}
	var rows []RowPlan
	for i := range s.Workloads {
		w := &s.Workloads[i]
		shape, ok := w.ShapeFor(quick)
		if !ok || (len(ids) > 0 && !slices.Contains(ids, w.ID)) {
			continue
		}
		points := shape.Points
		if len(points) == 0 {
			points = []map[string]any{nil}
		}
		for n, p := range points {
			row := RowPlan{Key: RowKey(w.ID, p), ID: w.ID, Name: w.Name, Point: p, Passes: max(shape.Passes, 1), workload: w, params: shape.Params}
			switch {
			case len(shape.Needs) == 1:
				row.Need = shape.Needs[0]
			case n < len(shape.Needs):
				row.Need = shape.Needs[n]
			}
			row.Need.Parallel = max(row.Need.Parallel, 1)
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("suite %s has nothing to run with these options", s.Name)
	}
	return rows, nil
}

// RowKey names a row: the workload's id, with the point's keys in order where it has any ("W3/context=32768").
func RowKey(id string, point map[string]any) string {
	if len(point) == 0 {
		return id
	}
	keys := make([]string, 0, len(point))
	for k := range point {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for i, k := range keys {
		keys[i] = k + "=" + pointValue(point[k])
	}
	return id + "/" + strings.Join(keys, ",")
}

// pointValue prints a point's value as people write it: 32768, not 32768.0 or 3.2768e+04.
func pointValue(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// samePoint reports whether two points are equal, whatever the number types that they came as.
func samePoint(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		w, ok := b[k]
		if !ok || pointValue(v) != pointValue(w) {
			return false
		}
	}
	return true
}
