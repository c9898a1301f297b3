// Package pick chooses a model among those that a server lists, and says what was near where the one asked for is not there.
//
// It never guesses: a name that is only close to another is an error that suggests that one.
package pick

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
)

// Offered is a model as a server lists it.
type Offered struct {
	ID      string
	Aliases []string // other names that mean it
}

// Index chooses: the place of the model that ref names, by its id, an alias, or the last part of an id that is a path; the
// first that generates text where ref is empty. Errors: drivers.ErrNoModel where nothing is offered that could be meant by
// an empty ref; drivers.ErrModelNotFound, with close names, where ref names none.
func Index(ref string, offered []Offered) (int, error) {
	if len(offered) == 0 {
		return -1, fmt.Errorf("%w: the server lists no models", drivers.ErrNoModel)
	}
	if ref == "" {
		if i := slices.IndexFunc(offered, func(o Offered) bool { return GeneratesText(o.ID) }); i >= 0 {
			return i, nil
		}
		return -1, fmt.Errorf("%w: the server lists no model that generates text; name one with --model", drivers.ErrNoModel)
	}
	for _, means := range []func(Offered) bool{
		func(o Offered) bool { return o.ID == ref },
		func(o Offered) bool { return paths.Shown(o.ID) == ref || slices.Contains(o.Aliases, ref) },
	} {
		if i := slices.IndexFunc(offered, means); i >= 0 {
			return i, nil
		}
	}
	ids := make([]string, len(offered))
	for i, o := range offered {
		ids[i] = paths.Shown(o.ID)
	}
	return -1, fmt.Errorf("%w: %q is not served; %s", drivers.ErrModelNotFound, ref, Suggest(ref, ids))
}

// GeneratesText judges by a model's name whether it is a language model: servers list their embedding, ranking and speech
// models beside the others.
func GeneratesText(id string) bool {
	low := strings.ToLower(id)
	return !slices.ContainsFunc([]string{"embed", "rerank", "whisper", "tts"}, func(w string) bool { return strings.Contains(low, w) })
}

// Suggest names the ids closest to what was typed, or the first few where none is close.
func Suggest(typed string, ids []string) string {
	const most = 5
	low := bounded(strings.ToLower(typed))
	type candidate struct {
		id       string
		distance int
	}
	var near []candidate
	for _, id := range ids {
		l := bounded(strings.ToLower(id))
		d := levenshtein.ComputeDistance(low, l)
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

// bounded is what of a name is compared: the work grows with the product of two lengths.
func bounded(name string) string { return name[:min(len(name), 512)] }
