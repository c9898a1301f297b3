package measure

import (
	"fmt"

	"github.com/llm-speed/llm-speed/internal/stream"
)

// Coldness says whether a prompt that should have been cold was (section 5).
type Coldness string

// The kinds of coldness, from worst to best, and the one where reuse is the point.
const (
	ColdBroken  Coldness = "broken"  // more was cached than the template's prefix
	ColdAssumed Coldness = "assumed" // the server does not tell
	ColdProved  Coldness = "proved"  // the server states no more cached tokens than the template's
	Reuse       Coldness = "reuse"   // no cold prompt was asked for
)

// Cold judges one request (section 5). Where the length of the template is not known, cached tokens up to one cache block
// prove a cold prompt; a few more may be the template and leave it assumed; more than 256, or a tenth of the prompt, break it.
func Cold(asked Asked, prompt, cached stream.Count) Coldness {
	switch limit, maybe := coldLimits(asked, prompt); {
	case !asked.Cold:
		return Reuse
	case !cached.Known():
		return ColdAssumed
	case cached.N <= limit:
		return ColdProved
	case cached.N <= maybe:
		return ColdAssumed
	default:
		return ColdBroken
	}
}

// coldLimits are the most cached tokens that prove a cold prompt, and the most that do not disprove it.
func coldLimits(asked Asked, prompt stream.Count) (proof, doubt int) {
	block := max(asked.CacheBlock, 1)
	if asked.Template >= 0 {
		blocks := asked.Template / block
		if asked.Template%block != 0 {
			blocks++
		}
		proof = blocks * block
		return proof, proof
	}
	if block > 1 {
		proof = block // a template has at least one token, which rounds up to one block
	}
	doubt = 256
	if prompt.Known() {
		doubt = min(doubt, prompt.N/10)
	}
	return proof, max(proof, doubt)
}

// WorstCold is the coldness of a row: the worst of its requests, Reuse only where all are.
func WorstCold(cs []Coldness) Coldness {
	worst := Reuse
	for _, c := range cs {
		switch {
		case c == ColdBroken:
			return ColdBroken
		case c == ColdAssumed, worst == Reuse:
			worst = c
		}
	}
	return worst
}

// cacheFlag is cold_unproved or cache_contaminated (section 6).
func (s *Sample) cacheFlag() (Flag, bool) {
	limit, _ := coldLimits(s.Asked, s.Prompt)
	switch {
	case s.Cold == ColdBroken:
		return Flag{CacheContaminated, fmt.Sprintf("%d prompt tokens came from a cache; a cold prompt has at most %d", s.Cached.N, limit)}, true
	case s.Cold == ColdAssumed && !s.Cached.Known():
		return Flag{ColdUnproved, "the server does not say how many prompt tokens were cached"}, true
	case s.Cold == ColdAssumed:
		return Flag{ColdUnproved, fmt.Sprintf("%d prompt tokens came from a cache, and the length of the chat template is not known", s.Cached.N)}, true
	}
	return Flag{}, false
}

// HitRate is H, the token-weighted share of prompt tokens that came from a cache (section 4); unknown where any request
// lacks a count.
func HitRate(samples []Sample) Value {
	var hit, total float64
	for i := range samples {
		s := &samples[i]
		switch {
		case !countable(s.Prompt):
			return Unknown("request %d has no count of prompt tokens", i+1)
		case !countable(s.Cached):
			return Unknown("the server does not say how many prompt tokens of request %d came from a cache", i+1)
		case s.Cached.N > s.Prompt.N:
			return Unknown("the server's counts contradict each other: %d of %d prompt tokens cached", s.Cached.N, s.Prompt.N)
		}
		hit += float64(s.Cached.N)
		total += float64(s.Prompt.N)
	}
	if total == 0 {
		return Unknown("no prompt tokens")
	}
	return Known(hit / total)
}

// HitRateMax is H_max (section 4): reusable[i] is how many tokens of sample i's prompt a perfect prefix cache holds,
// negative where not known.
func HitRateMax(samples []Sample, reusable []int) Value {
	if len(reusable) != len(samples) {
		return Unknown("what could be reused is not known for every request")
	}
	var hit, total float64
	for i := range samples {
		if reusable[i] < 0 || !countable(samples[i].Prompt) {
			return Unknown("what request %d could reuse is not known", i+1)
		}
		hit += float64(min(reusable[i], samples[i].Prompt.N))
		total += float64(samples[i].Prompt.N)
	}
	if total == 0 {
		return Unknown("no prompt tokens")
	}
	return Known(hit / total)
}

// Efficiency is H / H_max (section 4).
func Efficiency(h, hmax Value) Value {
	if h.Known && hmax.Known && hmax.X == 0 {
		return Unknown("nothing could be reused")
	}
	return ratio(h, hmax)
}
