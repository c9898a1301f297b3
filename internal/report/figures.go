package report

import (
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
)

// Figure is one thing that a row says, ready to be shown by whatever shows it.
type Figure struct {
	Name      string   `json:"name"` // of the field; METRIC.STAT for a statistic that the suite declares
	Title     string   `json:"title"`
	Unit      string   `json:"unit"`
	Value     *float64 `json:"value"` // null where unknown, and for what is no number
	Low       *float64 `json:"low"`   // 95 % interval over passes; null with one pass
	High      *float64 `json:"high"`
	Text      string   `json:"text"`                // the value with its unit as people read it; – where unknown
	Spread    string   `json:"spread,omitempty"`    // half the interval as a share of the value
	Estimated string   `json:"estimated,omitempty"` // why the value is an estimate
	N         int      `json:"n,omitempty"`         // how many values a declared metric stands on
	Reason    string   `json:"reason,omitempty"`    // why it is unknown
}

// Columns are the names of the figures that every row has a place for, in order.
func Columns() []string {
	var names []string
	for _, c := range columns() {
		names = append(names, c.name)
	}
	return names
}

// FigureNames lists what a row says in numbers, and what it leaves unknown with a reason: the catalogue's order, then the
// suite's own.
func FigureNames(row record.Row) []string { return view(row).figures() }

// Figures gives a row's figures of these names, in order. A metric that the suite declares gives one for each statistic.
func Figures(row record.Row, names []string) []Figure {
	r := view(row)
	var out []Figure
	for _, name := range names {
		v := r.look(name)
		if len(v.Stats) == 0 {
			out = append(out, r.figure(v))
			continue
		}
		for _, stat := range v.Stats {
			f := r.figure(stat)
			f.Title, f.N = v.Title+" "+stat.Title, v.N
			out = append(out, f)
		}
	}
	// A figure that a suite reports by itself may be a statistic of a metric too.
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(f Figure) bool {
		known := seen[f.Name]
		seen[f.Name] = true
		return known
	})
}

func (r rowView) figure(v value) Figure {
	f := Figure{Name: v.Name, Title: v.Title, Unit: v.Unit, Value: v.Num, Text: v.String()}
	if !v.known() {
		f.Reason = v.Reason
		return f
	}
	if f.Value == nil {
		return f
	}
	if ci, ok := r.CI95[v.Name]; ok {
		f.Low, f.High = &ci.Low, &ci.High
	}
	if ratio, ok := r.spread(v); ok {
		f.Spread = percent(ratio)
	}
	if f.Estimated = r.estimated(v.Name); f.Estimated != "" {
		f.Text = "≈ " + f.Text
	}
	return f
}

// estimated says why a figure is an estimate; empty where it is none.
func (r rowView) estimated(name string) string {
	switch name {
	case "prefill_tps":
		if strings.Contains(r.PrefillHow, "estimated") {
			return "estimated from two times to the first token; the server does not state its prefill time"
		}
	case "decode_tps", "decode_p50_latency_ms", "decode_p95_latency_ms", "decode_p99_latency_ms":
		if strings.Contains(r.TokensHow, "estimated") {
			return "the server does not say how many tokens each event holds; they are spread over the events"
		}
	}
	return ""
}

// Details are a row's figures that its suite wants shown and that have no column.
func Details(row record.Row) []Figure {
	r := view(row)
	var out []Figure
	for _, v := range r.details(columns()) {
		out = append(out, r.figure(v))
	}
	return out
}

// UnitText shows a value with its unit: "33.2 ms", "87.3 %" of a fraction, "8,421 tok/s".
func UnitText(v float64, unit string) string { return withUnit(v, unit) }

// Fact is something of a run under a name.
type Fact struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Facts say what was measured on what. What is not known is not among them, but for the machine, which says why.
func Facts(r *record.Result) []Fact {
	if r.Kind == record.LlamaBench {
		return append([]Fact{{"measured by", "llama-bench"}, {"model", modelText(r.Model)}}, benchFacts(r)...)
	}
	machine := machineText(r)
	if why := r.Reasons["fingerprint"]; machine == "" && why != "" {
		machine = "not known: " + why
	}
	digest := ShortDigest(r.Suite.Digest)
	if digest != "" && !r.Suite.Official {
		digest += " (not one of this program's own)"
	}
	started := ""
	if !r.StartedAt.IsZero() {
		started = r.StartedAt.UTC().Format("2006-01-02 15:04 UTC")
	}
	seed := ""
	if r.Seed != "" {
		seed = "seed " + r.Seed
	}
	all := []Fact{
		{"model", modelText(r.Model)}, {"backend", backendText(r.Backend)}, {"machine", machine},
		{"suite", join(separator, join(" ", r.Suite.Name, r.Suite.Version), digest)}, {"run", join(separator, r.RunID, started, seed)},
		{"client", join(" ", "llm-speed", r.Client.Version, r.Client.OS+"/"+r.Client.Arch)},
	}
	return slices.DeleteFunc(all, func(f Fact) bool { return f.Text == "" })
}

// Counted says in words where the counts of a row come from.
func Counted(row record.Row) []string {
	if row.Status != record.OK {
		return nil
	}
	return slices.DeleteFunc([]string{"counts " + provenanceText(row.CountProvenance), tokensHow(row.TokensHow), coldText(row.Cold)}, func(s string) bool { return s == "" })
}

// Simulated reports whether any number of a run is of the simulator.
func Simulated(r *record.Result) bool { return simulated(r) }
