package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/record"
)

// traffic watches a server for requests that are not ours, where it is attached, and for those of ours that it put back into
// its queue: it looks before a batch is released and after its last stream has ended, and never while one runs.
type traffic struct {
	h             *passHost
	before, after look
}

// look is what was seen of the server at one moment.
type look struct {
	busy    string              // what it worked on while nothing of ours ran; empty: nothing
	cache   *drivers.CacheStats // nil where there are no counters
	putBack *int64              // requests put back into its queue; nil where they are not counted
}

// settle are the pauses between looks at a server that seems busy: one that has just ended our own stream may say so a
// little later.
var settle = [...]time.Duration{5 * time.Millisecond, 15 * time.Millisecond, 30 * time.Millisecond}

// watchTraffic looks at the server before a batch is released.
func (h *passHost) watchTraffic(ctx context.Context) *traffic {
	return &traffic{h: h, before: h.look(ctx)}
}

// ended looks again when the batch's last stream has ended, before anything else of ours is asked of the server.
func (t *traffic) ended(ctx context.Context) { t.after = t.h.look(ctx) }

func (h *passHost) look(ctx context.Context) look {
	var l look
	if h.s.caps.Preempter != nil {
		if n, err := h.s.caps.Preempter.Preemptions(ctx); err == nil {
			l.putBack = &n
		}
	}
	if !h.s.info.Attached {
		return l // ours alone
	}
	if h.s.caps.CacheStatser != nil {
		if c, err := h.s.caps.CacheStatser.CacheStats(ctx); err == nil {
			l.cache = &c
		}
	}
	l.busy = h.busy(ctx)
	return l
}

// seen says what is odd about the batch.
func (t *traffic) seen(ours []measured) []record.Flag {
	var flags []record.Flag
	if was, is := t.before.putBack, t.after.putBack; was != nil && is != nil && *is > *was {
		flags = append(flags, record.Flag{Name: measure.ServerQueued,
			Evidence: fmt.Sprintf("the server put %d requests back into its queue (preemptions): what they had computed was done twice", *is-*was)})
	}
	if what := t.foreign(ours); what != "" {
		flags = append(flags, record.Flag{Name: "other_traffic", Evidence: what})
	}
	return flags
}

// foreign says how somebody else used an attached server before, during or after the batch; empty where nobody did.
func (t *traffic) foreign(ours []measured) string {
	if t.before.busy != "" {
		return t.before.busy + " before ours was sent"
	}
	if what := t.foreignTokens(ours); what != "" {
		return what
	}
	if t.after.busy != "" {
		return t.after.busy + " when all of ours had ended"
	}
	return ""
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
func (t *traffic) foreignTokens(ours []measured) string {
	if t.before.cache == nil || t.after.cache == nil {
		return ""
	}
	var sent int64
	for i := range ours {
		if !ours[i].Prompt.Known() {
			return ""
		}
		sent += int64(ours[i].Prompt.N)
	}
	if moved := t.after.cache.QueriedTokens - t.before.cache.QueriedTokens; moved > sent {
		return fmt.Sprintf("the server took in %d prompt tokens while ours had %d", moved, sent)
	}
	return ""
}
