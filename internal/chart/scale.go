package chart

import (
	"math"
	"strconv"
	"strings"
)

// scale maps values to places.
type scale struct {
	low, high float64 // values at the two ends; low < high
	from, to  float64 // places of them
	log       bool
}

func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		v, low, high = math.Log10(max(v, math.SmallestNonzeroFloat64)), math.Log10(low), math.Log10(high)
	}
	// Halved first, so that the difference of huge values does not overflow.
	part := (v/2 - low/2) / (high/2 - low/2)
	return s.from + min(1, max(0, part))*(s.to-s.from)
}

// extent is the least and the greatest of what an axis has to show; ok is false where there is nothing.
type extent struct {
	low, high float64
	ok        bool
}

func (e *extent) add(v float64) {
	if !finite(v) {
		return
	}
	if !e.ok {
		e.low, e.high, e.ok = v, v, true
		return
	}
	e.low, e.high = min(e.low, v), max(e.high, v)
}

// largest bounds what is drawn: beyond it sums of an axis are not finite any more.
const largest = 1e300

// fit chooses where an axis begins and ends.
func fit(a Axis, e extent, places int) scale {
	s := scale{low: e.low, high: e.high, log: a.Log && e.ok && (e.low > 0 || a.From != nil && *a.From > 0 && finite(*a.From))}
	if !e.ok {
		s.low, s.high = 0, 1
	}
	s.low, s.high = max(-largest, s.low), min(largest, s.high)
	if a.Zero && !s.log {
		s.low, s.high = min(0, s.low), max(0, s.high)
	}
	if a.From != nil && finite(*a.From) && (!s.log || *a.From > 0) {
		s.low = *a.From
	}
	if a.To != nil && finite(*a.To) {
		s.high = *a.To
	}
	if !(s.low < s.high) {
		pad := math.Abs(s.low) / 2
		if pad == 0 {
			pad = 1
		}
		switch {
		case s.log:
			s.low, s.high = s.low/2, s.low*2
		case a.Zero && s.low >= 0:
			s.high = s.low + pad
		default:
			s.low, s.high = s.low-pad, s.low+pad
		}
	}
	if s.log || len(a.Ticks) > 0 {
		return s
	}
	// The ends of a linear axis are round numbers, unless they are given.
	step := nice((s.high - s.low) / float64(places))
	if a.From == nil {
		if low := math.Floor(s.low/step) * step; finite(low) {
			s.low = low
		}
	}
	if a.To == nil {
		if high := math.Ceil(s.high/step-1e-9) * step; finite(high) {
			s.high = high
		}
	}
	return s
}

// nice is the smallest of 1, 2, 2.5 and 5 times a power of ten that is not below v.
func nice(v float64) float64 {
	if !(v > 0) || !finite(v) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	if power == 0 || !finite(power) {
		return v
	}
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*power >= v*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// ticks are the places of an axis that get a label, at most about places of them.
func ticks(a Axis, s scale, places int) []Tick {
	var out []Tick
	if len(a.Ticks) > 0 {
		for _, t := range a.Ticks {
			if t.At >= s.low && t.At <= s.high {
				out = append(out, t)
			}
		}
		return out
	}
	if s.log {
		return logTicks(s, places)
	}
	step := nice((s.high - s.low) / float64(places))
	first := math.Ceil(s.low/step - 1e-9)
	for i := range places + 2 {
		v := (first + float64(i)) * step
		if !finite(v) || v > s.high+step*1e-6 {
			break
		}
		if math.Abs(v) < step*1e-6 {
			v = 0
		}
		out = append(out, Tick{v, label(v, step)})
	}
	return out
}

func logTicks(s scale, places int) []Tick {
	var out []Tick
	decades := math.Log10(s.high) - math.Log10(s.low)
	steps := []float64{1, 2, 5}
	switch {
	case decades*2 > float64(places):
		steps = []float64{1}
	case decades*3 > float64(places):
		steps = []float64{1, 3}
	}
	every := max(1, int(math.Ceil(decades/float64(places))))
	for d := int(math.Floor(math.Log10(s.low))); d <= int(math.Ceil(math.Log10(s.high))); d += every {
		for _, m := range steps {
			v := m * math.Pow(10, float64(d))
			if v >= s.low*(1-1e-9) && v <= s.high*(1+1e-9) && v > 0 {
				out = append(out, Tick{v, label(v, v)})
			}
		}
	}
	if len(out) < 2 {
		out = []Tick{{s.low, label(s.low, s.low/10)}, {s.high, label(s.high, s.high/10)}}
	}
	return out
}

// label shows a value of an axis whose labels are step apart.
func label(v, step float64) string {
	a := math.Abs(v)
	if a >= 1e7 || a != 0 && a < 1e-4 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	digits := 0
	for step > 0 && digits < 6 && math.Abs(step-math.Round(step*math.Pow10(digits))/math.Pow10(digits)) > step*1e-6 {
		digits++
	}
	return grouped(strconv.FormatFloat(v, 'f', digits, 64))
}

// grouped sets commas into the whole part of a number.
func grouped(text string) string {
	whole, rest, dot := strings.Cut(text, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if dot {
		rest = "." + rest
	}
	return sign + whole + rest
}
