package page

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/llm-speed/llm-speed/internal/compare"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// Markdown writes the report's figures as Markdown; pictures are left out.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	cell := func(s string) string {
		return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;", "`", "'", "[", `\[`, "]", `\]`, "*", `\*`, "_", `\_`).Replace(visible(s))
	}
	line := func(cells ...string) {
		for i := range cells {
			cells[i] = cell(cells[i])
		}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	b.WriteString("# " + cell(r.Title) + "\n\n")
	for _, n := range r.Notices {
		b.WriteString("**" + cell(n) + "**\n\n")
	}
	for _, a := range r.Runs {
		if a.Letter != "" {
			b.WriteString("## Run " + a.Letter + "\n\n")
		}
		for _, f := range a.Facts {
			b.WriteString("- " + cell(f.Name) + ": " + cell(f.Text) + "\n")
		}
		b.WriteString("\n")
	}
	if r.Comparison != nil {
		b.WriteString("## Comparison\n\n")
		if err := compare.Markdown(&b, r.Comparison); err != nil {
			return err
		}
		b.WriteString("\n")
	}
	b.WriteString("## At a glance\n\n")
	heads := []string{"row"}
	for _, f := range r.heads() {
		heads = append(heads, f.Title)
	}
	line(heads...)
	b.WriteString("|" + strings.Repeat(" --- |", len(heads)) + "\n")
	notes := &footnotes{}
	for _, x := range r.Workloads {
		for _, row := range x.Rows {
			cells := []string{strings.TrimSpace(r.Runs[row.Run].Letter + " " + x.ID + " " + x.Name + " " + row.Point)}
			if row.Status != string(record.OK) {
				cells = append(cells, row.Status+": "+row.Reason)
				cells = append(cells, make([]string, len(heads)-len(cells))...)
			}
			for _, f := range row.Headline {
				text := f.Text
				if f.Reason != "" {
					text = "– (" + strconv.Itoa(notes.number(f.Reason)) + ")"
				} else if f.Spread != "" {
					text += " ±" + f.Spread
				}
				cells = append(cells, text)
			}
			line(cells...)
		}
	}
	b.WriteString("\n")
	for i, reason := range notes.reasons {
		b.WriteString("(" + strconv.Itoa(i+1) + ") not known: " + cell(reason) + "  \n")
	}
	for _, x := range r.Workloads {
		for _, row := range x.Rows {
			if row.Status != string(record.OK) {
				continue
			}
			b.WriteString("\n### " + cell(strings.TrimSpace(r.Runs[row.Run].Letter+" "+row.Key+" "+x.Name)) + "\n\n")
			line("figure", "value", "95 % interval")
			b.WriteString("| --- | --- | --- |\n")
			for _, f := range row.Figures {
				text, interval := f.Text, ""
				if f.Reason != "" {
					text = "not known: " + f.Reason
				}
				if f.Low != nil && f.High != nil {
					interval = report.UnitText(*f.Low, f.Unit) + " to " + report.UnitText(*f.High, f.Unit)
				}
				line(f.Title, text, interval)
			}
		}
	}
	b.WriteString("\n## Flags\n\n")
	for _, a := range r.Runs {
		for _, f := range a.Flags {
			b.WriteString("- " + cell(strings.TrimSpace(a.Letter+" "+f.Name)) + " (" + cell(strings.Join(f.Rows, ", ")) + "): " + cell(f.Text))
			if len(f.Evidence) > 0 {
				b.WriteString("; seen: " + cell(strings.Join(f.Evidence, "; ")))
			}
			b.WriteString("\n")
		}
		if len(a.Flags) == 0 {
			b.WriteString("- " + strings.TrimSpace(a.Letter+" none") + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// visible takes out of a text what would end a line, move a cursor, or turn the direction of writing.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}

// CSV writes a line for each figure of each row of each run. A row without figures has one line, with its status.
func (r *Report) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	exact := func(x *float64) string {
		if x == nil {
			return ""
		}
		return strconv.FormatFloat(*x, 'g', -1, 64)
	}
	// A spreadsheet takes what begins so for a formula.
	text := func(s string) string {
		if s = visible(s); s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
			return "'" + s
		}
		return s
	}
	_ = out.Write([]string{"run", "row", "workload", "point", "status", "metric", "title", "value", "unit", "low", "high", "passes", "requests", "estimated", "reason", "flags"}) // Error tells
	for _, x := range r.Workloads {
		for _, row := range x.Rows {
			begin := []string{text(r.Runs[row.Run].ID), text(row.Key), text(x.Name), text(row.Point), text(row.Status)}
			flags := text(strings.Join(row.Flags, " "))
			end := []string{strconv.Itoa(row.Passes), strconv.Itoa(row.Requests)}
			if len(row.Figures) == 0 {
				_ = out.Write(append(append(append(begin, "", "", "", "", "", ""), end...), "", text(row.Reason), flags))
			}
			for _, f := range row.Figures {
				line := append(append([]string{}, begin...), text(f.Name), text(f.Title), exact(f.Value), text(f.Unit), exact(f.Low), exact(f.High))
				_ = out.Write(append(append(line, end...), text(f.Estimated), text(f.Reason), flags))
			}
		}
	}
	out.Flush()
	return out.Error()
}
