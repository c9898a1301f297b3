package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/drivers/all"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/llamabench"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// recomputed says what came of one row.
type recomputed struct {
	Row      string   `json:"row"`
	Same     bool     `json:"same"`
	Requests int      `json:"requests"`
	Differs  []string `json:"differs,omitempty"` // fields, with both values
	Reason   string   `json:"reason,omitempty"`  // why it could not be computed again, or had not to be
}

func (a *app) runsRecompute() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "recompute RUN|FILE", Short: "Compute every figure of a run again from its recordings, and compare",
		Long: `Compute every figure of a run again from its raw recordings, and compare with the saved result to
the byte. Every recording is decoded and measured as in a run; nothing is sent anywhere and nothing
is written. What no recording holds is taken over: what was asked for, what a suite's program
recorded, energy, and flags about machine and run; docs/store.md has the list.

It exits with 5 where a figure is another, or where a row can't be computed.`,
		Example: "  llm-speed runs recompute last\n  llm-speed runs recompute last --json",
		Args:    between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			saved, err := a.load(args[0])
			if err != nil {
				return err
			}
			doc := saved.Result
			if doc.Kind == record.LlamaBench {
				return a.recomputeBench(doc, asJSON)
			}
			decode := all.Decoder(doc.Backend.Name)
			if decode == nil {
				return fail(exitVerify, "", fmt.Errorf("this version has no driver %q that could read the recordings", doc.Backend.Name))
			}
			s := a.suiteOf(cmd.Context(), doc)
			rows := engine.Recompute(doc, engine.Sources{Decode: decode, Load: saved.LoadRaw, Suite: s})
			out := make([]recomputed, len(rows))
			for i := range rows {
				if out[i], err = compareRow(&doc.Rows[i], rows[i]); err != nil {
					return err
				}
			}
			return a.showRecomputed(doc, out, s != nil, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// recomputeBench computes the rows of a run of llama-bench again, from the times of the repetitions in its document.
func (a *app) recomputeBench(doc *record.Result, asJSON bool) error {
	rows, err := llamabench.Again(doc)
	if err != nil {
		return fail(exitVerify, "", fmt.Errorf("run %s of llama-bench: %w", doc.RunID, err))
	}
	out := make([]recomputed, len(rows))
	for i := range rows {
		if out[i], err = compareRow(&doc.Rows[i], engine.Recomputed{Row: rows[i]}); err != nil {
			return err
		}
		if out[i].Same {
			out[i].Reason = "the same, from " + report.Count(doc.Rows[i].Passes, "time") + " of llama-bench; there are no recordings"
		}
	}
	return a.showRecomputed(doc, out, true, asJSON)
}

// suiteOf is the suite that a run was made with, where it is here to the byte; else nil.
func (a *app) suiteOf(ctx context.Context, doc *record.Result) *suite.Suite {
	if strings.ContainsAny(doc.Suite.Name, `/\`) {
		return nil
	}
	s, _, err := a.loadSuite(ctx, doc.Suite.Name+"@"+doc.Suite.Version, a.sandbox())
	if err != nil || s.Digest != doc.Suite.Digest {
		return nil
	}
	return s
}

// compareRow holds a row that was computed again against the saved one.
func compareRow(saved *record.Row, again engine.Recomputed) (recomputed, error) {
	out := recomputed{Row: saved.Key, Requests: len(saved.Samples)}
	switch {
	case again.Err != nil:
		out.Reason = again.Err.Error()
		return out, nil //nolint:nilerr // a row that can't be computed is an answer, not the end of the command
	case again.Idle:
		out.Same, out.Reason = true, "no request was sent: nothing to compute"
		return out, nil
	}
	want, err := json.Marshal(saved)
	if err != nil {
		return out, fmt.Errorf("encode row %s: %w", saved.Key, err)
	}
	got, err := json.Marshal(again.Row)
	if err != nil {
		return out, fmt.Errorf("encode row %s as computed again: %w", saved.Key, err)
	}
	if out.Same = bytes.Equal(want, got); out.Same {
		return out, nil
	}
	var w, g any
	if err := errors.Join(json.Unmarshal(want, &w), json.Unmarshal(got, &g)); err != nil {
		return out, fmt.Errorf("decode row %s: %w", saved.Key, err)
	}
	if out.Differs = differences("", w, g); len(out.Differs) == 0 {
		out.Same = true // the same values, written otherwise
	}
	return out, nil
}

// differences lists where two JSON values differ, by path. An absent field and an empty one are the same.
func differences(path string, want, got any) []string {
	if isEmpty(want) && isEmpty(got) {
		return nil
	}
	switch w := want.(type) {
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			keys := map[string]bool{}
			for k := range w {
				keys[k] = true
			}
			for k := range g {
				keys[k] = true
			}
			var out []string
			for _, k := range slices.Sorted(maps.Keys(keys)) {
				out = append(out, differences(strings.TrimPrefix(path+"."+k, "."), w[k], g[k])...)
			}
			return out
		}
	case []any:
		if g, ok := got.([]any); ok && len(g) == len(w) {
			var out []string
			for i := range w {
				out = append(out, differences(fmt.Sprintf("%s[%d]", path, i), w[i], g[i])...)
			}
			return out
		}
	default:
		if want == got {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s: saved %s, computed %s", path, shortJSON(want), shortJSON(got))}
}

// isEmpty reports whether a JSON value is null, or an object or list without content. A 0 is a value.
func isEmpty(v any) bool {
	switch x := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(x) == 0
	case []any:
		return len(x) == 0
	}
	return false
}

func shortJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return clip(string(text), 80)
}

// shownDifferences is how many differences of a row are listed for a person; --json has all.
const shownDifferences = 8

func (a *app) showRecomputed(doc *record.Result, rows []recomputed, ratios, asJSON bool) error {
	same, requests := 0, 0
	for _, r := range rows {
		requests += r.Requests
		if r.Same {
			same++
		}
	}
	if asJSON {
		if err := a.writeJSON(rows); err != nil {
			return err
		}
	} else {
		for _, r := range rows {
			switch {
			case r.Same:
				a.outf("%s: %s\n", r.Row, orElse(r.Reason, "the same, from "+report.Count(r.Requests, "recording")))
			case r.Reason != "":
				a.outf("%s: NOT computed: %s\n", r.Row, clip(r.Reason, 1000))
			default:
				a.outf("%s: NOT the same, %s\n", r.Row, report.Count(len(r.Differs), "difference"))
				for _, d := range r.Differs[:min(len(r.Differs), shownDifferences)] {
					a.outf("  %s\n", clip(d, 1000))
				}
				if more := len(r.Differs) - shownDifferences; more > 0 {
					a.outf("  and %d more; --json lists them\n", more)
				}
			}
		}
		if !ratios && slices.ContainsFunc(doc.Rows, func(r record.Row) bool { return len(r.Relative) > 0 }) {
			a.warn("suite %s %s is not here: ratios between rows were taken over", doc.Suite.Name, doc.Suite.Version)
		}
	}
	if same < len(rows) {
		return fail(exitVerify, "", fmt.Errorf("%d of %s of run %s could not be had again from the recordings", len(rows)-same, report.Count(len(rows), "row"), doc.RunID))
	}
	if !asJSON {
		from := "recordings"
		if doc.Kind != "" {
			from = "times"
		}
		a.outf("run %s: all figures are those of its "+from+", %s and %s\n", doc.RunID, report.Count(len(rows), "row"), report.Count(requests, "request"))
	}
	return nil
}
