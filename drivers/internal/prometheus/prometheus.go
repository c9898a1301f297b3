// Package prometheus reads the text that servers give at /metrics, in Prometheus' exposition format and in that of
// OpenMetrics.
//
// It is pure, and it is bounded: what comes is from outside. A line that it does not understand is left out, and a value that
// is no finite number makes its sum unknown instead of wrong. It keeps no types, help texts, time stamps or exemplars.
package prometheus

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// What is kept at most: a server of many models and ranks stays far below.
const (
	maxSamples = 200_000
	maxLine    = 64 << 10 // bytes; a longer line is left out
	maxLabels  = 64
)

// Sample is one series' value.
type Sample struct {
	Name   string // as written, with its _total, _sum, _count or _bucket
	Labels map[string]string
	Value  float64 // may be NaN or an infinity, as the server wrote it
}

// Metrics are the samples of one answer. The zero value has none.
type Metrics struct {
	byName map[string][]Sample
}

// Parse reads a /metrics text. It never fails: text that is no metrics gives none. A series that stands there twice counts
// once, with its last value.
func Parse(text string) Metrics {
	m := Metrics{byName: map[string][]Sample{}}
	at := map[string]int{} // series, to its place in byName
	n := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || len(line) > maxLine {
			continue
		}
		s, ok := parseLine(line)
		if !ok {
			continue
		}
		key := s.key()
		if i, twice := at[key]; twice {
			m.byName[s.Name][i] = s
			continue
		}
		if n++; n > maxSamples {
			break
		}
		at[key] = len(m.byName[s.Name])
		m.byName[s.Name] = append(m.byName[s.Name], s)
	}
	return m
}

// key names a series: its name and its labels in order.
func (s *Sample) key() string {
	var b strings.Builder
	b.WriteString(s.Name)
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		b.WriteByte(0)
		b.WriteString(k)
		b.WriteByte(0)
		b.WriteString(s.Labels[k])
	}
	return b.String()
}

// parseLine reads name{label="value",…} value [time stamp] [# exemplar].
func parseLine(line string) (Sample, bool) {
	s := Sample{}
	end := strings.IndexAny(line, "{ \t")
	if end <= 0 {
		return s, false
	}
	s.Name = line[:end]
	if !isName(s.Name) {
		return s, false
	}
	rest := strings.TrimLeft(line[end:], " \t")
	if strings.HasPrefix(rest, "{") {
		var ok bool
		if s.Labels, rest, ok = parseLabels(rest[1:]); !ok {
			return s, false
		}
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return s, false
	}
	v, err := strconv.ParseFloat(fields[0], 64) // also takes NaN, +Inf and -Inf
	if err != nil {
		return s, false
	}
	s.Value = v
	return s, true
}

// isName reports whether a text may name a metric: letters, digits, _, : and, in newer servers, dots.
func isName(s string) bool {
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_', r == ':':
		case i > 0 && (r >= '0' && r <= '9' || r == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// parseLabels reads what follows a {, and gives what follows the }.
func parseLabels(s string) (labels map[string]string, rest string, ok bool) {
	labels = map[string]string{}
	for len(labels) <= maxLabels {
		s = strings.TrimLeft(s, " \t,")
		if strings.HasPrefix(s, "}") {
			return labels, s[1:], true
		}
		name, after, found := strings.Cut(s, "=")
		name, after = strings.TrimSpace(name), strings.TrimLeft(after, " \t")
		if !found || !isName(name) || !strings.HasPrefix(after, `"`) {
			return nil, "", false
		}
		value, left, closed := parseValue(after[1:])
		if !closed {
			return nil, "", false
		}
		labels[name], s = value, left
	}
	return nil, "", false
}

// parseValue reads a label's value up to its closing quote, with \\, \" and \n resolved.
func parseValue(s string) (value, rest string, closed bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			if s[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// matches reports whether a sample has each of the labels with the value given.
func (s *Sample) matches(labels map[string]string) bool {
	for k, v := range labels {
		if s.Labels[k] != v {
			return false
		}
	}
	return true
}

// Samples lists the series of one name that have the labels given, in the order of the text.
func (m Metrics) Samples(name string, labels map[string]string) []Sample {
	var out []Sample
	for _, s := range m.byName[name] {
		if s.matches(labels) {
			out = append(out, s)
		}
	}
	return out
}

// Sum adds up the series of one name that have the labels given (nil: all of them), as those of several engines. It is false
// where there is none, and where one of them is no finite number.
func (m Metrics) Sum(name string, labels map[string]string) (float64, bool) {
	sum, n := 0.0, 0
	for i := range m.byName[name] {
		s := &m.byName[name][i]
		if !s.matches(labels) {
			continue
		}
		sum, n = sum+s.Value, n+1
	}
	if n == 0 || math.IsNaN(sum) || math.IsInf(sum, 0) {
		return 0, false
	}
	return sum, true
}

// Tokens is Sum as a whole number from 0 up, of the first of several names that is there: servers rename their metrics. It is
// false where none is, or where the sum is no such number.
func (m Metrics) Tokens(labels map[string]string, names ...string) (int64, bool) {
	const most = 1 << 53 // above, a float no longer counts by ones
	for _, name := range names {
		if len(m.Samples(name, labels)) == 0 {
			continue
		}
		v, ok := m.Sum(name, labels)
		if !ok || v < 0 || v > most || v != math.Trunc(v) {
			return 0, false
		}
		return int64(v), true
	}
	return 0, false
}

// Label gives a label of the first series of a name that has it, as those of *_info metrics; "" where none does.
func (m Metrics) Label(name, label string) string {
	for _, s := range m.byName[name] {
		if v := s.Labels[label]; v != "" {
			return v
		}
	}
	return ""
}

// HasPrefix reports whether any metric's name begins so: a server's metrics carry its name.
func (m Metrics) HasPrefix(prefix string) bool {
	for name := range m.byName {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
