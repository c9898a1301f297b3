package report

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
)

// value is one thing that a row says under one name.
type value struct {
	Name, Title, Unit string
	Num               *float64 // nil where unknown
	Text              string   // for what is no number
	Stats             []value  // of a metric that the suite declares
	N                 int      // how many values a declared metric has
	Reason            string   // why it is unknown
}

// known reports whether there is something to show.
func (v value) known() bool { return v.Num != nil || v.Text != "" || len(v.Stats) > 0 }

// String shows the value with its unit; – where it is unknown.
func (v value) String() string {
	switch {
	case v.Num != nil:
		return withUnit(*v.Num, v.Unit)
	case len(v.Stats) > 0:
		parts := make([]string, len(v.Stats))
		for i, s := range v.Stats {
			parts[i] = s.Title + " " + s.String()
		}
		return strings.Join(parts, ", ")
	case v.Text != "":
		return v.Text
	}
	return "–"
}

// wholeRow is the name under which a row's reasons hold for every field.
const wholeRow = "*"

// rowView is a row with its JSON form, so that a field can be found by the name that a suite gives.
type rowView struct {
	record.Row
	fields map[string]any
}

// view makes the JSON form of a row. Samples and batches are left out: they are no figures of the row.
func view(row record.Row) rowView {
	small := row
	small.Samples, small.Batches = nil, nil
	v := rowView{Row: row}
	text, err := json.Marshal(small)
	if err == nil {
		err = json.Unmarshal(text, &v.fields)
	}
	if err != nil { // a NaN in the document; the row then shows its nulls
		v.fields = map[string]any{}
	}
	return v
}

// look finds what the row says under name: a field of the result ("server.queue_ms" is one inside an object), a ratio, or
// a metric that the suite declares. A name that the row does not have is unknown, with the reason.
func (r rowView) look(name string) value {
	k := fieldOf(name)
	v := value{Name: name, Title: k.Title, Unit: k.Unit, Reason: cmp.Or(r.Reasons[name], r.energyReason(name))}
	if ratio, ok := r.Relative[name]; ok {
		v.Num, v.Unit = ratio, "×"
		if ratio == nil && v.Reason == "" {
			v.Reason = "the row or its base row has no value"
		}
		return v
	}
	if m, ok := r.Metrics[name]; ok {
		return metricValue(v, m)
	}
	var at any = r.fields
	for part := range strings.SplitSeq(name, ".") {
		object, _ := at.(map[string]any)
		at = object[part]
	}
	switch x := at.(type) {
	case float64:
		v.Num = &x
	case string:
		v.Text = x
	case bool:
		v.Text = map[bool]string{true: "yes", false: "no"}[x]
	}
	if !v.known() && v.Reason == "" {
		whole, _, _ := strings.Cut(name, ".") // why server is null is why server.queue_ms is
		v.Reason = cmp.Or(r.Reasons[whole], r.Reasons[wholeRow], r.Reason, "not measured in this row")
	}
	return v
}

// energyReason is why a figure of the row's energy is null.
func (r rowView) energyReason(name string) string {
	if rest, ok := strings.CutPrefix(name, "energy."); ok && r.Energy != nil {
		return r.Energy.Reasons[rest]
	}
	return ""
}

// metricValue is a metric that the suite declares: its statistics in the order p50, p95, p99, then by name.
func metricValue(v value, m record.Metric) value {
	v.Unit, v.N = stated(m.Unit), m.N
	if v.Title == v.Name {
		v.Title = words(v.Name)
	}
	names := slices.SortedFunc(maps.Keys(m.Stats), func(a, b string) int {
		if pa, pb := strings.HasPrefix(a, "p"), strings.HasPrefix(b, "p"); pa != pb {
			if pa {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, stat := range names {
		x := m.Stats[stat]
		v.Stats = append(v.Stats, value{Name: v.Name + "." + stat, Title: stat, Unit: stated(m.Unit), Num: &x})
	}
	if len(names) == 0 && v.Reason == "" {
		v.Reason = "the suite's program recorded no value"
	}
	return v
}

// spread is half the 95 % interval over passes as a ratio of the value; ok is false with one pass.
func (r rowView) spread(v value) (ratio float64, ok bool) {
	ci, has := r.CI95[v.Name]
	if !has || v.Num == nil || *v.Num == 0 {
		return 0, false
	}
	return (ci.High - ci.Low) / 2 / *v.Num, true
}

// stated is the unit of a figure that a suite's program has given in it: its percentages are no fractions as ours are.
func stated(unit string) string {
	if unit == "%" {
		return inPercent
	}
	return unit
}
