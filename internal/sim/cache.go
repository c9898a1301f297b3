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
	most    int       // entries
	entries [][]int32 // most recently used last
	queried int64
	hit     int64
}

// match gives the number of tokens at the start of ids that are cached: whole blocks, and never all of them, since the
// last token must be evaluated to get the next one.
func (c *cache) match(ids []int32) int {
	best, at := 0, -1
	for i, e := range c.entries {
		if n := commonPrefix(e, ids); n > best {
			best, at = n, i
		}
	}
	if at >= 0 {
		c.touch(at)
	}
	best = min(best, len(ids)-1)
	best -= best % c.block
	c.queried += int64(len(ids))
	c.hit += int64(best)
	return best
}

func (c *cache) touch(i int) {
	e := c.entries[i]
	c.entries = append(append(c.entries[:i], c.entries[i+1:]...), e)
}

// store remembers a finished request. An entry that is a prefix of it says nothing more and goes.
func (c *cache) store(ids []int32) {
	kept := c.entries[:0]
	for _, e := range c.entries {
		if len(e) > len(ids) || commonPrefix(e, ids) < len(e) {
			kept = append(kept, e)
		}
	}
	if len(kept) >= c.most {
		kept = append(kept[:0], kept[len(kept)-c.most+1:]...)
	}
	c.entries = append(kept, ids)
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
