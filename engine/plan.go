package engine

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/suite"
)

// PlanRows lists the rows of a suite in its order: every point of every chosen workload. A choice is a workload's id, or a
// row as explain takes it ("W3/context=32768" or "W3/32768"). An unknown one is an error that lists the valid ones; a
// workload without a quick shape is left out of a quick run.
func PlanRows(s *suite.Suite, choices []string, quick bool) ([]RowPlan, error) {
	all := allRows(s, quick)
	var rows []RowPlan
	used := map[string]bool{}
	for _, row := range all {
		chosen := len(choices) == 0
		for _, c := range choices {
			if c == row.ID || c == row.Key || c == shortKey(row.ID, row.Point) {
				chosen, used[c] = true, true
			}
		}
		if chosen {
			rows = append(rows, row)
		}
	}
	for _, c := range choices {
		if used[c] {
			continue
		}
		id, _, point := strings.Cut(c, "/")
		var ids, keys []string
		for i := range s.Workloads {
			ids = append(ids, s.Workloads[i].ID)
		}
		if !slices.Contains(ids, id) {
			return nil, fmt.Errorf("suite %s has no workload %q; it has %s", s.Name, c, strings.Join(ids, ", "))
		}
		for _, row := range all {
			if row.ID == id {
				keys = append(keys, row.Key)
			}
		}
		if point && len(keys) > 0 {
			return nil, fmt.Errorf("suite %s has no row %q; workload %s has %s", s.Name, c, id, strings.Join(keys, ", "))
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("suite %s has nothing to run with these options", s.Name)
	}
	return rows, nil
}

// shortKey names a row by the values of its point alone.
func shortKey(id string, point map[string]any) string {
	key := RowKey(id, point)
	id, rest, ok := strings.Cut(key, "/")
	if !ok {
		return key
	}
	parts := strings.Split(rest, ",")
	for i, p := range parts {
		_, parts[i], _ = strings.Cut(p, "=")
	}
	return id + "/" + strings.Join(parts, ",")
}

// allRows lists every row of a suite.
func allRows(s *suite.Suite, quick bool) []RowPlan {
	var rows []RowPlan
	for i := range s.Workloads {
		w := &s.Workloads[i]
		shape, ok := w.ShapeFor(quick)
		if !ok {
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
	return rows
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
