package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
)

// Table writes the table that people share: what was measured on what, one line a row, what the suite wants shown below
// it, and in words all that a reader must know before trusting a number. It fits Style.Width where that is 60 or more.
func Table(w io.Writer, r *record.Result, style Style) error {
	p := &page{w: w, style: style}
	if r.Kind == record.LlamaBench {
		benchTable(p, r)
		return p.err
	}
	banner(p, r)
	header(p, r)
	p.line(plain, "")
	t := &table{page: p, seen: map[string]int{}}
	for _, row := range r.Rows {
		t.rows = append(t.rows, view(row))
	}
	t.write()
	t.legend()
	flags(p, r)
	ending(p, r)
	return p.err
}

// column is a figure that every row has a place for.
type column struct{ name, head, unit string }

func columns() []column {
	return []column{
		{"ttft_ms", "TTFT", ""}, {"prefill_tps", "prefill", "tok/s"}, {"decode_tps", "decode", "tok/s"},
		{"decode_p50_latency_ms", "token", "p50"}, {"decode_p95_latency_ms", "token", "p95"},
	}
}

// layout is one way to lay the rows out; the first that fits the width is taken.
type layout struct {
	columns []column
	spread  bool // ± beside each figure
	gap     int
	stacked bool // the row's name stands on a line of its own
}

// stackIndent is where the figures of a stacked row begin.
const stackIndent = 2

// leastOver is a share by which a rate may be too high that is worth a word.
const leastOver = 0.005

// table numbers the footnotes while it writes.
type table struct {
	*page
	rows      []rowView
	seen      map[string]int // footnote numbers by text
	notes     []string
	estimated bool    // a prefill rate is marked as estimated
	shared    bool    // a rate or latency of tokens is marked as estimated
	over      float64 // by what share a decode rate may be too high at the most
	spreads   bool    // a spread is shown
}

func (t *table) write() {
	if len(t.rows) == 0 {
		t.line(dim, "  no row has a result")
		return
	}
	// Footnotes are numbered once, in reading order, before widths are known.
	for _, r := range t.rows {
		if r.Status == record.OK {
			for _, c := range columns() {
				t.mark(r.look(c.name))
			}
			for _, v := range r.details(columns()) {
				t.mark(v)
			}
		}
	}
	labels := t.labels()
	label := runes(labels[0])
	var chosen layout
	var widths []int
	for _, chosen = range t.layouts() {
		widths = t.widths(chosen)
		label = runes(labels[0])
		if chosen.stacked {
			label = stackIndent
		}
		total := label
		for _, n := range widths {
			total += n + chosen.gap
		}
		if total <= t.style.width() {
			break
		}
	}
	t.heads(chosen, widths, label)
	for i, r := range t.rows {
		t.row(r, labels[i], chosen, widths)
	}
}

// layouts go from the fullest to the narrowest.
func (t *table) layouts() []layout {
	all := columns()
	return []layout{
		{all, true, 3, false}, {all, false, 2, false}, {all, false, 1, false}, {all[:4], false, 1, false}, {all[:3], false, 2, false},
		{all[:3], false, 1, false}, {all, false, 2, true}, {all[:3], false, 1, true},
	}
}

// labels name each row: id, workload where it changes, point. All have one width.
func (t *table) labels() []string {
	var id, name, point int
	for _, r := range t.rows {
		id, name, point = max(id, runes(r.ID)), max(name, runes(r.Workload)), max(point, runes(PointText(r.Point)))
	}
	labels := make([]string, len(t.rows))
	for i, r := range t.rows {
		workload := r.Workload
		if i > 0 && t.rows[i-1].ID == r.ID {
			workload = ""
		}
		labels[i] = padRight(r.ID, id) + " " + padRight(workload, name)
		if point > 0 {
			labels[i] += " " + padRight(PointText(r.Point), point)
		}
	}
	return labels
}

// PointText shows a point's keys and values: "context 32k", "batch 8, depth 2".
func PointText(point map[string]any) string {
	parts := make([]string, 0, len(point))
	for _, key := range slices.Sorted(maps.Keys(point)) {
		parts = append(parts, key+" "+pointValue(point[key]))
	}
	return strings.Join(parts, ", ")
}

// pointValue shows whole multiples of 1024 with k, as people say context lengths.
func pointValue(v any) string {
	n, ok := v.(float64)
	if whole, is := v.(int); is {
		n, ok = float64(whole), true
	}
	switch {
	case !ok:
		return fmt.Sprint(v)
	case n >= 1024 && math.Mod(n, 1024) == 0:
		return strconv.FormatFloat(n/1024, 'f', 0, 64) + "k"
	default:
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
}

// mark gives the footnote mark of a value that is unknown, and nothing for one that is known.
func (t *table) mark(v value) string {
	if v.known() {
		return ""
	}
	n, ok := t.seen[v.Reason]
	if !ok {
		t.notes = append(t.notes, v.Reason)
		n = len(t.notes)
		t.seen[v.Reason] = n
	}
	return superscript(n)
}

// cell is the text of one figure of one row.
func (t *table) cell(r rowView, c column, spread bool) string {
	if r.Status != record.OK {
		return ""
	}
	v := r.look(c.name)
	if v.Num == nil {
		return "–" + t.mark(v)
	}
	text := Number(*v.Num)
	if v.Unit == "ms" {
		text = Millis(*v.Num)
	}
	if c.name == "prefill_tps" && strings.Contains(r.PrefillHow, "estimated") {
		text, t.estimated = "≈"+text, true
	}
	if strings.Contains(r.TokensHow, "estimated") && slices.Contains([]string{"decode_tps", "decode_p50_latency_ms", "decode_p95_latency_ms"}, c.name) {
		text, t.shared = "≈"+text, true
		if r.DecodeOver != nil {
			t.over = max(t.over, *r.DecodeOver)
		}
	}
	if ratio, ok := r.spread(v); ok && spread {
		text, t.spreads = text+" ±"+percent(ratio), true
	}
	return text
}

func (t *table) widths(l layout) []int {
	widths := make([]int, len(l.columns))
	for i, c := range l.columns {
		widths[i] = max(runes(c.head), runes(c.unit))
		for _, r := range t.rows {
			widths[i] = max(widths[i], runes(t.cell(r, c, l.spread)))
		}
	}
	return widths
}

func (t *table) heads(l layout, widths []int, label int) {
	gap := strings.Repeat(" ", l.gap)
	first, second := strings.Repeat(" ", label), strings.Repeat(" ", label)
	for i, c := range l.columns {
		first += gap + padLeft(c.head, widths[i])
		second += gap + padLeft(c.unit, widths[i])
	}
	t.line(bold, "%s", first)
	t.line(dim, "%s", second)
	t.line(dim, "%s", strings.Repeat("─", runes(first)))
}

func (t *table) row(r rowView, label string, l layout, widths []int) {
	if r.Status != record.OK {
		color := yellow
		if r.Status == record.Failed {
			color = red
		}
		t.wrapped(color, label+" ", string(r.Status)+": "+cmp.Or(r.Reason, "no reason given"))
		return
	}
	gap := strings.Repeat(" ", l.gap)
	if l.stacked {
		t.line(plain, "%s", label)
		label = strings.Repeat(" ", stackIndent)
	}
	for i, c := range l.columns {
		label += gap + padLeft(t.cell(r, c, l.spread), widths[i])
	}
	t.line(plain, "%s", label)
	var parts []string
	for _, v := range r.details(l.columns) {
		parts = append(parts, v.Title+" "+v.String()+t.mark(v))
	}
	if r.Passes > 1 {
		parts = append(parts, Count(r.Passes, "pass"))
	}
	if !l.spread {
		for _, c := range l.columns {
			v := r.look(c.name)
			if ratio, ok := r.spread(v); ok {
				t.spreads = true
				parts = append(parts, v.Title+" ±"+percent(ratio))
			}
		}
	}
	if len(parts) > 0 {
		indent := strings.Repeat(" ", runes(r.ID)+1)
		for _, line := range pack(parts, " · ", t.style.width()-runes(indent)) {
			t.line(dim, "%s%s", indent, line)
		}
	}
}

// details are the fields that the suite wants shown and the columns don't show. A declared metric is left out where each
// of its statistics is shown as a field of its own.
func (r rowView) details(shown []column) []value {
	var all, out []value
	titles := map[string]bool{}
	for _, name := range r.Reports {
		v := r.look(name)
		all = append(all, v)
		if v.Num != nil {
			titles[v.Title] = true
		}
	}
	for _, v := range all {
		inColumn := slices.ContainsFunc(shown, func(c column) bool { return c.name == v.Name })
		twice := len(v.Stats) > 0 && !slices.ContainsFunc(v.Stats, func(s value) bool { return !titles[v.Title+" "+s.Title] })
		if !inColumn && !twice {
			out = append(out, v)
		}
	}
	return out
}

// legend explains the marks that were used.
func (t *table) legend() {
	t.line(plain, "")
	if t.spreads {
		t.wrapped(dim, "± ", "half the 95 % interval over passes")
	}
	if t.estimated {
		t.wrapped(dim, "≈ ", "estimated from two times to the first token; the server does not state its prefill time")
	}
	if t.shared {
		words := "of decode and of a token: the server does not say how many tokens each event holds; they are spread over the events"
		if t.over >= leastOver {
			words += fmt.Sprintf(". If it counted tokens that it never streamed, decode is up to %.0f %% lower", math.Ceil(100*(1-1/(1+t.over))))
		}
		t.wrapped(dim, "≈ ", words)
	}
	for i, note := range t.notes {
		t.wrapped(dim, superscript(i+1)+" ", "not known: "+note)
	}
}
