package store

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
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
		n := min(levenshtein.ComputeDistance(ref, id), levenshtein.ComputeDistance(ref, id[:min(len(id), len(ref))]))
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
