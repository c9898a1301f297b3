package hw

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// busyGPU says who else used a GPU: before anything was opened, between our own requests, and which programs came to it
// while streams ran. own are the stretches in which this run used the machine itself.
func (w *Sampler) busyGPU(gpus []GPUSample, base time.Duration, streams, own []Span) string {
	var signs []string
	add := func(text string) {
		if text != "" && !slices.Contains(signs, text) {
			signs = append(signs, text)
		}
	}
	for _, g := range gpus {
		if base > 0 && g.At <= base && g.UsePercent != nil && *g.UsePercent > busyBefore {
			add(fmt.Sprintf("%s GPU %d was %.0f %% in use before anything was opened", g.Vendor, g.Index, *g.UsePercent))
		}
	}
	for _, g := range indices(gpus) {
		mine := slices.DeleteFunc(slices.Clone(gpus), func(s GPUSample) bool { return s.Vendor != g.Vendor || s.Index != g.Index })
		add(between(mine, streams, own))
	}
	add(w.newcomers(streams))
	return strings.Join(signs, "; ")
}

// useWindow is how long a reading of a GPU's use looks back: NVIDIA's up to a second.
const useWindow = 1500 * time.Millisecond

// leastBusy is how many readings between requests have to agree.
const leastBusy = 2

// between looks at the readings of one GPU that fell between our requests, far enough from each; those near the streams of a
// row are its own business.
func between(mine []GPUSample, streams, own []Span) string {
	if len(own) == 0 || len(streams) == 0 {
		return ""
	}
	first, last := streams[0].From, streams[0].To
	for _, s := range streams {
		first, last = min(first, s.From), max(last, s.To)
	}
	const near = 10 * time.Second
	busy, all, most := 0, 0, 0.0
	for _, s := range mine {
		free := !slices.ContainsFunc(own, func(o Span) bool { return s.At >= o.From && s.At <= o.To+useWindow })
		if s.UsePercent == nil || !free || s.At < first-near || s.At > last+near || s.At < own[0].From {
			continue
		}
		if all++; *s.UsePercent > busyBefore {
			busy, most = busy+1, max(most, *s.UsePercent)
		}
	}
	if busy < leastBusy || busy*2 < all {
		return ""
	}
	return fmt.Sprintf("%s GPU %d was up to %.0f %% in use in %d of %d readings between our requests", mine[0].Vendor, mine[0].Index, most, busy, all)
}
