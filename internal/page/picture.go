package page

import (
	"fmt"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/internal/chart"
	"github.com/llm-speed/llm-speed/internal/record"
)

// Charts lists the ids of all charts.
func (r *Report) Charts() []string {
	var ids []string
	for _, w := range r.Workloads {
		for _, c := range w.Charts {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// Picture is the report as one picture: head, the table at a glance, and the charts, or only those of these ids.
func (r *Report) Picture(ids []string, dark bool) (*chart.Sheet, error) {
	s := &chart.Sheet{Title: r.Title, Warn: slices.Clone(r.Notices), Columns: 3, Dark: dark, Foot: "llm-speed report"}
	if r.Comparison != nil {
		for _, d := range r.Comparison.Differ {
			s.Warn = append(s.Warn, "NOT MEASURED ALIKE: another "+d.Field+": "+strings.Join(d.Values, " / "))
		}
	}
	for _, id := range ids {
		if !slices.Contains(r.Charts(), id) {
			return nil, fmt.Errorf("no chart %q; there are: %s", id, strings.Join(r.Charts(), ", "))
		}
	}
	for _, w := range r.Workloads {
		for _, c := range w.Charts {
			if len(ids) > 0 && !slices.Contains(ids, c.ID) {
				continue
			}
			// Single streams are for who asks for them: the picture is what people show to each other.
			if len(ids) == 0 && !r.asked && strings.Contains(c.ID, "-stream") {
				continue
			}
			c.Title = strings.TrimSpace(w.ID+" "+w.Name) + ": " + c.Title
			s.Charts = append(s.Charts, c)
		}
	}
	for _, a := range r.Runs {
		for _, f := range a.Facts {
			if f.Name == "client" || r.Comparison != nil && f.Name == "suite" {
				continue
			}
			s.Lines = append(s.Lines, strings.TrimSpace(a.Letter+" "+f.Name+": "+f.Text))
		}
	}
	if len(ids) == 0 {
		s.Table = r.table()
	}
	if n := len(s.Charts); n > 0 && n <= 4 {
		s.Columns = min(n, 2)
	}
	return s, nil
}

// table is the table at a glance as text.
func (r *Report) table() [][]string {
	head := []string{""}
	for _, f := range r.heads() {
		head = append(head, headOf(f))
	}
	table := [][]string{head}
	for _, w := range r.Workloads {
		for _, row := range w.Rows {
			line := []string{strings.TrimSpace(r.Runs[row.Run].Letter + " " + w.ID + " " + w.Name + " " + row.Point)}
			if row.Status != string(record.OK) {
				line = append(line, row.Status)
			}
			for _, f := range row.Headline {
				text := bare(f).Text
				if f.Spread != "" {
					text += " ±" + f.Spread
				}
				line = append(line, text)
			}
			table = append(table, line)
		}
	}
	return table
}
