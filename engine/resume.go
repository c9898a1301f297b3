package engine

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/record"
)

// goOn takes over what an earlier document holds: all of it stays until something better is there, so that a run that
// can't go on after all has lost nothing.
func (r *run) goOn(old *record.Result) {
	fresh := r.result
	kept := *old
	r.result = &kept
	r.result.State, r.result.FinishedAt, r.result.Client, r.result.Budget = record.Running, nil, fresh.Client, fresh.Budget
	r.ledger.carry(old.Budget.Tokens)
	r.result.Rows, r.result.Raw = slices.Clone(old.Rows), []record.RawFile{}
	r.result.Reasons = maps.Clone(old.Reasons)
	if r.result.Reasons == nil {
		r.result.Reasons = record.Reasons{}
	}
	r.result.Environment.Events = append(slices.Clone(old.Environment.Events), "resumed at "+r.clock.Wall(r.clock.Now()).UTC().Format(time.RFC3339))
	for n := range old.Rows {
		row := &old.Rows[n]
		planned := slices.IndexFunc(r.rows, func(p RowPlan) bool { return p.Key == row.Key })
		if row.Status != record.OK && planned >= 0 {
			continue
		}
		r.result.Raw = append(r.result.Raw, rawOf(old, row)...)
		if planned >= 0 {
			r.state[planned].kept = row
			r.remember(row)
		}
	}
}

// rawOf lists the raw files that a row of an earlier document refers to.
func rawOf(doc *record.Result, row *record.Row) []record.RawFile {
	var files []record.RawFile
	for _, f := range doc.Raw {
		if slices.ContainsFunc(row.Samples, func(s record.Sample) bool { return strings.HasPrefix(s.Raw, f.Path+"#") }) {
			files = append(files, f)
		}
	}
	return files
}
