package compare

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limit is a change that is not accepted: decode_tps<-5%, or for one row W1:ttft_ms>10%.
type Limit struct {
	Row     string // key or id; empty: every row
	Metric  string
	Below   bool // the change must not be below Percent; else not above it
	Percent float64
}

// ParseLimit understands [ROW:]METRIC<PERCENT% and [ROW:]METRIC>PERCENT%.
func ParseLimit(text string) (Limit, error) {
	bad := fmt.Errorf("%q: want METRIC<-5%% or METRIC>5%%, for one row ROW:METRIC<-5%%", text)
	at := strings.LastIndexAny(text, "<>")
	if at < 0 {
		return Limit{}, bad
	}
	number, percent := strings.CutSuffix(strings.TrimSpace(text[at+1:]), "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !percent || math.IsNaN(x) || math.IsInf(x, 0) {
		return Limit{}, bad
	}
	l := Limit{Metric: strings.TrimSpace(text[:at]), Below: text[at] == '<', Percent: x}
	if i := strings.LastIndexByte(l.Metric, ':'); i >= 0 {
		l.Row, l.Metric = strings.TrimSpace(l.Metric[:i]), strings.TrimSpace(l.Metric[i+1:])
		if l.Row == "" {
			return Limit{}, bad
		}
	}
	if l.Metric == "" || strings.ContainsAny(l.Metric, "<>= \t") {
		return Limit{}, bad
	}
	return l, nil
}

// String is the limit as a user writes it.
func (l Limit) String() string {
	row, sign := "", ">"
	if l.Row != "" {
		row = l.Row + ":"
	}
	if l.Below {
		sign = "<"
	}
	return row + l.Metric + sign + strconv.FormatFloat(l.Percent, 'f', -1, 64) + "%"
}

// Broken says where a comparison goes past a limit, or can't tell that it does not; empty where all is well. A change that
// the test could have shown and did not is none. One that had too few passes for a test counts as it stands; a row that is
// refused or missing, and a figure that is not known, are as good as broken: what was not looked at has not passed.
func (r *Result) Broken(l Limit) []string {
	var out []string
	say := func(row, format string, args ...any) {
		out = append(out, fmt.Sprintf("%s: %s %s", l, row, fmt.Sprintf(format, args...)))
	}
	of := func(key string) bool {
		id, _, _ := strings.Cut(key, "/")
		return l.Row == "" || l.Row == key || l.Row == id
	}
	seen := false
	for _, key := range r.Missing {
		if of(key) {
			seen = true
			say(key, "is not in every run")
		}
	}
	for _, row := range r.Rows {
		if !of(row.Key) {
			continue
		}
		if len(row.Refused) > 0 {
			seen = true
			say(row.Key, "was not compared: %s", strings.Join(row.Refused, "; "))
			continue
		}
		for _, m := range row.Metrics {
			if m.Name != l.Metric {
				continue
			}
			seen = true
			for i, c := range m.Changes {
				run := r.Runs[i+1].ID
				switch {
				case c.Percent == nil:
					say(row.Key, "has no change in %s that could be judged", run)
				case c.Verdict == Same, l.Below && *c.Percent >= l.Percent, !l.Below && *c.Percent <= l.Percent:
				case c.Verdict == Differs:
					say(row.Key, "changed by %+.2f %% in %s (p = %.3g)", *c.Percent, run, *c.P)
				case c.Verdict == TooFew:
					say(row.Key, "changed by %+.2f %% in %s, with too few passes to tell whether that is chance", *c.Percent, run)
				default:
					say(row.Key, "changed by %+.2f %% in %s; it has no values by pass that could tell whether that is chance", *c.Percent, run)
				}
			}
		}
	}
	if !seen {
		out = append(out, l.String()+": no row that was compared has this metric")
	}
	return out
}
