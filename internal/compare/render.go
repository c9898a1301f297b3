package compare

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// letter names a run within a comparison: A, B, …, Z, R27.
func letter(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return "R" + strconv.Itoa(i+1)
}

// Table writes a comparison for people: what differs and should not comes first.
func Table(w io.Writer, r *Result) error {
	var b strings.Builder
	head(&b, r, "", "")
	for _, row := range r.Rows {
		b.WriteString("\n" + title(row) + "\n")
		if len(row.Refused) > 0 {
			b.WriteString("  not compared: " + clean(strings.Join(row.Refused, "; ")) + "\n")
			continue
		}
		if len(row.Forced) > 0 {
			b.WriteString("  ! compared by --force: " + clean(strings.Join(row.Forced, "; ")) + "\n")
		}
		for _, mark := range row.Marks {
			b.WriteString("  ! " + clean(mark) + "\n")
		}
		for _, line := range columnsOf(append([][]string{heads(r)}, lines(row)...)) {
			b.WriteString("  " + line + "\n")
		}
	}
	if len(r.Beside) > 0 {
		b.WriteString("\n" + besideTitle + "\n")
	}
	for _, side := range r.Beside {
		b.WriteString("\n" + letter(side.Run) + " " + title(side.Row) + "\n")
		for _, why := range side.Refused {
			b.WriteString("  " + clean(why) + "\n")
		}
		for _, line := range columnsOf(lines(side.Row)) {
			b.WriteString("  " + line + "\n")
		}
	}
	foot(&b, r, "")
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes a comparison as Markdown.
func Markdown(w io.Writer, r *Result) error {
	var b strings.Builder
	markup := strings.NewReplacer("<", "&lt;", ">", "&gt;", "`", "'")
	cell := func(s string) string { return strings.ReplaceAll(markup.Replace(clean(s)), "|", `\|`) }
	var top strings.Builder
	head(&top, r, "- ", "**")
	b.WriteString(markup.Replace(top.String()))
	for _, row := range r.Rows {
		b.WriteString("\n### " + cell(title(row)) + "\n\n")
		if len(row.Refused) > 0 {
			b.WriteString("Not compared: " + cell(strings.Join(row.Refused, "; ")) + "\n")
			continue
		}
		if len(row.Forced) > 0 {
			b.WriteString("Compared by --force: " + cell(strings.Join(row.Forced, "; ")) + "\n\n")
		}
		for _, mark := range row.Marks {
			b.WriteString("- " + cell(mark) + "\n")
		}
		if len(row.Marks) > 0 {
			b.WriteString("\n")
		}
		for i, line := range append([][]string{heads(r)}, lines(row)...) {
			for n := range line {
				line[n] = cell(line[n])
			}
			b.WriteString("| " + strings.Join(line, " | ") + " |\n")
			if i == 0 {
				b.WriteString("|" + strings.Repeat(" --- |", len(line)) + "\n")
			}
		}
	}
	if len(r.Beside) > 0 {
		b.WriteString("\n### " + besideTitle + "\n\n| run | row | metric | value |\n| --- | --- | --- | --- |\n")
	}
	for _, side := range r.Beside {
		for _, why := range side.Refused {
			b.WriteString("| " + letter(side.Run) + " | " + cell(title(side.Row)) + " | | " + cell(why) + " |\n")
		}
		for _, line := range lines(side.Row) {
			b.WriteString("| " + letter(side.Run) + " | " + cell(title(side.Row)) + " | " + cell(line[0]) + " | " + cell(line[1]) + " |\n")
		}
	}
	var end strings.Builder
	foot(&end, r, "\n")
	b.WriteString(markup.Replace(end.String()))
	_, err := io.WriteString(w, b.String())
	return err
}

func head(b *strings.Builder, r *Result, bullet, strong string) {
	for i, run := range r.Runs {
		mark := ""
		if run.Simulated {
			mark = "  (simulated)"
		}
		if len(r.Definitions) > 0 {
			mark += "  (" + clean(run.MeasuredBy) + ")"
		}
		fmt.Fprintf(b, "%s%s  %s  %s  %s%s\n", bullet, letter(i), clean(run.ID), clean(run.Backend), clean(run.Model), mark)
	}
	list := func(lead string, ds []Difference) {
		if len(ds) == 0 {
			return
		}
		b.WriteString("\n" + strong + lead + strong + "\n")
		if bullet != "" {
			b.WriteString("\n")
		}
		for _, d := range ds {
			var values []string
			for i, v := range d.Values {
				values = append(values, letter(i)+" "+clean(v))
			}
			fmt.Fprintf(b, "%s%s: %s\n", orTwo(bullet), d.Field, strings.Join(values, " · "))
		}
	}
	list("NOT MEASURED ALIKE: these must be equal and are not", r.Differ)
	if len(r.Definitions) > 0 {
		b.WriteString("\n" + strong + "what llama-bench measures is something else" + strong + "\n")
		if bullet != "" {
			b.WriteString("\n")
		}
		for _, d := range r.Definitions {
			b.WriteString(orTwo(bullet) + d + "\n")
		}
	}
	list("also different", r.Also)
}

// besideTitle stands over figures that no change is given for.
const besideTitle = "BESIDE EACH OTHER, NOT COMPARED: no two of these figures mean the same"

func orTwo(bullet string) string {
	if bullet == "" {
		return "  "
	}
	return bullet
}

func foot(b *strings.Builder, r *Result, gap string) {
	if len(r.Missing) > 0 {
		b.WriteString("\n" + "not in every run: " + clean(strings.Join(r.Missing, ", ")) + "\n")
	}
	compared := slices.ContainsFunc(r.Rows, func(row Row) bool { return len(row.Refused) == 0 })
	if !compared {
		return
	}
	b.WriteString("\n" + gap + `Values are medians over passes, with the 95 % interval of the mean over passes. The change is against A.
~: no difference that the passes show (Mann-Whitney U test, two-sided, p >= 0.05). ?: too few passes to show any (four of
each are enough), or no value by pass. Of figures that did not change, one in twenty shows a difference by chance.
`)
}

func title(row Row) string { return clean(strings.TrimSpace(row.Key + " " + row.Workload)) }

// heads are the columns of the table.
func heads(r *Result) []string {
	out := []string{"metric"}
	for i := range r.Runs {
		out = append(out, letter(i))
		if i > 0 {
			out = append(out, "change", "")
		}
	}
	return out
}

// lines are the metrics of a row as cells.
func lines(row Row) [][]string {
	var out [][]string
	for _, m := range row.Metrics {
		line := []string{m.Name}
		for i, f := range m.Figures {
			line = append(line, valueText(f))
			if i > 0 {
				line = append(line, changeText(m.Changes[i-1])...)
			}
		}
		out = append(out, line)
	}
	return out
}

func valueText(f Figure) string {
	switch {
	case f.Value == nil:
		return "–"
	case f.Low != nil:
		return report.Number(*f.Value) + " [" + report.Number(*f.Low) + ", " + report.Number(*f.High) + "]"
	}
	return report.Number(*f.Value)
}

// changeText is the change and how sure it is.
func changeText(c Change) []string {
	change := "–"
	if c.Percent != nil {
		change = fmt.Sprintf("%+.1f %%", *c.Percent)
	}
	switch c.Verdict {
	case Differs:
		return []string{change, fmt.Sprintf("p %.3f", *c.P)}
	case Same:
		return []string{"~", fmt.Sprintf("p %.3f", *c.P)}
	case Null:
		return []string{"–", ""}
	}
	return []string{change, "?"}
}

// columnsOf aligns cells.
func columnsOf(lines [][]string) []string {
	var widths []int
	for _, line := range lines {
		for i := range line {
			line[i] = clean(line[i])
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(line[i]))
		}
	}
	out := make([]string, len(lines))
	for n, line := range lines {
		var b strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString(cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		out[n] = strings.TrimRight(b.String(), " ")
	}
	return out
}

// clean takes out of a text from a document what would move a terminal's cursor or end a line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// CSV writes a line for each figure that is compared: row, metric, run, value, interval, change, p, verdict. Rows that were
// refused are in it without figures, with the verdict refused.
func CSV(w io.Writer, r *Result) error {
	out := csv.NewWriter(w)
	number := func(x *float64) string {
		if x == nil {
			return ""
		}
		return strconv.FormatFloat(*x, 'g', -1, 64)
	}
	// A spreadsheet takes what begins so for a formula.
	text := func(s string) string {
		if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
			return "'" + clean(s)
		}
		return clean(s)
	}
	_ = out.Write([]string{"row", "workload", "metric", "run", "value", "low", "high", "passes", "change_percent", "p", "verdict", "marks"}) // Error tells
	refused := func(row Row, run string) bool {
		if len(row.Refused) > 0 {
			_ = out.Write([]string{text(row.Key), text(row.Workload), "", run, "", "", "", "", "", "", "refused", text(strings.Join(row.Refused, "; "))})
		}
		return len(row.Refused) > 0
	}
	if len(r.Definitions) > 0 && len(r.Beside) == 0 {
		refused(Row{Refused: append([]string{"measured by different programs"}, r.Definitions...)}, "")
	}
	for _, side := range r.Beside {
		if refused(side.Row, text(r.Runs[side.Run].ID)) {
			continue
		}
		for _, m := range side.Metrics {
			f := m.Figures[0]
			_ = out.Write([]string{text(side.Key), text(side.Workload), text(m.Name), text(r.Runs[side.Run].ID), number(f.Value), number(f.Low), number(f.High), strconv.Itoa(len(f.Passes)), "", "", "not_compared", text(strings.Join(side.Marks, "; "))})
		}
	}
	for _, row := range r.Rows {
		if refused(row, "") {
			continue
		}
		marks := text(strings.Join(slices.Concat(row.Forced, row.Marks), "; "))
		for _, m := range row.Metrics {
			for i, f := range m.Figures {
				line := []string{text(row.Key), text(row.Workload), text(m.Name), text(r.Runs[i].ID), number(f.Value), number(f.Low), number(f.High), strconv.Itoa(len(f.Passes)), "", "", "", marks}
				if i > 0 {
					c := m.Changes[i-1]
					line[8], line[9], line[10] = number(c.Percent), number(c.P), string(c.Verdict)
				}
				_ = out.Write(line)
			}
		}
	}
	out.Flush()
	return out.Error()
}

// Benchstat writes the figures of a comparison, or of one run, in the Go benchmark format that golang.org/x/perf reads: a line
// for each pass, with the figures that are made pass by pass. Configuration lines are what has to be equal for figures to be
// lined up, since benchstat makes a table of its own for each set of them, and the run where there are several: benchstat
// -col run FILE. Of one run they leave the run out, so that benchstat A B lines two files up.
func Benchstat(w io.Writer, r *Result, results []*record.Result) error {
	var b strings.Builder
	units := map[string]bool{}
	for i, run := range r.Runs {
		doc := results[i]
		about := fmt.Sprintf("%s, %s on %s", run.ID, run.Model, strings.TrimSpace(run.Backend+" "+doc.Backend.Version))
		if len(r.Runs) == 1 {
			b.WriteString("# " + clean(about) + "\n")
		} else {
			b.WriteString("# " + letter(i) + ": " + clean(about) + "\nrun: " + clean(run.ID) + "\n")
		}
		fmt.Fprintf(&b, "simulated: %t\n", run.Simulated)
		for _, f := range mustEqual(results) {
			// What was forced into one line may not be in two tables.
			if value := clean(f.of(doc)); f.name != "simulated" && value != "" && !slices.ContainsFunc(r.Differ, func(d Difference) bool { return d.Field == f.name }) {
				b.WriteString(strings.ReplaceAll(f.name, " ", "-") + ": " + value + "\n")
			}
		}
		for _, row := range r.Rows {
			benchLines(&b, row, i, units)
		}
		for _, side := range r.Beside {
			if side.Run == i {
				benchLines(&b, side.Row, 0, units)
			}
		}
		b.WriteString("\n")
	}
	for _, name := range slices.Sorted(maps.Keys(units)) {
		if strings.Contains(name, "_tps") { // of all others benchstat takes less for better, or says nothing of it
			b.WriteString("Unit " + name + " better=higher\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// benchLines writes the passes of a row in run i.
func benchLines(b *strings.Builder, row Row, i int, units map[string]bool) {
	word := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || unicode.IsControl(r) {
				return '_'
			}
			return r
		}, s)
	}
	most := 0
	for _, m := range row.Metrics {
		most = max(most, len(m.Figures[i].Passes))
	}
	for pass := range most {
		fmt.Fprintf(b, "Benchmark%s 1", word(row.Key))
		for _, m := range row.Metrics {
			if xs := m.Figures[i].Passes; pass < len(xs) {
				units[word(m.Name)] = true
				fmt.Fprintf(b, " %s %s", strconv.FormatFloat(xs[pass], 'g', -1, 64), word(m.Name))
			}
		}
		b.WriteString("\n")
	}
}
