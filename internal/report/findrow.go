package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
)

// UnknownError says that a row or a metric is not in the result, and what is.
type UnknownError struct {
	What, Name string
	Known      []string
}

// Error lists the valid names.
func (e *UnknownError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("unknown %s %q; this run has none", e.What, e.Name)
	}
	return fmt.Sprintf("unknown %s %q; this run has: %s", e.What, e.Name, strings.Join(e.Known, ", "))
}

// FindRow finds a row by its key (ID/key=value), by its id where that is the only such row, or by id and value (ID/value).
// The error is an *UnknownError.
func FindRow(r *record.Result, name string) (record.Row, error) {
	var found []record.Row
	var keys []string
	for _, row := range r.Rows {
		keys = append(keys, row.Key)
		if row.Key == name {
			return row, nil
		}
		if row.ID == name || shortKey(row, bareValue) == name || shortKey(row, pointValue) == name {
			found = append(found, row)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return record.Row{}, &UnknownError{"row", name, keys}
}

// bareValue shows a point's value as it stands in a key.
func bareValue(v any) string {
	if n, ok := v.(float64); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// shortKey is a row's key without the names of its point: ID/32768.
func shortKey(row record.Row, show func(any) string) string {
	parts := []string{row.ID}
	for _, key := range slices.Sorted(maps.Keys(row.Point)) {
		parts = append(parts, show(row.Point[key]))
	}
	return strings.Join(parts, "/")
}
