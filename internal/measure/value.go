// Package measure turns a stream that was read and understood into the figures of measurement.md.
//
// It is pure: the same recording, transcript and request always give the same figures, to the bit. It looks at no clock,
// performs no I/O, knows no backend, and never guesses: a figure that the definitions do not support is unknown and says
// why. Every known figure is finite and not negative. Times are milliseconds, rates tokens a second.
package measure

import (
	"fmt"
	"math"
	"time"

	"github.com/llm-speed/llm-speed/internal/stats"
)

// Value is a figure, or the reason why there is none. X has a meaning only where Known is set.
type Value struct {
	X     float64
	Known bool
	Why   string // why it is unknown; empty where it is known
}

// Known is the value x; unknown where x is negative or not finite, which no figure of this package may be.
func Known(x float64) Value {
	if math.IsNaN(x) || math.IsInf(x, 0) || x < 0 {
		return Unknown("the figures that it is made of contradict each other (%g)", x)
	}
	return Value{X: x, Known: true}
}

// Unknown is no value, with its reason.
func Unknown(why string, args ...any) Value { return Value{Why: fmt.Sprintf(why, args...)} }

// Ptr is X, or nil where the value is unknown.
func (v Value) Ptr() *float64 {
	if !v.Known {
		return nil
	}
	x := v.X
	return &x
}

// IntPtr is X rounded to a whole number, or nil where the value is unknown.
func (v Value) IntPtr() *int {
	if !v.Known {
		return nil
	}
	x := int(math.Round(v.X))
	return &x
}

// known lists what is known of vs, and the first reason of what is not.
func known(vs []Value) (xs []float64, why string) {
	for _, v := range vs {
		if v.Known {
			xs = append(xs, v.X)
		} else if why == "" {
			why = v.Why
		}
	}
	if len(vs) == 0 {
		why = "no samples"
	}
	return xs, why
}

// ratio is a over b, unknown where either is or b is 0.
func ratio(a, b Value) Value {
	switch {
	case !a.Known:
		return a
	case !b.Known:
		return b
	case b.X == 0:
		return Unknown("divided by nothing")
	}
	return Known(a.X / b.X)
}

// Ratio compares a row's figure with its base row's: W3 decay and W4 scaling (section 4).
func Ratio(of, base Value) Value { return ratio(of, base) }

// Median of the known values, where they are not the smaller part: the few that are known may be those that something has
// disturbed (an estimate of the prefill rate is unknown where nothing was in the way, and absurd where something was).
func Median(vs []Value) Value {
	xs, why := known(vs)
	if len(xs) > 0 && 2*len(xs) < len(vs) {
		return Unknown("known for %d of %d only: %s", len(xs), len(vs), why)
	}
	m, ok := stats.Median(xs)
	if !ok {
		return Value{Why: why}
	}
	return Known(m)
}

// Max of the known values.
func Max(vs []Value) Value {
	xs, why := known(vs)
	if len(xs) == 0 {
		return Value{Why: why}
	}
	m := xs[0]
	for _, x := range xs {
		m = max(m, x)
	}
	return Known(m)
}

// P95 with the floor of 130 samples (section 4).
func P95(vs []Value) Value {
	xs, why := known(vs)
	if len(xs) == 0 {
		return Value{Why: why}
	}
	x, ok, why := stats.Tail(xs, 0.95)
	if !ok {
		return Value{Why: why}
	}
	return Known(x)
}

// TurnP95 is W5's p95 over turns, which is exempt from the floor and must be shown with its n (section 4).
func TurnP95(vs []Value) (p95 Value, n int) {
	xs, why := known(vs)
	x, ok := stats.Percentile(xs, 0.95)
	if !ok {
		return Value{Why: why}, 0
	}
	return Known(x), len(xs)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// per is a rate a second.
func per(tokens float64, d time.Duration) Value {
	if d <= 0 {
		return Unknown("no time passed")
	}
	return Known(tokens / (float64(d) / float64(time.Second)))
}
