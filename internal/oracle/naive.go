package oracle

import "time"

// Misread is what a client reports that falls into a trap: it shows that a case's wrong number is what one really gets.
func (c *Case) Misread(client string) (x float64, ok bool) {
	first, last := time.Duration(-1), time.Duration(0)
	events := 0
	for _, w := range c.Writes {
		for _, m := range w.Marks {
			if m.Kind == Silent {
				continue
			}
			events++
			if first < 0 {
				first = w.At
			}
			last = w.At
		}
	}
	n := float64(c.Want.Output.N)
	switch client {
	case CountsEvents:
		return float64(events-1) / (c.Writes[len(c.Writes)-1].At - first).Seconds(), true
	case AllTokens:
		return n / (last - first).Seconds(), true
	case LessOne:
		return (n - 1) / (last - first).Seconds(), true
	case FirstEvent:
		return c.Writes[0].At.Seconds() * 1000, true
	case WholePrompt:
		return float64(c.Want.Prompt.N) / (float64(c.Want.Prompt.N-c.Want.Cached.N) / c.Want.ServerPrefill.X), true
	}
	return 0, false
}

// The naive clients.
const (
	CountsEvents = "takes an event for a token, and the end mark for the last one"
	AllTokens    = "divides all counted tokens by the time from the first to the last"
	LessOne      = "divides all counted tokens but one by the time from the first to the last"
	FirstEvent   = "takes the first event for the first token"
	WholePrompt  = "divides the whole prompt by the time that its uncached part took"
)
