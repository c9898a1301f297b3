package ollama

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
)

// choose finds the model that a reference means: by its name, with or without ":latest". Where ref is empty it is a loaded
// one, else the first that generates text. The error suggests what was near.
func (a api) choose(ctx context.Context, ref string) (listed, shown, error) {
	models, err := a.tags(ctx)
	if err != nil {
		return listed{}, shown{}, err
	}
	if len(models) == 0 {
		return listed{}, shown{}, fmt.Errorf("%w: the server has no models; get one with: ollama pull NAME", drivers.ErrNoModel)
	}
	if ref == "" {
		return a.first(ctx, models)
	}
	offered := make([]pick.Offered, len(models))
	for i := range models {
		id := models[i].id()
		offered[i] = pick.Offered{ID: strings.TrimSuffix(id, ":latest"), Aliases: []string{id, strings.ToLower(id)}}
	}
	at := slices.IndexFunc(models, func(l listed) bool { return sameModel(l.id(), ref) })
	if at < 0 {
		if at, err = pick.Index(ref, offered); err != nil {
			return listed{}, shown{}, fmt.Errorf("%w (get others with: ollama pull NAME)", err)
		}
	}
	s, err := a.usable(ctx, models[at])
	return models[at], s, err
}

// first takes a loaded model, else the first one, that this machine runs and that generates text.
func (a api) first(ctx context.Context, models []listed) (listed, shown, error) {
	running, err := a.ps(ctx)
	if err != nil {
		return listed{}, shown{}, err
	}
	sorted := slices.Clone(models)
	slices.SortStableFunc(sorted, func(x, y listed) int {
		return rank(find(running, x.id()) != nil) - rank(find(running, y.id()) != nil)
	})
	var last error
	for _, m := range sorted[:min(len(sorted), mostShown)] {
		s, err := a.usable(ctx, m)
		if err == nil {
			return m, s, nil
		}
		if !errors.Is(err, drivers.ErrUnsupported) {
			return m, s, err
		}
		last = err
	}
	return listed{}, shown{}, fmt.Errorf("%w: of %d models none can be measured, the last because: %w", drivers.ErrNoModel, len(models), last)
}

func rank(first bool) int {
	if first {
		return 0
	}
	return 1
}

// usable asks for a model's description, and refuses what is no language model on this machine.
func (a api) usable(ctx context.Context, m listed) (shown, error) {
	const cloud = "%w: %s is a cloud model, which runs on another's machine; choose a local one with --model"
	if m.cloud() {
		return shown{}, fmt.Errorf(cloud, drivers.ErrUnsupported, m.id())
	}
	s, err := a.show(ctx, m.id())
	if err != nil {
		return s, err
	}
	if s.RemoteHost != "" || s.RemoteModel != "" {
		return s, fmt.Errorf(cloud, drivers.ErrUnsupported, m.id())
	}
	if can, told := s.can("completion"); told && !can {
		return s, fmt.Errorf("%w: %s generates no text (it can: %s); choose another with --model", drivers.ErrUnsupported, m.id(), strings.Join(s.Capabilities, ", "))
	}
	return s, nil
}
