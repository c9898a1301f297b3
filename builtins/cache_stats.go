package builtins

import "go.starlark.net/starlark"

func cacheStatsSpec() Spec {
	return Spec{
		Name: "cache_stats", Live: true, call: callCacheStats,
		Doc: "The backend's prefix cache counters since the pass began, or None where it exposes none.",
		Gives: []Attr{
			{"queried_tokens", "int", "prompt tokens looked up"},
			{"hit_tokens", "int", "of which were cached"},
		},
	}
}

func callCacheStats(c *call) (starlark.Value, error) {
	if err := c.unpack(); err != nil {
		return nil, err
	}
	stats, err := c.host.CacheStats(c.ctx)
	if err != nil {
		return nil, c.hostError(err)
	}
	if stats == nil {
		return starlark.None, nil
	}
	o := newObject("cache_stats")
	o.set("queried_tokens", starlark.MakeInt64(stats.QueriedTokens))
	o.set("hit_tokens", starlark.MakeInt64(stats.HitTokens))
	return o, nil
}
