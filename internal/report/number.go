package report

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Number shows a figure with the digits that mean something: 8,421 · 187.4 · 5.34 · 0.052.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case a == 0:
		return "0"
	case a >= 999.95:
		return thousands(strconv.FormatFloat(math.Round(v), 'f', 0, 64))
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.9995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

// thousands sets commas into a whole number.
func thousands(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Millis shows a time in milliseconds with its unit: 33.2 ms · 13.6 s · 3 m 12 s.
func Millis(ms float64) string {
	switch a := math.Abs(ms); {
	case a < 9999.5:
		return Number(ms) + " ms"
	case a < 119_950:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + " s"
	default:
		return Duration(time.Duration(ms * float64(time.Millisecond)))
	}
}

// Duration shows a time for a person: 0.4 s · 12 s · 3 m 12 s · 1 h 4 m.
func Duration(d time.Duration) string {
	s := d.Seconds()
	switch {
	case s < 10:
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	case s < 119.5:
		return strconv.FormatFloat(s, 'f', 0, 64) + " s"
	case s < 7200:
		whole := int(math.Round(s))
		return strconv.Itoa(whole/60) + " m " + strconv.Itoa(whole%60) + " s"
	default:
		minutes := int(math.Round(s / 60))
		return strconv.Itoa(minutes/60) + " h " + strconv.Itoa(minutes%60) + " m"
	}
}

// inPercent is the unit of figures that are percentages already; "%" is that of fractions.
const inPercent = "percent"

// withUnit shows a figure and its unit as one text.
func withUnit(v float64, unit string) string {
	switch unit {
	case "ms":
		return Millis(v)
	case inPercent:
		return strconv.FormatFloat(v, 'f', 1, 64) + " %"
	case "%":
		return strconv.FormatFloat(v*100, 'f', 1, 64) + " %"
	case "×":
		return strconv.FormatFloat(v, 'f', 2, 64) + "×"
	case "count", "tokens":
		if v == math.Trunc(v) {
			return strings.TrimSpace(thousands(strconv.FormatFloat(v, 'f', 0, 64)) + " " + strings.TrimPrefix(unit, "count"))
		}
		return strings.TrimSpace(Number(v) + " " + strings.TrimPrefix(unit, "count"))
	case "":
		return Number(v)
	default:
		return Number(v) + " " + unit
	}
}

// percent shows a small ratio: <0.1 % · 0.4 % · 12 %.
func percent(ratio float64) string {
	p := math.Abs(ratio) * 100
	if p > 0 && p < 0.05 {
		return "<0.1 %"
	}
	if p >= 9.95 {
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	}
	return strconv.FormatFloat(p, 'f', 1, 64) + " %"
}

// Count shows how many there are of a thing: "1 row", "2 rows", "3 passes".
func Count(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "s"), strings.HasSuffix(noun, "ch"), strings.HasSuffix(noun, "x"):
		noun += "es"
	default:
		noun += "s"
	}
	return thousands(strconv.Itoa(n)) + " " + noun
}

// bytesText shows a size: 4.9 GB.
func bytesText(n int64) string {
	v, unit := float64(n), "B"
	for _, u := range []string{"kB", "MB", "GB", "TB"} {
		if v < 999.5 {
			break
		}
		v, unit = v/1000, u
	}
	if unit == "B" {
		return strconv.FormatInt(n, 10) + " B"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + unit
}

// memoryText shows the size of memory, which is built in powers of two: 24 GiB, 23.5 GiB.
func memoryText(n int64) string {
	return strings.TrimSuffix(strconv.FormatFloat(float64(n)/(1<<30), 'f', 1, 64), ".0") + " GiB"
}

// superscript shows a footnote's number as ¹ ² ¹⁰.
func superscript(n int) string {
	var b strings.Builder
	for _, d := range strconv.Itoa(n) {
		b.WriteRune([]rune("⁰¹²³⁴⁵⁶⁷⁸⁹")[d-'0'])
	}
	return b.String()
}
