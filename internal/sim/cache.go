package sim

// CacheStats are the prefix cache's cumulative counters, in prompt tokens, and what it holds now.
type CacheStats struct {
	QueriedTokens int64 `json:"queried_tokens"` // prompt tokens of requests that were looked up
	HitTokens     int64 `json:"hit_tokens"`     // of which were cached
	Entries       int   `json:"entries"`
	Block         int   `json:"block_tokens"`
}

// cache remembers the token ids of finished requests, the least recently used one going first.
type cache struct {
	block   int
	least   int     // a hit of fewer tokens is none
	most    int     // entries
	entries []entry // most recently used last
	queried int64
	hit     int64
}

// entry is a finished request. Requests of another salt don't share it.
type entry struct {
	salt string
	ids  []int32
}

// match gives the number of tokens at the start of ids that are cached: whole blocks, and never all of them, since the
// last token must be evaluated to get the next one.
func (c *cache) match(salt string, ids []int32) int {
	best, at := 0, -1
	for i, e := range c.entries {
		if n := commonPrefix(e.ids, ids); n > best && e.salt == salt {
			best, at = n, i
		}
	}
	if at >= 0 {
		c.touch(at)
	}
	best = min(best, len(ids)-1)
	best -= best % c.block
	if best < c.least {
		best = 0
	}
	c.queried += int64(len(ids))
	c.hit += int64(best)
	return best
}

func (c *cache) touch(i int) {
	e := c.entries[i]
	c.entries = append(append(c.entries[:i], c.entries[i+1:]...), e)
}

// store remembers a finished request. An entry that is a prefix of it says nothing more and goes.
func (c *cache) store(salt string, ids []int32) {
	kept := c.entries[:0]
	for _, e := range c.entries {
		if e.salt != salt || len(e.ids) > len(ids) || commonPrefix(e.ids, ids) < len(e.ids) {
			kept = append(kept, e)
		}
	}
	if len(kept) >= c.most {
		kept = append(kept[:0], kept[len(kept)-c.most+1:]...)
	}
	c.entries = append(kept, entry{salt, ids})
}

func commonPrefix(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
