package formats

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// namespace begins the name of every metric.
const namespace = "llm_speed_"

// family is a metric family: samples of one name. All are gauges, which every reader of the older Prometheus text takes too.
type family struct {
	name, unit, help string
	samples          []string
}

// families are in the order in which they came up; samples of one stand together.
type families struct {
	list []*family
	seen map[string]bool // samples by name and labels
}

// add gives a family a sample. Of a value that is no finite number there is none.
func (fs *families) add(name, unit, help string, labels []label, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	head := name + labelText(labels)
	if fs.seen[head] { // two rows of one key, in a document that this program did not write
		return
	}
	fs.seen[head] = true
	i := slices.IndexFunc(fs.list, func(f *family) bool { return f.name == name })
	if i < 0 {
		i = len(fs.list)
		fs.list = append(fs.list, &family{name: name, unit: unit, help: help})
	}
	fs.list[i].samples = append(fs.list[i].samples, head+" "+strconv.FormatFloat(value, 'g', -1, 64))
}

type label struct{ name, value string }

// labelText writes labels; empty ones are left out, which says the same.
func labelText(labels []label) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	var parts []string
	for _, l := range labels {
		if l.value != "" {
			parts = append(parts, l.name+`="`+escape.Replace(plain(l.value))+`"`)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// plain is a text without what moves a terminal's cursor; ends of lines are escaped.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// OpenMetrics writes a run as OpenMetrics 1.0 text: a gauge for each figure, in base units, with run, row and point as labels.
// What is not known has no sample.
func OpenMetrics(w io.Writer, r *record.Result) error {
	fs := &families{seen: map[string]bool{}}
	run := []label{{"run", r.RunID}}
	simulated := strconv.FormatBool(report.Simulated(r))
	fs.add(namespace+"run", "", "What the run was; always 1.", slices.Concat(run, []label{
		{"measured_by", cmp.Or(string(r.Kind), "llm-speed")}, {"suite", r.Suite.Name}, {"suite_version", r.Suite.Version}, {"suite_digest", r.Suite.Digest},
		{"mode", r.Mode}, {"state", string(r.State)}, {"backend", r.Backend.Name}, {"backend_version", r.Backend.Version}, {"backend_build", r.Backend.Build},
		{"model", cmp.Or(r.Model.Name, r.Model.Ref)}, {"quant", r.Model.Quant}, {"model_digest", r.Model.Digest}, {"client_version", r.Client.Version},
		{"rankable", strconv.FormatBool(r.Rankable)}, {"simulated", simulated},
	}), 1)
	if !r.StartedAt.IsZero() {
		fs.add(namespace+"run_start_timestamp_seconds", "seconds", "When the run began.", run, float64(r.StartedAt.UnixMilli())/1000)
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		at := slices.Concat(run, []label{{"row", row.Key}, {"workload", row.ID}}, pointLabels(row.Point), []label{
			{"backend", r.Backend.Name}, {"model", cmp.Or(r.Model.Name, r.Model.Ref)}, {"quant", r.Model.Quant}, {"simulated", simulated},
		})
		fs.add(namespace+"row_ok", "", "1 where the row was measured, 0 where it was skipped or failed.", append(slices.Clone(at), label{"status", string(row.Status)}), truth(row.Status == record.OK))
		fs.add(namespace+"row_rankable", "", "1 where the row may be ranked.", at, truth(row.Rankable))
		if row.Status == record.OK {
			fs.add(namespace+"row_passes", "", "Passes of the row.", at, float64(row.Passes))
		}
		for _, name := range flagNames(r, row) {
			fs.add(namespace+"row_flag", "", "1 for each flag that the row or its run has.", append(slices.Clone(at), label{"flag", name}), 1)
		}
		for _, f := range figuresOf(row) {
			if f.Value != nil {
				fs.figure(row, f, at)
			}
		}
	}
	var b strings.Builder
	for _, f := range fs.list {
		help := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(plain(f.help))
		b.WriteString("# TYPE " + f.name + " gauge\n")
		if f.unit != "" {
			b.WriteString("# UNIT " + f.name + " " + f.unit + "\n")
		}
		b.WriteString("# HELP " + f.name + " " + help + "\n" + strings.Join(f.samples, "\n") + "\n")
	}
	b.WriteString("# EOF\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// figure adds a figure and the bounds of its interval. A statistic that a suite declares is a label of its metric.
func (fs *families) figure(row *record.Row, f report.Figure, at []label) {
	name, stat := f.Name, ""
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		if _, declared := row.Metrics[name[:i]]; declared {
			name, stat = name[:i], name[i+1:]
		}
	}
	_, ratio := row.Relative[f.Name]
	stem, unit, per := baseUnit(name, f.Unit, ratio)
	at = append(slices.Clone(at), label{"field", f.Name}, label{"stat", stat})
	if f.Estimated != "" {
		at = append(at, label{"estimated", "true"})
	}
	metric := func(part string) string {
		text := namespace + stem + part
		if unit != "" {
			text += "_" + unit
		}
		return text
	}
	if i := slices.IndexFunc(fs.list, func(x *family) bool { return x.name == metric("") }); i >= 0 && fs.list[i].unit != unit {
		stem, unit = stem+"_"+unit+"_value", "" // a suite's metric whose name and unit read like another's
	}
	help := f.Title + " of a row, docs/measurement.md."
	if stat != "" {
		help = name + ", as the suite declares it."
	}
	fs.add(metric(""), unit, help, at, *f.Value/per)
	if f.Low != nil && f.High != nil {
		fs.add(metric("_ci95_low"), unit, "Lower bound of the 95 % interval over passes: "+help, at, *f.Low/per)
		fs.add(metric("_ci95_high"), unit, "Upper bound of the 95 % interval over passes: "+help, at, *f.High/per)
	}
}

// baseUnit gives the part of a metric's name before its unit, the unit as OpenMetrics has it, and how many of the figure's
// own unit are one of it.
func baseUnit(name, unit string, ratio bool) (stem, base string, per float64) {
	stem = metricName(name)
	cut := func(suffixes ...string) {
		for _, s := range suffixes {
			if rest, ok := strings.CutSuffix(stem, s); ok && rest != "" {
				stem = rest
				return
			}
		}
	}
	switch {
	case ratio:
		return stem, "ratio", 1
	case unit == "ms":
		cut("_ms")
		return stem, "seconds", 1e3
	case unit == "us", unit == "µs":
		cut("_us")
		return stem, "seconds", 1e6
	case unit == "ns":
		cut("_ns")
		return stem, "seconds", 1e9
	case unit == "s":
		cut("_seconds", "_s")
		return stem, "seconds", 1
	case unit == "tok/s":
		cut("_tps")
		return stem, "tokens_per_second", 1
	case unit == "%": // ours are fractions
		cut("_rate")
		return stem, "ratio", 1
	case unit == "percent":
		cut("_percent")
		return stem, "ratio", 100
	case unit == "J/token":
		return stem, "joules_per_token", 1
	case unit == "J":
		cut("_j")
		return stem, "joules", 1
	case unit == "tokens":
		cut("_tokens")
		return stem, "tokens", 1
	case unit == "B", unit == "bytes":
		cut("_bytes")
		return stem, "bytes", 1
	case unit == "count", unit == "":
		return stem, "", 1
	}
	base = strings.Trim(metricName(strings.ReplaceAll(unit, "/", "_per_")), "_") // a suite's own
	if base == "" {
		return stem, "", 1
	}
	if base[0] >= '0' && base[0] <= '9' {
		base = "unit_" + base
	}
	cut("_" + base)
	return stem, base, 1
}

// metricName makes of a figure's name one that a metric may have, and that ends in nothing which another type of metric means.
func metricName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '_'
	}, name)
	for _, taken := range []string{"_total", "_created", "_count", "_sum", "_bucket", "_gcount", "_gsum", "_info"} {
		if strings.HasSuffix(name, taken) {
			return name + "_value"
		}
	}
	return name
}

// pointLabels are the keys of a row's point; none has the name of another label.
func pointLabels(point map[string]any) []label {
	var out []label
	for _, key := range slices.Sorted(maps.Keys(point)) {
		value := fmt.Sprint(point[key])
		if x, ok := point[key].(float64); ok {
			value = strconv.FormatFloat(x, 'f', -1, 64)
		}
		name := "point_" + metricName(key)
		if !slices.ContainsFunc(out, func(l label) bool { return l.name == name }) {
			out = append(out, label{name, value})
		}
	}
	return out
}
