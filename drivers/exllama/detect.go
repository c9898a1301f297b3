package exllama

import (
	"context"
	"errors"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/pyhelper"
)

// mostHeaders bounds the models whose weights are looked into.
const mostHeaders = 24

// detect lists the backend where it can be imported, with the models that it could run. Nothing is imported: whether a GPU is
// there shows at Open.
func (f flavor) detect(ctx context.Context, c drivers.Config) ([]drivers.Found, error) {
	found := f.installed(ctx, c)
	if found == nil {
		return nil, nil
	}
	return []drivers.Found{*found}, nil
}

// installed is the backend as a Python package; nil where it is not there, and nobody has said which Python to look in.
func (f flavor) installed(ctx context.Context, c drivers.Config) *drivers.Found {
	python, env, err := f.interpreter(ctx, c, pyhelper.LookAround)
	version, has := env.Packages[f.name]
	if err != nil && !has && c.Options[optPython] == "" && !errors.Is(err, drivers.ErrTimeout) {
		return nil
	}
	found := &drivers.Found{Backend: f.name, Binary: python, Version: version, Models: []drivers.Model{}, Usable: err == nil}
	if err != nil {
		found.Note = err.Error()
		return found
	}
	for i, m := range pyhelper.Find(pyhelper.Places(c.Env), f.wanted) {
		if ctx.Err() != nil {
			break
		}
		found.Models = append(found.Models, m.Model(i < mostHeaders))
	}
	if len(found.Models) == 0 && c.Model == "" {
		found.Note, found.Usable = "no "+f.quant+" model in Hugging Face's cache or ~/models; give its folder with --model", false
	}
	return found
}
