package sim

import (
	"slices"
	"time"
)

// Lateness sums up how well a server kept to its timetable.
type Lateness struct {
	Events        int           // text-bearing events looked at
	P50, P99, Max time.Duration // from when an event was due to when its write had ended
	WriteP99      time.Duration // a write's own length
}

// LatenessOf sums up what was served.
func LatenessOf(log []Served) Lateness {
	var late, wrote []time.Duration
	for _, s := range log {
		for _, e := range s.Events {
			if e.TextBearing() {
				late = append(late, e.End-e.Due)
				wrote = append(wrote, e.End-e.Begin)
			}
		}
	}
	if len(late) == 0 {
		return Lateness{}
	}
	slices.Sort(late)
	slices.Sort(wrote)
	at := func(d []time.Duration, q float64) time.Duration { return d[int(q*float64(len(d)-1))] }
	return Lateness{len(late), at(late, 0.5), at(late, 0.99), late[len(late)-1], at(wrote, 0.99)}
}
