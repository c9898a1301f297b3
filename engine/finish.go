package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/llm-speed/llm-speed/internal/record"
)

// saveRow puts a row into the document and saves it.
func (r *run) saveRow(at int) error {
	row := r.build(at)
	r.place(row)
	r.relate()
	r.tellTokens() // who is killed writes no end, and what was taken is to count when the run goes on
	if err := r.save(); err != nil {
		return err
	}
	r.opt.Watch.Live.set(func(l *Live) { l.rowsDone = len(r.result.Rows) })
	if w := r.opt.Watch.Done; w != nil {
		for i := range r.result.Rows {
			if r.result.Rows[i].Key == row.Key {
				w(r.result.Rows[i])
			}
		}
	}
	return nil
}

// place puts a row where the plan has it.
func (r *run) place(row record.Row) {
	done := map[string]record.Row{}
	for _, old := range r.result.Rows {
		done[old.Key] = old
	}
	done[row.Key] = row
	others := slices.DeleteFunc(slices.Clone(r.result.Rows), func(old record.Row) bool {
		return slices.ContainsFunc(r.rows, func(p RowPlan) bool { return p.Key == old.Key })
	})
	r.result.Rows = r.result.Rows[:0:0]
	for i := range r.rows {
		if d, ok := done[r.rows[i].Key]; ok {
			r.result.Rows = append(r.result.Rows, d)
		}
	}
	r.result.Rows = append(r.result.Rows, others...)
}

// finish closes the document: state, flags, what the machine looked like afterwards, the model's digest.
func (r *run) finish(ctx context.Context, err error) error {
	r.closeSession()
	if err != nil && len(r.result.Rows) == 0 && !errors.Is(err, context.Canceled) {
		// Nothing was measured: the document stays as the record of a run that could not begin.
		r.result.State = record.Partial
		return errors.Join(r.endWatch(), r.save())
	}
	late := context.WithoutCancel(ctx)
	r.result.Environment.After = r.known("environment_after", describe(late, r.opt.State))
	r.result.State = record.Complete
	if err != nil || len(r.result.Rows) < len(r.rows) || r.ledger.refused() > 0 || r.ceilingSkips > 0 {
		r.result.State = record.Partial
	}
	watched := r.endWatch()
	r.digest(ctx, err == nil)
	now := r.clock.Wall(r.clock.Now()).UTC()
	r.result.FinishedAt = &now
	r.result.Budget.SpentS = (r.clock.Now() - r.began).Seconds()
	r.network()
	r.tellTokens()
	known := r.rankableRun()
	r.result.Rankable = r.result.State == record.Complete && known
	for i := range r.result.Rows {
		row := &r.result.Rows[i]
		switch {
		case row.Rankable && !known:
			row.Rankable = false
			row.Reasons["rankable"] = notKnown
		case known && row.Reasons["rankable"] == notKnown: // of a run that was stopped before its weights were hashed, and has gone on
			row.Rankable = true
			delete(row.Reasons, "rankable")
		}
		r.result.Rankable = r.result.Rankable && row.Rankable
	}
	return errors.Join(watched, r.save())
}

func (r *run) save() error {
	if r.opt.Save == nil {
		return nil
	}
	if err := r.opt.Save(r.result); err != nil {
		return fmt.Errorf("save the result: %w", err)
	}
	return nil
}
