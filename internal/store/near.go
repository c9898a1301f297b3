package store

import (
	"cmp"
	"slices"
	"strings"
)

// near gives up to three ids that a mistyped one may mean, the likeliest first: those that few changes of letters lead to.
// An id that was cut short is compared with the beginnings of the others.
func near(ref string, ids []string) []string {
	const most = 3 // changes
	if len(ref) < 6 || len(ref) > 64 {
		return nil
	}
	type candidate struct {
		id      string
		changes int
	}
	var found []candidate
	for _, id := range ids {
		n := min(changes(ref, id), changes(ref, id[:min(len(id), len(ref))]))
		if n <= most {
			found = append(found, candidate{id, n})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.changes, b.changes), strings.Compare(b.id, a.id))
	})
	var out []string
	for _, c := range found[:min(len(found), most)] {
		out = append(out, c.id)
	}
	return out
}

// changes is how many letters have to be put in, taken out or replaced to make b of a.
func changes(a, b string) int {
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
