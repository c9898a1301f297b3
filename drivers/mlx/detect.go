package mlx

import (
	"context"
	"errors"
	"sync"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/pyhelper"
)

// mostHeaders bounds the models whose weights are looked into.
const mostHeaders = 24

// detect lists a running mlx_lm.server, then the helper with the models that it could run. Where mlx_lm can't be imported
// there is nothing to list, but on Apple Silicon, where the reason is worth a line.
func detect(ctx context.Context, c drivers.Config) ([]drivers.Found, error) {
	var server, helper *drivers.Found
	var both sync.WaitGroup
	both.Go(func() { server = detectServer(ctx, c) })
	if c.URL == "" {
		both.Go(func() { helper = detectHelper(ctx, c) })
	}
	both.Wait()
	var found []drivers.Found
	for _, f := range []*drivers.Found{server, helper} {
		if f != nil {
			found = append(found, *f)
		}
	}
	return found, nil
}

// detectHelper looks what a helper could be started with; nil where nothing of MLX is there.
func detectHelper(ctx context.Context, c drivers.Config) *drivers.Found {
	if option(c, optHelper) == "never" {
		return nil
	}
	python, env, err := interpreter(ctx, c, pyhelper.LookAround)
	f := &drivers.Found{Backend: name, Binary: python, Version: env.Packages["mlx_lm"], Models: []drivers.Model{}, Usable: err == nil}
	if err != nil {
		_, has := env.Packages["mlx_lm"]
		chosen := option(c, optPython) != ""
		if errors.Is(err, errNoHelper) && !errors.Is(err, drivers.ErrTimeout) && !has && env.System != "Darwin" && !chosen {
			return nil
		}
		f.Note = err.Error()
		return f
	}
	for i, m := range pyhelper.Find(pyhelper.Places(c.Env), wanted) {
		if ctx.Err() != nil {
			break
		}
		f.Models = append(f.Models, m.Model(i < mostHeaders))
	}
	if len(f.Models) == 0 && c.Model == "" {
		f.Note, f.Usable = "no MLX model in Hugging Face's cache, LM Studio's folders or ~/models; give its folder with --model", false
	}
	return f
}
