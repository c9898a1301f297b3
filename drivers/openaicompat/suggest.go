package openaicompat

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// suggest names the ids closest to what was typed, or the first few where none is close.
func suggest(typed string, ids []string) string {
	const most = 5
	low := strings.ToLower(typed)
	type candidate struct {
		id       string
		distance int
	}
	var near []candidate
	for _, id := range ids {
		l := strings.ToLower(id)
		d := editDistance(low, l)
		if strings.Contains(l, low) || strings.Contains(low, l) {
			d = min(d, 1)
		}
		if d <= max(2, len(low)/3) {
			near = append(near, candidate{id, d})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	if len(near) > 0 {
		names := make([]string, 0, most)
		for _, c := range near[:min(len(near), most)] {
			names = append(names, c.id)
		}
		return "did you mean " + strings.Join(names, ", ") + "?"
	}
	if len(ids) > most {
		return fmt.Sprintf("it serves %s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
	}
	return "it serves " + strings.Join(ids, ", ")
}

// editDistance is the number of insertions, deletions and replacements of bytes that turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
