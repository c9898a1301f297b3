package report

import (
	"cmp"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
)

// ChartWidth is how many columns charts in a terminal need at least.
const ChartWidth = 72

// mostPlaces bounds the bars of a chart and the values of a sparkline.
const mostPlaces = 40

// Charts draws beneath the table what a table shows badly: how a rate falls over the points of a workload, as bars, and how
// the requests of a session went, as a line of small bars. Without blocks it is drawn in ASCII. It writes nothing where
// there is nothing of that kind, or no room.
func Charts(w io.Writer, r *record.Result, style Style, blocks bool) error {
	if style.Width < ChartWidth {
		return nil
	}
	p := &page{w: w, style: style}
	g := glyphs{blocks: blocks}
	for _, rows := range workloadsOf(r) {
		name := join(" ", rows[0].ID, rows[0].Workload)
		if simulated(r) {
			name += " (simulated)"
		}
		if len(rows) > 1 && len(rows) <= mostPlaces {
			bars(p, g, name, rows)
		}
		if len(rows) == 1 {
			requests(p, g, name, rows[0])
		}
	}
	return p.err
}

// workloadsOf are the rows with figures of each workload, in order.
func workloadsOf(r *record.Result) [][]record.Row {
	var out [][]record.Row
	for _, row := range r.Rows {
		if row.Status != record.OK {
			continue
		}
		at := slices.IndexFunc(out, func(rows []record.Row) bool { return rows[0].ID == row.ID && rows[0].Workload == row.Workload })
		if at < 0 {
			at, out = len(out), append(out, nil)
		}
		out[at] = append(out[at], row)
	}
	return out
}

// bars shows the rate of each point: of all streams together where a row has that, else of one.
func bars(p *page, g glyphs, name string, rows []record.Row) {
	metric, second := "decode_tps", ""
	if slices.ContainsFunc(rows, func(r record.Row) bool { return r.AggregateTPS != nil }) {
		metric, second = "aggregate_tps", "per_stream_tps"
	}
	most, label, known := 0.0, 0, 0
	for _, row := range rows {
		if f := Figures(row, []string{metric})[0]; f.Value != nil && *f.Value > 0 {
			most, known = max(most, *f.Value), known+1
		}
		label = max(label, runes(PointText(row.Point)))
	}
	if known < 2 {
		return
	}
	label = min(label, 24)
	p.line(plain, "")
	p.line(bold, "%s: %s", name, Figures(rows[0], []string{metric})[0].Title)
	room := max(10, min(40, p.style.width()-label-38))
	for _, row := range rows {
		f := Figures(row, []string{metric})[0]
		share, text := 0.0, f.Text
		switch {
		case f.Value == nil:
			text = "not known: " + cmp.Or(f.Reason, "no value")
		case *f.Value > 0:
			share = *f.Value / most
		}
		if second != "" && f.Value != nil {
			if each := Figures(row, []string{second})[0]; each.Value != nil {
				text += separator + each.Text + " each"
			}
		}
		head := "  " + padRight(g.plain(cut(PointText(row.Point), label)), label) + "  "
		bar := padRight(g.bar(share, room), room)
		p.painted(strings.TrimRight(printable(head)+p.style.paint(cyan, bar)+"  "+printable(g.plain(cut(text, p.style.width()-runes(head)-room-4))), " "))
	}
}

// fewestRequests is how many requests make a sparkline.
const fewestRequests = 3

// requests shows the time to the first token and the rate of each request of the first whole pass, where a row sent several
// one after another.
func requests(p *page, g glyphs, name string, row record.Row) {
	var ttft, decode []*float64
	releases := map[int]bool{}
	for i := range row.Samples {
		s := &row.Samples[i]
		if s.Pass != row.Samples[0].Pass {
			break
		}
		if s.Error != "" || s.Inputs == nil || releases[s.Inputs.Release] {
			return
		}
		releases[s.Inputs.Release] = true
		ttft, decode = append(ttft, s.TTFTms), append(decode, s.DecodeTPS)
	}
	if len(ttft) < fewestRequests || len(ttft) > mostPlaces {
		return
	}
	began := false
	for _, line := range []struct {
		name, unit string
		values     []*float64
	}{{"TTFT", "ms", ttft}, {"decode", "tok/s", decode}} {
		low, high, ok := ends(line.values)
		if !ok {
			continue
		}
		if !began {
			began = true
			p.line(plain, "")
			p.line(bold, "%s: requests of pass %d", name, row.Samples[0].Pass)
		}
		p.painted("  " + padRight(printable(line.name), 6) + "  " + p.style.paint(cyan, g.spark(line.values, high)) + "  " + printable(g.plain(withUnit(low, line.unit)+" to "+withUnit(high, line.unit))))
	}
}

// ends are the least and the greatest of the values that are known; ok is false where fewer than two are.
func ends(values []*float64) (low, high float64, ok bool) {
	low, high = math.Inf(1), math.Inf(-1)
	n := 0
	for _, v := range values {
		if v != nil {
			low, high, n = min(low, *v), max(high, *v), n+1
		}
	}
	return low, high, n > 1 && high > 0
}

// glyphs are what bars are made of.
type glyphs struct{ blocks bool }

// bar is a share of a width as a bar; what is more than nothing has at least the smallest piece.
func (g glyphs) bar(share float64, width int) string {
	if !(share > 0) {
		return ""
	}
	eighths := max(1, int(math.Round(min(1, share)*float64(width)*8)))
	if !g.blocks {
		return strings.Repeat("#", max(1, (eighths+4)/8))
	}
	return strings.Repeat("█", eighths/8) + []string{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"}[eighths%8]
}

// spark is one small bar for each value, from 0 to the greatest; a value that is not known is a gap.
func (g glyphs) spark(values []*float64, high float64) string {
	steps := []rune("▁▂▃▄▅▆▇█")
	if !g.blocks {
		steps = []rune("_.-=+*%#")
	}
	var out strings.Builder
	for _, v := range values {
		if v == nil {
			out.WriteByte(' ')
			continue
		}
		at := int(math.Ceil(max(0, *v)/high*float64(len(steps)))) - 1
		out.WriteRune(steps[min(max(at, 0), len(steps)-1)])
	}
	return out.String()
}

// plain is a text in ASCII where blocks can't be shown.
func (g glyphs) plain(text string) string {
	if g.blocks {
		return text
	}
	return strings.NewReplacer("≈", "~", " · ", ", ", "–", "-", "±", "+-", "×", "x", "…", "...").Replace(text)
}

// cut cuts a text to a number of columns.
func cut(text string, columns int) string {
	if runes(text) <= columns || columns < 1 {
		return text
	}
	return string([]rune(text)[:columns-1]) + "…"
}
