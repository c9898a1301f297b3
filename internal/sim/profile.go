package sim

import (
	"fmt"
	"strings"
	"time"
)

// Profile is the timetable of a simulated machine and model.
//
// A prompt of c tokens of which k are cached takes (c-k) / (PrefillTPS/(1+c/PrefillHalf)) of prefill, and its first token
// leaves First later. Token i (2, 3, ...) of a lone stream follows the one before it by (1+x/DecodeHalf)/DecodeTPS, where
// x = c+i-1 is the context that it is generated on. b streams that decode together each run at b^(BatchExponent-1) of
// that speed. Prefills go one after another, in the order of arrival; First is latency, not work, and may overlap
// the next prefill. Speed divides every duration.
type Profile struct {
	Name          string        // as in --profile
	Title         string        // for people
	PrefillTPS    float64       // prompt tok/s at context 0
	PrefillHalf   float64       // context at which that is halved, tokens
	DecodeTPS     float64       // tok/s of one stream at context 0
	DecodeHalf    float64       // context at which that is halved, tokens
	First         time.Duration // from the end of prefill to the first token, before Speed
	BatchExponent float64       // total rate of b streams = b^BatchExponent times one stream's
	Context       int           // tokens that one stream may use, prompt and output
	Slots         int           // streams at once; more wait
	Speed         float64       // everything is this many times quicker
}

// Profiles lists the timetables that there are, the default first.
func Profiles() []Profile {
	base := Profile{
		Name: "rtx4090-8b-q4", Title: "8B model, 4 bit, on an RTX 4090 (simulated)",
		PrefillTPS: 8421.1, PrefillHalf: 105000, DecodeTPS: 187.4, DecodeHalf: 140000,
		First: 18 * time.Millisecond, BatchExponent: 0.75, Context: 131072 + 1024, Slots: 16, Speed: 1,
	}
	fast := base
	fast.Name, fast.Title, fast.Speed = "fast", "the same, 20 times quicker, for tests (simulated)", 20
	return []Profile{base, fast}
}

// Lookup finds a profile by name; an empty name is the first one. The error lists the valid names.
func Lookup(name string) (Profile, error) {
	var names []string
	for _, p := range Profiles() {
		if p.Name == name || name == "" {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("unknown simulator profile %q; known: %s", name, strings.Join(names, ", "))
}

// Model is the id of the simulated model.
func (p Profile) Model() string { return "sim-" + p.Name }

// Prefill is the time spent on a prompt of which cached tokens are served from the cache.
func (p Profile) Prefill(prompt, cached int) time.Duration {
	rate := p.PrefillTPS * p.Speed / (1 + float64(prompt)/p.PrefillHalf)
	return seconds(float64(prompt-cached) / rate)
}

// FirstToken is the fixed time between the end of prefill and the first token.
func (p Profile) FirstToken() time.Duration { return time.Duration(float64(p.First) / p.Speed) }

// TTFT is the time from a request's arrival at an idle server to its first token.
func (p Profile) TTFT(prompt, cached int) time.Duration {
	return p.Prefill(prompt, cached) + p.FirstToken()
}

// work is the time, in seconds, between token i-1 and token i of a lone stream.
func (p Profile) work(prompt, i int) float64 {
	return (1 + float64(prompt+i-1)/p.DecodeHalf) / (p.DecodeTPS * p.Speed)
}

// Decode is the time from token `from` to token `to` (1 is the first) of a lone stream.
func (p Profile) Decode(prompt, from, to int) time.Duration {
	var sum float64
	for i := from + 1; i <= to; i++ {
		sum += p.work(prompt, i)
	}
	return seconds(sum)
}

func seconds(s float64) time.Duration { return time.Duration(s*1e9 + 0.5) }
