package compare

import (
	"encoding/csv"
	"fmt"
	"io"
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
	list("also different", r.Also)
}

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
	for _, row := range r.Rows {
		if len(row.Refused) > 0 {
			_ = out.Write([]string{text(row.Key), text(row.Workload), "", "", "", "", "", "", "", "", "refused", text(strings.Join(row.Refused, "; "))})
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

// Benchstat writes what was compared as lines of the Go benchmark format, one for each pass, for golang.org/x/perf:
// benchstat -col run FILE.
func Benchstat(w io.Writer, r *Result, results []*record.Result) error {
	var b strings.Builder
	word := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || unicode.IsControl(r) {
				return '_'
			}
			return r
		}, s)
	}
	for i, run := range r.Runs {
		fmt.Fprintf(&b, "run: %s\nbackend: %s\nmodel: %s\nsimulated: %t\n", clean(run.ID), clean(results[i].Backend.Name), clean(run.Model), run.Simulated)
		for _, row := range r.Rows {
			most := 0
			for _, m := range row.Metrics {
				most = max(most, len(m.Figures[i].Passes))
			}
			for pass := range most {
				fmt.Fprintf(&b, "Benchmark%s 1", word(row.Key))
				for _, m := range row.Metrics {
					if xs := m.Figures[i].Passes; pass < len(xs) {
						fmt.Fprintf(&b, " %s %s", strconv.FormatFloat(xs[pass], 'g', -1, 64), word(m.Name))
					}
				}
				b.WriteString("\n")
			}
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
