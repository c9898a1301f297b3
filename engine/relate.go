package engine

import (
	"fmt"

	"github.com/llm-speed/llm-speed/internal/record"
)

// relate fills in the ratios that the suite declares between a row and its workload's base row.
func (r *run) relate() {
	for i := range r.rows {
		plan := &r.rows[i]
		row := r.rowOf(plan.Key)
		if row == nil {
			continue
		}
		for _, rel := range plan.workload.Relative {
			if row.Relative == nil {
				row.Relative = map[string]*float64{}
			}
			base := r.baseRow(plan, rel.Base)
			if base == nil {
				row.Relative[rel.Name] = nil
				row.Reasons[rel.Name] = "the row that it compares with is not in this run"
				continue
			}
			if row.RelativeTo == nil {
				row.RelativeTo = map[string]record.Base{}
			}
			row.RelativeTo[rel.Name] = record.Base{Row: base.Key, Metric: rel.Metric}
			of, to := fieldOf(row, rel.Metric), fieldOf(base, rel.Metric)
			row.Relative[rel.Name] = nil
			if of == nil || to == nil || *to == 0 {
				row.Reasons[rel.Name] = fmt.Sprintf("%s is not known for this row and %s", rel.Metric, base.Key)
				continue
			}
			x := *of / *to
			row.Relative[rel.Name] = &x
			delete(row.Reasons, rel.Name)
		}
	}
}

// baseRow finds the row that a ratio is to: the point named, or the workload's first.
func (r *run) baseRow(plan *RowPlan, base map[string]any) *record.Row {
	for i := range r.rows {
		if r.rows[i].ID == plan.ID && (base == nil || samePoint(r.rows[i].Point, base)) {
			return r.rowOf(r.rows[i].Key)
		}
	}
	return nil
}

func (r *run) rowOf(key string) *record.Row {
	for i := range r.result.Rows {
		if r.result.Rows[i].Key == key {
			return &r.result.Rows[i]
		}
	}
	return nil
}

// fieldOf is the figure of a row by its JSON name; nil where the row has none of that name.
func fieldOf(row *record.Row, name string) *float64 {
	for _, set := range [][]figure{figures(), batchFigures(), turnFigures()} {
		for _, f := range set {
			if f.name == name {
				return *f.to(row)
			}
		}
	}
	return nil
}
