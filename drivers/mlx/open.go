package mlx

import (
	"context"
	"errors"
	"fmt"

	"github.com/llm-speed/llm-speed/drivers"
)

// open runs the model in a helper, or attaches to a server: the one at the URL, else the helper where it can run, else a
// server on the default port.
func open(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	how := option(c, optHelper)
	if how != "auto" && how != "always" && how != "never" {
		return nil, fmt.Errorf("option %s is %q; want auto, always or never", optHelper, how)
	}
	if c.URL != "" {
		return attach(ctx, c, c.URL)
	}
	if how == "never" {
		return attach(ctx, c, defaultURL)
	}
	l, err := find(ctx, c)
	if err == nil {
		return l.open(ctx, c, n)
	}
	if how == "always" || !errors.Is(err, errNoHelper) {
		return nil, err
	}
	s, serverErr := attach(ctx, c, defaultURL)
	if serverErr != nil {
		return nil, fmt.Errorf("%w; and no mlx_lm.server: %w", err, serverErr)
	}
	return s, nil
}
