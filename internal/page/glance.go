package page

import (
	"github.com/llm-speed/llm-speed/internal/llamabench"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// heads are the columns of the table at a glance: the figures that every row of ours has a place for, and the one of
// llama-bench's, where there are runs of either.
func (r *Report) heads() []report.Figure {
	var out []report.Figure
	if r.ours || !r.bench {
		out = report.Figures(record.Row{}, report.Columns())
	}
	if r.bench {
		out = append(out, report.Figure{Name: llamabench.Metric + ".p50", Title: "llama-bench", Unit: "tok/s"})
	}
	return out
}

// headline gives a row's figures for the columns of the table at a glance. What its program does not measure has no text.
func (r *Report) headline(row *record.Row) []report.Figure {
	out := r.heads()
	for i := range out {
		out[i].Reason, out[i].Text = "", ""
	}
	bench := len(out) - 1
	if row.LlamaBench == nil {
		copy(out, report.Figures(*row, report.Columns()))
		return out
	}
	for _, f := range report.Figures(*row, []string{llamabench.Metric}) {
		if f.Name == out[bench].Name || f.Reason != "" {
			out[bench] = f
		}
	}
	return out
}
