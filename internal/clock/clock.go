// Package clock is the one monotonic clock of a run.
//
// Every stamp of the program is a time.Duration since the Clock's origin, so that stamps of different streams can be
// subtracted and a wall clock that steps changes nothing. It never formats, sleeps or schedules.
package clock

import "time"

// Clock counts nanoseconds since its origin on the process's monotonic clock. The zero value is not usable; see New.
type Clock struct{ origin time.Time }

// New starts a clock whose origin is now.
func New() *Clock { return &Clock{origin: time.Now()} }

// Now is the time since the origin. It never goes back.
func (c *Clock) Now() time.Duration { return time.Since(c.origin) }

// Wall is the calendar time of a stamp, as the wall clock stood at the origin; for display and file names only.
func (c *Clock) Wall(at time.Duration) time.Time { return c.origin.Add(at) }
