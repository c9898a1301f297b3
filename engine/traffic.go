package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/record"
)

// traffic watches an attached server for requests that are not ours: it looks before a batch is released and after its
// last stream has ended, and never while one runs.
type traffic struct {
	h      *passHost
	before string              // what was seen before the release; empty: nothing
	cache  *drivers.CacheStats // counters before the release; nil where there are none
}

// settle are the pauses between looks at a server that seems busy: one that has just ended our own stream may say so a
// little later.
var settle = [...]time.Duration{5 * time.Millisecond, 15 * time.Millisecond, 30 * time.Millisecond}

// watchTraffic looks at the server before a batch is released.
func (h *passHost) watchTraffic(ctx context.Context) *traffic {
	t := &traffic{h: h}
	if !h.s.info.Attached {
		return t
	}
	if what := h.busy(ctx); what != "" {
		t.before = what + " before ours was sent"
	}
	if h.s.caps.CacheStatser != nil {
		if c, err := h.s.caps.CacheStatser.CacheStats(ctx); err == nil {
			t.cache = &c
		}
	}
	return t
}

// seen looks again after the batch, and says whether somebody else used the server before, during or after it.
func (t *traffic) seen(ctx context.Context, ours []measured) *record.Flag {
	if !t.h.s.info.Attached {
		return nil
	}
	flag := func(what string) *record.Flag { return &record.Flag{Name: "other_traffic", Evidence: what} }
	if t.before != "" {
		return flag(t.before)
	}
	if what := t.foreignTokens(ctx, ours); what != "" {
		return flag(what)
	}
	if what := t.h.busy(ctx); what != "" {
		return flag(what + " when all of ours had ended")
	}
	return nil
}

// busy says what the server works on while nothing of ours runs; empty where it works on nothing or does not tell.
func (h *passHost) busy(ctx context.Context) string {
	if h.s.caps.Activity == nil {
		return ""
	}
	for try := 0; ; try++ {
		a, err := h.s.caps.Activity.Activity(ctx)
		if err != nil || a.Running <= 0 && a.Waiting <= 0 {
			return ""
		}
		if try == len(settle) {
			return fmt.Sprintf("the server was working on %d requests of somebody else, %d waiting,", max(a.Running, 0), max(a.Waiting, 0))
		}
		select {
		case <-time.After(settle[try]):
		case <-ctx.Done():
			return ""
		}
	}
}

// foreignTokens says by how much the server's prompt counter moved on further than our prompts explain. A server may
// count less than we sent (prompts that it looked up nowhere), never more. Where the length of one of ours is not known,
// nothing is said.
func (t *traffic) foreignTokens(ctx context.Context, ours []measured) string {
	if t.cache == nil {
		return ""
	}
	var sent int64
	for i := range ours {
		if !ours[i].Prompt.Known() {
			return ""
		}
		sent += int64(ours[i].Prompt.N)
	}
	now, err := t.h.s.caps.CacheStatser.CacheStats(ctx)
	if err != nil {
		return ""
	}
	if moved := now.QueriedTokens - t.cache.QueriedTokens; moved > sent {
		return fmt.Sprintf("the server took in %d prompt tokens while ours had %d", moved, sent)
	}
	return ""
}
